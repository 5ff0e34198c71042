"""Who is still here, in continuous time? BG/NBD and MBG/NBD, fitted beside BG/BB as a check.

People come at a rate of their own, Gamma(r, alpha), and after each time may leave for ever with a probability of
their own, Beta(a, b). In BG/NBD somebody who never came back cannot have left; in MBG/NBD they may leave at once.
Here are likelihoods, fits and predictions, pure. Bursts (ten likes in an hour) break both: see `bgbb`.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from assets.metrics.maximiser import maximise, no_estimate
from assets.metrics.maximum_likelihood import Floats, Histories, RetentionModel, histories

NAMES = ("r", "alpha", "a", "b")

_STARTS = [np.log(start) for start in ((1.0, 1.0, 1.0, 1.0), (0.3, 0.1, 0.5, 2.0), (3.0, 1.0, 0.1, 1.0))]
_NEAR = 1e-4
_NODES = 256

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BetaGeometricNegativeBinomial(RetentionModel):
    """A fitted BG/NBD model: the rate of coming is Gamma(r, alpha), the chance to leave after each Beta(a, b).

    Histories are x repeats, the last at t_x, of a time n (in the literature T) watched since the first contact, in
    the unit of the fit; numbers or arrays of one length. `p_alive` is that of still being there at n: 1 for whoever
    never came back.
    """

    chances_before_return: ClassVar[int] = 0
    """How many chances to leave there are before the first repeat."""

    def _p_alive(self, x: Floats, t_x: Floats, n: Floats) -> Floats:
        return special.expit(-_terms(self._values(), self.chances_before_return, _places(x, t_x, n)).odds)

    def _p_silent(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        parameters, both = self._values(), (_places(x, t_x, end) for end in (n, n + horizon))
        now, later = (
            _log_likelihoods(_terms(parameters, self.chances_before_return, places), parameters[0], places)
            for places in both
        )
        return np.minimum(np.exp(later - now), 1.0)

    def _expected(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        """Equations (9) and (10) of Fader, Hardie & Lee, in the form of Euler's transformation.

        So transformed, a large x does not overflow; where the function still fails, the integral is done numerically.
        At a = 1 the formula is 0 / 0, but its limit exists: across a narrow gap its two ends are joined by a line.
        """
        r, alpha, a, b = self._values()
        chances = x + self.chances_before_return

        def while_alive(a: float) -> Floats:
            c = a + b + chances - 1
            c = np.where(np.abs(c) < _NEAR**2, _NEAR**2, c)
            growth = np.log1p(horizon / (alpha + n))
            reached = -np.expm1(-growth)
            share = special.hyp2f1(c - r - x, a - 1, c, reached) * np.exp(growth * (1 - a))
            return c / (a - 1) * (1 - share)

        if abs(a - 1) < _NEAR:
            upper = (a - 1 + _NEAR) / (2 * _NEAR)
            expected = (1 - upper) * while_alive(1 - _NEAR) + upper * while_alive(1 + _NEAR)
        else:
            expected = while_alive(a)
        lost = ~np.isfinite(expected)
        expected[lost] = _integrated(r + x[lost], a, b + chances[lost], horizon / (alpha + n[lost]))
        return self._p_alive(x, t_x, n) * expected

    def _values(self) -> tuple[float, float, float, float]:
        r, alpha, a, b = (self.parameters[name] for name in NAMES)
        return r, alpha, a, b


@dataclass(frozen=True, eq=False)
class ModifiedBetaGeometricNegativeBinomial(BetaGeometricNegativeBinomial):
    """A fitted MBG/NBD model: as BG/NBD, with a first chance to leave right after the first contact."""

    chances_before_return: ClassVar[int] = 1


def fit_bgnbd(
    x: ArrayLike, t_x: ArrayLike, n: ArrayLike, weights: ArrayLike | None = None, *, near: RetentionModel | None = None
) -> BetaGeometricNegativeBinomial:
    """How do people come back, in continuous time? The BG/NBD model of maximum likelihood.

    `x` repeats, `t_x` the time of the last of them (0: none), `n` the time watched (in the literature T), both since
    the first contact in any one unit; one element a person, or a distinct history with `weights` people. People
    watched for no time tell nothing. Nobody at all gives a model of NaN. Raises `ValueError`, naming the first row at
    fault, unless x is whole and 0 <= t_x <= n. `near` is a model of much the same people: starting there is several
    times as fast, and good for predictions, but gives no standard errors.

    Source: Fader, Hardie & Lee (2005), Marketing Science 24, 275-284.

    >>> model = fit_bgnbd([0, 1, 3, 2], [0, 8.5, 30.1, 4.2], [38.9, 35.0, 31.3, 36.0], weights=[60, 20, 12, 8])
    >>> float(model.p_alive(0, 0, 30))
    1.0
    """
    return _fit(BetaGeometricNegativeBinomial, x, t_x, n, weights, near)


def fit_mbgnbd(
    x: ArrayLike, t_x: ArrayLike, n: ArrayLike, weights: ArrayLike | None = None, *, near: RetentionModel | None = None
) -> ModifiedBetaGeometricNegativeBinomial:
    """How do people come back, where some leave after their first contact? The MBG/NBD model of maximum likelihood.

    Arguments and errors as those of `fit_bgnbd`.

    Source: Batislam, Denizel & Filiztekin (2007), International Journal of Research in Marketing 24, 201-209; Wagner
    & Hoppe (2008), the same 25, 225-226.

    >>> model = fit_mbgnbd([0, 1, 3, 2], [0, 8.5, 30.1, 4.2], [38.9, 35.0, 31.3, 36.0], weights=[60, 20, 12, 8])
    >>> float(model.p_alive(0, 0, 30)) < 1
    True
    """
    return _fit(ModifiedBetaGeometricNegativeBinomial, x, t_x, n, weights, near)


_Model = TypeVar("_Model", bound=BetaGeometricNegativeBinomial)


def _fit(
    kind: type[_Model], x: ArrayLike, t_x: ArrayLike, n: ArrayLike, weights: ArrayLike | None,
    near: RetentionModel | None,
) -> _Model:  # fmt: skip
    people = histories(x, t_x, n, weights)
    total = float(people.weights.sum())
    if not total:
        return kind.of(NAMES, no_estimate(len(NAMES)), 0.0)
    # In units of the mean time watched, so that bounds and starts mean the same whatever the unit.
    unit = float(np.sum(people.weights * people.n)) / total
    scaled = people._replace(t_x=people.t_x / unit, n=people.n / unit)
    places = _places(*scaled[:3])

    def objective(log_parameters: Floats) -> tuple[float, Floats]:
        return _value_and_gradient(np.exp(log_parameters), kind.chances_before_return, scaled, places)

    units = np.log([1.0, unit, 1.0, 1.0])
    start = None if near is None else near.nearby()
    if start is not None:
        start = start._replace(log_parameters=start.log_parameters - units)
    found = maximise(objective, _STARTS, people=total, near=start)
    repeats = float(np.sum(people.weights * people.x))
    return kind.of(
        NAMES,
        found._replace(
            log_parameters=found.log_parameters + units,
            log_likelihood=found.log_likelihood - repeats * float(np.log(unit)),
        ),
        total,
    )


class _Places(NamedTuple):
    """The distinct values of x, t_x and n, and which of them each history has: functions of one are computed once."""

    xs: Floats
    x: Indices
    ts: Floats
    t_x: Indices
    ns: Floats
    n: Indices


class _Terms(NamedTuple):
    """The parts of the likelihood.

    Of each distinct x: `common`, the logarithm of what being there and having left share, and `before_last`, b and the
    chances passed before the last one, 1 where there was none. Of each history: `log_watched`, the logarithm of alpha
    and the time watched; `stretch`, that of how much longer it is than the time until the last repeat; `odds`, the
    logarithm of the odds of having left.
    """

    common: Floats
    before_last: Floats
    log_watched: Floats
    stretch: Floats
    odds: Floats


def _places(x: Floats, t_x: Floats, n: Floats) -> _Places:
    (xs, of_x), (ts, of_t), (ns, of_n) = (np.unique(values, return_inverse=True) for values in (x, t_x, n))
    return _Places(xs, of_x, ts, of_t, ns, of_n)


def _terms(parameters: Floats | tuple[float, float, float, float], before: int, places: _Places) -> _Terms:
    r, alpha, a, b = parameters
    chances, power = places.xs + before, r + places.xs
    purchases = special.gammaln(power) - special.gammaln(r) + r * np.log(alpha)
    stayed = special.gammaln(b + chances) - special.gammaln(b)
    faced = special.gammaln(a + b + chances) - special.gammaln(a + b)
    before_last = np.where(chances > 0, b + chances - 1, 1.0)
    left_at_once = np.where(chances > 0, np.log(a) - np.log(before_last), -np.inf)
    log_watched = np.log(alpha + places.ns)[places.n]
    stretch = log_watched - np.log(alpha + places.ts)[places.t_x]
    odds = left_at_once[places.x] + power[places.x] * stretch
    return _Terms(purchases + stayed - faced, before_last, log_watched, stretch, odds)


def _log_likelihoods(terms: _Terms, r: float, places: _Places) -> Floats:
    """Of each history."""
    power = (r + places.xs)[places.x]
    return np.asarray(terms.common[places.x] - power * terms.log_watched + np.logaddexp(0.0, terms.odds))


def _integrated(r: Floats, a: float, b: Floats, horizon: Floats) -> Floats:
    """Repeats while alive, as the mean of (1 - (1 + p h)^-r) / p over the chance p to leave, by its quantiles."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    leave = np.maximum(special.betaincinv(a, b[:, None], (node + 1) / 2), np.finfo(np.float64).tiny)
    repeats = -np.expm1(-r[:, None] * np.log1p(leave * horizon[:, None])) / leave
    return np.asarray(np.sum(repeats * weight, axis=1) / 2)


