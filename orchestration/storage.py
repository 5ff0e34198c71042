"""How rows lie in the warehouse: the columns of a table in SQL, the order of its rows, and the parts they are handed over in."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from quality.catalog.model import Dtype, Table, check_columns

ROW_GROUP = 122_880
"""Rows of one of DuckDB's groups."""
FORMAT = "v1.3.0"
"""The oldest DuckDB that opens a new warehouse: since then texts have a compression that is written in two thirds of the time.

A warehouse that is there keeps the format it was made in, and what is published has DuckDB's own, which older readers open.
"""


def make(path: Path) -> None:
    """Make the warehouse file in that format, unless it is there: whoever opens it later keeps to it."""
    if not path.exists():
        duckdb.connect(str(path), config={"storage_compatibility_version": FORMAT}).close()


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


def sorted_as_stored(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in that order."""
    if table.month_of is None:
        return rows if is_sorted(rows, table.key) else rows.sort(table.key)
    day = pl.col(table.month_of)
    return rows.sort(day.dt.year().cast(pl.Int32) * 12 + day.dt.month().cast(pl.Int32), *table.key)


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
