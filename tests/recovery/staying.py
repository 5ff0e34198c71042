"""Scenarios of retention: cohorts, curves, two arms, and the weekly model of who is still there."""

from collections.abc import Callable
from datetime import date
from functools import cache

import numpy as np
import polars as pl
from scipy import integrate, stats

from assets.metrics import gamma_gamma
from assets.metrics.bgbb import BetaGeometricBetaBinomial, fit_bgbb
from assets.metrics.normal import Z95
from assets.metrics.retention import cohort
from assets.metrics.retention_comparison import RMST_DAYS, _rmst_differences, newcombe
from assets.metrics.retention_fit import row_of_fit
from assets.metrics.survival import curves, restricted_means
from tests.recovery import simulate
from tests.recovery.estimators import Recovered, Scenario, numbers

FIRST, SECOND = date(2024, 1, 10), (date(2024, 2, 10), date(2024, 3, 10), date(2024, 4, 10))


def returning(people: int, chance: float | None, *, period: int = 1, name: str = "retained_rate"):
    """People of January come back in each later month with that chance; without one, each account has its own."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        own = random.random(replicates) if chance is None else np.full(replicates, chance)
        account, person = np.divmod(np.arange(replicates * people), people)
        rows = [pl.DataFrame({"account": account, "person": person, "date": FIRST})]
        for day in SECOND:
            came = random.random(len(account)) < own[account]
            rows.append(pl.DataFrame({"account": account[came], "person": person[came], "date": day}))
        fold = pl.concat(rows).select(
            pl.col("account").cast(pl.String).alias("account_id"), pl.lit("x").alias("platform"),
            pl.format("{}/{}", "account", "person").alias("identity_id"), "date", pl.lit(1).alias("inbound_active"),
        )  # fmt: skip
        identities = fold.select(
            "identity_id", pl.col("identity_id").alias("person_id"), pl.lit(value=False).alias("is_bot")
        ).unique()
        spans = fold.select("account_id").unique().with_columns(
            pl.lit("x").alias("platform"), pl.lit("inbound").alias("stream"), pl.lit(date(2024, 1, 1)).alias("from_date"),
            pl.lit(date(2024, 4, 30)).alias("to_date"), pl.lit("ok").alias("status"),
        )  # fmt: skip
        moment = pl.Datetime("us", "UTC")
        posts = {"account_id": pl.String, "published_at": moment, "observed_at": moment, "deleted_at": moment}
        profiles = {"account_id": pl.String, "born_at": moment}
        got = (
            cohort(
                fold.lazy(), identities.lazy(), pl.LazyFrame(schema=posts), pl.LazyFrame(schema=profiles), spans.lazy(),
                as_of=date(2024, 4, 30),
            )
            .filter(pl.col("platform") == "x", pl.col("period") == period)
            .sort(pl.col("account_id").cast(pl.Int64))
            .collect()
        )  # fmt: skip
        ahead = len(SECOND) - period + 1 if name == "retained_or_later_rate" else 1
        return Recovered(1 - (1 - own) ** ahead, *(numbers(got[f"{name}{part}"]) for part in ("", "_low", "_high")))

    return recover


def _lives(
    random: np.random.Generator, law: stats.rv_continuous, people: int, replicates: int,
    follow_up: tuple[float, float], whole: float,
) -> pl.DataFrame:  # fmt: skip
    """Durations rounded up to `whole` units, each followed for a time of its own between these two."""
    lasting = np.ceil(law.rvs(size=(replicates, people), random_state=random) / whole) * whole
    watched = np.ceil(random.uniform(*follow_up, size=lasting.shape) / whole) * whole
    seen = simulate.censored(lasting, watched)
    return pl.DataFrame({
        "account_id": np.repeat(np.arange(replicates), people), "duration": seen.duration.ravel(),
        "is_observed": seen.observed.ravel(), "followed": watched.ravel(),
    })  # fmt: skip


def curve_at(
    time: float, law: stats.rv_continuous, people: int, *, follow_up: tuple[float, float], whole: float = 1e-6
):
    """The share that lasts longer than `time`."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        lives = _lives(random, law, people, replicates, follow_up, whole)
        steps = curves(lives.lazy(), by=("account_id",)).filter(pl.col("time") <= time)
        last = steps.group_by("account_id").agg(pl.all().sort_by("time").last())
        got = pl.LazyFrame({"account_id": np.arange(replicates)}).join(last, on="account_id", how="left")
        got = got.sort("account_id").collect()
        return Recovered(
            float(law.sf(time)), *(numbers(got[name]) for name in ("survival", "survival_low", "survival_high"))
        )

    return recover


