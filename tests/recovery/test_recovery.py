"""The short version of `recovery.run`: fewer replicates, and bounds that chance passes once in millions of runs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.recovery import simulate
from tests.recovery.estimators import LEAST, MOST, Recovered, Scenario, run
from tests.recovery.run import SCENARIOS, line, outside
from tests.recovery.staying import COMMUNITY

FEW = {"dilution_elasticity": 60, "promotion_penalty": 120}
CHANCE = 1e-6


def replicates(scenario: Scenario) -> int:
    if scenario.estimator.startswith(("bgbb", "p_a", "earning_value")):
        return 60
    return FEW.get(scenario.estimator, 200)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{s.estimator}: {s.name}")
def test_the_interval_holds_the_truth(scenario: Scenario) -> None:
    result = run(scenario, replicates=replicates(scenario))
    assert result.judged >= 0.85 * result.replicates
    if scenario.outside:
        return
    # Seeds are fixed; the bounds are wide so that another platform's last digit changes nothing.
    least, most = stats.binom.ppf(CHANCE, result.judged, LEAST), stats.binom.isf(CHANCE, result.judged, MOST)
    assert least <= result.covered <= most, line(result)


def test_same_code_gives_the_same_numbers() -> None:
    one, again = (run(SCENARIOS[0], replicates=50) for _ in range(2))
    assert one == again


def test_an_interval_that_is_too_narrow_is_seen() -> None:
    """A mean with half its error: the machinery must not pass everything."""

    def recover(random: np.random.Generator, number: int) -> Recovered:
        mean = random.normal(size=number)
        return Recovered(0.0, mean, mean - 0.98, mean + 0.98)

    result = run(Scenario("mean", "half the error", recover, 1000))
    assert not result.holds
    assert result.coverage == pytest.approx(2 * stats.norm.cdf(0.98) - 1, abs=0.05)
    assert "**" in line(result)
    assert "to be repaired" in outside([result])
    assert "because" in outside([replace(result, scenario=replace(result.scenario, outside="because"))])


def test_replicates_without_an_interval_are_not_judged_and_open_ends_are_open() -> None:
    nan = float("nan")

    def recover(_: np.random.Generator, __: int) -> Recovered:
        return Recovered(1.0, np.array([nan, 1, 2]), np.array([nan, nan, 1.5]), np.array([nan, 3, nan]))

    result = run(Scenario("x", "y", recover, 3))
    assert (result.judged, result.covered, result.mean) == (2, 1, 1.5)


def test_the_simulator_agrees_with_itself() -> None:
    """Weekly lives and their quadrature: two ways to the same truth."""
    lives = simulate.weekly_lives(np.random.default_rng(1), **COMMUNITY, seen=np.full(200_000, 6))
    is_there = (lives.repeat == 2) & (lives.last == 4)
    truth = simulate.weekly_truth(2, 4, 6, horizon=4, **COMMUNITY)
    # Still there in week 7: there after 6, and not leaving before the next.
    next_week = lives.is_alive[is_there]
    assert next_week.mean() == pytest.approx(truth["p_alive"], abs=4 * 0.5 / np.sqrt(is_there.sum()))
    assert simulate.promise_kept(lambda u: np.exp(-u / 7), 7, promise=7) == pytest.approx(0.7675, abs=1e-4)
