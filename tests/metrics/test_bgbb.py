"""BG/BB: Fader, Hardie & Shang's donations, sums written out, the package lifetimes, simulated truth, and the edges."""

import numpy as np
import pytest

from assets.metrics import bgbb
from assets.metrics.maximum_likelihood import histories
from assets.metrics.retention import fit_bgbb, fit_bgnbd, fit_mbgnbd
from tests.metrics import lifetimes_package

TRUTH = (0.6, 3.0, 0.5, 6.0)
FIELDS = ("x", "t_x", "n")


@pytest.fixture(scope="module")
def donations():
    return lifetimes_package.data("donations.csv")


@pytest.fixture(scope="module")
def model(donations):
    return fit_bgbb(*donations[:3], weights=donations[3])


def simulated(people: int, truth=TRUTH, *, weeks: int, seed: int, least: int = 0):
    """Histories of people whose chances to come and to leave are drawn from the truth, and how long they stay."""
    rng = np.random.default_rng(seed)
    alpha, beta, gamma, delta = truth
    n = rng.integers(least, weeks + 1, people)
    come, leave = rng.beta(alpha, beta, people), rng.beta(gamma, delta, people)
    stays = rng.geometric(np.maximum(leave, 1e-12)) - 1
    x, t_x = np.zeros(people, dtype=int), np.zeros(people, dtype=int)
    for week in range(1, weeks + 1):
        active = (week <= n) & (week <= stays) & (rng.random(people) < come)
        x += active
        t_x[active] = week
    return x, t_x, n


def written_out(parameters, x: int, t_x: int, n: int) -> np.longdouble:
    """The likelihood as metrics.md prints it: a sum of products of fractions, in extended precision."""
    alpha, beta, gamma, delta = (np.longdouble(value) for value in parameters)

    def beta_ratio(a, b, more_a: int, more_b: int):
        """B(a + more_a, b + more_b) / B(a, b)."""
        up = np.prod(a + np.arange(more_a, dtype=np.longdouble)) * np.prod(b + np.arange(more_b, dtype=np.longdouble))
        return up / np.prod(a + b + np.arange(more_a + more_b, dtype=np.longdouble))

    likelihood = beta_ratio(alpha, beta, x, n - x) * beta_ratio(gamma, delta, 0, n)
    for i in range(t_x, n):
        likelihood += beta_ratio(alpha, beta, x, i - x) * beta_ratio(gamma, delta, 1, i)
    return likelihood


def likelihood_of(parameters, *history) -> np.ndarray:
    cells = bgbb._cells(*(np.atleast_1d(np.asarray(part, dtype=float)) for part in history))
    return bgbb._likelihood(bgbb._tables(np.array(parameters), cells), cells).total


def test_donations_fader_hardie_and_shang_2010(model) -> None:
    assert list(model.parameters) == ["alpha", "beta", "gamma", "delta"]
    assert list(model.parameters.values()) == pytest.approx([1.2035, 0.7497, 0.6567, 2.7834], rel=1e-4)
    assert model.log_likelihood == pytest.approx(-33225.581, abs=5e-3)
    assert model.p_alive([0, 2, 6], [0, 4, 6], 6) == pytest.approx([0.108, 0.590, 0.930], abs=1e-3)
    assert (model.people, model.at_bound, model.is_at_bound) == (11104, (), False)
    assert model.is_converged
    assert model.is_identified


def test_donations_agree_with_lifetimes(donations, model) -> None:
    x, t_x, n, weights = donations
    theirs = lifetimes_package.fitted("BetaGeoBetaBinomFitter", x, t_x, n, weights=weights)
    assert list(model.parameters.values()) == pytest.approx(theirs.params_.to_numpy(), rel=1e-4)
    assert list(model.standard_errors.values()) == pytest.approx(theirs.standard_errors_.to_numpy(), rel=1e-3)
    assert model.p_alive(x, t_x, n) == pytest.approx(
        np.asarray(theirs.conditional_probability_alive(1, x, t_x, n)), abs=1e-5
    )
    expected = theirs.conditional_expected_number_of_purchases_up_to_time(5, x, t_x, n)
    assert model.expected(5, x, t_x, n) == pytest.approx(np.asarray(expected), abs=1e-3)


