"""Lapse: silences by hand, the threshold against a plain-Python loop over days, both engines, what must always hold."""

from datetime import timedelta
from itertools import pairwise

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics.lapse import clock, clocked, lifetimes, silences, thresholds
from assets.metrics.people import day_number
from assets.metrics.survival import kaplan_meier
from tests.metrics.community import START, as_rows, in_duckdb, span, spans

ZERO = day_number(START)


def quiet(lives: dict[str, list[int]], end: int, account: str = "a") -> pl.LazyFrame:
    """Silences of people by their active days, in days since some beginning."""
    days = pl.LazyFrame(
        [(account, p, d) for p, life in lives.items() for d in life],
        schema={"account_id": pl.String, "person_id": pl.String, "day": pl.Int64},
        orient="row",
    )
    ends = pl.LazyFrame({"account_id": [account], "end_day": [end]})
    return silences(nw.from_native(days), nw.from_native(ends)).to_native()


def lived(lives: dict[str, list[int]], end: int, lapse_days: int) -> dict[str, tuple[int, bool, int]]:
    limits = nw.from_native(pl.LazyFrame({"account_id": ["a"], "lapse_days": [lapse_days]}))
    rows = lifetimes(nw.from_native(quiet(lives, end)), limits).to_native().collect().rows()
    return {p: (duration, observed, followed) for _, p, duration, observed, followed in rows}


def threshold(gaps: list[tuple[int, bool]]) -> tuple[int, float | None, str | None]:
    frame = pl.LazyFrame(
        [("a", d, o) for d, o in gaps],
        schema={"account_id": pl.String, "duration": pl.Int64, "is_observed": pl.Boolean},
        orient="row",
    )
    return thresholds(frame).drop("account_id").collect().row(0)


def test_silences_by_hand():
    rows = sorted(quiet({"p": [3, 10, 11], "q": [20]}, 20).collect().rows())
    assert rows == [("a", "p", 0, 7, True), ("a", "p", 7, 1, True), ("a", "p", 8, 9, False), ("a", "q", 0, 0, False)]


def test_lapse_is_a_stopping_time():
    """Ten days of silence are a lapse on the tenth; a return on the tenth day is none, one on the eleventh comes after."""
    lives = {"back on time": [0, 10], "too late": [0, 11, 12, 13], "once": [0]}
    assert lived(lives, 19, 10) == {"back on time": (19, False, 19), "too late": (10, True, 19), "once": (10, True, 19)}
    # Day 20 is the tenth without a sign after day 10.
    assert lived(lives, 20, 10)["back on time"] == (20, True, 20)
    assert lived({"once": [0]}, 9, 10) == {"once": (9, False, 9)}


def test_whoever_came_back_later_stays_lapsed():
    before, after = lived({"p": [0, 5]}, 40, 28)["p"], lived({"p": [0, 5, 90, 95]}, 100, 28)["p"]
    assert before[:2] == after[:2] == (33, True)


def test_all_at_one_instant():
    assert lived({"p": [0], "q": [0]}, 0, 28) == {"p": (0, False, 0), "q": (0, False, 0)}


def test_all_lapsed_on_one_day():
    assert set(lived({str(i): [0] for i in range(5)}, 500, 28).values()) == {(28, True, 500)}


def test_nobody():
    assert quiet({}, 10).collect().is_empty()
    assert thresholds(quiet({}, 10)).collect().is_empty()


def test_one_person():
    assert threshold([(400, False)]) == (28, 0.0, "the least of 28 days binds")


def test_threshold_by_hand():
    """S falls to 0.2 at 5, to 0.1 at 60: silent for 28 days, half come back within 90; silent for 60, nobody."""
    gaps = [(5, True)] * 8 + [(60, True), (200, False)]
    assert threshold(gaps) == (60, 0.0, None)
    # One in ten of those silent for 30 days: exactly 10 % is enough.
    gaps = [(30, True)] * 10 + [(100, True)] + [(500, False)] * 9
    assert threshold(gaps) == (30, pytest.approx(0.1), None)


def test_threshold_where_the_least_binds():
    assert threshold([(3, True)] * 5 + [(200, False)] * 95) == (28, 0.0, "the least of 28 days binds")
    # At day 0 nine of a hundred come back within 90 days, of those left at day 28 one in ten more.
    gaps = [(100, True)] * 12 + [(300, False)] * 88
    assert threshold(gaps) == (28, 0.12, "the least of 28 days binds; the risk is above 10 %")


def test_threshold_where_the_most_binds():
    gaps = [(d, True) for d in range(1, 400)] + [(500, False)]
    days, risk, note = threshold(gaps)
    assert (days, note) == (180, "the most of 180 days binds; the risk is above 10 %")
    assert risk == pytest.approx(90 / 220)


def test_threshold_where_no_silence_lasted_so_long():
    assert threshold([(5, True)] * 8) == (180, None, "the most of 180 days binds; no silence lasted so long")


def test_threshold_of_a_short_history_is_a_lower_bound():
    note = "the least of 28 days binds; at least so much: nobody was followed for 90 days more"
    assert threshold([(50, False)] * 5) == (28, 0.0, note)


