import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from assets.metrics.shrinkage import shrunken_rate, shrunken_rates

PUMPS_Y = [5, 1, 5, 14, 3, 19, 1, 1, 4, 22]
PUMPS_T = [94.3, 15.7, 62.9, 126, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5]
COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=40)


def test_pumps_gaver_and_omuircheartaigh_1987():
    # the maximum likelihood values of metrics.md (computed; the print fits another model)
    fit = shrunken_rate(PUMPS_Y, PUMPS_T)
    assert (fit.shape, fit.rate) == pytest.approx((0.82297, 1.26165), abs=5e-6)
    assert fit.posterior_means[0] == pytest.approx((0.82297 + 5) / (1.26165 + 94.3), abs=1e-6)
    assert fit.mean == pytest.approx(fit.posterior_means.mean())
    assert fit.low < fit.mean < fit.high


def test_the_likelihood_is_at_its_maximum():
    rng = np.random.default_rng(4)
    e = rng.uniform(0.5, 3, size=300)
    y = rng.poisson(rng.gamma(0.7, 1 / 0.2, size=300) * e)

    def minus(p):
        a, b = np.exp(p)
        return -stats.nbinom.logpmf(y, a, b / (b + e)).sum()

    oracle = np.exp(
        optimize.minimize(minus, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).x
    )
    fit = shrunken_rate(y, e)
    assert (fit.shape, fit.rate) == pytest.approx(oracle, rel=1e-5)


def test_equal_counts_give_the_plain_mean_and_garwoods_interval():
    fit = shrunken_rate([3, 3, 3, 3])
    assert math.isnan(fit.shape)
    # Garwood (1936): 12 events give 6.2006 .. 20.9616
    assert (fit.mean, fit.low, fit.high) == pytest.approx((3, 6.2006 / 4, 20.9616 / 4), abs=1e-4)
    assert fit.posterior_means.tolist() == [3, 3, 3, 3]


def test_nothing_at_all():
    fit = shrunken_rate([0, 0, 0])
    assert (fit.mean, fit.low) == (0, 0)
    assert fit.high == pytest.approx(3.6889 / 3, abs=1e-4)
    empty = shrunken_rate([])
    assert all(math.isnan(x) for x in (empty.mean, empty.low, empty.high))


def test_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="must not be negative"):
        shrunken_rate([-1])


@given(COUNTS)
def test_with_equal_exposures_the_mean_is_the_plain_one(counts):
    fit = shrunken_rate(counts, 2.0)
    assert fit.mean == pytest.approx(np.mean(counts) / 2, rel=1e-6)
    assert fit.low <= fit.mean <= fit.high


@given(COUNTS)
def test_posterior_means_lie_between_the_post_and_the_mean(counts):
    fit = shrunken_rate(counts)
    near, far = np.minimum(counts, fit.mean), np.maximum(counts, fit.mean)
    if math.isfinite(fit.shape):
        assert (near - 1e-6 <= fit.posterior_means).all()
        assert (fit.posterior_means <= far + 1e-6).all()


@given(COUNTS, st.randoms())
def test_order_and_compression_change_nothing(counts, random):
    shuffled = random.sample(counts, len(counts))
    values, times = np.unique(counts, return_counts=True)
    a, b, c = shrunken_rate(counts), shrunken_rate(shuffled), shrunken_rate(values, weights=times)
    for other in (b, c):
        assert (other.mean, other.low, other.high) == pytest.approx((a.mean, a.low, a.high), rel=1e-9)


def test_groups_are_independent():
    rng = np.random.default_rng(5)
    y = rng.negative_binomial(1, 0.2, size=400).astype(float)
    group = rng.integers(0, 7, size=400)
    together = shrunken_rates(y, np.ones(400), np.ones(400), group, groups=8)
    for number in range(7):
        alone = shrunken_rate(y[group == number])
        assert together.mean[number] == pytest.approx(alone.mean, rel=1e-9)
        assert together.high[number] == pytest.approx(alone.high, rel=1e-9)
    assert math.isnan(together.mean[7])


def test_planted_rate_is_within_the_interval():
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(200):
        fit = shrunken_rate(rng.poisson(rng.gamma(1.5, 2.0, size=80)))
        inside += fit.low <= 3.0 <= fit.high
    assert inside >= 182  # of 200; 95 % would be 190
