"""Edge cases by name, each against every mart: numbers by hand, or an honest null with its reason.

A case is a small world; `ROWS` says how many rows each mart has of it and `CELLS` what must stand in them. Account `a`
lives on `blog`, which offers posts, inbound and outbound, all collected since 2023-09-04 (a Monday), unless the case
says otherwise. Every mart of every case also keeps its catalogue entry: key, types, limits, nulls.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.metrics.summary import MEASURES
from quality.catalog.tables import TABLES
from tests.metrics.worlds import (
    MARTS,
    World,
    account,
    core,
    covered,
    derived,
    different,
    followers,
    identity,
    interaction,
    post,
)

FIRST = date(2023, 9, 4)
AS_OF = date(2024, 9, 1)
"""A Sunday, 364 days after `FIRST` began."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOON = datetime(2023, 9, 4, 12, tzinfo=UTC)
STREAMS = ("posts", "inbound", "outbound")


def on(day: int, hours: float = 0) -> datetime:
    """Noon of that day after `FIRST`."""
    return NOON + day * DAY + hours * HOUR


def ledger(*, platform: str = "blog", first: date = FIRST, last: date = AS_OF, **more: Any) -> list[dict[str, Any]]:
    return [covered("a", platform, stream, first, last, **more) for stream in STREAMS]


def liked(post_id: str, people: int, at: datetime, *, kind: str = "like") -> list[dict[str, Any]]:
    return [
        interaction("a", "blog", f"{post_id}-{kind}-{i}", f"p{i}", kind, at, post_id=f"a/blog/{post_id}")
        for i in range(people)
    ]


def people(n: int) -> list[dict[str, Any]]:
    return [identity(f"p{i}", "blog") for i in range(n)]


def nothing() -> World:
    """No account at all."""
    return core()


def no_posts() -> World:
    """Collected for a year: nothing was published, nobody came."""
    return core(dim_account=[account("a")], fct_collection_span=ledger())


def one_post() -> World:
    """One post on the first day, and never anything else."""
    return core(dim_account=[account("a")], fct_collection_span=ledger(), dim_post=[post("a", "blog", "1", on(0))])


def one_person() -> World:
    """A post a week; one person replies to each a day later and is answered three hours after."""
    weeks = range(52)
    return core(
        dim_account=[account("a")],
        fct_collection_span=ledger(),
        dim_identity=people(1),
        dim_post=[post("a", "blog", str(w), on(7 * w)) for w in weeks],
        fct_interaction=[
            row
            for w in weeks
            for row in (
                interaction("a", "blog", f"{w}", "p0", "reply", on(7 * w + 1), post_id=f"a/blog/{w}"),
                interaction("a", "blog", f"{w}o", "p0", "reply", on(7 * w + 1, 3), direction="outbound"),
            )
        ],
    )


def at_one_instant() -> World:
    """Twelve posts and thirty likes in one microsecond."""
    return core(
        dim_account=[account("a")],
        fct_collection_span=ledger(),
        dim_identity=people(30),
        dim_post=[post("a", "blog", f"{i:02}", on(300)) for i in range(12)],
        fct_interaction=liked("00", 30, on(300)),
    )


def everything_retracted() -> World:
    """As `one_person`, but every post deleted and every interaction taken back."""
    world = one_person()
    return world | {
        "dim_post": world["dim_post"].with_columns(deleted_at=pl.col("published_at") + DAY),
        "fct_interaction": world["fct_interaction"].with_columns(retracted_at=pl.col("active_at") + DAY),
    }


def a_year_of_silence() -> World:
    """Weekly posts and likes for ten weeks of the year before the window, then nothing for more than a year."""
    earlier = FIRST - 140 * DAY
    return core(
        dim_account=[account("a")],
        fct_collection_span=ledger(first=earlier),
        dim_identity=people(3),
        dim_post=[post("a", "blog", str(w), on(7 * w - 140)) for w in range(10)],
        fct_interaction=[row for w in range(10) for row in liked(str(w), 3, on(7 * w - 140, 1))],
    )


