"""`rapport import`: archives and activity files into the warehouse, and at once what was read and what was set aside."""

import argparse
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from dlt.pipeline.exceptions import PipelineStepFailed

from assets import ingest, payers
from assets.staging import activity as staging
from assets.staging import earnings as staged_earnings
from orchestration import import_archive
from orchestration.import_archive import Archives
from orchestration.settings import Settings
from orchestration.sole_use import sole_use
from orchestration.storage import make
from orchestration.warehouse import Warehouse
from sources import activity, earnings
from sources.activity_files import Shape, open_file, shape_of
from sources.model import SourceError
from sources.registry import REGISTRY

RAW: tuple[Shape, ...] = ("posts", "interactions")
_TABLE: dict[Shape, str] = {
    "posts": ingest.asset_name(activity.NAME, "posts"),
    "interactions": ingest.asset_name(activity.NAME, "interactions"),
    "earnings": ingest.asset_name(earnings.NAME, earnings.LEDGER.name),
}
"""The raw table that files of a shape fill."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to import: at least one file of activity or a ledger of earnings, or archives."""

    posts: Path | None = None
    interactions: Path | None = None
    earnings: Path | None = None
    account: str | None = None
    platform: str | None = None
    covers: tuple[date, date] | None = None
    archives: Archives | None = None

    def files(self) -> list[tuple[Shape, Path]]:
        """The files that are there, with their shapes."""
        named: tuple[tuple[Shape, Path | None], ...] = (
            ("posts", self.posts), ("interactions", self.interactions), ("earnings", self.earnings),
        )  # fmt: skip
        return [(shape, path) for shape, path in named if path is not None]

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> list["Request"]:
        """The requests of a command line: archives, the named files together, each unnamed file by its columns.

        Raises `SourceError` where no file is given or one is nothing that can be imported.
        """
        named: dict[str, Path] = {shape: Path(path) for shape in _TABLE if (path := getattr(options, shape))}
        found: list[dict[str, Path]] = [named] if named else []
        archives, others = import_archive.found([Path(path) for path in options.path], options.account)
        for path in others:
            shape = shape_of(path)
            # A posts file and an interactions file of one command belong together: they cover each other's streams.
            free = next((files for files in found if shape not in files), None)
            if free is None:
                found.append(free := {})
            free[shape] = path
        if not found and archives is None:
            raise SourceError(
                "There is nothing to import",
                "no file was named",
                "rapport import ARCHIVE --account NAME, rapport import FILE, or --posts FILE --interactions FILE --earnings FILE.",
            )
        taken = {connector.platform for connector in REGISTRY.values() if connector.is_nightly}
        if options.platform in taken:
            raise SourceError(
                "This platform is filled by a connector, whose ids the file's could meet", f"--platform {options.platform}",
                "Choose another name, such as archive.",
            )  # fmt: skip
        covers = tuple(options.covers) if options.covers else None
        activity_files = [
            cls(
                posts=files.get("posts"),
                interactions=files.get("interactions"),
                earnings=files.get("earnings"),
                account=options.account,
                platform=options.platform,
                covers=covers,
            )
            for files in found
        ]
        return [*([cls(archives=archives, account=options.account)] if archives else []), *activity_files]


@dataclass(frozen=True)
class Imported:
    """What an import says, and whether it was of use: not so where no row of some file can be used."""

    text: str
    is_useful: bool

    def __str__(self) -> str:
        """What to print."""
        return self.text


def run(settings: Settings, requests: list[Request]) -> Imported:
    """Import the files, record it in the lineage, and say what was read, what was new and what was set aside.

    Raises `SourceError` for what is wrong with a file as a whole; then nothing of it was loaded;
    `WarehouseError` where another process is at work in the home.
    """
    with sole_use(settings.home):
        return _run(settings, requests)


def _run(settings: Settings, requests: list[Request]) -> Imported:
    lines: list[str] = []
    is_useful = True
    for request in requests:
        if request.archives is not None:
            lines += _archives(settings, request.archives)
            continue
        before = _counts(settings)
        started = datetime.now(UTC)  # noqa: TID251 - an import happens now
        notes, seconds = load(settings, request, started)
        after = _counts(settings)
        for shape, path in request.files():
            lines.append(
                f"{path.name}: {after[shape] - before[shape]:,} new {shape} ({after[shape]:,} in all), {seconds:.1f} s"
            )
        lines += [f"  note: {note}" for note in notes]
        bad, said = _set_aside(settings, request, started)
        lines += said
        for shape, path in request.files():
            if _is_useless(settings, shape, path, bad.get(shape, 0)):
                lines.append(f"No row of {path.name} can be used: correct it as said above, and import it again.")
                is_useful = False
    _record(settings, _filled(requests))
    return Imported("\n".join(lines), is_useful)


def _archives(settings: Settings, archives: Archives) -> list[str]:
    """Import archives; say what was new."""
    names = {
        table.name: ingest.asset_name(source, table.name)
        for source in archives.sources()
        for table in REGISTRY[source].tables
        if table.name in (*RAW, "mentions")
    }
    before, notes = _rows_of(settings, names), list[str]()
    started = datetime.now(UTC)  # noqa: TID251 - an import happens now
    import_archive.load(settings, archives, read_at=started, warn=notes.append)
    seconds = (datetime.now(UTC) - started).total_seconds()  # noqa: TID251
    after = _rows_of(settings, names)
    new = {name: after[name] - before[name] for name in names}
    return [*import_archive.said(archives, new, seconds), *(f"  note: {note}" for note in notes)]


