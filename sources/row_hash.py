"""The key of an observation: a hash of what a row says, whatever the order of its fields.

A row is written as canonical JSON (fields by name, nulls left out, so that a column added later does
not change old keys) and hashed with SHA-256, 128 bits of it in hexadecimal. Large tables at once: an
archive has millions of rows, and a Python object for each takes longer than reading them did. Small
ones row by row: a plan for whole columns takes longer to make than a few rows to write.
"""

import hashlib
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

_FEW = 500
_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES = {'"': '\\"', "\\": "\\\\"} | {chr(code): _SHORT.get(chr(code), f"\\u{code:04x}") for code in range(32)}


def row_hashes(table: pa.Table) -> list[str]:
    """One hash a row of a table of texts, whole numbers, booleans and times.

    >>> said = {"b": ["x", None], "a": [1, 1]}
    >>> row_hashes(pa.table(said))[0] == hashlib.sha256(b'{"a":1,"b":"x"}').hexdigest()[:32]
    True
    >>> row_hashes(pa.table({"a": [1]})) == row_hashes(pa.table(said))[1:]
    True
    """
    if table.num_rows < _FEW:
        return [_digest(_canonical(row)) for row in table.to_pylist()]
    frame = pl.DataFrame(pl.from_arrow(table))
    fields = [pl.lit(f'"{name}":') + _json(name, dtype) for name, dtype in sorted(frame.schema.items())]
    canonical = pl.lit("{") + pl.concat_str(fields, separator=",", ignore_nulls=True) + pl.lit("}")
    return [_digest(text.encode()) for text in frame.select(canonical.alias("row")).to_series()]


def _digest(said: bytes) -> str:
    return hashlib.sha256(said).hexdigest()[:32]


def _canonical(row: dict[str, Any]) -> bytes:
    said = {name: value for name, value in row.items() if value is not None}
    return orjson.dumps(said, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)


def _json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON; null stays null."""
    column = pl.col(name)
    if dtype == pl.String:
        return pl.lit('"') + column.str.replace_many(_ESCAPES) + pl.lit('"')
    if isinstance(dtype, pl.Datetime):
        # As Python writes a time: the microseconds only where there are some.
        form = pl.when(column.dt.microsecond() == 0).then(column.dt.strftime("%Y-%m-%d %H:%M:%S+00:00"))
        return pl.lit('"') + form.otherwise(column.dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00")) + pl.lit('"')
    return column.cast(pl.String)
