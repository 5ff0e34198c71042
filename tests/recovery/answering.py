"""Scenarios of listening: people write, the account answers or not; through `mart_listening`, a replicate an account."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from scipy import stats

from assets.metrics.availability import listening
from tests.recovery import simulate
from tests.recovery.estimators import Floats, Recovered, Scenario, numbers

AS_OF = date(2024, 6, 30)
END = datetime(2024, 7, 1, tzinfo=UTC)
WINDOW = 364
HOUR_US = 3_600_000_000
Hours = Callable[[np.random.Generator], Callable[[tuple[int, ...]], Floats]]


def _mart(written: pl.DataFrame, replicates: int) -> pl.DataFrame:
    """`mart_listening` of the accounts, in the order of their numbers."""
    accounts = pl.LazyFrame({"account_id": [str(i) for i in range(replicates)]})
    covered = pl.concat(
        accounts.with_columns(
            pl.lit("x").alias("platform"), pl.lit(stream).alias("stream"), pl.lit(date(2021, 1, 1)).alias("from_date"),
            pl.lit(AS_OF).alias("to_date"), pl.lit("ok").alias("status"),
        )
        for stream in ("posts", "inbound", "outbound")
    )  # fmt: skip
    people = written.lazy().select(
        "identity_id", pl.col("identity_id").alias("person_id"), pl.lit(value=False).alias("is_bot")
    )
    no_posts = pl.LazyFrame(
        schema={
            "post_id": pl.String, "account_id": pl.String, "platform": pl.String, "observed_at": pl.Datetime("us", "UTC"),
            "published_at": pl.Datetime("us", "UTC"), "deleted_at": pl.Datetime("us", "UTC"),
        }
    )  # fmt: skip
    settings = accounts.with_columns(pl.lit("UTC").alias("timezone"), pl.lit(7.0).alias("promise_days"))
    got = listening(written.lazy(), people.unique(), no_posts, settings, covered, as_of=AS_OF).collect()
    return got.filter(pl.col("platform") == "x").sort(pl.col("account_id").cast(pl.Int64))


def _written(account: np.ndarray, person: np.ndarray, direction: str, hours_before_end: np.ndarray) -> pl.DataFrame:
    moments = np.datetime64(END.replace(tzinfo=None), "us") - (hours_before_end * HOUR_US).astype("timedelta64[us]")
    at = pl.Series("active_at", moments).dt.replace_time_zone("UTC")
    names = [f"{a}/{p}" for a, p in zip(account.tolist(), person.tolist(), strict=True)]
    return pl.DataFrame(
        {"account_id": account.astype(str), "identity_id": names, "active_at": at, "messages": 1}
    ).with_columns(pl.lit("x").alias("platform"), pl.lit(direction).alias("direction"))


def _asked(random: np.random.Generator, wait: Floats, *, days: float = WINDOW, each: int = 1) -> pl.DataFrame:
    """Accounts (rows) with opportunities (columns) that are answered after `wait` hours; `each` of one person.

    Openings lie anywhere in the last `days`, those of one person in turn, at least 15 days apart.
    """
    replicates, n = wait.shape
    if each == 1:
        opened = random.random((replicates, n)) * days * 24
    else:
        slot = days * 24 / each
        opened = (np.arange(n) % each)[None, :] * slot + random.random((replicates, n)) * (slot - 15 * 24)
    account = np.repeat(np.arange(replicates), n)
    person = np.tile(np.arange(n) // each, replicates)
    opened, wait = opened.ravel(), wait.ravel()
    inbound = _written(account, person, "inbound", opened)
    seen = np.isfinite(wait) & (wait < opened)
    outbound = _written(account[seen], person[seen], "outbound", (opened - np.where(seen, wait, 0))[seen])
    # Two answers of one moment would be one row of the fold.
    return pl.concat([inbound, outbound]).unique(["account_id", "identity_id", "direction", "active_at"])


def _measure(name: str, wait: Callable[[np.random.Generator, int], Floats], truth: float, **asked: float):
    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        got = _mart(_asked(random, wait(random, replicates), **asked), replicates)  # type: ignore[arg-type]
        return Recovered(truth, *(numbers(got[f"{name}{part}"]) for part in ("", "_low", "_high")))

    return recover


def lognormal(n: int, *, median: float, sigma: float, answered: float = 1.0):
    """Answers after log-normal hours, to that share of those who write."""

    def wait(random: np.random.Generator, replicates: int) -> Floats:
        return simulate.answers(
            random, lambda size: median * np.exp(sigma * random.normal(size=size)), answered, (replicates, n)
        )

    return wait


def days_later(n: int, *, chance: float):
    """Answers the next day with that chance, or the day after, and so on: whole days only, so ties abound."""

    def wait(random: np.random.Generator, replicates: int) -> Floats:
        return 24.0 * random.geometric(chance, (replicates, n))

    return wait


def favourites(n: int, *, each: int, concentration: float, share: float):
    """Each person is answered at a rate of their own (Beta); each writes several times."""

    def wait(random: np.random.Generator, replicates: int) -> Floats:
        own = random.beta(share * concentration, (1 - share) * concentration, (replicates, n // each))
        return np.where(random.random((replicates, n)) < np.repeat(own, each, axis=1), 2.0, np.inf)

    return wait


def _within(hours: float, *, median: float, sigma: float, answered: float) -> float:
    return answered * float(stats.norm.cdf(np.log(hours / median) / sigma))


def _seconds(share: float, *, median: float, sigma: float, answered: float = 1.0) -> float:
    return 3600 * median * float(np.exp(sigma * stats.norm.ppf(share / answered)))


def any_rate(n: int):
    """Each account answers within two hours or never, at a rate of its own: any between 0 and 1."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        own = random.random(replicates)
        wait = simulate.answers(random, lambda size: np.full(size, 2.0), own[:, None], (replicates, n))
        got = _mart(_asked(random, wait), replicates)
        return Recovered(own, *(numbers(got[f"response_rate_24h{part}"]) for part in ("", "_low", "_high")))

    return recover


