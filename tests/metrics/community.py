"""Small communities for tests of people's metrics: tables from plain rows, and the same tables in DuckDB."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
from hypothesis import strategies as st

from quality.catalog import core, folds
from quality.catalog.model import Table, empty

COUNTS = (
    "inbound", "inbound_active", "inbound_composed", "outbound", "outbound_composed", "inbound_untimed",
    "inbound_composed_untimed", "outbound_composed_untimed", "followed", "followed_untimed", "unfollowed",
)  # fmt: skip
START = date(2024, 1, 1)
"""A Monday, and the first of a month."""


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def table(entry: Table, rows: Iterable[Mapping[str, Any]]) -> pl.LazyFrame:
    """The rows as that table; columns that a row does not name are null."""
    schema = empty(entry).schema
    return pl.LazyFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def fold(rows: Iterable[Mapping[str, Any]]) -> pl.LazyFrame:
    """The fold: a row is one composed inbound interaction unless it says otherwise."""
    full = []
    for row in rows:
        filled = {
            "account_id": "a", "platform": "blog", **dict.fromkeys(COUNTS, 0),
            "inbound": 1, "inbound_active": 1, "inbound_composed": 1, "value": 1.0, "strength": 1.0, "is_ended": False,
        } | dict(row)  # fmt: skip
        if filled["inbound_active"]:
            filled = {"first_at": at(filled["date"]), "last_at": at(filled["date"])} | filled
        full.append(filled)
    return table(folds.fold_relationship_day, full)


def visits(person: str, *days: date, **more: Any) -> list[dict[str, Any]]:
    return [{"identity_id": person, "date": day, **more} for day in days]


def identities(people: Mapping[str, str] | Iterable[str], *, bots: Iterable[str] = ()) -> pl.LazyFrame:
    """Identities and their persons; a plain list means that each is its own person."""
    persons = people if isinstance(people, Mapping) else {name: name for name in people}
    return table(
        core.dim_identity,
        [
            {"identity_id": i, "person_id": p, "platform": "blog", "is_bot": i in bots, "first_seen_at": at(START)}
            for i, p in persons.items()
        ],
    )


def posts(*days: date, **more: Any) -> pl.LazyFrame:
    return table(
        core.dim_post,
        [
            {
                "post_id": f"{more}{i}",
                "account_id": "a",
                "platform": "blog",
                "published_at": at(d),
                "observed_at": at(d),
            }
            | more
            for i, d in enumerate(days)
        ],
    )


def profiles(**more: Any) -> pl.LazyFrame:
    return table(core.dim_profile, [{"account_id": "a", "platform": "blog", "source": "s"} | more])


def span(from_date: date, to_date: date, **more: Any) -> dict[str, Any]:
    return {
        "account_id": "a", "platform": "blog", "stream": "inbound", "from_date": from_date, "to_date": to_date,
        "status": "ok",
    } | more  # fmt: skip


def spans(*rows: dict[str, Any]) -> pl.LazyFrame:
    return table(core.fct_collection_span, rows)


def in_duckdb(frame: pl.LazyFrame, connection: duckdb.DuckDBPyConnection, name: str) -> nw.LazyFrame[Any]:
    """The frame as a relation, for the same narwhals step on another engine."""
    connection.register(f"{name}_arrow", frame.collect().to_arrow())
    connection.execute(f"create or replace table {name} as select * from {name}_arrow")
    return nw.from_native(connection.table(name))


def as_rows(frame: Any) -> list[tuple[Any, ...]]:
    """Rows of any engine's frame, sorted, columns by name: for comparison."""
    native = frame.collect("polars").to_native() if isinstance(frame, nw.LazyFrame) else frame.lazy().collect()
    named = native.select(sorted(native.columns))
    return sorted(named.rows(), key=lambda row: [(value is None, str(value)) for value in row])


@st.composite
def small_communities(draw: st.DrawFn, *, days: int = 150, people: int = 6, each: int = 12) -> dict[str, list[date]]:
    """Each person's active days (perhaps with repeats), from `START` on."""
    offsets = st.lists(st.integers(0, days - 1), min_size=1, max_size=each)
    lives = draw(st.lists(offsets, min_size=1, max_size=people))
    return {f"p{i}": [START + timedelta(days=d) for d in sorted(set(life))] for i, life in enumerate(lives)}


def fold_of(community: Mapping[str, list[date]]) -> pl.LazyFrame:
    return fold(row for person, days in community.items() for row in visits(person, *days))
