"""Frames that are made in parts while they are written: tables of millions of rows that are never there whole.

A mart with zero rows says the same over and over. Made at once it fills gigabytes that the system has to find first,
which costs more than the rows; a part of some megabytes stays in the processor's cache.
"""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

PART = 122_880
"""Rows of a part: as many as DuckDB stores together."""

Indices = NDArray[np.int64]


def in_parts(rows: int, part: Callable[[int, int], pl.DataFrame]) -> pl.LazyFrame:
    """The rows 0 to `rows`, of which `part(start, stop)` makes some when they are asked for, in this order.

    A part may have fewer rows (some left out), never others; it has the same columns each time, without rows too.

    >>> squares = in_parts(300_000, lambda start, stop: pl.DataFrame({"x": np.arange(start, stop) ** 2}))
    >>> squares.filter(pl.col("x") > 89_999_000_000).collect()["x"].to_list()
    [89999400001]
    """

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = rows if most is None else most
        for start in range(0, rows, PART) if rows else (0,):
            made = part(start, min(start + PART, rows))
            made = made if predicate is None else made.filter(predicate)
            made = (made if columns is None else made.select(columns)).head(left)
            yield made
            left -= made.height
            if left <= 0:
                return

    return register_io_source(read, schema=part(0, 0).schema)


def numbered_runs(offset: Indices, length: Indices, start: int, stop: int) -> Indices:
    """Of rows in runs one after the other, the run that each row from `start` to `stop` lies in.

    >>> numbered_runs(np.array([0, 2, 2]), np.array([2, 0, 3]), 1, 4)
    array([0, 2, 2])
    """
    ends = offset + length
    first, last = np.searchsorted(ends, [start, stop - 1], side="right")
    if stop <= start:
        return np.empty(0, dtype=np.int64)
    runs = np.arange(first, last + 1)
    return np.repeat(runs, np.minimum(ends[runs], stop) - np.maximum(offset[runs], start))
