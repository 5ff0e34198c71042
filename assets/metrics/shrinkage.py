"""What does a post get, when some accounts have ten posts and some a thousand? Gamma-Poisson rates.

Counts of one group (the posts of an account) are Poisson with a rate of their own; the rates follow
a Gamma distribution that is fitted to the group. Many groups are fitted at once, on the distinct
(count, exposure) pairs, so that the cost does not grow with the number of posts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats
from scipy.optimize import elementwise

from assets.metrics.intervals import spread_factor

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_LOG_SHAPE = (-12.0, 16.0)
_BISECTIONS = 10
_TOLERANCES = {"xatol": 1e-14, "xrtol": 1e-15, "fatol": 0, "frtol": 0}
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


def shrunken_rates(y: Floats, e: Floats, weights: Floats, group: Codes, *, groups: int) -> ShrunkenRates:
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
        inner = _renumbered(varies, group[rows])
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


def _fit(y: Floats, e: Floats, weights: Floats, group: Codes, start: Floats) -> tuple[Floats, Floats]:
    """Maximum likelihood of the Gamma's shape a and mean a/b, by turns: they are nearly independent."""
    shape, mean = np.full(len(start), np.nan), start.copy()
    # A group that has settled stays, and costs no more: what it is must not depend on how long the others need.
    is_open = np.ones(len(start), dtype=bool)
    for _ in range(_ROUNDS):
        rows, before = is_open[group], mean[is_open]
        inner = _renumbered(is_open, group[rows])
        own = y[rows], e[rows], weights[rows], inner
        shape[is_open] = _shapes(*own, before)
        mean[is_open] = renewed = _means(*own, shape[is_open], before)
        is_open[is_open] = ~np.isclose(renewed, before, rtol=1e-11, atol=0)
        if not is_open.any():
            break
    return shape, mean


def _shapes(y: Floats, e: Floats, weights: Floats, group: Codes, mean: Floats) -> Floats:
    """The most likely shape of each group, given its mean."""
    expected, groups = mean[group] * e, len(mean)

    def slope(log_shape: Floats, asked: Codes) -> Floats:
        """Of the likelihood along the log of the shape, for the groups asked (in order)."""
        is_asked = np.zeros(groups, dtype=bool)
        is_asked[asked] = True
        rows = is_asked[group]
        inner, shape = _renumbered(is_asked, group[rows]), np.exp(log_shape)
        a, count, mu, weight = shape[inner], y[rows], expected[rows], weights[rows]
        terms = special.psi(a + count) - special.psi(shape)[inner] - np.log1p(mu / a) + (mu - count) / (a + mu)
        return shape * np.bincount(inner, weight * terms, minlength=len(shape))

    every = np.arange(groups)
    low, high = (np.full(groups, limit) for limit in _LOG_SHAPE)
    # Halving first: at the far ends, where few groups are, the slope is lost in rounding.
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = slope(middle, every) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    found = elementwise.find_root(slope, (low, high), args=(every,), tolerances=_TOLERANCES)
    at_limit = np.where(high == _LOG_SHAPE[1], *_LOG_SHAPE[::-1])
    return np.exp(np.where(found.success, found.x, at_limit))


def _means(y: Floats, e: Floats, weights: Floats, group: Codes, shape: Floats, mean: Floats) -> Floats:
    """The most likely mean of each group, given its shape, from a first guess."""
    is_still = np.zeros(len(mean), dtype=bool)
    for _ in range(_ROUNDS):
        certainty = weights / (shape[group] + mean[group] * e)
        renewed = np.bincount(group, certainty * y) / np.bincount(group, certainty * e)
        last, mean = mean, np.where(is_still, mean, renewed)
        is_still |= np.isclose(mean, last, rtol=1e-13, atol=0)
        if is_still.all():
            break
    return mean


def _renumbered(chosen: NDArray[np.bool_], group: Codes) -> Codes:
    """Numbers of chosen groups, counted among the chosen."""
    return (np.cumsum(chosen) - 1)[group]
