"""Skeleton."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dlt.extract.source import DltSource

from sources.batches import batch_source
from sources.observations import TABLES

NAME = PLATFORM = "archive"


def source(files: Sequence[Path] = (), *, read_at: datetime, store_text: bool = False) -> DltSource:
    """The archives: one dlt resource a raw table."""
    return batch_source(NAME, lambda: iter(()), tables=TABLES, read_at=read_at)
