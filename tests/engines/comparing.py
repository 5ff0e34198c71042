"""One engine's rows against another's."""

import math
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from assets.metrics.engines import collected, plain_arrow


def plain(frame: Any) -> pl.DataFrame:
    """The rows of any engine's frame in an order of their own; floats last, because their last bit may differ."""
    found = collected(frame.lazy() if isinstance(frame, pl.DataFrame) else frame).collect()
    zoned = [n for n, kind in found.schema.items() if isinstance(kind, pl.Datetime)]
    found = found.with_columns(
        pl.col(zoned).dt.epoch("us"), pl.selectors.categorical().cast(pl.String), pl.selectors.integer().cast(pl.Int64)
    )
    is_real = {name: kind.is_float() for name, kind in found.schema.items()}
    columns = sorted(found.columns, key=lambda name: (is_real[name], name))
    return found.select(columns).sort(columns)


def differences(got: Any, want: Any) -> list[str]:
    """What differs: columns, types (integer, real, text, ...), the number of rows, the first row; floats within 1e-9."""
    left, right = plain(got), plain(want)
    if left.schema != right.schema:
        return [f"columns {left.schema} for {right.schema}"]
    if left.height != right.height:
        return [f"{left.height} rows for {right.height}"]
    if left.equals(right):
        return []
    pairs = zip(left.iter_rows(), right.iter_rows(), strict=True)
    return next(([f"{a} for {b}"] for a, b in pairs if not all(map(_same, a, b))), [])


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return type(a) is type(b) and a == b


def on_duckdb(frame: pl.DataFrame, connection: Any, name: str) -> nw.LazyFrame[Any]:
    """The rows as a table of that connection."""
    connection.register("rows_to_bring", frame.to_arrow())
    connection.execute(f'create or replace table "{name}" as from rows_to_bring')
    connection.unregister("rows_to_bring")
    return nw.from_native(connection.table(f'"{name}"'))


def in_parquet(frame: pl.DataFrame, session: Any, file: Path) -> nw.LazyFrame[Any]:
    """The rows as a Spark frame that reads them from a file, as a night does: many rows do not fit into Java's memory."""
    frame.write_parquet(file)
    return nw.from_native(session.read.parquet(str(file)))


def on_spark(frame: pl.DataFrame, session: Any) -> nw.LazyFrame[Any]:
    """The rows as a Spark frame."""
    return nw.from_native(session.createDataFrame(plain_arrow(frame.to_arrow())))
