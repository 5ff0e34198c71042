"""What the warehouse remembers of each write: which version a table is, which rows that version changed.

Each write of a table that others are computed from is a version of it, written in the same transaction: a
process that is killed leaves both or neither. `meta.written` has a row for each table, `meta.changes_<table>` the
rows that its latest versions removed and added. A reader remembers the versions it has seen (`Written.seen`), so
whatever it missed (a failed night, a night of the past in between) is still there to be asked for.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from assets.parts import PARTS, WATCHED
from quality.catalog.model import Table

WRITTEN = """
create table if not exists meta.written
(table_name varchar, version bigint, whole_version bigint, rows bigint, is_in_parts boolean, as_of date, made_by varchar, seen varchar)
"""


@dataclass(frozen=True)
class Written:
    """The last write of a table."""

    version: int
    whole_version: int
    """The last version whose changed rows are not known: whoever saw only earlier ones computes everything again."""
    rows: int
    is_in_parts: bool
    as_of: date | None
    made_by: str
    """Fingerprint of the code and settings it was computed by."""
    seen: Mapping[str, Any]
    """Of each upstream table what it was computed from: a version; of a raw table its rows and their last `loaded_at`."""


@dataclass(frozen=True)
class Making:
    """Where the content of a write comes from, to be remembered with it."""

    made_by: str = ""
    seen: Mapping[str, Any] | None = None


class ChangeLog:
    """Versions and changed rows of the tables in `PARTS` and of those that they are computed from."""

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """Use what `connect` returns."""
        self._connect = connect
        self._ready: set[str] = set()

    def of(self, name: str) -> Written | None:
        """The last write of a table; null where it is not known."""
        row = (
            self._connect()
            .execute(
                "select version, whole_version, rows, is_in_parts, as_of, made_by, seen from meta.written where table_name = ?",
                [name],
            )
            .fetchone()
        )
        if row is None:
            return None
        version, whole_version, rows, is_in_parts, as_of, made_by, seen = row
        return Written(version, whole_version, rows, is_in_parts, as_of, made_by, json.loads(seen))

    def forget(self) -> None:
        """Forget all writes: whatever is computed next is computed from everything."""
        self._connect().execute("delete from meta.written")

    def wrote_whole(self, table: Table, target: str, as_of: date | None, making: Making, *, before: str | None) -> None:
        """Within its transaction: `target` was filled with all rows, `before` is what was there.

        What is not computed in parts itself is compared with what was there, so that its readers need not start anew.
        """
        if table.name not in PARTS and table.name not in WATCHED:
            return
        last = self.of(table.name)
        version = last.version + 1 if last else 1
        is_compared = last is not None and before is not None and table.name not in PARTS
        if is_compared:
            self._create(table)
            self._prune(table, below=version)
            columns = _columns(table)
            for is_added, (rows, others) in ((False, (before, target)), (True, (target, before))):
                self._connect().execute(
                    f"insert into {_changes(table)} select {version}, {is_added}, * from "
                    f"(select {columns} from {rows} except all select {columns} from {others})"
                )
        else:
            self._drop(table)
        whole = last.whole_version if is_compared and last is not None else version
        self._set(table, target, Written(version, whole, 0, False, as_of, making.made_by, making.seen or {}))

    def wrote_parts(
        self, table: Table, as_of: date | None, making: Making, *, removed: str | None, added: str | None
    ) -> None:
        """Within its transaction: the rows of the table `removed` were replaced by those of `added`; both are remembered."""
        last = self.of(table.name)
        assert last is not None  # noqa: S101 - a table is recomputed in parts after it was written whole
        version = last.version + 1
        self._create(table)
        self._prune(table, below=version)
        for is_added, rows in ((False, removed), (True, added)):
            if rows is not None:
                self._connect().execute(
                    f"insert into {_changes(table)} select {version}, {is_added}, {_columns(table)} from {rows}"
                )
        self._set(
            table,
            table.qualified,
            Written(version, last.whole_version, 0, True, as_of, making.made_by, making.seen or {}),
        )

    def changed(self, table: Table, *, since: int) -> str:
        """A query for the rows that versions after `since` removed or added."""
        self._create(table)
        return f"select {_columns(table)} from {_changes(table)} where version > {since}"

    def previous(self, table: Table) -> str | None:
        """A query for the content before the last write, where that write changed parts of it."""
        last = self.of(table.name)
        if last is None or not last.is_in_parts:
            return None
        columns, log = _columns(table), f"from {_changes(table)} where version = {last.version}"
        is_same = " and ".join(f't."{name}" = a."{name}"' for name in table.key)
        return (
            f"select {columns} from {table.qualified} t anti join (select * {log} and is_added) a on {is_same} "
            f"union all select {columns} {log} and not is_added"
        )

    def undo(self, table: Table, rejected: str) -> bool:
        """Take back the last write, within a transaction, where it changed parts; its rows go to the table `rejected`.

        Returns false where it was no such write. What was rolled back is not to be built upon: the next write is whole.
        """
        last = self.of(table.name)
        if last is None or not last.is_in_parts:
            return False
        connection, columns = self._connect(), _columns(table)
        log = f"from {_changes(table)} where version = {last.version}"
        is_same = " and ".join(f't."{name}" = a."{name}"' for name in table.key)
        connection.execute(f"create or replace table {rejected} as select {columns} {log} and is_added")
        connection.execute(f"delete from {table.qualified} t using {rejected} a where {is_same}")
        connection.execute(f"insert into {table.qualified} select {columns} {log} and not is_added")
        return True

    def rolled_back(self, table: Table) -> None:
        """Within its transaction: the table is what it was before its last write; all that was read of it is void."""
        last = self.of(table.name)
        if last is None:
            return
        self._drop(table)
        self._connect().execute(
            "update meta.written set version = version + 1, whole_version = version + 1, is_in_parts = false, made_by = '' where table_name = ?",
            [table.name],
        )

    def _set(self, table: Table, target: str, written: Written) -> None:
        connection = self._connect()
        row = connection.execute(f"select count(*) from {target}").fetchone()
        connection.execute("delete from meta.written where table_name = ?", [table.name])
        connection.execute(
            "insert into meta.written values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                table.name, written.version, written.whole_version, row[0] if row else 0, written.is_in_parts,
                written.as_of, written.made_by, json.dumps(written.seen),
            ],
        )  # fmt: skip

    def _create(self, table: Table) -> None:
        """The table of changed rows; one of other columns is of no use any more."""
        if table.name in self._ready:
            return
        connection, wanted = self._connect(), ["version", "is_added", *table.column_names]
        found = connection.execute(
            "select column_name from duckdb_columns() where schema_name = ? and table_name = ? order by column_index",
            [_schema(table), f"changes_{table.name}"],
        ).fetchall()
        if [name for (name,) in found] != wanted:
            columns = ", ".join(f'"{column.name}" {column.dtype.duckdb}' for column in table.columns)
            connection.execute(
                f"create or replace table {_changes(table)} (version bigint, is_added boolean, {columns})"
            )
        self._ready.add(table.name)

    def _drop(self, table: Table) -> None:
        self._connect().execute(f"drop table if exists {_changes(table)}")
        self._ready.discard(table.name)

    def _prune(self, table: Table, *, below: int) -> None:
        """Drop what every reader has seen; what none has ever seen (it was never written) is not kept for it."""
        seen = []
        for reader, parts in PARTS.items():
            written = self.of(reader) if table.name in parts.touched else None
            if written is not None:
                seen.append(int(written.seen.get(table.name, 0)))
        oldest = min([below - 1, *seen])
        self._connect().execute(f"delete from {_changes(table)} where version <= {oldest}")


def _schema(table: Table) -> str:
    """Names of people stay where names are."""
    return "private" if table.layer == "private" else "meta"


def _changes(table: Table) -> str:
    return f'{_schema(table)}."changes_{table.name}"'


def _columns(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.column_names)
