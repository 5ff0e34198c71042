"""BG/NBD and MBG/NBD: CDNOW of Fader, Hardie & Lee, the package lifetimes, simulated truth, and the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics import bgnbd
from assets.metrics.maximiser import Estimate
from assets.metrics.maximum_likelihood import histories
from assets.metrics.retention import fit_bgnbd, fit_mbgnbd
from tests.metrics import lifetimes_package

FITS = [(fit_bgnbd, "BetaGeoFitter"), (fit_mbgnbd, "ModifiedBetaGeoFitter")]
CUSTOMER = (2, 30.43, 38.86)


@pytest.fixture(scope="module")
def cdnow():
    return lifetimes_package.data("cdnow_customers_summary.csv")[1:]


@pytest.fixture(scope="module")
def model(cdnow):
    return fit_bgnbd(*cdnow)


def simulated(people: int, truth, *, before: int, seed: int):
    """Repeats of people who come at a rate of their own and may leave after each, watched for one to forty weeks."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = truth
    n = rng.uniform(1, 40, people)
    rate, leave = rng.gamma(r, 1 / alpha, people), rng.beta(a, b, people)
    x, t_x, now = np.zeros(people), np.zeros(people), np.zeros(people)
    there = rng.random(people) >= leave if before else np.ones(people, dtype=bool)
    while there.any():
        now = now + rng.exponential(1, people) / rate
        there &= now <= n
        x += there
        t_x[there] = now[there]
        there &= rng.random(people) >= leave
    return x, t_x, n


def with_parameters(kind, *parameters: float):
    at = Estimate(np.log(parameters), np.eye(4), 0.0, np.zeros(4, dtype=bool), is_converged=True)
    return kind.of(bgnbd.NAMES, at, 1.0)


def test_cdnow_fader_hardie_and_lee_2005(model) -> None:
    assert list(model.parameters) == ["r", "alpha", "a", "b"]
    # printed to four decimals
    assert list(model.parameters.values()) == pytest.approx([0.2426, 4.4136, 0.7929, 2.4259], rel=1e-4)
    assert model.log_likelihood == pytest.approx(-9582.429, abs=5e-3)
    assert model.p_alive(*CUSTOMER) == pytest.approx(0.72661, abs=1e-5)
    assert model.expected(39, *CUSTOMER) == pytest.approx(1.226, abs=1e-3)
    assert (model.people, model.at_bound, model.is_converged, model.is_identified) == (2357, (), True, True)


def test_cdnow_batislam_denizel_and_filiztekin_2007(cdnow) -> None:
    model = fit_mbgnbd(*cdnow)
    assert list(model.parameters.values()) == pytest.approx([0.5248, 6.1830, 0.8914, 1.6140], rel=1e-4)


@pytest.mark.parametrize(("fit", "fitter"), FITS)
def test_cdnow_agrees_with_lifetimes(cdnow, fit, fitter: str) -> None:
    ours, theirs = fit(*cdnow), lifetimes_package.fitted(fitter, *cdnow)
    x, t_x, n = cdnow
    assert list(ours.parameters.values()) == pytest.approx(theirs.params_.to_numpy(), rel=1e-4)
    assert list(ours.standard_errors.values()) == pytest.approx(theirs.standard_errors_.to_numpy(), rel=1e-3)
    assert ours.p_alive(x, t_x, n) == pytest.approx(
        np.asarray(theirs.conditional_probability_alive(x, t_x, n)), abs=1e-5
    )
    expected = theirs.conditional_expected_number_of_purchases_up_to_time(39, x, t_x, n)
    assert ours.expected(39, x, t_x, n) == pytest.approx(np.asarray(expected), abs=1e-3)
    assert ours.expected(39) == pytest.approx(float(theirs.expected_number_of_purchases_up_to_time(39)), abs=1e-4)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("at", [(0.3, 0.1, -0.4, 1.0), (1.0, -3.0, 2.0, 4.0), (-3.0, 4.0, -2.0, -1.0)])
