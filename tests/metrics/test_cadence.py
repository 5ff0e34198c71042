"""Steadiness, burstiness and memory: published numbers, and what must hold for any posts."""

import math
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import correlation
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from assets.metrics.cadence import burstiness, memory, steadiness

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def posted(days, start: datetime = MONDAY) -> pl.DataFrame:
    """Posts so many days after a Monday."""
    return pl.DataFrame(
        {"published_at": [start + timedelta(days=day) for day in days]},
        schema={"published_at": pl.Datetime("us", "UTC")},
    )


def until(days: int) -> date:
    """The as_of whose end is so many days after the Monday."""
    return (MONDAY + timedelta(days=days - 1)).date()


def c(days, until_day: int, promise: float = 7, **arguments) -> float:
    return steadiness(posted(days), as_of=until(until_day), promise_days=promise, **arguments)["steadiness"].item()


# Acceptance values of docs/metrics/cadence.md: promise of 7 days, window from the first post

BURST = [0.7 * i for i in range(20)]


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(
    ("days", "length", "expected"),
    [
        pytest.param([7 * i for i in range(13)], 91, 1, id="weekly x 13"),
        pytest.param(range(91), 91, 1, id="daily"),
        pytest.param(BURST, 74, 0.3216, id="burst, then silence to day 74"),
        pytest.param(BURST, 91, 0.2615, id="burst, then silence to day 91"),
        pytest.param([14 * i for i in range(10)], 140, 0.75, id="every 14 days"),
        pytest.param([28 * i for i in range(5)], 140, 0.375, id="every 28 days"),
        pytest.param([7 * i for i in range(7)], 91, 0.5769, id="weekly to day 42, then silence"),
    ],
)
def test_steadiness_acceptance_values(days, length, expected, scale) -> None:
    """All times and the promise x 4: unchanged."""
    result = c([scale * day for day in days], scale * length, 7 * scale, window_days=600)
    assert result == pytest.approx(expected, abs=5e-5)


def test_no_posts_in_a_given_window_give_zero() -> None:
    assert c([], 91, window_days=91) == 0
    assert c([-200], 91, window_days=91) == 0
    assert c([], 91, window_from=MONDAY.date()) == 0


def test_poisson_posts_give_1_minus_e1_plus_e2() -> None:
    """1 - (1/e - 1/e^2) = .7675 for a mean gap equal to the promise."""
    times = np.cumsum(np.random.default_rng(7).exponential(0.1, 40_000))
    result = c([t for t in times.tolist() if t < 3640], 3640, 0.1, window_days=4000)
    assert result == pytest.approx(0.7675, abs=0.006)


def test_a_post_before_the_window_carries_its_age_in() -> None:
    # Age 3 at the start of 28 days: 4 days kept, 7 days fading (3.5).
    assert c([-3], 28, window_from=MONDAY.date()) == pytest.approx(7.5 / 28)


def test_the_window_ends_with_the_end_of_as_of() -> None:
    last = posted([0, 27.999])
    assert steadiness(last, as_of=until(28))["posts"].item() == 2
    assert steadiness(last, as_of=until(27))["posts"].item() == 1
    assert steadiness(posted([0, 28]), as_of=until(28))["posts"].item() == 1


def test_under_28_days_nothing_is_said() -> None:
    result = steadiness(posted(range(27)), as_of=until(27)).row(0, named=True)
    assert (result["window_days"], result["steadiness"], result["steadiness_low"]) == (27, None, None)
    assert result["steadiness_note"] == "window under 28 days"
    assert c(range(28), 28) == 1


def test_uncovered_days_stop_the_clock_and_the_integral() -> None:
    hole = pl.LazyFrame({"from_date": [until(8)], "to_date": [until(37)]})  # days 7 to 36
    paused = steadiness(posted([0, 37, 44, 51]), as_of=until(58), missing=hole).row(0, named=True)
    assert (paused["window_days"], paused["steadiness"]) == (28, 1)
    silent = steadiness(posted([0, 44, 51]), as_of=until(58), missing=hole).row(0, named=True)
    assert silent["steadiness"] == pytest.approx((28 - 3.5) / 28), "7 days of age in 7 + 7 covered ones fade once"


