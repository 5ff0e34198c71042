"""Who is still here, week by week? The BG/BB model of coming back in discrete time.

Each week a person who is still there comes with a probability of their own, and before any week may leave for ever
with another; both vary between people as Beta distributions. A week of a hundred likes counts as one week, and
whoever came once may be gone at once. Here are likelihood, fit and predictions, pure; the mart is elsewhere.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from assets.metrics.maximiser import maximise, no_estimate
from assets.metrics.maximum_likelihood import (
    Floats,
    Histories,
    RetentionModel,
    by_history,
    checked_weeks,
    histories,
)

NAMES = ("alpha", "beta", "gamma", "delta")

_STARTS = [np.log(start) for start in ((1.0, 2.0, 1.0, 4.0), (0.5, 10.0, 0.5, 50.0), (5.0, 5.0, 0.2, 0.5))]

_SMALLEST = -600.0
"""Logarithm of the smallest term of a chain that is computed with as such."""

Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BetaGeometricBetaBinomial(RetentionModel):
    """A fitted BG/BB model: the chance to come in a week is Beta(alpha, beta), to leave Beta(gamma, delta).

    Histories are x further active weeks, the last of them week t_x, of n weeks after the first; numbers or arrays of
    one length. Horizons are whole weeks. `p_alive` is that of still being there in week n + 1.
    """

    def outlook(
        self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike, horizons: tuple[int, ...]
    ) -> tuple[Floats, Floats, Floats]:
        """`p_alive`, then `p_silent` for each horizon, with their 95 % intervals: what, low, high.

        Each has an axis of these quantities before that of the histories. The same as asking one by one, at the
        price of one: they share their sums.
        """
        for horizon in horizons:
            self._check_horizon(horizon)

        def compute(x: Floats, t_x: Floats, n: Floats) -> Floats:
            cells = _cells(x, t_x, n, further=max(1, *horizons))

            def quantity(model: "BetaGeometricBetaBinomial") -> Floats:
                return model._outlook(cells, horizons)

            return np.concatenate([[quantity(self)], self._interval(quantity, special.logit, special.expit)])

        what, low, high = by_history(compute, *self._checked(x, t_x, n))
        return what, low, high

    def _outlook(self, cells: "_Cells", horizons: tuple[int, ...]) -> Floats:
        tables = _tables(self._values(), cells)
        now = _likelihood(tables, cells)
        staying = tables.staying[cells.weeks + 1] - tables.staying[cells.weeks]
        rows = [now.still * np.exp(staying)]
        for weeks in horizons:
            later = cells._replace(weeks=cells.weeks + weeks, at_n=cells.at_n + weeks)
            rows.append(np.minimum(np.exp(_likelihood(tables, later).total - now.total), 1.0))
        return np.stack(rows)

    def _p_alive(self, x: Floats, t_x: Floats, n: Floats) -> Floats:
        cells = _cells(x, t_x, n, further=1)
        tables = _tables(self._values(), cells)
        likelihood = _likelihood(tables, cells)
        return likelihood.still * np.exp(tables.staying[cells.weeks + 1] - tables.staying[cells.weeks])

    def _p_silent(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        later = _cells(x, t_x, n + horizon)
        tables = _tables(self._values(), later)
        now = _likelihood(tables, later._replace(weeks=n.astype(np.intp), at_n=later.at_n - int(horizon)))
        return np.minimum(np.exp(_likelihood(tables, later).total - now.total), 1.0)

    def _expected(self, x: Floats, t_x: Floats, n: Floats, horizon: float) -> Floats:
        """Equations (8) and (13) of the paper as sums over the weeks to come, which gamma = 1 does not disturb."""
        alpha, beta, gamma, delta = self._values()
        if not x.size or not horizon:
            return np.zeros(x.shape)
        # Weeks still there among the next ones, given still there in the first of them.
        first, last = n.astype(np.intp) + 1, n.astype(np.intp) + int(horizon)
        week = np.arange(last.max() + 1)
        stays = (delta + week) / (gamma + delta + week)
        remaining = _remaining(stays[None, :])[0]
        log = np.concatenate([[0.0], np.cumsum(np.log(stays))])
        weeks = remaining[first] - np.exp(log[last + 1] - log[first]) * remaining[last + 1]
        return self._p_alive(x, t_x, n) * (alpha + x) / (alpha + beta + n) * weeks

    def _values(self) -> Floats:
        return np.array([self.parameters[name] for name in NAMES])

    def _checked(self, x: ArrayLike, t_x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats, Floats]:
        return checked_weeks(x, t_x, n)

    def _check_horizon(self, horizon: float) -> None:
        if not (np.isfinite(horizon) and horizon >= 0 and horizon == np.floor(horizon)):
            raise ValueError(f"horizon must be a whole number of weeks, not negative, not {horizon}")


def fit_bgbb(
    x: ArrayLike, t_x: ArrayLike, n: ArrayLike, weights: ArrayLike | None = None, *, near: RetentionModel | None = None
) -> BetaGeometricBetaBinomial:
    """How do people come back, week by week? The BG/BB model of maximum likelihood.

    `x` further active weeks after the first, `t_x` the last of them (0: none), `n` weeks watched after the first; one
    element a person, or a distinct history with `weights` people. People watched for no week tell nothing. Nobody at
    all gives a model of NaN. Raises `ValueError`, naming the first row at fault, unless 0 <= x <= t_x <= n are whole
    numbers.

    Up to n = 520 a likelihood costs some milliseconds whatever the number of people: over week i of leaving the terms
    of one x are a chain, so that the sum from t_x to n is a difference of two sums that all histories share.

    `near` is a model of much the same people: starting there is several times as fast, and good for predictions, but
    gives no standard errors.

    Source: Fader, Hardie & Shang (2010), Marketing Science 29, 1086-1108.

    >>> model = fit_bgbb([0, 1, 1, 2], [0, 1, 2, 2], [2, 2, 2, 2], weights=[50, 20, 15, 30])
    >>> round(float(model.p_alive(0, 0, 2)), 2) < round(float(model.p_alive(2, 2, 2)), 2)
    True
    """
    people = histories(*checked_weeks(x, t_x, n), weights)
    total = float(people.weights.sum())
    if not total:
        return BetaGeometricBetaBinomial.of(NAMES, no_estimate(len(NAMES)), 0.0)
    cells = _cells(*people[:3])

    def objective(log_parameters: Floats) -> tuple[float, Floats]:
        return _value_and_gradient(np.exp(log_parameters), cells, people)

    found = maximise(objective, _STARTS, people=total, near=None if near is None else near.nearby())
    return BetaGeometricBetaBinomial.of(NAMES, found, total)


class _Cells(NamedTuple):
    """Where histories find themselves in tables of one row a distinct x, one column a week from 0 to `length`.

    `misses` are the weeks missed there by somebody active x times, none before week x.
    """

    xs: Places
    row: Places
    last: Places
    weeks: Places
    at_t: Places
    at_n: Places
    missed_at_t: Places
    misses: Places
    length: int


class _Tables(NamedTuple):
    """Of numbers of weeks i, all logarithms but `stayers` and the last three.

    `hits`, `missed`: alpha (alpha + 1) ... and beta (beta + 1) ..., i factors; `leaving`: what the week of leaving
    adds to the chance of x active weeks among i, of B(alpha + x, beta + i - x) / B(alpha, beta) the denominator, and
    B(gamma + 1, delta + i) / B(gamma, delta), there in week i for the last time; `staying`: B(gamma, delta + i) /
    B(gamma, delta), still there in week i; `stayers` the ratio of the two of gamma and delta.

    Of distinct x and weeks, the terms of the sum over the week of leaving: `terms`, in units of the first, and `sums`
    of them from i on. Where they fall below what a number can hold there is `chain` instead, the ratio of the term of
    week i + 1 to that of i, and `sums` are in units of the term of i.
    """

    hits: Floats
    missed: Floats
    leaving: Floats
    staying: Floats
    stayers: Floats
    chain: Floats
    terms: Floats | None
    sums: Floats


class _Likelihood(NamedTuple):
    """Of each history: the logarithm of its likelihood, and how that divides.

    `whole`: the likelihood in units of the term of week t_x; `still`: the share of still being there in week n;
    `shrink`: the term of leaving in week n in units of that of week t_x.
    """

    total: Floats
    whole: Floats
    still: Floats
    shrink: Floats


def _cells(x: Floats, t_x: Floats, n: Floats, *, further: int = 0) -> _Cells:
    xs, row = np.unique(x.astype(np.intp), return_inverse=True)
    last, weeks = t_x.astype(np.intp), n.astype(np.intp)
    length = int(weeks.max(initial=0)) + further
    at_t, at_n = row * (length + 1) + last, row * (length + 1) + weeks
    misses = np.maximum(np.arange(length + 1) - xs[:, None], 0)
    return _Cells(xs, row, last, weeks, at_t, at_n, last - xs[row], misses, length)


def _rising(starts: Floats, length: int) -> Floats:
    """Logarithms of a (a + 1) ... (a + k - 1) for k = 0 .. length, a row for each a."""
    sums = np.zeros((len(starts), length + 1))
    np.cumsum(np.log(starts[:, None] + np.arange(length)), axis=1, out=sums[:, 1:])
    return sums


def _harmonic(starts: Floats, length: int) -> Floats:
    """Their derivatives: 1 / a + ... + 1 / (a + k - 1) for k = 0 .. length, a row for each a."""
    sums = np.zeros((len(starts), length + 1))
    np.cumsum(1 / (starts[:, None] + np.arange(length)), axis=1, out=sums[:, 1:])
    return sums


def _remaining(ratios: Floats) -> Floats:
    """1 + r[i] + r[i] r[i + 1] + ... for each i, and 0 after the last: sums of a chain in units of their first term.

    From the end, since the terms fall: a difference of sums from the start would lose the late ones.
    """
    sums = np.zeros((len(ratios), ratios.shape[1] + 1))
    for i in range(ratios.shape[1] - 1, -1, -1):
        sums[:, i] = 1 + ratios[:, i] * sums[:, i + 1]
    return sums


def _passed_on(flow: Floats, ratios: Floats) -> Floats:
    """What arrives in each week of a chain: f[i] + r[i - 1] (f[i - 1] + r[i - 2] (f[i - 2] + ...)).

    The terms fall, so that what was put in and taken out again, and its rounding error, weigh ever less in the sum.
    """
    gone = flow.copy()
    for i in range(flow.shape[1] - 1):
        gone[:, i + 1] += ratios[:, i] * gone[:, i]
    return gone


def _tables(parameters: Floats, cells: _Cells) -> _Tables:
    alpha, beta, gamma, delta = parameters
    xs, size = cells.xs, cells.length
    hits, missed, chances, staying, both = _rising(
        np.array([alpha, beta, alpha + beta, delta, gamma + delta]), size + 1
    )
    week = np.arange(size + 1)
    leaving = np.log(gamma) + staying[:-1] - both[1:] - chances[:-1]
    logs = missed[cells.misses]
    logs += leaving
    logs -= leaving[xs, None]
    terms, chain = None, logs[:, :0]
    # The terms fall from week x on; before it there are none.
    if logs[:, -1].min(initial=0.0) > _SMALLEST:
        terms = np.exp(np.minimum(logs, 0.0, out=logs), out=logs)
        sums = np.zeros_like(terms)
        # The term of the last week is never left over: nobody is watched longer.
        np.cumsum(terms[:, -2::-1], axis=1, out=sums[:, -2::-1])
    else:
        chain = (beta + cells.misses) * ((delta + week) / (alpha + beta + week) / (gamma + delta + week + 1))
        sums = _remaining(chain[:, :-1])
    return _Tables(
        hits, missed, leaving, staying[:-1] - both[:-1], (gamma + delta + week) / gamma, chain, terms, sums
    )  # fmt: skip


def _likelihood(tables: _Tables, cells: _Cells) -> _Likelihood:
    """In units of the term of week t_x, so that one logarithm a history does."""
    log_missed = tables.missed[cells.missed_at_t]
    at_last = tables.hits[cells.xs][cells.row] + log_missed + tables.leaving[cells.last]
    if tables.terms is not None:
        terms, sums = tables.terms.ravel(), tables.sums.ravel()
        first = terms[cells.at_t]
        shrink = terms[cells.at_n] / first
        left = (sums[cells.at_t] - sums[cells.at_n]) / first
    else:
        sums, silent = tables.sums.ravel(), cells.weeks - cells.last
        ratio = tables.missed[cells.missed_at_t + silent] + tables.leaving[cells.weeks]
        shrink = np.exp(ratio - log_missed - tables.leaving[cells.last])
        left = sums[cells.at_t] - shrink * sums[cells.at_n]
    # Of a sum that begins with 1 no less than that is left, whatever rounding says.
    left = np.where(cells.weeks > cells.last, np.maximum(left, 1.0), 0.0)
    still = shrink * tables.stayers[cells.weeks]
    whole = still + left
    return _Likelihood(at_last + np.log(whole), whole, still / whole, shrink)


def _value_and_gradient(parameters: Floats, cells: _Cells, people: Histories) -> tuple[float, Floats]:
    """The log-likelihood, and its gradient in the logarithms of the parameters.

    Every logarithm is a sum over weeks of functions of one parameter, so that the gradient needs only where the
    probability lies: how many people are there for the last time in week i (`gone`), or still there in week n.
    """
    alpha, beta, gamma, delta = parameters
    tables = _tables(parameters, cells)
    likelihood = _likelihood(tables, cells)
    w, size, rows = people.weights, cells.length, len(cells.xs)
    still = w * likelihood.still
    # The sums of all histories at once: each enters the chain at its t_x and is taken out at its n.
    enter = np.where(cells.weeks > cells.last, w / likelihood.whole, 0.0)
    if tables.terms is not None:
        entered = taken_out = enter / tables.terms.ravel()[cells.at_t]
    else:
        entered, taken_out = enter, enter * likelihood.shrink
    change = np.bincount(cells.at_t, entered, minlength=rows * (size + 1)).astype(np.float64)
    change -= np.bincount(cells.at_n, taken_out, minlength=rows * (size + 1))
    flow: Floats = change.reshape(rows, size + 1)
    if tables.terms is not None:
        gone = np.asarray(np.cumsum(flow, axis=1) * tables.terms)
    else:
        gone = _passed_on(flow, tables.chain)
    left_by_week = gone.sum(axis=0)
    still_by_week = np.bincount(cells.weeks, still, minlength=size + 1)
    watched = left_by_week + still_by_week
    missed = np.bincount(cells.weeks - cells.xs[cells.row], still, minlength=size + 1)
    missed += np.bincount(cells.misses.ravel(), gone.ravel(), minlength=size + 1)
    by_x = np.bincount(cells.row, w, minlength=rows)
    h_coming, h_missing, h_chances, h_staying, h_leaving = _harmonic(
        np.array([alpha, beta, alpha + beta, delta, gamma + delta]), size + 1
    )
    chances = watched @ h_chances[:-1]
    leaving = left_by_week @ h_leaving[1:] + still_by_week @ h_leaving[:-1]
    gradient = np.array(
        [
            alpha * (by_x @ h_coming[cells.xs] - chances),
            beta * (missed @ h_missing[:-1] - chances),
            left_by_week.sum() - gamma * leaving,
            delta * (watched @ h_staying[:-1] - leaving),
        ]
    )
    return float(w @ likelihood.total), gradient
