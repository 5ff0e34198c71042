"""The cadence marts: small accounts worked out by hand, time zones, outages, and a count over the days."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.metrics.cadence import cadence, cadence_week
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def until(days: int) -> date:
    """The as_of whose end is so many days after the Monday."""
    return (MONDAY + timedelta(days=days - 1)).date()


SPANS, POSTS = TABLES["fct_collection_span"], TABLES["dim_post"]


def posts_of(*rows: tuple[str, str, datetime]) -> pl.LazyFrame:
    """dim_post of (account, platform, published_at)."""
    frame = pl.DataFrame(
        rows,
        schema={
            "account_id": pl.String,
            "platform": pl.String,
            "published_at": POSTS.column("published_at").dtype.polars,
        },
        orient="row",
    )
    return pl.concat([empty(POSTS), frame.with_columns(observed_at="published_at")], how="diagonal").lazy()


def accounts(**zones: str) -> pl.LazyFrame:
    return pl.LazyFrame(
        {"account_id": list(zones), "name": list(zones), "timezone": list(zones.values()),
         "promise_days": [7.0] * len(zones), "is_own": [True] * len(zones)},
        schema=empty(TABLES["dim_account"]).schema,
    )  # fmt: skip


def covered(*rows: tuple[str, str, date, date, str]) -> pl.LazyFrame:
    """fct_collection_span of (account, platform, from, to, status), of posts."""
    frame = pl.DataFrame(
        rows,
        schema={n: SPANS.column(n).dtype.polars for n in ("account_id", "platform", "from_date", "to_date", "status")},
        orient="row",
    ).with_columns(stream=pl.lit("posts"))
    return pl.concat([empty(SPANS), frame], how="diagonal").lazy()


def mart(posts: pl.LazyFrame, dim_account: pl.LazyFrame, spans: pl.LazyFrame, as_of: date) -> dict[str, dict]:
    result = enforce(TABLES["mart_cadence"], cadence(posts, dim_account, spans, as_of=as_of))
    return {row["platform"]: row for row in result.iter_rows(named=True)}


def test_mart_cadence_by_hand() -> None:
    at = [MONDAY + timedelta(days=day, hours=12) for day in (0, 7, 7.2, 35)]
    posts = posts_of(*(("a", "x", t) for t in at), ("a", "y", at[1] + timedelta(days=7)))
    day = MONDAY.date()
    spans = covered(
        ("a", "x", day, until(60), "ok"), ("a", "y", day, until(60), "ok"), ("a", "w", day, day, "not_offered")
    )
    rows = mart(posts, accounts(a="UTC"), spans, until(57))
    assert set(rows) == {"x", "y", "all"}
    x = rows["x"]
    # The window starts with the first post at noon; segments 7, .2, 27.8 and 21.5 days long, the last two keep 10.5.
    assert x["window_days"] == 56.5
    assert x["steadiness"] == pytest.approx((7 + 0.2 + 10.5 + 10.5) / 56.5)
    assert (x["posts"], x["active_days"]) == (4, 3), "noon and 16:48 of one day"
    assert (x["longest_silence_days"], x["open_silence_days"]) == (28, 21)
    assert x["silences_over_promise"] == 2
    assert (x["kept_weeks_share"], x["kept_weeks_share_n"], x["streak_weeks"]) == (3 / 9, 9, 0)
    assert (x["burstiness"], x["memory"], x["promise_days_learned"]) == (None, None, None)
    assert (x["coverage_share"], x["steadiness_note"], x["promise_days"]) == (1, None, 7)
    assert rows["all"]["posts"] == 5
    assert rows["all"]["silences_over_promise"] == 2
    assert rows["y"]["posts"] == 1


def test_the_running_week_does_not_break_a_streak() -> None:
    posts = posts_of(*(("a", "x", MONDAY + timedelta(days=d)) for d in (0, 14, 21, 29)))
    spans = covered(("a", "x", MONDAY.date(), until(60), "ok"))
    for end, streak in ((35, 3), (36, 3), (42, 3), (43, 0)):  # weeks 2 to 4; day 35 starts week 5, day 42 week 6
        assert mart(posts, accounts(a="UTC"), spans, until(end))["x"]["streak_weeks"] == streak


def test_deleted_posts_count_and_unseen_ones_do_not() -> None:
    posts = posts_of(*(("a", "x", MONDAY + timedelta(days=d)) for d in range(40)))
    posts = posts.with_columns(deleted_at=pl.lit(MONDAY)).with_columns(
        pl.when(pl.col("published_at") < MONDAY + timedelta(days=10))
        .then(pl.lit(MONDAY + timedelta(days=90)))
        .otherwise("observed_at")
        .alias("observed_at")
    )
    spans = covered(("a", "x", MONDAY.date(), until(60), "ok"))
    assert mart(posts, accounts(a="UTC"), spans, until(40))["x"]["posts"] == 30


def test_why_a_measure_is_null() -> None:
    start = MONDAY.date()
    posts = posts_of(("a", "x", MONDAY), ("b", "x", MONDAY), ("d", "x", MONDAY))
    spans = covered(
        ("a", "x", start, until(50), "ok"),  # then nothing to day 60
        ("b", "x", start, until(20), "not_started"), ("b", "x", until(21), until(60), "ok"),
        ("c", "x", start, until(60), "ok"),
        ("d", "x", start, until(60), "down"),
    )  # fmt: skip
    frame = cadence(posts, accounts(a="UTC", b="UTC", c="UTC", d="UTC"), spans, as_of=until(60)).collect()
    rows = {r["account_id"]: r for r in frame.filter(platform="x").iter_rows(named=True)}
    assert rows["a"]["steadiness_note"] == "less than 0.9 of the window was collected"
    assert rows["a"]["coverage_share"] == pytest.approx(50 / 60)
    assert {rows["a"][m] for m in ("steadiness", "open_silence_days", "kept_weeks_share", "streak_weeks")} == {None}
    assert (rows["b"]["steadiness_note"], rows["b"]["window_days"]) == (None, 40), "from the start of coverage"
    assert (rows["c"]["steadiness_note"], rows["c"]["steadiness"], rows["c"]["posts"]) == ("no posts", None, 0)
    assert rows["c"]["open_silence_days"] is None
    assert rows["d"]["coverage_share"] == 0
    assert rows["d"]["steadiness_note"] == "less than 0.9 of the window was collected"
    short = cadence(posts, accounts(b="UTC"), spans, as_of=until(40)).collect().row(0, named=True)
    assert (short["steadiness_note"], short["open_silence_days"]) == ("window under 28 days", 20)


def test_uncovered_days_are_no_silence() -> None:
    """Two weeks of outage in a year: they are in no gap, no share of weeks, and break no streak."""
    start, days = MONDAY.date(), [d for d in range(0, 200, 3) if not 100 <= d <= 120]
    posts = posts_of(*(("a", "x", MONDAY + timedelta(days=d)) for d in days))  # 99, then 123
    spans = covered(("a", "x", start, until(100), "ok"), ("a", "x", until(121), until(201), "ok"))  # 100-119 missing
    x = mart(posts, accounts(a="UTC"), spans, until(201))["x"]
    assert x["coverage_share"] == pytest.approx(181 / 201)
    assert (x["longest_silence_days"], x["silences_over_promise"]) == (4, 0)
    # Days 100-119: weeks 15 and 16 (105-118) lie wholly in the outage.
    assert (x["kept_weeks_share"], x["kept_weeks_share_n"], x["streak_weeks"]) == (1, 27, 27)


def test_the_promise_is_learned_before_the_window_only() -> None:
    early = [-100 - 3 * i for i in range(10)]  # every third day, in the 180 days before
    late = range(0, 364, 10)
    posts = posts_of(*(("a", "x", MONDAY + timedelta(days=d)) for d in (*early, *late)))
    spans = covered(("a", "x", (MONDAY - timedelta(days=400)).date(), until(400), "ok"))
    assert mart(posts, accounts(a="UTC"), spans, until(364))["x"]["promise_days_learned"] == 3
    blind = covered(
        ("a", "x", (MONDAY - timedelta(days=400)).date(), until(-40), "ok"), ("a", "x", until(1), until(400), "ok")
    )
    assert mart(posts, accounts(a="UTC"), blind, until(364))["x"]["promise_days_learned"] is None


def test_daylight_saving_keeps_days_whole() -> None:
    """Every evening at 23:30 in Berlin, over both changes of the clock: no gap other than a day."""
    berlin = ZoneInfo("Europe/Berlin")
    at = [datetime(2024, 3, 1, 23, 30, tzinfo=berlin) + timedelta(days=d) for d in range(270)]
    assert {b.astimezone(UTC) - a.astimezone(UTC) for a, b in pairwise(at)} == {
        timedelta(hours=23), timedelta(hours=24), timedelta(hours=25)
    }  # fmt: skip
    posts = posts_of(*(("a", "x", t.astimezone(UTC)) for t in at))
    spans = covered(("a", "x", date(2024, 3, 1), date(2024, 12, 31), "ok"))
    x = mart(posts, accounts(a="Europe/Berlin"), spans, date(2024, 11, 25))["x"]
    assert (x["active_days"], x["longest_silence_days"], x["burstiness"]) == (270, 1, pytest.approx(-1))


def test_a_leap_day_is_a_day() -> None:
    posts = posts_of(*(("a", "x", datetime(2024, 2, 27, tzinfo=UTC) + timedelta(days=d)) for d in range(5)))
    spans = covered(("a", "x", date(2024, 2, 1), date(2024, 12, 31), "ok"))
    x = mart(posts, accounts(a="UTC"), spans, date(2024, 3, 31))["x"]
    assert (x["active_days"], x["window_days"], x["open_silence_days"]) == (5, 34, 29)
    weeks = cadence_week(posts, spans, as_of=date(2024, 3, 3)).filter(pl.col("platform") == "x").collect()
    assert weeks["posts"].to_list() == [0, 0, 0, 0, 5]


@settings(max_examples=15, deadline=None)
@given(days=st.lists(st.integers(0, 500), min_size=1, max_size=60), end=st.integers(30, 520))
def test_gaps_and_weeks_equal_a_count_over_the_days(days, end) -> None:
    posts = posts_of(*(("a", "x", MONDAY + timedelta(days=d)) for d in days))
    spans = covered(("a", "x", MONDAY.date(), until(600), "ok"))
    x = mart(posts, accounts(a="UTC"), spans, until(end))["x"]
    seen = sorted({d for d in days if d < end})
    if not seen:
        assert x["steadiness_note"] == "no posts"
        return
    first = max(end - 364, seen[0])
    active = [d for d in seen if d >= first]
    gaps = [*(b - a for a, b in pairwise(active)), end - 1 - seen[-1]]
    assert x["posts"] == len([d for d in days if first <= d < end])
    assert (x["active_days"], x["longest_silence_days"], x["open_silence_days"]) == (len(active), max(gaps), gaps[-1])
    assert x["silences_over_promise"] == sum(gap > 14 for gap in gaps)
    weeks, touched = {d // 7 for d in active}, range(first // 7, (end - 1) // 7 + 1)
    assert x["kept_weeks_share"] == pytest.approx(len(weeks) / len(touched))
    streak, week = 0, touched[-1] if touched[-1] in weeks else touched[-1] - 1
    while week in weeks:
        streak, week = streak + 1, week - 1
    assert x["streak_weeks"] == streak
    before = sorted(d for d in days if first - 180 <= d < first)
    expected = min(28, max(1, median(b - a for a, b in pairwise(before)))) if len(before) > 1 else None
    assert x["promise_days_learned"] == expected


def test_mart_cadence_week_lists_every_week_since_birth() -> None:
    wednesday = (MONDAY + timedelta(days=2)).date()
    posts = posts_of(
        ("a", "x", MONDAY + timedelta(days=3)), ("a", "x", MONDAY + timedelta(days=3.5)),
        ("a", "x", MONDAY + timedelta(days=4)), ("a", "y", MONDAY + timedelta(days=22)),
    )  # fmt: skip
    spans = covered(
        ("a", "x", wednesday, until(12), "ok"), ("a", "x", until(13), until(14), "down"),
        ("a", "x", until(15), until(30), "ok"), ("a", "y", until(15), until(30), "ok"),
    )  # fmt: skip
    result = enforce(TABLES["mart_cadence_week"], cadence_week(posts, spans, as_of=until(23)))
    assert result.columns == list(TABLES["mart_cadence_week"].column_names)
    weeks = [(MONDAY + timedelta(days=d)).date() for d in (0, 7, 14, 21)]
    assert result.rows() == [
        ("a", "all", weeks[0], 3, 2, 1), ("a", "all", weeks[1], 0, 0, 5 / 7),
        ("a", "all", weeks[2], 0, 0, 1), ("a", "all", weeks[3], 1, 1, 1),
        ("a", "x", weeks[0], 3, 2, 1), ("a", "x", weeks[1], 0, 0, 5 / 7),
        ("a", "x", weeks[2], 0, 0, 1), ("a", "x", weeks[3], 0, 0, 1),
        ("a", "y", weeks[2], 0, 0, 1), ("a", "y", weeks[3], 1, 1, 1),
    ]  # fmt: skip


def test_marts_of_nothing_are_empty_and_the_order_of_rows_does_not_matter() -> None:
    nothing = cadence(posts_of(), accounts(), covered(), as_of=until(1))
    assert enforce(TABLES["mart_cadence"], nothing).is_empty()
    assert enforce(TABLES["mart_cadence_week"], cadence_week(posts_of(), covered(), as_of=until(1))).is_empty()
    start = MONDAY.date()
    posts = posts_of(
        *((a, p, MONDAY + timedelta(days=d * k)) for a, k in (("a", 2), ("b", 3)) for p in "xy" for d in range(60))
    )
    spans = covered(*((a, p, start, until(400), "ok") for a in "ab" for p in "xy"))
    zones = accounts(a="Europe/Berlin", b="America/New_York")
    expected = cadence(posts, zones, spans, as_of=until(200)).collect()
    for seed in range(3):
        mixed = [f.collect().sample(fraction=1, shuffle=True, seed=seed).lazy() for f in (posts, zones, spans)]
        assert_frame_equal(cadence(*mixed, as_of=until(200)).collect(), expected, check_exact=True)
    assert expected["account_id"].to_list() == ["a"] * 3 + ["b"] * 3
