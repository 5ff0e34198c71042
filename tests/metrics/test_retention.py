"""Cohorts: tiny histories by hand, a plain-Python oracle, both engines."""

from datetime import date, timedelta

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics.people import active_days, beginnings, persons
from assets.metrics.retention import cohort, months_after_contact
from quality.catalog import marts
from quality.catalog.model import enforce
from tests.metrics.community import (
    START,
    as_rows,
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

AS_OF = date(2024, 4, 10)
CELL = ["cohort_month", "period", "people", "retained", "retained_or_later"]


def cohorts(rows, people, *, as_of=AS_OF, covered=None, post=None):
    covered = covered if covered is not None else spans(span(START, as_of))
    post = post if post is not None else posts(START)
    return enforce(marts.mart_retention_cohort, cohort(rows, people, post, profiles(), covered, as_of=as_of))


def on(frame, platform="all"):
    return frame.filter(pl.col("platform") == platform)


def test_a_triangle_by_hand():
    # January: p (back in March), q (never), r (back in April, which as_of has not ended). February: s.
    rows = fold(
        visits("p", date(2024, 1, 5), date(2024, 3, 1)) + visits("q", date(2024, 1, 31))
        + visits("r", date(2024, 1, 1), date(2024, 4, 2)) + visits("s", date(2024, 2, 29))
    )  # fmt: skip
    got = on(cohorts(rows, identities("pqrs")))
    january, february = date(2024, 1, 1), date(2024, 2, 1)
    assert got.select(CELL).rows() == [
        (january, 0, 3, 3, 3),
        (january, 1, 3, 0, 2),
        (january, 2, 3, 1, 2),
        (february, 0, 1, 1, 1),
        (february, 1, 1, 0, 0),
    ]
    assert got["retained_rate"].to_list() == pytest.approx([1, 0, 1 / 3, 1, 0])
    # Wilson for 1 of 3: 0.0615 to 0.7923.
    third = got.row(2, named=True)
    assert (third["retained_rate_low"], third["retained_rate_high"]) == pytest.approx((0.0615, 0.7923), abs=1e-4)
    # The last complete month is March: January, February and March are within 3 months of 10 April.
    assert got["is_right_edge"].all()
    later = on(cohorts(rows, identities("pqrs"), as_of=date(2024, 5, 1)))
    assert later.filter(pl.col("cohort_month") == january)["is_right_edge"].to_list() == [False, True, True, True]


def test_a_person_on_two_platforms_starts_once_in_all():
    rows = fold(visits("i", date(2024, 1, 5)) + visits("j", date(2024, 2, 6), platform="toots"))
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = cohorts(rows, identities({"i": "i", "j": "i"}), covered=covered)
    assert on(got).filter(pl.col("retained") > 0).select(CELL).rows() == [
        (date(2024, 1, 1), 0, 1, 1, 1),
        (date(2024, 1, 1), 1, 1, 1, 1),
    ]
    assert set(on(got, "toots")["cohort_month"]) == {date(2024, 2, 1)}


def test_people_of_unknown_start_are_in_no_cohort():
    # Covered from 1 January, 90 days: to 30 March. p came before, q on the day after.
    rows = fold(visits("p", date(2024, 3, 30), date(2024, 4, 1)) + visits("q", date(2024, 3, 31)))
    got = on(cohorts(rows, identities("pq"), post=posts(date(2001, 1, 1))))
    assert got.select(CELL).rows() == [(date(2024, 3, 1), 0, 1, 1, 1)]


def test_months_not_collected_leave_their_cells_and_cohorts_out():
    rows = fold(visits("p", START, date(2024, 2, 5), date(2024, 3, 5)) + visits("q", date(2024, 2, 5)))
    # 4 of the 29 days of February are missing: 86 %.
    covered = spans(span(START, date(2024, 2, 10)), span(date(2024, 2, 15), AS_OF))
    got = on(cohorts(rows, identities("pq"), covered=covered))
    assert got.select(CELL).rows() == [(START, 0, 1, 1, 1), (START, 2, 1, 1, 1)]


@settings(max_examples=20, deadline=None)
@given(community=small_communities(), extra=st.integers(0, 60))
def test_cells_equal_a_loop_over_people(community, extra):
    as_of = date(2024, 3, 20) + timedelta(days=extra)
    months = {p: sorted({d.month for d in days if d <= as_of}) for p, days in community.items() if min(days) <= as_of}
    last = (as_of + timedelta(days=1)).month - 1
    want = []
    for first in range(1, last + 1):
        people = [m for m in months.values() if m[0] == first]
        for k in range(last - first + 1):
            now, later = sum(first + k in m for m in people), sum(m[-1] >= first + k for m in people)
            if people:
                want.append((date(2024, first, 1), k, len(people), now, later))
    got = on(cohorts(fold_of(community), identities(list(community)), as_of=as_of))
    assert got.select(CELL).rows() == want


@settings(max_examples=5, deadline=None)
@given(community=small_communities(), seed=st.integers(0, 9))
def test_order_of_rows_later_rows_and_empty_platforms_change_nothing(community, seed):
    rows, people = fold_of(community).collect(), identities(list(community))
    want = cohorts(rows.lazy(), people)
    assert cohorts(rows.sample(fraction=1, shuffle=True, seed=seed).lazy(), people).equals(want)
    known = rows.filter(pl.col("date") <= AS_OF).lazy()
    assert cohorts(known, people, covered=spans(span(START, date(2025, 1, 1)))).equals(want)
    two = spans(span(START, AS_OF), span(START, AS_OF, platform="empty"))
    assert cohorts(rows.lazy(), people, covered=two).equals(want)


@settings(max_examples=3, deadline=None)
@given(community=small_communities(days=500))
def test_duckdb_and_polars_agree(community):
    as_of = date(2025, 4, 20)
    rows, people = fold_of(community), identities(list(community))
    begun = beginnings(posts(date(2001, 1, 1)), profiles(), spans(span(START, as_of)), as_of=as_of)
    with duckdb.connect() as connection:
        here = active_days(persons(rows, people, as_of=as_of))
        there = active_days(persons(in_duckdb(rows, connection, "f"), in_duckdb(people, connection, "i"), as_of=as_of))
        got = months_after_contact(there, in_duckdb(begun, connection, "b"))
        assert as_rows(got) == as_rows(months_after_contact(here, nw.from_native(begun)))
