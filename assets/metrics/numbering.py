"""Accounts, platforms and people as numbers while they are counted: Polars groups those two to three times faster.

Numbers are in the order of names. They are given to one set of frames (`people.known_people`) and never stored. Other
engines keep names: what is written in narwhals runs on both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL
from assets.metrics.once import once

_OF_ALL = 0
_ACCOUNTS, _PEOPLE, _DAYS = 2**20, 2**27, 2**16
"""So many of each fit into one number of 63 bits; days reach from 1970 to 2149."""


class Numbered(NamedTuple):
    """The names of a column in order, and the number of the first of them."""

    names: pl.Series
    first: int = 0


def of_platforms(names: pl.Series) -> Numbered:
    """Platforms, and `ALL` together as number 0: those whose names come before it have negative numbers."""
    ordered = pl.concat([names, pl.Series([ALL])]).sort()
    return Numbered(ordered, -int(ordered.search_sorted(ALL)))


@dataclass(frozen=True, eq=False)
class Names:
    """The names behind the numbers of each column; no column where names were kept."""

    by_column: Mapping[str, Numbered]

    def named(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with names in place of its numbers.

        >>> names = Names({"platform": of_platforms(pl.Series(["activity", "blog"]))})
        >>> names.named(pl.LazyFrame({"platform": [-1, 0, 1], "people": [2, 3, 4]})).collect().rows()
        [('activity', 2), ('all', 3), ('blog', 4)]
        """
        columns = frame.collect_schema().names()
        return frame.with_columns(
            pl.lit(known.names).gather(pl.col(column) - known.first).alias(column)
            for column, known in self.by_column.items()
            if column in columns
        )

    def numbered(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with numbers in place of its names, computed; rows of what has no number are left out."""
        return _numbered(frame, self) if self.by_column else frame


AS_NAMED = Names({})
"""Of frames with names in them: nothing to name, nothing to number."""


@once
def _numbered(frame: pl.LazyFrame, names: Names) -> pl.LazyFrame:
    columns = [column for column in frame.collect_schema().names() if column in names.by_column]
    found = frame.with_columns(number_of(column, names.by_column[column]) for column in columns)
    return found.drop_nulls(columns).collect(engine="streaming").lazy()


def number_of(column: str, known: Numbered) -> pl.Expr:
    """The number of each name in the column; null for an unknown one."""
    place = pl.col(column).cast(pl.Enum(known.names), strict=False).to_physical().cast(pl.Int32)
    return (place + known.first).alias(column)


def together(people: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows as of `ALL` platforms together."""
    return people.with_columns(_all_of(people).alias("platform"))


def without_together(people: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows of single platforms."""
    return people.filter(nw.col("platform") != _all_of(people))


def only_together(people: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows of `ALL` platforms together."""
    return people.filter(nw.col("platform") == _all_of(people))


def _all_of(people: nw.LazyFrame[Any]) -> nw.Expr:
    is_numbered = people.collect_schema()["platform"].is_integer()
    return nw.lit(_OF_ALL, dtype=nw.Int32) if is_numbered else nw.lit(ALL)


def fit_in_one(came: pl.LazyFrame) -> bool:
    """Whether `account_id`, `person_id` and `day` are numbers that fit into one (`distinct_days`)."""
    if not came.collect_schema()["person_id"].is_integer():
        return False
    limits = {"account_id": _ACCOUNTS, "person_id": _PEOPLE, "day": _DAYS}
    bounds = [((pl.col(name).min() >= 0) & (pl.col(name).max() < limit)).alias(name) for name, limit in limits.items()]
    return all(came.select(bounds).collect(engine="streaming").row(0))


def distinct_days(came: pl.LazyFrame) -> pl.LazyFrame:
    """The distinct days of each tie on all platforms together, in order, and the day `before` of the same tie.

    `account_id, platform, person_id, day, before`, numbers all of them. As one number each, they are sorted and made distinct in a quarter of the time.

    >>> came = pl.LazyFrame({"account_id": [1, 0, 1, 1], "person_id": [5, 6, 5, 5], "day": [9, 4, 3, 9]})
    >>> distinct_days(came).collect().rows()
    [(0, 0, 6, 4, None), (1, 0, 5, 3, None), (1, 0, 5, 9, 3)]
    """
    account, person, one, tie = (pl.col(name) for name in ("account_id", "person_id", "one", "tie"))
    packed = (account.cast(pl.Int64) * _PEOPLE + person.cast(pl.Int64)) * _DAYS + pl.col("day")
    ordered = came.select(packed.alias("one")).sort("one").collect(engine="streaming").lazy()
    days = ordered.filter((one != one.shift(1)).fill_null(value=True)).select(
        (one // _DAYS).alias("tie"), (one % _DAYS).alias("day")
    )
    return days.select(
        (tie // _PEOPLE).cast(pl.Int32).alias("account_id"),
        pl.lit(_OF_ALL, dtype=pl.Int32).alias("platform"),
        (tie % _PEOPLE).cast(pl.Int32).alias("person_id"),
        "day",
        pl.when(tie == tie.shift(1)).then(pl.col("day").shift(1)).alias("before"),
    )
