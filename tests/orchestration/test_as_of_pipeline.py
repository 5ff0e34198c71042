"""A night of the past, run again after later data came in, gives the same rows: from raw tables to marts.

One test runs the asset graph in a temporary home. The others call the same functions (staging, core, folds, marts) in
order, a kind of later data each, on the raw rows that the night knew (`ingest.as_known`).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import core, folds, ingest, marts, stage
from assets.staging.observations import RAW
from orchestration.io import tables_io_manager
from orchestration.settings import Settings
from orchestration.warehouse import Warehouse
from quality.catalog.model import enforce
from quality.catalog.staging import SOURCES
from quality.catalog.tables import TABLES
from tests.metrics.worlds import MARTS, different

AS_OF = date(2024, 4, 30)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2024, 1, 1, 9, tzinfo=UTC)
NIGHT = datetime(2024, 5, 1, 6, tzinfo=UTC)
"""The night's own collection: after the end of `AS_OF`, before its cutoff."""
LATER = datetime(2024, 5, 2, 6, tzinfo=UTC)
"""The first collection after the cutoff."""
Raw = dict[str, list[dict[str, Any]]]
ASSETS = (*stage.ASSETS, *core.ASSETS, *folds.ASSETS, *marts.ASSETS)


def row(loaded_at: datetime, **more: Any) -> dict[str, Any]:
    return {"account_id": "a", "platform": "mastodon", "loaded_at": loaded_at} | more


def post(n: int, published_at: datetime, *, loaded_at: datetime | None = None, **more: Any) -> dict[str, Any]:
    said = {"post": f"p{n}", "url": f"https://m.example/@a/{n}", "published_at": published_at.isoformat()}
    return (
        row(loaded_at or published_at + HOUR, **said, text=f"A text number {n} about rivers and rain {n * 7919}") | more
    )


def event(
    name: str, person: str, kind: str, at: datetime, *, loaded_at: datetime | None = None, **more: Any
) -> dict[str, Any]:
    said = {"interaction": name, "person": person, "kind": kind, "direction": "inbound", "occurred_at": at.isoformat()}
    return row(loaded_at or at + HOUR, **said) | more


def sighting(item: str, event: str, at: datetime, *, list_: str = "likes") -> dict[str, Any]:
    return row(at, list=list_, item=item, event=event, observed_at=at)


def reading(stream: str, at: datetime, covers_from: datetime | None, *, status: str = "ok") -> dict[str, Any]:
    return row(at, source="mastodon", stream=stream, read_at=at, covers_from=covers_from, status=status)


STREAMS = ("posts", "inbound", "outbound")


def base() -> Raw:
    """Four months that were read by the night of `AS_OF`: with a hole, people who left, likes without a time."""
    events = []
    for i in range(40):
        at = START + i * 3 * DAY
        who = f"ann{i % 7}"
        events.append(event(f"r{i}", who, "reply", at + 2 * HOUR, post=f"p{i}"))
        events.append(event(f"l{i}", f"bob{i % 5}", "like", at + 5 * HOUR, post=f"p{i}", occurred_at=None))
        if i % 2:
            events.append(event(f"o{i}", who, "reply", at + 4 * HOUR, direction="outbound", in_reply_to=f"r{i}"))
    events += [event(f"f{i}", f"cat{i}", "follow", START + i * 9 * DAY) for i in range(12)]
    hole = [
        reading(stream, at, covers, status=status)
        for stream in STREAMS
        for at, covers, status in (
            (datetime(2024, 4, 1, 6, tzinfo=UTC), START, "ok"),
            (datetime(2024, 4, 8, 6, tzinfo=UTC), None, "down"),
            (NIGHT, datetime(2024, 4, 20, tzinfo=UTC), "ok"),
        )
    ]
    return {
        "profiles": [row(START, profile="1", handle="a", url="https://m.example/@a", born_at=START.isoformat())],
        "posts": [post(i, START + i * 3 * DAY) for i in range(40)],
        "interactions": events,
        "counters": [
            row(START + i * DAY, subject="profile", subject_id="mastodon", counter="followers", value=50 + i, observed_at=START + i * DAY)
            for i in range(0, 120, 5)
        ],
        "lists": [],
        "sightings": [
            *(sighting(f"l{i}", "seen", START + i * 3 * DAY + 6 * HOUR) for i in range(40)),
            sighting("l3", "gone", datetime(2024, 3, 1, tzinfo=UTC)),
            *(sighting(f"f{i}", "seen", START + i * 9 * DAY + HOUR, list_="followers") for i in range(12)),
        ],
        "readings": hole,
    }  # fmt: skip


