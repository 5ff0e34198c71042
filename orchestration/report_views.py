"""What the report says of one account, as plain values: rows of marts chosen, worded and drawn.

`orchestration.report` reads the marts and renders these values; nothing here writes HTML.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl
from markupsafe import Markup

from orchestration import charts, stories, wording
from orchestration.report_cohorts import Cohort, triangle
from quality.catalog.columns import QUESTIONS, TIE_STATES

MONTHS, YEARS, POSTS, TIES, WAITING = 60, 20, 10, 10, 20
"""What a page shows of a long history: months, years, posts, people, people who wait for an answer."""
SETTLED_WINDOW = 364
QUIET = ("cooling", "lost", "ended")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question answered: a sentence around its figure (or around `whole`, where it says that), and its basis."""

    question: str
    before: str = ""
    figure: str = ""
    whole: str = ""
    after: str = ""
    interval: str = ""
    previous: str = ""
    compared: str = ""
    basis: str = ""
    remark: str = ""
    strip: Markup | None = None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One more number of the summary."""

    label: str
    value: str
    interval: str
    previous: str
    basis: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Tie:
    """One relationship in a list."""

    name: str
    is_named: bool
    row: Row
    silent_days: int


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Somebody in a list: who waits for an answer, whom the account is losing."""

    name: str
    is_named: bool
    row: Row


@dataclass(kw_only=True)
class Account:
    """Everything the page says of one account."""

    name: str
    anchor: str
    interactions: int
    answers: dict[str, Answer]
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    stories: dict[str, list[str]] = field(default_factory=dict)
    calendar: Markup | None = None
    calendar_legend: list[tuple[int, str]] = field(default_factory=list)
    calendar_note: str = ""
    posts: Sequence[Row] = ()
    pending: int = 0
    growth: Markup | None = None
    months: Sequence[Row] = ()
    months_all: int = 0
    cohorts: list[Cohort] = field(default_factory=list)
    cohorts_all: int = 0
    periods: int = 0
    top: list[Tie] = field(default_factory=list)
    losing: list[Listed] = field(default_factory=list)
    losing_all: int = 0
    waiting: list[Listed] = field(default_factory=list)
    waiting_all: int = 0
    collection: Sequence[Row] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no mart knows the account."""
        return not (self.calendar or self.posts or self.months or self.collection or self.top or self.losing) and all(
            not answer.figure for answer in self.answers.values()
        )


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The rows of the detailed accounts, by mart and account, in the order in which they are shown."""

    rows: dict[str, dict[str, list[dict[str, Any]]]]

    @classmethod
    def read(
        cls,
        marts: Callable[[str], pl.DataFrame],
        relationship: pl.DataFrame,
        collection: pl.DataFrame,
        *,
        as_of: date,
        accounts: set[str],
    ) -> "Tables":
        """Read each mart once and keep the rows of these accounts, all platforms together, at `as_of`."""
        everywhere = pl.col("platform") == "all"
        now = pl.col("as_of") == as_of
        frames = {
            "cadence": marts("mart_cadence").filter(now & everywhere),
            "listening": marts("mart_listening").filter(now & everywhere),
            "waiting": marts("mart_waiting").sort("opened_at", "person_id"),
            "week": marts("mart_cadence_week").filter(everywhere, pl.col("week") <= as_of).sort("week"),
            "post": marts("mart_post_value")
            .filter(pl.col("published_at").dt.date() <= as_of)
            .sort("published_at", "post_id"),
            "value": marts("mart_value").filter(now & everywhere),
            "dilution": marts("mart_dilution").filter(now),
            "relationship": relationship.sort(
                ["value_365d", "inbound", "person_id"], descending=[True, True, False], nulls_last=True
            ),
            "losing": marts("mart_losing_touch").sort("rank"),
            "test": marts("mart_retention_test").filter(now, pl.col("comparison") == "spike vs steady"),
            "spike": marts("mart_spike").filter(everywhere).sort("started_on"),
            "month": marts("mart_growth_month").filter(everywhere, pl.col("month") <= as_of).sort("month"),
            "cohort": marts("mart_retention_cohort").filter(now & everywhere).sort("cohort_month", "period"),
            "collection": collection.sort("platform", "stream"),
        }
        rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name, frame in frames.items():
            parts = frame.filter(pl.col("account_id").is_in(list(accounts))).partition_by(
                "account_id", as_dict=True, maintain_order=True
            )
            rows[name] = {str(key[0]): part.to_dicts() for key, part in parts.items()}
        return cls(rows=rows)

    def of(self, table: str, account: str) -> list[dict[str, Any]]:
        """The account's rows of one mart; none where it has none."""
        return self.rows[table].get(account, [])

    def one(self, table: str, account: str) -> dict[str, Any] | None:
        """The account's only row of a mart with one row an account."""
        return next(iter(self.of(table, account)), None)

    def basis(self, account: str, question: str) -> dict[str, Any]:
        """What a sentence needs beside its number: the promise, and how completely its stream was collected."""
        cadence = self.one("cadence", account) or {}
        stream = "posts" if question == "consistency" else "inbound"
        shares = [
            row["coverage_share"]
            for row in self.of("collection", account)
            if row["stream"] == stream and row["status"] != "not_offered" and row["coverage_share"] is not None
        ]
        own = cadence.get("coverage_share") if question == "consistency" else None
        return {
            "promise": cadence.get("promise_days"),
            "what": "Posts" if question == "consistency" else "Interactions",
            "coverage": own if own is not None else min(shares, default=None),
        }