def test_interval_is_the_jackknife_of_a_ratio_on_the_logit_scale() -> None:
    """Segments of 7, 28 and 21 days keep 7, 10.5 and 10.5 days: C = 28/56."""
    row = steadiness(posted([0, 7, 35]), as_of=until(56)).row(0, named=True)
    without = [21 / 49, 17.5 / 28, 17.5 / 35]  # C with one segment left out
    error = math.sqrt(2 / 3 * sum((x - 0.5) ** 2 for x in without))
    failures = 28**2 / (17.5**2 + 10.5**2)
    odds = math.exp(stats.t.ppf(0.975, failures) * error / (0.5 * 0.5))
    assert row["steadiness"] == 0.5
    assert row["steadiness_low"] == pytest.approx(1 / (1 + odds))
    assert row["steadiness_high"] == pytest.approx(odds / (1 + odds))
    alone = steadiness(posted([0]), as_of=until(56)).row(0, named=True)
    assert (alone["steadiness_low"], alone["steadiness_high"]) == (None, None), "one segment has no spread"


def test_any_timestamp_type_and_laziness_come_back_as_they_are() -> None:
    weekly = posted([7 * i for i in range(6)])
    expected = steadiness(weekly, as_of=until(42))
    for kind in (pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "Asia/Tokyo")):
        column = pl.col("published_at")
        cast = column.dt.convert_time_zone("Asia/Tokyo") if kind.time_zone else column.dt.replace_time_zone(None)
        assert_frame_equal(steadiness(weekly.select(cast.cast(kind)), as_of=until(42)), expected)
    assert_frame_equal(steadiness(weekly.lazy(), as_of=until(42)).collect(), expected)
    with pytest.raises(ValueError, match="positive"):
        steadiness(weekly, as_of=until(42), promise_days=0)


# Invariants

HOURS = st.lists(st.integers(-300, 24 * 60 - 1), max_size=25)


@settings(max_examples=30, deadline=None)
@given(hours=HOURS, extra=st.integers(-300, 24 * 60 - 1), promise=st.integers(1, 20))
def test_adding_a_post_never_lowers_steadiness_and_it_is_a_share(hours, extra, promise) -> None:
    few, more = (c([h / 24 for h in x], 60, promise, window_from=MONDAY.date()) for x in (hours, [*hours, extra]))
    assert 0 <= few <= more + 1e-12
    assert more <= 1


def by_the_hour(hours, promise: int, first: int, end: int, holes=frozenset()) -> float:
    """Steadiness summed hour by hour; phi is linear within each, as all times are whole hours."""

    def phi(age: int) -> float:
        return min(1.0, max(0.0, 2 - age / (24 * promise)))

    age, kept, total, posts = None, 0.0, 0, set(hours)
    for hour in range(min([*hours, first]), end):
        age = 0 if hour in posts else age
        if hour // 24 in holes:
            continue
        if hour >= first:
            total += 1
            kept += 0 if age is None else (phi(age) + phi(age + 1)) / 2
        age = None if age is None else age + 1
    return kept / total


