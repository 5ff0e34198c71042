"""What the readers of all archives share: one archive being read, and rows as Arrow, fast.

An archive holds millions of rows at once where a night brings hundreds, so the rows are hashed and
turned into columns without the detours that `RawTable.arrow` can afford. Both give the same table.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa

from sources.batches import Batch
from sources.model import Outcome, RawTable, Row
from sources.observations import INTERACTIONS, LISTS, SIGHTINGS
from sources.timestamps import EARLIEST, parse_time

_SAID = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


@dataclass
class Contents:
    """One archive of one account: where it is, what is known of it, how far what it holds reaches.

    A reader sets `born_at` (the profile's birth) and `made_at` (when the archive was made) where the
    archive says so, and names the streams it `holds`.
    """

    path: Path
    account_id: str
    platform: str
    read_at: datetime
    store_text: bool = False
    warn: Callable[[str], object] = lambda _: None
    born_at: datetime | None = None
    made_at: datetime | None = None
    holds: set[str] = field(default_factory=set)
    _oldest: str | None = None
    _newest: str | None = None

    def row(self, **values: object) -> Row:
        """A row of this account on this platform."""
        return {"account_id": self.account_id, "platform": self.platform, **values}

    def saw(self, times: Iterable[str | None]) -> None:
        """Times of rows, as ISO 8601 in UTC (they sort as texts), which say how far the archive reaches."""
        known = [time for time in times if time and time >= "1990"]
        if known:
            self._oldest = min([*known, *([self._oldest] if self._oldest else [])])
            self._newest = max([*known, *([self._newest] if self._newest else [])])

    @property
    def newest(self) -> datetime | None:
        """The time of the newest row."""
        return moment(self._newest)

    def undated(self, name: str, rows: Sequence[Row]) -> list[Batch]:
        """A whole list whose items bear no time: they were there when the archive was made."""
        observed = min(self.made_at or self.read_at, self.read_at)
        sightings = [
            self.row(list=name, item=row["interaction"], event="seen", observed_at=observed)
            for row in rows
            if row["interaction"]
        ]
        return [Batch(INTERACTIONS, list(rows)), Batch(SIGHTINGS, sightings)]

    def whole(self, name: str, items: int) -> Batch:
        """A list was read to its end."""
        observed = min(self.made_at or self.read_at, self.read_at)
        return Batch(LISTS, [self.row(list=name, observed_at=observed, is_complete=True, items=items)])

    def outcomes(self) -> dict[str, list[Outcome]]:
        """What each stream that the archive holds comes to: whole from the birth, or the oldest row."""
        until = min(self.made_at or self.newest or self.read_at, self.read_at)
        start = min([m for m in (self.born_at, moment(self._oldest)) if m], default=until)
        return {stream: [Outcome(status="ok", covers_from=min(start, until))] for stream in self.holds}


def moment(text: str | None) -> datetime | None:
    """The moment that a text names, None where it names none that can be.

    >>> moment("2020-01-02T03:04:05Z").isoformat(), moment("soon")
    ('2020-01-02T03:04:05+00:00', None)
    """
    try:
        found = parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found and found >= EARLIEST else None


def page_of(table: RawTable, rows: Sequence[Row], *, loaded_at: datetime) -> pa.Table:
    """The rows as `RawTable.arrow` gives them, several times as fast; duplicates may be among them."""
    names = {column.name for column in table.columns}
    if unknown := {key for row in rows for key in row} - names:
        raise KeyError(f"{table.name} has no columns {sorted(unknown)}")
    try:
        columns = [_column(field, rows, loaded_at) for field in table.schema]
    except (TypeError, UnicodeEncodeError, pa.ArrowException):  # half a surrogate pair: no text to either library
        return table.arrow(rows, loaded_at=loaded_at)
    return pa.Table.from_arrays(columns, schema=table.schema)


def _column(field: pa.Field, rows: Sequence[Row], loaded_at: datetime) -> pa.Array:
    if field.name == "row_hash":
        return pa.array([_hash(row) for row in rows], type=field.type)
    if field.name == "loaded_at":
        return pa.array([loaded_at] * len(rows), type=field.type)
    return pa.array([row.get(field.name) for row in rows], type=field.type)


def _hash(row: Row) -> str:
    """`sources.model.row_hash` by a faster writer of the same JSON."""
    said = {name: value for name, value in row.items() if value is not None}
    return hashlib.sha256(orjson.dumps(said, default=str, option=_SAID)).hexdigest()[:32]
