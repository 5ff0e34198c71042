"""`@table_asset`: a plain function whose name and parameters are tables becomes a Dagster asset.

The function's name is its table; each parameter is an upstream table (a lazy frame), a staging
shape (`posts`: the tables of that shape of every source, one below the other), `as_of`, or
`settings`. Everything else (layer, description, columns, lineage, partitions, types) is the
catalogue's to say. What lives here must not know what any table means.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from assets.account_ranges import AccountRange, InRanges
from quality.catalog.model import Table
from quality.catalog.staging import staged
from quality.catalog.tables import TABLES
from quality.dagster_schema import column_lineage, column_schema

NIGHTS = dg.DailyPartitionsDefinition(start_date="2000-01-01")
"""One partition a night: its key is `as_of`."""

_ARGUMENTS = ("as_of", "settings")
OWNERS = ["team:data"]
IN_ENGINE = "in_engine_of"
"""Metadata of an input that comes as a frame of the engine chosen for its reader; the others are Polars."""

READER = "reader"
"""Metadata of every input of a table: the table, of which perhaps only parts are computed."""


def table_asset(function: Callable[..., pl.LazyFrame]) -> dg.AssetsDefinition:
    """The asset for the catalogue table that the function is named after.

    Raises `KeyError` where the catalogue has no such table.
    """
    return asset_of(TABLES[function.__name__], function, _tables)


def table_asset_of_counts(
    counts: Callable[..., pl.LazyFrame], table_of: Callable[..., pl.LazyFrame]
) -> Callable[[Callable[..., pl.LazyFrame]], dg.AssetsDefinition]:
    """The same for a table that needs all accounts together, which the function takes at once.

    Where accounts are computed after each other, `counts`, given the same tables, counts some of them, and `table_of`
    makes the table of what was counted of all: the same rows.
    """
    return lambda function: asset_of(TABLES[function.__name__], function, _tables, in_two_steps=(counts, table_of))


def asset_of(
    table: Table,
    function: Callable[..., pl.LazyFrame],
    upstream_of: Callable[[str], tuple[str, ...]],
    *,
    in_two_steps: tuple[Callable[..., pl.LazyFrame], Callable[..., pl.LazyFrame]] | None = None,
) -> dg.AssetsDefinition:
    """The asset of `table`, computed by `function`; `upstream_of` says which assets a parameter stands for.

    `in_two_steps` is what computes it where accounts are computed after each other (`table_asset_of_counts`).
    """
    parameters = tuple(inspect.signature(function).parameters)
    tables = {name: upstream_of(name) for name in parameters if name not in _ARGUMENTS}
    upstream = [name for names in tables.values() for name in names]

    def compute(context: dg.AssetExecutionContext, **inputs: Any) -> Any:
        arguments: dict[str, Any] = {
            name: inputs[names[0]] if len(names) == 1 else pl.concat([inputs[table] for table in names])
            for name, names in tables.items()
        }
        if "as_of" in parameters:
            arguments["as_of"] = date.fromisoformat(context.partition_key)
        if "settings" in parameters:
            arguments["settings"] = context.resources.settings
        ranges = context.resources.tables.ranges(table) if table.by_account else ()
        if not ranges:
            return function(**arguments)
        if in_two_steps is None:
            return _in_ranges(ranges, function, arguments, tables, context.resources.tables)
        counts, table_of = in_two_steps
        counted = _in_ranges(ranges, counts, arguments, tables, context.resources.tables)
        return table_of(pl.concat([part.collect() for part in counted]).lazy(), as_of=arguments["as_of"])

    compute.__name__ = table.name
    compute.__doc__ = function.__doc__
    return dg.asset(
        name=table.name,
        description=_description(table),
        group_name="core" if table.layer == "private" else table.layer,
        kinds={"polars", "duckdb"},
        owners=OWNERS,
        tags={"layer": table.layer},
        ins={
            name: dg.AssetIn(
                key=dg.AssetKey(name),
                input_manager_key="tables",
                metadata={READER: table.name} | ({IN_ENGINE: True} if is_in_engine(table, parameters, name) else {}),
            )
            for name in upstream
        },
        partitions_def=NIGHTS if table.follows_as_of else None,
        io_manager_key="tables",
        required_resource_keys={"settings", "tables"},
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/column_lineage": column_lineage(table, upstream),
            "dagster/table_name": table.qualified,
            "grain": table.grain,
            "key": ", ".join(table.key),
            **code_reference(function),
        },
    )(compute)


def _in_ranges(
    ranges: Sequence[AccountRange],
    function: Callable[..., pl.LazyFrame],
    arguments: Mapping[str, Any],
    tables: Mapping[str, Sequence[str]],
    in_tables: Any,
) -> InRanges:
    """What the function gives for some accounts after the others, of tables that an IO manager, `in_tables`, reads."""
    # Asked for now, since the warehouse's connection is busy while what came of the ranges before is written.
    within = {
        some: {name: in_tables.within(names[0], arguments["as_of"], some) for name, names in tables.items()}
        for some in ranges
    }
    return InRanges(lambda some: function(**{**arguments, **within[some]}), tuple(ranges))


def is_in_engine(table: Table, parameters: Sequence[str], name: str) -> bool:
    """Whether the table's function takes that input in any engine: all of a fold's, a mart's folds and their people.

    >>> from quality.catalog.tables import TABLES
    >>> takes = ("fold_relationship_day", "dim_identity", "dim_post")
    >>> [is_in_engine(TABLES["mart_spike"], takes, name) for name in takes]
    [True, True, False]
    """
    reads_fold = any(parameter.startswith("fold_") for parameter in parameters)
    return table.layer == "folds" or (reads_fold and (name.startswith("fold_") or name == "dim_identity"))


def _tables(parameter: str) -> tuple[str, ...]:
    return staged(parameter) or (parameter,)


def _description(table: Table) -> str:
    return f"{table.doc}\n\n**Grain:** {table.grain}  \n**Key:** {', '.join(table.key)}"


def code_reference(function: Callable[..., Any]) -> dict[str, Any]:
    """Metadata that leads from an asset to the function that makes it."""
    source, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    if source is None:
        return {}
    with warnings.catch_warnings():
        # Dagster calls code references beta; they are used knowingly, and only shown.
        warnings.simplefilter("ignore", dg.BetaWarning)
        reference = dg.LocalFileCodeReference(file_path=source, line_number=line, label=function.__name__)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