SEEN_LATER: dict[str, Callable[[], Raw]] = {
    "later posts": lambda: {"posts": [post(100 + i, LATER + i * DAY) for i in range(5)]},
    "later interactions": lambda: {
        "interactions": [event(f"n{i}", f"ann{i}", "reply", LATER + i * DAY, post="p39") for i in range(5)]
    },
    "older interactions, read late": lambda: {
        "interactions": [
            event(f"x{i}", f"new{i}", kind, START + (90 + i) * DAY, loaded_at=LATER, post=f"p{30 + i}", direction=direction)
            for i, (kind, direction) in enumerate([("reply", "inbound"), ("like", "inbound"), ("reply", "outbound"), ("follow", "inbound")])
        ]
    },
    "likes without a time, read late": lambda: {
        "interactions": [event(f"y{i}", "new", "like", LATER, occurred_at=None, post=f"p{i}", loaded_at=LATER) for i in range(5)],
        "sightings": [sighting(f"y{i}", "seen", LATER) for i in range(5)],
    },
    "retractions and unfollows": lambda: {
        "sightings": [sighting(f"{k}{i}", "gone", LATER, list_=name) for k, name in (("l", "likes"), ("f", "followers")) for i in range(4, 12)]
    },
    "deletions of posts": lambda: {"sightings": [sighting(f"p{i}", "gone", LATER, list_="posts") for i in range(10)]},
    "the same rows again": lambda: {
        name: [r | {"loaded_at": LATER} for r in rows] for name, rows in base().items() if name in ("posts", "interactions", "profiles")
    },
    "later counters": lambda: {
        "counters": [row(LATER, subject="profile", subject_id="mastodon", counter="followers", value=9, observed_at=LATER)]
    },
    "later readings of later days": lambda: {
        "readings": [reading(s, LATER + i * DAY, datetime(2024, 4, 20, tzinfo=UTC)) for s in STREAMS for i in range(3)]
    },
    "later failures": lambda: {"readings": [reading(s, LATER, None, status="down") for s in STREAMS]},
}  # fmt: skip
CHANGED_LATER: dict[str, Callable[[], Raw]] = {
    "a post edited into a promotion": lambda: {
        "posts": [post(39, START + 117 * DAY, loaded_at=LATER, text="Only today: 50% off! Buy now https://shop.example/?utm_campaign=x")]
    },
    "another time of publication": lambda: {"posts": [post(39, START + 100 * DAY, loaded_at=LATER)]},
    "another time of an interaction": lambda: {
        "interactions": [event("r39", "ann4", "reply", START + 119 * DAY, loaded_at=LATER, post="p39")]
    },
    "an older post, read late": lambda: {"posts": [post(200, START + 50 * DAY, loaded_at=LATER)]},
    "gone, and seen again": lambda: {"sightings": [sighting("l3", "seen", LATER)]},
    "gone, seen again and gone again": lambda: {
        "sightings": [sighting("l3", "seen", LATER), sighting("l3", "gone", LATER + DAY)]
    },
    "a hole that a complete reading heals": lambda: {"readings": [reading(s, LATER, START) for s in STREAMS]},
    "a profile that turns out to be older": lambda: {
        "profiles": [row(LATER, profile="1", handle="a", url="https://m.example/@a", born_at="2020-01-01T00:00:00Z")]
    },
}  # fmt: skip


def frames(*parts: Raw) -> dict[str, pl.DataFrame]:
    """Raw tables of the parts together, each row with a hash of its own."""
    rows = {name: [r for part in parts for r in part.get(name, [])] for name in RAW}
    return {
        f"raw_mastodon__{name}": pl.DataFrame(
            [{column: r.get(column) for column in RAW[name].names()} | {"row_hash": f"{name}{i}"} for i, r in enumerate(found)],
            schema=RAW[name],
        )
        for name, found in rows.items()
    }  # fmt: skip


