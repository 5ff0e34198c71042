"""Raw tables as assets: each connector's dlt source, run in the night, one asset a raw table.

`raw_<source>__<table>` is `raw_<source>.<table>` in the warehouse. Connectors without nightly
collection (activity files) appear as external assets: `rapport import` fills them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import polars as pl
from dagster_dlt import DagsterDltResource, DagsterDltTranslator, dlt_assets
from dagster_dlt.translator import DltResourceTranslatorData
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from assets.history import RawHistory
from assets.metrics.visible import cutoff
from assets.table import OWNERS, code_reference
from sources.collection import Collection, expects_nothing
from sources.memory import no_history
from sources.model import READINGS, AccountSource, RawTable
from sources.registry import REGISTRY, Connector

_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "bool": "BOOLEAN", "timestamp": "TIMESTAMP WITH TIME ZONE"}


SLICE_SECONDS = 300.0
"""A long collection is loaded this often: what a stop can lose at most."""

SLICE_ROWS = 20_000
"""A fast one after so many rows: loading takes memory for what is loaded at once."""


def asset_name(source: str, table: str) -> str:
    """The asset of a raw table.

    >>> asset_name("feed", "items")
    'raw_feed__items'
    """
    return f"raw_{source}__{table}"


def raw_tables() -> Mapping[str, RawTable]:
    """Every raw table of every connector, by asset name."""
    return {asset_name(name, table.name): table for name, connector in REGISTRY.items() for table in connector.tables}


def empty_raw(name: str) -> pl.DataFrame:
    """A raw table that nothing was loaded into yet: its columns and no rows."""
    return pl.DataFrame(pl.from_arrow(raw_tables()[name].schema.empty_table()))


def is_collected(name: str) -> bool:
    """Whether the raw table is filled by nights; the others are filled by imports, which count for any night."""
    return REGISTRY[_source_of(name)].is_nightly


def readings_beside(name: str) -> str:
    """The raw table that says when the source of the raw table `name` was read."""
    return asset_name(_source_of(name), READINGS.name)


def _source_of(name: str) -> str:
    return name.removeprefix("raw_").partition("__")[0]


def as_known(rows: pl.LazyFrame, readings: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The rows of a raw table that the night of `as_of` knew: of each account, those loaded before its cutoff.

    So a night of the past that is derived again gives what it gave then, whatever was read since: posts that were
    edited, days that a later reading made good. An account that had not been read before the cutoff was not known to
    that night at all; all that is known of it today counts, or its history could not be derived.
    """
    is_before = pl.col("loaded_at") < cutoff(as_of)
    known = readings.filter(is_before).select("account_id").unique()
    late = rows.filter(~is_before).join(known, on="account_id", how="anti")
    return pl.concat([rows.filter(is_before), late])


def pipeline(source: str, warehouse_path: str, dlt_home: Path, *, memory: str | None = None) -> dlt.Pipeline:
    """The dlt pipeline of a source: dataset `raw_<source>` in the warehouse file.

    `memory` bounds what DuckDB may hold while it loads (`512MB`); without it, what its own default is.
    """
    return dlt.pipeline(
        pipeline_name=f"raw_{source}",
        pipelines_dir=str(dlt_home / "pipelines"),
        destination=dlt.destinations.duckdb(
            DuckDbCredentials(warehouse_path, global_config={"memory_limit": memory} if memory else None)
        ),
        dataset_name=f"raw_{source}",
    )


class Translator(DagsterDltTranslator):
    """One name everywhere: a dlt resource's asset is `raw_<source>__<resource>`, documented by its declaration."""

    def __init__(self, source: str) -> None:
        """Translate the resources of `source`."""
        self.source = source

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """The asset of the resource."""
        return _spec(self.source, str(data.resource.table_name))


def _spec(source: str, table_name: str) -> dg.AssetSpec:
    name = asset_name(source, table_name)
    table = raw_tables()[name]
    columns = [
        dg.TableColumn(
            c.name, _TYPES[c.dtype], description=c.doc, constraints=dg.TableColumnConstraints(nullable=c.nullable)
        )
        for c in table.columns
    ]
    return dg.AssetSpec(
        key=name,
        group_name="raw",
        description=f"{table.doc}\n\nAs the platform said it, insert-only: a change is a new observation.",
        kinds={"dlt", "duckdb"},
        owners=OWNERS,
        tags={"layer": "raw", "source": source},
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/table_name": f"raw_{source}.{table_name}",
            **code_reference(REGISTRY[source].source),
        },
    )


def collectors(*, warehouse_path: str, dlt_home: Path) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of all connectors: collected nightly, or external where files bring the data."""
    definitions: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for name, connector in REGISTRY.items():
        if connector.is_nightly:
            definitions.append(_collector(connector, pipeline(name, warehouse_path, dlt_home)))
        else:
            definitions += [_spec(name, table.name) for table in connector.tables]
    return definitions


def _collector(connector: Connector, target: dlt.Pipeline) -> dg.AssetsDefinition:
    @dlt_assets(
        dlt_source=connector.source((), read_at=datetime(2000, 1, 1, tzinfo=UTC), store_text=False),
        dlt_pipeline=target,
        name=f"collect_{connector.name}",
        dagster_dlt_translator=Translator(connector.name),
    )
    def collect(
        context: dg.AssetExecutionContext,
        dlt_runner: DagsterDltResource,
        settings: dg.ResourceParam[Any],
        warehouse: dg.ResourceParam[Any],
    ) -> Iterator[Any]:
        accounts = settings.sources(connector.name)
        if not accounts:
            context.log.info("No account uses this source.")
            yield from (_nothing(key) for key in context.selected_asset_keys)
            return
        with warehouse.released():
            if target.has_pending_data:
                # A night that was cut off while loading: dlt would load that and ignore what is new.
                target.normalize()
                target.load()
            events = _slices(connector, accounts, settings, context, dlt_runner, target)
        yield from (_documented(event, warehouse) for event in events)

    return collect


def _slices(
    connector: Connector,
    accounts: Sequence[AccountSource],
    settings: Any,
    context: dg.AssetExecutionContext,
    dlt_runner: DagsterDltResource,
    target: dlt.Pipeline,
) -> list[Any]:
    """Collect slice by slice, each loaded before the next starts; the events of the last one speak for all."""
    history = RawHistory(str(settings.warehouse_path), connector.name)
    collection = Collection(
        history=history if connector.remembers else no_history,
        expect=history.expect if connector.remembers else expects_nothing,
        hosts=settings.hosts,
        say=context.log.info,
        budgets=dict(settings.budgets),
        slice_seconds=SLICE_SECONDS,
        slice_rows=SLICE_ROWS,
    )
    while True:
        source = connector.source(
            accounts,
            read_at=datetime.now(UTC),  # noqa: TID251 - each slice is a reading of its own moment
            store_text=settings.store_text,
            collection=collection,
        )
        events = list(dlt_runner.run(context=context, dlt_source=source, dlt_pipeline=target))
        if not collection.has_more:
            return events


def _nothing(key: dg.AssetKey) -> dg.MaterializeResult:
    return dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": 0, "note": "no account uses this source"})


def _documented(event: Any, warehouse: Any) -> Any:
    """The event of a dlt run with the table's rows; without dlt's column schema, which would hide our documentation."""
    name = event.asset_key.path[-1]
    kept = {key: value for key, value in (event.metadata or {}).items() if key != "dagster/column_schema"}
    return event._replace(metadata={**kept, "dagster/row_count": warehouse.rows(name)})
