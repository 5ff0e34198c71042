"""Would the retention model have been right? Its forecasts against what was hidden from it, and against a rule of thumb.

Arrays in, a frozen dataclass out. `weights` count people: those with the same history and the same fate are one element.
Which weeks are hidden, and from whom, is `assets.metrics.retention_model`'s business.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assets.metrics.normal import Z95

DECILES = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Forecasts judged: `difference` is the model's Brier score less the heuristic's, so below 0 the model is better."""

    people: int
    returned: int
    brier: float
    brier_base: float
    brier_heuristic: float
    difference: float
    difference_low: float
    difference_high: float
    calibration_error: float

    @property
    def is_worse(self) -> bool:
        """Whether the 95 % interval of the difference lies wholly on the heuristic's side."""
        return self.difference_low > 0


def calibrate(
    predicted: ArrayLike,
    heuristic: ArrayLike,
    returned: ArrayLike,
    weights: ArrayLike,
    cluster: NDArray[np.intp] | None = None,
) -> Calibration:
    """How good were the forecasts? Brier scores, their difference with its interval, and the calibration error.

    `predicted` and `heuristic` are probabilities of coming back, `returned` what happened (0 or 1), `weights` the
    people of that kind. The Brier score is the mean of (p - y)²; `brier_base` that of the share who came back, said of
    everybody (the best constant in hindsight). The interval of the mean difference is normal, from the deviations of
    people, or of whole clusters (accounts, numbered from 0) where `cluster` is given: people of one account share its
    weeks. A single person or cluster has no interval (NaN). Nobody at all: every figure is NaN.

    Source: Brier (1950), Monthly Weather Review 78, 1-3.

    >>> found = calibrate([0.9, 0.1], [0.5, 0.5], [1, 0], [10, 10])
    >>> round(found.brier, 4), found.brier_base, found.brier_heuristic, found.is_worse
    (0.01, 0.25, 0.25, False)
    """
    p, q, y, w = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (predicted, heuristic, returned, weights))
    people = w.sum()
    if people == 0:
        return Calibration(0, 0, *([float("nan")] * 7))
    rate = (w * y).sum() / people
    brier, other = ((w * (x - y) ** 2).sum() / people for x in (p, q))
    each = (p - y) ** 2 - (q - y) ** 2
    mean = (w * each).sum() / people
    spread = _spread(each - mean, w, cluster)
    return Calibration(
        people=round(people),
        returned=round((w * y).sum()),
        brier=float(brier),
        brier_base=float(rate * (1 - rate)),
        brier_heuristic=float(other),
        difference=float(mean),
        difference_low=float(mean - Z95 * spread),
        difference_high=float(mean + Z95 * spread),
        calibration_error=calibration_error(p, y, w),
    )


def _spread(deviation: Floats, w: Floats, cluster: NDArray[np.intp] | None) -> float:
    """The standard error of a weighted mean from deviations: of people, or of clusters that hang together."""
    if cluster is None:
        units, squares = float(w.sum()), float((w * deviation**2).sum())
    else:
        sums = np.bincount(cluster, w * deviation)
        units, squares = float(np.count_nonzero(np.bincount(cluster, w))), float((sums**2).sum())
    if units <= 1:
        return float("nan")
    return float(np.sqrt(units / (units - 1) * squares) / w.sum())


def calibration_error(predicted: ArrayLike, returned: ArrayLike, weights: ArrayLike) -> float:
    """By how much do forecasts and shares differ? The expected calibration error over deciles of the forecast.

    Sum over deciles of (people in it / all people) |mean forecast - share who came back|. People with the same forecast
    stay together: they fall into the decile of their middle one. Nobody: NaN.

    Source: Naeini, Cooper & Hauskrecht (2015), AAAI 29; deciles as in Hosmer & Lemeshow (1980).

    >>> calibration_error([0.2, 0.8], [0, 1], [5, 5])
    0.2
    """
    p, y, w = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (predicted, returned, weights))
    if w.sum() == 0:
        return float("nan")
    # Rounded, so that forecasts that differ by a rounding error only are ties whatever the order of the rows.
    value, which = np.unique(p.round(9), return_inverse=True)
    size = np.bincount(which, w)
    back = np.bincount(which, w * y)
    middle = np.cumsum(size) - size / 2
    decile = np.minimum((DECILES * middle / size.sum()).astype(np.intp), DECILES - 1)
    gaps = np.bincount(decile, size * value - back)
    return float(np.abs(gaps).sum() / size.sum())


def hiatus_heuristic(
    since: NDArray[np.int64],
    is_repeat: NDArray[np.bool_],
    seen_since: NDArray[np.int64],
    seen_repeat: NDArray[np.bool_],
    seen: Floats,
    seen_back: Floats,
) -> Floats:
    """The rule of thumb that a model must not lose to: how many with such a silence came back?

    `seen_back / seen` is the share active in the next 4 weeks of those `seen_since` weeks silent, apart for people with
    one active week and with more (`seen_repeat`). One forecast for each `since`, `is_repeat`. A silence that was never
    seen is answered by the longest shorter one, one shorter than all seen by the shortest; a kind of people that was
    never seen by the share of everybody. Nothing seen at all: NaN.

    Source: Wuebben & von Wangenheim (2008), Journal of Marketing 72, 82-93, with the share in place of their cut-off.

    >>> weeks, kind = np.array([0, 3]), np.array([True, True])
    >>> hiatus_heuristic(weeks, kind, np.array([0, 1]), kind, np.array([10.0, 5.0]), np.array([6.0, 1.0])).tolist()
    [0.6, 0.2]
    """
    everybody = seen_back.sum() / seen.sum() if seen.sum() > 0 else np.nan
    found = np.full(len(since), everybody)
    for kind in (False, True):
        known = np.flatnonzero((seen_repeat == kind) & (seen > 0))
        if not len(known):
            continue
        known = known[np.argsort(seen_since[known], kind="stable")]
        asked = np.flatnonzero(is_repeat == kind)
        nearest = np.searchsorted(seen_since[known], since[asked], side="right") - 1
        cell = known[np.maximum(nearest, 0)]
        found[asked] = seen_back[cell] / seen[cell]
    return found
