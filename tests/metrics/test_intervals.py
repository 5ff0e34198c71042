import math

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics import intervals


def _wilson(successes: list[int], n: list[int]) -> list[tuple[float | None, float | None]]:
    low, high = intervals.wilson(pl.col("k"), pl.col("n"))
    return pl.DataFrame({"k": successes, "n": n}).select(low.alias("low"), high.alias("high")).rows()


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_newcombe_1998_table_1_method_3(successes, n, low, high):
    # Newcombe (1998), Statistics in Medicine 17, 857-872: score interval without continuity correction
    assert _wilson([successes], [n])[0] == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nobody_is_null():
    assert _wilson([0], [0]) == [(None, None)]


def test_wilson_takes_narwhals_expressions():
    low, high = intervals.wilson(nw.col("k"), nw.col("n"))
    frame = nw.from_native(pl.LazyFrame({"k": [8, 0], "n": [10, 0]})).select(low.alias("low"), high.alias("high"))
    assert frame.to_native().collect().rows() == _wilson([8, 0], [10, 0])


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share(pair):
    successes, n = pair
    [(low, high)] = _wilson([successes], [n])
    assert 0 <= low <= successes / n <= high <= 1


def test_positive_mean_interval_by_hand():
    # t(.975, 4) = 2.776445; relative error 2 / (10 sqrt(5)) = 0.0894427; exp of their product 1.281865
    low, high = intervals.positive_mean_interval([10.0, 1.0, 0.0, 4.0], [2.0, math.nan, 0.0, 0.0], [5, 1, 3, 3])
    assert (low[0], high[0]) == pytest.approx((7.801003, 12.818865), abs=1e-6)
    assert np.isnan([low[1], high[1], low[2], high[2]]).all(), "one value, or nothing at all"
    assert (low[3], high[3]) == (4, 4)


def test_one_value_that_makes_the_sum_counts_as_one():
    # 10 posts, one got 10, the others nothing: effective number 1, relative error 1, t(.975, 1) = 12.7062.
    values = np.array([10.0] + [0.0] * 9)
    low, high = intervals.positive_mean_interval(values.mean(), values.std(ddof=1), 10)
    assert (low, high) == pytest.approx((math.exp(-12.7062), math.exp(12.7062)), rel=1e-4)


def test_bootstrap_is_seeded_and_independent_of_blocks(monkeypatch):
    sums = np.random.default_rng(1).integers(1000, size=(40, 2)).astype(float)  # whole numbers are added exactly
    whole = intervals.resampled_totals(sums, replicates=50)
    monkeypatch.setattr(intervals, "_BLOCK", 120)
    assert np.array_equal(whole, intervals.resampled_totals(sums, replicates=50))
    assert not np.array_equal(whole, intervals.resampled_totals(sums, replicates=50, seed=1))