def _value_and_gradient(parameters: Floats, before: int, people: Histories, places: _Places) -> tuple[float, Floats]:
    """The log-likelihood, and its gradient in the logarithms of the parameters."""
    r, alpha, a, b = parameters
    w, xs = people.weights, places.xs
    chances = xs + before
    terms = _terms(parameters, before, places)
    gone = special.expit(terms.odds)
    by_x, gone_by_x = (np.bincount(places.x, weight, minlength=len(xs)) for weight in (w, w * gone))
    faced = special.psi(a + b + chances) - special.psi(a + b)
    since = terms.log_watched - gone * terms.stretch
    rate = (1 - gone) * (1 / (alpha + places.ns))[places.n] + gone * (1 / (alpha + places.ts))[places.t_x]
    power = (r + xs)[places.x]
    gradient = np.array(
        [
            r * (by_x @ (special.psi(r + xs) - special.psi(r) + np.log(alpha)) - w @ since),
            r * by_x.sum() - alpha * (w @ (power * rate)),
            gone_by_x.sum() - a * (by_x @ faced),
            b * (by_x @ (special.psi(b + chances) - special.psi(b) - faced) - gone_by_x @ (1 / terms.before_last)),
        ]
    )
    return float(w @ _log_likelihoods(terms, r, places)), gradient
