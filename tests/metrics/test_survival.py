"""Survival: Freireich's 6-MP trial, the lung data, lifelines and statsmodels as oracles, and what must always hold."""

import warnings
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics.survival import (
    curves,
    kaplan_meier,
    log_rank,
    log_ranks,
    quantile,
    restricted_means,
    rmst,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas options that lifelines still sets
    import lifelines
    from lifelines import datasets, statistics
    from lifelines.utils import restricted_mean_survival_time

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
    # The whole published table: weeks with a relapse, S and its standard error.
    published = {
        6: (0.8571, 0.0764), 7: (0.8067, 0.0869), 10: (0.7529, 0.0963), 13: (0.6902, 0.1068), 16: (0.6275, 0.1141),
        22: (0.5378, 0.1282), 23: (0.4482, 0.1346),
    }  # fmt: skip
    for week, wanted in published.items():
        assert at[week] == pytest.approx(wanted, abs=5e-5)
    assert [t for (_, (s, _)), (t, (s1, _)) in pairwise([(0, (1.0, 0.0)), *at.items()]) if s1 < s] == list(published)
    assert at[35] == at[23]


def test_freireich_1963_log_rank() -> None:
    weeks = np.array(SIX_MP + PLACEBO)
    chi2, p_value = log_rank(abs(weeks), weeks > 0, ["6-MP"] * 21 + ["placebo"] * 21)
    assert chi2 == pytest.approx(16.79, abs=5e-3)
    assert p_value == pytest.approx(4.17e-5, rel=1e-3)


def test_freireich_1963_restricted_means_as_r_prints_them() -> None:
    """`print(survfit(...), print.rmean = TRUE, rmean = 35)`: 23.29 (2.83) and 8.67 (1.38)."""
    weeks, placebo = np.array(SIX_MP), np.array(PLACEBO)
    mean, standard_error, low, high = rmst(abs(weeks), weeks > 0, 35)
    assert (mean, standard_error) == pytest.approx((23.29, 2.83), abs=5e-3)
    assert (low, high) == pytest.approx((23.2874 - 1.96 * 2.8275, 23.2874 + 1.96 * 2.8275), abs=1e-3)
    assert rmst(placebo, [True] * 21, 35)[:2] == pytest.approx((8.67, 1.38), abs=5e-3)


@pytest.fixture(scope="module")
def lung() -> dict[str, np.ndarray]:
    data = datasets.load_lung()
    return {"days": data["time"].to_numpy(), "died": data["status"].to_numpy() == 1, "sex": data["sex"].to_numpy()}


def test_lung_median_of_r_survival(lung) -> None:
    frame = pl.LazyFrame({"arm": 0, "duration": lung["days"], "is_observed": lung["died"]})
    median = quantile(curves(frame, by=["arm"]), by=["arm"], share=0.5, name="m").collect()
    assert median["m"].item() == 310


def test_lung_sexes_of_r_survdiff(lung) -> None:
    chi2, p_value = log_rank(lung["days"], lung["died"], lung["sex"])
    assert chi2 == pytest.approx(10.327, abs=5e-4)
    assert p_value == pytest.approx(0.00131, abs=5e-6)


def data_of(name: str, lung) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Durations, observed and group: real ones, and simulated ones with many ties or none."""
    if name == "lung":
        return lung["days"].astype(float), lung["died"], lung["sex"]
    if name == "waltons":
        data = datasets.load_waltons()
        return data["T"].to_numpy(), data["E"].to_numpy() == 1, data["group"].to_numpy()
    random = np.random.default_rng(7)
    group = random.integers(0, 4 if name == "four groups" else 2, 300)
    time, until = random.exponential(20 + 8 * group), random.exponential(40, 300)
    durations = np.minimum(time, until)
    return (durations if name == "simulated" else np.ceil(durations / 5)), time <= until, group


DATA = ("lung", "waltons", "simulated", "tied", "four groups")


@pytest.mark.parametrize("name", DATA)
def test_curves_and_intervals_are_those_of_lifelines(name, lung) -> None:
    durations, observed, _ = data_of(name, lung)
    fit = lifelines.KaplanMeierFitter().fit(durations, observed)
    frame = pl.LazyFrame({"arm": 0, "duration": durations, "is_observed": observed})
    ours = curves(frame, by=["arm"]).collect()
    at = ours["time"].to_numpy()
    np.testing.assert_allclose(ours["survival"], fit.survival_function_at_times(at).to_numpy(), rtol=1e-9, atol=1e-12)
    theirs = fit.confidence_interval_.loc[at].to_numpy()
    inside = ours["survival_low"].is_not_null().to_numpy()
    assert inside.sum() > 10
    np.testing.assert_allclose(ours["survival_low"].to_numpy()[inside], theirs[inside, 0], rtol=1e-9)
    np.testing.assert_allclose(ours["survival_high"].to_numpy()[inside], theirs[inside, 1], rtol=1e-9)
    np.testing.assert_array_equal(ours["at_risk"], fit.event_table.loc[at, "at_risk"])


@pytest.mark.filterwarnings("ignore:Starting with pandas")  # within lifelines
@pytest.mark.parametrize("name", DATA)
def test_log_rank_is_that_of_lifelines(name, lung) -> None:
    durations, observed, group = data_of(name, lung)
    theirs = statistics.multivariate_logrank_test(durations, group, observed)
    assert log_rank(durations, observed, group) == pytest.approx((theirs.test_statistic, theirs.p_value), rel=1e-8)


@pytest.mark.parametrize("name", DATA)
def test_restricted_mean_and_difference_are_those_of_lifelines(name, lung) -> None:
    durations, observed, group = data_of(name, lung)
    first, second = np.unique(group)[:2]
    limit = float(min(durations[group == g].max() for g in (first, second)) * 0.8)
    means = []
    for g in (first, second):
        fit = lifelines.KaplanMeierFitter().fit(durations[group == g], observed[group == g])
        mean = rmst(durations[group == g], observed[group == g], limit).mean
        means.append((mean, restricted_mean_survival_time(fit, t=limit)))
    assert all(ours == pytest.approx(theirs, rel=1e-8) for ours, theirs in means)
    difference = np.diff(np.array(means), axis=0)[0]
    assert difference[0] == pytest.approx(difference[1], abs=1e-6)


@pytest.mark.filterwarnings("ignore:The maximum number of subdivisions")  # lifelines integrates steps by quadrature
def test_restricted_variance_is_that_of_lifelines_where_nobody_is_censored() -> None:
    """lifelines gives the variance of min(T, limit): without censoring, n times that of its mean."""
    durations = np.ceil(np.random.default_rng(3).exponential(10, 60))
    fit = lifelines.KaplanMeierFitter().fit(durations, np.ones(60))
    _, variance = restricted_mean_survival_time(fit, t=12.0, return_variance=True)
    assert rmst(durations, [True] * 60, 12.0).standard_error ** 2 == pytest.approx(variance / 60, rel=1e-6)


def test_restricted_variance_by_the_book(lung) -> None:
    """The double sum of Greenwood's covariances, over the widths of the steps: another way to the same number."""
    durations, observed, _ = data_of("lung", lung)
    limit = 500.0
    time, survival, standard_error = kaplan_meier(durations, observed)
    edges = np.append(time[time < limit], limit)
    widths, s = np.diff(edges), survival[time < limit]
    greenwood = (standard_error[time < limit] / s) ** 2
    earlier = np.minimum.outer(greenwood, greenwood)  # it only grows: the covariance has that of the earlier time
    variance = (widths * s) @ earlier @ (widths * s)
    assert rmst(durations, observed, limit).standard_error ** 2 == pytest.approx(variance, rel=1e-9)


@pytest.mark.slow
def test_the_truth_lies_in_the_intervals_of_restricted_means() -> None:
    """Exponential lives of mean 20, half of them censored: 600 groups at once."""
    random = np.random.default_rng(11)
    groups, each, limit = 600, 80, 25.0
    life, until = random.exponential(20, groups * each), random.exponential(30, groups * each) + 15
    rows = pl.LazyFrame(
        {
            "group": np.repeat(np.arange(groups), each),
            "duration": np.minimum(life, until),
            "is_observed": life <= until,
        }
    )
    got = restricted_means(curves(rows, by=["group"]).with_columns(limit=limit), by=["group"]).drop_nulls().collect()
    truth = 20 * (1 - np.exp(-limit / 20))
    assert got.height > 500
    assert 0.92 <= got["rmst_low"].le(truth).__and__(got["rmst_high"].ge(truth)).mean() <= 0.98


def test_grouped_forms_are_those_of_arrays(lung) -> None:
    parts = {name: data_of(name, lung) for name in ("lung", "waltons", "simulated", "tied")}
    frame = pl.concat(
        pl.LazyFrame({"name": name, "duration": d, "is_observed": o, "is_first": g == np.unique(g)[0]})
        for name, (d, o, g) in parts.items()
    )
    tests = {name: row for name, *row in log_ranks(frame, by=["name"], arm="is_first").collect().rows()}
    limited = curves(frame, by=["name"]).with_columns(limit=8.0)
    means = {name: row for name, *row in restricted_means(limited, by=["name"]).collect().rows()}
    for name, (durations, observed, group) in parts.items():
        assert tests[name] == pytest.approx(list(log_rank(durations, observed, group)), rel=1e-8)
        assert means[name] == pytest.approx(list(rmst(durations, observed, 8.0)))


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


def test_nobody() -> None:
    assert np.isnan(log_rank([], [], [])).all()
    assert np.isnan(rmst([], [], 1)).all()


def test_one_person() -> None:
    assert np.isnan(log_rank([3], [True], ["a"])).all()
    assert rmst([3], [True], 10)[:2] == (3, 0)
    assert rmst([3], [True], 2)[:2] == (2, 0)
    assert np.isnan(rmst([3], [False], 10)).all(), "nobody was followed to day 10, and one is left"
    assert rmst([3], [False], 3)[:2] == (3, 0)


def test_all_at_one_instant_have_no_variance() -> None:
    assert np.isnan(log_rank([0, 0, 0], [True] * 3, [1, 2, 2])).all()
    assert rmst([0, 0, 0], [True] * 3, 5)[:2] == (0, 0)


def test_all_lapsed_on_one_day_have_no_variance() -> None:
    assert np.isnan(log_rank([30] * 6, [True] * 6, [1, 1, 1, 2, 2, 2])).all()
    assert rmst([30] * 6, [True] * 6, 90)[:2] == (30, 0)
    rows = pl.LazyFrame({"g": 0, "duration": [30] * 6, "is_observed": True, "arm": [True, False] * 3})
    assert log_ranks(rows, by=["g"], arm="arm").collect().rows() == [(0, None, None)]


def test_all_censored() -> None:
    _, survival, standard_error = kaplan_meier([1, 2, 3], [False] * 3)
    assert (survival.tolist(), standard_error.tolist()) == ([1, 1, 1], [0, 0, 0])
    assert np.isnan(log_rank([1, 2, 3], [False] * 3, [1, 1, 2])).all()
    assert rmst([1, 2, 3], [False] * 3, 3)[:2] == (3, 0)
    rows = pl.LazyFrame({"g": 0, "duration": [1, 2, 3], "is_observed": False})
    assert curves(rows, by=["g"]).select("survival_low", "survival_high").null_count().collect().row(0) == (3, 3)


def test_ties_of_an_end_and_a_censoring() -> None:
    """The censored one was still at risk: 1 - 1/2, not 1 - 1/1."""
    assert kaplan_meier([5, 5], [True, False]).survival.tolist() == [0.5]


def test_a_group_that_never_was_at_risk_leaves_the_others_comparable() -> None:
    durations, observed, group = [1, 2, 3, 4, 5, 6, 0, 0], [True] * 6 + [False] * 2, [*"aaabbb", "c", "c"]
    chi2, _ = log_rank(durations, observed, group)
    assert chi2 == pytest.approx(log_rank(durations[:6], observed[:6], group[:6]).chi2)


def test_bad_limits_and_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        rmst([1], [True], 0)
    with pytest.raises(ValueError, match="limit"):
        rmst([1], [True], float("nan"))
    with pytest.raises(ValueError, match="group"):
        log_rank([1, 2], [True, True], [1])


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


arms = st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 2)), min_size=2, max_size=30)


