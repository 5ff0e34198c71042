"""The arithmetic of posting rhythm, on numbered series of posts.

`assets.metrics.cadence` decides which posts, which window and which time zone; here are only the measures. Times are
integers (microseconds for instants, days for local days, both since the epoch), so sums are exact whatever the order
of rows. Definitions: docs/metrics.
"""

from typing import NamedTuple

import polars as pl
from scipy import stats

from assets.metrics.coverage import uncovered_before

DAY_US = 86_400_000_000
MIN_WINDOW_DAYS = 28
MIN_ACTIVE_DAYS = 10
LEARNING_DAYS = 180
_BY = ("series",)


class Rhythm(NamedTuple):
    """Posts laid out for measuring; `series` numbers an account and platform.

    `windows`: one row a series: `series, from_us, to_us` (half-open), `start, stop` (the same on the paused clock),
    `promise_days, first_day, today` (local days in which the window starts and ends), `last_day` (last active day ever).
    `events`: one row a post before the end: `series, at_us, at` (paused clock), `day` (local).
    `holes`: the uncovered spans of each series, dates inclusive.
    """

    windows: pl.LazyFrame
    events: pl.LazyFrame
    holes: pl.LazyFrame


def promise_kept(rhythm: Rhythm) -> pl.LazyFrame:
    """C = (1/T) of the integral of phi(age / promise) over the window, with its 95 % interval.

    `series, window_days, steadiness, steadiness_low, steadiness_high`. The window falls into segments, each from a
    post (or the window's start) to the next (or its end); C is the ratio of their kept time to their length. The
    interval: the jackknife error of that ratio, one segment left out at a time, on the logit scale (C is near 1 where
    failures are rare, and its errors are lopsided there), with Student's t. Its degrees of freedom are the effective
    number of failures, (sum of lost time)^2 / sum of its squares, at least 1: segments kept in full say nothing of how
    the others vary. Null with fewer than two segments, C itself at 0 and 1. Below 28 days everything but `window_days`
    is null.

    Source: Tukey (1958), Annals of Mathematical Statistics 29, 614 (jackknife); Kish (1965), Survey Sampling (effective
    number). What it covers is in docs/metrics/truth-recovery.md.
    """
    promise = pl.col("promise_days") * DAY_US
    follower = pl.when(pl.col("series").shift(-1) == pl.col("series")).then(pl.col("at").shift(-1))
    begins, ends = pl.max_horizontal("at", "start"), pl.min_horizontal(pl.coalesce(follower, "stop"), "stop")
    segments = (
        rhythm.events.select("series", "at")
        .join(rhythm.windows.select("series", "start", "stop", "promise_days"), on="series")
        .sort("series", "at")
        .with_columns(begins.alias("_begins"), ends.alias("_ends"))
        .filter(pl.col("_ends") > pl.col("_begins"))
        .with_columns(
            (pl.col("_ends") - pl.col("_begins")).alias("_length"),
            (
                promise
                * (
                    _kept((pl.col("_ends") - pl.col("at")) / promise)
                    - _kept((pl.col("_begins") - pl.col("at")) / promise)
                )
            )
            .round()
            .cast(pl.Int64)
            .alias("_kept"),
        )
    )
    window = pl.col("stop") - pl.col("start")
    share = pl.col("_kept").sum() / window.first()
    left = window - pl.col("_length")  # what remains of the window without the segment
    sums = segments.group_by("series").agg(
        pl.len().cast(pl.Int64).alias("_segments"),
        ((pl.col("_length") - pl.col("_kept")) / DAY_US).pow(2).sum().alias("_lost_squares"),
        pl.col("_kept").sum(),
        pl.col("_length").sum(),
        pl.when(left > 0).then(((pl.col("_kept") - share * pl.col("_length")) / left) ** 2).sum().alias("_squares"),
    )
    steadiness = pl.col("_kept") / window
    lead = window - pl.col("_length")  # before the first post of a window that was given outright
    n = pl.col("_segments") + (lead > 0)
    squares = pl.col("_squares") + pl.when(lead < window).then((steadiness * lead / (window - lead)) ** 2).otherwise(0)
    error = (squares * (n - 1) / n).sqrt()
    lost = (window - pl.col("_kept")) / DAY_US
    failures = (lost**2 / (pl.col("_lost_squares") + (lead / DAY_US) ** 2)).fill_nan(1).clip(lower_bound=1)
    is_inside = (pl.col("_kept") > 0) & (pl.col("_kept") < window)
    # exp of the half width of the logit's interval: it multiplies and divides the odds.
    factor = (_student(failures) * error / (steadiness * (1 - steadiness))).clip(0, 700).exp()
    odds = steadiness / (1 - steadiness)
    is_judged = window >= MIN_WINDOW_DAYS * DAY_US

    def end(odds: pl.Expr) -> pl.Expr:
        inside = pl.when(is_inside).then((odds / (1 + odds)).round(12)).otherwise(steadiness)
        return pl.when(is_judged & (n > 1)).then(inside)

    return (
        rhythm.windows.select("series", "start", "stop")
        .join(sums, on="series", how="left")
        .with_columns(pl.col("_segments", "_kept", "_length", "_squares", "_lost_squares").fill_null(0))
        .select(
            "series",
            (window / DAY_US).alias("window_days"),
            pl.when(is_judged).then(steadiness).alias("steadiness"),
            end(odds / factor).alias("steadiness_low"),
            end(odds * factor).alias("steadiness_high"),
        )
    )


