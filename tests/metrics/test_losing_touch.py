"""Losing touch: who is listed, in which order, and why; by hand."""

from datetime import date, timedelta

import polars as pl
import pytest

from assets.metrics.losing_touch import losing_touch
from assets.metrics.relationship import tie_state
from quality.catalog import marts
from quality.catalog.model import empty, enforce
from tests.metrics.community import at, table

AS_OF = date(2024, 6, 30)  # a Sunday


def tie(person, silent, state="cooling", *, rhythm=8.0, value=1.0, p=None, **more):
    return {
        "account_id": "a", "person_id": person, "as_of": AS_OF, "tie_state": state, "rhythm_days": rhythm,
        "value_365d": value, "p_alive": p, "last_at": at(AS_OF - timedelta(days=silent)),
    } | more  # fmt: skip


def listed(*rows, as_of=AS_OF):
    return enforce(marts.mart_losing_touch, losing_touch(table(marts.mart_relationship, rows), as_of=as_of))


def test_cooling_ties_by_what_is_at_stake():
    found = listed(
        tie("likely", 45, value=10.0, p=0.5), tie("dear", 40, value=12.5, p=0.62), tie("gone", 60, value=50.0, p=0.01),
        tie("unknown", 30, value=6.0), tie("active", 3, "active", value=99.0, p=1.0), tie("ended", 50, "ended", value=99.0),
    )  # fmt: skip
    # 12.5 x .62 = 7.75, 6 (no probability), 10 x .5 = 5, 50 x .01 = .5
    assert found.select("rank", "person_id", "silent_days").rows() == [
        (1, "dear", 40), (2, "unknown", 30), (3, "likely", 45), (4, "gone", 60),
    ]  # fmt: skip


def test_each_row_says_why_in_a_sentence():
    found = listed(tie("p", 45, rhythm=8.4, value=12.5, p=0.62), tie("q", 102, "lost", rhythm=7.0, value=0.04))
    assert found["reason"].to_list() == [
        "Silent for 45 days, usually back after about 8; gave 12.5 in the last 365 days, alive with probability 0.62.",
        "Silent for 102 days, usually back after about 7: lost since 2024-06-30; gave 0.0 in the last 365 days.",
    ]


def test_lost_ties_are_listed_for_28_days():
    # Rhythm 8: lost after 90 days of silence, found a second time 97 days or more after the last day, on a Sunday.
    # Last on Monday 18 March: 97 days later is Sunday 23 June, a week before as_of.
    silent = (AS_OF - date(2024, 3, 18)).days
    assert listed(tie("p", silent, "lost"))["reason"].item().count("lost since 2024-06-23") == 1
    lists = {weeks: listed(tie("p", silent, "lost"), as_of=AS_OF + timedelta(weeks=weeks)).height for weeks in range(5)}
    assert lists == {0: 1, 1: 1, 2: 1, 3: 0, 4: 0}
    # 27 days after the Sunday it is still there.
    assert listed(tie("p", silent, "lost"), as_of=date(2024, 7, 20)).height == 1
    assert listed(tie("p", silent, "lost"), as_of=date(2024, 7, 21)).height == 0


@pytest.mark.parametrize("last", [date(2024, 3, 1) + timedelta(days=d) for d in range(8)])
@pytest.mark.parametrize("rhythm", [7, 14, 15])
def test_the_day_a_tie_was_lost_is_the_first_on_which_its_state_says_so(last, rhythm):
    # Gaps of the rhythm only, so that it is the own and the account's.
    lives = [{"account_id": "a", "person_id": "p", "date": last - timedelta(days=rhythm * k)} for k in range(20)]
    days = pl.LazyFrame(lives)
    states = {
        as_of: tie_state(days, as_of=as_of).collect()["tie_state"].item()
        for as_of in (last + timedelta(days=d) for d in range(80, 140))
    }
    first = min(day for day, state in states.items() if state == "lost")
    row = tie("p", 0, "lost", rhythm=float(rhythm), last_at=at(last))
    (reason,) = listed(row, as_of=first)["reason"]
    assert f"lost since {first}" in reason


def test_who_came_in_the_running_week_is_not_listed():
    saturday = AS_OF - timedelta(days=1)
    rows = [tie("back", 2), tie("still", 30)]
    assert listed(*rows, as_of=saturday)["person_id"].to_list() == ["still"]


def test_order_of_rows_changes_nothing_and_equals_are_by_person():
    rows = [tie(p, 40 + d, value=v, p=0.5) for p, d, v in [("c", 0, 2.0), ("a", 0, 2.0), ("b", 1, 2.0), ("d", 9, 3.0)]]
    want = listed(*rows)
    assert want["person_id"].to_list() == ["d", "a", "c", "b"]
    assert listed(*reversed(rows)).equals(want)
    other = [tie("e", 40, account_id="b")]
    assert listed(*other, *rows)["rank"].to_list() == [1, 2, 3, 4, 1]


def test_nobody_is_listed_where_nobody_is():
    assert listed().equals(empty(marts.mart_losing_touch))
    assert listed(tie("new", 1, None)).is_empty()
