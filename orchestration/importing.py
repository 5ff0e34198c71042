"""`rapport import`: activity files into the warehouse, and at once what was read and what was set aside."""

import argparse
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from assets import ingest
from assets.staging import activity as staging
from orchestration.settings import Settings
from orchestration.warehouse import Warehouse
from sources import activity
from sources.activity_files import shape_of
from sources.model import SourceError

RAW = ("posts", "interactions")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to import: at least one file."""

    posts: Path | None = None
    interactions: Path | None = None
    account: str | None = None
    platform: str | None = None
    covers: tuple[date, date] | None = None

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> list["Request"]:
        """The requests of a command line: the named files together, each unnamed file by its columns.

        Raises `SourceError` where no file is given or one is neither shape.
        """
        named = {shape: Path(path) for shape in RAW if (path := getattr(options, shape))}
        found: list[dict[str, Path]] = [named] if named else []
        for path in map(Path, options.path):
            shape = shape_of(path)
            # A posts file and an interactions file of one command belong together: they cover each other's streams.
            free = next((files for files in found if shape not in files), None)
            if free is None:
                found.append(free := {})
            free[shape] = path
        if not found:
            raise SourceError(
                "There is nothing to import",
                "no file was named",
                "rapport import FILE, or --posts FILE --interactions FILE.",
            )
        covers = tuple(options.covers) if options.covers else None
        return [cls(**files, account=options.account, platform=options.platform, covers=covers) for files in found]


def run(settings: Settings, requests: list[Request]) -> str:
    """Import the files, record it in the lineage, and say what was read, what was new and what was set aside.

    Raises `SourceError` for what is wrong with a file as a whole; then nothing of it was loaded.
    """
    lines: list[str] = []
    for request in requests:
        before = _counts(settings)
        notes, seconds = load(settings, request)
        after = _counts(settings)
        for shape, path in (("posts", request.posts), ("interactions", request.interactions)):
            if path is not None:
                lines.append(
                    f"{path.name}: {after[shape] - before[shape]:,} new {shape} ({after[shape]:,} in all), {seconds:.1f} s"
                )
        lines += [f"  note: {note}" for note in notes]
        lines += _set_aside(settings, request)
    _record(settings)
    return "\n".join(lines)


def load(settings: Settings, request: Request) -> tuple[list[str], float]:
    """Run the dlt pipeline of the files; return what was noticed, and the seconds it took."""
    notes: list[str] = []
    started = datetime.now(UTC)  # noqa: TID251 - an import happens now
    source = activity.source(
        posts=request.posts, interactions=request.interactions, account=request.account, platform=request.platform,
        covers=request.covers, read_at=started, warn=notes.append,
    )  # fmt: skip
    pipeline = ingest.pipeline(activity.NAME, str(settings.warehouse_path), settings.dlt_home)
    if pipeline.has_pending_data:
        pipeline.normalize()
        pipeline.load()
    pipeline.run(source)
    return notes, (datetime.now(UTC) - started).total_seconds()  # noqa: TID251


def _counts(settings: Settings) -> dict[str, int]:
    warehouse = Warehouse(settings.warehouse_path)
    counts = {shape: warehouse.rows(ingest.asset_name(activity.NAME, shape)) for shape in RAW}
    warehouse.close()
    return counts


def _set_aside(settings: Settings, request: Request) -> list[str]:
    """The rows of these files that staging will set aside, by reason, each with its first place."""
    warehouse = Warehouse(settings.warehouse_path)
    frames = {shape: _raw(warehouse, shape) for shape in RAW}
    names = [path.name for path in (request.posts, request.interactions) if path is not None]
    rows = (
        staging.quarantine(**frames)
        .filter(pl.any_horizontal(pl.col("row_ref").str.starts_with(f"{name}:") for name in names))
        .collect()
    )
    warehouse.close()
    if rows.is_empty():
        return []
    by_reason = (
        rows.group_by("reason")
        .agg(pl.len(), pl.col("row_ref").sort().first())
        .sort("len", "reason", descending=[True, False])
    )
    shown = [
        f"  set aside: {count:,} x {reason} (first: {place})" for reason, count, place in by_reason.head(10).iter_rows()
    ]
    return [*shown, f"  {rows.height:,} rows are in quarantine with their reason; the others are used."]


def _raw(warehouse: Warehouse, shape: str) -> pl.LazyFrame:
    name = ingest.asset_name(activity.NAME, shape)
    return warehouse.read(name) if warehouse.has(*warehouse.location(name)) else ingest.empty_raw(name).lazy()


def _record(settings: Settings) -> None:
    """Say in the lineage that the raw tables were filled."""
    import dagster as dg  # noqa: PLC0415 - seconds, after the files are safe

    names = [ingest.asset_name(activity.NAME, table.name) for table in activity.TABLES]
    warehouse = Warehouse(settings.warehouse_path)
    counts = {name: warehouse.rows(name) for name in names}
    warehouse.close()
    with dg.DagsterInstance.get() as instance:
        for name, rows in counts.items():
            event = dg.AssetMaterialization(dg.AssetKey(name), metadata={"dagster/row_count": rows})
            instance.report_runless_asset_event(event)
