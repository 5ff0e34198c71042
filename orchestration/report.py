"""The nightly report: marts in, one offline HTML page out.

This module decides which accounts are shown and renders `reports/templates/report.html.j2`;
numbers are computed in `assets/metrics`, words are in `orchestration.wording`, drawings in
`orchestration.charts`. The page may hold names of people, so it is written for its owner only.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
import polars as pl
from markupsafe import Markup

from orchestration import wording
from orchestration.report_views import COHORTS, RATES, SETTLED_WINDOW, Account, Row, Tables, answer, fill
from quality.catalog.columns import QUESTIONS

REPORTS = Path(__file__).parent.parent / "reports"

Marts = Callable[[str], pl.DataFrame]


def build(
    marts: Marts,
    *,
    as_of: date,
    accounts: Sequence[str] | None,
    names: Mapping[str, str] | None,
    limit: int = 50,
) -> str:
    """The whole page, as HTML, from the marts as they were at `as_of`.

    `marts` gives the frame of a mart by name, shaped as the catalogue says. `accounts` are the
    account ids that are the user's own, in the order to show them (None: every account is).
    `names` gives names by person_id, or None where the report must hold pseudonyms only.
    Details are shown for the `limit` own accounts with the most inbound interactions; where the
    marts know none of the own accounts, for the others instead, and the page says so.
    """
    summary = _summaries(marts("mart_summary"), as_of)
    relationship = marts("mart_relationship")
    collection = marts("mart_collection")
    interactions = dict(relationship.group_by("account_id").agg(pl.col("inbound").sum()).iter_rows())
    known = {*summary, *interactions, *collection["account_id"].to_list()}
    own = list(dict.fromkeys(accounts)) if accounts is not None else sorted(known)
    no_own = accounts is not None and not set(own) & known
    others = sorted(known - set(own), key=lambda name: (-interactions.get(name, 0), name))
    candidates = [*own, *others] if no_own else own
    chosen = set(sorted(candidates, key=lambda name: -interactions.get(name, 0))[:limit])
    tables = Tables.read(marts, relationship, collection, as_of=as_of, accounts=chosen)

    pages: dict[str, Account] = {}
    for number, name in enumerate([*own, *others], start=1):
        anchor = f"account-{number}"
        account = Account(
            name=name,
            anchor=anchor if name in chosen else "",
            interactions=interactions.get(name, 0),
            answers={
                question: answer(question, summary.get(name, {}), tables.basis(name, question), anchor, name in chosen)
                for question in QUESTIONS
            },
        )
        if name in chosen:
            fill(account, summary.get(name, {}), tables, as_of=as_of, names=names)
        pages[name] = account
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORTS / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": wording.number, "percent": wording.percent, "days": wording.days, "link": _link}
    return environment.get_template(
        "report.html.j2"
    ).render(
        as_of=as_of,
        style=Markup((REPORTS / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - a file of the checkout
        own=[pages[name] for name in own],
        others=[pages[name] for name in others],
        detailed=[page for page in pages.values() if page.anchor],
        no_own=no_own,
        limit=limit,
        is_named=names is not None,
        questions=wording.QUESTIONS,
        rates=[wording.percent(rate) for rate in RATES[1:]],
        cohorts_limit=COHORTS,
        window=SETTLED_WINDOW,
    )


def write(html: str, folder: Path) -> Path:
    """Put the page at `folder/index.html`, readable by its owner only; a reader sees the old or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".index-", suffix=".html")  # made with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        return temporary.replace(folder / "index.html")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _summaries(frame: pl.DataFrame, as_of: date) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in frame.filter(pl.col("as_of") == as_of).iter_rows(named=True):
        found.setdefault(row["account_id"], {})[row["metric"]] = row
    return found


def _link(url: str | None) -> tuple[str, str] | None:
    """Address and text of a link to a post; None where the address is not one to follow."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    text = parts.path.strip("/") or parts.netloc.removeprefix("www.")
    return url, text if len(text) <= 64 else f"{text[:30]}…{text[-33:]}"