def test_simulated_histories_of_different_lengths_agree_with_lifetimes() -> None:
    # They add 1e-15 to each likelihood before its logarithm: seen where histories are long.
    x, t_x, n = (np.array(values, dtype=float) for values in simulated(1500, weeks=12, seed=5, least=1))
    ours = fit_bgbb(x, t_x, n)
    theirs = lifetimes_package.having("BetaGeoBetaBinomFitter", ours.parameters)

    def log_likelihood(parameters) -> float:
        return float(np.sum(theirs._loglikelihood(parameters, x, t_x, n)))

    at = np.array(list(ours.parameters.values()))
    assert ours.log_likelihood == pytest.approx(log_likelihood(at), abs=5e-3)
    for step in 0.01 * np.eye(4):  # no better place beside it
        assert max(log_likelihood(at * np.exp(step)), log_likelihood(at * np.exp(-step))) < ours.log_likelihood
    alive = theirs.conditional_probability_alive(1, x, t_x, n)
    assert ours.p_alive(x, t_x, n) == pytest.approx(np.asarray(alive), abs=1e-3)
    expected = theirs.conditional_expected_number_of_purchases_up_to_time(13, x, t_x, n)
    assert ours.expected(13, x, t_x, n) == pytest.approx(np.asarray(expected), abs=1e-3)


