"""Keys of the rows of activity files: a hash of what a row says, and a count for rows that say the same.

The hash of a row must stay what it is: another one would make every row of every installation a new
observation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import cast

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]


def hashes(said: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """`row_hash`: MD5 of the fields that are there, each with its name; DuckDB does it for whole columns.

    A field that is not there adds nothing, so a column known later does not change old keys. MD5
    names rows here, it guards nothing.
    """
    parts: list[pl.Expr] = []
    for name in names:
        value = (pl.col(name).dt.epoch("us") if said.schema[name].is_temporal() else pl.col(name)).cast(pl.String)
        if not said[name].null_count():
            parts += [pl.lit(f"\x1f{name}="), value]
        elif said[name].null_count() < said.height:
            parts.append((pl.lit(f"\x1f{name}=") + value).fill_null(""))
    written = said.select(pl.concat_str(parts).alias("said")).to_arrow(compat_level=pl.CompatLevel.newest())
    with _hasher().cursor() as connection:
        # A reader, not a table: gathering the answer as a table costs as much as the hashes do.
        hashed = connection.from_arrow(written).project("md5(said) as row_hash").to_arrow_reader().read_all()
    return cast("pl.DataFrame", pl.from_arrow(hashed)).to_series().rechunk()


@cache
def _hasher() -> duckdb.DuckDBPyConnection:
    """DuckDB for hashing alone; batches are hashed in threads of ours, so it needs none of its own."""
    return duckdb.connect(config={"threads": 1})


@dataclass
class _Runs:
    """Numbers in sorted runs; a run is merged with the one before as soon as it is as long."""

    runs: list[Numbers] = field(default_factory=list)

    def add(self, numbers: Numbers) -> None:
        """Remember sorted numbers."""
        self.runs.append(numbers)
        while len(self.runs) > 1 and len(self.runs[-1]) >= len(self.runs[-2]):
            self.runs[-2:] = [np.sort(np.concatenate(self.runs[-2:]), kind="stable")]  # stable: merges what is sorted

    def count(self, numbers: Numbers) -> NDArray[np.int64]:
        """How often each number is there; quick where they are sorted."""
        counts = np.zeros(len(numbers), dtype=np.int64)
        for run in self.runs:
            place = np.searchsorted(run, numbers)
            there = np.flatnonzero(run[np.minimum(place, len(run) - 1)] == numbers)
            counts[there] += np.searchsorted(run, numbers[there], side="right") - place[there]
        return counts


@dataclass
class Seen:
    """The keys of the earlier batches of a file, as numbers: 16 bytes a row.

    Two numbers a key, since one of 64 bits may be that of two rows among some hundred millions. The
    second is only looked at where the first was there before.
    """

    first: _Runs = field(default_factory=_Runs)
    second: _Runs = field(default_factory=_Runs)
    unsorted: list[Numbers] = field(default_factory=list)

    def before(self, keys: pl.Series) -> pl.Series | None:
        """How often earlier batches had each key of this one; null where all keys are new and differ.

        From now on this batch is an earlier one.
        """
        first, second = (keys.hash(seed).to_numpy() for seed in (1, 2))
        in_order = np.sort(first)
        known = in_order[self.first.count(in_order) > 0]
        counts = None
        if known.size or (in_order[1:] == in_order[:-1]).any():
            counts = np.zeros(len(first), dtype=np.int64)
            place = np.flatnonzero(np.isin(first, known))
            counts[place] = np.where(self._second(second[place]) > 0, self.first.count(first[place]), 0)
        self.first.add(in_order)
        self.unsorted.append(second)
        return None if counts is None else pl.Series("before", counts)

    def _second(self, numbers: Numbers) -> NDArray[np.int64]:
        if numbers.size:
            while self.unsorted:
                self.second.add(np.sort(self.unsorted.pop()))
        return self.second.count(numbers)


def numbered(keyed: pl.DataFrame, native: str, seen: Seen) -> pl.DataFrame:
    """Rows with unique keys: identical rows with an id are one, without an id they are counted.

    `seen` remembers the keys of earlier batches of the file.
    """
    before = seen.before(keyed["row_hash"])
    if before is None:
        return keyed
    repeated = keyed["row_hash"].is_duplicated() | (before > 0)
    doubles = (
        keyed.with_columns(before)
        .filter(repeated)
        .with_columns(ordinal=pl.int_range(pl.len()).over("row_hash") + pl.col("before"))
        .filter((pl.col("ordinal") == 0) | pl.col(native).is_null())
        .with_columns(again=pl.col("row_hash") + " again " + pl.col("ordinal").cast(pl.String))
    )
    counted = pl.when(pl.col("ordinal") > 0).then(hashes(doubles, ["again"])).otherwise("row_hash")
    doubles = doubles.with_columns(row_hash=counted).select(keyed.columns)
    return pl.concat([keyed.filter(~repeated), doubles]).sort("row_number")
