"""How rows lie in the warehouse: the columns of a table in SQL, the order of its rows, and the parts they are handed over in."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from assets.account_ranges import InRanges
from quality.catalog.model import Dtype, Table, check_columns, empty, enforce, enforced_parts

ROW_GROUP = 122_880
"""Rows of one of DuckDB's groups."""
_LEAST_GIB = 1.0
_LOOKED_AT = 1_000_000
"""So many rows are computed before any is written: most tables have fewer, and can be sorted then."""
FORMAT = "v1.3.0"
"""The oldest DuckDB that opens a new warehouse: since then texts have a compression that is written in two thirds of the time.

A warehouse that is there keeps the format it was made in, and what is published has DuckDB's own, which older readers open.
"""


def make(path: Path) -> None:
    """Make the warehouse file in that format, unless it is there: whoever opens it later keeps to it."""
    if not path.exists():
        duckdb.connect(str(path), config={"storage_compatibility_version": FORMAT}).close()


@cache
def usual_memory() -> str:
    """What DuckDB may take unless somebody says otherwise: a sixth of the machine.

    Its own limit is 80 %, which would leave Polars and everybody else what is left.
    """
    with duckdb.connect() as connection:
        (limit,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("1 GiB",)
    amount, unit = str(limit).split()
    usual = max(float(amount) / 6 / 0.8, _LEAST_GIB if unit == "GiB" else 0.0)
    return f"{usual:.2f}{unit}"


def enforced(table: Table, columns: Sequence[str]) -> str:
    """A query for the rows of the view `rows_of_relation` in contract order, with the table's types; NaN is null.

    Raises `ContractError` where a column is missing or not declared.
    """
    check_columns(table, columns)
    typed = (
        f'nullif(cast("{c.name}" as {c.dtype.duckdb}), \'nan\'::double) as "{c.name}"'
        if c.dtype is Dtype.FLOAT
        else f'cast("{c.name}" as {c.dtype.duckdb}) as "{c.name}"'
        for c in table.columns
    )
    return f"select {', '.join(typed)} from rows_of_relation"  # noqa: S608 - names come from the catalogue


def stored_in(table: Table) -> str:
    """The columns of a table of the catalogue, for `create table`."""
    return ", ".join(f'"{column.name}" {column.dtype.duckdb}' for column in table.columns)


def ordered(table: Table) -> str:
    """The order of the rows in storage: by month where the table is read by month, then by key."""
    month = [f"date_trunc('month', \"{table.month_of}\")"] if table.month_of else []
    return ", ".join([*month, *(f'"{name}"' for name in table.key)])


class Incoming:
    """Rows of a table on their way into DuckDB: of its types, in the order of storage, each part made while others are written.

    What makes them may read the warehouse through cursors, not through the connection that writes: that one waits for them.
    Where the first parts are not in that order, all rows are computed and sorted first. Where a later one is not, or does
    not fit, the `reader` breaks off; `error` says why.
    """

    def __init__(self, table: Table, frame: pl.DataFrame | pl.LazyFrame | InRanges) -> None:
        """Compute the first parts. Raises `ContractError` as `enforce` does."""
        self.error: Exception | None = None
        self._order = None if table.layer == "staging" else _order(table)  # staging is only read whole
        self._last: pl.DataFrame | None = None
        parts, first = _parts(table, frame), [empty(table)]
        while sum(part.height for part in first) < _LOOKED_AT and (part := next(parts, None)) is not None:
            first.append(part)
        begun = pl.concat(first)
        if self._is_next(begun):
            parts = chain(begun.iter_slices(ROW_GROUP), self._in_order(table, parts))
        else:
            parts = in_order(table, pl.concat([begun, *parts])).iter_slices(ROW_GROUP)
        self.reader = pa.RecordBatchReader.from_batches(empty(table).to_arrow().schema, self._batches(parts))

    def _is_next(self, part: pl.DataFrame) -> bool:
        """Whether the part is in order, and comes after the one before it."""
        if self._order is None or part.is_empty():
            return True
        keys = part.select(self._order)
        is_next = is_sorted(keys if self._last is None else pl.concat([self._last, keys]), keys.columns)
        self._last = keys.tail(1)
        return is_next

    def _in_order(self, table: Table, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for part in parts:
            if not self._is_next(part):
                raise DisorderError(table.name)
            yield part

    def _batches(self, parts: Iterator[pl.DataFrame]) -> Iterator[pa.RecordBatch]:
        try:
            for part in parts:
                yield from part.rechunk().to_arrow().to_batches()
        except Exception as error:
            self.error = error  # DuckDB would only say that there was one
            raise


def _parts(table: Table, frame: pl.DataFrame | pl.LazyFrame | InRanges) -> Iterator[pl.DataFrame]:
    if not isinstance(frame, InRanges):
        yield from enforced_parts(table, frame, ROW_GROUP)
        return
    for some in frame:
        # One range comes after the other; within it the rows are all there, and can be sorted.
        yield from in_order(table, enforce(table, some)).iter_slices(ROW_GROUP)


class DisorderError(Exception):
    """Rows that began in the order of storage did not go on in it."""


def in_order(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of storage."""
    keys = rows.select(_order(table))
    return rows if is_sorted(keys, keys.columns) else rows.sort(_order(table))


def _order(table: Table) -> list[pl.Expr]:
    """The order of the rows in storage, as `ordered` says it in SQL."""
    if table.month_of is None:
        return [pl.col(name) for name in table.key]
    day = pl.col(table.month_of)
    month = day.dt.year().cast(pl.Int32) * 12 + day.dt.month().cast(pl.Int32)
    return [month.alias("month of the row"), *(pl.col(name) for name in table.key)]


def is_sorted(rows: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether the rows are in the order of the key: looking costs a fiftieth of sorting.

    >>> rows = pl.DataFrame({"a": [1, 1, 2], "b": [1, 2, 1]})
    >>> is_sorted(rows, ("a", "b")), is_sorted(rows, ("b", "a"))
    (True, False)
    """
    # Columns are compared one beside the other, on all cores.
    compared = rows.select(
        *((pl.col(name) < pl.col(name).shift(1)).alias(f"{name} falls") for name in key),
        *((pl.col(name) == pl.col(name).shift(1)).alias(f"{name} stays") for name in key),
    )
    is_before = pl.lit(value=False)
    for name in reversed(key):
        is_before = pl.col(f"{name} falls") | (pl.col(f"{name} stays") & is_before)
    return not compared.select(is_before.any()).item()


def in_row_groups(rows: pl.DataFrame) -> pa.RecordBatchReader:
    """The rows for DuckDB in parts as large as its row groups, each made while others are being written."""
    schema = rows.head(0).to_arrow().schema
    slices = rows.iter_slices(ROW_GROUP)
    parts = (batch for part in slices for batch in part.rechunk().to_arrow().to_batches())
    return pa.RecordBatchReader.from_batches(schema, parts)
