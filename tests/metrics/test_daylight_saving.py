"""Daylight saving, in every mart: local days of 23, 25, 23.5 and 24.5 hours; offsets of half and three quarters of an hour.

Days, weeks and silences are local to the account; promises, response times and everything else are physical time or UTC.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from tests.metrics.worlds import (
    MARTS,
    World,
    account,
    core,
    covered,
    derived,
    different,
    identity,
    interaction,
    post,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CHANGES = {
    "Berlin in spring": ("Europe/Berlin", date(2024, 3, 31), -1.0),
    "Berlin in autumn": ("Europe/Berlin", date(2024, 10, 27), 1.0),
    "New York in spring": ("America/New_York", date(2024, 3, 10), -1.0),
    "New York in autumn": ("America/New_York", date(2024, 11, 3), 1.0),
    "Lord Howe in spring (half an hour)": ("Australia/Lord_Howe", date(2024, 10, 6), -0.5),
    "Lord Howe in autumn (half an hour)": ("Australia/Lord_Howe", date(2024, 4, 7), 0.5),
    "Chatham in spring (UTC+12:45)": ("Pacific/Chatham", date(2024, 9, 29), -1.0),
    "Chatham in autumn (UTC+13:45)": ("Pacific/Chatham", date(2024, 4, 7), 1.0),
    "Kathmandu, which has none (UTC+5:45)": ("Asia/Kathmandu", date(2024, 3, 31), 0.0),
}


@cache
def daily(case: str, clock: time, timezone: str | None = None) -> tuple[World, date, int]:
    """A post a local day at that hour for eight weeks around the change, each replied to and answered within the hour."""
    zone, change, _ = CHANGES[case]
    as_of = change + 26 * DAY
    end = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC) + DAY
    moments = [datetime.combine(change + d * DAY, clock, ZoneInfo(zone)).astimezone(UTC) for d in range(-28, 31)]
    moments = [at for at in moments if at < end]
    world = core(
        dim_account=[account("a", timezone=timezone or zone, promise_days=1)],
        fct_collection_span=[
            covered("a", "blog", stream, change - 40 * DAY, as_of) for stream in ("posts", "inbound", "outbound")
        ],
        dim_identity=[identity("p0", "blog")],
        dim_post=[post("a", "blog", str(i), at) for i, at in enumerate(moments)],
        fct_interaction=[
            row
            for i, at in enumerate(moments)
            for row in (
                interaction("a", "blog", f"{i}", "p0", "reply", at + 0.25 * HOUR),
                interaction("a", "blog", f"{i}o", "p0", "reply", at + 0.5 * HOUR, direction="outbound"),
            )
        ],
    )
    return world, as_of, len(moments)


@pytest.mark.parametrize(
    "clock", [time(0, 15), time(12), time(23, 15)], ids=["after midnight", "noon", "before midnight"]
)
@pytest.mark.parametrize("case", CHANGES)
def test_daylight_saving_local_days_stay_whole_and_time_is_physical(case, clock) -> None:
    world, as_of, n = daily(case, clock)
    row = derived(world, as_of=as_of, names=["mart_cadence"])["mart_cadence"].row(0, named=True)
    assert (row["posts"], row["active_days"], row["burstiness"]) == (n, n, -1.0)
    assert (row["longest_silence_days"], row["silences_over_promise"], row["kept_weeks_share"]) == (1.0, 0, 1.0)
    assert row["open_silence_days"] in (0.0, 1.0)
    # The promise is a day of 24 hours: the day that has more breaks it for what it has more, the phase falling.
    late = max(CHANGES[case][2], 0) / 24
    assert row["steadiness"] == pytest.approx(1 - late**2 / 2 / row["window_days"], abs=1e-12)


@pytest.mark.parametrize(
    "mart", [mart for mart in MARTS if mart not in ("mart_cadence", "mart_listening", "mart_summary")]
)
@pytest.mark.parametrize("case", ["Berlin in spring", "Lord Howe in autumn (half an hour)"])
def test_daylight_saving_moves_nothing_that_counts_in_utc(case, mart) -> None:
    (local, as_of, _), (utc, _, _) = daily(case, time(23, 15)), daily(case, time(23, 15), "UTC")
    assert not different(*(derived(world, as_of=as_of, names=[mart])[mart] for world in (local, utc)), table=mart)


@pytest.mark.parametrize("case", CHANGES)
def test_daylight_saving_a_quiet_day_is_24_hours(case) -> None:
    world, as_of, _ = daily(case, time(23, 15))
    row = derived(world, as_of=as_of, names=["mart_listening"])["mart_listening"].row(0, named=True)
    # Each comes 23 h 45 min after the last answer and opens nothing, but the one after the longer day.
    assert row["opportunities"] == (2 if CHANGES[case][2] > 0 else 1)
    assert row["availability_days_share"] == 1.0
    assert row["response_time_median_seconds"] == 900.0
    assert row["listening_share"] == 0.5
