"""Spans against a day-by-day count, and small ledgers worked out by hand."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.metrics.coverage import births, collection, coverage_share, missing
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES

AS_OF = date(2024, 1, 31)
SPAN = TABLES["fct_collection_span"]


def jan(day: int) -> date:
    return date(2024, 1, 1) + timedelta(days=day - 1)


def ledger(*spans: tuple) -> pl.LazyFrame:
    """Spans (platform, first day, last day, status) of January 2024, of account a's posts."""
    rows = [
        {
            "account_id": "a", "platform": platform, "stream": "posts", "from_date": jan(first), "to_date": jan(last),
            "status": status, "reason": None if status == "ok" else f"because {status}",
            "last_ok_at": datetime(2024, 3, 1, tzinfo=UTC),
        }
        for platform, first, last, status in spans
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=empty(SPAN).schema).lazy() if rows else empty(SPAN).lazy()


HOLED = (
    ("x", 1, 3, "not_started"),
    ("x", 4, 10, "ok"),
    ("x", 11, 12, "down"),
    ("x", 15, 20, "ok"),
    ("y", 8, 28, "ok"),
    ("z", 5, 5, "not_offered"),
)


def spans_of(frame: pl.LazyFrame) -> list[tuple]:
    return [(p, f.day, t.day) for p, f, t in frame.select("platform", "from_date", "to_date").collect().iter_rows()]


def test_births_are_the_first_day_of_any_span_and_all_is_the_earliest() -> None:
    result = births(ledger(*HOLED), stream="posts", as_of=AS_OF).collect()
    assert result.rows() == [
        ("a", "all", jan(1), jan(4)),
        ("a", "x", jan(1), jan(4)),
        ("a", "y", jan(8), jan(8)),
    ]


def test_nothing_after_as_of_is_seen() -> None:
    result = births(ledger(*HOLED), stream="posts", as_of=jan(3)).collect()
    assert result.rows() == [("a", "all", jan(1), None), ("a", "x", jan(1), None)]
    assert births(ledger(*HOLED), stream="inbound", as_of=AS_OF).collect().is_empty()
    assert missing(ledger(*HOLED), stream="inbound", as_of=AS_OF).collect().is_empty()


def test_missing_days_are_maximal_spans_up_to_as_of() -> None:
    result = missing(ledger(*HOLED), stream="posts", as_of=AS_OF)
    assert spans_of(result) == [
        ("all", 1, 3), ("all", 11, 14), ("all", 21, 31),
        ("x", 1, 3), ("x", 11, 14), ("x", 21, 31),
        ("y", 29, 31),
    ]  # fmt: skip


def test_all_is_missing_wherever_one_platform_is() -> None:
    result = missing(
        ledger(("x", 1, 10, "ok"), ("x", 13, 31, "ok"), ("y", 5, 12, "ok"), ("y", 15, 31, "ok")),
        stream="posts",
        as_of=AS_OF,
    )
    assert spans_of(result)[:1] == [("all", 11, 14)], "11-12 on x and 13-14 on y are one stretch"


def test_days_before_the_birth_are_not_missing() -> None:
    windows = pl.LazyFrame(
        {"account_id": ["a"] * 6, "platform": ["x", "y", "all", "y", "w", "x"], "from_date": [jan(1)] * 5 + [jan(30)],
         "to_date": [jan(10), jan(10), jan(20), jan(7), jan(10), date(2024, 2, 20)], "row": range(6)}
    )  # fmt: skip
    result = coverage_share(windows, ledger(*HOLED), stream="posts", as_of=AS_OF).sort("row").collect()
    assert result.columns == ["account_id", "platform", "from_date", "to_date", "row", "coverage_share"]
    assert result["coverage_share"].to_list() == [0.7, 1.0, 13 / 20, None, None, 0.0]


def test_collection_says_what_holds_on_as_of() -> None:
    result = enforce(TABLES["mart_collection"], collection(ledger(*HOLED), as_of=AS_OF))
    seen = datetime(2024, 3, 1, tzinfo=UTC)
    assert result.rows() == [
        ("a", "x", "posts", jan(4), jan(20), 13 / 31, seen, "down", "not collected since 2024-01-20"),
        ("a", "y", "posts", jan(8), jan(28), 21 / 24, seen, "down", "not collected since 2024-01-28"),
        ("a", "z", "posts", None, None, None, None, "not_offered", "because not_offered"),
    ]
    earlier = collection(ledger(*HOLED), as_of=jan(11)).collect()
    assert earlier.select("covered_to", "status", "reason").rows() == [
        (jan(10), "down", "because down"),
        (jan(11), "ok", None),
        (None, "not_offered", "because not_offered"),
    ]


def test_an_empty_ledger_gives_empty_frames() -> None:
    nothing = ledger()
    assert enforce(TABLES["mart_collection"], collection(nothing, as_of=AS_OF)).is_empty()
    assert births(nothing, stream="posts", as_of=AS_OF).collect().is_empty()


STATUSES = st.sampled_from(["ok", "ok", "down", "partial", "not_started", None])
DAYS = st.lists(STATUSES, min_size=1, max_size=45)


def from_days(platform: str, days: list[str | None]) -> list[tuple]:
    return [(platform, i + 1, i + 1, status) for i, status in enumerate(days) if status is not None]


@settings(max_examples=60, deadline=None)
@given(x=DAYS, y=DAYS, start=st.integers(1, 45), length=st.integers(1, 45), seed=st.integers(0, 9))
def test_span_arithmetic_equals_a_day_by_day_count(x, y, start, length, seed) -> None:
    spans = ledger(*from_days("x", x), *from_days("y", y)).collect().sample(fraction=1, shuffle=True, seed=seed).lazy()
    holes: dict[str, set] = {}
    born: dict[str, int] = {}
    for platform, days in (("x", x), ("y", y)):
        known = [i + 1 for i, status in enumerate(days) if status is not None and i < 31]
        if known:
            born[platform] = min(known)
            covered = {i + 1 for i, status in enumerate(days) if status == "ok"}
            holes[platform] = set(range(min(known), 32)) - covered
    if born:
        born["all"], holes["all"] = min(born.values()), set().union(*holes.values())
    result: dict[str, set] = {platform: set() for platform in born}
    for platform, first, last in spans_of(missing(spans, stream="posts", as_of=AS_OF)):
        assert first - 1 not in result[platform], "adjacent spans are one"
        result[platform] |= set(range(first, last + 1))
    assert result == holes

    window = {
        "account_id": "a",
        "platform": ["x", "y", "all"],
        "from_date": jan(start),
        "to_date": jan(start + length - 1),
    }
    shares = coverage_share(pl.LazyFrame(window), spans, stream="posts", as_of=AS_OF).collect()
    for platform, share in shares.select("platform", "coverage_share").iter_rows():
        days = set(range(max(start, born.get(platform, 99)), min(start + length - 1, 31) + 1))
        expected = len(days - holes[platform]) / len(days) if days else None
        assert share == expected or abs(share - expected) < 1e-12


@settings(max_examples=20, deadline=None)
@given(days=DAYS, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(days, seed) -> None:
    spans = ledger(*from_days("x", days), ("y", 3, 9, "ok")).collect()
    shuffled = spans.sample(fraction=1, shuffle=True, seed=seed)
    assert_frame_equal(
        collection(spans.lazy(), as_of=AS_OF).collect(), collection(shuffled.lazy(), as_of=AS_OF).collect()
    )
