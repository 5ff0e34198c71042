from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from assets.metrics.dilution import dilution, fixed_effects_poisson
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES

AS_OF = date(2024, 12, 31)


def _panel(seed, *, accounts, months, each=12, elasticity=-0.4):
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), months * each)
    month = np.tile(np.repeat(np.arange(months), each), accounts)
    x = rng.normal(size=len(account)) + 0.2 * month
    mean = np.exp(elasticity * x + 0.3 * account + 0.1 * np.sin(month))
    return rng.poisson(mean * rng.gamma(2, 0.5, size=len(mean))), x, account, month


def _dummies(*codes):
    return np.column_stack([np.eye(c.max() + 1)[c][:, (1 if i else 0) :] for i, c in enumerate(codes)])


def test_rand_hie_poisson_of_statsmodels():
    # statsmodels.datasets.randhie, the Poisson model of its documentation
    data = sm.datasets.randhie.load()
    x = np.column_stack([data.exog.to_numpy(), np.ones(len(data.endog))])
    fit = fixed_effects_poisson(data.endog.to_numpy(), x)
    assert fit.coefficients[0] == pytest.approx(-0.05254, abs=5e-6)
    assert fit.coefficients[-1] == pytest.approx(0.70035, abs=5e-6)
    assert fit.log_likelihood == pytest.approx(-62419.5885, abs=1e-4)


