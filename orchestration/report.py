"""The nightly report: marts in, one offline HTML page out.

This module decides which accounts are shown and renders `reports/templates/report.html.j2`;
numbers are computed in `assets/metrics`, words are in `orchestration.wording`, drawings in
`orchestration.charts`. The page may hold names of people, so it is written for its owner only.
"""

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jinja2
import polars as pl
from markupsafe import Markup

from orchestration import wording
from orchestration.report_cohorts import FEW, RATES
from orchestration.report_views import SETTLED_WINDOW, Account, Row, Tables, answer, fill
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
    environment.filters |= {
        "number": wording.number,
        "percent": wording.percent,
        "days": wording.days,
        "address": _address,
        "post_text": _post_text,
    }
    environment.globals |= {"range_text": wording.range_text, "number_text": wording.number}
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
        few=FEW,
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


def _address(url: str | None) -> str:
    """The address of a post where it is one to follow; else nothing."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


def _post_text(post: Row) -> str:
    """What a post is called: the path of its address where that has words, else its kind and date.

    >>> from datetime import datetime, UTC
    >>> at = datetime(2026, 3, 25, tzinfo=UTC)
    >>> _post_text({"url": "https://example.org/2026/a-good-day/", "kind": "article", "published_at": at})
    '2026/a-good-day'
    >>> _post_text({"url": "https://example.org/1858015384829952163", "kind": "note", "published_at": at})
    'note of 2026-03-25'
    """
    url = _address(post["url"])
    parts = urlsplit(url)
    text = unquote(parts.path).strip("/")
    last = re.sub(r"(^|/)index\.\w+$", "", text).rsplit("/", 1)[-1]
    if not _has_words(last, is_page=not parts.query):
        return f"{post['kind']} of {post['published_at'].date().isoformat()}"
    return text if len(text) <= 64 else f"{text[:30]}…{text[-33:]}"


def _has_words(name: str, *, is_page: bool) -> bool:
    """Whether the last part of an address is words rather than a number or a code of a platform's own.

    One word before a query (`watch?v=`, `post.php?id=`) names a page of the site, not the post.
    """
    if re.fullmatch(r"[0-9a-f-]{8,}", name, re.IGNORECASE) or ":" in name:
        return False
    words = [word for word in re.split(r"[\W_]+", re.sub(r"\.\w{1,5}$", "", name)) if word.isalpha() and len(word) > 1]
    return len(words) > (0 if is_page else 1)
