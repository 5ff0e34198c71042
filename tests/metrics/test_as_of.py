"""No metric looks ahead: what comes after the end of `as_of`, or is first seen after its cutoff, changes nothing.

On whole worlds through the wrappers of the asset graph, on every input table at once and on each alone; and on the pure
functions that people call in a notebook. The pipeline's part (later observations of a row) is in
tests/orchestration/test_as_of_pipeline.py.
"""

import inspect
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics import cadence, growth, listening, relationship
from assets.metrics.visible import cutoff, end_of
from quality.catalog.tables import TABLES
from tests.metrics import worlds
from tests.metrics.worlds import AS_OF, CORE, MARTS, World, derived, different, known, random_world

SEEDS = st.integers(0, 1)
END, CUTOFF = end_of(AS_OF), cutoff(AS_OF)
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)
every_mart = pytest.mark.parametrize("mart", MARTS)
Change = Callable[[World], World]


@cache
def world(seed: int, what: str) -> World:
    base = random_world(seed, accounts=4)
    return dict(base) if what == "full" else known(base)


def of(seed: int, what: str, mart: str, *, as_of: date = AS_OF) -> pl.DataFrame:
    return derived(world(seed, what), as_of=as_of, names=[mart])[mart]


@every_mart
@given(seed=SEEDS)
def test_a_mart_of_the_past_is_the_same_whatever_came_in_later(mart, seed) -> None:
    assert not different(of(seed, "full", mart), of(seed, "known", mart), table=mart)


def more(name: str, *rows: dict) -> Change:
    """The change that adds these rows to the table."""

    def change(world: World) -> World:
        return world | {name: pl.concat([world[name], worlds.core(**{name: rows})[name]])}

    return change


def _undone_later(world: World) -> World:
    """At the cutoff, every interaction is taken back and every post deleted."""
    later = pl.col("retracted_at").fill_null(CUTOFF)
    return world | {
        "fct_interaction": world["fct_interaction"].with_columns(later),
        "dim_post": world["dim_post"].with_columns(pl.col("deleted_at").fill_null(CUTOFF)),
    }


def _collected_later(world: World) -> World:
    """A platform that was not offered is from the day after on, and another one breaks."""
    spans = world["fct_collection_span"]
    new = [
        worlds.covered("a1", platform, stream, AS_OF + DAY, AS_OF + 9 * DAY, status=status)
        for platform, status in (("blog", "ok"), ("video", "down"))
        for stream in ("posts", "inbound", "outbound")
    ]
    missing = [
        worlds.covered("silent", "blog", "inbound", AS_OF + 2 * DAY, AS_OF + 2 * DAY, status="not_offered"),
        worlds.covered("quiet", "blog", "inbound", AS_OF + DAY, AS_OF + 9 * DAY),
    ]
    return world | {
        "fct_collection_span": pl.concat(
            [spans, worlds.core(fct_collection_span=[*new, *missing])["fct_collection_span"]]
        )
    }


LATER: dict[str, Change] = {
    "posts published after the end": more(
        "dim_post", *(worlds.post("a0", "blog", f"n{i}", END + i * DAY, is_promotional=True) for i in range(9))
    ),
    "older posts first seen at the cutoff": more(
        "dim_post", *(worlds.post("a0", "blog", f"o{i}", END - (9 * i + 1) * DAY, observed_at=CUTOFF) for i in range(30))
    ),
    "interactions after the end": more(
        "fct_interaction", *(worlds.interaction("a0", "blog", f"n{i}", "a0-blog-1", "reply", END) for i in range(30))
    ),
    "older interactions first seen at the cutoff": more(
        "fct_interaction",
        *(
            worlds.interaction("a0", "blog", f"o{i}", f"a0-blog-{i % 8}", kind, END - (7 * i + 2) * DAY, observed_at=CUTOFF, direction=direction)
            for i in range(40)
            for kind, direction in [("reply", "inbound" if i % 2 else "outbound")]
        ),
    ),
    "retractions and deletions at the cutoff": _undone_later,
    "people first seen later": more("dim_identity", *(worlds.identity(f"new{i}", "blog", first_seen_at=CUTOFF) for i in range(5))),
    "profiles born later": more("dim_profile", {"account_id": "a0", "platform": "video", "source": "s", "born_at": END}),
    "followers seen after the cutoff": more("fct_counter", *(worlds.followers("a0", "blog", 9 * i, CUTOFF + i * DAY) for i in range(9))),
    "streams that begin or break the day after": _collected_later,
}  # fmt: skip


@cache
def _changed(what: str) -> World:
    base = {name: frame for name, frame in world(0, "known").items() if name in CORE}
    base["dim_post"] = pl.concat([
        base["dim_post"],
        worlds.core(dim_post=[worlds.post(name, "blog", "p", END - 40 * DAY) for name in ("silent", "quiet")])["dim_post"],
    ])  # fmt: skip
    base["dim_account"] = pl.concat([
        base["dim_account"], worlds.core(dim_account=[worlds.account("silent"), worlds.account("quiet")])["dim_account"],
    ])  # fmt: skip
    return LATER[what](base) if what else base