def test_the_gradient_is_that_of_finite_differences(cdnow, before: int, at) -> None:
    people = histories(*(values[:300] for values in cdnow), None)

    def value(point):
        return bgnbd._value_and_gradient(np.exp(point), before, people, bgnbd._places(*people[:3]))

    differences = [(value(at + step)[0] - value(at - step)[0]) / 2e-5 for step in np.eye(4) * 1e-5]
    assert value(np.array(at))[1] == pytest.approx(differences, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(("fit", "before"), [(fit_bgnbd, 0), (fit_mbgnbd, 1)])
def test_simulated_parameters_are_found(fit, before: int) -> None:
    truth = (0.8, 5.0, 0.7, 2.5)
    model = fit(*simulated(40_000, truth, before=before, seed=before))
    for found, error, value in zip(model.parameters.values(), model.standard_errors.values(), truth, strict=True):
        assert found == pytest.approx(value, abs=3.5 * error)
        assert error < 0.15 * value


@pytest.mark.parametrize("fit", [fit_bgnbd, fit_mbgnbd])
def test_another_unit_of_time_changes_only_the_unit(cdnow, fit) -> None:
    x, t_x, n = cdnow
    weeks, days = fit(x, t_x, n), fit(x, 7 * t_x, 7 * n)
    assert days.parameters == pytest.approx({**weeks.parameters, "alpha": 7 * weeks.parameters["alpha"]}, rel=1e-6)
    assert days.log_likelihood == pytest.approx(weeks.log_likelihood - x.sum() * np.log(7), rel=1e-9)
    assert days.p_silent(x, 7 * t_x, 7 * n, 28) == pytest.approx(weeks.p_silent(x, t_x, n, 4), rel=1e-6)


@pytest.mark.parametrize("fit", [fit_bgnbd, fit_mbgnbd])
def test_order_and_weights_change_nothing(cdnow, fit) -> None:
    x, t_x, n = cdnow
    every = fit(x, t_x, n)
    order = np.random.default_rng(1).permutation(len(x))
    assert fit(x[order], t_x[order], n[order]).parameters == every.parameters
    people = histories(x, t_x, n, None)
    assert len(people.x) < len(x)
    assert fit(*people).parameters == every.parameters
    assert fit(*people).people == len(x)


@given(
    x=st.integers(0, 300), last=st.floats(0, 1), horizon=st.floats(0.01, 100),
    parameters=st.tuples(*[st.floats(-2.3, 3)] * 4), kind=st.sampled_from([
        bgnbd.BetaGeometricNegativeBinomial, bgnbd.ModifiedBetaGeometricNegativeBinomial
    ]),
)  # fmt: skip
def test_predictions_are_what_they_can_be(x: int, last: float, horizon: float, parameters, kind) -> None:
    model = with_parameters(kind, *np.exp(parameters))
    history = (x, 50 * last if x else 0.0, 50.0)
    alive, silent = model.p_alive(*history), model.p_silent(*history, horizon)
    assert 0 <= alive <= 1
    assert 1 - alive - 1e-9 <= silent <= 1
    # Whoever comes does so at least once.
    assert model.expected(horizon, *history) >= (1 - silent) * (1 - 1e-6) - 1e-9
    assert model.expected(2 * horizon, *history) >= model.expected(horizon, *history) * (1 - 1e-6)


@given(parameters=st.tuples(*[st.floats(-2.3, 3)] * 4), horizon=st.floats(0.01, 30), x=st.integers(0, 40))
def test_expectations_are_the_mean_over_chances_to_leave(parameters, horizon: float, x: int) -> None:
    r, alpha, a, b = np.exp(parameters)
    model = with_parameters(bgnbd.BetaGeometricNegativeBinomial, r, alpha, a, b)
    history = (float(x), 20.0 if x else 0.0, 20.0)
    integral = bgnbd._integrated(np.array([r + x]), a, np.array([b + x]), np.array([horizon / (alpha + 20)]))
    assert model.expected(horizon, *history) == pytest.approx(model.p_alive(*history) * integral[0], rel=1e-4)


def test_expectations_pass_smoothly_through_a_of_one() -> None:
    values = [
        with_parameters(bgnbd.BetaGeometricNegativeBinomial, 0.3, 4.0, a, 2.0).expected(39, *CUSTOMER)
        for a in (1 - 2e-4, 1 - 5e-5, 1.0, 1 + 5e-5, 1 + 2e-4)
    ]
    assert np.all(np.diff(values) < 0)
    assert values[2] == pytest.approx((values[0] + values[4]) / 2, rel=1e-7)


def test_intervals_hold_the_estimate_and_shrink_with_more_people(cdnow, model) -> None:
    x, t_x, n = cdnow
    more = fit_bgnbd(x, t_x, n, weights=np.full(len(x), 100))
    low, high = model.expected_interval(39, *CUSTOMER)
    assert low < model.expected(39, *CUSTOMER) < high
    lower, higher = more.expected_interval(39, *CUSTOMER)
    assert np.log(higher / lower) == pytest.approx(np.log(high / low) / 10, rel=1e-3)
    low, high = model.p_silent_interval(*CUSTOMER, 4)
    assert low < model.p_silent(*CUSTOMER, 4) < high
    # In BG/NBD whoever never came back is still there, whatever the parameters.
    assert [float(end) for end in model.p_alive_interval(0, 0, 38.86)] == [1, 1]


@pytest.mark.parametrize("fit", [fit_bgnbd, fit_mbgnbd])
def test_nobody_gives_a_model_of_nothing(fit) -> None:
    for model in (fit([], [], []), fit([0], [0], [0])):
        assert np.isnan(list(model.parameters.values())).all()
        assert (model.people, model.log_likelihood, model.is_identified) == (0, 0, False)
        assert np.isnan(model.expected(4))
        assert np.isnan(model.p_alive(1, 1, 2))


@pytest.mark.parametrize("fit", [fit_bgnbd, fit_mbgnbd])
def test_one_person_nobody_back_and_everybody_every_week(fit) -> None:
    assert not fit([2], [4.5], [6]).is_identified
    weeks = np.arange(1.0, 101)
    never = fit(0 * weeks, 0 * weeks, weeks)
    assert not never.is_identified
    assert never.expected(52) == pytest.approx(0, abs=1e-6)
    always = fit(weeks, weeks, weeks)
    assert always.is_at_bound
    assert always.expected(4, 50, 50, 50) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (([0, 3], [0, 7.5], [6, 6]), r"t_x must be at most n.*row 1: x = 3, t_x = 7.5, n = 6"),
        (([0], [2], [6]), r"t_x must be 0 where x is 0.*row 0"),
        (([1], [0], [0]), r"x must be 0 where n is 0.*row 0"),
        (([-1], [0], [6]), r"not be negative.*row 0: x = -1"),
        (([0, np.nan], [0, 0], [6, 6]), r"finite numbers.*row 1: x = nan"),
        (([1.5], [2], [6]), r"x must be whole.*x = 1.5"),
    ],
)
def test_impossible_histories_are_refused_with_the_row(model, history, message) -> None:
    for use in (fit_bgnbd, fit_mbgnbd, model.p_alive):
        with pytest.raises(ValueError, match=message):
            use(*history)
    with pytest.raises(ValueError, match="horizon must be a finite number"):
        model.expected(-1)
