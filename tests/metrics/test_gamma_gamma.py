"""Gamma-Gamma against the paper's table, against lifetimes, and where it has nothing to say."""

import csv
import warnings
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tools.numdiff import approx_hess

from assets.metrics import gamma_gamma


@pytest.fixture(scope="module")
def cdnow() -> tuple[np.ndarray, np.ndarray]:
    """x and mean value of the customers of CDNOW who came back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = resources.files("lifetimes") / "datasets"
    with (folder / "cdnow_customers_summary_with_transactions.csv").open() as file:
        rows = [(float(row["x"]), float(row["zbar"])) for row in csv.DictReader(file) if int(row["x"]) > 0]
    x, m = zip(*rows, strict=True)
    return np.array(x), np.array(m)


def test_cdnow_of_fader_hardie_lee_2005(cdnow):
    fit = gamma_gamma.fit(*cdnow)
    assert len(cdnow[0]) == 946
    # printed to two decimals, the data too
    assert (fit.p, fit.q, fit.v) == pytest.approx((6.25, 3.74, 15.44), rel=1e-3, abs=0.005)
    assert fit.is_interior
    assert fit.mean == pytest.approx(35.2, abs=0.1)
    low, high = fit.mean_interval
    assert low < fit.mean < high


def test_agrees_with_lifetimes(cdnow):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes import GammaGammaFitter  # noqa: PLC0415 - it warns when imported

        theirs = GammaGammaFitter._negative_log_likelihood
    x, m = cdnow
    fit = gamma_gamma.fit(x, m)
    ones = np.ones_like(x)

    def log_likelihood(*parameters: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return -theirs(np.log(parameters), x, m, ones, 0.0) * len(x)

    assert fit.log_likelihood == pytest.approx(log_likelihood(fit.p, fit.q, fit.v), abs=0.005)
    for step in np.eye(3) * 0.01:  # no better place beside it
        for sign in (1, -1):
            near = np.array([fit.p, fit.q, fit.v]) * np.exp(sign * step)
            assert log_likelihood(*near) < fit.log_likelihood
    weight = fit.p * x / (fit.p * x + fit.q - 1)  # their conditional_expected_average_profit
    assert fit.expected_value(x, m) == pytest.approx((1 - weight) * fit.mean + weight * m, rel=1e-9)


def test_standard_errors_are_the_curvature_of_the_likelihood(cdnow):
    x, m = cdnow
    fit = gamma_gamma.fit(x, m)
    data = gamma_gamma._Data(x, m, np.ones_like(x))
    numeric = approx_hess([fit.p, fit.q, fit.v], lambda theta: data.objective(np.asarray(theta))[0] * len(x))
    errors = np.sqrt(np.diag(np.linalg.inv(numeric)))
    assert list(fit.standard_errors.values()) == pytest.approx(errors, rel=1e-3)


def test_people_who_share_a_pair_may_be_counted(cdnow):
    x, m = cdnow
    pairs, counts = np.unique(np.stack([x, m]), axis=1, return_counts=True)
    whole, counted = gamma_gamma.fit(x, m), gamma_gamma.fit(pairs[0], pairs[1], counts)
    assert (counted.p, counted.q, counted.v) == pytest.approx((whole.p, whole.q, whole.v), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), unit=st.sampled_from([0.01, 100.0, 7.3]))
def test_neither_order_nor_currency_unit_matters(seed, unit):
    random = np.random.default_rng(seed)
    x = random.integers(1, 8, 60).astype(float)
    m = random.gamma(6 * x, 1 / (x * random.gamma(4, 1 / 15, 60)))
    fit = gamma_gamma.fit(x, m)
    shuffled = random.permutation(60)
    again = gamma_gamma.fit(x[shuffled], m[shuffled])
    assert (again.p, again.q, again.v, again.log_likelihood) == (fit.p, fit.q, fit.v, fit.log_likelihood)
    scaled = gamma_gamma.fit(x, m * unit)
    if fit.is_interior:
        assert (scaled.p, scaled.q, scaled.v) == pytest.approx((fit.p, fit.q, fit.v * unit), rel=1e-4)
        assert scaled.log_likelihood == pytest.approx(fit.log_likelihood - 60 * np.log(unit), abs=1e-5)


def test_finds_what_was_planted():
    random = np.random.default_rng(3)
    x = 1 + random.poisson(2, 20_000).astype(float)
    m = random.gamma(5 * x, 1 / (x * random.gamma(4, 1 / 20, 20_000)))
    fit = gamma_gamma.fit(x, m)
    for name, truth in (("p", 5), ("q", 4), ("v", 20)):
        assert abs(getattr(fit, name) - truth) < 3.5 * fit.standard_errors[name]
    assert fit.mean_interval[0] < 5 * 20 / 3 < fit.mean_interval[1]


@pytest.mark.parametrize("m", [[5.0] * 40, [5.0] * 20 + [9.0] * 20], ids=["one price", "two prices, never mixed"])
def test_payments_that_never_vary_within_a_person_are_no_model(m):
    fit = gamma_gamma.fit([1, 2, 3, 4] * 10, m)
    assert not fit.is_interior or fit.p > 1000


@pytest.mark.parametrize(
    ("x", "m", "said"),
    [([], [], "nobody"), ([0], [1.0], "at least 1"), ([1], [0.0], "positive"), ([1, 2], [1.0], "one length")],
)
def test_refuses_what_it_cannot_read(x, m, said):
    with pytest.raises(ValueError, match=said):
        gamma_gamma.fit(x, m)
