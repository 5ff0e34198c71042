"""What a Spark night reads and writes: Parquet below one address that driver and workers share.

Tables are written there from the warehouse when a step on Spark first asks for them; interactions partitioned by month
and account bucket, so that a step reads the months it needs and no worker holds all accounts. A fold that Spark made is
written there too, and read into the warehouse, where it is checked and published like any other. Everything of a run is
in a folder of its own, which goes with the run.
"""

import shutil
import uuid
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from assets.metrics.engines import plain_arrow
from orchestration.settings import Settings
from orchestration.spark import session, stop
from orchestration.warehouse import Warehouse
from quality.catalog.model import Table, empty
from quality.catalog.tables import TABLES

MOST_BUCKETS = 16
"""Account buckets of a month of interactions, at most."""
ROWS_A_BUCKET = 5_000_000
"""Fewer rows need fewer buckets: many small files take longer to open than to read."""


class SparkStore:
    """The Parquet side of one run. Spark starts when a step first asks for it."""

    def __init__(self, settings: Settings, warehouse: Warehouse) -> None:
        """Remember where; nothing is started or written yet."""
        self._settings = settings
        self._warehouse = warehouse
        self._address = settings.spark_store or str(settings.home / "spark")
        self._folder = f"{self._address.rstrip('/')}/run-{uuid.uuid4()}"
        self._written: set[tuple[str, str]] = set()
        self._session: Any = None

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder of this machine's file system (perhaps a shared one), no object store."""
        return "://" not in self._address

    def session(self) -> Any:
        """The run's Spark session."""
        if self._session is None:
            settings = self._settings
            if settings.spark_store is None:  # the home's own: what a run that was cut off left
                for left in Path(self._address).glob("run-*"):
                    if str(left) != self._folder:
                        shutil.rmtree(left, ignore_errors=True)
            self._session = session(
                settings.spark_master, folder=settings.home, memory=settings.memory, more=settings.spark
            )
        return self._session

    def read(self, name: str, as_of: date | None, *, part: str | None = None) -> Any:
        """The table, or a `part` of it, as a Spark frame, from its Parquet; written now where this run has not yet."""
        place = self._warehouse.location(name, as_of)
        table = TABLES[name]
        if not self._warehouse.has(*place) or not self._warehouse.rows(name, as_of):
            return self.session().createDataFrame(plain_arrow(empty(table).to_arrow()))
        if part is not None:
            path = f"{self._path(place)}-{uuid.uuid4()}"
            if not self._export(place, table, path, part):
                return self.session().createDataFrame(plain_arrow(empty(table).to_arrow()))
            return self.session().read.parquet(path).select(*table.column_names)
        if place not in self._written:
            self._export(place, table, self._path(place))
            self._written.add(place)
        return self.session().read.parquet(self._path(place)).select(*table.column_names)

    def write(self, table: Table, frame: Any, as_of: date | None) -> duckdb.DuckDBPyRelation:
        """Write what Spark made, and return it as a relation of the warehouse."""
        place = self._warehouse.location(table.name, as_of)
        path = self._path(place)
        frame.write.mode("overwrite").parquet(path)
        self._written.add(place)
        return self._warehouse.connect().sql(f"from read_parquet('{self._for_duckdb(path)}/*.parquet')")

    def forget(self, name: str, as_of: date | None) -> None:
        """The table was written anew in the warehouse."""
        self._written.discard(self._warehouse.location(name, as_of))

    def close(self) -> None:
        """End Spark, and remove what the run wrote; in an object store its lifecycle rules do that."""
        if self._session is not None:
            stop(self._session)
            self._session = None
        if self.is_local:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, place: tuple[str, str]) -> str:
        return "/".join((self._folder, *place))

    def _for_duckdb(self, path: str) -> str:
        return path.replace("s3a://", "s3://").replace("'", "''")

    def _export(self, place: tuple[str, str], table: Table, path: str, part: str | None = None) -> int:
        schema, name = place
        if self.is_local:
            Path(path).mkdir(parents=True, exist_ok=True)
        rows, options = (
            f"from {part}" if part else f'from "{schema}"."{name}"',
            "format parquet, compression zstd, per_thread_output",
        )
        if "active_at" in table.column_names and "interaction_id" in table.column_names:
            buckets = min(MOST_BUCKETS, 1 + self._warehouse.count(*place) // ROWS_A_BUCKET)
            bucket = f"cast(md5_number_lower(account_id) % {buckets} as integer) as bucket"
            rows = f"select *, strftime(active_at, '%Y%m') as month, {bucket} from ({rows})"  # noqa: S608 - catalogue names
            options = "format parquet, compression zstd, partition_by (month, bucket), overwrite_or_ignore"
        copied = (
            self._warehouse.connect().execute(f"copy ({rows}) to '{self._for_duckdb(path)}' ({options})").fetchone()
        )
        return int(copied[0]) if copied else 0
