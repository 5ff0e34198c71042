"""The three engines that a person-level step may run on: what a step needs to know of each.

Steps over people are written once in narwhals; the frame that comes in decides where they run: a Polars lazy frame, a
DuckDB relation (larger than memory, spilling), or a Spark frame (a cluster). What is known of accounts is Polars.
Between the two stand three verbs: `kept` (compute now, stay in the engine), `beside` (bring a small Polars frame to
the engine of another) and `collected` (compute now, go on in Polars). Nothing here may know what any column means.

PySpark is an extra and never imported here: a Spark frame knows its own session.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import narwhals as nw
import polars as pl

KEPT = "kept_rows_"
"""Temporary tables of DuckDB start with this; whoever owns the connection drops them (`warehouse.py`)."""

_numbers = itertools.count()


def collected(frame: Any) -> pl.LazyFrame:
    """The frame of any engine (native or narwhals), computed now, as Polars.

    Polars' optimiser does not share every common part: what several steps read is computed once, here. Integers of the
    other engines come as Int64 (a sum of integers is 128 bits wide in DuckDB), timestamps in UTC.

    >>> import duckdb
    >>> collected(duckdb.sql("select sum(x) as total from range(3) as numbers(x)")).collect().rows()
    [(3,)]
    """
    native = nw.to_native(frame, pass_through=True)
    if isinstance(native, pl.LazyFrame):
        return native.collect(engine="streaming").lazy()
    people = nw.from_native(native)
    if people.implementation.is_duckdb():
        typed = ", ".join(_typed(name, str(kind)) for name, kind in zip(native.columns, native.types, strict=True))
        found = native.query("rows_to_collect", f"select {typed} from rows_to_collect").pl()  # noqa: S608 - our columns
    else:
        found = pl.DataFrame(native.toArrow())
    utc = [pl.col(name).dt.convert_time_zone("UTC") for name, kind in found.schema.items() if _is_zoned(kind)]
    return found.lazy().with_columns(pl.selectors.integer().cast(pl.Int64), *utc)


def _typed(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"cast({quoted} as bigint) as {quoted}" if kind == "HUGEINT" else quoted


def _is_zoned(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_zone is not None


def kept(people: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows, computed now and kept in their engine, because several steps read them.

    Polars keeps them in memory, DuckDB in a temporary table (which may spill), Spark on its executors.
    """
    native: Any = people.to_native()
    if people.implementation.is_polars():
        return nw.from_native(collected(native))
    if people.implementation.is_duckdb():
        table = f"{KEPT}{next(_numbers)}"
        native.query("rows_to_keep", f"create or replace temporary table {table} as from rows_to_keep")
        return nw.from_native(native.query("rows_to_keep", f"from temp.{table}"))
    return nw.from_native(native.localCheckpoint(eager=True))


def beside(frame: pl.LazyFrame, people: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """A small Polars frame, brought to the engine of `people` to be joined there."""
    if people.implementation.is_polars():
        return nw.from_native(frame)
    native: Any = people.to_native()
    small_rows = frame.collect().to_arrow()
    if people.implementation.is_duckdb():
        table = f"{KEPT}{next(_numbers)}"
        native.query("any_rows", f"create or replace temporary table {table} as from small_rows")
        return nw.from_native(native.query("any_rows", f"from temp.{table}"))
    return nw.from_native(native.sparkSession.createDataFrame(plain_arrow(small_rows)))


def joined(
    rows: nw.LazyFrame[Any], *others: nw.LazyFrame[Any], on: Sequence[str], how: Literal["left", "inner"]
) -> pl.LazyFrame:
    """The rows with the columns of all others, as Polars: joined in Polars, or in the engine where they are elsewhere."""
    if rows.implementation.is_polars():
        found = collected(rows)
        for other in others:
            found = found.join(collected(other), on=list(on), how=how)
        return found
    for other in others:
        rows = rows.join(other, on=list(on), how=how)
    return collected(rows)


def plain_arrow(table: Any) -> Any:
    """Arrow's rows with the plain strings that Spark knows."""
    import pyarrow as pa  # noqa: PLC0415 - only where Spark runs

    views = {pa.string_view(): pa.string(), pa.large_string(): pa.string()}
    return table.cast(pa.schema([field.with_type(views.get(field.type, field.type)) for field in table.schema]))
