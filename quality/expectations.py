"""The catalogue as Great Expectations suites, and how a table is judged by them.

`contract` is what must hold before anything downstream reads a table; `watch` is what should ring.
Great Expectations takes seconds to import, so every function imports it itself. Nothing here
writes to the warehouse; what a failure leads to is in `quality/checks.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quality.catalog.model import Column, Rule, Table
from quality.failures import SAMPLE, UNIQUE_KEY, Failure, failures

if TYPE_CHECKING:
    import great_expectations as gx
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.expectations.expectation import Expectation

Severity = Literal["contract", "watch"]
NEVER_COLLAPSES = Rule(
    name="rows_do_not_collapse",
    doc="No more than half of the rows of the night before are gone.",
    violations=(
        "select * from (select (select count(*) from {previous}) as before, (select count(*) from {table}) as now) "
        "where now < 0.5 * before"
    ),
    severity="warn",
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a table keeps one suite; `expectations` is how many were evaluated."""

    passed: bool
    expectations: int
    failures: tuple[Failure, ...] = ()


def suite(table: Table, severity: Severity, *, previous: str | None = None) -> "gx.ExpectationSuite":
    """The expectations that the table's catalogue entry amounts to.

    contract: columns and their order, key, nulls, closed sets, limits, rules that stop.
    watch: rows where some are promised, rules that warn, and rows that do not collapse against
    `previous` (`schema.table`; null on a first night, which leaves such rules out).
    """
    import great_expectations as gx  # noqa: PLC0415 - seconds

    expectations = list(_contract(table) if severity == "contract" else _watch(table))
    expectations += [
        _of_rule(rule, previous) for rule in rules(table, severity) if previous or "{previous}" not in rule.violations
    ]
    return gx.ExpectationSuite(name=f"{table.name}.{severity}", expectations=expectations)


def rules(table: Table, severity: Severity) -> tuple[Rule, ...]:
    """The table's own rules of that severity, and for `watch` the one that every table has.

    Quarantines are the exception: there, fewer rows are good news.
    """
    wanted = "stop" if severity == "contract" else "warn"
    own = tuple(rule for rule in table.rules if rule.severity == wanted)
    return own if severity == "contract" or table.name.endswith("__quarantine") else (*own, NEVER_COLLAPSES)


def _contract(table: Table) -> Iterator["Expectation"]:
    from great_expectations import expectations as gxe  # noqa: PLC0415

    yield gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(table.column_names))
    yield _of_rule(_unique_key(table), None)
    for column in table.columns:
        if not column.nullable:
            yield gxe.ExpectColumnValuesToNotBeNull(column=column.name)
        if column.allowed:
            yield gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=list(column.allowed))
        if column.low is not None or column.high is not None:
            yield gxe.ExpectColumnValuesToBeBetween(column=column.name, min_value=_bound(column), max_value=column.high)


def _unique_key(table: Table) -> Rule:
    """The key as a rule: rows that are not alone with it.

    Great Expectations' own expectation joins all columns of the table with the counts of its keys, which takes five times
    the time and most of the memory. Here only hashes are counted; where one comes twice, the keys themselves.
    """
    key = ", ".join(f'"{name}"' for name in table.key)
    twice = f"select hash({key}) from {{table}} group by all having count(*) > 1"  # noqa: S608 - catalogue names
    return Rule(
        name=UNIQUE_KEY,
        doc=f"A row is alone with its key ({', '.join(table.key)}).",
        violations=f"select * from {{table}} where hash({key}) in ({twice}) qualify count(*) over (partition by {key}) > 1",  # noqa: S608 - catalogue names
    )


def _bound(column: Column) -> float | date | None:
    return date.fromisoformat(column.low) if isinstance(column.low, str) else column.low


def _watch(table: Table) -> Iterator["Expectation"]:
    from great_expectations import expectations as gxe  # noqa: PLC0415
    from great_expectations.expectations.metadata_types import FailureSeverity  # noqa: PLC0415

    if not table.may_be_empty:
        yield gxe.ExpectTableRowCountToBeBetween(min_value=1, severity=FailureSeverity.WARNING)


def _of_rule(rule: Rule, previous: str | None) -> "Expectation":
    """The rule as an expectation; a `with` lets a rule name the table as often as it likes, with or without alias."""
    from great_expectations import expectations as gxe  # noqa: PLC0415
    from great_expectations.expectations.metadata_types import FailureSeverity  # noqa: PLC0415

    query = rule.violations.replace("{table}", "checked").replace("{previous}", previous or "")
    query = query.replace("{", "{{").replace("}", "}}")
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=f"with checked as not materialized (select * from {{batch}}) select * from ({query}) as violations",  # noqa: S608 - rules come from the catalogue
        severity=FailureSeverity.CRITICAL if rule.severity == "stop" else FailureSeverity.WARNING,
        meta={"rule": rule.name, "doc": rule.doc},
    )


