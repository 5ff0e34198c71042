"""Lifecycle accounting: tiny histories by hand, a plain-Python oracle, both engines."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics.growth import (
    growth,
    lifecycle,
    lifecycle_counts,
    lifecycle_states,
    strength_a_year_apart,
)
from assets.metrics.people import active_days, beginnings, day_number, month_of, period_start, persons, week_of
from quality.catalog import marts
from quality.catalog.model import enforce
from tests.metrics.community import (
    START,
    as_rows,
    at,
    fold,
    fold_of,
    identities,
    in_duckdb,
    posts,
    profiles,
    small_communities,
    span,
    spans,
    visits,
)

AS_OF = date(2024, 6, 30)  # a Sunday, and the end of a month
COUNTS = ["active", "new", "returning", "resurrecting", "dormant"]


def grow(rows, people, period, *, as_of=AS_OF, covered=None, post=None, profile=None):
    covered = covered if covered is not None else spans(span(START, as_of))
    post = post if post is not None else posts(START)
    profile = profile if profile is not None else profiles()
    frame = growth(rows, people, post, profile, covered, as_of=as_of, period=period)
    table = marts.mart_growth_week if period == "week" else marts.mart_growth_month
    return enforce(table, frame)


def on(frame, platform="all"):
    return frame.filter(pl.col("platform") == platform)


def test_calendar_numbers():
    for offset in range(0, 20_000, 13):
        day = date(1990, 1, 1) + timedelta(days=offset)
        number = day_number(day)
        assert month_of(number) == day.year * 12 + day.month - 1
        assert period_start(month_of(number), "month") == day_number(day.replace(day=1))
        assert period_start(week_of(number), "week") == day_number(day - timedelta(days=day.weekday()))


def test_lifecycle_of_one_person_by_hand():
    # January, February, nothing in March and April, May, then silent.
    rows = fold(visits("p", date(2024, 1, 5), date(2024, 1, 20), date(2024, 2, 1), date(2024, 5, 31)))
    got = on(grow(rows, identities(["p"]), "month"))
    assert got.select("month", *COUNTS).rows() == [
        (date(2024, 1, 1), 1, 1, 0, 0, 0),
        (date(2024, 2, 1), 1, 0, 1, 0, 0),
        (date(2024, 3, 1), 0, 0, 0, 0, 1),
        (date(2024, 4, 1), 0, 0, 0, 0, 0),
        (date(2024, 5, 1), 1, 0, 0, 1, 0),
        (date(2024, 6, 1), 0, 0, 0, 0, 1),
    ]
    # January: no one left, so no ratio. March: (0 + 0) / 1.
    assert got["quick_ratio"].to_list() == [None, None, 0.0, None, None, 0.0]


def test_lifecycle_names_each_period():
    days = pl.LazyFrame(
        {"account_id": "a", "platform": "all", "person_id": "p", "day": [day_number(START), day_number(START) + 7]}
    ).with_columns(month=month_of(pl.col("day")))
    got = lifecycle(days, as_of=date(2024, 1, 28), period="week").collect()
    assert got.select("week", "lifecycle").rows() == [
        (date(2024, 1, 1), "new"),
        (date(2024, 1, 8), "returning"),
        (date(2024, 1, 15), "dormant"),
    ]


def test_quick_ratio_counts_new_and_back_over_gone():
    # March: q and r new, s back; p and t gone: 3 / 2.
    rows = fold(
        visits("p", date(2024, 2, 1)) + visits("t", date(2024, 2, 2)) + visits("q", date(2024, 3, 1))
        + visits("r", date(2024, 3, 1)) + visits("s", date(2024, 1, 1), date(2024, 3, 31))
    )  # fmt: skip
    got = on(grow(rows, identities("pqrst"), "month")).filter(pl.col("month") == date(2024, 3, 1))
    assert got.select(*COUNTS, "quick_ratio").row(0) == (3, 2, 0, 1, 2, 1.5)


def test_two_identities_are_one_person_and_bots_none():
    rows = fold(
        visits("i", date(2024, 1, 5)) + visits("j", date(2024, 1, 6), date(2024, 2, 1), platform="toots")
        + visits("robot", date(2024, 1, 7))
    )  # fmt: skip
    people = identities({"i": "i", "j": "i", "robot": "robot"}, bots=["robot"])
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = grow(rows, people, "month", covered=covered)
    january = got.filter(pl.col("month") == date(2024, 1, 1)).select("platform", "active", "new").rows()
    assert january == [("all", 1, 1), ("blog", 1, 1), ("toots", 1, 1)]
    february = got.filter(pl.col("month") == date(2024, 2, 1)).select("platform", "returning", "dormant").rows()
    assert february == [("all", 1, 0), ("blog", 0, 1), ("toots", 1, 0)]


def test_follows_and_untimed_rows_make_no_one_active():
    rows = fold(visits("p", date(2024, 1, 5), inbound_active=0, inbound_composed=0))
    assert on(grow(rows, identities(["p"]), "month"))["active"].to_list() == [0] * 6


def test_only_complete_periods():
    rows = fold(visits("p", date(2024, 2, 28)))
    assert on(grow(rows, identities(["p"]), "month", as_of=date(2024, 2, 28))).height == 1
    assert on(grow(rows, identities(["p"]), "month", as_of=date(2024, 2, 29))).height == 2
    assert on(grow(rows, identities(["p"]), "week", as_of=date(2024, 1, 13))).height == 1
    assert on(grow(rows, identities(["p"]), "week", as_of=date(2024, 1, 14))).height == 2


def test_the_period_of_birth_counts_because_days_before_it_are_not_missing():
    born = date(2024, 1, 10)
    rows = fold(visits("p", born))
    got = on(grow(rows, identities(["p"]), "month", covered=spans(span(born, AS_OF)), post=posts(born)))
    assert got.select("month", "new", "coverage_share").row(0) == (date(2024, 1, 1), 1, 1.0)


def test_truncated_history_starts_after_ninety_covered_days():
    # Covered from 10 January, posts since 2001: 10 January + 90 days = 9 April is the first day that is known.
    born = date(2024, 1, 10)
    rows = fold(visits("old", date(2024, 2, 1), date(2024, 5, 2)) + visits("late", date(2024, 4, 20), date(2024, 5, 5)))
    args = {"covered": spans(span(born, AS_OF)), "post": posts(date(2001, 1, 1))}
    got = on(grow(rows, identities(["old", "late"]), "month", **args))
    assert got.select("month", *COUNTS).rows() == [
        # old: back after three months, not new. late: came in April, whose row would be partly unknown.
        (date(2024, 5, 1), 2, 0, 1, 1, 0),
        (date(2024, 6, 1), 0, 0, 0, 0, 2),
    ]
    assert on(grow(rows, identities(["old", "late"]), "week", **args))["week"][0] == date(2024, 4, 15)


def test_ninety_covered_days_are_counted_without_the_holes():
    begun = beginnings(
        posts(date(2001, 1, 1)),
        profiles(),
        spans(span(START, date(2024, 1, 20)), span(date(2024, 2, 1), date(2024, 6, 30))),
        as_of=AS_OF,
    ).collect()
    # 20 days in January, 11 missing, 70 from 1 February: the last is 10 April.
    assert set(begun["known_from"]) == {day_number(date(2024, 4, 11))}
    assert begun["is_truncated"].all()


def test_birth_of_the_profile_truncates_and_a_later_one_does_not():
    covered = spans(span(START, AS_OF))
    none = posts()
    assert (
        beginnings(none, profiles(born_at=at(date(2023, 12, 31))), covered, as_of=AS_OF).collect()["is_truncated"].all()
    )
    assert not beginnings(none, profiles(born_at=at(START)), covered, as_of=AS_OF).collect()["is_truncated"].any()
    assert not beginnings(none, profiles(), covered, as_of=AS_OF).collect()["is_truncated"].any()


def test_an_uncovered_month_is_unknown_and_the_next_cannot_compare():
    rows = fold(visits("p", *(date(2024, m, 3) for m in range(1, 7))))
    covered = spans(
        span(START, date(2024, 2, 29)),
        span(date(2024, 3, 1), date(2024, 3, 31), status="down"),
        span(date(2024, 4, 1), AS_OF),
    )
    got = on(grow(rows, identities(["p"]), "month", covered=covered))
    assert got.select(*COUNTS).rows()[1:5] == [
        (1, 0, 1, 0, 0),
        (None,) * 5,
        (1, 0, None, None, None),
        (1, 0, 1, 0, 0),
    ]
    assert got["coverage_share"].to_list() == [1, 1, 0, 1, 1, 1]
    assert [note is None for note in got["active_note"]] == [True, True, False, False, True, True]


def test_a_platform_without_inbound_has_no_rows():
    covered = spans(span(START, AS_OF), span(START, START, platform="feed", status="not_offered"))
    got = grow(fold(visits("p", START)), identities(["p"]), "month", covered=covered)
    assert set(got["platform"]) == {"all", "blog"}


def test_stickiness_is_mean_weekly_over_monthly_people():
    # Mondays of January 2024: 1, 8, 15, 22, 29. p in three of the weeks, q in one, r in none but February's:
    # weekly 2, 1, 0, 1, 1 (r on 1 February lies in the week of 29 January); monthly 2; (5 / 5) / 2.
    rows = fold(
        visits("p", date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 22)) + visits("q", date(2024, 1, 7))
        + visits("r", date(2024, 2, 1))
    )  # fmt: skip
    got = on(grow(rows, identities("pqr"), "month"))
    assert got["stickiness"][0] == pytest.approx(0.5)
    # 31 January ends the month but not the week of the 29th.
    assert on(grow(rows, identities("pqr"), "month", as_of=date(2024, 1, 31)))["stickiness"].to_list() == [None]
    assert on(grow(rows, identities("pqr"), "month", as_of=date(2024, 2, 4)))["stickiness"][0] == pytest.approx(0.5)


def test_net_and_gross_retention_by_hand():
    # End of March 2025, 90 days: 1 January to 31 March. A year (365 days) ago: 2 January 2024 to 31 March 2024.
    rows = fold(
        visits("p", date(2024, 1, 2), strength=4.0) + visits("p", date(2025, 1, 1), strength=6.0)
        + visits("q", date(2024, 3, 31), strength=4.0) + visits("q", date(2025, 3, 31), strength=1.0)
        + visits("gone", date(2024, 2, 1), strength=2.0) + visits("new", date(2025, 2, 1), strength=9.0)
        + visits("early", date(2024, 1, 1), strength=9.0) + visits("p", date(2024, 12, 31), strength=9.0)
    )  # fmt: skip
    got = on(grow(rows, identities(["p", "q", "gone", "new", "early"]), "month", as_of=date(2025, 3, 31)))
    # Then 4 + 4 + 2 = 10; now 6 + 1 + 0 = 7; kept min(4,6) + min(4,1) + 0 = 5.
    assert got.select("net_retention", "gross_retention", "net_retention_n").row(-1) == (0.7, 0.5, 3)
    assert got.select("net_retention", "net_retention_n").row(0) == (None, None)
    # A month of the year-ago window was not collected: 31 of 90 days.
    hole = spans(span(START, date(2024, 1, 31)), span(date(2024, 3, 3), date(2025, 3, 31)))
    got = on(grow(rows, identities(["p", "q", "gone", "new", "early"]), "month", as_of=date(2025, 3, 31), covered=hole))
    assert got.select("net_retention", "gross_retention", "net_retention_n").row(-1) == (None, None, None)


def test_strength_is_of_both_directions_and_so_is_the_coverage_it_needs():
    rows = fold(visits("p", date(2024, 1, 2), strength=4.0) + visits("p", date(2025, 1, 1), strength=2.0))
    whole, end = span(START, date(2025, 3, 31)), date(2025, 3, 31)

    def net(*outbound):
        return on(grow(rows, identities(["p"]), "month", as_of=end, covered=spans(whole, *outbound)))["net_retention"][
            -1
        ]

    assert net(span(START, end, stream="outbound")) == 0.5
    assert net(span(START, START, stream="outbound", status="not_offered")) == 0.5
    # What was written to people in February and March of the year before is not known.
    hole = [span(START, date(2024, 1, 31), stream="outbound"), span(date(2024, 4, 1), end, stream="outbound")]
    assert net(*hole) is None


def oracle(community: Mapping[str, list[date]], period: str, as_of: date) -> list[tuple[date, ...]]:
    """The counts by a loop over periods."""

    def start(day: date) -> date:
        return day - timedelta(days=day.weekday()) if period == "week" else day.replace(day=1)

    def after(day: date) -> date:
        return day + timedelta(days=7) if period == "week" else (day + timedelta(days=31)).replace(day=1)

    rows, now, before, ever = [], START, set(), set()
    while after(now) <= as_of + timedelta(days=1):
        here = {p for p, days in community.items() if any(start(d) == now for d in days)}
        rows.append(
            (now, len(here), len(here - ever), len(here & before), len((here & ever) - before), len(before - here))
        )
        before, ever, now = here, ever | here, after(now)
    return rows


@settings(max_examples=20, deadline=None)
@given(community=small_communities(), period=st.sampled_from(["week", "month"]), extra=st.integers(0, 40))
def test_counts_equal_a_loop_over_periods_and_add_up(community, period, extra):
    as_of = date(2024, 4, 1) + timedelta(days=extra)
    got = on(grow(fold_of(community), identities(list(community)), period, as_of=as_of))
    rows = got.select(period, *COUNTS).rows()
    assert rows == oracle({p: [d for d in days if d <= as_of] for p, days in community.items()}, period, as_of)
    for (_, before, *_), (_, active, new, _, back, gone) in pairwise(rows):
        assert active == before + new + back - gone


@settings(max_examples=5, deadline=None)
@given(community=small_communities(), seed=st.integers(0, 9))
def test_order_of_rows_later_rows_and_empty_platforms_change_nothing(community, seed):
    as_of = date(2024, 4, 30)
    rows, people = fold_of(community).collect(), identities(list(community))
    want = grow(rows.lazy(), people, "month", as_of=as_of)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=seed).lazy()
    assert grow(shuffled, people, "month", as_of=as_of).equals(want)
    known = rows.filter(pl.col("date") <= as_of).lazy()
    assert grow(known, people, "month", as_of=as_of, covered=spans(span(START, date(2025, 1, 1)))).equals(want)
    two = spans(span(START, as_of), span(START, as_of, platform="empty"))
    got = grow(rows.lazy(), people, "month", as_of=as_of, covered=two)
    assert got.filter(pl.col("platform") != "empty").equals(want)
    assert on(got, "empty")["active"].sum() == 0


@settings(max_examples=3, deadline=None)
@given(community=small_communities(days=500), period=st.sampled_from(["week", "month"]))
def test_duckdb_and_polars_agree(community, period):
    as_of = date(2025, 4, 20)
    rows, people = fold_of(community), identities(list(community))
    with duckdb.connect() as connection:
        here = persons(rows, people, as_of=as_of)
        there = persons(in_duckdb(rows, connection, "f"), in_duckdb(people, connection, "i"), as_of=as_of)
        assert as_rows(there) == as_rows(here)
        days = active_days(here)
        for step in (lifecycle_states, lifecycle_counts):
            assert as_rows(step(active_days(there), as_of=as_of, period=period)) == as_rows(
                step(days, as_of=as_of, period=period)
            )
        assert as_rows(strength_a_year_apart(there, as_of=as_of)) == as_rows(strength_a_year_apart(here, as_of=as_of))
        assert isinstance(days, nw.LazyFrame)
