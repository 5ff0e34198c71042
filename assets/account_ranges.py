"""Tables that are computed for some accounts after the others, so that never more of them are in memory.

A range is all accounts from one name up to, without, another. What an account's rows follow from is its own rows, and
people (`Table.by_account`), so each range is a computation of its own, and its rows come after those of the ranges before.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl


class AccountRange(NamedTuple):
    """Accounts whose names are at least `start` and less than `end`; null where there is no such limit."""

    start: str | None
    end: str | None


def ranges(rows_by_account: Iterable[tuple[str, int]], most: int) -> list[AccountRange]:
    """All accounts in ranges of at most so many rows, or of one account that has more alone.

    `rows_by_account` is in the order of accounts. The ranges cover every name, also of an account without a row.

    >>> ranges([("ann", 3), ("bob", 3), ("cem", 9), ("dea", 1)], most=7)
    [AccountRange(start=None, end='cem'), AccountRange(start='cem', end='dea'), AccountRange(start='dea', end=None)]
    """
    starts: list[str | None] = [None]
    total = 0
    for account, rows in rows_by_account:
        if total and total + rows > most:
            starts.append(account)
            total = 0
        total += rows
    return [AccountRange(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


@dataclass(frozen=True)
class InRanges:
    """What `function` gives for range after range, each computed when it is asked for."""

    function: Callable[[AccountRange], pl.LazyFrame]
    ranges: tuple[AccountRange, ...]

    def __iter__(self) -> Iterator[pl.LazyFrame]:
        """The rows of each range."""
        return map(self.function, self.ranges)
