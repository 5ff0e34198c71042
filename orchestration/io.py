"""How tables travel between assets: frames in and out of the warehouse, typed by the catalogue."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from assets.ingest import as_known, empty_raw, is_collected, readings_beside
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES


class TablesIOManager(dg.IOManager):
    """Writes an asset's frame to its catalogue table, reads a table as a lazy frame."""

    def __init__(self, warehouse: Warehouse) -> None:
        """Use that warehouse."""
        self.warehouse = warehouse

    def handle_output(self, context: dg.OutputContext, obj: pl.LazyFrame) -> None:
        """Enforce the catalogue's types and swap the table in."""
        table = TABLES[context.asset_key.path[-1]]
        as_of = date.fromisoformat(context.partition_key) if context.has_partition_key else None
        rows = self.warehouse.write(table, obj, as_of)
        lineage = context.definition_metadata["dagster/column_lineage"]
        context.add_output_metadata({"dagster/row_count": rows, "dagster/column_lineage": lineage})

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        """The upstream table as of this night: of a raw table what a past night knew; one never loaded is empty."""
        name = context.asset_key.path[-1]
        step: Any = context.step_context
        as_of = date.fromisoformat(step.partition_key) if step.has_partition_key else None
        if name in TABLES:
            return self.warehouse.read(name, as_of)
        rows = self._raw(name)
        if as_of is None or not self.warehouse.is_past(as_of) or not is_collected(name):
            return rows
        return as_known(rows, self._raw(readings_beside(name)), as_of=as_of)

    def _raw(self, name: str) -> pl.LazyFrame:
        if not self.warehouse.has(*self.warehouse.location(name)):
            return empty_raw(name).lazy()
        return self.warehouse.read(name)


@dg.io_manager(required_resource_keys={"warehouse"})
def tables_io_manager(context: dg.InitResourceContext) -> TablesIOManager:
    """The IO manager of every table asset."""
    return TablesIOManager(context.resources.warehouse)
