"""Time until something happens, where for some it has not happened yet: the Kaplan-Meier estimate.

Whoever has only waited so far is censored, not left out: the median of those to whom it happened would flatter.
Frames hold many groups at once (`curves`, `quantile`); `kaplan_meier` is the same for arrays of one group.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from assets.metrics.intervals import Z95

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""A product of fractions that should be 0.5 may miss it by this much."""


class Curve(NamedTuple):
    """A survival curve: at each distinct duration, the share that has lasted longer, and its standard error."""

    time: Floats
    survival: Floats
    standard_error: Floats


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
    time, is_observed = np.asarray(durations, dtype=np.float64), np.asarray(observed, dtype=bool)
    if time.ndim != 1 or time.shape != is_observed.shape:
        raise ValueError(f"durations and observed must be of one length, not {time.shape} and {is_observed.shape}")
    if not (time >= 0).all():
        raise ValueError("durations must be numbers and not negative")
    frame = pl.LazyFrame({"duration": time, "is_observed": is_observed}).with_columns(pl.lit(0).alias("group"))
    curve = curves(frame, by=("group",)).collect()
    return Curve(
        curve["time"].to_numpy(),
        curve["survival"].to_numpy(),
        curve["standard_error"].fill_null(np.nan).to_numpy(),
    )


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
