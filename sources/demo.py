"""A simulated community with planted truth, in the shape of activity files.

Seven accounts share one baseline and differ from it in one habit each; the people around them have
known lives. What was planted is written beside the activity, so that anybody can compare it with
what the marts find (`orchestration/demo.py` does). Nothing here reads the clock: the seed and
`as_of` decide every row. The names and texts are invented.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sources.demo_words import handle, text_of_post

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DAY = 86_400
PROMISE_DAYS = 7
"""The promise every account of the demo lives by: the default of rapport.toml."""

KINDS = ("like", "reply", "repost", "bookmark", "quote", "mention")
MIX = np.array([0.66, 0.14, 0.10, 0.04, 0.03, 0.03])
COMPOSED = np.array([kind in ("reply", "quote", "mention") for kind in KINDS])
USUAL_POSTS_28D = 10
"""Posts in 28 days of a baseline account: where attention per post is the baseline's."""


@dataclass(frozen=True, kw_only=True)
class Habit:
    """How an account behaves and what its people make of it. The defaults are the baseline."""

    account: str
    name: str = "keeps the weekly promise"
    posts_per_week: float = 2.5
    burst_days: int = 0
    silence_days: int = 0
    growth: float = 1.0
    has_sprints: bool = False
    elasticity: float = 0.0
    promotional_share: float = 0.0
    promotional_worth: float = 1.0
    answer_probability: float = 0.5
    answer_hours: float = 12.0
    spikes: tuple[float, ...] = ()
    arrivals_per_day: float = 1.1
    weekly_survival: float = 0.95
    weekly_survival_spike: float = 0.75
    reach: float = 0.4


HABITS = (
    Habit(account="steady"),
    Habit(account="bursty", name="bursts, then falls silent", posts_per_week=14, burst_days=12, silence_days=56),
    Habit(account="spike_chaser", name="chases spikes of new people", spikes=(0.42, 0.68)),
    Habit(
        account="over_poster",
        name="posts more and more for the same attention",
        growth=6,
        has_sprints=True,
        elasticity=-1,
    ),
    Habit(account="promoter", name="promotes itself", promotional_share=0.4, promotional_worth=0.35),
    Habit(account="listener", name="answers nearly everyone", answer_probability=0.95, answer_hours=2),
    Habit(account="deaf", name="never answers", answer_probability=0),
)


@dataclass(frozen=True)
class Community:
    """What `simulate` returns: two frames in the shape of activity files, and what was planted."""

    posts: pl.DataFrame
    interactions: pl.DataFrame
    truth: dict[str, Any]


@dataclass(frozen=True)
class _Posts:
    """One account's posts in the order of publishing; times in seconds since 1970."""

    published: Ints
    ids: npt.NDArray[np.str_]
    is_promotional: Flags
    worth: Floats


@dataclass(frozen=True)
class _Lives:
    """Spans in which a person cares: `person` may have a second one. Times in seconds."""

    person: Ints
    start: Ints
    end: Ints
    first_post: Ints
    is_spike_won: Flags
    is_return: Flags


