"""What the retention models share: checked histories, and intervals by the delta method.

The search for the largest likelihood is in `maximiser`; the models themselves, their likelihoods and predictions, are in `bgbb` and `bgnbd`. A history of a person is x repeats,
the last at t_x, of n (or T) watched; only distinct histories are ever computed on, so that a million people cost
little more than a thousand.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from assets.metrics.maximiser import Estimate, Nearby
from assets.metrics.normal import Z95

Floats = NDArray[np.float64]

_STEP = 1e-4
_DENSE = 1 << 24
_PLACES_A_ROW = 64


class Histories(NamedTuple):
    """Distinct histories, sorted, and how many people (or how much weight) share each."""

    x: Floats
    t_x: Floats
    n: Floats
    weights: Floats


@dataclass(frozen=True, eq=False)
class RetentionModel(ABC):
    """A model fitted to how often and how lately people came back.

    `parameters` and `standard_errors` by name; `covariance` is that of the *logarithms* of the parameters, in their
    order, from the observed information. `at_bound` names parameters that ran to the end of the range that is
    searched: the data want no variation between people (or only extremes) there; such a parameter counts as known,
    its standard error and its row of `covariance` are NaN. They are NaN, too, for parameters that the data cannot
    tell apart. Without anybody, or where nobody was watched for any time, all is NaN.

    Intervals are 95 %, by the delta method on the log parameters, on the logit scale for probabilities and on the
    log scale for expectations; they say how sure the *model* is, not how much a single person varies. NaN where a
    standard error is.
    """

    parameters: Mapping[str, float]
    log_likelihood: float
    standard_errors: Mapping[str, float]
    covariance: Floats
    people: float
    at_bound: tuple[str, ...]
    is_converged: bool

    @property
    def is_at_bound(self) -> bool:
        """Whether any parameter ran to the end of the range that is searched."""
        return bool(self.at_bound)

    def nearby(self) -> Nearby:
        """Where the fit to much the same people may start."""
        return Nearby(np.log(list(self.parameters.values())), self.covariance * self.people)

    @property
    def is_identified(self) -> bool:
        """Whether the data determine every parameter: none at a bound, and each with a standard error."""
        return bool(np.isfinite(self.covariance).all())

    @classmethod
    def of(cls, names: tuple[str, ...], estimate: Estimate, people: float) -> Self:
        """The model of an estimate."""
        parameters = np.exp(estimate.log_parameters)
        with np.errstate(invalid="ignore"):
            errors = parameters * np.sqrt(np.diag(estimate.covariance))
        return cls(
            parameters=dict(zip(names, parameters.tolist(), strict=True)),
            log_likelihood=estimate.log_likelihood,
            standard_errors=dict(zip(names, errors.tolist(), strict=True)),
            covariance=estimate.covariance,
            people=people,
            at_bound=tuple(name for name, is_there in zip(names, estimate.at_bound, strict=True) if is_there),
            is_converged=estimate.is_converged,
        )

    def p_alive(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> Floats:
        """How probable is it that somebody of this history is still there?"""
        return by_history(self._p_alive, *self._checked(x, t_x, n))

    def p_alive_interval(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
        """The 95 % interval of `p_alive`: low and high."""
        low, high = by_history(
            lambda a, b, c: self._interval(lambda model: model._p_alive(a, b, c), special.logit, special.expit),
            *self._checked(x, t_x, n),
        )
        return low, high

    def p_silent(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike, horizon: float) -> Floats:
        """How probable is it that somebody does not come within `horizon` more, whether still there or not?"""
        self._check_horizon(horizon)
        return by_history(lambda a, b, c: self._p_silent(a, b, c, horizon), *self._checked(x, t_x, n))

    def p_silent_interval(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike, horizon: float) -> tuple[Floats, Floats]:
        """The 95 % interval of `p_silent`: low and high."""
        self._check_horizon(horizon)
        low, high = by_history(
            lambda a, b, c: self._interval(
                lambda model: model._p_silent(a, b, c, horizon), special.logit, special.expit
            ),
            *self._checked(x, t_x, n),
        )
        return low, high

    def expected(
        self, horizon: float, x: ArrayLike | None = None, t_x: ArrayLike | None = None, n: ArrayLike | None = None
    ) -> Floats:
        """How often will somebody come within `horizon` more, on average over people of this history?

        Without a history: of a new person, after the first contact.
        """
        self._check_horizon(horizon)
        return by_history(lambda a, b, c: self._expected(a, b, c, horizon), *self._history(x, t_x, n))

    def expected_interval(
        self, horizon: float, x: ArrayLike | None = None, t_x: ArrayLike | None = None, n: ArrayLike | None = None
    ) -> tuple[Floats, Floats]:
        """The 95 % interval of `expected`: low and high."""
        self._check_horizon(horizon)
        low, high = by_history(
            lambda a, b, c: self._interval(lambda model: model._expected(a, b, c, horizon), np.log, np.exp),
            *self._history(x, t_x, n),
        )
        return low, high

    @abstractmethod
    def _p_alive(self, x: Floats, t_x: Floats, n: Floats) -> Floats:
        """On checked histories."""

    @abstractmethod
    def _p_silent(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        """On checked histories."""

    @abstractmethod
    def _expected(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        """On checked histories."""

    def _checked(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats, Floats]:
        return checked(x, t_x, n)

    def _check_horizon(self, horizon: float) -> None:
        if not (np.isfinite(horizon) and horizon >= 0):
            raise ValueError(f"horizon must be a finite number, not negative, not {horizon}")

    def _history(
        self, x: ArrayLike | None, t_x: ArrayLike | None, n: ArrayLike | None
    ) -> tuple[Floats, Floats, Floats]:
        if x is None and t_x is None and n is None:
            return self._checked(0, 0, 0)
        if x is None or t_x is None or n is None:
            raise ValueError("a history needs all of x, t_x and n; leave all out for a new person")
        return self._checked(x, t_x, n)

    def _interval(
        self,
        quantity: Callable[[Self], Floats],
        transform: Callable[[Floats], Floats],
        back: Callable[[Floats], Floats],
    ) -> Floats:
        """The 95 % interval of a quantity of the model, by the delta method on a transformed scale: low, high."""
        names = tuple(self.parameters)
        free = [i for i, name in enumerate(names) if name not in self.at_bound]
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = transform(quantity(self))
            slopes = [
                (transform(quantity(self._moved(names[i], _STEP))) - transform(quantity(self._moved(names[i], -_STEP))))
                / (2 * _STEP)
                for i in free
            ]
            variance = np.zeros_like(middle)
            for i, one in zip(free, slopes, strict=True):
                for j, other in zip(free, slopes, strict=True):
                    variance += self.covariance[i, j] * one * other
            # Certain whatever the parameters (a probability of exactly 0 or 1) stays certain.
            half = np.where(np.isinf(middle), 0.0, Z95 * np.sqrt(np.maximum(variance, 0)))
        return np.stack([back(middle - half), back(middle + half)])

    def _moved(self, name: str, step: float) -> Self:
        """The same model with the logarithm of one parameter moved."""
        return replace(self, parameters={**self.parameters, name: self.parameters[name] * np.exp(step)})


def histories(x: ArrayLike, t_x: ArrayLike, n: ArrayLike, weights: ArrayLike | None) -> Histories:
    """The distinct histories of people who were watched for any time, with their weights; sorted.

    Raises `ValueError`, naming the first row at fault, where `checked` does, and for a weight that is negative or not
    a finite number.
    """
    x, t_x, n = checked(x, t_x, n)
    x, t_x, n = np.atleast_1d(x), np.atleast_1d(t_x), np.atleast_1d(n)
    w = np.ones_like(x) if weights is None else np.atleast_1d(np.asarray(weights, dtype=np.float64))
    if w.shape != x.shape:
        raise ValueError(f"weights must be as many as histories, {x.size}, not {w.size}")
    _refuse(~(np.isfinite(w) & (w >= 0)), {"weights": w}, "a weight must be a finite number, not negative")
    keep = (w > 0) & (n > 0)
    x, t_x, n, w = x[keep], t_x[keep], n[keep], w[keep]
    if (w != np.floor(w)).any():
        # Sums of fractions depend on their order: fix it.
        order = np.lexsort((w, n, t_x, x))
        x, t_x, n, w = x[order], t_x[order], n[order], w[order]
    first, inverse = distinct(x, t_x, n)
    return Histories(x[first], t_x[first], n[first], np.bincount(inverse, w, minlength=len(first)).astype(np.float64))


def checked(x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Histories as arrays of floats of one shape; `ValueError`, with the first row at fault, where they cannot be.

    Repeats `x` are whole and not negative, 0 <= t_x <= n, and without a repeat t_x is 0.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in (x, t_x, n)]
    try:
        x, t_x, n = np.broadcast_arrays(*arrays)
    except ValueError:
        raise ValueError(f"x, t_x and n must be of one length, not {[array.shape for array in arrays]}") from None
    rows = {"x": x, "t_x": t_x, "n": n}
    _refuse(~(np.isfinite(x) & np.isfinite(t_x) & np.isfinite(n)), rows, "x, t_x and n must be finite numbers")
    _refuse((x < 0) | (t_x < 0) | (n < 0), rows, "x, t_x and n must not be negative")
    _refuse(x != np.floor(x), rows, "x must be whole: it counts repeats")
    _refuse(t_x > n, rows, "t_x must be at most n: the last repeat lies within the time watched")
    _refuse((x == 0) & (t_x > 0), rows, "t_x must be 0 where x is 0: there was no repeat")
    _refuse((x > 0) & (n == 0), rows, "x must be 0 where n is 0: nobody was watched")
    return x, t_x, n


def checked_weeks(x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """`checked`, and all in whole periods with at most one repeat each: x <= t_x."""
    x, t_x, n = checked(x, t_x, n)
    rows = {"x": x, "t_x": t_x, "n": n}
    _refuse((t_x != np.floor(t_x)) | (n != np.floor(n)), rows, "t_x and n must be whole numbers of periods")
    _refuse(x > t_x, rows, "x must be at most t_x: one repeat a period")
    return x, t_x, n


def _refuse(is_wrong: NDArray[np.bool_], rows: Mapping[str, Floats], why: str) -> None:
    if is_wrong.any():
        row = int(np.argmax(is_wrong.ravel()))
        values = ", ".join(f"{name} = {values.ravel()[row]:g}" for name, values in rows.items())
        raise ValueError(f"{why} (row {row}: {values})")


def distinct(x: Floats, t_x: Floats, n: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each distinct history first stands, sorted by (x, t_x, n), and which of them each row is."""
    if not x.size:
        nothing = np.zeros(0, dtype=np.intp)
        return nothing, nothing
    size = int(n.max()) + 1
    columns = int(x.max()) + 1
    is_whole = bool((t_x == np.floor(t_x)).all() and (n == np.floor(n)).all())
    if is_whole and columns * size * size <= min(_DENSE, _PLACES_A_ROW * x.size):
        # A few times faster than sorting: each possible history has a place. Not where nearly all of them stay empty.
        key = ((x * size + t_x) * size + n).astype(np.intp)
        place = np.full(columns * size * size, -1, dtype=np.intp)
        place[key[::-1]] = np.arange(len(key) - 1, -1, -1)
        used = np.flatnonzero(place >= 0)
        first = place[used]
        place[used] = np.arange(len(used))
        return first, place[key]
    order = np.lexsort((n, t_x, x))
    a, b, c = x[order], t_x[order], n[order]
    is_new = np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1]) | (c[1:] != c[:-1])])
    inverse = np.empty(len(order), dtype=np.intp)
    inverse[order] = np.cumsum(is_new) - 1
    return order[is_new], inverse


def by_history(compute: Callable[[Floats, Floats, Floats], Floats], x: Floats, t_x: Floats, n: Floats) -> Floats:
    """Compute on distinct histories and hand each row its result, in the shape of the rows.

    What is computed may have further axes before that of the histories.
    """
    first, inverse = distinct(x.ravel(), t_x.ravel(), n.ravel())
    # The model of nobody is NaN, and so is all that follows from it.
    with np.errstate(invalid="ignore"):
        values = compute(x.ravel()[first], t_x.ravel()[first], n.ravel()[first])
    return values[..., inverse].reshape((*values.shape[:-1], *x.shape))[()]
