"""What does a post get, when some accounts have ten posts and some a thousand? Gamma-Poisson rates.

Counts of one group (the posts of an account) are Poisson with a rate of their own; the rates follow
a Gamma distribution that is fitted to the group. Many groups are fitted at once, on the distinct
(count, exposure) pairs, so that the cost does not grow with the number of posts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from assets.metrics.intervals import spread_factor

Floats = NDArray[np.float64]

_LOG_SHAPE = (-12.0, 16.0)
_BISECTIONS = 48
_ROUNDS = 200


@dataclass(frozen=True)
class ShrunkenRate:
    """A fitted Gamma-Poisson model and the mean rate that follows from it.

    `shape` and `rate` are a and b of the Gamma distribution, NaN where the counts vary no more than
    one common Poisson rate would have them (then every posterior mean is the plain one).
    """

    shape: float
    rate: float
    posterior_means: Floats
    mean: float
    low: float
    high: float


def shrunken_rate(interactions: ArrayLike, exposures: ArrayLike = 1.0, *, weights: ArrayLike = 1.0) -> ShrunkenRate:
    """What rate of interactions posts have, given that posts differ.

    `interactions` y are counts, `exposures` e > 0 (followers on the day, or 1), `weights` how many
    posts share that pair. y ~ Poisson(theta e), theta ~ Gamma(a, b); a and b by maximum likelihood;
    `posterior_means` (a + y) / (b + e), one each pair, and `mean` their mean over posts. Where the
    variance is not larger than the mean no finite a is most likely: the plain mean, sum y / sum e.

    `low` and `high` are the 95 % interval of the mean rate of posts like these: on the log scale with
    the robust (sandwich) error of a/b and Student's t (`intervals.spread_factor`), so that it holds
    also where rates do not follow a Gamma distribution; or exact Poisson for the plain mean. No posts: NaN.

    Source: Gaver & O'Muircheartaigh (1987), Technometrics 29, 1-15 (pumps); robust error: White (1982),
    Econometrica 50, 1-25; interval of the plain mean: Garwood (1936).

    >>> fit = shrunken_rate([5, 1, 5, 14, 3, 19, 1, 1, 4, 22], [94.3, 15.7, 62.9, 126, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5])
    >>> round(fit.shape, 5), round(fit.rate, 5)
    (0.82297, 1.26165)
    """
    y, e, w = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (interactions, exposures, weights))
    y, e, w = np.broadcast_arrays(y, e, w)
    if (y < 0).any() or (e <= 0).any() or (w < 0).any():
        raise ValueError("interactions and weights must not be negative, exposures must be positive")
    rates = shrunken_rates(y, e, w, np.zeros(len(y), dtype=np.intp), groups=1)
    a, b = rates.shape[0], rates.rate[0]
    means = (a + y) / (b + e) if np.isfinite(a) else np.full(len(y), rates.mean[0])
    return ShrunkenRate(float(a), float(b), means, *(float(x[0]) for x in (rates.mean, rates.low, rates.high)))


@dataclass(frozen=True)
class ShrunkenRates:
    """The same for many groups: one element each."""

    shape: Floats
    rate: Floats
    mean: Floats
    low: Floats
    high: Floats


def shrunken_rates(y: Floats, e: Floats, weights: Floats, group: NDArray[np.intp], *, groups: int) -> ShrunkenRates:
    """`shrunken_rate` of many groups at once; `group` numbers them 0 .. groups - 1."""

    def total(x: Floats) -> Floats:
        return np.bincount(group, weights * x, minlength=groups).astype(np.float64)

    events, exposure, posts = total(y), total(e), total(np.ones_like(y))
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = events / exposure
        # The slope of the likelihood at "no variation between posts": positive iff a finite a is better.
        spread = total((y - plain[group] * e) ** 2 - y)
    varies = (spread > 1e-9 * events) & (events > 0)
    mean, low, high = plain, *_garwood(events, exposure)
    shape = np.full(groups, np.nan)
    rate = np.full(groups, np.nan)
    if varies.any():
        rows = varies[group]
        inner = (np.cumsum(varies) - 1)[group[rows]]
        a, prior = _fit(y[rows], e[rows], weights[rows], inner, plain[varies])
        shape[varies], rate[varies] = a, a / prior
        at_a, at_b, at_mean = a[inner], (a / prior)[inner], prior[inner] * e[rows]
        weight, size = weights[rows], len(a)
        posterior = np.bincount(inner, weight * (at_a + y[rows]) / (at_b + e[rows]), minlength=size) / posts[varies]
        certainty = 1 / (at_a + at_mean)
        weighted = np.bincount(inner, weight * certainty * y[rows], minlength=size)
        residuals = np.bincount(inner, weight * (certainty * (y[rows] - at_mean)) ** 2, minlength=size)
        squares = np.bincount(inner, weight * (certainty * y[rows]) ** 2, minlength=size)
        n = posts[varies]
        # The equation that the fitted mean solves: sum of certainty * e * prior = weighted.
        factor = spread_factor(np.sqrt(residuals * n / (n - 1)) / weighted, n, weighted**2 / squares)
        mean, low, high = mean.copy(), low.copy(), high.copy()
        mean[varies], low[varies], high[varies] = posterior, posterior / factor, posterior * factor
    return ShrunkenRates(shape, rate, mean, low, high)


def _garwood(events: Floats, exposure: Floats) -> tuple[Floats, Floats]:
    """Exact 95 % interval of a Poisson rate; NaN where nothing was exposed."""
    exposed = np.where(exposure > 0, exposure, np.nan)
    low = np.where(events > 0, stats.chi2.ppf(0.025, 2 * np.maximum(events, 1)) / 2, 0.0)
    return low / exposed, stats.chi2.ppf(0.975, 2 * events + 2) / 2 / exposed


def _fit(y: Floats, e: Floats, weights: Floats, group: NDArray[np.intp], start: Floats) -> tuple[Floats, Floats]:
    """Maximum likelihood of the Gamma's shape a and mean a/b, by turns: they are nearly independent."""
    groups = len(start)
    shape, mean = np.full(groups, np.nan), start
    # A group that has settled stays: what it is must not depend on how long the others need.
    is_settled = np.zeros(groups, dtype=bool)
    for _ in range(_ROUNDS):
        expected = mean[group] * e
        low, high = (np.full(groups, limit) for limit in _LOG_SHAPE)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            a = np.exp(middle)[group]
            slope = special.psi(a + y) - special.psi(a) - np.log1p(expected / a) + (expected - y) / (a + expected)
            rising = np.bincount(group, weights * slope, minlength=groups) > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        shape = np.where(is_settled, shape, np.exp((low + high) / 2))
        before, is_still = mean, is_settled.copy()
        for _ in range(_ROUNDS):
            certainty = weights / (shape[group] + mean[group] * e)
            renewed = np.bincount(group, certainty * y, minlength=groups) / np.bincount(
                group, certainty * e, minlength=groups
            )
            last, mean = mean, np.where(is_still, mean, renewed)
            is_still |= np.isclose(mean, last, rtol=1e-13, atol=0)
            if is_still.all():
                break
        is_settled |= np.isclose(mean, before, rtol=1e-11, atol=0)
        if is_settled.all():
            break
    return shape, mean