def simulate(*, seed: int, as_of: date, days: int = 730, scale: float = 1.0) -> Community:
    """A community of seven accounts over the `days` that end with `as_of` (UTC).

    The same arguments give the same rows. `scale` multiplies the people, not the posts. Posts have
    `account, post, published_at, kind, language, words, links, url, text`; interactions `account,
    person, kind, occurred_at, direction, post, interaction, in_reply_to, retracted_at`. Nothing
    happens before its post or after `as_of`. Raises `ValueError` under 120 days (no room for the
    habits) and for a scale that is not positive.

    >>> community = simulate(seed=1, as_of=date(2026, 3, 31), days=200, scale=0.2)
    >>> sorted(community.truth["accounts"])
    ['bursty', 'deaf', 'listener', 'over_poster', 'promoter', 'spike_chaser', 'steady']
    """
    if days < 120:
        raise ValueError(f"days = {days}: the planted habits need at least 120 days")
    if scale <= 0:
        raise ValueError(f"scale = {scale}: must be positive")
    end = int(datetime.combine(as_of + timedelta(days=1), time(), UTC).timestamp())
    posts, interactions, accounts = [], [], {}
    for number, habit in enumerate(HABITS):
        rng = np.random.default_rng([seed, number])
        published = _publish(rng, habit, start=end - days * DAY, days=days)
        lives, spike_dates = _live(rng, habit, published, days=days, end=end, scale=scale)
        inbound = _react(rng, habit, published, lives, _handles(rng, number, lives), end=end)
        frame = pl.concat([inbound, _answer(rng, habit, inbound, end=end)])
        posts.append(_post_frame(rng, habit, published))
        interactions.append(frame)
        accounts[habit.account] = _truth(habit, published, lives, frame, spike_dates, end=end)
    return Community(
        posts=pl.concat(posts).sort("published_at", "account", "post"),
        interactions=pl.concat(interactions).sort("occurred_at", "account", "interaction"),
        truth={"seed": seed, "as_of": as_of.isoformat(), "days": days, "scale": scale, "accounts": accounts},
    )