def validate(
    table: Table,
    *,
    warehouse_path: str | Path,
    severity: Severity,
    schema: str | None = None,
    previous: str | None = None,
    memory: str | None = None,
) -> Verdict:
    """Whether the table in the warehouse keeps its `contract`, or stays within its `watch`.

    Opens the file read-only and closes it again: no connection of this process may have it open
    for writing meanwhile. `schema` is where the table is (default: its layer's), `previous` its
    version of the night before as `schema.table`, `memory` how much DuckDB may use. An expectation that cannot be evaluated (broken
    SQL, a missing column) fails, with the reason; it never passes.
    """
    promised = {severity: suite(table, severity, previous=previous)}
    return _judged(table, promised, (warehouse_path, memory), schema or table.layer)[severity]


def validate_both(
    table: Table,
    *,
    warehouse_path: str | Path,
    schema: str | None = None,
    previous: str | None = None,
    memory: str | None = None,
) -> tuple[Verdict, Verdict]:
    """The verdicts on `contract` and `watch` together, for little more than the price of one; see `validate`."""
    promised: dict[Severity, gx.ExpectationSuite] = {
        "contract": suite(table, "contract"),
        "watch": suite(table, "watch", previous=previous),
    }
    verdicts = _judged(table, promised, (warehouse_path, memory), schema or table.layer)
    return verdicts["contract"], verdicts["watch"]


def _judged(
    table: Table, promised: Mapping[Severity, "gx.ExpectationSuite"], opened: tuple[str | Path, str | None], schema: str
) -> dict[Severity, Verdict]:
    """Two steps, since fetching samples costs a query for each expectation: all are judged, then what failed gives rows."""
    import great_expectations as gx  # noqa: PLC0415 - seconds

    expectations = [expectation for one in promised.values() for expectation in one.expectations]
    if not expectations:
        return {severity: Verdict(passed=True, expectations=0) for severity in promised}
    with _batch(*opened, schema, table.name) as batch:
        suite_of_all = gx.ExpectationSuite(name=table.name, expectations=expectations)
        judged = batch.validate(suite_of_all, result_format="BOOLEAN_ONLY").results
        failed = [result for result in judged if not result.success]
        detailed = [
            result
            for group, result_format in zip(_by_format(failed), (_ROWS, _sampled(table)), strict=True)
            if group
            for result in batch.validate(
                gx.ExpectationSuite(name=table.name, expectations=group), result_format=result_format
            ).results
        ]
    return {
        severity: Verdict(
            passed=not _of(severity, failed),
            expectations=len(_of(severity, judged)),
            failures=failures(table, _of(severity, detailed)),
        )
        for severity in promised
    }


def _of(severity: Severity, results: Iterable[Any]) -> list[Any]:
    wanted = "critical" if severity == "contract" else "warning"
    return [result for result in results if result.expectation_config.severity == wanted]


def _by_format(failed: Iterable[Any]) -> tuple[list["Expectation"], list["Expectation"]]:
    expectations = [result.expectation_config.to_domain_obj() for result in failed]
    of_rules = [x for x in expectations if x.expectation_type == "unexpected_rows_expectation"]
    return of_rules, [x for x in expectations if x.expectation_type != "unexpected_rows_expectation"]


_ROWS: dict[str, Any] = {"result_format": "COMPLETE"}
"""Of a rule: the rows themselves, of which Great Expectations fetches at most 200."""


def _sampled(table: Table) -> dict[str, Any]:
    """Of anything else: a sample of the values, each with its row's key."""
    return {
        "result_format": "SUMMARY",
        "partial_unexpected_count": SAMPLE,
        "unexpected_index_column_names": list(table.key),
    }


@lru_cache(maxsize=1)
def _context() -> "gx.data_context.EphemeralDataContext":
    """One context a process, without telemetry, files or progress bars."""
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types import base  # noqa: PLC0415

    return gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False, metric_calculations=False),
            store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        ),
    )


@contextmanager
def _batch(path: str | Path, memory: str | None, schema: str, name: str) -> Iterator["Batch"]:
    """The table as a batch. The file is closed afterwards."""
    from sqlalchemy import URL  # noqa: PLC0415

    limits = {"memory_limit": memory} if memory else {}

    # A new data source each time: the old one remembers columns that have changed since.
    source = _context().data_sources.add_or_update_sql(  # type: ignore[call-arg] # its declared signature lacks `kwargs`
        "warehouse",
        connection_string=URL.create("duckdb", database=str(path)).render_as_string(),
        create_temp_table=False,
        kwargs={
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            # Lower case on purpose: the dialect sets `timezone` after connecting, `TimeZone` too early.
            "connect_args": {"read_only": True, "config": {"timezone": "UTC", **limits}},
        },
    )
    try:
        # Not a table asset: naming its schema is deprecated, and DuckDB takes no default schema when connecting.
        asset = source.add_query_asset(name, query=f'select * from "{schema}"."{name}"')  # noqa: S608 - catalogue names
        yield asset.add_batch_definition_whole_table("all").get_batch()
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()