@settings(max_examples=40, deadline=None)
@given(hours=HOURS, promise=st.integers(1, 15), holes=st.frozensets(st.integers(-5, 59), max_size=25))
def test_steadiness_equals_the_sum_over_hours(hours, promise, holes) -> None:
    days = [(MONDAY + timedelta(days=day)).date() for day in sorted(holes)]
    missing = pl.LazyFrame({"from_date": days, "to_date": days}, schema={"from_date": pl.Date, "to_date": pl.Date})
    result = c([h / 24 for h in hours], 60, promise, window_from=MONDAY.date(), missing=missing)
    assert result == pytest.approx(by_the_hour(hours, promise, 0, 24 * 60, holes), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(hours=HOURS.filter(bool), promise=st.integers(1, 9), scale=st.integers(2, 6))
def test_scaling_times_and_promise_changes_nothing(hours, promise, scale) -> None:
    hours = [h - min(hours) for h in hours]
    one = c([h / 24 for h in hours], 80, promise, window_days=900)
    many = c([h * scale / 24 for h in hours], 80 * scale, promise * scale, window_days=900)
    assert one == pytest.approx(many, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(hours=HOURS.filter(bool), where=st.integers(1, 59), length=st.integers(1, 30))
def test_an_uncovered_stretch_between_two_days_changes_nothing(hours, where, length) -> None:
    hours = [h + 300 for h in hours]
    hole = pl.LazyFrame({"from_date": [until(where + 1)], "to_date": [until(where + length)]})
    later = [h / 24 + (length if h >= where * 24 else 0) for h in hours]
    whole = steadiness(posted([h / 24 for h in hours]), as_of=until(80)).drop("posts")
    torn = steadiness(posted(later), as_of=until(80 + length), missing=hole).drop("posts")
    assert_frame_equal(whole, torn)


@settings(max_examples=8, deadline=None)
@given(a=HOURS.filter(bool), b=HOURS.filter(bool), seed=st.integers(0, 99))
def test_accounts_do_not_touch_each_other_and_the_order_of_rows_does_not_matter(a, b, seed) -> None:
    frames = [posted([h / 24 for h in x]).with_columns(account_id=pl.lit(n)) for n, x in (("a", a), ("b", b))]
    together = pl.concat(frames).sample(fraction=1, shuffle=True, seed=seed)
    for measure in (steadiness, burstiness, memory):
        alone = [measure(frame, as_of=until(60)) for frame in frames]
        assert_frame_equal(measure(together, as_of=until(60)), pl.concat(alone), check_exact=True)


# Burstiness and memory


def test_uncorrected_burstiness_of_teneto() -> None:
    """The example of teneto's documentation of its bursty coefficient."""
    events = posted([1, 8, 9, 32, 33, 34, 39, 40, 50, 51, 52, 55])
    result = burstiness(events, as_of=until(56)).row(0, named=True)
    assert (result["active_days"], result["gaps"]) == (12, 11)
    assert result["burstiness_uncorrected"] == pytest.approx(0.13311003, abs=5e-9)


def test_periodic_posts_are_minus_one() -> None:
    result = burstiness(posted([7 * i for i in range(12)]), as_of=until(80)).row(0, named=True)
    assert result["burstiness"] == pytest.approx(-1)
    assert memory(posted([7 * i for i in range(12)]), as_of=until(80))["memory"].item() is None


def test_ten_a_week_for_four_weeks_then_silence_is_bursty() -> None:
    """Near +1 with the open gap, not -1 as the naive formula says."""
    posts = posted([0.7 * i for i in range(40)])
    assert burstiness(posts, as_of=until(52 * 7))["burstiness"].item() == pytest.approx(0.96, abs=0.005)
    assert burstiness(posts, as_of=until(29))["burstiness"].item() == pytest.approx(-1)


def test_ten_active_days_are_needed() -> None:
    nine = posted([0, 1, 3, 4, 8, 9, 15, 16, 20, 20.5])
    assert burstiness(nine, as_of=until(30)).row(0) == (9, 9, None, None)
    assert memory(nine, as_of=until(30)).row(0) == (9, None)


@settings(max_examples=30, deadline=None)
@given(days=st.frozensets(st.integers(0, 120), min_size=10, max_size=60))
def test_burstiness_and_memory_equal_their_formulas(days) -> None:
    gaps = [b - a for a, b in pairwise(sorted(days))]
    lagged = memory(posted(days), as_of=until(130))["memory"].item()
    if len(set(gaps[1:])) > 1 and len(set(gaps[:-1])) > 1:
        assert lagged == pytest.approx(correlation(gaps[:-1], gaps[1:]), abs=1e-9)
    else:
        assert lagged is None
    silent = 129 - max(days)
    gaps += [silent] if silent > max(gaps) else []
    n, r = len(gaps), float(np.std(gaps) / np.mean(gaps))
    expected = (math.sqrt(n + 1) * r - math.sqrt(n - 1)) / ((math.sqrt(n + 1) - 2) * r + math.sqrt(n - 1))
    result = burstiness(posted(days), as_of=until(130)).row(0, named=True)
    assert result["burstiness"] == pytest.approx(expected, abs=1e-9)
    assert result["gaps"] == n


def test_active_days_are_local() -> None:
    """23:30 and 00:30 in Berlin are two days there and one in UTC."""
    berlin = ZoneInfo("Europe/Berlin")
    posts = pl.DataFrame(
        {"published_at": [datetime(2024, 7, 1, 23, 30, tzinfo=berlin), datetime(2024, 7, 2, 0, 30, tzinfo=berlin)]}
    )
    for zone, days in (("UTC", 1), ("Europe/Berlin", 2)):
        assert burstiness(posts, as_of=date(2024, 7, 31), timezone=zone)["active_days"].item() == days