def write(community: Community, folder: Path) -> tuple[Path, Path, Path]:
    """Write `posts.parquet`, `interactions.parquet` and `truth.json` into `folder`, and say where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    posts, interactions, truth = (folder / name for name in ("posts.parquet", "interactions.parquet", "truth.json"))
    community.posts.write_parquet(posts)
    community.interactions.write_parquet(interactions)
    truth.write_text(json.dumps(community.truth, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return posts, interactions, truth


def promise_kept_share(published: Ints, *, end: int, window_days: int = 364) -> float:
    """Share of the window's time in which followers found the weekly promise kept, by sampling every quarter-hour.

    Full credit until a post is 7 days old, none from 14 days on. The window ends with `end` and
    starts at the first post at the earliest. Planted truth for the exact integral of the marts.
    """
    start = max(end - window_days * DAY, int(published[0]))
    moments = np.arange(start, end, 900)
    age = (moments - published[np.searchsorted(published, moments, side="right") - 1]) / DAY
    return float(np.clip(2 - age / PROMISE_DAYS, 0, 1).mean())


def posts_before(published: Ints, *, days: int = 28) -> Ints:
    """For each post, how many others the account published in the `days` before it.

    >>> posts_before(np.array([0, 10 * DAY, 30 * DAY]))
    array([0, 1, 1])
    """
    return np.arange(len(published)) - np.searchsorted(published, published - days * DAY)


def _publish(rng: np.random.Generator, habit: Habit, *, start: int, days: int) -> _Posts:
    day = np.arange(days)
    # The first quarter is the baseline's, so that a growing audience is not mistaken for the habit.
    later = np.clip((day / days - 0.25) / 0.75, 0, 1)
    rate = habit.posts_per_week / 7 * (1 + (habit.growth - 1) * later)
    if habit.has_sprints:  # three busy weeks, five quiet ones: the volume changes within months, too
        rate *= np.where(later == 0, 1, np.where(day % 56 < 21, 1.75, 0.55))
    if habit.silence_days:
        rate *= day % (habit.burst_days + habit.silence_days) < habit.burst_days
    expected = np.concatenate(([0.0], rate.cumsum()))
    turns = np.arange(int(expected[-1])) + 0.5
    dates = np.interp(turns + rng.uniform(-0.3, 0.3, len(turns)), expected, np.arange(days + 1)).astype(np.int64)
    office_hours = (7 + 14 * rng.beta(2, 2, len(turns))) * 3600
    published = np.unique(start + dates * DAY + office_hours.astype(np.int64))
    # So many of every ten, in any order: the share holds in each month, not only in the long run.
    tens = rng.random((len(published) // 10 + 1, 10)).argsort(axis=1) < 10 * habit.promotional_share
    is_promotional = tens.reshape(-1)[: len(published)]
    worth = np.where(is_promotional, habit.promotional_worth, 1.0)
    return _Posts(published, _snowflakes(published), is_promotional, worth)


def _live(
    rng: np.random.Generator, habit: Habit, posts: _Posts, *, days: int, end: int, scale: float
) -> tuple[_Lives, list[date]]:
    published, start = posts.published, end - days * DAY
    counts = rng.poisson(habit.arrivals_per_day * scale, days)
    arrival = start + np.repeat(np.arange(days), counts) * DAY + rng.integers(0, DAY, counts.sum())
    # Nobody knows a new account for four weeks: its audience and its volume do not grow at once.
    arrival = arrival[arrival > start + 28 * DAY]
    post = np.searchsorted(published, arrival) - 1  # the last one strictly before
    # People come through posts: who arrives in a silence, or on an advertisement, may find nothing and is gone.
    fresh = (post >= 0) & (arrival - published[post] < 4 * DAY) & (rng.random(len(post)) < posts.worth[post])
    arrivals, origins, won, dates = [arrival[fresh]], [post[fresh]], [np.zeros(fresh.sum(), bool)], []
    for moment in habit.spikes:
        viral = int(np.searchsorted(published, start + int(moment * days) * DAY))
        midnight = published[viral] // DAY * DAY
        for age, size in enumerate((90, 50, 25, 12, 6)):
            since = max(midnight + age * DAY, published[viral] + 1)
            many = rng.poisson(size * scale)
            arrivals.append(rng.integers(since, midnight + (age + 1) * DAY, many))
            origins.append(np.full(many, viral))
            won.append(np.ones(many, bool))
        dates.append(datetime.fromtimestamp(int(midnight), UTC).date())
    first, origin, is_spike_won = np.concatenate(arrivals), np.concatenate(origins), np.concatenate(won)
    survival = np.where(is_spike_won, habit.weekly_survival_spike, habit.weekly_survival)
    last = first + rng.geometric(1 - survival) * 7 * DAY
    again, at, through = _returns(rng, published, np.where(is_spike_won, end, last), end=end)
    people = np.arange(len(first))
    return _Lives(
        person=np.concatenate((people, people[again])),
        start=np.concatenate((first, at)),
        end=np.concatenate((last, at + 56 * DAY)),
        first_post=np.concatenate((origin, through)),
        is_spike_won=np.concatenate((is_spike_won, is_spike_won[again])),
        is_return=np.concatenate((np.zeros(len(first), bool), np.ones(len(again), bool))),
    ), dates


def _returns(rng: np.random.Generator, published: Ints, gone: Ints, *, end: int) -> tuple[Ints, Ints, Ints]:
    """A handful of people who come back, long after they were lost: who, when, through which post."""
    able = np.flatnonzero(gone + 180 * DAY < published[-1])
    chosen = rng.choice(able, size=min(5, len(able)), replace=False)
    through = np.searchsorted(published, gone[chosen] + rng.integers(130 * DAY, 180 * DAY, len(chosen)))
    at = published[through] + 3600
    inside = at < end
    return chosen[inside], at[inside], through[inside]


def _react(
    rng: np.random.Generator, habit: Habit, posts: _Posts, lives: _Lives, handles: npt.NDArray[np.str_], *, end: int
) -> pl.DataFrame:
    """Everything inbound: what brought people, what they did while they cared, follows, own replies."""
    published = posts.published
    low = np.searchsorted(published, lives.start, side="right")
    seen = np.maximum(np.searchsorted(published, lives.end) - low, 0)
    life = np.repeat(np.arange(len(seen)), seen)
    post = np.arange(seen.sum()) - np.repeat(seen.cumsum() - seen, seen) + low[life]
    # A week is good or not for a person; in a good one, each post reaches them with the same chance.
    rhythm = rng.beta(2, 2, len(lives.start))
    weeks, of_week = np.unique(np.stack((life, published[post] // (7 * DAY))), axis=1, return_inverse=True)
    is_good = rng.random(weeks.shape[1]) < rhythm[weeks[0]]
    hit = is_good[of_week.reshape(-1)] & (rng.random(len(post)) < _reach(habit, posts)[post])
    delay = -20 * 3600 * np.log1p(-rng.random(hit.sum()) * -np.expm1(-6 * 24 / 20))  # within six days

    person = np.concatenate((lives.person, lives.person[life[hit]]))
    about = np.concatenate((lives.first_post, post[hit]))
    moment = np.concatenate((lives.start, published[post[hit]] + 60 + delay.astype(np.int64)))
    taste = rng.dirichlet(8 * MIX, len(handles)).cumsum(axis=1)
    kind = np.minimum((rng.random((len(person), 1)) > taste[person]).sum(axis=1), len(KINDS) - 1)
    is_loose = (kind == KINDS.index("mention")) & (rng.random(len(person)) < 0.5)
    withdrawn = moment + rng.exponential(3 * DAY, len(person)).astype(np.int64) + 60
    is_withdrawn = (kind == 0) & (rng.random(len(person)) < 0.01) & (withdrawn < end)
    is_withdrawn[: len(lives.start)] = False  # nobody's arrival is taken back: lives stay as planted

    own = np.sort(rng.choice(len(published), size=min(12, len(published)), replace=False))
    follower = np.flatnonzero(~lives.is_return & (rng.random(len(lives.start)) < 0.3))
    none = pl.lit(None, pl.String)
    reactions = pl.DataFrame(
        {
            "person": handles[person],
            "kind": np.array(KINDS)[kind],
            "second": moment,
            "post": pl.Series(posts.ids[about]).set(pl.Series(is_loose), None),
            "withdrawn": pl.Series(withdrawn).set(pl.Series(~is_withdrawn), None),
        }
    )
    follows = pl.DataFrame({"person": handles[lives.person[follower]], "second": lives.start[follower] + 300}).select(
        "person", pl.lit("follow").alias("kind"), "second", none.alias("post"), none.cast(pl.Int64).alias("withdrawn")
    )
    replies = pl.DataFrame(
        {"post": posts.ids[own], "second": published[own] + rng.integers(2 * 3600, 2 * DAY, len(own))}
    ).select(
        pl.lit(habit.account).alias("person"), pl.lit("reply").alias("kind"), "second", "post", none.cast(pl.Int64).alias("withdrawn")
    )  # fmt: skip
    rows = pl.concat([reactions, follows, replies]).filter(pl.col("second") < end)
    return _interaction_frame(rows.with_columns(none.alias("in_reply_to")), habit, "inbound")


def _reach(habit: Habit, posts: _Posts) -> Floats:
    crowding = (1 + posts_before(posts.published)) / (1 + USUAL_POSTS_28D)
    reach: Floats = np.minimum(habit.reach * crowding**habit.elasticity * posts.worth, 1)
    return reach


def _answer(rng: np.random.Generator, habit: Habit, inbound: pl.DataFrame, *, end: int) -> pl.DataFrame:
    """The account's replies to people who wrote: each at most one, hours later."""
    written = inbound.filter(pl.col("kind").is_in(["reply", "quote", "mention"]), pl.col("person") != habit.account)
    hours = np.minimum(habit.answer_hours * rng.lognormal(0, 0.8, written.height), 13 * 24)
    answered = rng.random(written.height) < habit.answer_probability
    rows = written.select(
        "person",
        pl.lit("reply").alias("kind"),
        (pl.col("occurred_at").dt.epoch("s") + pl.Series((hours * 3600).astype(np.int64) + 60)).alias("second"),
        "post",
        pl.lit(None, pl.Int64).alias("withdrawn"),
        pl.col("interaction").alias("in_reply_to"),
    ).filter(pl.Series(answered), pl.col("second") < end)
    return _interaction_frame(rows, habit, "outbound")