@pytest.mark.parametrize("parameters", [TRUTH, (1.2, 0.75, 0.66, 2.8), (0.01, 40, 30, 0.02), (9e3, 1e-3, 1e-3, 9e3)])
@pytest.mark.parametrize(
    "history", [(0, 0, 1), (0, 0, 520), (1, 1, 520), (1, 519, 520), (260, 300, 520), (520, 520, 520), (3, 3, 3)]
)
def test_the_likelihood_is_the_sum_written_out_up_to_ten_years(parameters, history) -> None:
    # Beside a history of other length: the chain of terms is shared, and taken out at the end.
    fast = likelihood_of(parameters, *([value, other] for value, other in zip(history, (1, 2, 519), strict=True)))
    assert fast[0] == pytest.approx(float(np.log(written_out(parameters, *history))), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("at", [(0.3, 0.1, -0.4, 1.0), (3.0, -3.0, 2.0, 4.0), (-5.0, 5.0, -2.0, 7.0)])
def test_the_gradient_is_that_of_finite_differences(at) -> None:
    people = histories(*simulated(300, weeks=60, seed=2), None)
    cells = bgbb._cells(*people[:3])

    def value(point):
        return bgbb._value_and_gradient(np.exp(point), cells, people)

    steps = np.eye(4) * 1e-5
    differences = [(value(at + step)[0] - value(at - step)[0]) / 2e-5 for step in steps]
    assert value(np.array(at))[1] == pytest.approx(differences, rel=1e-6, abs=1e-4)


def test_what_follows_is_what_the_sums_say(model) -> None:
    parameters = list(model.parameters.values())
    now, later = (written_out(parameters, 2, 4, n) for n in (6, 10))
    assert model.p_silent(2, 4, 6, 4) == pytest.approx(float(later / now))
    # Coming in week 7, 8, ... after (2, 4, 6), whatever came between: each week's chance, added up.
    chances = 0.0
    for week in range(1, 5):
        for between in range(2 ** (week - 1)):
            came = [7 + place for place in range(week - 1) if between >> place & 1]
            chances += written_out(parameters, 3 + len(came), 6 + week, 6 + week) / now
    assert model.expected(4, 2, 4, 6) == pytest.approx(float(chances))


def test_a_new_person_is_somebody_without_history(model) -> None:
    alpha, beta, gamma, delta = model.parameters.values()
    week = np.arange(1, 9)
    there = np.cumprod((delta + week - 1) / (gamma + delta + week - 1))
    assert model.expected(8) == pytest.approx(alpha / (alpha + beta) * there.sum())
    assert model.p_alive(0, 0, 0) == pytest.approx(delta / (gamma + delta))


def test_simulated_parameters_are_found() -> None:
    model = fit_bgbb(*simulated(200_000, weeks=52, seed=1))
    for found, error, truth in zip(model.parameters.values(), model.standard_errors.values(), TRUTH, strict=True):
        assert found == pytest.approx(truth, abs=3.5 * error)
        assert error < 0.05 * truth


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """38 of 40 on average; fewer than 34 would come up three times in a thousand. Four hundred are run elsewhere."""
    truth = fit_bgbb([0, 1], [0, 1], [1, 1])
    truth = type(truth)(dict(zip(bgbb.NAMES, TRUTH, strict=True)), 0, {}, np.zeros((4, 4)), 1, (), is_converged=True)
    inside = np.zeros(3)
    for seed in range(40):
        fit = fit_bgbb(*simulated(800, weeks=40, seed=seed, least=40))
        for i, (interval, value) in enumerate(
            (
                (fit.expected_interval(13), truth.expected(13)),
                (fit.p_alive_interval(3, 30, 40), truth.p_alive(3, 30, 40)),
                (fit.p_silent_interval(3, 38, 40, 4), truth.p_silent(3, 38, 40, 4)),
            )
        ):
            inside[i] += interval[0] <= value <= interval[1]
    assert (inside >= 34).all()


def test_nobody_gives_a_model_of_nothing() -> None:
    for model in (fit_bgbb([], [], []), fit_bgbb([0, 0], [0, 0], [0, 0]), fit_bgbb([1], [1], [1], weights=[0])):
        assert np.isnan(list(model.parameters.values())).all()
        assert (model.people, model.log_likelihood, model.is_converged, model.is_identified) == (0, 0, False, False)
        assert np.isnan(model.p_alive(0, 0, 1))
        assert np.isnan(model.expected_interval(4, [0, 1], [0, 1], [1, 1])).all()


def test_one_person_does_not_make_a_model() -> None:
    model = fit_bgbb([2], [4], [6])
    assert model.people == 1
    assert not model.is_identified
    assert 0 <= model.p_alive(2, 4, 6) <= 1


def test_nobody_ever_came_back() -> None:
    weeks = np.arange(1, 101)
    model = fit_bgbb(0 * weeks, 0 * weeks, weeks)
    assert model.log_likelihood == pytest.approx(0, abs=1e-6)
    assert model.expected(52) == pytest.approx(0, abs=1e-6)
    assert not model.is_identified


def test_everybody_came_every_week() -> None:
    weeks = np.arange(1, 101)
    model = fit_bgbb(weeks, weeks, weeks)
    assert model.is_at_bound
    assert np.isnan(model.standard_errors["beta"])
    assert model.p_alive(6, 6, 6) == pytest.approx(1, abs=1e-6)
    assert model.expected(4, 6, 6, 6) == pytest.approx(4, abs=1e-5)


def test_people_all_alike_run_to_a_bound_and_are_still_predicted() -> None:
    x, t_x, n = simulated(400, (9e3, 21e3, 1.0, 9.0), weeks=30, seed=3)
    model = fit_bgbb(x, t_x, n)
    assert set(model.at_bound) & {"alpha", "beta"}
    assert np.isnan(model.covariance).any()
    low, high = model.expected_interval(10)
    assert low < 0.3 * np.cumprod((9 + np.arange(10)) / (10 + np.arange(10))).sum() < high


@pytest.mark.parametrize("seed", range(6))
def test_a_ridge_that_leads_to_a_bound_is_followed_to_its_end(seed) -> None:
    """Everybody leaves with the same probability: gamma and delta grow together, and only their ratio is known."""
    truth = (3.9, 5.8, 500.0, 9000.0)
    history = simulated(700, truth, weeks=150, seed=seed, least=10)
    fitted = fit_bgbb(*history)
    assert fitted.is_converged
    assert fitted.log_likelihood >= likelihood_of(truth, *history).sum()


def test_people_watched_for_no_week_change_nothing() -> None:
    x, t_x, n = simulated(300, weeks=20, seed=4, least=1)
    with_them = fit_bgbb(*(np.append(values, [0, 0]) for values in (x, t_x, n)))
    assert with_them.parameters == fit_bgbb(x, t_x, n).parameters
    assert with_them.people == 300


def test_numbers_and_arrays_of_any_shape(model) -> None:
    assert np.ndim(model.p_alive(2, 4, 6)) == 0
    assert model.p_silent([[0, 2]], [[0, 4]], 6, 4).shape == (1, 2)
    assert model.p_alive([], [], []).shape == (0,)
    assert [end.shape for end in model.p_alive_interval([0, 2, 2], [0, 4, 4], 6)] == [(3,), (3,)]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (([0, 3], [0, 2], [6, 6]), r"x must be at most t_x.*row 1: x = 3, t_x = 2, n = 6"),
        (([1], [7], [6]), r"t_x must be at most n.*row 0: x = 1, t_x = 7, n = 6"),
        (([0], [2], [6]), r"t_x must be 0 where x is 0.*row 0"),
        (([-1], [0], [6]), r"not be negative.*row 0: x = -1"),
        (([0, np.nan], [0, 0], [6, 6]), r"finite numbers.*row 1: x = nan"),
        (([0], [0], [np.inf]), r"finite numbers.*n = inf"),
        (([1.5], [2], [6]), r"x must be whole.*x = 1.5"),
        (([1], [2.5], [6]), r"whole numbers of periods.*t_x = 2.5"),
        (([1, 2], [2, 2, 2], [6]), r"of one length"),
    ],
)
def test_impossible_histories_are_refused_with_the_row(model, history, message) -> None:
    for use in (fit_bgbb, model.p_alive):
        with pytest.raises(ValueError, match=message):
            use(*history)


