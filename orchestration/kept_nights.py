"""Tables that keep the rows of every night: one night's rows are replaced, those of the others stay where they are.

To write such a table whole would cost more each night. What a night replaced is beside it (`<table>__replaced`), and
`<table>__previous` is a view: the other nights, and what was replaced. Everything here is within the caller's transaction.
"""

from collections.abc import Callable
from datetime import date

import duckdb


def replace_night(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str, as_of: date, insert: Callable[[str], object]
) -> int:
    """Put what `insert` writes into the table in the place of that night's rows, and return how many it wrote."""
    table, replaced, night = f'"{schema}"."{name}"', f'"{schema}"."{name}__replaced"', _of(as_of)
    connection.execute(f"create or replace table {replaced} as from {table} where {night}")
    connection.execute(f"delete from {table} where {night}")  # noqa: S608
    insert(table)
    connection.execute(
        f'create view "{schema}"."{name}__previous" as from {table} where not {night} union all by name from {replaced}'
    )
    row = connection.execute(f"select count(*) from {table} where {night}").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def take_back(connection: duckdb.DuckDBPyConnection, schema: str, name: str, as_of: date) -> None:
    """Put back what that night replaced; its own rows go to `<table>__rejected`, which is not there yet."""
    table, replaced, night = f'"{schema}"."{name}"', f'"{schema}"."{name}__replaced"', _of(as_of)
    connection.execute(f'create table "{schema}"."{name}__rejected" as from {table} where {night}')
    connection.execute(f"delete from {table} where {night}")  # noqa: S608
    connection.execute(f"insert into {table} by name from {replaced}")
    connection.execute(f"drop table {replaced}")


def _of(as_of: date) -> str:
    return f"(as_of = date '{as_of}')"
