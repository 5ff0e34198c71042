"""Forecasts judged: Brier scores, their difference, deciles and the hiatus heuristic, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics.calibration import calibrate, calibration_error, hiatus_heuristic

NOTHING = np.empty(0)


def test_brier_scores_by_hand():
    # Ten people at 0.2, of whom 3 came; five at 0.8, of whom 4 came. The heuristic says 0.5 of everybody.
    found = calibrate([0.2, 0.2, 0.8, 0.8], [0.5] * 4, [1, 0, 1, 0], [3, 7, 4, 1])
    assert (found.people, found.returned) == (15, 7)
    assert found.brier == pytest.approx((3 * 0.64 + 7 * 0.04 + 4 * 0.04 + 1 * 0.64) / 15)
    assert found.brier_base == pytest.approx(7 / 15 * 8 / 15)
    assert found.brier_heuristic == pytest.approx(0.25)
    assert found.difference == pytest.approx(found.brier - 0.25)
    # Single differences: .64 - .25 = .39 (4 people), .04 - .25 = -.21 (11 people), mean -.05.
    deviation = np.sqrt((4 * 0.44**2 + 11 * 0.16**2) / 14)
    half = 1.959964 * deviation / np.sqrt(15)
    assert (found.difference_low, found.difference_high) == pytest.approx((-0.05 - half, -0.05 + half))
    assert not found.is_worse
    assert found.calibration_error == pytest.approx((abs(10 * 0.2 - 3) + abs(5 * 0.8 - 4)) / 15)


def test_the_interval_equals_that_of_single_people():
    generator = np.random.default_rng(0)
    p, q, y = generator.random(50), generator.random(50), generator.integers(0, 2, 50)
    one = calibrate(p, q, y, np.ones(50))
    each = (p - y) ** 2 - (q - y) ** 2
    assert one.difference_high - one.difference == pytest.approx(1.959964 * each.std(ddof=1) / np.sqrt(50))
    alone = calibrate(p, q, y, np.ones(50), np.arange(50))
    assert alone.difference_low == pytest.approx(one.difference_low)


def test_people_of_one_account_are_one_observation():
    # Two accounts, each of one fate: as many people as one likes, the interval does not narrow.
    few, many = (calibrate([0.9, 0.9], [0.5, 0.5], [1, 0], [k, k], np.array([0, 1])) for k in (1, 1000))
    assert many.difference_low == pytest.approx(few.difference_low)
    alone = calibrate([0.9], [0.5], [1], [100], np.array([0]))
    assert np.isnan(alone.difference_low)
    assert not alone.is_worse


def test_worse_only_with_the_whole_interval():
    assert calibrate([0.5, 0.5], [0.9, 0.1], [1, 0], [50, 50]).is_worse
    assert not calibrate([0.5, 0.5], [0.51, 0.5], [1, 0], [2, 2]).is_worse
    assert not calibrate([0.5, 0.5], [0.5, 0.5], [1, 0], [50, 50]).is_worse


def test_nobody_has_no_score():
    assert np.isnan(calibrate(NOTHING, NOTHING, NOTHING, NOTHING).brier)
    assert np.isnan(calibration_error(NOTHING, NOTHING, NOTHING))
    one = calibrate([0.3], [0.2], [0], [1])
    assert (one.brier, one.brier_heuristic) == pytest.approx((0.09, 0.04))
    assert np.isnan(one.difference_high)


def test_deciles_hold_ties_together():
    # 20 forecasts, two a decile: in each, one is too high and one too low by as much: no error.
    p = np.repeat(np.arange(1, 11) / 20, 2)
    assert calibration_error(p, p + np.tile([0.04, -0.04], 10), np.ones(20)) == pytest.approx(0)
    # Everybody has one forecast: one bin, the distance to the share.
    assert calibration_error([0.3] * 10, [1] * 5 + [0] * 5, [1] * 10) == pytest.approx(0.2)


people = st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1), st.integers(1, 5))


@given(st.lists(people, min_size=1, max_size=30), st.randoms())
def test_order_and_splitting_of_rows_change_nothing(rows, random):
    shuffled = [(p, q, y, 1) for p, q, y, w in rows for _ in range(w)]
    random.shuffle(shuffled)
    one, other = (calibrate(*map(np.array, zip(*found, strict=True))) for found in (rows, shuffled))
    for name in ("brier", "brier_base", "brier_heuristic", "difference", "calibration_error"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-12)
    assert 0 <= one.calibration_error <= 1
    assert 0 <= one.brier <= 1


def test_heuristic_by_hand():
    seen_since = np.array([0, 1, 5, 0])
    seen_repeat = np.array([True, True, True, False])
    at_risk, came = np.array([10.0, 8.0, 4.0, 20.0]), np.array([9.0, 4.0, 1.0, 2.0])
    since, is_repeat = np.array([0, 1, 4, 5, 90, 0, 7]), np.array([True] * 5 + [False] * 2)
    found = hiatus_heuristic(since, is_repeat, seen_since, seen_repeat, at_risk, came)
    # Three weeks and four were never seen: as one week. Ninety: as five.
    assert found.tolist() == [0.9, 0.5, 0.5, 0.25, 0.25, 0.1, 0.1]


def test_heuristic_of_a_kind_never_seen_is_that_of_everybody():
    asked = np.array([0, 3]), np.array([True, False])
    seen = np.array([1]), np.array([False]), np.array([4.0]), np.array([1.0])
    assert hiatus_heuristic(*asked, *seen).tolist() == [0.25, 0.25]
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=bool), NOTHING, NOTHING
    assert np.isnan(hiatus_heuristic(*asked, *nothing)).all()
