"""The catalogue as text: SQL comments and the data dictionary.

Framework-free: whatever writes tables or documentation imports this. What Dagster shows is in
`quality/dagster_schema.py`, what Great Expectations checks in `quality/expectations.py`.
"""

from collections.abc import Iterable

from quality.catalog.model import Column, Rule, Table
from quality.catalog.tables import TABLES

LAYERS = {
    "staging": "What each source said, renamed, typed and deduplicated into the same few shapes.",
    "core": "The platforms united, people resolved, coverage known.",
    "private": "Names of people: never published.",
    "folds": "The only tables computed from single interactions; every mart reads these.",
    "marts": "The published answers.",
}
_SEVERITIES = {"stop": "stops the night", "warn": "warns"}


def comments(table: Table) -> list[str]:
    """The `COMMENT ON` statements that put a table's documentation into the warehouse.

    One for the table and one for each column, in contract order. The table must exist; running
    them again changes nothing.

    >>> from quality.catalog.tables import TABLES
    >>> comments(TABLES["dim_account"])[0]
    "comment on table core.dim_account is 'Accounts: those of rapport.toml, and those that an activity file or a ledger brought. Grain: One account.'"
    """
    statements = [f"comment on table {table.qualified} is {_quoted(f'{table.doc} Grain: {table.grain}')}"]
    for column in table.columns:
        text = f"{column.doc} Unit: {column.unit}." if column.unit else column.doc
        statements.append(f'comment on column {table.qualified}."{column.name}" is {_quoted(text)}')
    return statements


def limits(column: Column) -> str:
    """What values a column may have, in words; empty where its type is the only limit.

    >>> from quality.catalog import columns as c
    >>> limits(c.coverage_share), limits(c.posts), limits(c.subject), limits(c.url)
    ('0 to 1', 'at least 0', 'one of: post, profile', '')
    """
    if column.allowed:
        return f"one of: {', '.join(column.allowed)}"
    if column.low is not None and column.high is not None:
        return f"{column.low} to {column.high}"
    if column.low is not None:
        return f"at least {column.low}"
    return "" if column.high is None else f"at most {column.high}"


def dictionary(tables: Iterable[Table] | None = None) -> str:
    """The data dictionary: the whole catalogue as one Markdown page (docs/dictionary.md).

    A heading per table, in the order of derivation; tables of one layer stand together.
    """
    chosen = tuple(TABLES.values() if tables is None else tables)
    lines = [
        "# Data dictionary",
        "",
        "Every table and column, generated from `quality/catalog` by `rapport docs`; do not edit by hand.",
        "",
        "*From* names the upstream columns; where it is empty, it is the column of the same name in the tables upstream.",
        "Times are UTC, shares lie between 0 and 1, and null never means zero.",
    ]
    for layer, meaning in LAYERS.items():
        members = [table for table in chosen if table.layer == layer]
        if members:
            lines += ["", f"## Schema `{layer}`", "", meaning]
        for table in members:
            lines += ["", *_entry(table)]
    return "\n".join(lines) + "\n"


def _entry(table: Table) -> list[str]:
    lines = [
        f"### {table.name}",
        "",
        table.doc,
        "",
        f"- **Grain:** {table.grain}",
        f"- **Key:** {', '.join(f'`{name}`' for name in table.key)}",
    ]
    if not table.may_be_empty:
        lines.append("- **Rows:** at least one")
    lines += [_rule(rule) for rule in table.rules]
    lines += ["", "| column | type | unit | null | limits | meaning | from |", "|---|---|---|---|---|---|---|"]
    return lines + [_row(column) for column in table.columns]


def _rule(rule: Rule) -> str:
    return f"- **Rule `{rule.name}`** ({_SEVERITIES[rule.severity]}): {rule.doc}"


def _row(column: Column) -> str:
    cells = (
        f"`{column.name}`",
        column.dtype.value,
        column.unit,
        "yes" if column.nullable else "no",
        limits(column),
        column.doc,
        ", ".join(f"`{upstream}`" for upstream in column.from_),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