def loop_over_days(gaps: list[tuple[int, bool]]) -> tuple[int, float | None]:
    """The definition, day by day."""
    time, survival, _ = kaplan_meier([d for d, _ in gaps], [o for _, o in gaps])

    def lasts(day: int) -> float:
        return float(survival[time <= day][-1]) if (time <= day).any() else 1.0

    def risk(day: int) -> float | None:
        return 1 - lasts(day + 90) / lasts(day) if lasts(day) > 0 else None

    smallest = next((d for d in range(1000) if (r := risk(d)) is not None and r <= 0.1 + 1e-9), 1000)
    chosen = min(max(smallest, 28), 180)
    return chosen, risk(chosen)


gaps_of_an_account = st.lists(
    st.tuples(st.one_of(st.integers(0, 40), st.integers(20, 300)), st.booleans()), min_size=1, max_size=40
)


@given(gaps=gaps_of_an_account, seed=st.randoms())
def test_threshold_equals_a_loop_over_days_whatever_the_order(gaps, seed):
    days, risk, note = threshold(gaps)
    assert (days, risk) == pytest.approx(loop_over_days(gaps))
    seed.shuffle(gaps)
    assert threshold(gaps) == (days, risk, note)
    assert 28 <= days <= 180
    assert risk is None or 0 <= risk <= 1
    assert risk is None or risk <= 0.1 + 1e-9 or "above 10 %" in note


lives_of_people = st.dictionaries(
    st.sampled_from("pqrs"),
    st.lists(st.integers(0, 200), min_size=1, max_size=10).map(lambda x: sorted(set(x))),
    min_size=1,
)


@given(lives=lives_of_people, more=st.integers(0, 200), lapse_days=st.integers(28, 60))
def test_lifetimes_equal_a_walk_along_each_life(lives, more, lapse_days):
    end = max(life[-1] for life in lives.values()) + more
    got = lived(lives, end, lapse_days)
    for person, life in lives.items():
        lapsed = next((a + lapse_days - life[0] for a, b in pairwise([*life, end + 1]) if b - a > lapse_days), None)
        whole = end - life[0]
        assert got[person] == (whole if lapsed is None else lapsed, lapsed is not None, whole)
    # Known earlier, a lapse was the same: what is after it does not matter.
    for person, (duration, observed, _) in got.items():
        at = lives[person][0] + duration
        if observed:
            known = {person: [d for d in lives[person] if d <= at]}
            assert lived(known, at, lapse_days)[person][:2] == (duration, True)


def test_the_same_in_duckdb():
    lives = {"p": [0, 3, 60, 61], "q": [5], "r": [10, 20, 30, 80]}
    days = pl.LazyFrame(
        [("a", p, d) for p, life in lives.items() for d in life],
        schema=["account_id", "person_id", "day"],
        orient="row",
    )
    ends = pl.LazyFrame({"account_id": ["a"], "end_day": [90]})
    limits = pl.LazyFrame({"account_id": ["a"], "lapse_days": [30]})
    moved = pl.LazyFrame({"account_id": ["a", "a"], "day": [60, 61], "at": [58, 58]})
    with duckdb.connect() as connection:
        engines = [
            tuple(nw.from_native(frame) for frame in (days, ends, limits, moved)),
            tuple(
                in_duckdb(frame, connection, name)
                for name, frame in (("days", days), ("ends", ends), ("limits", limits), ("moved", moved))
            ),
        ]
        polars, other = (
            [as_rows(gaps := silences(clocked(d, m).unique(), e)), as_rows(lifetimes(gaps, t))]
            for d, e, t, m in engines
        )
    assert polars == other
    assert len(polars[1]) == 3


def test_the_clock_stands_still_while_nothing_is_collected():
    """Days 10 to 19 are missing, and the last two: a silence over the hole is ten days shorter."""
    as_of = START + timedelta(days=40)
    covered = spans(span(START, START + timedelta(days=9)), span(START + timedelta(days=20), as_of - timedelta(days=2)))
    active = [ZERO + d for d in (1, 12, 15, 25, 40)]
    days = pl.LazyFrame({"account_id": "a", "person_id": "p", "day": active})
    ticks = clock(days, covered, as_of=as_of)
    on_clock = dict(ticks.days.select("day", "at").collect().rows())
    assert {d - ZERO: at - ZERO for d, at in on_clock.items()} == {1: 1, 12: 10, 15: 10, 25: 15, 40: 29}
    assert ticks.ends.collect().rows() == [("a", ZERO + 28)]
    moved = clocked(nw.from_native(days), nw.from_native(ticks.days)).unique()
    gaps = silences(moved, nw.from_native(ticks.ends)).to_native().sort("since").collect()
    assert gaps.select("since", "duration", "is_observed").rows() == [
        (0, 9, True), (9, 5, True), (14, 14, True), (28, 0, False),
    ]  # fmt: skip


def test_without_a_hole_the_clock_is_the_calendar():
    as_of = START + timedelta(days=40)
    days = pl.LazyFrame({"account_id": "a", "person_id": "p", "day": [ZERO]})
    ticks = clock(days, spans(span(START, as_of)), as_of=as_of)
    assert ticks.days.collect().is_empty()
    assert ticks.ends.collect().rows() == [("a", ZERO + 40)]
