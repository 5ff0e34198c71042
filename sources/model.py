"""What connectors share: the account they read, the tables they fill, the readings they report.

Nothing here talks to a network (`sources.http` does) or knows a platform. A connector yields Arrow
tables made by `RawTable.arrow`, so that what reaches the warehouse is what is declared here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal

import pyarrow as pa

from sources.row_hash import row_hashes

STREAMS = ("posts", "inbound", "outbound", "counters")
Status = Literal["ok", "partial", "down", "not_offered"]
RawType = Literal["text", "bigint", "bool", "timestamp"]
Row = dict[str, Any]

HOSTS_AT_ONCE = 16
"""Hosts that a night asks at once, unless rapport.toml says otherwise."""

_ARROW: dict[RawType, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

_STAMPS = ("row_hash", "loaded_at")

CONTRACT: dict[str, str] = {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}
"""dlt's schema contract of every raw table: the columns declared here, no others, no other types."""

INSERT_ONLY: dict[str, str] = {"disposition": "merge", "strategy": "insert-only"}
"""dlt's write disposition of every raw table: a known `row_hash` adds nothing, a new one is a new observation."""


@dataclass(frozen=True, kw_only=True)
class AccountSource:
    """One `[[account.source]]` of rapport.toml: where a connector reads an account.

    `options` may hold secrets, so it is left out of the representation.
    """

    account_id: str
    source: str
    url: str
    endpoint: str | None = None
    allow_private: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What `rapport add` writes and says: connector, its address, a name, a sentence, a name for the account."""

    source: str
    url: str
    title: str | None
    summary: str
    account: str | None = None


class SourceError(Exception):
    """Something a user can understand went wrong while reading a source.

    >>> str(SourceError("The feed is empty", "https://blog.example/feed", "Check the address in a browser."))
    'The feed is empty: https://blog.example/feed. Check the address in a browser.'
    """

    def __init__(self, what: str, where: str, todo: str) -> None:
        """`what` was wrong, `where`, and what `todo` about it."""
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what, where, todo)

    def __str__(self) -> str:
        """The three parts as one message."""
        return f"{self.what}: {self.where}. {self.todo}"


@dataclass(frozen=True, kw_only=True)
class RawColumn:
    """One column of a raw table, as the platform says it."""

    name: str
    doc: str
    dtype: RawType = "text"
    nullable: bool = True


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A raw table: insert-only, one row an observation, keyed by a hash of the observation."""

    name: str
    doc: str
    columns: tuple[RawColumn, ...]

    @property
    def hints(self) -> dict[str, dict[str, Any]]:
        """Column hints for dlt: types, nullability, documentation, the key."""
        return {
            column.name: {
                "name": column.name,
                "data_type": column.dtype,
                "description": column.doc,
                "nullable": column.nullable,
                **({"primary_key": True} if column.name == "row_hash" else {}),
            }
            for column in self.columns
        }

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the table."""
        return pa.schema([pa.field(c.name, _ARROW[c.dtype], nullable=c.nullable) for c in self.columns])

    def arrow(self, rows: Iterable[Row], *, loaded_at: datetime, seen: dict[str, set[str]] | None = None) -> pa.Table:
        """The rows as an Arrow table: hashed, stamped with `loaded_at`, each observation once.

        Rows that say the same are one observation, in whatever order they came; `seen` remembers
        them from one page to the next, by account: what one says no other can. A key that is no column is a mistake of the connector and
        raises `KeyError`.
        """
        rows = list(rows)
        known = {column.name for column in self.columns}
        there = set().union(*rows)
        if strange := there - known:
            raise KeyError(f"{self.name} has no columns {sorted(strange)}")
        content = pa.table(
            {
                c.name: _array(_column(rows, c.name), _ARROW[c.dtype])
                if c.name in there
                else pa.nulls(len(rows), _ARROW[c.dtype])
                for c in self.columns
                if c.name not in _STAMPS
            }
        )
        seen = {} if seen is None else seen
        hashes, kept = [], []
        for place, digest in enumerate(row_hashes(content)):
            known_rows = seen.setdefault(rows[place].get("account_id", ""), set())
            if digest not in known_rows:
                known_rows.add(digest)
                hashes.append(digest)
                kept.append(place)
        content = content if len(kept) == len(rows) else content.take(pa.array(kept, type=pa.int64()))
        stamps = {"row_hash": pa.array(hashes, type=pa.string()), "loaded_at": [loaded_at] * len(kept)}
        return pa.Table.from_arrays(
            [
                pa.array(stamps[f.name], type=f.type) if f.name in stamps else content[f.name].combine_chunks()
                for f in self.schema
            ],
            schema=self.schema,
        )


def _column(rows: list[Row], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row.get(name) for row in rows]


def _array(values: list[Any], dtype: pa.DataType) -> pa.Array:
    """The values as Arrow; half a surrogate pair (JSON can spell one) is no text that a table can hold."""
    try:
        return pa.array(values, type=dtype)
    except UnicodeEncodeError:
        whole = [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
        return pa.array(whole, type=dtype)


KEY = RawColumn(name="row_hash", doc="Hash of what the row says: the key of the observation.", nullable=False)
LOADED_AT = RawColumn(
    name="loaded_at", doc="When the observation reached the warehouse.", dtype="timestamp", nullable=False
)
ACCOUNT_ID = RawColumn(name="account_id", doc="The account: its name in rapport.toml.", nullable=False)

READINGS = RawTable(
    name="readings",
    doc="Each attempt to read a stream of an account: what it covers, or why it failed.",
    columns=(
        ACCOUNT_ID,
        RawColumn(name="platform", doc="The platform.", nullable=False),
        RawColumn(name="source", doc="The connector.", nullable=False),
        RawColumn(name="stream", doc="What was read: posts, inbound, outbound or counters.", nullable=False),
        RawColumn(name="read_at", doc="When the reading ended.", dtype="timestamp", nullable=False),
        RawColumn(
            name="covers_from", doc="The reading covers from here; null where it is not complete.", dtype="timestamp"
        ),
        RawColumn(name="born_at", doc="When the platform says the profile was created.", dtype="timestamp"),
        RawColumn(name="status", doc="ok, partial, down or not_offered.", nullable=False),
        RawColumn(name="reason", doc="Why the status is not ok."),
        KEY,
        LOADED_AT,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What reading one stream of one place came to: a place is one feed, one domain."""

    status: Status
    covers_from: datetime | None = None
    reason: str | None = None