def nothing_collected() -> World:
    """As `one_person`, but no reading ever came through: the posts and people known are not all there were."""
    return one_person() | {
        "fct_collection_span": core(fct_collection_span=ledger(status="down", reason="HTTP 503", last_ok_at=None))[
            "fct_collection_span"
        ]
    }


def a_window_not_collected() -> World:
    """As `one_person`, but nothing was collected after the first hundred days."""
    spans = [
        *ledger(last=FIRST + 99 * DAY),
        *ledger(first=FIRST + 100 * DAY, status="down", reason="HTTP 503"),
    ]
    return one_person() | {"fct_collection_span": core(fct_collection_span=spans)["fct_collection_span"]}


def ties() -> World:
    """Forty posts with the same four likes each, of the same people at the same moment."""
    return core(
        dim_account=[account("a")],
        fct_collection_span=ledger(),
        dim_identity=people(4),
        dim_post=[post("a", "blog", f"{i:02}", on(7 * (i // 2)), is_promotional=i % 2 == 0) for i in range(40)],
        fct_interaction=[row for i in range(40) for row in liked(f"{i:02}", 4, on(7 * (i // 2), 1))],
        fct_counter=[followers("a", "blog", 10, on(0)), followers("a", "blog", 20, on(0, 1)), followers("a", "blog", 20, on(1))],
    )  # fmt: skip


def merged_identities() -> World:
    """As `one_person`, but the person writes from two identities by turns, both declared to be one."""
    world = one_person()
    is_odd = pl.col("interaction_id").str.extract(r"(\d+)o?$").cast(pl.Int64) % 2 == 1
    return world | {
        "dim_identity": core(dim_identity=[identity("p0", "blog"), identity("p1", "blog", person_id="p0")])[
            "dim_identity"
        ],
        "fct_interaction": world["fct_interaction"].with_columns(
            identity_id=pl.when(is_odd).then(pl.lit("p1")).otherwise("identity_id")
        ),
    }


def very_many(n: int) -> World:
    """`one_post` with `n` people who each like it once within its week, one after the other."""
    ids = pl.DataFrame({"i": np.arange(n)})
    at = pl.lit(on(0)) + pl.duration(microseconds=pl.col("i") * (6 * 86_400_000_000 // n))
    name = pl.format("p{}", "i")
    world = one_post()
    rows = ids.select(
        interaction_id=name, account_id=pl.lit("a"), platform=pl.lit("blog"), identity_id=name,
        direction=pl.lit("inbound"), kind=pl.lit("like"), is_composed=pl.lit(value=False), post_id=pl.lit("a/blog/1"),
        occurred_at=at, observed_at=at, active_at=at, is_time_known=pl.lit(value=True), is_own_row=pl.lit(value=False),
        is_site_wide=pl.lit(value=False), is_audience=pl.lit(value=True), loaded_at=at,
    )  # fmt: skip
    identities = ids.select(
        identity_id=name, person_id=name, platform=pl.lit("blog"), is_bot=pl.lit(value=False), first_seen_at=at
    )
    return world | {
        "fct_interaction": pl.concat([world["fct_interaction"], rows], how="diagonal"),
        "dim_identity": pl.concat([world["dim_identity"], identities], how="diagonal"),
    }


def leap_day() -> World:
    """A post and a first like on 29 February, and a reply a year later."""
    leap = datetime(2024, 2, 29, 12, tzinfo=UTC)
    return core(
        dim_account=[account("a")],
        fct_collection_span=ledger(first=date(2024, 1, 1), last=date(2025, 2, 28)),
        dim_identity=people(1),
        dim_post=[post("a", "blog", "1", leap)],
        fct_interaction=[
            interaction("a", "blog", "1", "p0", "like", leap + HOUR, post_id="a/blog/1"),
            interaction("a", "blog", "2", "p0", "reply", datetime(2025, 2, 28, 12, tzinfo=UTC)),
        ],
        fct_counter=[followers("a", "blog", 4, leap - HOUR)],
    )


CASES: dict[str, Callable[[], World]] = {
    "nothing at all": nothing,
    "no posts": no_posts,
    "one post": one_post,
    "one person": one_person,
    "all at one instant": at_one_instant,
    "everything retracted": everything_retracted,
    "a year of silence": a_year_of_silence,
    "nothing collected": nothing_collected,
    "a window not collected": a_window_not_collected,
    "ties and zero variance": ties,
    "merged identities": merged_identities,
    "leap day": leap_day,
    "a hundred thousand people": lambda: very_many(100_000),
    "a million people": lambda: very_many(1_000_000),
}
ENDS = {"leap day": date(2025, 2, 28)}
"""Where `as_of` is another than `AS_OF`."""
_METRICS = len(MEASURES)
ROWS = dict(
    zip(
        (mart.removeprefix("mart_") for mart in MARTS),
        zip(*(
            #  cadence, _week, listening, waiting, followers, post_value, value, dilution, spike, relationship,
            #  growth_week, _month, retention_cohort, collection, summary
            (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (2, 104, 2, 0, 0, 0, 0, 0, 0, 0, 104, 24, 0, 3, _METRICS),
            (2, 104, 2, 0, 0, 1, 2, 1, 0, 0, 104, 24, 0, 3, _METRICS),
            (2, 104, 2, 0, 0, 52, 2, 1, 0, 1, 104, 24, 24, 3, _METRICS),
            (2, 104, 2, 0, 0, 12, 2, 1, 2, 30, 104, 24, 6, 3, _METRICS),
            (2, 104, 2, 0, 0, 52, 2, 1, 0, 0, 104, 24, 0, 3, _METRICS),
            (2, 144, 2, 0, 0, 10, 2, 1, 0, 3, 144, 34, 34, 3, _METRICS),
            (2, 104, 2, 0, 0, 52, 2, 1, 0, 1, 0, 0, 0, 3, _METRICS),
            (2, 104, 2, 0, 0, 52, 2, 1, 0, 1, 104, 24, 6, 3, _METRICS),
            (2, 104, 2, 0, 364, 40, 2, 1, 0, 4, 104, 24, 24, 3, _METRICS),
            (2, 104, 2, 0, 0, 52, 2, 1, 0, 1, 104, 24, 24, 3, _METRICS),
            (2, 122, 2, 1, 366, 1, 2, 1, 0, 1, 120, 28, 26, 3, _METRICS),
            (2, 104, 2, 0, 0, 1, 2, 1, 0, 100_000, 104, 24, 24, 3, _METRICS),
            (2, 104, 2, 0, 0, 1, 2, 1, 0, 1_000_000, 104, 24, 24, 3, _METRICS),
        ), strict=True),
        strict=True,
    )
)  # fmt: skip
"""Rows of each mart, in the order of `CASES`: platform and `all` are two, 52 weeks are a year, the streams are three."""
_NO_OPPORTUNITY = {
    "opportunities": 0, "response_rate_24h": None, "response_rate_24h_n": 0,
    "response_rate_24h_note": "no opportunity is 24 h old", "response_time_median_seconds": None,
    "response_time_median_seconds_note": "no opportunity", "availability_days_share": None, "reciprocity": None,
    "reciprocity_note": "nobody wrote in 180 days",
}  # fmt: skip
_NOT_COLLECTED = "less than 0.9 of the window was collected"
_UNHEARD = dict.fromkeys(
    ("response_rate_24h_note", "response_time_median_seconds_note", "listening_share_note", "reciprocity_note"),
    "less than 0.9 of outbound was collected",
) | dict.fromkeys(("opportunities", "response_rate_24h", "listening_share", "listening_steadiness", "reciprocity"))
_POST = {"interactions_7d": 0, "people_7d": 0, "value_7d": 0.0, "value_z": None, "interactions_7d_note": None}
CELLS: dict[tuple[str, str], dict[str, Any]] = {
    ("no posts", "cadence"): {
        "posts": 0, "steadiness": None, "steadiness_note": "no posts", "longest_silence_days": None,
        "kept_weeks_share": None, "streak_weeks": None, "coverage_share": 1.0,
    },
    ("no posts", "listening"): {**_NO_OPPORTUNITY, "listening_share": None, "listening_share_note": "nothing was written"},
    ("no posts", "growth_month"): {"active": 0, "new": 0, "quick_ratio": None, "stickiness": None, "net_retention": None},
    # Kept for 7 days, then falling for 7: 10.5 of the 363.5 days since the post.
    ("one post", "cadence"): {
        "posts": 1, "active_days": 1, "window_days": 363.5, "steadiness": 10.5 / 363.5, "steadiness_low": None,
        "burstiness": None, "memory": None, "longest_silence_days": 363.0, "open_silence_days": 363.0,
        "silences_over_promise": 1, "kept_weeks_share": 1 / 52, "streak_weeks": 0, "promise_days_learned": None,
    },
    ("one post", "listening"): {**_NO_OPPORTUNITY, "listening_share": 0.0, "listening_share_n": 1},
    ("one post", "post_value"): {**_POST, "is_pending": False, "engagement_rate_by_followers": None, "is_promotional": None},
    ("one post", "value"): {
        "posts": 1, "value_per_post": 0.0, "value_per_post_low": None, "rate_shrunken": 0.0, "rate_shrunken_low": 0.0,
        "rate_shrunken_high": -np.log(0.025), "promotional_share_28d": None, "promotional_share_28d_n": 0,
        "promotion_penalty": None, "promotion_penalty_note": "0 promotional and 0 other posts: needs 10 of each",
    },
    ("one post", "dilution"): {"dilution_elasticity": None, "posts": 1, "rate_p90_to_p10": 1.0},
    ("one person", "cadence"): {
        "posts": 52, "active_days": 52, "steadiness": 1.0, "burstiness": -1.0, "memory": None,
        "longest_silence_days": 7.0, "open_silence_days": 6.0, "silences_over_promise": 0, "kept_weeks_share": 1.0,
        "streak_weeks": 52,
    },
    # The newest opportunity is five and a half days old: out of the rate of 7 days.
    ("one person", "listening"): {
        "opportunities": 52, "response_rate_24h": 1.0, "response_rate_24h_n": 52, "response_rate_7d_n": 51,
        "response_time_median_seconds": 10_800.0, "response_time_p90_seconds": 10_800.0, "listening_share": 0.5,
        "listening_share_n": 104, "availability_days_share": 1.0, "availability_days_share_n": 52, "reciprocity": 1.0,
        "reciprocity_n": 1, "listening_steadiness": 1.0,
    },
    ("one person", "value"): {
        "posts": 51, "value_per_post": 1.0, "value_per_post_low": 1.0, "value_per_post_high": 1.0, "people_per_post": 1.0,
        "rate_shrunken": 1.0,
    },
    ("one person", "relationship"): {
        "repeat_weeks": 51, "last_week": 51, "opportunity_weeks": 51, "inbound": 52, "inbound_composed": 52,
        "outbound_composed": 52, "reciprocity": 1.0, "rhythm_days": 7.0, "lifecycle": "returning", "tie_state": "active",
        "value_365d": 52.0, "platforms": 1, "cohort_month": date(2023, 9, 1),
    },
    ("one person", "growth_month"): {"active": 1, "new": 1, "dormant": 0, "quick_ratio": None, "stickiness": 1.0},
    ("one person", "retention_cohort"): {
        "people": 1, "retained": 1, "retained_rate": 1.0, "retained_rate_low": 1 / (1 + 1.959963984540054**2),
        "retained_rate_high": 1.0,
    },
    # 63.5 days since all of it: 10.5 of them kept; twelve segments, eleven of no length.
    ("all at one instant", "cadence"): {
        "posts": 12, "active_days": 1, "window_days": 63.5, "steadiness": 10.5 / 63.5, "burstiness": None,
        "longest_silence_days": 63.0, "kept_weeks_share": 0.1, "kept_weeks_share_n": 10,
    },
    ("all at one instant", "post_value"): {"interactions_7d": 30, "people_7d": 30, "value_7d": 3.0, "value_z": None},
    ("all at one instant", "value"): {"posts": 12, "value_per_post": 0.25, "people_per_post": 2.5, "rate_shrunken": 2.5},
    ("all at one instant", "spike"): {
        "started_on": date(2024, 6, 30), "ended_on": date(2024, 7, 1), "new_people": 30, "baseline": 0.5,
    },
    ("all at one instant", "relationship"): {"is_spike_won": True, "inbound": 1, "repeat_weeks": 0, "tie_state": "cooling"},
    ("all at one instant", "retention_cohort"): {"people": 30, "retained": 30, "cohort_month": date(2024, 6, 1)},
    # Posts were posted, whatever became of them; what was taken back never was.
    ("everything retracted", "cadence"): {"posts": 52, "steadiness": 1.0},
    ("everything retracted", "listening"): {**_NO_OPPORTUNITY, "listening_share": 0.0, "listening_share_n": 52},
    ("everything retracted", "post_value"): _POST,
    ("everything retracted", "value"): {"posts": 51, "value_per_post": 0.0, "value_per_post_high": None, "rate_shrunken": 0.0},
    ("everything retracted", "growth_month"): {"active": 0, "new": 0},
    ("a year of silence", "cadence"): {
        "posts": 0, "window_days": 364.0, "steadiness": 0.0, "longest_silence_days": 440.0, "open_silence_days": 440.0,
        "silences_over_promise": 1, "kept_weeks_share": 0.0, "streak_weeks": 0, "promise_days_learned": 7.0,
    },
    ("a year of silence", "value"): {"posts": 0, "value_per_post": None, "value_per_post_note": "no posts in 364 days"},
    ("a year of silence", "relationship"): {"tie_state": "lost", "value_365d": 0.0, "repeat_weeks": 9, "lifecycle": None},
    ("a year of silence", "summary"): {"metric": "active", "value": 0.0},
    ("nothing collected", "cadence"): {
        "posts": 52, "window_days": 0.0, "steadiness": None, "steadiness_note": _NOT_COLLECTED, "burstiness": None,
        "longest_silence_days": None, "open_silence_days": None, "kept_weeks_share": None, "coverage_share": 0.0,
    },
    ("nothing collected", "cadence_week"): {"posts": 1, "coverage_share": 0.0},
    ("nothing collected", "listening"): _UNHEARD,
    ("nothing collected", "post_value"): dict.fromkeys(("interactions_7d", "people_7d", "value_7d", "likes_7d")) | {
        "interactions_7d_note": "inbound not collected (coverage 0.00)"
    },
    ("nothing collected", "value"): {"posts": 0, "value_per_post": None, "rate_shrunken": None},
    ("nothing collected", "relationship"): {
        "inbound": 52, "cohort_month": None, "repeat_weeks": None, "is_spike_won": None, "lifecycle": None, "reciprocity": None,
    },
    ("nothing collected", "collection"): {"covered_from": None, "covered_to": None, "coverage_share": 0.0, "status": "down"},
    ("a window not collected", "cadence"): {
        "steadiness": None, "steadiness_note": _NOT_COLLECTED, "open_silence_days": None, "coverage_share": 100 / 364,
    },
    ("a window not collected", "listening"): _UNHEARD,
    ("a window not collected", "value"): {"posts": 14, "value_per_post": 1.0},
    ("a window not collected", "collection"): {
        "covered_to": FIRST + 99 * DAY, "coverage_share": 100 / 364, "status": "down", "reason": "HTTP 503",
    },
    # 20 weeks of two posts: 19 gaps of 7 days, then 230.5 days of which 10.5 are kept.
    ("ties and zero variance", "cadence"): {
        "posts": 40, "active_days": 20, "steadiness": (19 * 7 + 10.5) / 363.5, "memory": None, "longest_silence_days": 230.0,
        "silences_over_promise": 1, "kept_weeks_share": 20 / 52,
    },
    ("ties and zero variance", "followers"): {"followers": 20, "followed": None, "unfollowed": None},
    ("ties and zero variance", "post_value"): {
        "interactions_7d": 4, "value_7d": 0.4, "value_7d_low": 0.0, "value_7d_high": 1.2, "value_z": None,
        "engagement_rate_by_followers": 0.2,
    },
    ("ties and zero variance", "value"): {
        "posts": 40, "value_per_post": 0.4, "value_per_post_low": 0.4, "value_per_post_high": 0.4,
        "promotion_penalty": 1.0, "promotion_penalty_low": 1.0, "promotion_penalty_high": 1.0,
    },
    ("ties and zero variance", "relationship"): {"inbound": 40, "repeat_weeks": 19, "rhythm_days": 7.0, "value_365d": 4.0},
    ("merged identities", "relationship"): {"inbound": 52, "outbound_composed": 52, "repeat_weeks": 51, "platforms": 1},
    ("merged identities", "listening"): {"opportunities": 52, "reciprocity": 1.0, "reciprocity_n": 1},
    # The window begins on 2 March 2024, when the post is one and a half days old.
    ("leap day", "cadence"): {"posts": 0, "steadiness": (5.5 + 3.5) / 364, "longest_silence_days": 365.0},
    ("leap day", "waiting"): {"person_id": "p0", "waited_days": 0.5, "inbound_composed": 1},
    ("leap day", "followers"): {"date": date(2024, 2, 29), "followers": 4},
    ("leap day", "post_value"): {"interactions_7d": 1, "engagement_rate_by_followers": 0.25},
    ("leap day", "relationship"): {"cohort_month": date(2024, 2, 1), "lifecycle": "resurrecting", "value_365d": 1.0, "inbound": 2},
    ("leap day", "retention_cohort"): {"cohort_month": date(2024, 2, 1), "period": 0, "people": 1, "retained": 1},
    **{
        (case, mart): cells
        for case, n in (("a hundred thousand people", 100_000), ("a million people", 1_000_000))
        for mart, cells in {
            "post_value": {"interactions_7d": n, "people_7d": n, "value_7d": n / 10, "value_7d_low": 0.0, "value_7d_high": n * 0.3},
            "value": {"value_per_post": n / 10, "people_per_post": n, "rate_shrunken": n},
            "growth_week": {"active": n, "new": n},
            "retention_cohort": {"people": n, "retained": n, "retained_rate_high": 1.0},
            "relationship": {"inbound": 1, "repeat_weeks": 0, "value_365d": 0.1},
        }.items()
    },
}  # fmt: skip


@cache
def world_of(case: str) -> World:
    return dict(CASES[case]())


def of(case: str, mart: str) -> pl.DataFrame:
    return derived(world_of(case), as_of=ENDS.get(case, AS_OF), names=[mart])[mart]


def case_by_mart() -> list[Any]:
    slow = {"a million people"}
    return [
        pytest.param(
            case, mart, marks=(pytest.mark.slow, pytest.mark.long) if case in slow else (), id=f"{case}-{mart}"
        )
        for case in CASES
        for mart in MARTS
    ]


@pytest.mark.parametrize(("case", "mart"), case_by_mart())
def test_edge_case(case, mart) -> None:
    frame, short = of(case, mart), mart.removeprefix("mart_")
    assert frame.height == ROWS[short][list(CASES).index(case)]
    keeps_its_promise(mart, frame)
    cells = CELLS.get((case, short), {})
    for platform in ("all", "blog") if "platform" in frame.columns else ("",):
        rows = frame.filter(pl.col("platform") == platform) if platform else frame
        if "metric" in cells:
            rows = rows.filter(pl.col("metric") == cells["metric"])
        if cells and rows.height:
            # Of several rows the first of its key: weeks, months and cohorts from the beginning.
            found = rows.row(0, named=True)
            assert {name: found[name] for name in cells} == {
                name: pytest.approx(cell, rel=1e-9) if isinstance(cell, float) else cell for name, cell in cells.items()
            }, platform
    assert not cells or frame.height, "a case that looks at cells must have rows"


def keeps_its_promise(mart: str, frame: pl.DataFrame) -> None:
    table = TABLES[mart]
    assert frame.select(table.key).is_unique().all()
    for column in table.columns:
        values = frame[column.name]
        assert column.nullable or values.null_count() == 0, column.name
        if column.low is not None and not isinstance(column.low, str):
            assert (values.drop_nulls() >= column.low).all(), column.name
        if column.high is not None:
            assert (values.drop_nulls() <= column.high).all(), column.name
        if column.allowed:
            assert values.drop_nulls().is_in(column.allowed).all(), column.name


@pytest.mark.parametrize("mart", MARTS)
def test_two_identities_of_a_person_are_as_one(mart) -> None:
    assert not different(of("merged identities", mart), of("one person", mart), table=mart)
