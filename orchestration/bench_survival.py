"""How fast are Kaplan-Meier curves of many accounts at once, and how fast is the peer, in the same run?"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.metrics.survival import curves

ACCOUNTS = 10_000
PEOPLE = 100
PEER_ACCOUNTS = 200
"""lifelines fits one account at a time: so many are measured, and the time is scaled to all."""
REPETITIONS = 3


@dataclass(frozen=True)
class KaplanMeierBench:
    """Seconds for the curves, errors and intervals of `accounts` x `people`; the best of several runs.

    `peer_seconds` are those of lifelines, measured on `peer_accounts` and scaled; null where it is not installed.
    """

    accounts: int
    people: int
    seconds: float
    peer_seconds: float | None
    peer_accounts: int

    @property
    def peer_text(self) -> str:
        """The peer's time and scale, or why there is none."""
        if self.peer_seconds is None:
            return "lifelines is not installed"
        return f"lifelines {self.peer_seconds:,.0f} s, scaled from {self.peer_accounts:,} accounts"


def km_bench(
    *, accounts: int = ACCOUNTS, people: int = PEOPLE, peer_accounts: int = PEER_ACCOUNTS, seed: int = 1
) -> KaplanMeierBench:
    """Measure both on the same made-up lives: whole days up to two years, two fifths of them censored."""
    lives = lifetimes(accounts=accounts, people=people, seed=seed)
    seconds = min(_ours(lives) for _ in range(REPETITIONS))
    sample = lives.filter(pl.col("account_id") < peer_accounts)
    peer = _peer(sample)
    scaled = None if peer is None else peer * accounts / min(peer_accounts, accounts)
    return KaplanMeierBench(accounts, people, seconds, scaled, min(peer_accounts, accounts))


def lifetimes(*, accounts: int, people: int, seed: int) -> pl.DataFrame:
    """Lives of people of accounts: `account_id, duration, is_observed`; the same for the same seed."""
    random = np.random.default_rng(seed)
    life = np.ceil(random.exponential(300, accounts * people))
    until = random.integers(1, 730, accounts * people)
    return pl.DataFrame(
        {
            "account_id": np.repeat(np.arange(accounts), people),
            "duration": np.minimum(life, until).astype(np.int64),
            "is_observed": life <= until,
        }
    )


def _ours(lives: pl.DataFrame) -> float:
    started = time.perf_counter()
    curves(lives.lazy(), by=("account_id",)).collect()
    return time.perf_counter() - started


def _peer(lives: pl.DataFrame) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas options that lifelines still sets
        try:
            from lifelines import KaplanMeierFitter  # type: ignore[import-untyped]
        except ImportError:
            return None
        parts = [
            (part["duration"].to_numpy(), part["is_observed"].to_numpy())
            for part in lives.partition_by("account_id", maintain_order=True)
        ]
        fitter = KaplanMeierFitter()
        started = time.perf_counter()
        for durations, observed in parts:
            fitter.fit(durations, observed)
        return time.perf_counter() - started
