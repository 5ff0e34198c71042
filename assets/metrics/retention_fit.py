"""A row of `mart_retention_model`: one model of one histogram of histories, fitted and judged.

Nothing but NumPy and SciPy is needed here, so that a process that only fits is ready soon (`processes.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assets.metrics.bgbb import fit_bgbb
from assets.metrics.bgnbd import fit_bgnbd, fit_mbgnbd
from assets.metrics.calibration import Calibration, calibrate
from assets.metrics.maximum_likelihood import RetentionModel
from assets.metrics.normal import Z95

HIDDEN_WEEKS = 4
MINIMUM_PEOPLE = 200
MINIMUM_REPEATERS = 30
MODELS: dict[str, Callable[..., RetentionModel]] = {"bgbb": fit_bgbb, "bgnbd": fit_bgnbd, "mbgnbd": fit_mbgnbd}
PARAMETERS = ("alpha", "beta", "gamma", "delta", "r", "a", "b")
POOLED = 0
"""The number of the fit over all accounts; the accounts' own are numbered from 1."""

_WIDEST = 50.0
"""Of the logarithm of a parameter: wider than this, an interval says nothing but its own width."""

_TOO_FEW = f"fewer than {MINIMUM_PEOPLE} people, or fewer than {MINIMUM_REPEATERS} who came back"
_POOLED = f"from all accounts together: the account alone has {_TOO_FEW}"
_NONE = f"{_TOO_FEW}, also over all accounts together"
_NOT_JUDGED = f"not calibrated: {_TOO_FEW} before the last {HIDDEN_WEEKS} weeks"
_WITHDRAWN = "withdrawn: the rule of thumb (how many with such a silence came back) forecasts better"
_NO_MAXIMUM = "the likelihood has no maximum"
_AT_BOUND = "at a bound of the search, so known only as an end: "

MEASURES = (
    "brier",
    "brier_base",
    "brier_heuristic",
    "brier_difference",
    "brier_difference_low",
    "brier_difference_high",
    "calibration_error",
)


@dataclass(frozen=True)
class Histories:
    """Distinct histories of the people of one fit: x, t_x, n, and how many people have each."""

    x: NDArray[np.int64]
    t_x: NDArray[np.int64]
    n: NDArray[np.int64]
    people: NDArray[np.int64]

    @property
    def is_enough(self) -> bool:
        """Whether a fit may rest on them: 200 people, 30 of whom came back."""
        return bool(self.people.sum() >= MINIMUM_PEOPLE and self.people[self.x > 0].sum() >= MINIMUM_REPEATERS)


@dataclass(frozen=True)
class Holdout:
    """People before the hidden weeks, whether they came back within them, and what was seen of silences until then."""

    before: Histories
    returned: NDArray[np.int64]
    cluster: NDArray[np.intp] | None
    heuristic: NDArray[np.float64]


class Job(NamedTuple):
    """What one row of the mart is made of."""

    model: str
    histories: Histories
    held: Holdout | None
    fit: int


def row_of(job: Job) -> dict[str, Any]:
    """One row of the mart, without account and date: the fit, its calibration, and what to say about them."""
    model, histories, held, fit = job
    row: dict[str, Any] = {
        "fit": fit,
        "model": model,
        "is_pooled": fit == POOLED,
        "people": int(histories.people.sum()),
        "repeat_people": int(histories.people[histories.x > 0].sum()),
        "is_withdrawn": False,
    }
    if not histories.is_enough:
        return row | {"note": _NONE}
    fitted = _fit(model, histories)
    if not fitted.is_converged:
        return row | {"note": _NO_MAXIMUM}
    judged = judge(model, held, near=fitted) if held is not None and held.before.is_enough else None
    notes = [_POOLED] if fit == POOLED else []
    if judged is not None:
        row |= {
            "brier_n": judged.people,
            "brier": judged.brier,
            "brier_base": judged.brier_base,
            "brier_heuristic": judged.brier_heuristic,
            "brier_difference": judged.difference,
            "brier_difference_low": judged.difference_low,
            "brier_difference_high": judged.difference_high,
            "calibration_error": judged.calibration_error,
            "is_withdrawn": judged.is_worse,
        }
        row |= {name: None if np.isnan(row[name]) else round(row[name], 12) for name in MEASURES}
        if judged.is_worse:
            return row | {"note": "; ".join([*notes, _WITHDRAWN])}
    else:
        notes.append(_NOT_JUDGED)
    if fitted.at_bound:
        row["at_bound"] = ", ".join(fitted.at_bound)
        notes.append(f"{_AT_BOUND}{row['at_bound']}")
    return row | row_of_fit(fitted) | {"note": "; ".join(notes) or None}


def _fit(model: str, histories: Histories, *, near: RetentionModel | None = None) -> RetentionModel:
    return MODELS[model](histories.x, histories.t_x, histories.n, weights=histories.people, near=near)


def judge(model: str, held: Holdout, *, near: RetentionModel | None = None) -> Calibration | None:
    """Would the model have been right? Fitted to what was before the hidden weeks, held against what came in them.

    `near`, the fit to all weeks, is where the search starts, not what it finds.
    """
    fitted = _fit(model, held.before, near=near)
    if not fitted.is_converged:
        return None
    back = 1 - fitted.p_silent(held.before.x, held.before.t_x, held.before.n, HIDDEN_WEEKS)
    return calibrate(back, held.heuristic, held.returned, held.before.people, held.cluster)


def row_of_fit(fitted: RetentionModel) -> dict[str, Any]:
    """Parameters with their intervals on the log scale, and the covariance of their logarithms as text (nan: at a bound).

    A parameter at a bound has no interval, nor one that the data leave open.
    """
    found: dict[str, Any] = {"log_likelihood": fitted.log_likelihood}
    for name, value in fitted.parameters.items():
        found[name] = value
        width = Z95 * fitted.standard_errors[name] / value
        if width < _WIDEST:
            factor = np.exp(width)
            found |= {f"{name}_low": value / factor, f"{name}_high": value * factor}
    if np.isfinite(fitted.covariance).any():
        found["log_covariance"] = " ".join(f"{value:.12g}" for value in fitted.covariance.ravel())
    return found
