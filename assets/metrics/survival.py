"""Time until something happens, where for some it has not happened yet: the Kaplan-Meier estimate.

Whoever has only waited so far is censored, not left out: the median of those to whom it happened would flatter.
Frames hold many groups at once (`curves`, `quantile`, `restricted_means`, `log_ranks`); `kaplan_meier`, `rmst` and
`log_rank` are the same for arrays.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import special

from assets.metrics.normal import Z95

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""A product of fractions that should be 0.5 may miss it by this much."""


class Curve(NamedTuple):
    """A survival curve: at each distinct duration, the share that has lasted longer, and its standard error."""

    time: Floats
    survival: Floats
    standard_error: Floats


class LogRank(NamedTuple):
    """Do groups differ? The statistic and how often chance alone would exceed it; NaN where there is nothing to compare."""

    chi2: float
    p_value: float


class RestrictedMean(NamedTuple):
    """The mean time up to a limit, its standard error and 95 % interval; NaN where it is not known."""

    mean: float
    standard_error: float
    low: float
    high: float


def kaplan_meier(durations: ArrayLike, observed: ArrayLike) -> Curve:
    """How long does it last? The Kaplan-Meier estimate of one group, with Greenwood's standard error.

    `durations` in any unit, `observed` true where the end was seen and false where only so much was waited (censored).
    An end and a censoring at the same time: the censored one was still at risk. `time` is sorted, each distinct
    duration once. The standard error is NaN where nothing is left (survival 0). Raises `ValueError` where the arrays
    differ in length or a duration is negative or not a number.

    Source: Kaplan & Meier (1958), JASA 53, 457-481; Greenwood (1926).

    >>> time, survival, standard_error = kaplan_meier([6, 6, 6, 6, 7], [True, True, True, False, True])
    >>> time.tolist(), survival.round(4).tolist()
    ([6.0, 7.0], [0.4, 0.0])
    """
    curve = curves(_one_group(durations, observed), by=("group",)).collect()
    return Curve(
        curve["time"].to_numpy(),
        curve["survival"].to_numpy(),
        curve["standard_error"].fill_null(np.nan).to_numpy(),
    )