def answer(question: str, summary: Mapping[str, Row], basis: Row, anchor: str, is_detailed: bool) -> Answer:
    """The answer to a question from the account's rows of mart_summary, by metric; says why where it is null."""
    asked = wording.QUESTIONS[question]
    metric = next((name for name in wording.HEADLINES[question] if name in summary), None)
    if metric is None:
        return Answer(question=asked, before="Not known: no number answers this yet.")
    row, measure = summary[metric], wording.measure(metric)
    write, value, low, high = measure.write, row["value"], row["low"], row["high"]
    compared = wording.compared(value, row["previous"], low, high, write)
    previous = "" if row["previous"] is None else write(row["previous"])
    rests = []
    if row["n"] is not None and measure.basis:
        rests.append(f"Rests on {wording.counted(row['n'], measure.basis)}.")
    if basis["coverage"] is not None:
        rests.append(f"{basis['what']} were collected on {wording.percent(basis['coverage'])} of the days.")
    remark = wording.sentence(wording.plain(row["note"] or ""))
    if value is None:
        return Answer(
            question=asked,
            before=f"Not known: {wording.lowered(wording.plain(row['note'] or 'no reason is given'))}",
            compared=compared if row["previous"] is not None else "",
            previous=previous,
            basis=" ".join(rests),
        )
    text = measure.sentence or f"{measure.label}: {{value}}"
    if metric == "steadiness" and basis["promise"] is not None:
        text = f"The promise of a post at least every {wording.days(basis['promise'])} was kept {{value}} of the time"
    before, _, after = text.partition("{value}")
    whole = wording.whole(value, measure)
    interval = wording.range_text(low, high, write)
    if (row["low"] is None or row["high"] is None) and not measure.is_count:
        rests.append("No interval is given.")
    return Answer(
        question=asked,
        before=before,
        figure=write(value),
        whole=whole if before else whole.capitalize(),
        after=after,
        interval=interval,
        previous=previous,
        compared=compared,
        basis=" ".join(rests),
        remark=remark,
        strip=_strip(row, measure, f"{anchor}-{question}", asked) if is_detailed else None,
    )


def _strip(row: Row, measure: wording.Measure, ident: str, question: str) -> Markup:
    end = (
        1.0
        if measure.is_share
        else charts.nice_ceiling(max(x for x in (row["value"], row["high"], row["previous"]) if x is not None))
    )
    interval = wording.range_text(row["low"], row["high"], measure.write)
    title = f"{question} {measure.label}: {measure.write(row['value'])}" + (
        f", interval {interval}" if interval else ""
    )
    if row["previous"] is not None:
        title += f", a quarter ago {measure.write(row['previous'])}"
    return charts.strip(
        row["value"], low=row["low"], high=row["high"], previous=row["previous"], ends=(0.0, end),
        labels=(measure.write(0), measure.write(end)), ident=ident, title=title,
    )  # fmt: skip


