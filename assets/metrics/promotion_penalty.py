"""Is promotion valued less? Mean value of promotional posts over that of the others, account by account.

Arrays of settled posts in, columns out; the mart is made in `value`.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.metrics.intervals import resampled_totals

MINIMUM_ARM = 10
"""Posts of each kind, promotional and other, that a comparison needs."""

Floats = NDArray[np.float64]


def penalties(settled: pl.DataFrame, groups: int) -> dict[str, list[Any]]:
    """`promotion_penalty` with its interval and note, by group number."""
    known = settled.filter(pl.col("is_promotional").is_not_null())
    group, is_promotional = known["_group"].to_numpy(), known["is_promotional"].to_numpy()
    numbers = known["value_7d"].to_numpy()
    names = ("promotion_penalty", "promotion_penalty_low", "promotion_penalty_high", "promotion_penalty_note")
    result: dict[str, list[Any]] = {name: [] for name in names}
    starts = np.searchsorted(group, np.arange(groups + 1))
    done: dict[bytes, Any] = {}  # `all` of an account with one platform repeats that platform
    for start, stop in pairwise(starts):
        flags, own = is_promotional[start:stop].astype(bool), numbers[start:stop]
        key = own.tobytes() + flags.tobytes()
        if key not in done:
            done[key] = ratio(own[flags], own[~flags])
        for name, number in zip(names, done[key], strict=True):
            result[name].append(number)
    return result


def ratio(promotional: Floats, other: Floats) -> tuple[float | None, float | None, float | None, str | None]:
    """Mean of one kind over mean of the other, its bootstrap interval, or why not."""
    counts = f"{len(promotional)} promotional and {len(other)} other posts"
    if min(len(promotional), len(other)) < MINIMUM_ARM:
        return None, None, None, f"{counts}: needs {MINIMUM_ARM} of each"
    if not other.any():
        return None, None, None, f"{counts}: the others got nothing"
    ratio = float(promotional.mean() / other.mean())
    low, high = _ratio_interval(promotional, other) if promotional.any() else (0.0, None)
    return ratio, low, high, None


def _ratio_interval(promotional: Floats, other: Floats) -> tuple[float | None, float | None]:
    """Bootstrap-t of the log ratio of two means; an end is null where resamples without any value decide it."""
    (above, above_error), (below, below_error) = (
        _resampled_logs(values, seed=seed) for seed, values in enumerate((promotional, other))
    )
    error = np.hypot(_relative_error(promotional), _relative_error(other))
    ratio = np.log(promotional.mean() / other.mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (above - below - ratio) / np.hypot(above_error, below_error)
    t = t[~np.isnan(t)]  # nothing by nothing says nothing either way
    if not t.size:
        return None, None
    # Ends are observed values (no interpolation), so that one infinite replicate spoils nothing.
    upper, lower = np.quantile(t, [0.025, 0.975], method="inverted_cdf")
    low, high = np.exp(ratio - lower * error), np.exp(ratio - upper * error)
    return (float(low) if np.isfinite(lower) else 0.0), (float(high) if np.isfinite(high) else None)


def _resampled_logs(values: Floats, *, seed: int) -> tuple[Floats, Floats]:
    """Of each of 1,000 seeded resamples: the log of its mean (minus infinity where all is 0), and the error of it."""
    n = len(values)
    # In units of the mean, so that neither a sum of squares nor the result depends on the unit.
    unit = values / values.mean()
    sums, squares = resampled_totals(np.column_stack([unit, unit**2]), seed=seed).T
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(sums / n) + np.log(values.mean())
        error = np.sqrt(np.maximum(squares - sums**2 / n, 0) * n / (n - 1)) / sums
    return log, error


def _relative_error(values: Floats) -> float:
    return float(values.std(ddof=1) / values.mean() / np.sqrt(len(values)))