def _mean_until(law: stats.rv_continuous, limit: float, whole: float) -> float:
    """The mean of a duration rounded up to `whole` units and cut at `limit`."""
    if whole < 1e-3:
        return float(integrate.quad(law.sf, 0, limit)[0])
    return float(whole * law.sf(np.arange(0, limit, whole)).sum())


def mean_until(limit: float, law: stats.rv_continuous, people: int, *, follow_up: tuple[float, float]):
    """The restricted mean of one group."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        lives = _lives(random, law, people, replicates, follow_up, 1.0)
        steps = curves(lives.lazy(), by=("account_id",)).with_columns(pl.lit(limit).alias("limit"))
        got = restricted_means(steps, by=("account_id",)).sort("account_id").collect()
        return Recovered(
            _mean_until(law, limit, 1.0), *(numbers(got[name]) for name in ("rmst", "rmst_low", "rmst_high"))
        )

    return recover


def difference(
    a: stats.rv_continuous, b: stats.rv_continuous, people: tuple[int, int], *, follow_up: tuple[float, float]
):
    """The difference of the restricted means of two arms, up to the lapse threshold (60 days) and 180 days."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        lives = pl.concat(
            _lives(random, law, n, replicates, follow_up, 1.0).with_columns(pl.lit(arm).alias("arm"))
            for arm, law, n in zip("ab", (a, b), people, strict=True)
        ).with_columns(pl.lit("spike vs steady").alias("comparison"), pl.lit(60).alias("lapse_days"))
        got = _rmst_differences(lives.lazy()).sort("account_id").collect()
        middle, half = numbers(got["rmst_difference_days"]), Z95 * numbers(got["rmst_error"])
        truth = _mean_until(a, 60 + RMST_DAYS, 1.0) - _mean_until(b, 60 + RMST_DAYS, 1.0)
        return Recovered(truth, middle, middle - half, middle + half)

    return recover


def shares(people: tuple[int, int], chances: tuple[float, float]):
    """The difference of two shares of people who came back."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        back = [random.binomial(n, chance, replicates) for n, chance in zip(people, chances, strict=True)]
        frame = pl.DataFrame({"a": back[0], "m": people[0], "b": back[1], "n": people[1]})
        got = frame.select(x.alias(str(i)) for i, x in enumerate(newcombe(*(pl.col(name) for name in "ambn"))))
        return Recovered(chances[0] - chances[1], *(numbers(got[str(i)]) for i in range(3)))

    return recover


COMMUNITY = {"alpha": 0.6, "beta": 2.4, "gamma": 0.5, "delta": 4.5}
"""Many who come once and few who come often: the chances to come and to leave of a community, as Beta distributions."""


@cache
def _fits(people: int, weeks: int, replicates: int) -> list[BetaGeometricBetaBinomial]:
    """Fits to people who were first there at some time in so many weeks; kept, for all quantities ask the same."""
    random = np.random.default_rng([people, weeks])
    fits = []
    for _ in range(replicates):
        lives = simulate.weekly_lives(random, **COMMUNITY, seen=random.integers(1, weeks + 1, people))
        fits.append(fit_bgbb(lives.repeat, lives.last, lives.seen))
    return fits


def of_history(
    quantity: str, history: tuple[int, int, int], *, people: int, weeks: int, horizon: int = 13
) -> Callable[[np.random.Generator, int], Recovered]:
    """A quantity of people of one history (x, t_x, n), from a fit to a community."""
    truth = simulate.weekly_truth(*history, horizon=horizon, **COMMUNITY)[quantity]

    def ask(model: BetaGeometricBetaBinomial) -> tuple[float, float, float]:
        if quantity == "p_alive":
            found = (model.p_alive(*history), *model.p_alive_interval(*history))
        elif quantity == "expected":
            found = (model.expected(horizon, *history), *model.expected_interval(horizon, *history))
        else:
            low, high = model.p_silent_interval(*history, horizon)
            found = (1 - model.p_silent(*history, horizon), 1 - high, 1 - low)
        middle, low, high = (float(np.asarray(value)) for value in found)
        return middle, low, high

    def recover(_: np.random.Generator, replicates: int) -> Recovered:
        return Recovered(truth, *np.array([ask(model) for model in _fits(people, weeks, replicates)]).T)

    return recover


def parameter(name: str, *, people: int, weeks: int):
    """A parameter of the community, with the interval of `mart_retention_model`."""

    def recover(_: np.random.Generator, replicates: int) -> Recovered:
        rows = [row_of_fit(model) for model in _fits(people, weeks, replicates)]
        ends = (np.array([row.get(f"{name}{part}", np.nan) for row in rows]) for part in ("", "_low", "_high"))
        return Recovered(COMMUNITY[name], *ends)

    return recover


def earning_value(people: int, *, p: float, q: float, v: float, times: float = 2):
    """The expected payment of a person: payments vary by Gamma(p), people by an inverse Gamma distribution."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        found = []
        for _ in range(replicates):
            number = 1 + random.poisson(times, people)
            own = random.gamma(q, 1 / v, people)
            fit = gamma_gamma.fit(number, random.gamma(p * number) / own / number)
            found.append((fit.mean, *fit.mean_interval))
        return Recovered(p * v / (q - 1), *np.array(found).T)

    return recover