def silences(rhythm: Rhythm) -> pl.LazyFrame:
    """Gaps between the local active days of the window, and the open one since the last active day of all.

    `series, active_days, gaps, burstiness, burstiness_uncorrected, memory, longest_silence_days, open_silence_days,
    silences_over_promise`. Uncovered days inside a gap do not count. `gaps` is how many burstiness rests on: the open
    one is among them iff it exceeds the longest closed one. Measures are null without an active day.
    """
    same = pl.col("series").shift(1) == pl.col("series")
    # Days strictly between two active days that were not collected: nobody knows whether they were silent.
    reached = (pl.col("uncovered") + pl.col("is_uncovered")).shift(1)
    gap = pl.col("day") - pl.col("day").shift(1) - (pl.col("uncovered") - reached)
    gaps = (
        uncovered_before(_in_window(rhythm).select("series", "day").unique(), rhythm.holes, at="day", by=_BY)
        .sort("series", "day")
        .with_columns(pl.when(same).then(gap).alias("gap"))
        .with_columns(pl.when(pl.col("gap").shift(1).is_not_null() & same).then(pl.col("gap").shift(1)).alias("x"))
        .with_columns(pl.when(pl.col("x").is_not_null()).then("gap").alias("y"))
        .with_columns((pl.col("x") * pl.col("y")).alias("xy"), pl.col("x", "y", "gap").pow(2).name.suffix("2"))
        .join(rhythm.windows.select("series", "promise_days"), on="series")
        .with_columns((pl.col("gap") > 2 * pl.col("promise_days")).cast(pl.Int64).alias("_over"))
    )
    closed = gaps.group_by("series").agg(
        pl.len().cast(pl.Int64).alias("active_days"),
        pl.col("gap").count().cast(pl.Int64).alias("_n"),
        pl.col("gap").sum().alias("_sum"),
        pl.col("gap2").sum().alias("_squares"),
        pl.col("gap").max().alias("_longest"),
        pl.col("_over").sum(),
        pl.col("x").count().cast(pl.Int64).alias("pairs"),
        pl.col("x", "y", "x2", "y2", "xy").sum(),
    )
    pairs, x, y = (pl.col(name).cast(pl.Float64) for name in ("pairs", "x", "y"))
    spread = (pairs * pl.col("x2") - x**2) * (pairs * pl.col("y2") - y**2)
    lagged = pl.when(spread > 0).then((pairs * pl.col("xy") - x * y) / spread.sqrt()).clip(-1, 1)
    counts = ("active_days", "_n", "_sum", "_squares", "_over")
    silence = pl.col("open_silence_days")
    is_included = (silence > pl.col("_longest")).fill_null(value=False)
    summed = (
        rhythm.windows.select("series", "promise_days")
        .join(_open_silence(rhythm), on="series", how="left")
        .join(closed, on="series", how="left")
        .with_columns(pl.col(counts).fill_null(0))
        .with_columns(
            (pl.col("_n") + is_included).alias("gaps"),
            pl.col("_sum") + pl.when(is_included).then(silence).otherwise(0),
            pl.col("_squares") + pl.when(is_included).then(silence**2).otherwise(0),
        )
    )
    n = pl.col("gaps").cast(pl.Float64)
    mean = pl.col("_sum") / n
    deviation = (pl.col("_squares") * n - pl.col("_sum").cast(pl.Float64) ** 2).clip(lower_bound=0).sqrt() / n
    r = deviation / mean
    corrected = ((n + 1).sqrt() * r - (n - 1).sqrt()) / (((n + 1).sqrt() - 2) * r + (n - 1).sqrt())
    is_judged = pl.col("active_days") >= MIN_ACTIVE_DAYS
    return summed.select(
        "series",
        "active_days",
        "gaps",
        pl.when(is_judged).then(corrected.clip(-1, 1)).alias("burstiness"),
        pl.when(is_judged).then((r - 1) / (r + 1)).alias("burstiness_uncorrected"),
        pl.when(is_judged).then(lagged).alias("memory"),
        pl.max_horizontal("_longest", silence).cast(pl.Float64).alias("longest_silence_days"),
        silence.cast(pl.Float64),
        pl.when(silence.is_not_null())
        .then(pl.col("_over") + (silence > 2 * pl.col("promise_days")))
        .alias("silences_over_promise"),
    )


