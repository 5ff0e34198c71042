"""The examples of the documentation: two real sites, from collection to the three answers with their plots.

`python tests/real_examples.py FOLDER` collects both sites from the data sets in FOLDER, each into a home of its own, and
writes docs/images/<site>-*.svg and the tables between the markers of docs/examples/<site>.md; the words around them are
written by hand. `--homes FOLDER` keeps the homes, and uses those that are there; `--check` writes nothing and fails where
something would change. Nothing of a person is written: no name, no address, no pseudonym.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from real_input import SITES
from serve_webmention import serving

from orchestration import charts, report, wording
from orchestration.report_views import Account, Tables, answer, fill
from quality.catalog.columns import QUESTIONS

DOCS = Path(__file__).resolve().parents[1] / "docs"
HATCH = (
    '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch-line" x1="0" y1="0" x2="0" y2="5"/></pattern></defs>'
)
BINS = (
    (0, 0, "0"),
    (1, 1, "1"),
    (2, 2, "2"),
    (3, 5, "3 to 5"),
    (6, 10, "6 to 10"),
    (11, 20, "11 to 20"),
    (21, None, "over 20"),
)
"""Interactions in seven days, for the plot of what posts get."""
DAYS = (30, 45, 60, 90)
"""Days after first contact at which a survival curve is quoted."""

MODEL = ("people", "repeat_people", "is_pooled", "is_withdrawn", "brier", "brier_base", "brier_heuristic", "brier_difference", "calibration_error")  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Marts:
    """The published marts of one home, as of one night."""

    folder: Path

    def has(self, name: str) -> bool:
        """Whether the mart was published."""
        return (self.folder / f"{name}.parquet").is_file()

    def __call__(self, name: str) -> pl.DataFrame:
        """One mart."""
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def rows(self, name: str, *order: str, **equal: object) -> list[dict[str, Any]]:
        """Rows of a mart that equal these values, in order; none where it was not published."""
        if not self.has(name):
            return []
        frame = self(name)
        return frame.filter(*(pl.col(c) == v for c, v in equal.items())).sort(order or frame.columns[:1]).to_dicts()


def collect(data: Path, home: Path, account: str) -> Marts:
    """Run one night of one site, unless the home has one already."""
    folder, site, as_of = SITES[account]
    marts = Marts(home / "published" / "parquet")
    if marts.has("mart_summary"):
        return marts
    with serving(data / folder) as (address, _):
        common = ["--account", account, "--endpoint", address, "--allow-private"]
        for arguments in (
            ["add", f"{site}feed.json", *common], ["add", site, "--source", "webmention", *common], ["run", "--as-of", as_of],
        ):  # fmt: skip
            environment = {**os.environ, "RAPPORT_HOME": str(home), "RAPPORT_WEBMENTION_TOKEN": "secret"}  # noqa: TID251
            subprocess.run([str(Path(sys.executable).with_name("rapport")), *arguments], env=environment, check=True)
    return marts


def standalone(svg: str) -> str:
    """A drawing of the report as a file: with the report's light colours, and without the words of single marks."""
    css = (report.REPORTS / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", css.partition("@media")[0]))
    rules = [
        r
        for r in re.findall(r"[^{}]+\{[^{}]*\}", css)
        if re.match(r"\s*(svg \.|svg text|\.grid|\.zero|\.hatch-line|\.q\d)", r)
    ]
    style = re.sub(
        r"var\((--[\w-]+)\)",
        lambda found: colours[found[1]],
        "".join(" ".join(r.split()) for r in dict.fromkeys(rules)),
    )
    head, _, body = svg.partition("</desc>")
    body = re.sub(r"<title>[^<]*</title>", "", body).replace("></rect>", "/>")
    ground = f'<rect width="100%" height="100%" fill="{colours["--ground"]}"/>'
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{head}</desc><style>{style}</style>{HATCH}{ground}{body}\n"


def opening(height: int, title: str, said: str) -> str:
    """The head of a drawing of the report's width."""
    return f'<svg viewBox="0 0 {charts.WIDTH} {height}" role="img"><title>{title}</title><desc>{said}</desc>'


def bars(counts: Sequence[tuple[str, int]], *, title: str, said: str) -> str:
    """How many posts got how much: a bar for each class, its number above."""
    top, height, pitch = 24, 150, (charts.WIDTH - 2 * charts.LEFT) / len(counts)
    unit = height / max(1, *(n for _, n in counts))
    parts = [opening(top + height + 28, title, said)]
    for i, (label, n) in enumerate(counts):
        x, tall = charts.LEFT + i * pitch, n * unit
        middle = x + pitch / 2
        parts.append(
            f'<rect class="returning" x="{x + pitch * 0.14:.1f}" y="{top + height - tall:.1f}" width="{pitch * 0.72:.1f}" height="{tall:.1f}"/>'
        )
        parts.append(f'<text x="{middle:.1f}" y="{top + height - tall - 6:.1f}" text-anchor="middle">{n}</text>')
        parts.append(f'<text x="{middle:.1f}" y="{top + height + 18}" text-anchor="middle">{label}</text>')
    return "".join([*parts, "</svg>"])


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, said: str) -> str:
    """Survival by days since first contact: a step line for each stratum, and which is which at the right."""
    left, top, width, height = float(charts.LEFT), 14.0, charts.WIDTH - charts.LEFT - 120, 200
    parts = [opening(top + height + 28, title, said)]
    last = 30 * (int(max(day for points in lines.values() for day, _ in points)) // 30 + 1)
    for tenth in range(0, 11, 2):
        y = top + height * (1 - tenth / 10)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 3.5:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for day in range(0, last + 1, 30):
        x = left + width * day / last
        parts += [f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{day} d</text>']
    for i, (name, points) in enumerate(lines.items()):
        x, y = left, top
        path = [f"M{x:.1f} {y:.1f}"]
        for day, share in points:
            x, y = left + width * day / last, top + height * (1 - share)
            path.append(f"H{x:.1f}V{y:.1f}")
        colour = {"spike": "#d9932b", "steady": "#62a8b8"}.get(name, "#1f6b80")
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(
            f'<text x="{left + width + 10:.1f}" y="{top + 18 * i + 10:.1f}" style="fill:{colour}">{name}</text>'
        )
    return "".join([*parts, "</svg>"])


def plots(account: Account, marts: Marts, as_of: date) -> dict[str, str]:
    """The drawings of a site by name."""
    found: dict[str, str] = {}
    if account.calendar:
        found["calendar"] = str(account.calendar)
    for question in QUESTIONS:
        strip = account.answers[question].strip
        if strip:
            found[question] = str(strip)
    judged = [
        r["interactions_7d"]
        for r in marts.rows("mart_post_value", "post_id", account_id=account.name)
        if r["interactions_7d"] is not None
    ]
    if judged:
        counts = [(label, sum(low <= n and (high is None or n <= high) for n in judged)) for low, high, label in BINS]
        said = "; ".join(f"{label}: {n}" for label, n in counts)
        found["posts"] = bars(counts, title=f"Posts of {account.name} by interactions in seven days", said=said)
    if account.growth:
        found["growth"] = str(account.growth)
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in marts.rows("mart_retention_curve", "stratum", "day", account_id=account.name, as_of=as_of):
        if row["stratum"] in ("all", "spike", "steady") and row["survival"] is not None:
            lines.setdefault(row["stratum"], []).append((row["day"], row["survival"]))
    if lines:
        found["survival"] = curves(
            lines,
            title=f"Share of people of {account.name} not lapsed",
            said="Kaplan-Meier, by days since first contact",
        )
    return {name: standalone(svg) for name, svg in found.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def written(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A number with its interval; a flag as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    interval = wording.range_text(low, high, wording.number)
    return "null" if value is None else wording.number(value) + (f" ({interval})" if interval else "")


def measured(row: Row | None, *names: str) -> list[tuple[str, str, str]]:
    """Measures of a mart's row: name, number with interval, why it is null."""
    if row is None:
        return []
    return [
        (f"`{name}`", written(row[name], row.get(f"{name}_low"), row.get(f"{name}_high")), (row.get(f"{name}_note") or "") if row[name] is None else "")
        for name in names if name in row
    ]  # fmt: skip


def blocks(account: Account, summary: Mapping[str, Row], tables: Tables, marts: Marts, as_of: date) -> dict[str, str]:
    """The tables of a site's page, by the name of their markers."""
    name = account.name
    result = {}
    for question in QUESTIONS:
        lines = [
            (f"`{m}`", written(r["value"], r["low"], r["high"]), r["n"], written(r["previous"]) if r["previous"] is not None else "", r["note"])
            for m, r in sorted(summary.items()) if r["question"] == question
        ]  # fmt: skip
        said = account.answers[question]
        told = f"{said.before}{said.whole or said.figure}{said.after}".strip().rstrip(".")
        interval = f" (95 % interval {said.interval})" if said.interval else ""
        sentences = [f"{told}{interval}.", said.compared, *account.stories[question]]
        head = ("`mart_summary`", "value (95 %)", "n", "a quarter ago", "note")
        result[question] = " ".join(x for x in sentences if x) + "\n\n" + table(head, lines)
    head = ("measure", "value (95 %)", "why null")
    cadence = (
        "posts",
        "active_days",
        "burstiness",
        "memory",
        "longest_silence_days",
        "silences_over_promise",
        "promise_days",
        "promise_days_learned",
        "coverage_share",
    )
    result["cadence"] = table(head, measured(tables.one("cadence", name), *cadence))
    value = measured(
        tables.one("value", name),
        "posts",
        "value_per_post",
        "people_per_post",
        "rate_shrunken",
        "promotional_share_28d",
        "promotion_penalty",
    )
    result["posts"] = table(
        head, [*value, *measured(tables.one("dilution", name), "dilution_elasticity", "posts", "rate_p90_to_p10")]
    )
    ties = marts("mart_relationship").filter(account_id=name)
    counted = ties.group_by(pl.col("tie_state").fill_null("not judged yet")).len().sort("tie_state").rows()
    known, again = ties["repeat_weeks"].count(), int((ties["repeat_weeks"] > 0).sum())
    won = ties.filter("is_spike_won")
    counted += [
        ("**known start**", known), ("of them, came back in another week", again), ("won in a spike", len(won)),
        ("of them, came back in another week", int((won["repeat_weeks"] > 0).sum())),
    ]  # fmt: skip
    result["ties"] = table(("people", "number"), [("everybody with an active day", len(ties)), *counted])
    spikes = tables.of("spike", name)
    result["spikes"] = table(
        ("from", "to", "new people", "baseline", "p"),
        [
            (r["started_on"], r["ended_on"], r["new_people"], wording.number(r["baseline"]), f"{r['p_value']:.0e}")
            for r in spikes
        ],
    )
    result["collection"] = table(
        ("platform", "stream", "status", "from", "to", "share of 364 days"),
        [
            (
                r["platform"],
                r["stream"],
                r["status"],
                r["covered_from"],
                r["covered_to"],
                written(r["coverage_share"]) if r["coverage_share"] is not None else "",
            )
            for r in tables.of("collection", name)
        ],
    )
    return {**result, **staying(marts, name, as_of)}


def staying(marts: Marts, name: str, as_of: date) -> dict[str, str]:
    """What the marts of survival and of the model say; empty where they were not published."""
    result = {}
    curve: dict[str, list[dict[str, Any]]] = {}
    for row in marts.rows("mart_retention_curve", "stratum", "day", account_id=name, as_of=as_of):
        curve.setdefault(row["stratum"], []).append(row)
    lines = []
    for stratum, rows in curve.items():
        at = [next((r for r in reversed(rows) if r["day"] <= day and rows[-1]["day"] >= day), None) for day in DAYS]
        lines.append(
            (
                stratum,
                rows[0]["at_risk"],
                *(written(r["survival"], r.get("survival_low"), r.get("survival_high")) if r else "" for r in at),
            )
        )
    result["survival"] = (
        table(("stratum", "people", *(f"{day} d" for day in DAYS)), lines) if lines else "Not published yet."
    )
    tests = marts.rows("mart_retention_test", "comparison", account_id=name, as_of=as_of)
    skipped = ("as_of", "account_id", "comparison")
    lines = [
        (f"`{r['comparison']}`", *cells)
        for r in tests
        for cells in measured(r, *(c for c in r if c not in skipped and not re.search(r"_(low|high|note|n)$", c)))
    ]
    result["test"] = (
        table(("comparison", "measure", "value (95 %)", "why null"), lines) if lines else "Not published yet."
    )
    models = marts.rows("mart_retention_model", "model", account_id=name, as_of=as_of)
    shown = [c for c in MODEL if models and c in models[0]]
    lines = [(f"`{r['model']}`", *(cell for _, cell, _ in measured(r, *shown)), r.get("note")) for r in models]
    head = ("model", *(f"`{c}`" for c in shown), "note")
    result["model"] = table(head, lines) if lines else "Not published yet."
    losing = [row["tie_state"] for row in marts.rows("mart_losing_touch", "rank", account_id=name)]
    said = wording.listed([f"{losing.count(state)} {state}" for state in ("cooling", "lost")])
    people = f"`mart_losing_touch` has {wording.counted(len(losing), 'person')}: {said}."
    result["losing"] = people if marts.has("mart_losing_touch") else "Not published yet."
    return result


def filled(page: str, parts: Mapping[str, str]) -> str:
    """The page with what stands between its markers renewed; a marker without a block is an error."""
    return re.sub(
        r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}",
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    """Both sites; an error with `--check` where a committed file is not what the marts say now."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data", type=Path)
    options.add_argument("--homes", type=Path)
    options.add_argument("--check", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, _, night) in SITES.items():
            as_of = date.fromisoformat(night)
            marts = collect(asked.data.resolve(), (asked.homes or Path(scratch)) / name, name)
            summary = {row["metric"]: row for row in marts.rows("mart_summary", "metric", account_id=name, as_of=as_of)}
            tables = Tables.read(
                marts, marts("mart_relationship"), marts("mart_collection"), as_of=as_of, accounts={name}
            )
            answers = {q: answer(q, summary, tables.basis(name, q), name, is_detailed=True) for q in QUESTIONS}
            account = Account(name=name, anchor=name, interactions=0, answers=answers)
            fill(account, summary, tables, as_of=as_of, names=None)
            page = DOCS / "examples" / f"{name}.md"
            files = {page: filled(page.read_text(encoding="utf-8"), blocks(account, summary, tables, marts, as_of))}
            files |= {DOCS / "images" / f"{name}-{plot}.svg": svg for plot, svg in plots(account, marts, as_of).items()}
            for path, content in files.items():
                if asked.check and (not path.is_file() or path.read_text(encoding="utf-8") != content):
                    raise SystemExit(
                        f"{path.relative_to(DOCS.parent)} is not what the marts say: run tests/real_examples.py"
                    )
                if not asked.check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(content, encoding="utf-8")
            print(f"{name}: {'as committed' if asked.check else f'{len(files)} files'}")  # noqa: T201 - a script's answer


if __name__ == "__main__":
    main()
