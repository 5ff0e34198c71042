"""What must hold of BG/BB whatever the people and the parameters."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics import bgbb
from assets.metrics.bgbb import BetaGeometricBetaBinomial, fit_bgbb
from assets.metrics.maximiser import Estimate
from assets.metrics.maximum_likelihood import distinct

LOG_PARAMETERS = st.tuples(*[st.floats(-4, 6)] * 4)


@st.composite
def histories(draw, weeks: int = 60) -> tuple[int, int, int]:
    n = draw(st.integers(0, weeks))
    t_x = draw(st.integers(0, n))
    return (draw(st.integers(1, t_x)) if t_x else 0), t_x, n


PEOPLE = st.lists(histories(12), min_size=1, max_size=60)


def with_parameters(log_parameters, covariance: float = 0.01) -> BetaGeometricBetaBinomial:
    at = Estimate(np.array(log_parameters), covariance * np.eye(4), 0.0, np.zeros(4, dtype=bool), is_converged=True)
    return BetaGeometricBetaBinomial.of(bgbb.NAMES, at, 1.0)


@given(LOG_PARAMETERS, histories(), st.integers(0, 30))
def test_probabilities_and_expectations_are_what_they_can_be(log_parameters, history, horizon: int) -> None:
    model = with_parameters(log_parameters)
    alive, silent = model.p_alive(*history), model.p_silent(*history, horizon)
    assert 0 <= alive <= 1 + 1e-12
    assert 1 - alive - 1e-9 <= silent <= 1
    expected = model.expected(horizon, *history)
    # At least once if at all, at most each week, and only while still there.
    assert (1 - silent) - 1e-9 <= expected <= horizon * alive + 1e-9
    assert model.p_silent(*history, 0) == 1
    assert model.expected(0, *history) == 0


@given(LOG_PARAMETERS, histories())
def test_one_week_is_silent_or_not(log_parameters, history) -> None:
    model = with_parameters(log_parameters)
    assert model.expected(1, *history) == pytest.approx(1 - model.p_silent(*history, 1), abs=1e-9)


@given(LOG_PARAMETERS, histories(), st.integers(0, 20), st.integers(0, 20))
def test_silence_is_one_week_after_the_other(log_parameters, history, first: int, then: int) -> None:
    model = with_parameters(log_parameters)
    x, t_x, n = history
    in_turn = model.p_silent(x, t_x, n, first) * model.p_silent(x, t_x, n + first, then)
    assert model.p_silent(x, t_x, n, first + then) == pytest.approx(in_turn, rel=1e-8, abs=1e-12)


@given(LOG_PARAMETERS, histories())
def test_longer_silence_is_never_a_better_sign(log_parameters, history) -> None:
    model = with_parameters(log_parameters)
    x, t_x, n = history
    alive = model.p_alive(x, t_x, n + np.arange(20))
    assert (np.diff(alive) <= 1e-9).all()


@given(LOG_PARAMETERS, st.integers(1, 12))
def test_all_histories_of_one_length_add_up_to_one(log_parameters, n: int) -> None:
    rows = [(0, 0)] + [(x, t_x) for t_x in range(1, n + 1) for x in range(1, t_x + 1)]
    x, t_x = np.array(rows, dtype=float).T
    # x active weeks, the last of them fixed: the others lie anywhere before it.
    ways = [comb(int(last) - 1, int(repeats) - 1) if repeats else 1 for repeats, last in zip(x, t_x, strict=True)]
    cells = bgbb._cells(x, t_x, np.full(len(x), float(n)))
    likelihood = bgbb._likelihood(bgbb._tables(np.exp(log_parameters), cells), cells).total
    assert np.sum(ways * np.exp(likelihood)) == pytest.approx(1, rel=1e-9)


@given(LOG_PARAMETERS, st.lists(histories(), min_size=1, max_size=30), st.integers(1, 20))
def test_a_history_is_judged_alike_in_any_company(log_parameters, people, horizon: int) -> None:
    model = with_parameters(log_parameters)
    together = np.array(people).T
    for quantity, arguments in ((model.p_alive, ()), (model.p_silent, (horizon,))):
        alone = [float(quantity(*history, *arguments)) for history in people]
        assert quantity(*together, *arguments) == pytest.approx(alone, rel=1e-8, abs=1e-12)
    alone = [float(model.expected(horizon, *history)) for history in people]
    assert model.expected(horizon, *together) == pytest.approx(alone, rel=1e-8, abs=1e-12)


@given(LOG_PARAMETERS, histories(), st.integers(1, 20))
def test_intervals_hold_the_estimate_and_stay_in_range(log_parameters, history, horizon: int) -> None:
    model = with_parameters(log_parameters)
    for (low, high), value, most in (
        (model.p_alive_interval(*history), model.p_alive(*history), 1),
        (model.p_silent_interval(*history, horizon), model.p_silent(*history, horizon), 1),
        (model.expected_interval(horizon, *history), model.expected(horizon, *history), np.inf),
    ):
        assert 0 <= low <= value * (1 + 1e-9)
        assert value * (1 - 1e-9) <= high <= most


@settings(max_examples=8)
@given(PEOPLE, st.randoms(use_true_random=False))
def test_order_and_compression_change_nothing(people, random) -> None:
    fit = fit_bgbb(*np.array(people).T)
    shuffled = random.sample(people, len(people))
    assert str(fit_bgbb(*np.array(shuffled).T).parameters) == str(fit.parameters)
    counted = [(*history, people.count(history)) for history in set(people)]
    again = fit_bgbb(*np.array(counted).T)
    assert str((again.parameters, again.log_likelihood)) == str((fit.parameters, fit.log_likelihood))
    fractions = [(*history, 0.1) for history in people]
    first, second = (fit_bgbb(*np.array(rows).T) for rows in (fractions, fractions[::-1]))
    assert str(first.parameters) == str(second.parameters)


@settings(max_examples=8)
@given(PEOPLE)
def test_the_fit_is_at_least_as_good_as_any_start(people) -> None:
    x, t_x, n = (values.astype(float) for values in np.array(people).T)
    fit = fit_bgbb(x, t_x, n)
    cells = bgbb._cells(x, t_x, n)
    for parameters in np.exp([[0, 0, 0, 0], [1, -1, 1, -1], [-1, 2, 0, 3]]):
        assert np.sum(bgbb._likelihood(bgbb._tables(parameters, cells), cells).total) <= fit.log_likelihood + 1e-6


@given(st.lists(histories(), max_size=40), st.booleans())
def test_distinct_histories_whichever_way_they_are_found(people, is_sparse: bool) -> None:
    x, t_x, n = np.array(people, dtype=float).reshape(-1, 3).T
    n = n + 1e5 * is_sparse
    first, inverse = distinct(x, t_x, n)
    rows = list(zip(x, t_x, n, strict=True))
    assert [rows[place] for place in first] == sorted(set(rows))
    assert [rows[place] for place in first[inverse]] == rows
    assert [rows.index(rows[place]) for place in first] == first.tolist()
