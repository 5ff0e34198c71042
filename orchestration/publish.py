"""Publishing: what others read, replaced whole and atomically, and only after every contract held.

`published/rapport.duckdb` (schema `marts`), the same tables as `published/parquet/<table>.parquet`.
A process that holds the old file keeps seeing it until it closes every connection to it.
"""

import os
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from orchestration.warehouse import Warehouse
from quality.catalog.model import Column, Dtype, Table
from quality.catalog.tables import MARTS
from quality.render import comments

_UNHASHED = ("last_ok_at",)
"""Wall-clock columns: they change every night, whatever was learned."""


def publish(warehouse: Warehouse, folder: Path, *, as_of: date) -> dict[str, Any]:
    """Write the published database and Parquet files, and return the row of `about`.

    Readers see the old files or the new ones, never a half-written one. An `as_of` older than the
    newest publishes its account-level rows beside the others and changes nothing else.
    """
    warehouse.set_newest(as_of)
    newest = warehouse.newest() or as_of
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "rapport.duckdb"
    partial = folder / f".rapport.duckdb.{os.getpid()}"
    partial.unlink(missing_ok=True)
    connection = warehouse.connect()
    present = [table for table in MARTS.values() if warehouse.has(table.layer, table.name)]
    try:
        connection.execute(f"attach '{_quoted(partial)}' as published_copy")
        connection.execute("create schema published_copy.marts")
        for table in present:
            order = ", ".join(f'"{name}"' for name in table.key)
            connection.execute(
                f"create table published_copy.marts.{table.name} as select * from marts.{table.name} order by {order}"  # noqa: S608
            )
        about = _about(connection, present, newest)
        connection.execute("use published_copy")
        for statement in [s for table in present for s in comments(table)]:
            connection.execute(statement)
    finally:
        connection.execute(f"use {_catalog(connection, warehouse)}")
        connection.execute("detach database if exists published_copy")
    _durable(partial)
    with warehouse.released():  # one database in memory at a time
        _parquet(partial, folder / "parquet", [*MARTS, "about"], memory=warehouse.memory)
    partial.replace(target)
    _durable(folder)
    return about


def _catalog(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> str:
    row = connection.execute("select database_name from duckdb_databases() where path = ?", [warehouse.path]).fetchone()
    return f'"{row[0] if row else Path(warehouse.path).stem}"'


def _about(connection: duckdb.DuckDBPyConnection, tables: list[Table], as_of: date) -> dict[str, Any]:
    rows = {table.name: _one(connection, f"select count(*) from published_copy.marts.{table.name}") for table in tables}  # noqa: S608
    digests = [f"{table.name}={_one(connection, _digest(table))}" for table in tables]
    digest = _one(connection, "select md5(?)", "\n".join(digests))
    about = {
        "as_of": as_of,
        "version": version("rapport"),
        "tables": len(tables),
        "rows": sum(int(str(n)) for n in rows.values()),
        "content_hash": digest,
    }
    connection.execute(
        "create table published_copy.marts.about (as_of date, version varchar, tables bigint, rows bigint, content_hash varchar)"
    )
    connection.execute("insert into published_copy.marts.about values (?, ?, ?, ?, ?)", list(about.values()))
    connection.execute("comment on table published_copy.marts.about is 'What was published: one row.'")
    return about


def _one(connection: duckdb.DuckDBPyConnection, query: str, *arguments: object) -> object:
    row = connection.execute(query, list(arguments)).fetchone()
    return row[0] if row else None


def _digest(table: Table) -> str:
    """A query for the fingerprint of a table's content, whatever the order of its rows.

    Floats count to seven significant digits: engines may add in another order. DuckDB's own hash takes a fifteenth of the
    time of MD5 over the values as text; another release of DuckDB may give the same content another fingerprint.
    """
    row = ", ".join(_hashable(column) for column in table.columns if column.name not in _UNHASHED)
    return (
        f"select count(*) || ':' || coalesce(sum(hash({row})::hugeint), 0) "  # noqa: S608
        f"from published_copy.marts.{table.name}"
    )


def _hashable(column: Column) -> str:
    return f'try_cast("{column.name}" + 0.0 as real)' if column.dtype is Dtype.FLOAT else f'"{column.name}"'


def _parquet(database: Path, folder: Path, tables: list[str], *, memory: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"set memory_limit = '{memory}'")
        found = {
            row[0]
            for row in connection.execute(
                "select table_name from information_schema.tables where table_schema = 'marts'"
            ).fetchall()
        }
        for name in (table for table in tables if table in found):
            partial = folder / f".{name}.parquet.{os.getpid()}"
            connection.execute(f"copy marts.{name} to '{_quoted(partial)}' (format parquet, compression zstd)")
            _durable(partial)
            partial.replace(folder / f"{name}.parquet")
    _durable(folder)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _durable(path: Path) -> None:
    """Have the operating system write the file or folder to disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