@given(rows=arms, seed=st.randoms())
def test_log_rank_knows_no_order_no_unit_and_no_names(rows, seed) -> None:
    one = np.array(log_rank(*zip(*rows, strict=True)))
    seed.shuffle(rows)
    durations, observed, group = (np.array(x) for x in zip(*rows, strict=True))
    np.testing.assert_allclose(log_rank(durations * 7, observed, -group), one, rtol=1e-7, atol=1e-9)
    chi2, p_value = one
    assert np.isnan(chi2) or (chi2 >= 0 and 0 <= p_value <= 1)
    assert np.isnan(log_rank(durations, [False] * len(rows), group)).all()


@given(rows=arms, limit=st.integers(1, 15), seed=st.randoms())
def test_restricted_means_scale_with_time_and_stay_within_it(rows, limit, seed) -> None:
    durations, observed, _ = (np.array(x) for x in zip(*rows, strict=True))
    one = rmst(durations, observed, limit)
    order = list(range(len(rows)))
    seed.shuffle(order)
    assert rmst(durations[order], observed[order], limit) == pytest.approx(one, nan_ok=True, abs=0)
    assert rmst(durations * 3, observed, limit * 3) == pytest.approx(3 * np.array(one), nan_ok=True, abs=1e-5)
    if not np.isnan(one.mean):
        assert 0 <= one.low <= one.mean + 1e-9 <= one.high + 2e-9 <= limit + 3e-9
    if limit <= durations.max():
        assert rmst(durations, [False] * len(rows), limit).mean == limit


@given(rows=arms)
def test_disjoint_groups_do_not_touch_each_other(rows) -> None:
    """Each group of a frame is as if it were alone."""
    frame = pl.LazyFrame(rows, schema=["duration", "is_observed", "g"], orient="row").with_columns(
        limit=6.0, arm=pl.col("duration") % 2 == 0
    )
    together = [
        curves(frame, by=["g"]).sort("g", "time"),
        restricted_means(curves(frame, by=["g"]).with_columns(limit=6.0), by=["g"]).sort("g"),
        log_ranks(frame, by=["g"], arm="arm").sort("g"),
    ]
    for g in {g for *_, g in rows}:
        alone = frame.filter(pl.col("g") == g)
        each = [
            curves(alone, by=["g"]),
            restricted_means(curves(alone, by=["g"]).with_columns(limit=6.0), by=["g"]),
            log_ranks(alone, by=["g"], arm="arm"),
        ]
        for a, b in zip(together, each, strict=True):
            assert a.filter(pl.col("g") == g).collect().equals(b.collect())
