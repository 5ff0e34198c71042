"""Export archives: what a platform hands out of an account's history, also where it has no open API.

`rapport import` runs this source. An archive is recognised by its content (`archive_files`), read as a
stream by the module of its kind, and loaded in parts of bounded size, so that memory does not grow
with the archive. What an archive holds of a platform has the ids that the platform's connector
gives it: the same post from both is one post.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.schema.typing import TSchemaContract, TTableSchemaColumns
from dlt.extract.resource import DltResource
from dlt.extract.source import DltSource

from sources import archive_car, archive_mastodon, archive_x
from sources.archive_files import Kind, recognise
from sources.archive_rows import Contents
from sources.batches import Batch
from sources.model import CONTRACT, INSERT_ONLY, READINGS, RawTable, Row, SourceError, readings
from sources.observations import TABLES

NAME = PLATFORM = "archive"
STREAMS = ("posts", "inbound", "outbound")
_READERS: dict[Kind, Callable[[Contents], Iterator[Batch]]] = {
    "x": archive_x.read,
    "mastodon": archive_mastodon.read,
    "bluesky": archive_car.read,
}
_PAGE = 20_000
_PART = 1 << 26  # bytes of a part: few large files load faster than many small ones


@dataclass
class _Part:
    """Rows of one table on their way; dlt holds on to the part for long, so whoever takes the rows empties it."""

    table: RawTable
    rows: pa.Table

    def take(self) -> pa.Table:
        rows, self.rows = self.rows, None
        return rows


def source(
    files: Sequence[Path] = (),
    *,
    account: str | None = None,
    read_at: datetime,
    store_text: bool = False,
    warn: Callable[[str], object] = lambda _: None,
) -> DltSource:
    """The archives of one account as a dlt source: one resource a raw table, there also without files.

    Each stream that an archive holds is covered from the profile's birth, or else the account's
    oldest row, to the time when the archive was made. `warn` is told what was noticed. Raises
    `SourceError` at once for what is no archive, and while reading for what is damaged: then
    nothing is loaded.
    """
    kinds = [(path, recognise(path)) for path in files]
    for path, kind in kinds:
        if kind not in _READERS:
            raise SourceError(
                "This is no archive that rapport knows", str(path), "See docs/archives.md for what it reads."
            )
    if kinds and not account:
        raise SourceError("An archive needs the account it belongs to", str(files[0]), "Say --account NAME.")

    @dlt.resource(name=f"{NAME}_read", selected=False)
    def parts() -> Iterator[Any]:
        yield from (_Part(table, table.schema.empty_table()) for table in TABLES)
        if account:
            found = ((cast("Kind", kind), path) for path, kind in kinds)
            yield from _parts(
                batches(found, account=account, read_at=read_at, store_text=store_text, warn=warn), read_at
            )

    @dlt.source(name=NAME)
    def archive_source() -> Any:
        return [parts, *(_resource(parts, table) for table in TABLES)]

    return archive_source()


def batches(
    found: Iterator[tuple[Kind, Path]] | Sequence[tuple[Kind, Path]],
    *,
    account: str,
    read_at: datetime,
    store_text: bool = False,
    warn: Callable[[str], object] = lambda _: None,
) -> Iterator[Batch]:
    """Everything the archives hold, and what they cover. Raises `SourceError` for a damaged one."""
    for kind, path in found:
        contents = Contents(
            path=path, account_id=account, platform=kind, read_at=read_at, store_text=store_text, warn=warn
        )
        yield from _READERS[kind](contents)
        until = min(contents.made_at or contents.newest or read_at, read_at)
        rows = readings(account, contents.outcomes(), platform=kind, source=NAME, read_at=until)
        yield Batch(READINGS, [{**row, "born_at": contents.born_at} for row in rows])


def _parts(batches: Iterator[Batch], read_at: datetime) -> Iterator[_Part]:
    """The batches gathered into large parts, each observation once."""
    waiting: dict[str, list[Row]] = {table.name: [] for table in TABLES}
    ready: dict[str, list[pa.Table]] = {table.name: [] for table in TABLES}
    seen = {table.name: _Seen() for table in TABLES}
    tables = {table.name: table for table in TABLES}

    def page(name: str) -> None:
        ready[name].append(seen[name].new(tables[name].arrow(waiting[name], loaded_at=read_at)))
        waiting[name] = []

    for batch in batches:
        name = batch.table.name
        waiting[name] += batch.rows
        if len(waiting[name]) >= _PAGE:
            page(name)
        if sum(rows.nbytes for rows in ready[name]) >= _PART:
            yield _Part(tables[name], pa.concat_tables(ready[name]))
            ready[name] = []
    for name, table in tables.items():
        page(name)
        yield _Part(table, pa.concat_tables(ready[name]))


class _Seen:
    """The keys of the rows so far: eight bytes each, so that a large archive does not fill the memory."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)

    def new(self, rows: pa.Table) -> pa.Table:
        """The rows that were not there yet."""
        keys = np.array([int(key[:16], 16) for key in rows["row_hash"].to_pylist()], dtype=np.uint64)
        unique, first = np.unique(keys, return_index=True)
        place = np.searchsorted(self._sorted, unique)
        known = np.zeros(len(unique), dtype=bool)
        inside = place < len(self._sorted)
        known[inside] = self._sorted[place[inside]] == unique[inside]
        self._sorted = np.insert(self._sorted, place[~known], unique[~known])
        kept = np.sort(first[~known])
        return rows if len(kept) == rows.num_rows else rows.take(pa.array(kept))


def _resource(parts: DltResource, table: RawTable) -> DltResource:
    """The resource of one table. What first fills it is appended: there is nothing to compare it with."""
    appends: list[bool] = []

    def part(item: _Part) -> Iterator[Any]:
        if item.table is not table:
            return
        rows = item.take()
        if not rows.num_rows:
            yield table.schema.empty_table()
            return
        if not appends:
            state = dlt.current.resource_state(table.name)
            appends.append(not state.get("is_filled"))
            state["is_filled"] = True
        hints = dlt.mark.make_hints(write_disposition="append" if appends[0] else cast("Any", INSERT_ONLY))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "part.parquet"
            pq.write_table(rows, path, compression="lz4", row_group_size=_PAGE * 2)
            count, rows = rows.num_rows, None
            # dlt takes the file as it is (a hard link) before it asks for the next one.
            yield dlt.mark.with_file_import(str(path), "parquet", count, hints)

    part.__doc__ = table.doc
    resource = dlt.transformer(
        part,
        data_from=parts,
        name=table.name,
        columns=cast("TTableSchemaColumns", table.hints),
        write_disposition=cast("Any", INSERT_ONLY),
        schema_contract=cast("TSchemaContract", CONTRACT),
    )
    return cast("DltResource", resource)