def rmst(durations: ArrayLike, observed: ArrayLike, limit: float) -> RestrictedMean:
    """How long does it last on average, counted up to `limit`? The area below the Kaplan-Meier curve from 0 to there.

    Durations as in `kaplan_meier`, `limit` in their unit; the interval is that of a normal distribution, within 0 and
    `limit`. NaN where the curve is not known up to `limit` (somebody is left, and nobody was followed so far), and for
    nobody. Raises `ValueError` for arrays that `kaplan_meier` refuses and for a limit that is not positive.

    With S the curve, d of n at risk ended at t_i and A_i the area from t_i to the limit, the variance is the sum of
    A_i^2 d / (n (n - d)) over t_i <= limit. Source: Irwin (1949), J. Hygiene 47, 188-189; Kaplan & Meier (1958).

    >>> mean, standard_error, low, high = rmst([1, 2, 3, 3], [True, True, True, False], limit=3)
    >>> mean, round(standard_error, 4), round(low, 4), round(high, 4)
    (2.25, 0.4146, 1.4374, 3.0)
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive, not {limit}")
    curve = curves(_one_group(durations, observed), by=("group",)).with_columns(pl.lit(float(limit)).alias("limit"))
    row = restricted_means(curve, by=("group",)).select("rmst", "standard_error", "rmst_low", "rmst_high").collect()
    values = row.row(0) if row.height else (None,) * 4
    return RestrictedMean(*(float("nan") if value is None else value for value in values))


def log_rank(durations: ArrayLike, observed: ArrayLike, group: ArrayLike) -> LogRank:
    """Do the groups last differently long? The log-rank test of any number of groups, all of one length of array.

    `group` says which group each duration belongs to (numbers or strings). At each time at which something ended, the
    number that ended in a group is held against its share of those at risk; chi2 has one degree of freedom fewer than
    there are groups. NaN where there are fewer than two groups, or where nothing ended while there was a choice (all
    censored, or all at once). Raises `ValueError` for arrays that `kaplan_meier` refuses or of another length.

    Source: Mantel (1966), Cancer Chemotherapy Reports 50, 163-170; Peto & Peto (1972), JRSS A 135, 185-207.

    >>> chi2, p_value = log_rank([1, 2, 3, 4, 5, 6], [True] * 6, list("aaabbb"))
    >>> round(chi2, 4), round(p_value, 4)
    (5.0517, 0.0246)
    """
    frame = _one_group(durations, observed).collect()
    names, arm = np.unique(np.asarray(group), return_inverse=True)
    if arm.shape != (frame.height,):
        raise ValueError(f"group must be as long as durations ({frame.height}), not {arm.shape}")
    times, at = np.unique(frame["duration"].to_numpy(), return_inverse=True)
    left, ended = np.zeros((2, len(times), len(names)))
    np.add.at(left, (at, arm), 1.0)
    np.add.at(ended, (at, arm), frame["is_observed"].to_numpy())
    at_risk = left[::-1].cumsum(axis=0)[::-1]
    is_choice = (ended.sum(axis=1) > 0) & (at_risk.sum(axis=1) > 1)
    at_risk, ended = at_risk[is_choice], ended[is_choice]
    n, d = at_risk.sum(axis=1), ended.sum(axis=1)
    share = at_risk / n[:, None]
    spread = d * (n - d) / (n - 1)
    covariance = np.diag(spread @ share) - share.T @ (spread[:, None] * share)
    # The last group follows from the others: without it the matrix can be inverted.
    difference, covariance = (ended - d[:, None] * share).sum(axis=0)[:-1], covariance[:-1, :-1]
    if len(names) < 2 or not (np.diag(covariance) > _ROUNDING).any():
        return LogRank(float("nan"), float("nan"))
    chi2 = float(difference @ np.linalg.pinv(covariance, hermitian=True) @ difference)
    return LogRank(chi2, float(special.gammaincc((len(names) - 1) / 2, chi2 / 2)))


def _one_group(durations: ArrayLike, observed: ArrayLike) -> pl.LazyFrame:
    """The arrays as a frame for `curves`, after a look at them."""
    time, is_observed = np.asarray(durations, dtype=np.float64), np.asarray(observed, dtype=bool)
    if time.ndim != 1 or time.shape != is_observed.shape:
        raise ValueError(f"durations and observed must be of one length, not {time.shape} and {is_observed.shape}")
    if not (time >= 0).all():
        raise ValueError("durations must be numbers and not negative")
    return pl.LazyFrame({"duration": time, "is_observed": is_observed}).with_columns(pl.lit(0).alias("group"))


def curves(lifetimes: pl.LazyFrame, *, by: Sequence[str]) -> pl.LazyFrame:
    """Kaplan-Meier curves of many groups: a row for each group and distinct duration, sorted.

    `lifetimes` has the columns `by`, `duration` and `is_observed`, in any order. Comes back: `by`, `time, at_risk,
    ended, survival, standard_error` (null where survival is 0) and `survival_low, survival_high`, the 95 % interval on
    the log-log scale (null where survival is 1 or 0: it says nothing there).
    """
    at_risk, ended = pl.col("at_risk"), pl.col("ended")
    log = pl.col("survival").log()
    # On the log-log scale the interval stays within 0 and 1.
    half = Z95 * pl.col("_greenwood").sqrt() / log.abs()
    is_between = (pl.col("survival") > 0) & (pl.col("survival") < 1)
    return (
        lifetimes.group_by(*by, pl.col("duration").alias("time"))
        .agg(pl.len().cast(pl.Int64).alias("left"), pl.col("is_observed").sum().cast(pl.Int64).alias("ended"))
        .sort(*by, "time")
        .with_columns(pl.col("left").cum_sum(reverse=True).over(*by).alias("at_risk"))
        .with_columns(
            ((at_risk - ended) / at_risk).cum_prod().over(*by).alias("survival"),
            (ended / (at_risk * (at_risk - ended))).cum_sum().over(*by).alias("_greenwood"),
        )
        .select(
            *by,
            "time",
            "at_risk",
            "ended",
            "survival",
            pl.when(pl.col("survival") > 0).then(pl.col("survival") * pl.col("_greenwood").sqrt()).alias("standard_error"),
            pl.when(is_between).then(pl.col("survival") ** half.exp()).alias("survival_low"),
            pl.when(is_between).then(pl.col("survival") ** (-half).exp()).alias("survival_high"),
        )
    )  # fmt: skip


def quantile(survival_curves: pl.LazyFrame, *, by: Sequence[str], share: float, name: str) -> pl.LazyFrame:
    """After how long has it happened to a share of the group? `by`, `name`, `name_low`, `name_high`.

    From `curves`: the first time at which survival is at most 1 - `share`, null where it never falls so far. The 95 %
    interval holds the times at which that level lies within the curve's own interval; an end that is not reached is null.

    Source: Brookmeyer & Crowley (1982), Biometrics 38, 29-41, on the log-log scale.
    """
    level = 1 - share + _ROUNDING
    first = {
        name: pl.col("survival") <= level,
        f"{name}_low": pl.col("survival_low") <= level,
        f"{name}_high": pl.col("survival_high") <= level,
    }
    return survival_curves.group_by(by).agg(
        pl.col("time").filter(reached).min().alias(column) for column, reached in first.items()
    )


def restricted_means(survival_curves: pl.LazyFrame, *, by: Sequence[str]) -> pl.LazyFrame:
    """How long does it last on average, up to a limit, in each of many groups? `rmst` for frames.

    From `curves` with a column `limit` (one value a group, in the unit of `time`). Comes back: `by`, `rmst,
    standard_error, rmst_low, rmst_high`, null where the curve is not known up to the limit.
    """
    time, limit, before = pl.col("time"), pl.col("limit"), pl.col("_before")
    until = pl.min_horizontal(time, limit)
    since = pl.min_horizontal(time.shift(1).over(by).fill_null(0), limit)
    survivors = pl.col("at_risk") - pl.col("ended")
    is_known = (pl.col("time").max() >= limit.first()) | (pl.col("survival").min() <= 0)
    rounded = pl.col("_variance").round(12).sqrt()
    mean, half = pl.col("rmst"), Z95 * pl.col("standard_error")
    return (
        survival_curves.sort(*by, "time")
        .with_columns(pl.col("survival").shift(1).over(by).fill_null(1.0).alias("_before"))
        .with_columns((before * (until - since)).alias("_area"))
        .with_columns((pl.col("_area").sum() - pl.col("_area").cum_sum()).over(by).alias("_after"))
        # Where everybody left ends, no area is after it.
        .with_columns(
            pl.when(survivors > 0)
            .then(pl.col("_after") ** 2 * pl.col("ended") / (pl.col("at_risk") * survivors))
            .otherwise(0.0)
            .alias("_term")
        )
        .group_by(by)
        .agg(
            pl.when(is_known).then(pl.col("_area").sum().round(9)).alias("rmst"),
            pl.when(is_known).then(pl.col("_term").sum()).alias("_variance"),
            limit.first(),
        )
        .with_columns(rounded.alias("standard_error"))
        .select(
            *by,
            "rmst",
            "standard_error",
            (mean - half).clip(lower_bound=0.0).alias("rmst_low"),
            (mean + half).clip(upper_bound=limit).alias("rmst_high"),
        )
    )


def log_ranks(lifetimes: pl.LazyFrame, *, by: Sequence[str], arm: str) -> pl.LazyFrame:
    """Do two arms last differently long, in each of many groups? `log_rank` for frames.

    `lifetimes` has the columns `by`, `duration`, `is_observed` and the boolean `arm`. Comes back: `by`, `chi2`,
    `p_value` (one degree of freedom), null where nothing ended while there was a choice.
    """
    is_here = pl.col(arm)
    n, d, here = pl.col("at_risk"), pl.col("ended"), pl.col("here")
    share = here / n
    return (
        lifetimes.group_by(*by, pl.col("duration").alias("time"))
        .agg(
            pl.len().cast(pl.Int64).alias("left"),
            is_here.sum().cast(pl.Int64).alias("left_here"),
            pl.col("is_observed").sum().cast(pl.Int64).alias("ended"),
            (pl.col("is_observed") & is_here).sum().cast(pl.Int64).alias("ended_here"),
        )
        .sort(*by, "time")
        .with_columns(
            pl.col("left").cum_sum(reverse=True).over(by).alias("at_risk"),
            pl.col("left_here").cum_sum(reverse=True).over(by).alias("here"),
        )
        .filter(d > 0, n > 1)
        .group_by(by, maintain_order=True)
        .agg(
            (pl.col("ended_here") - d * share).sum().alias("_difference"),
            (d * (n - d) / (n - 1) * share * (1 - share)).sum().alias("_variance"),
        )
        .with_columns(
            pl.when(pl.col("_variance") > _ROUNDING)
            .then((pl.col("_difference") ** 2 / pl.col("_variance")).round(9))
            .alias("chi2")
        )
        .select(*by, "chi2", pl.col("chi2").map_batches(_upper_tail, return_dtype=pl.Float64).alias("p_value"))
    )


def _upper_tail(chi2: pl.Series) -> pl.Series:
    """How often chance alone exceeds chi2 with one degree of freedom; null stays null."""
    tail = pl.Series(special.gammaincc(0.5, chi2.fill_null(0.0).to_numpy() / 2))
    return tail.zip_with(chi2.is_not_null(), pl.Series([None], dtype=pl.Float64))