@pytest.mark.parametrize("what", LATER)
@every_mart
def test_nothing_later_is_seen(what, mart) -> None:
    found, expected = (derived(_changed(change), names=[mart])[mart] for change in (what, ""))
    assert not different(found, expected, table=mart)


JUST_BEFORE: dict[str, tuple[str, Change]] = {
    "a post of the last moment": ("mart_cadence_week", more("dim_post", worlds.post("a0", "blog", "n", END - TICK))),
    "a post seen just before the cutoff": (
        "mart_cadence_week", more("dim_post", worlds.post("a0", "blog", "o", END - DAY, observed_at=CUTOFF - TICK)),
    ),
    "an interaction of the last moment": (
        "mart_relationship", more("fct_interaction", worlds.interaction("a0", "blog", "n", "a0-blog-1", "reply", END - TICK)),
    ),
    "an interaction seen just before the cutoff": (
        "mart_relationship",
        more("fct_interaction", worlds.interaction("a0", "blog", "o", "a0-blog-1", "like", END - DAY, observed_at=CUTOFF - TICK)),
    ),
    "a retraction just before the cutoff": (
        "mart_relationship",
        lambda world: world | {"fct_interaction": world["fct_interaction"].with_columns(pl.col("retracted_at").fill_null(CUTOFF - TICK))},
    ),
    "followers seen on the last day": ("mart_followers", more("fct_counter", worlds.followers("a0", "blog", 1, END - TICK))),
}  # fmt: skip


@pytest.mark.parametrize("what", JUST_BEFORE)
def test_what_came_a_moment_earlier_is_seen(what) -> None:
    mart, change = JUST_BEFORE[what]
    base = {name: frame for name, frame in _changed("").items() if name in CORE}
    assert different(*(derived(dict(world), names=[mart])[mart] for world in (change(base), base)), table=mart)


# The functions that people call with frames of their own.

HOURS = st.lists(st.integers(0, 24 * 200), min_size=1, max_size=30)
ZERO = datetime(2024, 1, 1, tzinfo=UTC)
TODAY = date(2024, 5, 31)


def moments(hours: list[int]) -> list[datetime]:
    return [ZERO + timedelta(hours=hour) for hour in hours]


def is_seen(at: datetime) -> bool:
    return at < end_of(TODAY)


@pytest.mark.parametrize("measure", [cadence.steadiness, cadence.burstiness, cadence.memory])
@given(hours=HOURS)
def test_posting_measures_do_not_look_ahead(measure, hours) -> None:
    every = pl.DataFrame({"published_at": moments(hours)}, schema={"published_at": pl.Datetime("us", "UTC")})
    seen = every.filter(pl.col("published_at") < end_of(TODAY))
    assert measure(every, as_of=TODAY).equals(measure(seen, as_of=TODAY), null_equal=True)


@given(written=st.lists(st.tuples(st.sampled_from(["inbound", "outbound"]), st.integers(0, 24 * 200)), max_size=40))
def test_opportunities_and_their_times_do_not_look_ahead(written) -> None:
    schema = {"direction": pl.String, "active_at": pl.Datetime("us", "UTC")}
    every = pl.DataFrame([(d, ZERO + timedelta(hours=h)) for d, h in written], schema=schema, orient="row")
    seen = every.filter(pl.col("active_at") < end_of(TODAY))
    today = listening.opportunities(seen, as_of=TODAY)
    assert listening.opportunities(every, as_of=TODAY).equals(today)
    # Opportunities found on a later day, measured on this one: their later answers are not known yet.
    later = listening.opportunities(every, as_of=TODAY + 90 * DAY)
    assert listening.response_times(later, as_of=TODAY).equals(listening.response_times(today, as_of=TODAY))


@given(days=st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 300)), max_size=40))
def test_ties_and_lifecycles_do_not_look_ahead(days) -> None:
    rows = [{"account_id": "a", "platform": "all", "person_id": p, "date": ZERO.date() + d * DAY} for p, d in days]
    schema = {"account_id": pl.String, "platform": pl.String, "person_id": pl.String, "date": pl.Date}
    every = pl.LazyFrame(rows, schema=schema)
    seen = every.filter(pl.col("date") <= TODAY)
    found, expected = (relationship.tie_state(frame, as_of=TODAY).collect() for frame in (every, seen))
    assert found.equals(expected)
    numbered = every.unique().with_columns(
        pl.col("date").cast(pl.Int64).alias("day"),
        (pl.col("date").dt.year().cast(pl.Int64) * 12 + pl.col("date").dt.month() - 1).alias("month"),
    )
    today = numbered.filter(pl.col("date") <= TODAY)
    found, expected = (growth.lifecycle(frame.drop("date"), as_of=TODAY).collect() for frame in (numbered, today))
    assert found.equals(expected)


def test_every_fold_and_mart_is_of_an_as_of() -> None:
    for name, function in worlds.functions().items():
        if name in TABLES:
            assert "as_of" in inspect.signature(function).parameters, name
