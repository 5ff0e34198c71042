"""What a catalogue entry is: columns, tables and rules, as plain values.

Nothing here knows Dagster, Great Expectations or a database connection; everything that does
(`quality.expectations`, `quality.render`, `assets.table`) is a projection of these values.
The entries themselves are in the modules beside this one; `tables.py` gathers them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import polars as pl


class Dtype(StrEnum):
    """The seven types a column may have, whatever the engine."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"

    @property
    def polars(self) -> pl.DataType:
        """The Polars type that is enforced when a table is written."""
        return _POLARS[self]

    @property
    def duckdb(self) -> str:
        """The SQL type in the warehouse and in the published file."""
        return _DUCKDB[self]


_POLARS: dict[Dtype, pl.DataType] = {
    Dtype.STRING: pl.String(),
    Dtype.INTEGER: pl.Int64(),
    Dtype.FLOAT: pl.Float64(),
    Dtype.DECIMAL: pl.Decimal(38, 4),
    Dtype.BOOLEAN: pl.Boolean(),
    Dtype.DATE: pl.Date(),
    Dtype.TIMESTAMP: pl.Datetime("us", "UTC"),
}
_DUCKDB: dict[Dtype, str] = {
    Dtype.STRING: "VARCHAR",
    Dtype.INTEGER: "BIGINT",
    Dtype.FLOAT: "DOUBLE",
    Dtype.DECIMAL: "DECIMAL(38,4)",
    Dtype.BOOLEAN: "BOOLEAN",
    Dtype.DATE: "DATE",
    Dtype.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: defined once in `columns.py`, listed by every table that has it.

    `low` and `high` are inclusive limits, `allowed` a closed set of values. `from_` names the
    upstream columns (`table.column`) where the lineage is not "same name upstream".
    """

    name: str
    dtype: Dtype
    doc: str
    unit: str = ""
    nullable: bool = False
    low: float | str | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()

    def optional(self) -> "Column":
        """The same column where a table may leave it null."""
        return replace(self, nullable=True)

    def required(self) -> "Column":
        """The same column where a table never leaves it null."""
        return replace(self, nullable=False)

    def derived(self, *upstream: str) -> "Column":
        """The same column with its lineage said outright (`table.column`, ...)."""
        return replace(self, from_=upstream)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition on rows that no single column can express.

    `violations` is a SQL query that returns the offending rows: `{table}` stands for the table
    under check, `{previous}` for its content of the night before (only in `watch` rules),
    other tables are named `schema.table`.
    A rule of severity `stop` belongs to the blocking `contract`, one of `warn` to the `watch`.
    """

    name: str
    doc: str
    violations: str
    severity: str = "stop"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the warehouse: its promise to whoever reads it."""

    name: str
    doc: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    may_be_empty: bool = True
    month_of: str | None = None
    """The column whose month comes first in storage, before the key: a large table is read and replaced by month."""
    by_account: bool = False
    """Whether what is counted of an account follows from its own rows, and people's, alone: accounts can be computed apart."""

    def __post_init__(self) -> None:
        """Refuse an entry that contradicts itself, at import."""
        names = self.column_names
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a column is listed twice")
        if missing := set(self.key) - set(names):
            raise ValueError(f"{self.name}: key columns {sorted(missing)} are not among its columns")
        if nullable := [c.name for c in self.columns if c.name in self.key and c.nullable]:
            raise ValueError(f"{self.name}: key columns {nullable} may not be nullable")
        if self.month_of is not None and self.month_of not in names:
            raise ValueError(f"{self.name}: {self.month_of}, whose month it is stored by, is not among its columns")
        if self.by_account and [name for name in self.key if name != "as_of"][:1] != ["account_id"]:
            raise ValueError(f"{self.name}: rows that are computed by account must be in the order of accounts")
        if not (self.doc and self.grain):
            raise ValueError(f"{self.name}: doc and grain are required")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Column names in contract order."""
        return tuple(column.name for column in self.columns)

    @property
    def layer(self) -> str:
        """`staging`, `core`, `folds`, `marts`, `private` or `meta`, from the prefix of the name."""
        return LAYERS[self.name.split("_", 1)[0]]

    @property
    def qualified(self) -> str:
        """`schema.table` in the warehouse."""
        return f"{self.layer}.{self.name}"

    @property
    def keeps_history(self) -> bool:
        """Whether the table keeps the rows of every `as_of` (it is part of the key)."""
        return "as_of" in self.key

    @property
    def follows_as_of(self) -> bool:
        """Whether the table's content depends on `as_of`: folds and marts do, what is before them not."""
        return self.layer in ("folds", "marts")

    def column(self, name: str) -> Column:
        """The column of that name; `KeyError` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")


LAYERS = {"stg": "staging", "dim": "core", "fct": "core", "fold": "folds", "mart": "marts", "identity": "private"}


def empty(table: Table) -> pl.DataFrame:
    """A frame with the table's columns and types and no rows."""
    return pl.DataFrame(schema={column.name: column.dtype.polars for column in table.columns})


class ContractError(ValueError):
    """A frame does not have the columns or types that its catalogue entry promises."""


def enforce(table: Table, frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """The frame with the table's columns in contract order and exactly its types.

    Raises `ContractError` where a column is missing, one is not declared, or a value does not
    fit its type. Nulls and limits are judged afterwards, by the table's contract check.

    >>> from quality.catalog.model import Column, Dtype, Table
    >>> t = Table(name="dim_x", doc="d", grain="g", key=("a",),
    ...           columns=(Column(name="a", dtype=Dtype.INTEGER, doc="d"),))
    >>> enforce(t, pl.DataFrame({"a": [1]}, schema={"a": pl.Int8})).schema["a"]
    Int64
    """
    with fitting(table):
        return typed(table, frame).collect(engine="streaming")


def enforced_parts(table: Table, frame: pl.DataFrame | pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The same in parts of so many rows, each computed when it is asked for."""
    with fitting(table):
        yield from typed(table, frame).collect_batches(chunk_size=rows, engine="streaming")


def typed(table: Table, frame: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """The frame with the table's columns and types, not yet computed; raises `ContractError` as `check_columns` does."""
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    check_columns(table, list(schema))
    return lazy.select(_cast(column, schema[column.name]) for column in table.columns)


@contextmanager
def fitting(table: Table) -> Iterator[None]:
    """What is computed here and does not fit the table's types is a `ContractError`."""
    try:
        yield
    except pl.exceptions.InvalidOperationError as error:
        raise ContractError(f"{table.name}: a value does not fit its column's type: {error}") from error


def check_columns(table: Table, columns: Sequence[str]) -> None:
    """Raise `ContractError` unless these are the table's columns, in any order."""
    missing = [name for name in table.column_names if name not in columns]
    extra = [name for name in columns if name not in table.column_names]
    if missing or extra:
        raise ContractError(f"{table.name}: missing columns {missing}, columns not in the catalogue {extra}")


def _cast(column: Column, actual: pl.DataType) -> pl.Expr:
    expression = pl.col(column.name)
    if column.dtype is Dtype.TIMESTAMP and isinstance(actual, pl.Datetime) and actual.time_zone is None:
        expression = expression.dt.replace_time_zone("UTC")
    if column.dtype is Dtype.FLOAT:
        expression = expression.cast(pl.Float64).fill_nan(None)
    return expression.cast(column.dtype.polars)
