"""Skeleton."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.batches import Batch
from sources.collection import Collection
from sources.model import AccountSource
from sources.observations import TABLES as TABLES
from sources.visit import Visit

NAME = PLATFORM = "youtube"
STREAMS = ("posts", "inbound", "outbound", "counters")


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The accounts: one dlt resource a raw table."""
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS
    )


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one account."""
    yield from ()
