"""How fast are the retention models? BG/BB on a million people, and the package lifetimes in the same run.

Called by `rapport bench`. The peer is no dependency: where it is not installed, its time is missing, with the reason.
"""

import contextlib
import importlib
import io
import time
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from assets.metrics import maximum_likelihood
from assets.metrics.bgbb import BetaGeometricBetaBinomial, fit_bgbb
from assets.metrics.maximum_likelihood import Floats

PEOPLE = 1_000_000
WEEKS = 156
PEER_PEOPLE = 200
"""The peer would take many minutes for all."""

_TRUTH = (0.6, 3.0, 0.5, 6.0)


class Seconds(NamedTuple):
    """Seconds of one measurement: fit with standard errors, and the probabilities of every row."""

    fit: float
    probabilities: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.fit + self.probabilities


@dataclass(frozen=True)
class Comparison:
    """What was measured, and on how much.

    `ours` on all `people` with `distinct` histories, `histogram_seconds` to find these; `ours_on_peer_people` and
    `peer` on the first `peer_people` of them. `peer` is None where there is no peer, and `peer_note` says why, or what
    there is to know about its time.
    """

    people: int
    distinct: int
    histogram_seconds: float
    ours: Seconds
    peer_people: int
    ours_on_peer_people: Seconds
    peer: Seconds | None
    peer_note: str

    @property
    def peer_text(self) -> str:
        """The peer's time beside ours, in one line."""
        if self.peer is None:
            return f"lifetimes: {self.peer_note}"
        text = (
            f"lifetimes {self.peer.total:,.2f} s, ours {self.ours_on_peer_people.total:,.3f} s"
            f" on the same {self.peer_people:,} people"
        )
        return f"{text} ({self.peer_note})" if self.peer_note else text


def bgbb(*, people: int = PEOPLE, weeks: int = WEEKS, peer_people: int = PEER_PEOPLE, seed: int = 1) -> Comparison:
    """Fit BG/BB, errors included, and give every distinct history its probabilities; the same with lifetimes.

    The bound of `rapport bench` holds for `ours.total`: what a night does once the histogram exists.
    """
    x, t_x, n = histories(people=people, weeks=weeks, seed=seed)
    started = time.perf_counter()
    rows = maximum_likelihood.histories(x, t_x, n, None)
    histogram_seconds = time.perf_counter() - started
    few = maximum_likelihood.histories(x[:peer_people], t_x[:peer_people], n[:peer_people], None)
    _ours(few)  # once before, so that nothing is measured that is only done the first time
    peer, note = _peer(few)
    return Comparison(
        people=people,
        distinct=len(rows.x),
        histogram_seconds=histogram_seconds,
        ours=_ours(rows),
        peer_people=peer_people,
        ours_on_peer_people=_ours(few),
        peer=peer,
        peer_note=note,
    )


def histories(*, people: int, weeks: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Made-up x, t_x and n of people watched for 1 to `weeks` weeks; the same for the same seed."""
    random = np.random.default_rng(seed)
    alpha, beta, gamma, delta = _TRUTH
    n = random.integers(1, weeks, people, endpoint=True)
    stays = random.geometric(np.maximum(random.beta(gamma, delta, people), 1e-12)) - 1
    there = np.minimum(stays, n)
    x = random.binomial(there, random.beta(alpha, beta, people))
    # The last of x weeks among those there, up to rounding.
    last = np.ceil(there * random.random(people) ** (1 / np.maximum(x, 1)))
    t_x = np.where(x > 0, np.maximum(x, last), 0)
    return x.astype(np.float64), t_x.astype(np.float64), n.astype(np.float64)


def _ours(rows: maximum_likelihood.Histories) -> Seconds:
    started = time.perf_counter()
    model: BetaGeometricBetaBinomial = fit_bgbb(*rows)
    fitted = time.perf_counter()
    model.p_alive(*rows[:3])
    for horizon in (4, 13):
        model.p_silent(*rows[:3], horizon)
    return Seconds(fitted - started, time.perf_counter() - fitted)


def _peer(rows: maximum_likelihood.Histories) -> tuple[Seconds | None, str]:
    note = ""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            lifetimes = importlib.import_module("lifetimes")
        except ImportError:
            return None, "not installed"
        x, t_x, n, weights = rows
        fitter: Any = lifetimes.BetaGeoBetaBinomFitter()
        started = time.perf_counter()
        try:
            fitter.fit(x, t_x, n, weights=weights)
        except lifetimes.utils.ConvergenceError:
            return Seconds(time.perf_counter() - started, 0.0), "it did not converge, and gave no probabilities"
        fitted = time.perf_counter()
        # It has no probability of silence: one for each horizon that ours has.
        for _ in range(3):
            fitter.conditional_probability_alive(1, x, t_x, n)
        return Seconds(fitted - started, time.perf_counter() - fitted), note
