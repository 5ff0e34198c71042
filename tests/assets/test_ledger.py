"""The coverage ledger: readings to spans, by hand and against a day-by-day oracle."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets import ledger
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES

READINGS = TABLES["stg_feed__readings"]
DAY = timedelta(days=1)


def at(day: int, hour: int = 6) -> datetime:
    """A moment, days after 2024-01-01."""
    return datetime(2024, 1, 1, hour, tzinfo=UTC) + day * DAY


def readings(*rows: dict) -> pl.LazyFrame:
    """Readings of one stream from what differs."""
    base = {
        "account_id": "a",
        "platform": "feed",
        "source": "feed",
        "stream": "posts",
        "status": "ok",
        "reason": None,
        "born_at": None,
    }
    full = [{**base, "covers_from": None, **row} for row in rows]
    return pl.LazyFrame(full, schema={c.name: c.dtype.polars for c in READINGS.columns})


def spans(*rows: dict) -> list[tuple[date, date, str, str | None]]:
    """The ledger of the readings."""
    frame = enforce(TABLES["fct_collection_span"], ledger.spans(readings(*rows)))
    return frame.select("from_date", "to_date", "status", "reason").rows()


def test_a_complete_reading_covers_from_its_oldest_row_to_the_last_whole_day() -> None:
    assert spans({"covers_from": at(0), "read_at": at(10)}) == [(date(2024, 1, 1), date(2024, 1, 10), "ok", None)]


def test_overlapping_and_adjoining_readings_are_one_span() -> None:
    assert spans(
        {"covers_from": at(0), "read_at": at(5)},
        {"covers_from": at(3), "read_at": at(6)},
        {"covers_from": at(6), "read_at": at(9)},
    ) == [(date(2024, 1, 1), date(2024, 1, 9), "ok", None)]


def test_a_gap_is_down_with_the_reason_of_the_attempt_that_failed_in_it() -> None:
    assert spans(
        {"covers_from": at(0), "read_at": at(5)},
        {"read_at": at(8), "status": "down", "reason": "HTTP 503"},
        {"covers_from": at(12), "read_at": at(20)},
    ) == [
        (date(2024, 1, 1), date(2024, 1, 5), "ok", None),
        (date(2024, 1, 6), date(2024, 1, 12), "down", "HTTP 503"),
        (date(2024, 1, 13), date(2024, 1, 20), "ok", None),
    ]


def test_a_later_complete_reading_heals_a_failed_night() -> None:
    assert spans(
        {"covers_from": at(0), "read_at": at(5)},
        {"read_at": at(6), "status": "down", "reason": "time-out"},
        {"covers_from": at(2), "read_at": at(7)},
    ) == [(date(2024, 1, 1), date(2024, 1, 7), "ok", None)]


def test_failures_after_the_last_good_reading_are_down_up_to_the_last_attempt() -> None:
    assert spans(
        {"covers_from": at(0), "read_at": at(5)},
        {"read_at": at(7), "status": "down", "reason": "gone"},
    )[1:] == [(date(2024, 1, 6), date(2024, 1, 7), "down", "gone")]


def test_of_several_failures_on_a_day_the_last_one_is_the_reason() -> None:
    good = [{"account_id": f"a{n}", "covers_from": at(0), "read_at": at(5)} for n in range(20)]
    failed = [
        {"account_id": f"a{n}", "read_at": at(9, hour), "status": "down", "reason": f"at {hour}"}
        for n in range(20) for hour in (3, 23, 2, 1)
    ]  # fmt: skip
    assert {reason for *_, status, reason in spans(*failed, *good) if status == "down"} == {"at 23"}


def test_days_between_birth_and_the_first_covered_day_were_not_started() -> None:
    assert spans({"covers_from": at(10), "read_at": at(20), "born_at": at(0)})[0] == (
        date(2024, 1, 1), date(2024, 1, 10), "not_started", "before the first reading",
    )  # fmt: skip


def test_a_stream_that_is_offered_later_is_no_longer_not_offered() -> None:
    assert spans({"read_at": at(3), "status": "not_offered"})[0][2] == "not_offered"
    healed = spans({"read_at": at(3), "status": "not_offered"}, {"covers_from": at(0), "read_at": at(5)})
    assert [row[2] for row in healed] == ["ok"]


_attempts = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 29), st.booleans()), min_size=1, max_size=8)


@given(attempts=_attempts)
def test_every_day_is_covered_iff_some_complete_reading_reaches_it(attempts: list[tuple[int, int, bool]]) -> None:
    rows = [
        {
            "read_at": at(read, 1 + number),
            "covers_from": at(start) if ok else None,
            "status": "ok" if ok else "down",
            "reason": "x",
        }
        for number, (read, start, ok) in enumerate(attempts)
    ]
    expected = {day for read, start, ok in attempts if ok for day in range(start, read)}
    found = spans(*rows)
    covered = {
        day for first, last, status, _ in found if status == "ok"
        for day in range((first - date(2024, 1, 1)).days, (last - date(2024, 1, 1)).days + 1)
    }  # fmt: skip
    assert covered == expected
    for (_, last, _, _), (first, _, _, _) in pairwise(found):
        assert first > last
