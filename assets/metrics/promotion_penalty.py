"""Is promotion valued less? Mean value of promotional posts over that of the others, for many accounts at once.

Settled posts in, columns out; the mart is made in `value`. Values are whole thousandths: their sums are exact, so that
what an account gets depends neither on the order of adding nor on which other accounts are there.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.metrics.intervals import resampled_totals

MINIMUM_ARM = 10
"""Posts of each kind, promotional and other, that a comparison needs."""

_RESAMPLES = 1000
_ACCOUNTS = 2000
"""Compared at a time: their resamples are in memory together."""

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def penalties(settled: pl.DataFrame, groups: int) -> dict[str, Any]:
    """`promotion_penalty` with its interval and note, by group number; `settled` has each group's posts in their order."""
    known = settled.filter(pl.col("is_promotional").is_not_null())
    # Two arms a group: 2 g its promotional posts, 2 g + 1 the others.
    arm = 2 * known["_group"].to_numpy().astype(np.intp) + ~known["is_promotional"].to_numpy().astype(bool)
    values = (known["value_7d"] * 1000).round().to_numpy()
    values = values[np.argsort(arm, kind="stable")]
    size = np.bincount(arm, minlength=2 * groups).reshape(-1, 2)
    starts = (np.cumsum(size) - size.ravel()).reshape(-1, 2)
    total = np.bincount(np.sort(arm), values, minlength=2 * groups).reshape(-1, 2)
    is_judged = (size >= MINIMUM_ARM).all(axis=1) & (total[:, 1] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / size
        ratio = np.where(is_judged, mean[:, 0] / mean[:, 1], np.nan)
    low, high = np.where(ratio == 0, 0.0, np.nan), np.full(groups, np.nan)
    compared = np.flatnonzero(ratio > 0)
    for begin in range(0, len(compared), _ACCOUNTS):
        some = compared[begin : begin + _ACCOUNTS]
        low[some], high[some] = _intervals(values, starts[some], size[some])
    return {
        "promotion_penalty": ratio,
        "promotion_penalty_low": low,
        "promotion_penalty_high": high,
        "promotion_penalty_note": [
            None if is_judged[group] else _why_not(*size[group].tolist()) for group in range(groups)
        ],
    }


def _why_not(promotional: int, other: int) -> str:
    lacks = f"needs {MINIMUM_ARM} of each" if min(promotional, other) < MINIMUM_ARM else "the others got nothing"
    return f"{promotional} promotional and {other} other posts: {lacks}"


def _intervals(values: Floats, starts: Codes, size: Codes) -> tuple[Floats, Floats]:
    """Bootstrap-t of the log ratio of two means; an end is NaN where resamples without any value decide it.

    `starts` and `size` (accounts x 2) say where each account's two kinds of posts are among the values.
    """
    (above, above_error, promotional, promotional_error), (below, below_error, other, other_error) = (
        _resampled_logs(values, starts[:, kind], size[:, kind], seed=kind) for kind in (0, 1)
    )
    ratio, error = promotional - other, np.hypot(promotional_error, other_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sort((above - below - ratio[:, None]) / np.hypot(above_error, below_error), axis=1)
    known = np.sum(~np.isnan(t), axis=1)  # nothing by nothing says nothing either way: NaN, sorted last
    upper, lower = (_quantile(t, known, share) for share in (0.025, 0.975))
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.where(np.isfinite(lower), np.exp(ratio - lower * error), 0.0)
        high = np.where(np.isfinite(upper), np.exp(ratio - upper * error), np.nan)
    low[known == 0] = np.nan
    high[np.isinf(high)] = np.nan
    is_sure = error == 0  # no post differs from another of its kind
    low[is_sure] = high[is_sure] = np.exp(ratio[is_sure])
    return low, high


def _quantile(ordered: Floats, known: Codes, share: float) -> Floats:
    """Of each row's `known` first numbers: an observed one (no interpolation), so that an infinite one spoils no other."""
    at = np.clip(np.ceil(known * share - 1), 0, None).astype(np.intp)
    return ordered[np.arange(len(ordered)), at]


def _resampled_logs(values: Floats, starts: Codes, size: Codes, *, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """The log of the mean and its error: of 1,000 seeded resamples (accounts x 1,000), and of the posts themselves.

    Accounts with equally many posts share the draws: those depend on nothing but the seed and how many posts there are.
    """
    log, error = np.empty((2, len(size), _RESAMPLES))
    own_log, own_error = np.empty((2, len(size)))
    for n in np.unique(size).tolist():
        accounts = np.flatnonzero(size == n)
        posts = values[starts[accounts, None] + np.arange(n)].T
        columns, width = np.hstack([posts, posts**2]), len(accounts)
        drawn, whole = resampled_totals(columns, replicates=_RESAMPLES, seed=seed).T, columns.sum(axis=0)
        log[accounts], error[accounts] = _log_mean(drawn[:width], drawn[width:], n)
        own_log[accounts], own_error[accounts] = _log_mean(whole[:width], whole[width:], n)
    return log, error, own_log, own_error


def _log_mean(sums: Floats, squares: Floats, n: int) -> tuple[Floats, Floats]:
    """The log of the mean of n values (minus infinity where all are 0), and its error, from their sum and sum of squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(sums / n), np.sqrt(np.maximum(n * squares - sums**2, 0) / (n - 1)) / sums