def weeks_kept(rhythm: Rhythm) -> pl.LazyFrame:
    """Local Monday weeks with a post: the share of all that the window touches, and the current run of them.

    `series, kept_weeks_share, kept_weeks_share_n, streak_weeks`. Weeks of which no day was collected do not count:
    they are in no share and break no run. The running week does not break it either. A run is at most as long as the
    window.
    """
    # In weeks since the Monday before the epoch; a hole keeps the weeks that lie wholly in it.
    holes = rhythm.holes.select(
        "series",
        ((pl.col("from_date").cast(pl.Int64) + 9) // 7).alias("from_date"),
        ((pl.col("to_date").cast(pl.Int64) + 4) // 7 - 1).alias("to_date"),
    ).filter(pl.col("from_date") <= pl.col("to_date"))
    week = (pl.col("day") + 3) // 7
    active = (
        uncovered_before(_in_window(rhythm).select("series", week.alias("week")).unique(), holes, at="week", by=_BY)
        .filter(~pl.col("is_uncovered"))
        .select("series", (pl.col("week") - pl.col("uncovered")).alias("week"))
        .sort("series", "week")
        .group_by("series")
        .agg(
            pl.len().cast(pl.Int64).alias("_kept"),
            pl.col("week").last().alias("_last"),
            # Weeks in a row keep the same distance to their rank.
            ((pl.col("week").last() - pl.col("week")) == (pl.len() - 1 - pl.int_range(pl.len())))
            .sum()
            .cast(pl.Int64)
            .alias("_run"),
        )
    )
    touched = rhythm.windows.select(
        "series", ((pl.col("first_day") + 3) // 7).alias("_first"), ((pl.col("today") + 3) // 7).alias("_running")
    )
    paused = uncovered_before(touched, holes, at="_first", by=_BY).select(
        "series", "_running", (pl.col("_first") - pl.col("uncovered")).alias("_first")
    )
    paused = uncovered_before(paused, holes, at="_running", by=_BY).select(
        "series",
        "_first",
        (pl.col("_running") - pl.col("uncovered")).alias("_running"),
        (pl.col("_running") - pl.col("uncovered") - pl.col("is_uncovered")).alias("_end"),
    )
    weeks = pl.col("_end") - pl.col("_first") + 1
    return (
        paused.join(active, on="series", how="left")
        .with_columns(pl.col("_kept", "_run").fill_null(0))
        .select(
            "series",
            pl.when(weeks > 0).then(pl.col("_kept") / weeks).alias("kept_weeks_share"),
            weeks.clip(lower_bound=0).alias("kept_weeks_share_n"),
            pl.when(pl.col("_last") >= pl.col("_running") - 1).then("_run").otherwise(0).alias("streak_weeks"),
        )
    )


def learned(rhythm: Rhythm) -> pl.LazyFrame:
    """The account's own rhythm before the window: `series, promise_days_learned`.

    Median gap between the posts of the 180 days before the window, on the paused clock, in days, clamped to 1-28. Only
    series with at least one such gap have a row.
    """
    return (
        rhythm.events.join(rhythm.windows.select("series", "from_us"), on="series")
        .filter(pl.col("at_us") < pl.col("from_us"), pl.col("at_us") >= pl.col("from_us") - LEARNING_DAYS * DAY_US)
        .sort("series", "at")
        .group_by("series")
        .agg(pl.col("at").diff().drop_nulls().median().alias("_gap"))
        .filter(pl.col("_gap").is_not_null())
        .select("series", (pl.col("_gap") / DAY_US).clip(1, 28).alias("promise_days_learned"))
    )


def posts_in_window(rhythm: Rhythm) -> pl.LazyFrame:
    """How many posts the window has: `series, posts`, for series with at least one."""
    return _in_window(rhythm).group_by("series").agg(pl.len().cast(pl.Int64).alias("posts"))


def _student(freedom: pl.Expr) -> pl.Expr:
    """The 97.5 % quantile of Student's t."""
    return freedom.map_batches(
        lambda numbers: pl.Series(stats.t.ppf(0.975, numbers.to_numpy()), dtype=pl.Float64), return_dtype=pl.Float64
    )


def _kept(age: pl.Expr) -> pl.Expr:
    """The integral of phi from 0: phi is 1 up to 1, falls to 0 at 2."""
    late = age.clip(1, 2) - 1
    return pl.min_horizontal(age, pl.lit(1.0)) + late - late**2 / 2


def _in_window(rhythm: Rhythm) -> pl.LazyFrame:
    return rhythm.events.join(rhythm.windows.select("series", "from_us", "to_us"), on="series").filter(
        pl.col("at_us") >= pl.col("from_us"), pl.col("at_us") < pl.col("to_us")
    )


def _open_silence(rhythm: Rhythm) -> pl.LazyFrame:
    """Covered local days after the last active day: `series, open_silence_days`, null where there was never a post."""
    last = uncovered_before(
        rhythm.windows.select("series", "today", "last_day").filter(pl.col("last_day").is_not_null()),
        rhythm.holes,
        at="last_day",
        by=_BY,
    ).select("series", "today", "last_day", (pl.col("uncovered") + pl.col("is_uncovered")).alias("_before"))
    silent = pl.col("today") - pl.col("last_day")
    return uncovered_before(last, rhythm.holes, at="today", by=_BY).select(
        "series",
        (silent - (pl.col("uncovered") + pl.col("is_uncovered") - pl.col("_before"))).alias("open_silence_days"),
    )
