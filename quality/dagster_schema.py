"""The catalogue as Dagster shows it: column schema and column lineage.

Values in, metadata values out; asset definitions and checks are elsewhere (`assets/table.py`,
`quality/checks.py`).
"""

from collections.abc import Iterable

import dagster as dg

from quality.catalog.model import Column, Table
from quality.catalog.tables import TABLES
from quality.render import limits


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns with SQL type, meaning and constraints, for `dagster/column_schema`.

    >>> from quality.catalog.tables import TABLES
    >>> [c.name for c in column_schema(TABLES["dim_account"]).columns][:2]
    ['account_id', 'name']
    """
    return dg.TableSchema(
        columns=[_column(table, column) for column in table.columns],
        constraints=dg.TableConstraints(
            other=[f"unique ({', '.join(table.key)})", *(f"{rule.name}: {rule.doc}" for rule in table.rules)]
        ),
    )


def _column(table: Table, column: Column) -> dg.TableColumn:
    limit = limits(column)
    return dg.TableColumn(
        name=column.name,
        type=column.dtype.duckdb,
        description=f"{column.doc} Unit: {column.unit}." if column.unit else column.doc,
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable, unique=table.key == (column.name,), other=[limit] if limit else []
        ),
    )


def column_lineage(table: Table, upstream_tables: Iterable[str]) -> dg.TableColumnLineage:
    """Where each column comes from, for `dagster/column_lineage`.

    A column's own `from_` wins; else it comes from the columns of the same name in
    `upstream_tables` (names of assets; those that are not in the catalogue, the raw tables, are
    passed over, since their columns are not declared here). Columns with no origin are left out.

    >>> from quality.catalog.tables import TABLES
    >>> lineage = column_lineage(TABLES["mart_cadence_week"], ["dim_account", "dim_post"])
    >>> [dep.asset_key.to_user_string() for dep in lineage.deps_by_column["account_id"]]
    ['dim_account', 'dim_post']
    """
    upstream = [TABLES[name] for name in upstream_tables if name in TABLES]
    deps = {
        column.name: [
            dg.TableColumnDep(asset_key=asset, column_name=name) for asset, name in _origins(column, upstream)
        ]
        for column in table.columns
    }
    return dg.TableColumnLineage(deps_by_column={name: found for name, found in deps.items() if found})


def _origins(column: Column, upstream: list[Table]) -> list[tuple[str, str]]:
    if column.from_:
        return [(asset, name) for asset, _, name in (origin.partition(".") for origin in column.from_)]
    return [(table.name, column.name) for table in upstream if column.name in table.column_names]