FEW_PEOPLE = (
    "of 300 people over 40 weeks, those who never came back tell little of when they left, and the interval by the delta "
    "method (which takes the likelihood as quadratic) is about a twelfth too narrow; with 2,000 people it holds."
)
_EXP, _WEIBULL = stats.expon(scale=100), stats.weibull_min(0.6, scale=90)
_LONG = (250.0, 900.0)

SCENARIOS = (
    Scenario("retained_rate", "12 people, any chance", returning(12, None)),
    Scenario("retained_rate", "60 people, chance .35", returning(60, 0.35), 1000),
    Scenario("retained_rate", "200 people, chance .03", returning(200, 0.03), 600),
    Scenario("retained_or_later_rate", "40 people, chance .2", returning(40, 0.2, period=2, name="retained_or_later_rate")),
    Scenario("survival", "at half, 40 people, a third censored", curve_at(70, _EXP, 40, follow_up=(20, 300))),
    Scenario("survival", "at .37, 20 people", curve_at(100, _EXP, 20, follow_up=(60, 400))),
    Scenario("survival", "at .85, 60 people, early losses", curve_at(4.4, _WEIBULL, 60, follow_up=(2, 400))),
    Scenario("survival", "at .5, 60 people, whole fortnights", curve_at(70, _EXP, 60, follow_up=(20, 300), whole=14)),
    Scenario("survival", "at .11, 150 people, most censored before", curve_at(220, _EXP, 150, follow_up=(5, 320))),
    Scenario("rmst", "60 people, 180 days", mean_until(180.0, _EXP, 60, follow_up=_LONG)),
    Scenario("rmst", "25 people, many early losses", mean_until(240.0, _WEIBULL, 25, follow_up=_LONG)),
    Scenario("rmst_difference_days", "30 and 30 people", difference(_WEIBULL, _EXP, (30, 30), follow_up=_LONG)),
    Scenario("rmst_difference_days", "40 and 300 people", difference(stats.expon(scale=50), _EXP, (40, 300), follow_up=_LONG), 1000),
    Scenario("rmst_difference_days", "no difference, 80 and 80, staggered", difference(_EXP, _EXP, (80, 80), follow_up=(100, 900)), 1000),
    Scenario("retained_8w_difference", "30 and 30 people", shares((30, 30), (0.15, 0.4)), 4000),
    Scenario("retained_8w_difference", "40 and 400 people", shares((40, 400), (0.1, 0.3)), 4000),
    Scenario("retained_8w_difference", "300 and 300, rare", shares((300, 300), (0.03, 0.05)), 4000),
    *(
        Scenario(
            name, f"{people} people, {weeks} weeks: {told}",
            of_history(quantity, history, people=people, weeks=weeks, horizon=horizon), 1000,
            outside=FEW_PEOPLE if (people, told) == (300, "0 of 6") else "",
        )
        for people, weeks in ((300, 40), (2000, 26))
        for name, quantity, told, history, horizon in (
            ("bgbb expected", "expected", "a new person, 13 weeks", (0, 0, 0), 13),
            ("bgbb expected", "expected", "6 of 20, last in 19; 13 weeks", (6, 19, 20), 13),
            ("p_alive", "p_alive", "0 of 6", (0, 0, 6), 4),
            ("p_alive", "p_alive", "4 of 12, last in 10", (4, 10, 12), 4),
            ("p_active_4w", "p_active", "2 of 8, last in 7", (2, 7, 8), 4),
            ("p_active_13w", "p_active", "0 of 4", (0, 0, 4), 13),
        )
    ),
    *(
        Scenario(f"bgbb {name}", f"{people} people, {weeks} weeks", parameter(name, people=people, weeks=weeks), 1000)
        for people, weeks in ((2000, 26),)
        for name in COMMUNITY
    ),
    Scenario("earning_value", "150 people who paid 3 times on average", earning_value(150, p=6, q=4, v=15), 400),
    Scenario("earning_value", "400 people who paid 3 times on average", earning_value(400, p=6, q=4, v=15), 400),
)  # fmt: skip
