"""Tables to hold engines against each other: random communities, and those of a home."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from hypothesis import strategies as st

from quality.catalog import core, marts
from quality.catalog.columns import COMPOSED, KINDS
from quality.catalog.model import empty
from tests.metrics.community import START, at, span, table

AS_OF = START + timedelta(days=300)
DAYS = 310
TABLES = ("fct_interaction", "dim_post", "dim_identity", "dim_profile", "fct_collection_span", "mart_spike")
WEIGHTS = {"reply": 1.0, "mention": 1.0, "message": 1.0, "quote": 0.5, "repost": 0.5, "bookmark": 0.5, "like": 0.1, "follow": 0.0, "rsvp": 0.0}  # fmt: skip

Tables = Mapping[str, pl.DataFrame]

_offset = st.integers(0, DAYS)
_interaction = st.fixed_dictionaries({
    "day": _offset, "hour": st.integers(0, 23), "person": st.integers(0, 7), "platform": st.sampled_from(["blog", "mast"]),
    "kind": st.sampled_from(KINDS), "direction": st.sampled_from(["inbound", "inbound", "inbound", "outbound"]),
    "post": st.integers(0, 5), "is_known": st.sampled_from([True] * 5 + [False]), "seen_later": st.sampled_from([0, 0, 1, 30]),
    "taken_back_later": st.sampled_from([None] * 6 + [0, 3, 400]), "is_audience": st.sampled_from([True] * 9 + [False]),
})  # fmt: skip
_account = st.fixed_dictionaries({
    "interactions": st.lists(_interaction, min_size=1, max_size=40),
    "posts": st.lists(_offset, min_size=1, max_size=6),
    "covered_from": st.sampled_from([0, 0, 40]), "hole": st.tuples(_offset, st.integers(1, 20)),
    "has_hole": st.booleans(), "spikes": st.lists(_offset, max_size=2, unique=True),
    "burst": st.tuples(_offset, st.integers(0, 25)),
})  # fmt: skip


def communities(*, accounts: int) -> st.SearchStrategy[Tables]:
    """Tables of so many accounts at most: people on two platforms, unknown times, things taken back, holes, bursts."""
    return st.lists(_account, min_size=1, max_size=accounts).map(_tables)


def _tables(accounts: list[dict[str, Any]]) -> Tables:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for number, account in enumerate(accounts):
        name = f"account {number}"
        rows["dim_profile"] += [{"account_id": name, "platform": p, "source": "s"} for p in ("blog", "mast")]
        rows["dim_post"] += [
            {"post_id": f"{name}/{i}", "account_id": name, "platform": "blog", "published_at": at(_day(day), 9), "observed_at": at(_day(day), 9)}
            for i, day in enumerate(account["posts"])
        ]  # fmt: skip
        rows["fct_interaction"] += [_row(name, i, said) for i, said in enumerate(account["interactions"])]
        start, people = account["burst"]
        rows["fct_interaction"] += [
            _row(name, f"burst{i}", _CAME | {"day": start, "person": 100 + i}) for i in range(people)
        ]
        rows["fct_collection_span"] += _spans(name, account)
        rows["mart_spike"] += [
            {"account_id": name, "platform": "all", "started_on": _day(s), "ended_on": _day(s + 5)} for s in account["spikes"]
        ]  # fmt: skip
    people = sorted({row["identity_id"] for row in rows["fct_interaction"]})
    # Two identities of one number are one person; the seventh is a bot.
    rows["dim_identity"] = [
        {"identity_id": i, "person_id": i.split("@")[0], "is_bot": i.startswith("p7"), "platform": i.split("@")[1], "first_seen_at": at(START)}
        for i in people
    ]  # fmt: skip
    entries = {table_.name: table_ for table_ in (*core.TABLES, *marts.TABLES)}
    return {name: table(entries[name], rows[name]).collect() for name in TABLES}


_CAME = {
    "hour": 8, "platform": "blog", "kind": "like", "direction": "inbound", "post": 0, "is_known": True, "seen_later": 0,
    "taken_back_later": None, "is_audience": True,
}  # fmt: skip


def _day(offset: int) -> date:
    return START + timedelta(days=offset)


def _row(account: str, number: int | str, said: Mapping[str, Any]) -> dict[str, Any]:
    occurred = at(_day(said["day"]), said["hour"])
    seen = occurred + timedelta(days=said["seen_later"])
    active = occurred if said["is_known"] else seen
    back = said["taken_back_later"]
    return {
        "interaction_id": f"{account}/{number}", "account_id": account, "platform": said["platform"],
        "identity_id": f"p{said['person']}@{said['platform']}", "direction": said["direction"], "kind": said["kind"],
        "is_composed": said["kind"] in COMPOSED, "occurred_at": occurred if said["is_known"] else None,
        "observed_at": seen, "active_at": active, "is_time_known": said["is_known"], "is_own_row": False,
        "is_site_wide": False, "is_audience": said["is_audience"], "loaded_at": seen,
        "post_id": f"{account}/{said['post']}" if said["post"] < 5 else None,
        "retracted_at": None if back is None else seen + timedelta(days=back),
    }  # fmt: skip


def _spans(account: str, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    first = said["covered_from"]
    hole, length = said["hole"]
    full = [(first, DAYS + 30)]
    if said["has_hole"] and first < hole:
        full = [(first, hole - 1), (hole + length, DAYS + 30)]
    return [
        span(_day(a), _day(b), account_id=account, platform=platform, stream=stream)
        for platform in ("blog", "mast")
        for stream in ("inbound", "outbound", "posts")
        for a, b in full
    ]


def of_home(home: Path) -> Tables:
    """The tables of a home, from its warehouse."""
    entries = {table_.name: table_ for table_ in (*core.TABLES, *marts.TABLES)}
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return {
            name: empty(entries[name]).vstack(connection.sql(f"from {entries[name].qualified}").pl()) for name in TABLES
        }
