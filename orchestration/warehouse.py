"""The warehouse: one DuckDB file, one writing process, tables swapped whole or (`recomputing.py`) in parts.

Writing keeps the version of the night before beside the new one (`<table>__previous`) until the
next write, so that a failed contract can be rolled back; of parts it keeps the rows that changed. A night older than the newest writes all but
the rows of its own `as_of` to the schema `past`, which nobody reads afterwards.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import cast

import duckdb
import polars as pl
from polars.io.plugins import register_io_source

from assets.account_ranges import AccountRange, InRanges
from assets.metrics.engines import KEPT
from orchestration.change_log import WRITTEN, ChangeLog, Making
from orchestration.kept_nights import replace_night, take_back
from orchestration.sole_use import WarehouseError, hold, let_go
from orchestration.storage import DisorderError, Incoming, enforced, in_order, make, ordered, stored_in, usual_memory
from quality.catalog.model import ContractError, Table, empty, enforce
from quality.catalog.tables import TABLES
from quality.render import comments

PAST = "past"
_PLAIN = (pl.String(), pl.Int64(), pl.Boolean())
"""What conditions may be on that DuckDB and Polars judge alike, row by row."""
_ROWS_AT_ONCE = 1_000_000
DAY_VIEW = """
create or replace view core.fct_collection_day as
select account_id, platform, stream, cast(unnest(generate_series(from_date, to_date, interval 1 day)) as date) as date, status, reason
from core.fct_collection_span
"""


def _opening(said: str) -> str:
    """Why the file did not open, and what to do, from what DuckDB says."""
    holder = re.search(r"\(PID (\d+)\)", said)
    if "lock" in said:
        process = f" (process {holder.group(1)})" if holder else ""
        return (
            f"another process holds it{process}. Another run, or a tool that looks into the warehouse, must end first; "
            "BI tools belong on published/rapport.duckdb."
        )
    if "not a valid DuckDB" in said:
        return "it is no DuckDB file. Put a backup in its place, or move it away and collect and import again."
    first = said.splitlines()[0].removeprefix("IO Error: ").rstrip(".! ")
    return f"{first}. Check the file, its folder and the space on the disk."


class Warehouse:
    """Reads and writes catalogue tables in `path`. Opens the file when first needed."""

    def __init__(self, path: Path, memory: str | None = None) -> None:
        """Remember where the file is, and how much memory DuckDB may use (else a sixth of the machine); nothing is opened yet."""
        self.path = str(path)
        self.memory = memory or usual_memory()
        self._is_limited = memory is not None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self.log = ChangeLog(self.connect)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The process's one writing connection.

        Raises `WarehouseError` where another process holds the home or the file, or it is not a DuckDB file.
        """
        if self._connection is None:
            home = Path(self.path).parent
            hold(home)
            try:
                make(Path(self.path))
                self._connection = duckdb.connect(self.path)
            except duckdb.Error as error:
                let_go(home)
                raise WarehouseError(f"{self.path} cannot be opened: {_opening(str(error))}") from error
            self._connection.execute("set timezone = 'UTC'")
            self._connection.execute(f"set temp_directory = '{home / 'scratch'}'")
            self._connection.execute(f"set memory_limit = '{self.memory}'")
            if self._is_limited:
                # What does not fit goes to disk; the order that nobody asked for is not worth memory.
                self._connection.execute("set preserve_insertion_order = false")
            for schema in ("staging", "core", "folds", "marts", "private", "meta"):
                self._connection.execute(f"create schema if not exists {schema}")
            self._connection.execute("create table if not exists meta.newest (as_of date)")
            self._connection.execute(WRITTEN)
        return self._connection

    def _scan(self, query: str) -> pl.LazyFrame:
        """The query as a lazy frame that reads only the columns somebody asks for.

        Each reading has a cursor of its own, since one plan may read a table several times at once.
        """
        schema = self.connect().sql(f"{query} limit 0").pl().schema

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch: int | None
        ) -> Iterator[pl.DataFrame]:
            names = ", ".join(f'"{name}"' for name in columns) if columns else "*"
            limit = f" limit {rows}" if rows is not None and predicate is None else ""
            with self.connect().cursor() as cursor:
                cursor.execute("set timezone = 'UTC'")
                if predicate is not None and all(schema[name] in _PLAIN for name in predicate.meta.root_names()):
                    # DuckDB looks only at the rows that it asks for.
                    asked = cursor.sql(query).pl(lazy=True).filter(predicate)
                    found = (asked if columns is None else asked.select(columns)).collect()
                    yield found if rows is None else found.head(rows)
                    return
                # In parts, so that a large table is never there twice.
                yield cursor.execute(f"select {names} from ({query}) limit 0").pl()  # noqa: S608
                batches = cursor.execute(f"select {names} from ({query}){limit}").to_arrow_reader(_ROWS_AT_ONCE)  # noqa: S608
                for batch in batches:
                    part = cast("pl.DataFrame", pl.from_arrow(batch))
                    yield part if predicate is None else part.filter(predicate)

        return register_io_source(read, schema=schema)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            let_go(Path(self.path).parent)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Nothing of this process holds the file meanwhile: dlt writes, Great Expectations reads."""
        self.close()
        yield

    def newest(self) -> date | None:
        """The newest `as_of` that was published."""
        row = self.connect().execute("select max(as_of) from meta.newest").fetchone()
        return row[0] if row else None

    def set_newest(self, as_of: date) -> None:
        """Say that `as_of` was published; an older one changes nothing."""
        newest = self.newest()
        if newest is None or as_of > newest:
            self.connect().execute("create or replace table meta.newest as select ?::date as as_of", [as_of])

    def forget(self, as_of: date) -> None:
        """Delete what the account-level tables keep of a night that was not worth deriving."""
        for table in TABLES.values():
            if table.keeps_history and self.has(table.layer, table.name):
                self.connect().execute(f'delete from "{table.layer}"."{table.name}" where as_of = ?', [as_of])  # noqa: S608

    def oldest(self) -> date | None:
        """The day of the oldest post or interaction; null where there is none."""
        days = "select published_at as moment from core.dim_post union all select active_at from core.fct_interaction"
        row = self.connect().execute(f"select cast(min(moment) as date) from ({days})").fetchone()  # noqa: S608
        return row[0] if row else None

    def is_past(self, as_of: date | None) -> bool:
        """Whether a newer night than `as_of` was already published."""
        newest = self.newest()
        return as_of is not None and newest is not None and as_of < newest

    def location(self, name: str, as_of: date | str | None = None) -> tuple[str, str]:
        """Schema and table that hold `name` for a run of `as_of`; raw tables are `raw_<source>__<table>`."""
        if name not in TABLES:
            schema, _, table = name.partition("__")
            return schema, table
        table_ = TABLES[name]
        day = date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
        if not table_.keeps_history and self.is_past(day):
            return PAST, name
        return table_.layer, name

    def has(self, schema: str, table: str) -> bool:
        """Whether that table exists."""
        try:
            self.connect().execute(f'from "{schema}"."{table}" limit 0')
        except duckdb.CatalogException:  # a tenth of the price of asking the catalogue
            return False
        return True

    def rows(self, name: str, as_of: date | None = None) -> int:
        """How many rows the table has; none where it was never written."""
        schema, table = self.location(name, as_of)
        if not self.has(schema, table):
            return 0
        return self.count(schema, table)

    def count(self, schema: str, table: str) -> int:
        """How many rows a table has that exists."""
        row = self.connect().execute(f'select count(*) from "{schema}"."{table}"').fetchone()  # noqa: S608
        return int(row[0]) if row else 0

    def rows_by_account(self, name: str) -> list[tuple[str, int]]:
        """How many rows each account has in a catalogue table, in the order of their names."""
        query = f"select account_id, count(*) from {TABLES[name].qualified} group by account_id order by account_id"  # noqa: S608
        return [(str(account), int(rows)) for account, rows in self.connect().execute(query).fetchall()]

    def part(self, name: str, as_of: date | None, some: AccountRange) -> str | None:
        """Where the rows of these accounts are in a catalogue table, for `select * from`; null where it has no accounts, or no rows yet."""
        schema, table = self.location(name, as_of)
        if "account_id" not in TABLES[name].column_names or not self.has(schema, table):
            return None
        conditions = [f"as_of = date '{as_of}'"] if TABLES[name].keeps_history and as_of is not None else []
        for limit, sign in ((some.start, ">="), (some.end, "<")):
            if limit is not None:
                escaped = limit.replace("'", "''")
                conditions.append(f"account_id {sign} '{escaped}'")
        return f'(select * from "{schema}"."{table}" where {" and ".join(conditions) or "true"})'  # noqa: S608

    def read(self, name: str, as_of: date | None = None, *, part: str | None = None) -> pl.LazyFrame:
        """The table as a lazy frame; of a table that keeps history, the rows of `as_of`.

        `part` is where the rows are that are needed of it, for `select * from` (`recomputing.py`).

        A catalogue table that was never written is an empty frame.
        """
        if part is not None:
            return self._scan(f"select * from {part}")  # noqa: S608 - assets.parts
        schema, table = self.location(name, as_of)
        entry = TABLES.get(name)
        if not self.has(schema, table):
            if entry is None:
                raise WarehouseError(f"{name} does not exist in {self.path}")
            return empty(entry).lazy()
        query = f'select * from "{schema}"."{table}"'  # noqa: S608 - names come from the catalogue
        if entry is not None and entry.keeps_history and as_of is not None:
            query += f" where as_of = date '{as_of}'"
        return self._scan(query)

    def relation(self, name: str, as_of: date | None = None, *, part: str | None = None) -> duckdb.DuckDBPyRelation:
        """The catalogue table, or a `part` of it, as a relation of this connection: what reads it runs in DuckDB."""
        if part is not None:
            return self.connect().sql(f"select * from {part}")  # noqa: S608 - assets.parts
        schema, table = self.location(name, as_of)
        if not self.has(schema, table):
            return self.connect().from_arrow(empty(TABLES[name]).to_arrow())
        return self.connect().table(f'"{schema}"."{table}"')

    def drop_kept(self) -> None:
        """Drop what steps kept for themselves while a table was computed."""
        connection = self.connect()
        found = connection.execute(
            "select table_name from duckdb_tables() where temporary and starts_with(table_name, ?)", [KEPT]
        ).fetchall()
        for (name,) in found:
            connection.execute(f'drop table temp."{name}"')

    def write(
        self,
        table: Table,
        frame: pl.DataFrame | pl.LazyFrame | InRanges | duckdb.DuckDBPyRelation,
        as_of: date | None = None,
        *,
        making: Making | None = None,
    ) -> int:
        """Replace the table (or, where it keeps history, the rows of `as_of`) and return the rows written.

        `making` is what it was computed by, remembered for the next night. A relation of this connection goes from DuckDB to DuckDB. Raises `ContractError` as `enforce` does.
        """
        if isinstance(frame, duckdb.DuckDBPyRelation):
            query = f"{enforced(table, frame.columns)} order by {ordered(table)}"
            return self._replace(
                table, as_of, making, lambda into: frame.query("rows_of_relation", f"insert into {into} {query}")
            )
        incoming = Incoming(table, frame)
        try:
            return self._write_incoming(table, incoming, as_of, making)
        except duckdb.Error as error:
            if incoming.error is None:
                raise
            if not isinstance(incoming.error, DisorderError) or isinstance(frame, InRanges):
                raise incoming.error from error
        rows = in_order(table, enforce(table, frame))
        return self._write_incoming(table, Incoming(table, rows), as_of, making)

    def _write_incoming(self, table: Table, incoming: Incoming, as_of: date | None, making: Making | None) -> int:
        connection = self.connect()
        connection.register("incoming_rows", incoming.reader)
        # Marts repeat themselves (accounts, notes, rates of small numbers): looking for what else would save, costs a fifth of the time.
        tried = "fsst,zstd,alp,alprd,chimp,patas" if table.layer == "marts" else ""
        connection.execute(f"set disabled_compression_methods = '{tried}'")
        try:
            insert = "insert into {} select * from incoming_rows"
            return self._replace(table, as_of, making, lambda into: connection.execute(insert.format(into)))
        finally:
            connection.unregister("incoming_rows")
            connection.execute("reset disabled_compression_methods")  # of this table alone

    def _replace(self, table: Table, as_of: date | None, making: Making | None, insert: Callable[[str], object]) -> int:
        schema, name = self.location(table.name, as_of)
        connection = self.connect()
        had = self.has(schema, name)
        try:
            connection.execute("begin")
            connection.execute(f'create schema if not exists "{schema}"')
            if as_of is not None and table.keeps_history and had and self._is_as_declared(table):
                self._drop_before(schema, name)
                written = replace_night(connection, schema, name, as_of, insert)
            else:
                written = self._write_next(table, schema, name, as_of, making, insert, had=had)
            for statement in comments(table) if schema == table.layer else ():
                connection.execute(statement)
            if schema == "core" and name == "fct_collection_span":
                connection.execute(DAY_VIEW)
            connection.execute("commit")
        except duckdb.ConversionException as error:
            connection.execute("rollback")
            raise ContractError(f"{table.name}: a value does not fit its column's type: {error}") from error
        except duckdb.Error:
            connection.execute("rollback")
            raise
        return written

    def _write_next(
        self, table: Table, schema: str, name: str, as_of: date | None, making: Making | None,
        insert: Callable[[str], object], *, had: bool,
    ) -> int:  # fmt: skip
        """Write the table beside the one that is there, with the other nights of that where nights are kept, and swap it in."""
        connection, target = self.connect(), f'"{schema}"."{name}__next"'
        connection.execute(f"create or replace table {target} ({stored_in(table)})")
        if table.keeps_history and had:
            shared = self._shared_columns(table, schema, name)
            connection.execute(
                f'insert into {target} ({shared}) select {shared} from "{schema}"."{name}" where as_of <> ?',  # noqa: S608
                [as_of],
            )
        kept = self.count(schema, f"{name}__next")
        insert(target)
        written = self.count(schema, f"{name}__next") - kept
        if schema == table.layer:
            before = table.qualified if had and self._is_as_declared(table) else None
            self.log.wrote_whole(table, target, as_of, making or Making(), before=before)
        self._swap(schema, name, had=had)
        return written

    def _is_as_declared(self, table: Table) -> bool:
        described = self.connect().execute(f"describe {table.qualified}").fetchall()
        return [str(row[0]) for row in described] == list(table.column_names)

    def _shared_columns(self, table: Table, schema: str, name: str) -> str:
        """The catalogue's columns that the table of the nights before has: a newer version may have added some."""
        described = self.connect().execute(f'describe "{schema}"."{name}"').fetchall()
        there = {str(row[0]) for row in described}
        return ", ".join(f'"{column.name}"' for column in table.columns if column.name in there)

    def _swap(self, schema: str, name: str, *, had: bool) -> None:
        connection = self.connect()
        if schema == "core" and name == "fct_collection_span":
            connection.execute("drop view if exists core.fct_collection_day")
        self._drop_before(schema, name)
        if had:
            connection.execute(f'alter table "{schema}"."{name}" rename to "{name}__previous"')
        connection.execute(f'alter table "{schema}"."{name}__next" rename to "{name}"')

    def _drop_before(self, schema: str, name: str) -> None:
        """Drop the version before, which is a table, or a view where parts or one night were written."""
        is_view = self._is_view(schema, f"{name}__previous")
        if is_view is not None:
            self.connect().execute(f'drop {"view" if is_view else "table"} "{schema}"."{name}__previous"')

    def _is_view(self, schema: str, name: str) -> bool | None:
        """Whether that is a view, not a table; null where it is neither."""
        kinds = self.connect().execute(
            "select table_type from information_schema.tables where table_schema = ? and table_name = ?", [schema, name]
        )
        row = kinds.fetchone()
        return None if row is None else row[0] == "VIEW"

    def show_before(self, table: Table, *, is_same: bool = False) -> None:
        """After parts were written, within their transaction: the version before as a view, unless it is the same."""
        self._drop_before(table.layer, table.name)
        query = self.log.previous(table)
        if query is not None and not is_same:
            self.connect().execute(f'create view "{table.layer}"."{table.name}__previous" as {query}')

    def previous(self, name: str) -> str | None:
        """The table's version of the write before, as `schema.table`; null where there is none."""
        schema, table = self.location(name)
        return f"{schema}.{table}__previous" if self.has(schema, f"{table}__previous") else None

    def roll_back(self, name: str, as_of: date | str | None = None) -> None:
        """Put the version before back; what failed stays as `<table>__rejected`, to be looked at."""
        schema, table = self.location(name, as_of)
        connection = self.connect()
        had = self.has(schema, f"{table}__previous")
        is_known = name in TABLES and schema == TABLES[name].layer
        connection.execute("begin")
        connection.execute(f'drop table if exists "{schema}"."{table}__rejected"')
        if is_known and self.log.undo(TABLES[name], f'"{schema}"."{table}__rejected"'):
            self._drop_before(schema, table)
        elif is_known and as_of is not None and self._is_view(schema, f"{table}__previous"):
            take_back(connection, schema, table, date.fromisoformat(str(as_of)))
            self._drop_before(schema, table)
        else:
            self._swap_back(schema, table, had=had)
        if is_known:
            self.log.rolled_back(TABLES[name])
        connection.execute("commit")

    def _swap_back(self, schema: str, table: str, *, had: bool) -> None:
        connection, has_view = self.connect(), schema == "core" and table == "fct_collection_span"
        if has_view:
            connection.execute("drop view if exists core.fct_collection_day")
        connection.execute(f'alter table "{schema}"."{table}" rename to "{table}__rejected"')
        if had:
            connection.execute(f'alter table "{schema}"."{table}__previous" rename to "{table}"')
            if has_view:
                connection.execute(DAY_VIEW)