def _filled(requests: list[Request]) -> list[str]:
    """The connectors whose raw tables the requests fill."""
    shapes = {shape for request in requests for shape, _ in request.files()}
    sources = [activity.NAME] if shapes & set(RAW) else []
    sources += [earnings.NAME] if "earnings" in shapes else []
    return sources + [name for request in requests if request.archives for name in request.archives.sources()]


def load(settings: Settings, request: Request, started: datetime | None = None) -> tuple[list[str], float]:
    """Run the dlt pipelines of the files; return what was noticed, and the seconds it took.

    Raises `SourceError` where a file turns out damaged while it is read; then nothing of it was loaded.
    """
    notes: list[str] = []
    started = started or datetime.now(UTC)  # noqa: TID251 - an import happens now
    # Each source judges its files when it is made: nothing is loaded before all of them are.
    sources = []
    if request.posts or request.interactions:
        sources.append(
            activity.source(
                posts=request.posts, interactions=request.interactions, account=request.account,
                platform=request.platform, covers=request.covers, read_at=started, warn=notes.append,
            )
        )  # fmt: skip
    if request.earnings:
        hashed = payers.hashed(settings.identity_key())
        sources.append(
            earnings.source(
                earnings=request.earnings, account=request.account, hashed=hashed, read_at=started, warn=notes.append
            )
        )
    make(settings.warehouse_path)  # else dlt does, in DuckDB's oldest format
    for source in sources:
        pipeline = ingest.pipeline(source.name, str(settings.warehouse_path), settings.dlt_home)
        if pipeline.has_pending_data:
            pipeline.normalize()
            pipeline.load()
        try:
            pipeline.run(source)
        except PipelineStepFailed as failed:
            raise import_archive.cause(failed) from failed
    return notes, (datetime.now(UTC) - started).total_seconds()  # noqa: TID251


def _counts(settings: Settings) -> dict[str, int]:
    return _rows_of(settings, {str(shape): name for shape, name in _TABLE.items()})


def _rows_of(settings: Settings, names: dict[str, str]) -> dict[str, int]:
    warehouse = Warehouse(settings.warehouse_path)
    counts = {label: warehouse.rows(name) for label, name in names.items()}
    warehouse.close()
    return counts


def _is_useless(settings: Settings, shape: Shape, path: Path, bad: int) -> bool:
    """Whether all rows of the file are bad ones; good rows may be there already, from a file of another name."""
    if not bad:
        return False
    warehouse = Warehouse(settings.warehouse_path)
    brought = _raw(warehouse, shape).filter(pl.col("file") == path.name).select(pl.len()).collect().item()
    warehouse.close()
    return brought == bad and sum(batch.height for batch in open_file(path, shape).batches()) <= bad


def _set_aside(settings: Settings, request: Request, started: datetime) -> tuple[dict[str, int], list[str]]:
    """How many rows of files of these names staging will set aside, by shape; and what to say of them.

    The rows of this import by reason, each with its first place; those of earlier imports counted, or
    told in their stead where this one brought none.
    """
    warehouse = Warehouse(settings.warehouse_path)
    set_aside = pl.concat(
        [
            staging.quarantine(**{shape: _raw(warehouse, shape) for shape in RAW}),
            staged_earnings.quarantine(_raw(warehouse, "earnings")),
        ]
    )
    names = [path.name for _, path in request.files()]
    rows = set_aside.filter(
        pl.any_horizontal(pl.col("row_ref").str.starts_with(f"{name}:") for name in names)
    ).collect()
    warehouse.close()
    new = rows.filter(pl.col("loaded_at") == started)
    number = pl.col("row_ref").str.extract(r":(\d+)$").cast(pl.Int64)
    by_reason = (
        (new if new.height else rows)
        .group_by("reason")
        .agg(pl.len(), pl.col("row_ref").sort_by(number).first())
        .sort("len", "reason", descending=[True, False])
    )
    said = [
        f"  set aside: {count:,} x {reason} (first: {place})" for reason, count, place in by_reason.head(10).iter_rows()
    ]
    if new.height:
        said.append(f"  {_rows(new.height)} in quarantine with the reason; the others are used.")
    if earlier := rows.height - new.height:
        said.append(f"  {_rows(earlier)} in quarantine from earlier imports of a file of this name.")
    return dict(rows.group_by("shape").len().iter_rows()), said


def _rows(count: int) -> str:
    return f"{count:,} row is" if count == 1 else f"{count:,} rows are"


def _raw(warehouse: Warehouse, shape: Shape) -> pl.LazyFrame:
    name = _TABLE[shape]
    return warehouse.read(name) if warehouse.has(*warehouse.location(name)) else ingest.empty_raw(name).lazy()


def _record(settings: Settings, sources: list[str]) -> None:
    """Say in the lineage that the raw tables were filled."""
    import dagster as dg  # noqa: PLC0415 - seconds, after the files are safe

    names = [ingest.asset_name(source, table.name) for source in sources for table in REGISTRY[source].tables]
    warehouse = Warehouse(settings.warehouse_path)
    counts = {name: warehouse.rows(name) for name in names}
    warehouse.close()
    with dg.DagsterInstance.get() as instance:
        for name, rows in counts.items():
            event = dg.AssetMaterialization(dg.AssetKey(name), metadata={"dagster/row_count": rows})
            instance.report_runless_asset_event(event)