def reading(
    *,
    account_id: str,
    platform: str,
    source: str,
    stream: str,
    read_at: datetime,
    status: Status,
    covers_from: datetime | None = None,
    born_at: datetime | None = None,
    reason: str | None = None,
) -> Row:
    """One row for `READINGS`."""
    return {
        "account_id": account_id,
        "platform": platform,
        "source": source,
        "stream": stream,
        "read_at": read_at,
        "covers_from": covers_from,
        "born_at": born_at,
        "status": status,
        "reason": reason,
    }


def readings(
    account_id: str,
    outcomes: Mapping[str, Sequence[Outcome]],
    *,
    platform: str,
    source: str,
    read_at: datetime,
    keeps_history: bool = False,
) -> list[Row]:
    """One reading per stream of an account; a stream without outcomes is `not_offered`.

    An account may have several places on a platform (two feeds): the stream is as complete as the
    least complete of them. `ok` needs all of them; it covers from the latest of their starts, since
    before that one of them is unknown - or from the earliest where the platform `keeps_history`, so
    that before its start a place had nothing. All failed is `down`, anything between is `partial`.
    """
    return [
        reading(
            account_id=account_id,
            platform=platform,
            source=source,
            stream=stream,
            read_at=read_at,
            status=combined.status,
            covers_from=combined.covers_from,
            reason=combined.reason,
        )
        for stream in STREAMS
        for combined in [_combined(outcomes.get(stream, ()), platform, min if keeps_history else max)]
    ]


def _combined(outcomes: Sequence[Outcome], platform: str, start: Callable[..., datetime | None]) -> Outcome:
    if not outcomes:
        return Outcome(status="not_offered", reason=f"{platform} does not offer it")
    failed = [outcome for outcome in outcomes if outcome.status != "ok"]
    if not failed:
        starts = [outcome.covers_from for outcome in outcomes if outcome.covers_from is not None]
        return Outcome(status="ok", covers_from=start(starts, default=None))
    reason = " ".join(dict.fromkeys(outcome.reason for outcome in failed if outcome.reason))
    all_down = all(outcome.status == "down" for outcome in outcomes)
    return Outcome(status="down" if all_down else "partial", reason=reason)
