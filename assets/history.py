"""What earlier nights found, for connectors: the raw rows of an account, read for many accounts at once.

A query over the whole raw table for each account would make a night grow with the square of their number. So
accounts are read in the order in which they are collected, a group of them in one query; rows wait only until their
account asks.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from threading import Lock

import duckdb
import pyarrow as pa

from sources.budget import SPENDING

MOST_ACCOUNTS, MOST_ROWS = 500, 20_000
"""What one query reads at most, but for an account that alone has more rows."""


class RawHistory:
    """The raw rows of an account so far, for `sources.collection`: every table of the connector, each read when asked for."""

    def __init__(self, warehouse_path: str, source: str) -> None:
        """Read the tables `raw_<source>` of that file; it is open only while a table is read."""
        self.path, self.source, self._one_at_a_time = warehouse_path, source, Lock()
        self._expected: dict[str, None] = {}
        self._groups: dict[str, _Groups] = {}
        self._names: list[str] | None = None

    def __call__(self, account_id: str) -> Mapping[str, pa.Table]:
        """The rows of the account, by table; tables that nothing was loaded into yet are missing."""
        return _AccountRows(self, account_id)

    def expect(self, account_ids: Sequence[str]) -> None:
        """These accounts will be asked for, about in this order; what was loaded until now is what they will find."""
        self._expected, self._groups, self._names = dict.fromkeys(account_ids), {}, None
        if account_ids:
            self._names = self.names()

    def names(self) -> list[str]:
        """The connector's tables that something was loaded into; dlt's own are not among them."""
        if self._names is not None:
            return self._names
        loaded = self.ask(
            "select table_name from information_schema.tables where table_schema = ? and table_name not like '\\_dlt%' escape '\\'",
            [f"raw_{self.source}"],
        )
        return sorted(loaded["table_name"].to_pylist()) if loaded is not None else []

    def rows(self, name: str, account_id: str) -> pa.Table:
        """The rows of one table that an account has; of a budget that all share, all rows."""
        if name == SPENDING.name:
            return self._asked(name, "true", [])
        with self._one_at_a_time:
            groups = self._groups.get(name)
            if groups is None and account_id in self._expected:
                groups = self._groups[name] = self._grouped(name)
            found = groups.take(account_id, self) if groups is not None and account_id in self._expected else None
        return found if found is not None else self._asked(name, "account_id = ?", [account_id])

    def _grouped(self, name: str) -> "_Groups":
        counted = self._asked_now(f"select account_id, count(*) as n from {self._table(name)} group by all", [])  # noqa: S608 - our names
        counts = dict(zip(counted["account_id"].to_pylist(), counted["n"].to_pylist(), strict=True))
        groups, rows = list[list[str]](), 0
        for account_id in self._expected:
            more = counts.get(account_id, 0)
            if not more:
                continue
            if not groups or len(groups[-1]) >= MOST_ACCOUNTS or rows + more > MOST_ROWS:
                groups.append([])
                rows = 0
            groups[-1].append(account_id)
            rows += more
        return _Groups(name, groups, self._asked_now(f"select * from {self._table(name)} limit 0", []))  # noqa: S608 - our names

    def read_group(self, name: str, account_ids: Sequence[str]) -> pa.Table:
        """The rows of several accounts, those of one together and in the order in which they were loaded."""
        query = f"select * from {self._table(name)} where account_id in (select unnest(?)) order by account_id, rowid"  # noqa: S608 - our names
        return self._asked_now(query, [list(account_ids)])

    def _table(self, name: str) -> str:
        return f'"raw_{self.source}"."{name}"'

    def _asked(self, name: str, condition: str, parameters: Sequence[object]) -> pa.Table:
        with self._one_at_a_time:
            return self._asked_now(f"select * from {self._table(name)} where {condition}", parameters)  # noqa: S608 - our names

    def ask(self, query: str, parameters: Sequence[object]) -> pa.Table | None:
        """The answer of the warehouse; null where there is none yet."""
        if not Path(self.path).exists():
            return None
        with self._one_at_a_time:
            return self._asked_now(query, parameters)

    def _asked_now(self, query: str, parameters: Sequence[object]) -> pa.Table:
        with duckdb.connect(self.path) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(query, parameters).to_arrow_table()


class _Groups:
    """The accounts of one table that have rows, in groups that are read at once; rows that nobody has asked for yet."""

    def __init__(self, name: str, groups: Sequence[Sequence[str]], empty: pa.Table) -> None:
        self._name, self._groups, self._empty = name, dict(enumerate(groups)), empty
        self._group_of = {account_id: number for number, ids in enumerate(groups) for account_id in ids}
        self._ready: dict[str, pa.Table] = {}

    def take(self, account_id: str, history: RawHistory) -> pa.Table | None:
        """The rows of the account; null where they were taken before."""
        number = self._group_of.get(account_id)
        if number is None:
            return self._empty
        if number in self._groups:
            read, start = history.read_group(self._name, self._groups.pop(number)), 0
            for found, rows in groupby(read["account_id"].to_pylist()):
                many = sum(1 for _ in rows)
                self._ready[found] = read.slice(start, many)
                start += many
        return self._ready.pop(account_id, None)


class _AccountRows(Mapping[str, pa.Table]):
    def __init__(self, history: RawHistory, account_id: str) -> None:
        self._history, self._account_id = history, account_id
        self._names = history.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether the table is there; else `Mapping` would read its rows to find out."""
        return name in self._names

    def __getitem__(self, name: str) -> pa.Table:
        if name not in self._names:
            raise KeyError(name)
        return self._history.rows(name, self._account_id)