@pytest.mark.parametrize("pooled", [False, True])
def test_equals_statsmodels_glm_with_dummies(pooled):
    y, x, account, month = _panel(1, accounts=3 if pooled else 1, months=12)
    effects = [month, account] if pooled else [month]
    cluster = account * 100 + month
    fit = fixed_effects_poisson(y, x, effects=effects, clusters=cluster)
    design = np.column_stack([x, _dummies(*effects)])
    family = sm.families.Poisson()
    oracle = sm.GLM(y, design, family=family).fit(
        tol=1e-14, maxiter=200, cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    assert fit.coefficients[0] == pytest.approx(oracle.params[0], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(oracle.llf, abs=1e-6)
    clusters, n = len(np.unique(cluster)), len(y)
    constants = 12 + 3 if pooled else 0  # of one account, months nest in the clusters and cost nothing
    factor = clusters / (clusters - 1) * (n - 1) / (n - 1 - constants)
    assert fit.covariance[0, 0] == pytest.approx(factor * oracle.bse[0] ** 2, rel=1e-6)
    plain = fixed_effects_poisson(y, x, effects=effects)
    independent = sm.GLM(y, design, family=family).fit(tol=1e-14, maxiter=200)
    assert np.sqrt(plain.covariance[0, 0]) == pytest.approx(independent.bse[0], rel=1e-6)


def test_effects_without_counts_carry_no_information():
    y, x, _, month = _panel(2, accounts=1, months=6)
    more = (np.append(y, [0, 0, 0]), np.append(x, [1.0, 2.0, 3.0]), np.append(month, [9, 9, 9]))
    a = fixed_effects_poisson(y, x, effects=[month])
    b = fixed_effects_poisson(more[0], more[1], effects=[more[2]])
    assert b.coefficients == pytest.approx(a.coefficients, abs=1e-10)
    assert (a.observations, b.observations) == (72, 72)


def test_what_does_not_vary_within_effects_is_not_identified():
    y, x, _, month = _panel(3, accounts=1, months=6)
    fit = fixed_effects_poisson(y, np.column_stack([month * 0.37, x]), effects=[month], clusters=month)
    alone = fixed_effects_poisson(y, x, effects=[month], clusters=month)
    assert np.isnan(fit.coefficients[0])
    assert fit.coefficients[1] == pytest.approx(alone.coefficients[0], abs=1e-9)
    assert fit.low[1] == pytest.approx(alone.low[0], rel=1e-9)


def test_separated_counts_are_said_not_to_converge():
    fit = fixed_effects_poisson([3, 4, 0, 0], [1.0, 1.0, 2.0, 2.0], effects=[[0, 0, 0, 0]])
    assert not fit.is_converged
    assert not fixed_effects_poisson([0, 0], [1.0, 2.0], effects=[[0, 0]]).is_converged


def test_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="finite and not negative"):
        fixed_effects_poisson([-1, 2], [0.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.floats(0.1, 50))
def test_order_and_unit_change_nothing_but_the_unit(random, unit):
    y, x, _, month = _panel(4, accounts=1, months=8)
    order = np.array(random.sample(range(len(y)), len(y)))
    a = fixed_effects_poisson(y, x, effects=[month], clusters=month)
    b = fixed_effects_poisson(y[order], x[order] * unit, effects=[month[order]], clusters=month[order])
    assert b.coefficients[0] * unit == pytest.approx(a.coefficients[0], rel=1e-7)
    assert b.low[0] * unit == pytest.approx(a.low[0], rel=1e-6)


def test_cr2_of_one_regressor_is_the_formula_of_bell_and_mccaffrey():
    """A score's variance is divided by 1 - p, p its cluster's share of the information; the rest by definition."""
    y, x, _, month = _panel(4, accounts=1, months=6)
    fit = fixed_effects_poisson(y, x, effects=[month], clusters=month, covariance="CR2")
    design = _dummies(month)
    model = sm.GLM(y, np.column_stack([x, design]), family=sm.families.Poisson()).fit(tol=1e-13)
    within = x - np.array([np.average(x[month == m], weights=model.mu[month == m]) for m in range(6)])[month]
    own = np.bincount(month, model.mu * within**2)
    share, score = own / own.sum(), np.bincount(month, within * (y - model.mu))
    assert fit.covariance[0, 0] == pytest.approx(np.sum(score**2 / (1 - share)) / own.sum() ** 2, rel=1e-6)
    expected = np.diag(share) - np.outer(share, share)
    expected /= np.sqrt(np.outer(1 - share, 1 - share))
    freedom = np.trace(expected) ** 2 / np.sum(expected**2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(fit.covariance[0, 0])
    assert (fit.low[0], fit.high[0]) == pytest.approx((fit.coefficients[0] - half, fit.coefficients[0] + half))


def test_cr2_of_alike_clusters_is_cr1():
    x, month = np.tile([0.0, 1.0, 2.0], 5), np.repeat(np.arange(5), 3)
    y = [4, 2, 1, 3, 3, 1, 4, 1, 2, 5, 2, 0, 2, 3, 2]
    few = fixed_effects_poisson(y, x, effects=[month], clusters=month, covariance="CR2")
    scale = fixed_effects_poisson(y, x, effects=[month], clusters=month)
    # Every month got 7: their shares of the information are alike, so 1 - p is 4/5 for each.
    assert few.covariance[0, 0] == pytest.approx(scale.covariance[0, 0], rel=1e-9)
    assert few.high[0] - few.low[0] == pytest.approx(2 * stats.t.ppf(0.975, 4) * np.sqrt(few.covariance[0, 0]))


def test_cr2_says_nothing_where_one_cluster_decides():
    fit = fixed_effects_poisson(
        [3, 1, 2, 2], [0, 1, 1, 1], effects=["aabb"], clusters=["a", "a", "b", "b"], covariance="CR2"
    )
    assert (fit.low[0], fit.high[0]) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="nested"):
        fixed_effects_poisson(
            [1, 2, 3, 4], [0, 1, 2, 4], effects=["abab"], clusters=["a", "a", "b", "b"], covariance="CR2"
        )


def _posts(account, *, elasticity, seed, days=700, bursts=True):
    """Posts whose expected I7 is 20 (1 + posts in the 28 days before) ** elasticity."""
    rng = np.random.default_rng(seed)
    # A rhythm that changes every two weeks: between once in three days and four times a day.
    rates = np.repeat(rng.choice([0.3, 1.0, 4.0] if bursts else [1.0], size=days // 14 + 1), 14)[:days]
    hours = np.concatenate(
        [[day * 24 + h for h in sorted(rng.uniform(0, 24, rng.poisson(r)))] for day, r in enumerate(rates)]
    )
    if not bursts:
        hours = np.arange(days) * 24.0
    before = np.arange(len(hours)) - np.searchsorted(hours, hours - 28 * 24)
    return pl.DataFrame({
        "post_id": [f"{account}-{i}" for i in range(len(hours))],
        "account_id": account,
        "published_at": [datetime(2022, 1, 1, tzinfo=UTC) + timedelta(hours=float(h)) for h in hours],
        "interactions_7d": rng.poisson(20 * (1.0 + before) ** elasticity),
    })  # fmt: skip


@pytest.mark.parametrize("elasticity", [0.0, -1.0])
def test_planted_elasticity_is_found(elasticity):
    frame = pl.concat([_posts(f"{i:02}", elasticity=elasticity, seed=100 + i) for i in range(20)])
    mart = enforce(TABLES["mart_dilution"], dilution(frame.lazy(), as_of=AS_OF))
    assert mart["dilution_elasticity"].mean() == pytest.approx(elasticity, abs=0.03)
    inside = (mart["dilution_elasticity_low"] <= elasticity) & (mart["dilution_elasticity_high"] >= elasticity)
    assert inside.sum() >= 16  # of 20; with two years of months the robust interval covers about 90 %
    assert mart["dilution_elasticity_note"].null_count() == 20
    assert mart["rate_p90_to_p10"].min() > 2


def test_the_mart_equals_statsmodels_on_hand_counted_frequencies():
    frame = _posts("a", elasticity=-0.5, seed=3)
    times = frame["published_at"].to_list()
    before = np.array([sum(1 for o in times if t - timedelta(days=28) <= o < t) for t in times[:400]])
    frame = frame.head(400)
    months = np.unique([f"{t:%Y-%m}" for t in times[:400]], return_inverse=True)[1]
    design = np.column_stack([np.log1p(before), _dummies(months)])
    oracle = sm.GLM(frame["interactions_7d"].to_numpy(), design, family=sm.families.Poisson()).fit(tol=1e-14)
    [row] = enforce(TABLES["mart_dilution"], dilution(frame.lazy(), as_of=AS_OF)).rows(named=True)
    assert row["dilution_elasticity"] == pytest.approx(oracle.params[0], abs=1e-6)
    ends = np.quantile(1 + before, [0.9, 0.1])
    assert row["rate_p90_to_p10"] == pytest.approx(ends[0] / ends[1])


def _note(frame):
    [row] = dilution(frame.lazy(), as_of=AS_OF).collect().rows(named=True)
    assert row["dilution_elasticity"] is None
    assert row["dilution_elasticity_low"] is None
    return row["dilution_elasticity_note"]


def test_says_why_there_is_no_estimate():
    posts = _posts("a", elasticity=0, seed=5)
    assert _note(posts.head(99)) == "99 judged posts: needs 100"
    assert _note(_posts("a", elasticity=0, seed=5, bursts=False)) == "posting rate hardly varies: p90/p10 below 2"
    assert _note(posts.with_columns(interactions_7d=pl.lit(0))) == "fewer than two months with interactions"
    pending = posts.with_columns(interactions_7d=pl.when(pl.int_range(pl.len()) < 60).then("interactions_7d"))
    assert _note(pending) == "60 judged posts: needs 100"


def test_nothing_published_gives_no_row():
    frame = _posts("a", elasticity=0, seed=5).clear()
    assert enforce(TABLES["mart_dilution"], dilution(frame.lazy(), as_of=AS_OF)).is_empty()


def test_pending_posts_count_as_posting_and_later_ones_do_not():
    frame = _posts("a", elasticity=-0.5, seed=6)
    whole = dilution(frame.lazy(), as_of=date(2023, 6, 30)).collect()
    until = frame.filter(pl.col("published_at") < datetime(2023, 7, 1, tzinfo=UTC))
    assert_frame_equal(whole, dilution(until.lazy(), as_of=date(2023, 6, 30)).collect())
    unjudged = until.with_columns(interactions_7d=pl.when(pl.int_range(pl.len()) % 2 == 0).then("interactions_7d"))
    half = dilution(unjudged.lazy(), as_of=AS_OF).collect()
    assert half["posts"].item() == -(-until.height // 2)
    assert half["rate_p90_to_p10"].item() == pytest.approx(whole["rate_p90_to_p10"].item(), rel=0.1)


def test_row_order_and_other_accounts_change_nothing():
    a, b = _posts("a", elasticity=-0.5, seed=7), _posts("b", elasticity=0, seed=8)
    together = dilution(pl.concat([b, a]).sample(fraction=1, shuffle=True, seed=1).lazy(), as_of=AS_OF).collect()
    apart = pl.concat([dilution(x.lazy(), as_of=AS_OF).collect() for x in (a, b)])
    assert_frame_equal(together, apart, check_exact=True)
