"""Collecting without a pipeline: the rows of a connector in memory, insert-only as in the warehouse, and staged.

`Store` stands in for dlt's insert-only merge (a known `row_hash` adds nothing), so that hundreds of
collections can be compared in seconds. That dlt does the same is tested where the pipeline is.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import ModuleType

import polars as pl
import pyarrow as pa

from sources import collection as collecting
from sources.budget import SPENDING
from sources.collection import Collection
from sources.model import AccountSource, RawTable
from sources.observations import TABLES as RAW

VOLATILE = ("observed_at", "loaded_at", "not_before_at", "read_at", "is_time_known")
"""What differs between two collections of the same truth at different times."""


class Store:
    """Raw tables in memory."""

    def __init__(self, tables: Sequence[RawTable] = (*RAW, SPENDING)) -> None:
        self.tables = {table.name: table for table in tables}
        self.rows: dict[str, dict[str, dict[str, object]]] = {name: {} for name in self.tables}

    def collect(
        self,
        connector: ModuleType,
        accounts: Sequence[AccountSource],
        *,
        read_at: datetime,
        collection: Collection | None = None,
        store_text: bool = False,
    ) -> Collection:
        """Run `connector.read` for the accounts until nothing is left, and load what it gives."""
        night = collection or Collection()
        night.history = self.history
        while True:
            for batch in collecting.batches(
                connector.NAME, connector.PLATFORM, connector.read, accounts, read_at=read_at, store_text=store_text,
                collection=night, streams=connector.STREAMS,
            ):  # fmt: skip
                for row in batch.table.arrow(batch.rows, loaded_at=read_at).to_pylist():
                    self.rows[batch.table.name].setdefault(row["row_hash"], row)
            if not night.has_more:
                return night

    def history(self, account_id: str) -> Mapping[str, pa.Table]:
        """As `assets.ingest.RawHistory`."""
        return {
            name: pa.Table.from_pylist(
                [r for r in rows.values() if r["account_id"] == account_id or name == SPENDING.name],
                schema=self.tables[name].schema,
            )
            for name, rows in self.rows.items()
        }

    def frame(self, name: str) -> pl.DataFrame:
        """A raw table as a frame."""
        return pl.DataFrame(
            pl.from_arrow(pa.Table.from_pylist(list(self.rows[name].values()), schema=self.tables[name].schema))
        )

    def staged(self, module: ModuleType) -> dict[str, pl.DataFrame]:
        """The staging tables that a module of `assets.staging` makes of the rows, by shape."""
        return dict(self._staged(module))

    def _staged(self, module: ModuleType) -> Iterator[tuple[str, pl.DataFrame]]:
        for shape in ("profiles", "posts", "interactions", "counters", "readings", "quarantine"):
            function = getattr(module, shape)
            frames = {name: self.frame(name).lazy() for name in inspect.signature(function).parameters}
            yield shape, function(**frames).collect()


def settled(frame: pl.DataFrame) -> pl.DataFrame:
    """A staging table without what depends on when it was collected, in a fixed order, to compare two collections."""
    kept = frame.drop([name for name in VOLATILE if name in frame.columns])
    if "retracted_at" in kept.columns:
        kept = kept.with_columns(pl.col("retracted_at").is_not_null())
    if "deleted_at" in kept.columns:
        kept = kept.with_columns(pl.col("deleted_at").is_not_null())
    return kept.sort(pl.all())
