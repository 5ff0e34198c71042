"""A warehouse file with every table of the catalogue, rows that keep the catalogue, and the smallest `warehouse` resource."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from quality.catalog.model import Column, Dtype, Table
from quality.catalog.tables import TABLES

_VALUES: dict[Dtype, Any] = {
    Dtype.STRING: "x",
    Dtype.INTEGER: 0,
    Dtype.FLOAT: 0.0,
    Dtype.DECIMAL: 0,
    Dtype.BOOLEAN: False,
    Dtype.DATE: date(2020, 1, 6),
    Dtype.TIMESTAMP: datetime(2020, 1, 6, tzinfo=UTC),
}


def _value(column: Column) -> Any:
    if column.nullable:
        return None
    if column.allowed:
        return column.allowed[0]
    return column.low if isinstance(column.low, (int, float)) else _VALUES[column.dtype]


class Store:
    """A warehouse as `quality.checks.Warehouse` describes it, and two ways to put rows into it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.memory: str | None = None
        self.is_released = False

    def execute(self, sql: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        assert not self.is_released, "written while released"
        with duckdb.connect(self.path) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(sql, values).fetchall()

    def create(self, table: Table) -> None:
        columns = ", ".join(f'"{column.name}" {column.dtype.duckdb}' for column in table.columns)
        self.execute(f"create schema if not exists {table.layer}; create table {table.qualified} ({columns})")

    def add(self, table: Table | str, **values: Any) -> None:
        """One row that keeps the table's columns, except for what is given."""
        entry = TABLES[table] if isinstance(table, str) else table
        row = {column.name: _value(column) for column in entry.columns} | values
        marks = ", ".join("?" for _ in row)
        names = ", ".join(f'"{name}"' for name in row)
        self.execute(f"insert into {entry.qualified} ({names}) values ({marks})", list(row.values()))

    @contextmanager
    def released(self) -> Iterator[None]:
        self.is_released = True
        try:
            yield
        finally:
            self.is_released = False

    def location(self, name: str, as_of: str | None = None) -> tuple[str, str]:
        return TABLES[name].layer, name

    def has(self, relation: str) -> bool:
        schema, _, table = relation.partition(".")
        found = self.execute("select 1 from duckdb_tables() where schema_name = ? and table_name = ?", [schema, table])
        return bool(found)

    def previous(self, name: str) -> str | None:
        relation = f"{TABLES[name].qualified}__previous"
        return relation if self.has(relation) else None

    def replace(self, name: str) -> None:
        """Tonight's table, still empty; last night's stays beside it."""
        self.execute(f"drop table if exists {TABLES[name].qualified}__previous")
        self.execute(f"alter table {TABLES[name].qualified} rename to {name}__previous")
        self.create(TABLES[name])

    def roll_back(self, name: str, as_of: str | None = None) -> None:
        had = self.previous(name)
        self.execute(f"alter table {TABLES[name].qualified} rename to {name}__rejected")
        if had:
            self.execute(f"alter table {had} rename to {name}")


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warehouse") / "empty.duckdb"
    store = Store(path)
    for table in TABLES.values():
        store.create(table)
    return path


@pytest.fixture
def store(_template: Path, tmp_path: Path) -> Store:
    """Every table of the catalogue, without rows."""
    return Store(shutil.copy(_template, tmp_path / "warehouse.duckdb"))