def derived(raw: Mapping[str, pl.DataFrame], home: Path, names: Iterable[str] = MARTS) -> dict[str, pl.DataFrame]:
    """The marts of `AS_OF`, as the graph computes them from these raw tables."""
    made = {
        asset.key.to_user_string(): inspect.getclosurevars(asset.op.compute_fn.decorated_fn).nonlocals
        for asset in ASSETS
    }
    done = dict(raw)
    settings = Settings(home=home)

    def table(name: str) -> pl.DataFrame:
        if name not in made and name not in done:
            done[name] = ingest.empty_raw(name)
        if name not in done:
            recipe = made[name]
            arguments: dict[str, Any] = {
                parameter: pl.concat([table(upstream).lazy() for upstream in upstreams])
                for parameter, upstreams in recipe["tables"].items()
            }
            arguments |= {"as_of": AS_OF} if "as_of" in recipe["parameters"] else {}
            arguments |= {"settings": settings} if "settings" in recipe["parameters"] else {}
            done[name] = enforce(TABLES[name], recipe["function"](**arguments))
        return done[name]

    return {name: table(name) for name in names}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("as_of")


@pytest.fixture(scope="module")
def past(home: Path) -> dict[str, pl.DataFrame]:
    """The marts as they were on the night itself."""
    found = derived(frames(base()), home)
    assert {name for name, frame in found.items() if frame.is_empty()} <= {
        "mart_spike",
        "mart_waiting",
        "mart_retention_cohort",
    }
    return found


def apart(home: Path, past: dict[str, pl.DataFrame], later: Raw) -> dict[str, str]:
    """Which marts of `AS_OF` are others once `later` came in."""
    raw = {name: frame.lazy() for name, frame in frames(base(), later).items()}
    readings = raw["raw_mastodon__readings"]
    known = {name: ingest.as_known(rows, readings, as_of=AS_OF).collect() for name, rows in raw.items()}
    now = derived(known, home)
    # When a stream was last read well is told of today, not of the past: it is in no content hash either.
    hidden = [frame["mart_collection"].drop("last_ok_at") for frame in (now, past)]
    said = {name: different(now[name], past[name], table=name) for name in MARTS if name != "mart_collection"}
    said["mart_collection"] = different(*hidden, table="mart_collection")
    return {name: how for name, how in said.items() if how}


@pytest.mark.parametrize("what", SEEN_LATER)
def test_what_is_seen_later_changes_no_earlier_night(home: Path, past: dict[str, pl.DataFrame], what: str) -> None:
    assert apart(home, past, SEEN_LATER[what]()) == {}


@pytest.mark.parametrize("what", CHANGED_LATER)
def test_what_is_said_otherwise_later_changes_no_earlier_night(
    home: Path, past: dict[str, pl.DataFrame], what: str
) -> None:
    assert apart(home, past, CHANGED_LATER[what]()) == {}


def written(warehouse: Warehouse, raw: Mapping[str, pl.DataFrame]) -> None:
    connection = warehouse.connect()
    connection.execute("create schema if not exists raw_mastodon")
    for name, frame in raw.items():
        connection.register("rows", frame.to_arrow())
        connection.execute(f"create or replace table raw_mastodon.{name.partition('__')[2]} as select * from rows")
        connection.unregister("rows")


@pytest.mark.slow
def test_the_asset_graph_gives_a_past_partition_again_row_for_row(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    warehouse = Warehouse(settings.warehouse_path)
    # The staging tables of the other sources are never written, and so are read as empty.
    others = tuple(f"stg_{source}__" for source in SOURCES if source != "mastodon")

    def night(as_of: date) -> dict[str, pl.DataFrame]:
        result = dg.materialize(
            [*ingest.collectors(warehouse_path=str(settings.warehouse_path), dlt_home=settings.dlt_home), *ASSETS],
            selection=[key for key in (asset.key for asset in ASSETS) if not key.to_user_string().startswith(others)],
            partition_key=as_of.isoformat(),
            resources={"settings": settings, "warehouse": warehouse, "tables": tables_io_manager, "dlt_runner": None},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
        return {name: warehouse.read(name, as_of).collect() for name in MARTS}

    try:
        written(warehouse, frames(base()))
        before = night(AS_OF)
        written(warehouse, frames(base(), *(later() for later in (SEEN_LATER | CHANGED_LATER).values())))
        night(LATER.date())
        newest = {name: warehouse.read(name).collect() for name in ("dim_post", "fct_interaction")}
        warehouse.set_newest(LATER.date())  # what comes now is a night of the past
        after = night(AS_OF)
        for name in MARTS:
            found, expected = (frame.drop("last_ok_at", strict=False) for frame in (after[name], before[name]))
            assert not different(found, expected, table=name), name
        for name, expected in newest.items():
            assert warehouse.read(name).collect().equals(expected), "a night of the past left today's tables alone"
    finally:
        warehouse.close()
