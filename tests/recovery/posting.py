"""Scenarios of steadiness: accounts that post by a rhythm known in full, each replicate an account of one frame."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from scipy import stats

from assets.metrics import cadence
from tests.recovery import simulate
from tests.recovery.estimators import Floats, Recovered, Scenario, numbers

AS_OF = date(2024, 6, 30)
WINDOW = 364
PROMISE = 7.0
BEFORE = 700
"""Days of posting before the window, so that it starts anywhere within a gap."""


def _steadiness(frame: pl.DataFrame, truth: float, **more: object) -> Recovered:
    got = cadence.steadiness(frame, as_of=AS_OF, promise_days=PROMISE, **more)  # type: ignore[arg-type]
    return Recovered(truth, *(numbers(got[f"steadiness{part}"]) for part in ("", "_low", "_high")))


def _frame(events: simulate.Events, *, days: float) -> pl.DataFrame:
    start = datetime.combine(AS_OF + timedelta(days=1), datetime.min.time()) - timedelta(days=days)
    moments = np.datetime64(start, "us") + (events.at * 86_400_000_000).astype("timedelta64[us]")
    return pl.DataFrame({"account_id": events.replicate.astype(str), "published_at": moments})


def gaps(
    distribution: stats.rv_continuous, *, promise: float = PROMISE
) -> Callable[[np.random.Generator, int], Recovered]:
    """Independent gaps of that distribution (days), seen in the last 364 days of a long history."""

    def recover(random: np.random.Generator, replicates: int) -> Recovered:
        most = int(2.5 * (BEFORE + WINDOW) / distribution.mean()) + 60
        events = simulate.renewal(
            lambda size: distribution.rvs(size=size, random_state=random),
            replicates=replicates, days=BEFORE + WINDOW, most=most,
        )  # fmt: skip
        truth = simulate.promise_kept(distribution.sf, distribution.mean(), promise=promise)
        return _steadiness(_frame(events, days=BEFORE + WINDOW), truth)

    return recover


def bursts(random: np.random.Generator, replicates: int) -> Recovered:
    """Gaps of half a day, but after every tenth post or so one of about 25 days."""

    def draw(size: tuple[int, ...]) -> Floats:
        return np.where(random.random(size) < 0.1, random.gamma(4, 25 / 4, size), random.exponential(0.5, size))

    events = simulate.renewal(draw, replicates=replicates, days=BEFORE + WINDOW, most=1500)
    long = stats.gamma(4, scale=25 / 4)
    truth = simulate.promise_kept(
        lambda u: 0.1 * long.sf(u) + 0.9 * np.exp(-u / 0.5), 0.1 * 25 + 0.9 * 0.5, promise=PROMISE
    )
    return _steadiness(_frame(events, days=BEFORE + WINDOW), truth)


def first_days(random: np.random.Generator, replicates: int) -> Recovered:
    """An account's first 120 days, counted from its first post; by chance once a week."""
    days = 120.0
    later = simulate.renewal(lambda size: random.exponential(7.0, size), replicates=replicates, days=days, most=80)
    everyone = np.arange(replicates)
    events = simulate.Events(
        np.concatenate([everyone, later.replicate]), np.concatenate([np.zeros(replicates), later.at])
    )
    truth = simulate.promise_kept_since_first(7.0, promise=PROMISE, days=days)
    return _steadiness(_frame(events, days=days), truth)


def holes(random: np.random.Generator, replicates: int) -> Recovered:
    """By chance once in eight days, but a fortnight and a month were not collected: the clock pauses."""
    days = BEFORE + WINDOW
    events = simulate.renewal(lambda size: random.exponential(8.0, size), replicates=replicates, days=days, most=300)
    spans = [(AS_OF - timedelta(days=200), AS_OF - timedelta(days=187)), (AS_OF - timedelta(days=90), AS_OF - timedelta(days=61))]  # fmt: skip
    to_end = {edge: (AS_OF - edge).days + 1 for span in spans for edge in span}
    keep = np.ones(len(events.at), dtype=bool)
    for first, last in spans:
        keep &= ~((events.at >= days - to_end[first]) & (events.at < days - to_end[last] + 1))
    frame = _frame(simulate.Events(events.replicate[keep], events.at[keep]), days=days)
    accounts = frame["account_id"].unique()
    missing = pl.concat(
        pl.LazyFrame({"account_id": accounts}).with_columns(
            pl.lit("all").alias("platform"), pl.lit(first).alias("from_date"), pl.lit(last).alias("to_date")
        )
        for first, last in spans
    )
    truth = simulate.promise_kept(lambda u: np.exp(-u / 8.0), 8.0, promise=PROMISE)
    return _steadiness(frame, truth, missing=missing)


SCENARIOS = (
    Scenario("steadiness", "by chance, once a week", gaps(stats.expon(scale=7))),
    Scenario("steadiness", "by chance, every 4 days", gaps(stats.expon(scale=4))),
    Scenario("steadiness", "by chance, every 20 days", gaps(stats.expon(scale=20))),
    Scenario("steadiness", "fairly regular, every 8 days", gaps(stats.gamma(6, scale=8 / 6))),
    Scenario("steadiness", "heavy tail (log-normal), mean 9 days", gaps(stats.lognorm(1.0, scale=9 / np.exp(0.5)))),
    Scenario("steadiness", "bursts and silences of 25 days", bursts),
    Scenario("steadiness", "the first 120 days of an account", first_days),
    Scenario("steadiness", "44 days not collected", holes),
    Scenario("steadiness", "rare failures: a gap over 7 days once in 55", gaps(stats.expon(scale=1.75))),
)
