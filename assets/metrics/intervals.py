"""95 % intervals that several metrics share: a proportion, a mean, anything else by resampling.

Every function is deterministic: a bootstrap draws from a seed that the caller sees. Intervals of a
single subject (a ratio of segments, a survival curve) stand beside the subject instead.
"""

from typing import TypeVar

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from assets.metrics.normal import Z95

_BLOCK = 1_000_000

AnyExpr = TypeVar("AnyExpr", pl.Expr, nw.Expr)
Floats = NDArray[np.float64]


def wilson(successes: AnyExpr, n: AnyExpr) -> tuple[AnyExpr, AnyExpr]:
    """How sure is a share? The Wilson score interval of `successes` out of `n`, as two expressions.

    Takes Polars or narwhals expressions, gives the same kind. Both ends lie in [0, 1]; the lower is
    0 where nothing succeeded, the upper 1 where everything did. `n` = 0 gives null.

    Source: Wilson (1927), JASA 22, 209-212.

    >>> low, high = wilson(pl.col("k"), pl.col("n"))
    >>> pl.DataFrame({"k": [8], "n": [10]}).select(low.round(4).alias("low"), high.round(4).alias("high")).row(0)
    (0.4902, 0.9433)
    """
    middle = 2 * successes + Z95**2
    half = Z95 * (Z95**2 + 4.0 * successes * (n - successes) / n).sqrt()
    width = 2 * n + Z95**2 + Z95**2  # summed as above, so that everybody of everybody is exactly 1
    # 0/0 is NaN above; a share of nobody is unknown. clip undoes the last rounding error.
    low, high = ((middle - half) / width).clip(0.0, 1.0), ((middle + half) / width).clip(0.0, 1.0)
    return low.fill_nan(None), high.fill_nan(None)


def positive_mean_interval(mean: ArrayLike, standard_deviation: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """How sure is a mean of counts or values that are never negative? From mean, sample deviation (n - 1) and count.

    mean * exp(-+ t * s / (mean * sqrt(n))): on the log scale, because what a post gets is skewed and the plain t
    interval misses a high truth twice as often as it should. Student's t has the effective number of values,
    (sum y)^2 / sum y^2, as degrees of freedom, at most n - 1 and at least 1: where one value makes most of the sum, the
    rest say little of how values differ. Arrays of one shape in, two arrays out. Fewer than two values give NaN, as does
    a mean of 0: nothing says how far above 0 the truth may be.

    Source: delta method; effective number: Kish (1965), Survey Sampling. Measured in docs/metrics/truth-recovery.md.

    >>> low, high = positive_mean_interval(2.0, 1.0, 3)
    >>> round(float(low), 4), round(float(high), 4)
    (0.5776, 6.9255)
    """
    mean, deviation, n = (np.asarray(x, dtype=np.float64) for x in (mean, standard_deviation, n))
    is_known = (n >= 2) & (mean > 0)
    mean, deviation, n = np.where(is_known, mean, 1.0), np.where(is_known, deviation, 0.0), np.where(is_known, n, 2.0)
    factor = spread_factor(deviation / (mean * np.sqrt(n)), n, n**2 * mean**2 / ((n - 1) * deviation**2 + n * mean**2))
    return np.where(is_known, mean / factor, np.nan), np.where(is_known, mean * factor, np.nan)


def spread_factor(relative_error: ArrayLike, n: ArrayLike, effective: ArrayLike) -> Floats:
    """By what a positive estimate is divided and multiplied for its 95 % interval: exp(t * relative error).

    Student's t with min(n - 1, effective) degrees of freedom, at least 1.

    >>> float(spread_factor(0.1, 11, 10.0).round(4))
    1.2496
    """
    freedom = np.maximum(np.minimum(np.asarray(n, dtype=np.float64) - 1, effective), 1)
    factor: Floats = np.exp(stats.t.ppf(0.975, freedom) * np.asarray(relative_error, dtype=np.float64))
    return factor


def resampled_totals(sums: Floats, *, replicates: int = 1000, seed: int = 0) -> Floats:
    """Column totals of `sums` (clusters x columns) when clusters are drawn with replacement.

    Gives an array replicates x columns: what a cluster bootstrap needs of any statistic that is a
    function of totals (a mean is two of them, a ratio of means four). With one row an observation it
    is the plain bootstrap. The draws depend on nothing but the seed and the number of clusters. Totals of whole numbers
    (below 2^53) are exact, hence the same whatever else stands beside them.

    >>> resampled_totals(np.array([[1.0, 2.0]]), replicates=2)
    array([[1., 2.],
           [1., 2.]])
    """
    clusters = len(sums)
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // clusters)
    totals = []
    for start in range(0, replicates, block):
        drawn = generator.integers(clusters, size=(min(block, replicates - start), clusters))
        # How often each was drawn, in place of the rows drawn: a product of two small matrices instead of a long gather.
        places = (drawn + clusters * np.arange(len(drawn))[:, None]).ravel()
        times = np.bincount(places, minlength=drawn.size).reshape(drawn.shape)
        totals.append(times.astype(np.float64) @ sums)
    return np.concatenate(totals)