def test_impossible_weights_and_horizons_are_refused(model) -> None:
    for weights, message in (([1, -1], "row 1: weights = -1"), ([1], "as many"), ([1, np.nan], "row 1: weights = nan")):
        with pytest.raises(ValueError, match=message):
            fit_bgbb([0, 1], [0, 1], [1, 1], weights=weights)
    for horizon in (-1, 2.5, np.nan):
        with pytest.raises(ValueError, match="horizon must be a whole number of weeks"):
            model.p_silent(0, 0, 6, horizon)
    with pytest.raises(ValueError, match="needs all of x, t_x and n"):
        model.expected(4, x=1)


@pytest.mark.parametrize("parameters", [(0.7, 28.0, 0.6, 12.0), (0.1, 0.2, 5.0, 0.3)])
def test_a_chain_at_once_equals_a_chain_week_by_week(parameters, monkeypatch) -> None:
    people = histories(*simulated(3_000, weeks=300, seed=7), None)
    cells = bgbb._cells(*people[:3])
    at_once = bgbb._tables(np.array(parameters), cells)
    value, gradient = bgbb._value_and_gradient(np.array(parameters), cells, people)
    monkeypatch.setattr(bgbb, "_SMALLEST", 0.0)
    week_by_week = bgbb._tables(np.array(parameters), cells)
    assert at_once.terms is not None
    assert week_by_week.terms is None
    np.testing.assert_allclose(
        bgbb._likelihood(at_once, cells).total, bgbb._likelihood(week_by_week, cells).total, rtol=1e-11
    )
    slow, slow_gradient = bgbb._value_and_gradient(np.array(parameters), cells, people)
    assert value == pytest.approx(slow, rel=1e-12)
    assert gradient == pytest.approx(slow_gradient, rel=1e-9, abs=1e-7)


def test_a_chain_too_steep_for_numbers_goes_week_by_week() -> None:
    cells = bgbb._cells(*(np.array([value]) for value in (1.0, 1.0, 300.0)))
    assert bgbb._tables(np.array([1e4, 1.0, 1e-4, 1e4]), cells).terms is None


def test_an_outlook_is_what_is_asked_one_by_one():
    model = fit_bgbb([0, 1, 1, 2, 0, 3], [0, 1, 3, 4, 0, 6], [6, 6, 6, 6, 2, 9], weights=[60, 9, 6, 9, 20, 5])
    history = [0, 2, 1], [0, 5, 1], [9, 6, 1]
    what, low, high = model.outlook(*history, (4, 13))
    single = [(model.p_alive(*history), model.p_alive_interval(*history))]
    single += [(model.p_silent(*history, h), model.p_silent_interval(*history, h)) for h in (4, 13)]
    for i, (value, interval) in enumerate(single):
        np.testing.assert_allclose(what[i], value, rtol=1e-9)
        np.testing.assert_allclose([low[i], high[i]], interval, rtol=1e-5)
    assert model.outlook([], [], [], (4, 13))[0].shape == (3, 0)
    assert model.outlook(1, 1, 4, (4,))[0].shape == (2,)
    with pytest.raises(ValueError, match="horizon"):
        model.outlook(0, 0, 1, (-1,))


@pytest.mark.parametrize("fit", [fit_bgbb, fit_bgnbd, fit_mbgnbd])
def test_a_start_from_much_the_same_people_finds_the_same(fit):
    x, t_x, n = np.array([(0, 0, 6), (1, 1, 6), (1, 3, 6), (2, 2, 6), (2, 4, 6), (4, 6, 6), (6, 6, 6), (3, 3, 9)]).T
    people = np.array([600, 90, 60, 30, 40, 20, 30, 5])
    model = fit(x, t_x, n, weights=people)
    other = fit(x, t_x, n, weights=people + np.array([40, 0, 9, 0, 0, 1, 0, 0]))
    near = fit(x, t_x, n, weights=people, near=other)
    assert near.log_likelihood == pytest.approx(model.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(near.p_silent(x, t_x, n, 4), model.p_silent(x, t_x, n, 4), atol=1e-4)
    assert near.is_converged
    # At a bound the search begins anew, from everywhere.
    assert np.isnan(near.covariance).all() or model.at_bound
