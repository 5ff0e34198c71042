"""How tables travel between assets: frames in and out of the warehouse, typed by the catalogue."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any, cast

import dagster as dg
import duckdb
import polars as pl

from assets.account_ranges import AccountRange, InRanges, ranges
from assets.ingest import as_known, empty_raw, is_collected, readings_beside
from assets.table import IN_ENGINE, READER
from orchestration.aside import Aside
from orchestration.engines import engine_of, rows_at_once
from orchestration.recomputing import Recomputing
from orchestration.settings import Settings
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.model import Table
from quality.catalog.tables import TABLES

_LARGEST = "fold_relationship_day"
"""The fold that decides by its rows how tables that read people are computed."""


class TablesIOManager(dg.IOManager):
    """Writes an asset's frame to its catalogue table, reads a table as a lazy frame."""

    def __init__(self, warehouse: Warehouse, settings: Settings, store: SparkStore) -> None:
        """Use that warehouse, the engines of these settings, and that store where one of them is Spark."""
        self.warehouse = warehouse
        self.settings = settings
        self.store = store
        self.recomputing = Recomputing(warehouse, settings)
        self.aside = Aside(settings.home / "scratch" / "aside")
        self._frames: dict[tuple[str, date | None, AccountRange | None], pl.LazyFrame] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Enforce the catalogue's types and swap the table in: all of it, or the parts that were computed."""
        as_of = date.fromisoformat(context.partition_key) if context.has_partition_key else None
        table = TABLES[context.asset_key.path[-1]]
        plan = self.recomputing.plan(table.name, as_of)
        rows = self.save(table, obj, as_of)
        lineage = context.definition_metadata["dagster/column_lineage"]
        said = plan.metadata if plan is not None else {}
        context.add_output_metadata({"dagster/row_count": rows, "dagster/column_lineage": lineage, **said})

    def load_input(self, context: dg.InputContext) -> Any:
        """The upstream table as of this night: of a raw table what a past night knew; one never loaded is empty.

        A lazy frame of Polars, unless a fold or a step over people takes it in the engine chosen for its table.
        """
        metadata, step = context.definition_metadata or {}, cast("Any", context.step_context)
        as_of = date.fromisoformat(step.partition_key) if step.has_partition_key else None
        return self.read(
            context.asset_key.path[-1], as_of, reader=metadata.get(READER), in_engine=IN_ENGINE in metadata
        )

    def read(self, name: str, as_of: date | None, *, reader: str | None, in_engine: bool) -> Any:
        """The rows of the table that the table `reader` is computed from in this night, in the engine chosen for it."""
        plan = self.recomputing.plan(reader, as_of) if reader else None
        part = plan.reads.get(name) if plan is not None else None
        if name in TABLES:
            return self.load(name, as_of, reader=reader if in_engine else None, part=part)
        rows = self._raw(name, part)
        if as_of is None or not self.warehouse.is_past(as_of) or not is_collected(name):
            return rows
        return as_known(rows, self._raw(readings_beside(name)), as_of=as_of)

    def save(self, table: Table, frame: Any, as_of: date | None) -> int:
        """Write the frame of any engine to the table, drop what its computation kept, and return its rows."""
        plan = self.recomputing.plan(table.name, as_of)
        is_ours = isinstance(frame, pl.LazyFrame | pl.DataFrame | InRanges | duckdb.DuckDBPyRelation)
        computed = frame if is_ours else self.store.write(table, frame, as_of)
        if plan is not None and plan.why is None and as_of is not None:
            self.recomputing.write(plan, computed, as_of)
            is_ours = True  # what Spark wrote are parts, not the table
            rows = self.warehouse.rows(table.name)
        else:
            rows = self.warehouse.write(table, computed, as_of, making=plan.making if plan is not None else None)
        if is_ours:
            self.store.forget(table.name, as_of)
        for known in [key for key in self._frames if key[0] == table.name]:
            del self._frames[known]
        self.warehouse.drop_kept()
        self.recomputing.done()
        return rows

    def load(self, name: str, as_of: date | None, *, reader: str | None = None, part: str | None = None) -> Any:
        """A catalogue table, or the `part` of its rows that is needed, in the engine chosen for `reader`, a table; else in Polars."""
        rows = self.warehouse.rows(_LARGEST) if reader else 0
        match engine_of(self.settings, reader, rows) if reader else "polars":
            case "duckdb":
                return self.warehouse.relation(name, as_of, part=part)
            case "spark":
                return self.store.read(name, as_of, part=part)
            case _ if part is None:
                # The same frame for every reader: what metrics make of it is shared (assets.metrics.once).
                if (name, as_of, None) not in self._frames:
                    self._frames[name, as_of, None] = self.warehouse.read(name, as_of)
                return self._frames[name, as_of, None]
            case _:
                return self.warehouse.read(name, as_of, part=part)

    def ranges(self, table: Table) -> tuple[AccountRange, ...]:
        """The accounts for which the table is computed after each other; none where Polars takes them all at once, or another engine does."""
        most, rows = rows_at_once(self.settings), self.warehouse.rows(_LARGEST)
        if rows <= most or engine_of(self.settings, table.name, rows) != "polars":
            return ()
        self.aside.begin()
        return tuple(ranges(self.warehouse.rows_by_account(_LARGEST), most))

    def within(self, name: str, as_of: date, some: AccountRange) -> pl.LazyFrame:
        """The rows of these accounts of a catalogue table, the same frame for every reader; of one without accounts all."""
        part = self.warehouse.part(name, as_of, some)
        known = (name, as_of, some if part else None)
        if known not in self._frames:
            self._frames[known] = self.warehouse.read(name, as_of, part=part)
        return self._frames[known]

    def _raw(self, name: str, part: str | None = None) -> pl.LazyFrame:
        if part is None and not self.warehouse.has(*self.warehouse.location(name)):
            return empty_raw(name).lazy()
        return self.warehouse.read(name, part=part)


@dg.io_manager(required_resource_keys={"warehouse", "settings"})  # type: ignore[arg-type] # a generator, as of any resource
def tables_io_manager(context: dg.InitResourceContext) -> Iterator[TablesIOManager]:
    """The IO manager of every table asset; Spark, where it was started, ends with the run."""
    warehouse, settings = context.resources.warehouse, context.resources.settings
    with closing(SparkStore(settings, warehouse)) as store:
        tables = TablesIOManager(warehouse, settings, store)
        try:
            yield tables
        finally:
            tables.aside.end()