def answering_days(random: np.random.Generator, replicates: int) -> Recovered:
    """Each day at noon, with chance .12, something is written to somebody."""
    days, chance, promise = 364 + 700, 0.12, 7
    account, day = np.nonzero(random.random((replicates, days)) < chance)
    written = _written(account, np.zeros_like(account), "outbound", (days - day) * 24.0 - 12)
    got = _mart(written, replicates)
    # Gaps are whole days, so age runs on from each: P(gap > u) = (1 - chance) ** floor(u).
    truth = simulate.promise_kept(lambda u: (1 - chance) ** np.floor(u), 1 / chance, promise=promise)
    return Recovered(truth, *(numbers(got[f"listening_steadiness{part}"]) for part in ("", "_low", "_high")))


_USUAL = {"median": 6.0, "sigma": 1.5, "answered": 0.8}
_SLOW = {"median": 40.0, "sigma": 1.2, "answered": 0.6}

SCENARIOS = (
    Scenario("response_rate_24h", "15 opportunities, any rate", any_rate(15), 1500),
    Scenario(
        "response_rate_24h", "150 opportunities",
        _measure("response_rate_24h", lognormal(150, **_USUAL), _within(24, **_USUAL)), 1000,
    ),
    Scenario(
        "response_rate_7d", "40 opportunities of the last 30 days",
        _measure("response_rate_7d", lognormal(40, **_USUAL), _within(168, **_USUAL), days=30), 1500,
    ),
    Scenario(
        "response_rate_7d", "60 opportunities of 10 people, some of them favourites",
        _measure("response_rate_7d", favourites(60, each=6, concentration=3, share=0.6), 0.6, each=6), 1500,
        outside="answers to one person are alike here, and Wilson's interval takes opportunities as independent: with few people who write often, take it as a lower bound of the doubt.",
    ),
    Scenario(
        "response_time_median_seconds", "12 opportunities",
        _measure("response_time_median_seconds", lognormal(12, **_USUAL), _seconds(0.5, **_USUAL)), 2000,
    ),
    Scenario(
        "response_time_median_seconds", "80 opportunities, 80 % ever answered",
        _measure("response_time_median_seconds", lognormal(80, **_USUAL), _seconds(0.5, **_USUAL)), 1500,
    ),
    Scenario(
        "response_time_median_seconds", "60 opportunities of the last 6 days, many still open",
        _measure("response_time_median_seconds", lognormal(60, **_SLOW | {"answered": 0.9}), _seconds(0.5, **_SLOW | {"answered": 0.9}), days=6), 1500,
    ),
    Scenario(
        "response_time_median_seconds", "50 opportunities, answers after whole days",
        _measure("response_time_median_seconds", days_later(50, chance=0.2), 4 * 86_400.0), 1500,
    ),
    Scenario(
        "response_time_p90_seconds", "60 opportunities, all answered",
        _measure("response_time_p90_seconds", lognormal(60, median=5, sigma=1.3), _seconds(0.9, median=5, sigma=1.3)), 1500,
    ),
    Scenario(
        "response_time_p90_seconds", "200 opportunities, 95 % ever answered",
        _measure("response_time_p90_seconds", lognormal(200, median=5, sigma=1.0, answered=0.95), _seconds(0.9, median=5, sigma=1.0, answered=0.95)), 800,
    ),
    Scenario("listening_steadiness", "each day with chance .12", answering_days, 600),
)  # fmt: skip
