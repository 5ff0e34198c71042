"""How tables travel between assets: frames in and out of the warehouse, typed by the catalogue."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from assets.ingest import as_known, empty_raw, is_collected, readings_beside
from assets.table import IN_ENGINE
from orchestration.engines import engine_of
from orchestration.settings import Settings
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.model import Table
from quality.catalog.tables import TABLES


class TablesIOManager(dg.IOManager):
    """Writes an asset's frame to its catalogue table, reads a table as a lazy frame."""

    def __init__(self, warehouse: Warehouse, settings: Settings, store: SparkStore) -> None:
        """Use that warehouse, the engines of these settings, and that store where one of them is Spark."""
        self.warehouse = warehouse
        self.settings = settings
        self.store = store

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Enforce the catalogue's types and swap the table in."""
        as_of = date.fromisoformat(context.partition_key) if context.has_partition_key else None
        rows = self.save(TABLES[context.asset_key.path[-1]], obj, as_of)
        lineage = context.definition_metadata["dagster/column_lineage"]
        context.add_output_metadata({"dagster/row_count": rows, "dagster/column_lineage": lineage})

    def load_input(self, context: dg.InputContext) -> Any:
        """The upstream table as of this night: of a raw table what a past night knew; one never loaded is empty.

        A lazy frame of Polars, unless a fold or a step over people takes it in the engine chosen for its table.
        """
        name = context.asset_key.path[-1]
        step: Any = context.step_context
        as_of = date.fromisoformat(step.partition_key) if step.has_partition_key else None
        if name in TABLES:
            return self.load(name, as_of, reader=(context.definition_metadata or {}).get(IN_ENGINE))
        rows = self._raw(name)
        if as_of is None or not self.warehouse.is_past(as_of) or not is_collected(name):
            return rows
        return as_known(rows, self._raw(readings_beside(name)), as_of=as_of)

    def save(self, table: Table, frame: Any, as_of: date | None) -> int:
        """Write the frame of any engine to the table, drop what its computation kept, and return its rows."""
        is_ours = isinstance(frame, pl.LazyFrame | pl.DataFrame | duckdb.DuckDBPyRelation)
        if is_ours:
            self.store.forget(table.name, as_of)
        rows = self.warehouse.write(table, frame if is_ours else self.store.write(table, frame, as_of), as_of)
        self.warehouse.drop_kept()
        return rows

    def load(self, name: str, as_of: date | None, *, reader: str | None = None) -> Any:
        """A catalogue table: as a frame of the engine chosen for `reader`, a table; without one in Polars."""
        match engine_of(self.settings, reader) if reader else "polars":
            case "duckdb":
                return self.warehouse.relation(name, as_of)
            case "spark":
                return self.store.read(name, as_of)
            case _:
                return self.warehouse.read(name, as_of)

    def _raw(self, name: str) -> pl.LazyFrame:
        if not self.warehouse.has(*self.warehouse.location(name)):
            return empty_raw(name).lazy()
        return self.warehouse.read(name)


@dg.io_manager(required_resource_keys={"warehouse", "settings"})  # type: ignore[arg-type] # a generator, as of any resource
def tables_io_manager(context: dg.InitResourceContext) -> Iterator[TablesIOManager]:
    """The IO manager of every table asset; Spark, where it was started, ends with the run."""
    warehouse, settings = context.resources.warehouse, context.resources.settings
    with closing(SparkStore(settings, warehouse)) as store:
        yield TablesIOManager(warehouse, settings, store)
