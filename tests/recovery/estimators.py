"""What an estimator must do: its 95 % interval holds the truth in 92 to 98 % of simulated replicates.

Here is how a scenario is described and judged. The scenarios stand by subject in `posting`, `answering`, `valuing`
and `staying`; what they draw from is in `simulate`. Nothing here reads a file or a clock: a scenario's numbers follow
from its name.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST, MOST = 0.92, 0.98
"""The coverage that a 95 % interval must have."""


@dataclass(frozen=True)
class Recovered:
    """What a function of ours said in many replicates; an unknown number is NaN.

    The truth is one for all, or drawn anew for each: with a dozen people and one truth, coverage depends on how the
    few possible shares happen to lie around it.
    """

    truth: float | Floats
    estimate: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Scenario:
    """A truth, and how to recover it: `recover(random, replicates)` draws so many data sets and asks our function.

    `outside` says, where the interval is known not to hold, why: then the scenario shows how far off it is.
    """

    estimator: str
    name: str
    recover: Callable[[np.random.Generator, int], Recovered]
    replicates: int = 2000
    outside: str = ""


@dataclass(frozen=True)
class Result:
    """The verdict on a scenario."""

    scenario: Scenario
    truth: float
    mean: float
    replicates: int
    judged: int
    covered: int

    @property
    def bias(self) -> float:
        """Mean estimate less truth."""
        return self.mean - self.truth

    @property
    def coverage(self) -> float:
        """The share of judged replicates whose interval holds the truth."""
        return self.covered / self.judged if self.judged else np.nan

    @property
    def error(self) -> float:
        """Monte-Carlo standard error of the coverage."""
        return float(np.sqrt(self.coverage * (1 - self.coverage) / self.judged)) if self.judged else np.nan

    @property
    def holds(self) -> bool:
        """Whether the coverage is what a 95 % interval must have."""
        return bool(LEAST <= self.coverage <= MOST)


def run(scenario: Scenario, *, replicates: int | None = None) -> Result:
    """Draw the scenario's replicates and count the intervals that hold the truth.

    An end that is not reached (one of the two) is open. A replicate without either end says nothing and is not judged.
    """
    number = replicates or scenario.replicates
    random = np.random.default_rng(zlib.crc32(f"{scenario.estimator}/{scenario.name}".encode()))
    got = scenario.recover(random, number)
    judged = ~(np.isnan(got.low) & np.isnan(got.high))
    # A float off by rounding is no miss: an interval of perfect regularity has no width.
    slack = 1e-9 * np.maximum(1.0, np.abs(got.truth))
    low, high = np.nan_to_num(got.low, nan=-np.inf) - slack, np.nan_to_num(got.high, nan=np.inf) + slack
    covered = judged & (low <= got.truth) & (got.truth <= high)
    known = got.estimate[~np.isnan(got.estimate)]
    mean = float(known.mean()) if known.size else np.nan
    return Result(scenario, float(np.mean(got.truth)), mean, number, int(judged.sum()), int(covered.sum()))


def numbers(values: ArrayLike) -> Floats:
    """The values as floats, unknown ones NaN."""
    return np.asarray(values, dtype=np.float64)
