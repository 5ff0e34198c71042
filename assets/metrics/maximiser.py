"""Where is a likelihood largest? The search that the retention models share, on logarithms of parameters.

A few parameters, a likelihood that knows its gradient, bounds on all sides; how it is computed is the models' affair.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Objective = Callable[[Floats], tuple[float, Floats]]

LOWEST, HIGHEST = 1e-4, 1e4
"""Parameters are sought between these; beyond them people are all alike, or of two extreme kinds."""

_LOW, _HIGH = float(np.log(LOWEST)), float(np.log(HIGHEST))
_AT_BOUND = 1e-3
_STEP = 1e-4
_NEWTON_STEPS = 30
_SCREENING = 25
_LONGEST_STEP = 2.0
_FLAT = 1e-10
_CLOSE = 1e-3
"""Steps shorter than this stay where the curvature is what it was before them."""
_SETTLED = 1e-9
_NEAR_ENOUGH = 1e-4
_NEAR_FLAT = 1e-6
"""Of the slope, an average person: where no step is better any more, or a parameter at a bound would come back."""


class Estimate(NamedTuple):
    """Where a likelihood is largest: log parameters, their covariance, and what there is to say about them."""

    log_parameters: Floats
    covariance: Floats
    log_likelihood: float
    at_bound: NDArray[np.bool_]
    is_converged: bool


class Nearby(NamedTuple):
    """Log parameters of much the same people, and their covariance times the number of those people."""

    log_parameters: Floats
    spread: Floats


def maximise(objective: Objective, starts: list[Floats], *, people: float, near: Nearby | None = None) -> Estimate:
    """The log parameters at which a log-likelihood is largest, within bounds, and their covariance.

    `objective` returns the log-likelihood and its gradient at log parameters. From the first start; from all only
    where that ends at a bound or not at all. L-BFGS-B finds the neighbourhood, Newton's method the place. From
    `near`, a few steps are enough for predictions; no covariance then.
    """

    def minus(point: Floats) -> tuple[float, Floats]:
        """What is minimised: the loss of an average person."""
        value, gradient = objective(point)
        return -value / people, -gradient / people

    if near is not None and np.isfinite(near.log_parameters).all():
        found = _tracked(minus, near, people) or _approached(minus, near.log_parameters, people)
        if found.is_converged and (found.at_bound <= _is_at_bound(near.log_parameters)).all():
            return found
    best = _climb(minus, starts[0], people)
    if not best.is_converged or best.at_bound.any():
        for start in starts[1:]:
            point = _neighbourhood(minus, start, steps=_SCREENING)
            # Whoever leads no higher than the place that was found is not followed to its end.
            if not best.is_converged or -minus(point)[0] * people > best.log_likelihood + 1e-6:
                other = _climb(minus, point, people)
                if other.log_likelihood > best.log_likelihood + 1e-6:
                    best = other
    return best


def no_estimate(size: int) -> Estimate:
    """Of nobody nothing is known."""
    nothing = np.full(size, np.nan)
    return Estimate(nothing, np.full((size, size), np.nan), 0.0, np.zeros(size, dtype=bool), is_converged=False)


def _without_covariance(point: Floats, value: float, people: float, *, is_converged: bool) -> Estimate:
    unknown = np.full((len(point), len(point)), np.nan)
    return Estimate(point, unknown, -value * people, _is_at_bound(point), is_converged)


def _tracked(minus: Objective, near: Nearby, people: float) -> Estimate | None:
    """From the maximum of much the same people: BFGS that begins with their curvature; null where that leads nowhere."""
    held = _is_at_bound(near.log_parameters)
    point, free = np.where(held, _bound(near.log_parameters), near.log_parameters), ~held
    inverse = near.spread[np.ix_(free, free)]
    if not np.isfinite(inverse).all():
        return None
    value, gradient = minus(point)
    for _ in range(_NEWTON_STEPS):
        step = np.zeros(len(point))
        step[free] = -inverse @ gradient[free]
        longest = _largest(step)
        if longest < _NEAR_FLAT:
            is_left = (held & (_inward(point, gradient) > _NEAR_FLAT)).any()
            return None if is_left else _without_covariance(point, value, people, is_converged=True)
        step *= min(1.0, 1 / longest)
        tried_value, tried_gradient = minus(point + step)
        if tried_value > value:
            step /= 2
            tried_value, tried_gradient = minus(point + step)
        if tried_value > value or _is_at_bound(point + step)[free].any():
            return None
        moved, bent = step[free], (tried_gradient - gradient)[free]
        if moved @ bent > 0:
            turned = np.eye(len(moved)) - np.outer(moved, bent) / (moved @ bent)
            inverse = turned @ inverse @ turned.T + np.outer(moved, moved) / (moved @ bent)
        point, value, gradient = point + step, tried_value, tried_gradient
    return None


def _approached(minus: Objective, near: Floats, people: float) -> Estimate:
    point = _neighbourhood(minus, near, tolerance=1e-7)
    value, gradient = minus(point)
    slope = _largest(gradient[~_is_at_bound(point)])
    return _without_covariance(point, value, people, is_converged=slope < _NEAR_ENOUGH)


def _neighbourhood(minus: Objective, start: Floats, *, steps: int = 500, tolerance: float = 1e-6) -> Floats:
    """About where it is smallest, after so many steps at most."""
    found = optimize.minimize(
        minus,
        np.clip(start, _LOW, _HIGH),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LOW, _HIGH)] * len(start),
        options={"maxiter": steps, "ftol": tolerance**2, "gtol": tolerance, "maxcor": 20},
    )
    return np.asarray(found.x, dtype=np.float64)


def _largest(values: Floats) -> float:
    return float(np.abs(values).max(initial=0.0))


def _is_at_bound(point: Floats) -> Flags:
    return (point <= _LOW + _AT_BOUND) | (point >= _HIGH - _AT_BOUND)


def _bound(point: Floats) -> Floats:
    """The bound that each parameter is nearer to."""
    return np.where(point > (_LOW + _HIGH) / 2, _HIGH, _LOW)


def _inward(point: Floats, gradient: Floats) -> Floats:
    """How steeply the loss falls away from the nearer bound."""
    return np.where(point > (_LOW + _HIGH) / 2, gradient, -gradient)


def _climb(minus: Objective, start: Floats, people: float) -> Estimate:
    point = _neighbourhood(minus, start)
    value, gradient = minus(point)
    is_converged, released = False, np.zeros(len(point), dtype=bool)
    for _ in range(_NEWTON_STEPS):
        # What has reached a bound stays there until the others have found their place: along a ridge it would come
        # back a little each time they move.
        held = _is_at_bound(point) & ~released
        if (point[held] != _bound(point)[held]).any():
            point = np.where(held, _bound(point), point)
            value, gradient = minus(point)
        free = ~held
        curvature = _curvature(minus, point, free)
        step = np.zeros(len(point))
        step[free] = _newton_step(curvature, gradient[free])
        if _largest(step) < _CLOSE and np.linalg.eigvalsh(curvature).min(initial=1.0) > 0:
            point, value, gradient = _settled(minus, (point, value, gradient), free, curvature)
            is_inward = held & (_inward(point, gradient) > _NEAR_FLAT)
            if not is_inward.any():
                is_converged = True
                break
            released |= is_inward
            continue
        length, is_better = _until_bound(point, step), False
        while length > 1e-3 and not is_better:
            tried = np.clip(point + length * step, _LOW, _HIGH)
            tried_value, tried_gradient = minus(tried)
            is_better = tried_value < value or (
                tried_value <= value + 1e-14 * abs(value) and _largest(tried_gradient[free]) < _largest(gradient[free])
            )
            length /= 2
        if not is_better:
            is_converged = _largest(gradient[free]) < _NEAR_FLAT
            break
        point, value, gradient = tried, tried_value, tried_gradient
    at_bound = _is_at_bound(point)
    if not is_converged or (at_bound != held).any():
        curvature = _curvature(minus, point, ~at_bound)
    return Estimate(point, _covariance(curvature * people, ~at_bound), -value * people, at_bound, is_converged)


def _settled(
    minus: Objective, found: tuple[Floats, float, Floats], free: Flags, curvature: Floats
) -> tuple[Floats, float, Floats]:
    """The place itself, from close by: so near, the curvature stays what it is, and a step costs one evaluation."""
    point, value, gradient = found
    inverse = np.linalg.inv(curvature)
    for _ in range(_NEWTON_STEPS):
        step = np.zeros(len(point))
        step[free] = -inverse @ gradient[free]
        if _largest(step) < _SETTLED:
            break
        tried = np.clip(point + step, _LOW, _HIGH)
        tried_value, tried_gradient = minus(tried)
        if _largest(tried_gradient[free]) >= _largest(gradient[free]):
            break
        point, value, gradient = tried, tried_value, tried_gradient
    return point, value, gradient


def _until_bound(point: Floats, step: Floats) -> float:
    """How much of the step, at most all of it, until the first parameter meets a bound."""
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(step > 0, (_HIGH - point) / step, np.where(step < 0, (_LOW - point) / step, np.inf))
    return float(min(1.0, np.where(room > 0, room, np.inf).min()))


def _newton_step(curvature: Floats, gradient: Floats) -> Floats:
    """Downhill whatever the curvature: by its absolute value, never far."""
    values, vectors = np.linalg.eigh(curvature)
    size = np.maximum(np.abs(values), _FLAT)
    step = -vectors @ ((vectors.T @ gradient) / size)
    longest = _largest(step)
    return np.asarray(step * min(1.0, _LONGEST_STEP / longest)) if longest > 0 else step


def _curvature(function: Objective, point: Floats, free: NDArray[np.bool_]) -> Floats:
    """The Hessian of the free parameters, by central differences of the analytic gradient."""
    rows = np.empty((int(free.sum()), int(free.sum())))
    for row, i in enumerate(np.flatnonzero(free)):
        step = np.zeros(len(point))
        step[i] = _STEP
        rows[row] = ((function(point + step)[1] - function(point - step)[1]) / (2 * _STEP))[free]
    return (rows + rows.T) / 2


def _covariance(inner: Floats, free: NDArray[np.bool_]) -> Floats:
    covariance = np.full((len(free), len(free)), np.nan)
    if not inner.size or not np.isfinite(inner).all():
        return covariance
    values, vectors = np.linalg.eigh(inner)
    if values.min() > _FLAT * max(values.max(), 1.0):
        covariance[np.ix_(free, free)] = (vectors / values) @ vectors.T
    return covariance