def _interaction_frame(rows: pl.DataFrame, habit: Habit, direction: str) -> pl.DataFrame:
    ids = _snowflakes(rows["second"].to_numpy(), offset=500_000 if direction == "outbound" else 0)
    return rows.select(
        pl.lit(habit.account).alias("account"),
        "person",
        "kind",
        _moment("second").alias("occurred_at"),
        pl.lit(direction).alias("direction"),
        "post",
        pl.Series("interaction", ids),
        "in_reply_to",
        _moment("withdrawn").alias("retracted_at"),
    )


def _moment(seconds: str) -> pl.Expr:
    return pl.from_epoch(seconds, "s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _snowflakes(seconds: Ints, *, offset: int = 0) -> npt.NDArray[np.str_]:
    """Ids as large servers give them: the time, then a running number that keeps them unique."""
    return ((seconds * 1000 << 20) + (np.arange(len(seconds)) + offset) % (1 << 20)).astype(np.str_)


def _post_frame(rng: np.random.Generator, habit: Habit, posts: _Posts) -> pl.DataFrame:
    texts = [text_of_post(rng, habit.account, is_promotional=bool(promotional)) for promotional in posts.is_promotional]
    return pl.DataFrame(
        {
            "account": [habit.account] * len(texts),
            "post": posts.ids,
            "second": posts.published,
            "kind": rng.choice(["note", "article"], len(texts), p=[0.8, 0.2]),
            "language": ["en"] * len(texts),
            "words": [len(text.split()) for text in texts],
            "links": [text.count("https://") for text in texts],
            "url": [f"https://{habit.account.replace('_', '-')}.example/{post}" for post in posts.ids],
            "text": texts,
        }
    ).select("account", "post", _moment("second").alias("published_at"), pl.exclude("account", "post", "second"))


def _handles(rng: np.random.Generator, number: int, lives: _Lives) -> npt.NDArray[np.str_]:
    """One handle a person; accounts share nobody, so that each life stays as planted."""
    codes = rng.permutation(int((~lives.is_return).sum())) * len(HABITS) + number
    return np.array([handle(int(code)) for code in codes])


def _truth(
    habit: Habit, posts: _Posts, lives: _Lives, interactions: pl.DataFrame, spikes: Sequence[date], *, end: int
) -> Mapping[str, Any]:
    others = interactions.filter(pl.col("person") != habit.account)
    inbound = others.filter(pl.col("direction") == "inbound")
    written = inbound.filter(pl.col("kind").is_in(["reply", "quote", "mention"])).height
    recent = posts.published >= end - 28 * DAY
    return {
        "habit": habit.name,
        "posts": len(posts.published),
        "promise_kept_share": round(promise_kept_share(posts.published, end=end), 4),
        "longest_silence_days": round(float(np.diff(np.append(posts.published, end)).max()) / DAY, 1),
        "burst_days": habit.burst_days,
        "silence_days": habit.silence_days,
        "spikes": [spike.isoformat() for spike in spikes],
        "weekly_survival": {"steady": habit.weekly_survival, "spike": habit.weekly_survival_spike if spikes else None},
        "elasticity": habit.elasticity,
        "promotional_share": habit.promotional_share,
        "promotional_share_28d": float(posts.is_promotional[recent].mean()) if recent.any() else None,
        "promotional_worth": habit.promotional_worth if habit.promotional_share else None,
        "answer_probability": habit.answer_probability,
        "answer_hours": habit.answer_hours,
        "answered_share": others.filter(pl.col("direction") == "outbound").height / written if written else None,
        "people": int(inbound.filter(pl.col("kind") != "follow")["person"].n_unique()),
        "spike_won_people": int(lives.is_spike_won.sum()),
        "returned_people": int(lives.is_return.sum()),
        "own_rows": interactions.height - others.height,
        "retracted": int(interactions["retracted_at"].is_not_null().sum()),
        "inbound_by_kind": dict(sorted(inbound.group_by("kind").len().rows())),
    }
