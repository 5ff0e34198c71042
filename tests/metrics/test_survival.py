"""Kaplan-Meier: Freireich's 6-MP trial, the response times of docs/metrics/listening.md, and what must always hold."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics.survival import curves, kaplan_meier, quantile

# Remission in weeks; a negative number was censored.
SIX_MP = (6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35)
PLACEBO = (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)


def lifetimes(**arms: tuple[int, ...]) -> pl.LazyFrame:
    rows = [(arm, abs(week), week > 0) for arm, weeks in arms.items() for week in weeks]
    return pl.LazyFrame(rows, schema=["arm", "duration", "is_observed"], orient="row")


def test_freireich_1963_six_mp() -> None:
    weeks = np.array(SIX_MP)
    time, survival, standard_error = kaplan_meier(abs(weeks), weeks > 0)
    at = {t: (s, e) for t, s, e in zip(time, survival, standard_error, strict=True)}
    assert at[6] == pytest.approx((0.8571, 0.0764), abs=5e-5)
    assert at[23] == pytest.approx((0.4482, 0.1346), abs=5e-5)
    assert at[35] == at[23]


def test_freireich_1963_medians() -> None:
    """Published medians; the log-log intervals are 4 to 11 and 13 to not reached."""
    both = curves(lifetimes(placebo=PLACEBO, six_mp=SIX_MP), by=["arm"])
    medians = quantile(both, by=["arm"], share=0.5, name="m").sort("arm").collect()
    assert medians.rows() == [("placebo", 8, 4, 11), ("six_mp", 23, 13, None)]


def test_response_times_of_the_documentation() -> None:
    minutes = lifetimes(all=(5, 10, 12, 30, 45, 60, 90, 240, -1440, -1440, -1440))
    curve = curves(minutes, by=["arm"])
    assert quantile(curve, by=["arm"], share=0.5, name="m").collect()["m"].item() == 60
    assert quantile(curve, by=["arm"], share=0.9, name="m").collect()["m"].item() is None
    assert np.median([5, 10, 12, 30, 45, 60, 90, 240]) == 37.5, "what the answered ones alone would say"


def test_nothing_left_has_no_standard_error() -> None:
    _, survival, standard_error = kaplan_meier([1.0], [True])
    assert survival.tolist() == [0]
    assert np.isnan(standard_error).all()
    assert [len(x) for x in kaplan_meier([], [])] == [0, 0, 0]


@pytest.mark.parametrize(("durations", "observed"), [([1, 2], [True]), ([-1], [True]), ([float("nan")], [False])])
def test_bad_arrays_are_refused(durations: list[float], observed: list[bool]) -> None:
    with pytest.raises(ValueError, match="durations"):
        kaplan_meier(durations, observed)


@given(rows=st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30), seed=st.randoms())
def test_curves_fall_from_at_most_one_whatever_the_order(rows: list[tuple[int, bool]], seed) -> None:
    curve = kaplan_meier(*zip(*rows, strict=True))
    seed.shuffle(rows)
    again = kaplan_meier(*zip(*rows, strict=True))
    for one, other in zip(curve, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (np.diff(curve.survival) <= 0).all()
    assert ((curve.survival >= 0) & (curve.survival <= 1)).all()
    doubled = kaplan_meier([2 * d for d, _ in rows], [o for _, o in rows])
    np.testing.assert_array_equal(doubled.survival, curve.survival)


@given(durations=st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_without_censoring_it_is_the_share_that_lasts_longer(durations: list[int]) -> None:
    time, survival, _ = kaplan_meier(durations, [True] * len(durations))
    for t, s in zip(time, survival, strict=True):
        assert s == pytest.approx(sum(d > t for d in durations) / len(durations))