def fill(
    account: Account, summary: Mapping[str, Row], tables: Tables, *, as_of: date, names: Mapping[str, str] | None
) -> None:
    """Add to an account everything below its answers: numbers, drawings, posts, people, coverage."""
    name = account.name
    account.facts = {question: _facts(question, summary) for question in QUESTIONS}
    posts, months = tables.of("post", name), tables.of("month", name)
    ties = tables.of("relationship", name)
    states: dict[str | None, int] = {}
    for row in ties:
        states[row["tie_state"]] = states.get(row["tie_state"], 0) + 1
    account.stories = {
        "consistency": [
            *stories.cadence(tables.one("cadence", name)),
            *stories.listening(tables.one("listening", name)),
        ],
        "value": stories.value(tables.one("value", name), tables.one("dilution", name)),
        "relationships": [
            *stories.growth(months[-1] if months else None),
            *stories.ties(states, TIE_STATES),
            *stories.spike(tables.of("spike", name)),
            *stories.staying(tables.one("test", name)),
        ],
    }
    _draw_calendar(account, tables.of("week", name))
    _draw_growth(account, months)
    account.cohorts, account.periods, account.cohorts_all = triangle(tables.of("cohort", name))
    since = as_of - timedelta(days=SETTLED_WINDOW)
    recent = [row for row in posts if row["published_at"].date() > since]
    valued = [row for row in recent if not row["is_pending"] and row["value_7d"]]
    account.posts = sorted(valued, key=lambda row: -row["value_7d"])[:POSTS]
    account.pending = sum(row["is_pending"] for row in recent)
    account.top = [_tie(row, as_of, names) for row in ties if row["tie_state"] not in QUIET][:TIES]
    losing, waiting = ([_listed(row, names) for row in tables.of(part, name)] for part in ("losing", "waiting"))
    account.losing, account.losing_all = losing[:TIES], len(losing)
    account.waiting, account.waiting_all = waiting[:WAITING], len(waiting)
    account.collection = tables.of("collection", name)


def _facts(question: str, summary: Mapping[str, Row]) -> list[Fact]:
    order = list(wording.MEASURES)
    rows = [row for row in summary.values() if row["question"] == question]
    rows.sort(key=lambda row: (order.index(row["metric"]) if row["metric"] in order else len(order), row["metric"]))
    facts = []
    for row in rows:
        measure = wording.measure(row["metric"])
        facts.append(
            Fact(
                label=measure.label,
                value="" if row["value"] is None else measure.write(row["value"]),
                interval=wording.range_text(row["low"], row["high"], measure.write),
                previous="" if row["previous"] is None else measure.write(row["previous"]),
                basis=""
                if row["n"] is None
                else wording.counted(row["n"], measure.basis)
                if measure.basis
                else str(row["n"]),
                note=wording.sentence(wording.plain(row["note"] or "")),
            )
        )
    return facts


def _draw_calendar(account: Account, rows: Sequence[Row]) -> None:
    if not rows:
        return
    weeks = [
        charts.Week(
            monday=row["week"], posts=row["posts"], active_days=row["active_days"], coverage=row["coverage_share"]
        )
        for row in rows
    ]
    newest = max(week.monday.isocalendar().year for week in weeks)
    shown = [week for week in weeks if week.monday.isocalendar().year > newest - YEARS]
    if len(shown) < len(weeks):
        account.calendar_note = f"The latest {YEARS} years; history reaches back to {weeks[0].monday.isoformat()}."
    limits = charts.breaks([week.posts for week in shown])
    account.calendar_legend = list(zip(charts.shades(limits), charts.ranges(limits), strict=True)) if limits else []
    silent = sum(week.is_known and not week.posts for week in shown)
    unknown = sum(not week.is_known for week in shown)
    account.calendar = charts.calendar(
        shown,
        ident=f"{account.anchor}-calendar",
        title=f"Posting calendar of {account.name}",
        description=(
            f"Posts by week from {shown[0].monday.isoformat()} to {shown[-1].monday.isoformat()}, a row for each year: "
            f"{wording.counted(len(shown), 'week')}, of them {silent} silent and {unknown} not covered."
        ),
    )


def _draw_growth(account: Account, rows: list[dict[str, Any]]) -> None:
    shown = rows[-MONTHS:]
    if not shown:
        return
    account.months, account.months_all = shown[::-1], len(rows)
    account.growth = charts.growth(
        [
            charts.Month(
                first=row["month"], new=row["new"], returning=row["returning"], resurrecting=row["resurrecting"],
                dormant=row["dormant"], note=row["active_note"],
            )
            for row in shown
        ],
        ident=f"{account.anchor}-growth",
        title=f"People active each month, {account.name}",
        description=(
            f"From {shown[0]['month']:%Y-%m} to {shown[-1]['month']:%Y-%m}: people returning, resurrecting and new above "
            "the line, people gone dormant below it. The same numbers follow as a table."
        ),
    )  # fmt: skip


def _listed(row: Row, names: Mapping[str, str] | None) -> Listed:
    known = (names or {}).get(row["person_id"], "").strip()
    return Listed(name=known or row["person_id"][:8], is_named=bool(known), row=row)


def _tie(row: Row, as_of: date, names: Mapping[str, str] | None) -> Tie:
    known = (names or {}).get(row["person_id"], "").strip()
    return Tie(
        name=known or row["person_id"][:8],
        is_named=bool(known),
        row=row,
        silent_days=(as_of - row["last_at"].date()).days,
    )
