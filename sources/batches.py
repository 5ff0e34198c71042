"""From one reading to several raw tables: the dlt side of every connector that reads a network.

A connector is a generator of `Batch`; each is a page of rows for one table. One hidden resource
runs the generator, one visible resource per table takes its batches, so the pages are read once.
Small pages are put together first: an Arrow table costs more than the few rows of one account.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TSchemaContract, TTableSchemaColumns
from dlt.extract.resource import DltResource
from dlt.extract.source import DltSource

from sources.model import CONTRACT, INSERT_ONLY, READINGS, RawTable, Row

TOGETHER = 1_000
"""Rows of all tables that may wait to be put together."""


@dataclass(frozen=True)
class Batch:
    """A page of rows for one table."""

    table: RawTable
    rows: list[Row]


def batch_source(
    name: str, read: Callable[[], Iterator[Batch]], *, tables: Sequence[RawTable], read_at: datetime
) -> DltSource:
    """The dlt source `name` with one resource per table, filled from the batches of `read`.

    Every table exists after the first run, also an empty one. `read` may use dlt's state.
    """

    @dlt.resource(name=f"{name}_read", selected=False)
    def batches() -> Iterator[Any]:
        yield from (Batch(table, []) for table in tables)
        yield from together(read())

    @dlt.source(name=name)
    def source() -> Any:
        return [batches, *(_table(batches, table, read_at) for table in tables)]

    return source()


def together(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same rows in fewer batches; a reading comes after the rows that it speaks of.

    >>> small = [Batch(READINGS, [{"stream": "posts"}]), Batch(READINGS, [{"stream": "inbound"}])]
    >>> [len(batch.rows) for batch in together(small)]
    [2]
    """
    waiting: dict[str, Batch] = {}
    for batch in batches:
        if batch.rows:
            waiting.setdefault(batch.table.name, Batch(batch.table, [])).rows.extend(batch.rows)
        if sum(len(kept.rows) for kept in waiting.values()) >= TOGETHER:
            yield from _readings_last(waiting)
            waiting = {}
    yield from _readings_last(waiting)


def _readings_last(waiting: dict[str, Batch]) -> list[Batch]:
    return sorted(waiting.values(), key=lambda batch: batch.table is READINGS)


def _table(batches: Any, table: RawTable, read_at: datetime) -> DltResource:
    seen: dict[str, set[str]] = {}  # pages repeat rows; a merge takes each key once

    def rows(batch: Batch) -> Iterator[pa.Table]:
        if batch.table is table:
            yield table.arrow(batch.rows, loaded_at=read_at, seen=seen)
        if batch.table is READINGS:
            for row in batch.rows:  # the account has been read, and every row names its account
                seen.pop(row["account_id"], None)

    rows.__doc__ = table.doc
    resource = dlt.transformer(
        rows,
        data_from=batches,
        name=table.name,
        columns=cast("TTableSchemaColumns", table.hints),
        write_disposition=cast("Any", INSERT_ONLY),
        schema_contract=cast("TSchemaContract", CONTRACT),
    )
    return cast("DltResource", resource)
