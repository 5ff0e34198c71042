"""`rapport import` of export archives: into the warehouse through dlt, all of them or nothing."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dlt.extract.source import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from assets import ingest
from orchestration.settings import Settings
from sources import archive, archive_webmention, webmention
from sources.archive_files import Kind, recognise
from sources.model import SourceError

_ALLOCATIONS = 1_000_000
"""Millions of rows, none of them in a cycle: the collector of cycles looks at them this rarely, else a third of the time."""
_MEMORY = "384MB"
"""What DuckDB may hold while it loads: an archive larger than the memory must fit beside what is being read."""
_NAMES: dict[Kind, str] = {
    "x": "archive of X",
    "mastodon": "archive of Mastodon",
    "bluesky": "Bluesky repository",
    "webmention": "export of webmention.io",
}


@dataclass(frozen=True, kw_only=True)
class Archives:
    """Archives of one account, each with its kind."""

    files: tuple[tuple[Path, Kind], ...]
    account: str

    def sources(self) -> list[str]:
        """The connectors whose raw tables they fill."""
        kinds = {kind for _, kind in self.files}
        return [
            *([archive.NAME] if kinds - {"webmention"} else []),
            *([webmention.NAME] if "webmention" in kinds else []),
        ]


def found(paths: Sequence[Path], account: str | None) -> tuple[Archives | None, list[Path]]:
    """The archives among the files, and the files that are none. Raises `SourceError` without an account for them."""
    kinds = [(path, recognise(path)) for path in paths]
    archives = tuple((path, kind) for path, kind in kinds if kind is not None)
    others = [path for path, kind in kinds if kind is None]
    if not archives:
        return None, others
    if not account:
        path, kind = archives[0]
        raise SourceError(
            f"This is an {_NAMES[kind]}" if _NAMES[kind][0] in "ae" else f"This is a {_NAMES[kind]}",
            str(path),
            "Say whose it is: --account NAME, the account's name in rapport.toml.",
        )
    return Archives(files=archives, account=account), others


def load(settings: Settings, archives: Archives, *, read_at: datetime, warn: Callable[[str], object]) -> None:
    """Load the archives. Raises `SourceError` for a damaged one; then nothing of its kind was loaded."""
    mine = [path for path, kind in archives.files if kind != "webmention"]
    if mine:
        source = archive.source(
            mine, account=archives.account, read_at=read_at, store_text=settings.store_text, warn=warn
        )
        _run(settings, archive.NAME, source)
    for path, kind in archives.files:
        if kind == "webmention":
            exported = archive_webmention.source(
                path, account=archives.account, read_at=read_at, store_text=settings.store_text
            )
            _run(settings, webmention.NAME, exported)


def said(archives: Archives, new: dict[str, int], seconds: float) -> list[str]:
    """What to print: what each file was, and what was new in all of them."""
    lines = [f"{path.name}: {_NAMES[kind]}" for path, kind in archives.files]
    counted = [f"{count:,} new {name}" for name, count in new.items()]
    return [*lines, f"  {', '.join(counted)} of {archives.account}, {seconds:.1f} s"]


def _run(settings: Settings, name: str, source: DltSource) -> None:
    pipeline = ingest.pipeline(name, str(settings.warehouse_path), settings.dlt_home, memory=_MEMORY)
    if pipeline.has_pending_data:
        pipeline.normalize()
        pipeline.load()
    often = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, 20, 100)
    try:
        pipeline.extract(source)
        pipeline.normalize()
        pipeline.load(workers=1)  # several files at once are no faster here, and each takes its share of memory
    except PipelineStepFailed as failed:
        raise cause(failed) from failed
    finally:
        gc.set_threshold(*often)


def cause(failed: BaseException) -> BaseException:
    """What a connector said, inside what dlt makes of it; the whole where it said nothing."""
    inner: BaseException | None = failed
    while inner is not None and not isinstance(inner, SourceError):
        inner = inner.__cause__ or inner.__context__
    return inner or failed
