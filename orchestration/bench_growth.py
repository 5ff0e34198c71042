"""How tables grow with the interactions: the model of activity simulated in NumPy, and a plan for any size on paper.

`simulate` draws people one by one from the numbers of `bench_facts.Activity` and counts what folds would hold of them. It
shares no code with the facts that are made up in SQL nor with the folds: where its prediction meets what was measured at 1 and 10 million
interactions, it is to be believed at 100 billion. `plan` multiplies it with what a run measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestration.bench_facts import ACTIVITY, KINDS, WEEKS, Activity, Size

SAMPLE = 30_000
"""People that are drawn; more change the prediction by less than a percent."""
COMPOSED = ("reply", "mention", "quote", "message")
OUTBOUND, UNSAID, UNKNOWN, TAKEN_BACK, UNFOLLOWED, EARLIER_POST = 0.08, 0.02, 0.5, 0.01, 0.1, 0.3
"""Shares of `bench_facts`: outbound rows, rows without a time, those of them whose time stays unknown, ..."""
WEEK_DAYS = 7
NIGHT_HOURS = 4.0
"""Within which a night has to be done."""


def simulate(
    size: Size, *, people: int = SAMPLE, weeks: int = WEEKS, seed: int = 1, activity: Activity = ACTIVITY
) -> dict[str, float]:
    """The rows of each fold, of `mart_relationship`, and the groups of the limit pass, predicted for that size.

    People are drawn and counted one by one, then scaled to `size.people`; the same for the same seed.
    """
    random = np.random.default_rng(seed)
    (low, more, power), (gone, sooner, bend) = activity.weekly, activity.leaving
    is_spike = random.random(people) < activity.spike_share
    birth = np.floor(
        weeks * np.where(is_spike, random.random(people), random.random(people) ** activity.arrival)
    ).astype(int)
    weekly, leaving = low + more * random.random(people) ** power, gone + sooner * random.random(people) ** bend
    until = birth + np.minimum(np.floor(np.log(random.random(people)) / np.log1p(-leaving)), weeks - 1 - birth)
    calendar = np.arange(weeks)
    comes = (
        (calendar >= birth[:, None]) & (calendar <= until[:, None]) & (random.random((people, weeks)) < weekly[:, None])
    )
    comes[np.arange(people), birth] = True
    person, week = np.nonzero(comes)
    visits = comes.sum(axis=1)
    weight = visits * np.minimum(activity.heaviest, random.random(people) ** -activity.tail)
    rest = size.rows / size.people - visits.mean()
    share = rest * weight / weight.mean() / visits
    done = 1 + np.floor(share[person] + random.random(len(person))).astype(int)

    visit = np.repeat(np.arange(len(person)), done)
    order = np.arange(len(visit)) - np.repeat(np.cumsum(done) - done, done)
    # A sitting is up to three things on one day of the week.
    _, sitting = np.unique(visit * 10_000 + order // activity.sitting, return_inverse=True)
    day_of = np.floor(WEEK_DAYS * random.random(sitting.max() + 1))
    who, day = person[visit], week[visit] * WEEK_DAYS + day_of[sitting]
    return {
        name: float(count) * size.people / people for name, count in _counts(who, day, weeks, people, random).items()
    }


def _counts(
    who: NDArray[Any], day: NDArray[Any], weeks: int, people: int, random: np.random.Generator
) -> dict[str, int]:
    """What folds would hold of things that people did on days."""
    things = len(who)
    kind = np.searchsorted([upto for _, upto in KINDS], random.random(things), side="right")
    names = np.array([name for name, _ in KINDS])[kind]
    is_follow, is_outbound = names == "follow", random.random(things) < OUTBOUND
    is_unknown = random.random(things) < UNSAID * (1 - UNKNOWN)
    is_taken_back = random.random(things) < np.where(is_follow, UNFOLLOWED, TAKEN_BACK)
    is_visible = ~is_taken_back
    is_log = is_taken_back & is_follow & ~is_outbound
    ended = day + 100 * random.random(things)
    days = np.concatenate(
        [_pair(who, day)[is_visible | is_log], _pair(who, ended)[is_log & (ended < weeks * WEEK_DAYS)]]
    )
    is_composed = np.isin(names, COMPOSED)
    gap = 1 + 13 * random.random(people)
    shift = 0.3 * random.random(things)  # a post is published in the first third of its gap
    moment = (day + random.random(things)) / gap[who]
    post = np.floor(moment - 0.3) - (random.random(things) < EARLIER_POST)
    age = (moment - post - shift) * gap[who]
    valued = is_visible & ~is_outbound & ~is_follow & (post >= 0) & (age < WEEK_DAYS)
    contact = is_visible & ~is_outbound & ~is_follow & ~is_unknown
    return {
        "groups": len(np.unique(_pair(who, day // WEEK_DAYS))),
        "fold_relationship_day": len(np.unique(days)),
        "fold_post_value": len(np.unique(_pair(who, post)[valued])),
        "fold_response": int((is_visible & is_composed & ~is_unknown).sum()),
        "mart_relationship": len(np.unique(who[contact])),
    }


def _pair(who: NDArray[Any], number: NDArray[Any]) -> NDArray[Any]:
    return who.astype(np.int64) * 100_000 + number.astype(np.int64)


@dataclass(frozen=True)
class Plan:
    """What a size takes, on paper: rows, bytes, and the cores of a night."""

    rows: int
    fold_rows: float
    stored_bytes: float
    """Facts, folds and what is put beside them for one night."""
    shuffled_bytes: float
    """What the first night sends between machines: rows of facts to the bucket of their account and month, once."""
    recomputed_rows: float
    """Facts that a night reads again: the months that it touches."""
    first_core_seconds: float
    nightly_core_seconds: float

    @property
    def cores(self) -> float:
        """Cores that do a night's work in `NIGHT_HOURS`."""
        return self.nightly_core_seconds / (NIGHT_HOURS * 3_600)


def plan(rows: int, measured: Mapping[str, float], *, new_share: float = 0.001, months: float = 2.0) -> Plan:
    """A plan for that many interactions of the same three years, from what one run measured of smaller ones.

    `measured`: `fact_bytes, fold_bytes` per row, `fold_core_seconds, mart_core_seconds` per million
    interactions. Accounts and people grow with the rows, an account keeps its size, so that costs are linear. `months` is how
    many of the 36 a night touches: the running one, and the one before by late rows.
    """
    folds = simulate(Size(rows))
    millions, touched = rows / 1e6, months / 36
    fold_rows = sum(count for name, count in folds.items() if name.startswith("fold_"))
    derived = millions * (measured["fold_core_seconds"] * touched + measured["mart_core_seconds"])
    return Plan(
        rows=rows,
        fold_rows=fold_rows,
        stored_bytes=rows * measured["fact_bytes"] + fold_rows * measured["fold_bytes"],
        shuffled_bytes=rows * measured["fact_bytes"],
        recomputed_rows=rows * touched + rows * new_share,
        first_core_seconds=millions * (measured["fold_core_seconds"] + measured["mart_core_seconds"]),
        nightly_core_seconds=derived,
    )
