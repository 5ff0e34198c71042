"""Worlds whose truth is known: posts, answers, reactions, and people who stay or leave. NumPy and SciPy only.

Nothing of ours is imported here, so that a mistake of a metric cannot be repeated in what it is judged by. Every
function takes its generator; arrays have one row a replicate.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[tuple[int, ...]], Floats]


class Events(NamedTuple):
    """Moments of many replicates, flat: which replicate, and when (days)."""

    replicate: Ints
    at: Floats


def renewal(draw: Draw, *, replicates: int, days: float, most: int) -> Events:
    """Moments from day 0 with independent gaps, `most` of them at most, up to `days`."""
    at = np.cumsum(draw((replicates, most)), axis=1)
    if (at[:, -1] < days).any():
        raise ValueError("too few gaps for so many days")
    replicate, index = np.nonzero(at < days)
    return Events(replicate, at[replicate, index])


def kept(age: Floats | float) -> Floats:
    """How far the promise is kept at an age in promises: 1 up to 1, then down to 0 at 2."""
    return np.clip(2 - np.asarray(age, dtype=np.float64), 0, 1)


def promise_kept(survival: Callable[[Floats], Floats], mean: float, *, promise: float) -> float:
    """The long-run share of time with the promise kept, of gaps with that survival function and mean."""
    u = np.linspace(0, 2 * promise, 200_001)
    return float(integrate.trapezoid(kept(u / promise) * survival(u), u) / mean)


def promise_kept_since_first(mean: float, *, promise: float, days: float) -> float:
    """The expected share over the days since the first post, where posts come by chance every `mean` days."""
    u = np.linspace(0, 2 * promise, 200_001)
    # At time t the age is the smaller of t and an exponential one; below t, the renewal rate 1/mean times survival.
    held = kept(u / promise) * np.exp(-u / mean)
    since_first = integrate.trapezoid(held, u)  # nobody posted since: age t
    renewed = integrate.trapezoid(held * (days - u), u) / mean
    return float((since_first + renewed) / days)


def reactions(random: np.random.Generator, rate: Floats) -> tuple[Ints, Floats]:
    """Reactions to posts with these rates, and their value: likes .1, reposts .5, replies 1, of 6 to 1 to 3."""
    likes, reposts, replies = (random.poisson(rate * share) for share in (0.6, 0.1, 0.3))
    return likes + reposts + replies, 0.1 * likes + 0.5 * reposts + replies


VALUE_OF_REACTION = 0.6 * 0.1 + 0.1 * 0.5 + 0.3
"""The expected value of one reaction."""


def gamma_rates(random: np.random.Generator, shape: float, mean: float, size: tuple[int, ...]) -> Floats:
    """Rates of posts that differ: Gamma with that shape and mean."""
    return random.gamma(shape, mean / shape, size)


def answers(
    random: np.random.Generator,
    hours: Callable[[tuple[int, ...]], Floats],
    answered: Floats | float,
    size: tuple[int, ...],
) -> Floats:
    """Hours until the answer; infinite where there never is one."""
    return np.where(random.random(size) < answered, hours(size), np.inf)


class Censored(NamedTuple):
    """Durations, and whether their end was seen."""

    duration: Floats
    observed: NDArray[np.bool_]


def censored(duration: Floats, follow_up: Floats) -> Censored:
    """Durations that were followed only for so long."""
    return Censored(np.minimum(duration, follow_up), duration <= follow_up)


class Panel(NamedTuple):
    """Posts of one account: the day of each, own posts in the 28 days before it, its interactions."""

    day: Floats
    before: Ints
    interactions: Ints


def panel(
    random: np.random.Generator,
    month: Ints,
    *,
    per_day: float,
    swing: float,
    elasticity: float,
    mean: float,
    shape: float,
    burst: float = 0.0,
) -> Panel:
    """Posts whose pace swings from week to week, and what each got; `month` has the month of each day.

    `swing` is the standard deviation of the log pace of a week, `shape` that of the Gamma noise of a post, `burst` the
    standard deviation of a shock that all posts of a week share. Months have their own level.
    """  # fmt: skip
    days = len(month)
    weeks = days // 7 + 1
    pace = np.exp(swing * random.normal(size=weeks) - swing**2 / 2)
    posts = random.poisson(per_day * np.repeat(pace, 7)[:days])
    day = np.sort(np.repeat(np.arange(days), posts) + random.random(posts.sum()))
    before = np.arange(len(day)) - np.searchsorted(day, day - 28, side="left")
    level = np.exp(0.3 * random.normal(size=month.max() + 1))[month[day.astype(int)]]
    shock = np.exp(burst * random.normal(size=weeks) - burst**2 / 2)[(day // 7).astype(int)]
    rate = mean * level * shock * ((1 + before) / 10) ** elasticity
    return Panel(day, before, random.poisson(rate * random.gamma(shape, 1 / shape, len(day))))


class Weeks(NamedTuple):
    """Weekly histories: further active weeks, index of the last one, weeks seen; and whether still alive at the end."""

    repeat: Ints
    last: Ints
    seen: Ints
    is_alive: NDArray[np.bool_]
    activity: Floats
    leaving: Floats


def weekly_lives(
    random: np.random.Generator, *, alpha: float, beta: float, gamma: float, delta: float, seen: Ints
) -> Weeks:
    """People who, each week, leave for good or else come or do not: chances of their own, Beta distributed."""
    people, most = len(seen), int(seen.max())
    activity, leaving = random.beta(alpha, beta, people), random.beta(gamma, delta, people)
    gone = random.geometric(np.clip(leaving, 1e-12, 1)) - 1  # whole weeks alive
    week = np.arange(1, most + 1)
    came = (random.random((people, most)) < activity[:, None]) & (week <= gone[:, None]) & (week <= seen[:, None])
    return Weeks(came.sum(axis=1), (came * week).max(axis=1, initial=0), seen, gone > seen, activity, leaving)


def weekly_truth(
    x: int, t_x: int, n: int, *, horizon: int, alpha: float, beta: float, gamma: float, delta: float
) -> dict[str, float]:
    """What holds for people of that history: `p_alive`, `p_active` and `expected` within `horizon` weeks.

    Averages of the chances of a single person over both Beta distributions, by Gauss-Jacobi quadrature: exact, since
    all integrands are polynomials, and without any of the formulas that the model uses.
    """
    size = n + horizon + 4
    p, p_weight = _beta_nodes(alpha, beta, size)
    q, q_weight = _beta_nodes(gamma, delta, size)
    p, stay = p[:, None], 1 - q[None, :]

    def mean(values: Floats) -> float:
        return float(p_weight @ values @ q_weight)

    def history(weeks: int) -> float:
        there = p**x * (1 - p) ** (weeks - x) * stay**weeks
        left = [p**x * (1 - p) ** (i - x) * (1 - stay) * stay**i for i in range(t_x, weeks)]
        return mean(there + sum(left, start=np.zeros_like(there)))

    still = p**x * (1 - p) ** (n - x) * stay**n
    whole = history(n)
    coming = sum((stay**k for k in range(1, horizon + 1)), start=np.zeros_like(stay))
    return {
        "p_alive": mean(still * stay) / whole,
        "p_active": 1 - history(n + horizon) / whole,
        "expected": mean(still * p * coming) / whole,
    }


def _beta_nodes(a: float, b: float, size: int) -> tuple[Floats, Floats]:
    """Nodes and weights (they sum to 1) for averages over a Beta distribution."""
    nodes, weights = special.roots_jacobi(size, b - 1, a - 1)
    return (1 + nodes) / 2, weights / weights.sum()
