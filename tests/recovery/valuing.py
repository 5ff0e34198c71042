"""Scenarios of value: posts that differ, promotion that is worth less, posting more; a replicate is an account."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from assets.metrics.dilution import dilution
from assets.metrics.value import value
from tests.recovery import simulate
from tests.recovery.estimators import Floats, Recovered, Scenario, numbers

AS_OF = date(2024, 6, 30)
YEAR_START = datetime(2023, 8, 1, tzinfo=UTC)
Rates = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def _posts(replicates: int, n: int, **columns: Floats | np.ndarray) -> pl.DataFrame:
    """The columns of `mart_post_value` that averages read: `n` judged posts an account."""
    number = np.tile(np.arange(n), replicates)
    frame = pl.DataFrame(
        {"account_id": np.repeat(np.arange(replicates), n).astype(str), "number": number}
        | {name: np.asarray(values).ravel() for name, values in columns.items()}
    )
    return frame.with_columns(
        pl.lit("x").alias("platform"),
        pl.format("{}/{}", "account_id", "number").alias("post_id"),
        (pl.lit(YEAR_START) + pl.duration(hours=4 * pl.col("number"))).alias("published_at"),
        pl.lit(value=False).alias("is_pending"),
        pl.lit(None, pl.String).alias("interactions_7d_note"),
    )


def _mart(posts: pl.DataFrame, counters: pl.LazyFrame | None = None) -> pl.DataFrame:
    got = value(posts.lazy(), counters, as_of=AS_OF).collect()
    return got.filter(pl.col("platform") == "x").sort(pl.col("account_id").cast(pl.Int64))


def _recovered(got: pl.DataFrame, name: str, truth: float) -> Recovered:
    return Recovered(truth, *(numbers(got[f"{name}{part}"]) for part in ("", "_low", "_high")))


def gamma(shape: float, mean: float) -> tuple[Rates, float]:
    """Rates of posts by a Gamma distribution; and their mean."""
    return lambda random, size: simulate.gamma_rates(random, shape, mean, size), mean


def same(mean: float) -> tuple[Rates, float]:
    """Every post has the same rate."""
    return lambda _, size: np.full(size, mean), mean


def lognormal(sigma: float, mean: float) -> tuple[Rates, float]:
    """Rates with a heavy tail, now and then a post that goes round the world."""
    return lambda random, size: mean * np.exp(sigma * random.normal(size=size) - sigma**2 / 2), mean


def moods(mean: float, shape: float, length: int) -> tuple[Rates, float]:
    """Posts come in runs of `length` that share their rate."""

    def rates(random: np.random.Generator, size: tuple[int, ...]) -> Floats:
        return np.repeat(simulate.gamma_rates(random, shape, mean, (size[0], size[1] // length)), length, axis=1)

    return rates, mean


def mean_of(name: str, n: int, law: tuple[Rates, float]):
    """The mean of one of the measures over `n` posts of such rates."""
    rates, mean = law
    truth = mean * (simulate.VALUE_OF_REACTION if name == "value_per_post" else 1)

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        counts, worth = simulate.reactions(random, rates(random, (replicates, n)))
        got = _mart(
            _posts(replicates, n, interactions_7d=counts, people_7d=counts, value_7d=worth, is_promotional=counts < 0)
        )
        return _recovered(got, name, truth)

    return recover


def by_follower(n: int, shape: float, rate: float):
    """Interactions per follower, while followers grow from 100 to 400."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        followers = np.linspace(100, 400, n).astype(int)
        theta = simulate.gamma_rates(random, shape, rate, (replicates, n))
        counts, worth = simulate.reactions(random, theta * followers)
        posts = _posts(
            replicates, n, interactions_7d=counts, people_7d=counts, value_7d=worth, is_promotional=counts < 0
        )
        days = [YEAR_START + timedelta(hours=4 * k) for k in range(n)]
        one = (
            pl.DataFrame({"value": followers, "day": days})
            .group_by(pl.col("day").dt.date())
            .agg(pl.col("value").first())
        )
        # The mart takes the day's last count; the posts of a day must have had that many.
        on_day = dict(one.iter_rows())
        scale = np.array([on_day[day.date()] for day in days])
        counts, _ = simulate.reactions(random, theta * scale)
        posts = posts.with_columns(pl.Series("interactions_7d", counts.ravel()))
        accounts = pl.DataFrame({"account_id": [str(i) for i in range(replicates)]})
        counters = accounts.join(one, how="cross").select(
            "account_id", "value", pl.lit("x").alias("platform"), pl.lit("profile").alias("subject"),
            pl.lit("followers").alias("counter"), pl.col("day").cast(pl.Datetime("us", "UTC")).alias("observed_at"),
        )  # fmt: skip
        return _recovered(_mart(posts, counters.lazy()), "rate_shrunken", rate)

    return recover


