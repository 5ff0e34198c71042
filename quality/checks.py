"""The catalogue as Dagster asset checks: `contract` blocks and rolls back, `watch` warns.

Tables are named by string and the connection is a resource, so that nothing here knows how assets
are made. What is checked is in `quality/expectations.py`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import dagster as dg

from quality.catalog.model import Table
from quality.catalog.tables import TABLES
from quality.expectations import Verdict, validate_both
from quality.failures import Failure

_DOCS = {
    "contract": "Columns, key, nulls, closed sets, limits and rules of the catalogue; a failure brings last night's table back.",
    "watch": "What should not pass unseen: rules that warn, and rows that collapse against the night before.",
}


class Warehouse(Protocol):
    """What the resource `warehouse` must offer. A partition key is the day of the night, as text."""

    path: str
    memory: str

    def released(self) -> AbstractContextManager[None]:
        """Meanwhile no connection of this process has the file open."""

    def location(self, name: str, as_of: str | None = None) -> tuple[str, str]:
        """Schema and table where the content of this night is."""

    def previous(self, name: str) -> str | None:
        """The version of the night before, as `schema.table`."""

    def roll_back(self, name: str, as_of: str | None = None) -> None:
        """Put the version of the night before back; keep what is there as `<table>__rejected`."""


def checks_for(table_names: Iterable[str]) -> list[dg.AssetChecksDefinition]:
    """For each table one step with its two asset checks; the asset key is the table's name.

    A failed `contract` fails the step, which keeps everything downstream of the table from
    running, whether tables and job have partitions or not.
    """
    return [_checks(TABLES[name]) for name in table_names]


def _checks(table: Table) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"check_{table.name}",
        specs=[
            dg.AssetCheckSpec(
                severity,
                asset=dg.AssetKey([table.name]),
                description=description,
                blocking=severity == "contract",
            )
            for severity, description in _DOCS.items()
        ],
        required_resource_keys={"warehouse"},
        compute_kind="greatexpectations",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        warehouse: Warehouse = context.resources.warehouse
        night = context.partition_key if context.has_partition_key else None
        yield from judge(table, warehouse, night)

    return check


def judge(table: Table, warehouse: Warehouse, night: str | None = None) -> tuple[dg.AssetCheckResult, ...]:
    """The two results of a table as it is now; a table that breaks its contract is rolled back.

    So is one that could not be judged at all, before the error goes on: what was not checked is
    not to be read.
    """
    schema, name = warehouse.location(table.name, night)
    # A night older than the newest is kept apart: the newest one's table is no measure of it.
    previous = warehouse.previous(table.name) if (schema, name) == warehouse.location(table.name) else None
    try:
        with warehouse.released():
            contract, watch = validate_both(
                table, warehouse_path=warehouse.path, schema=schema, previous=previous, memory=warehouse.memory
            )
    except Exception:
        warehouse.roll_back(table.name, night)
        raise
    if not contract.passed:
        warehouse.roll_back(table.name, night)
    rejected = None if contract.passed else f"{schema}.{name}__rejected"
    return (
        _result(table, "contract", contract, dg.AssetCheckSeverity.ERROR, rejected),
        _result(table, "watch", watch, dg.AssetCheckSeverity.WARN, rejected),
    )


def _result(
    table: Table, check: str, verdict: Verdict, severity: dg.AssetCheckSeverity, rejected: str | None
) -> dg.AssetCheckResult:
    # Text, since Dagster would draw the number as a curve over the nights.
    metadata: dict[str, dg.MetadataValue] = {"expectations": dg.MetadataValue.text(str(verdict.expectations))}
    held = f"{verdict.expectations} expectations hold" if verdict.expectations else "nothing to compare with yet"
    if verdict.failures:
        metadata["failures"] = dg.MetadataValue.table(_records(verdict.failures), _SCHEMA)
    if rejected:
        metadata["rejected_rows"] = dg.MetadataValue.text(rejected)
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey([table.name]),
        check_name=check,
        passed=verdict.passed,
        severity=severity,
        description="\n".join(failure.message for failure in verdict.failures) or held,
        metadata=metadata,
    )


_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("expectation"),
        dg.TableColumn("column"),
        dg.TableColumn("count", "int"),
        dg.TableColumn("message"),
        dg.TableColumn("sample"),
    ]
)


def _records(failures: Sequence[Failure]) -> list[dg.TableRecord]:
    return [
        dg.TableRecord(
            {
                "expectation": failure.expectation,
                "column": failure.column or "",
                "count": -1 if failure.unexpected_count is None else failure.unexpected_count,
                "message": failure.message,
                "sample": json.dumps(failure.rows, ensure_ascii=False),
            }
        )
        for failure in failures
    ]
