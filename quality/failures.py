"""What a failed expectation means, in words a data engineer understands at once.

Reads results of Great Expectations as plain values; imports nothing of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from quality.catalog.model import Table
from quality.render import limits

SAMPLE = 5
"""How many offending rows a failure shows."""

PERSONAL = frozenset({"person", "person_name", "person_url", "row"})
"""Columns whose values are not repeated: results are kept in Dagster's log, where `forget` cannot reach."""

Rows = Sequence[Mapping[str, Any]]

_COLUMNS = "expect_table_columns_to_match_ordered_list"
UNIQUE_KEY = "unique_key"
"""The rule that every table has, made of its key."""
_NULL = "expect_column_values_to_not_be_null"
_ROW_COUNT = "expect_table_row_count_to_be_between"
_SET = "expect_column_values_to_be_in_set"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One expectation that does not hold, for a human.

    `unexpected_count` is null where the expectation is not about rows or could not be evaluated;
    `rows` shows at most `SAMPLE` of them, by key where the table has one.
    """

    expectation: str
    column: str | None
    unexpected_count: int | None
    rows: tuple[Mapping[str, Any], ...]
    message: str


def failures(table: Table, results: Iterable[Any]) -> tuple[Failure, ...]:
    """The failures behind unsuccessful validation results, in the order of the catalogue.

    With the columns wrong, expectations that could not be evaluated for that reason say nothing
    more and are left out.
    """
    found = sorted((_failure(table, result) for result in results), key=lambda f: _place(table, f))
    if any(f.expectation == _COLUMNS for f in found):
        found = [f for f in found if f.expectation == _COLUMNS or f.unexpected_count is not None]
    return tuple(found)


def _place(table: Table, failure: Failure) -> tuple[int, str]:
    if failure.column in table.column_names:
        return table.column_names.index(failure.column), failure.expectation
    return (-1 if failure.expectation in (_COLUMNS, UNIQUE_KEY) else len(table.columns)), failure.expectation


def _failure(table: Table, result: Any) -> Failure:
    config = result.expectation_config
    kwargs, details, meta = config.kwargs, result.result, config.meta or {}
    name, column = meta.get("rule", config.type), kwargs.get("column")
    subject = f"{table.name}.{column}" if column else table.name
    if error := _error(result.exception_info):
        message = f"{subject}: {name} could not be checked: {error}"
        return Failure(expectation=name, column=column, unexpected_count=None, rows=(), message=message)
    if "rule" in meta:
        count, sampled = details["observed_value"], details["details"]["unexpected_rows"]
    else:
        sampled = details.get("partial_unexpected_index_list") or ()
        count, sampled = details.get("unexpected_count"), [x for x in sampled if isinstance(x, Mapping)]
    rows = tuple({key: shown(key, value) for key, value in row.items()} for row in sampled[:SAMPLE])
    if name == UNIQUE_KEY:
        said = f"{_count(count, 'row')} not alone with its key ({', '.join(table.key)}){_example(table, rows)}"
    elif "rule" in meta:
        said = f"{_count(count, 'row')} against the rule {name}: {meta['doc']}{_example(table, rows)}"
    else:
        said = _said(table, config.type, column, details, rows)
    return Failure(expectation=name, column=column, unexpected_count=count, rows=rows, message=f"{subject}: {said}")


def _error(exception_info: Mapping[str, Any] | None) -> str:
    """First line of what went wrong while evaluating; Great Expectations gives one entry, or one a metric."""
    info = exception_info or {}
    for entry in [info] if "raised_exception" in info else info.values():
        if entry.get("raised_exception"):
            return str(entry.get("exception_message")).strip().splitlines()[0]
    return ""


def shown(column: str, value: Any) -> Any:
    """A value as a check's result may keep it: personal ones left out, times in ISO 8601.

    >>> from datetime import date
    >>> shown("date", date(2020, 9, 18)), shown("person_name", "Ada"), shown("posts", 3)
    ('2020-09-18', '(not shown)', 3)
    """
    if column in PERSONAL and value is not None:
        return "(not shown)"
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _said(table: Table, kind: str, column: str | None, details: Mapping[str, Any], rows: Rows) -> str:
    count = details.get("unexpected_count", 0)
    if kind == _COLUMNS:
        return f"columns differ from the catalogue: {_difference(table, list(details['observed_value']))}"
    if kind == _ROW_COUNT:
        return f"{_count(details['observed_value'], 'row')}, where at least one is promised"
    if kind == _NULL:
        return f"{_count(count, 'null')} where none is allowed{_example(table, rows)}"
    value = f", e.g. {rows[0].get(str(column))!r}" if rows else ""
    declared = table.column(str(column))
    limit = f"in ({', '.join(declared.allowed)})" if kind == _SET else limits(declared)
    return f"{_count(count, 'value')} not {limit}{value}"


def _difference(table: Table, found: list[str]) -> str:
    missing = [name for name in table.column_names if name not in found]
    unknown = [name for name in found if name not in table.column_names]
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"not in the catalogue: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts) or "their order"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _example(table: Table, rows: Rows) -> str:
    if not rows:
        return ""
    keys = [name for name in table.key if name in rows[0]] or list(rows[0])
    return ", e.g. " + ", ".join(f"{name}={rows[0][name]!r}" for name in keys)