def penalty(promotional: int, other: int, *, ratio: float, law: Callable[[float], tuple[Rates, float]], mean: float):
    """Promotional posts are worth `ratio` of the others."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        arms = [
            simulate.reactions(random, law(mean * share)[0](random, (replicates, n)))
            for n, share in ((promotional, ratio), (other, 1.0))
        ]
        counts, worth = (np.concatenate([arm[i] for arm in arms], axis=1) for i in (0, 1))
        is_promotional = np.tile(np.arange(promotional + other) < promotional, replicates)
        got = _mart(
            _posts(
                replicates, promotional + other, interactions_7d=counts, people_7d=counts, value_7d=worth,
                is_promotional=is_promotional,
            )
        )  # fmt: skip
        return _recovered(got, "promotion_penalty", ratio)

    return recover


def elasticity(epsilon: float, *, days: int, **panel: float):
    """Posts of accounts whose pace swings; attention per post follows pace to the power `epsilon`."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        parts = []
        first = AS_OF - timedelta(days=days - 1)
        calendar = (first + timedelta(days=k) for k in range(days))
        month = np.array([(day.year - first.year) * 12 + day.month - first.month for day in calendar])
        for replicate in range(replicates):
            drawn = simulate.panel(random, month, elasticity=epsilon, **panel)
            parts.append((np.full(len(drawn.day), replicate), drawn.day, drawn.interactions))
        account, day, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        start = np.datetime64(first, "us")
        frame = pl.DataFrame(
            {
                "account_id": account.astype(str),
                "post_id": np.arange(len(day)).astype(str),
                "published_at": start + (day * 86_400_000_000).astype("timedelta64[us]"),
                "interactions_7d": counts,
            }
        ).with_columns(pl.col("published_at").dt.replace_time_zone("UTC"))
        got = dilution(frame.lazy(), as_of=AS_OF).collect().sort(pl.col("account_id").cast(pl.Int64))
        return _recovered(got, "dilution_elasticity", epsilon)

    return recover


SCENARIOS = (
    Scenario("value_per_post", "60 posts that differ", mean_of("value_per_post", 60, gamma(2, 6))),
    Scenario("value_per_post", "12 posts that differ", mean_of("value_per_post", 12, gamma(2, 6))),
    Scenario("value_per_post", "30 posts, most of them get nothing", mean_of("value_per_post", 30, gamma(0.5, 1.5))),
    Scenario("value_per_post", "40 posts with a heavy tail", mean_of("value_per_post", 40, lognormal(1.0, 8))),
    Scenario("value_per_post", "4 posts that differ", mean_of("value_per_post", 4, gamma(2, 6))),
    Scenario("value_per_post", "60 posts in runs of 6 alike", mean_of("value_per_post", 60, moods(6, 2, 6)), outside="posts of a series share their fate here, and the interval takes posts as independent: with 10 series it rests on 10 observations, not 60."),
    Scenario("people_per_post", "60 posts that differ", mean_of("people_per_post", 60, gamma(2, 6))),
    Scenario("people_per_post", "20 posts with few people", mean_of("people_per_post", 20, gamma(1, 0.8))),
    Scenario("rate_shrunken", "200 posts that differ", mean_of("rate_shrunken", 200, gamma(1, 5)), 1000),
    Scenario("rate_shrunken", "30 posts that differ", mean_of("rate_shrunken", 30, gamma(1, 5))),
    Scenario("rate_shrunken", "10 posts that differ", mean_of("rate_shrunken", 10, gamma(1, 5))),
    Scenario("rate_shrunken", "25 posts that do not differ", mean_of("rate_shrunken", 25, same(0.6))),
    Scenario("rate_shrunken", "25 posts that hardly differ", mean_of("rate_shrunken", 25, gamma(4, 1.0))),
    Scenario("rate_shrunken", "40 posts with a heavy tail (not Gamma)", mean_of("rate_shrunken", 40, lognormal(1.0, 8))),
    Scenario("rate_shrunken", "80 posts, per follower", by_follower(80, 2, 0.02), 1000),
    Scenario("promotion_penalty", "40 promotional, 150 others", penalty(40, 150, ratio=0.5, law=lambda m: gamma(2, m), mean=6), 800),
    Scenario("promotion_penalty", "12 promotional, 60 others", penalty(12, 60, ratio=0.4, law=lambda m: gamma(2, m), mean=6), 1000),
    Scenario("promotion_penalty", "10 promotional, 10 others, few reactions", penalty(10, 10, ratio=0.5, law=lambda m: gamma(1, m), mean=3), 1000),
    Scenario("promotion_penalty", "15 promotional, 40 others, heavy tail", penalty(15, 40, ratio=0.6, law=lambda m: lognormal(1.0, m), mean=8), 1000),
    Scenario("promotion_penalty", "no difference: 20 and 20", penalty(20, 20, ratio=1.0, law=lambda m: gamma(2, m), mean=6), 1000),
    Scenario("dilution_elasticity", "two years, a post a day", elasticity(-0.6, days=730, per_day=1, swing=0.8, mean=6, shape=1.5), 400),
    Scenario("dilution_elasticity", "8 months, two posts a day", elasticity(-1.0, days=240, per_day=2, swing=0.8, mean=6, shape=1.5), 400),
    Scenario("dilution_elasticity", "two years, shocks that a week shares", elasticity(0.0, days=730, per_day=1, swing=0.8, mean=6, shape=1.5, burst=0.4), 400),
    Scenario("dilution_elasticity", "three years, few reactions", elasticity(-0.4, days=1095, per_day=0.4, swing=0.9, mean=0.8, shape=0.8), 400),
)  # fmt: skip
