"""An export of webmention.io (jf2, a feed with `children`): the rows that its API would have given.

They go where the API's go, `raw_webmention`, with the same keys: what came by both is one row.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from dlt.extract.source import DltSource

from sources import webmention
from sources.archive_files import damage_told
from sources.batches import Batch, batch_source
from sources.json_stream import arrays
from sources.model import READINGS, Outcome, SourceError, readings
from sources.timestamps import parse_time


def source(file: Path, *, account: str, read_at: datetime, store_text: bool = False) -> DltSource:
    """The export as a dlt source named `webmention`. It covers from the oldest mention to the newest."""

    def read() -> Iterator[Batch]:
        yield from batches(file, account=account, read_at=read_at, store_text=store_text)

    return batch_source(webmention.NAME, read, tables=webmention.TABLES, read_at=read_at)


def batches(file: Path, *, account: str, read_at: datetime, store_text: bool = False) -> Iterator[Batch]:
    """Mentions and what they cover. Raises `SourceError` for a damaged file."""
    hosts: dict[str, int] = {}
    oldest = newest = None
    with damage_told(str(file)), file.open("rb") as stream:
        for items in arrays(stream, where=str(file), key="children"):
            if not all(isinstance(item, dict) for item in items):
                raise SourceError("This is no list of webmentions", str(file), "Export it again from webmention.io.")
            for item in items:
                host = urlsplit(str(item.get("wm-target", ""))).hostname
                hosts[host or ""] = hosts.get(host or "", 0) + 1
                if received := _received(item.get("wm-received")):
                    oldest, newest = min(received, oldest or received), max(received, newest or received)
            rows = [webmention.mention_row(account, item, store_text=store_text) for item in items]
            yield Batch(webmention.MENTIONS, rows)
    hosts.pop("", None)
    if hosts:
        domain = max(sorted(hosts), key=lambda host: hosts[host])
        yield Batch(webmention.PROFILES, [{"account_id": account, "url": f"https://{domain}/", "domain": domain}])
    if oldest and newest:
        outcome = Outcome(status="ok", covers_from=min(oldest, read_at))
        until = min(newest, read_at)
        rows = readings(
            account, {"inbound": [outcome]}, platform=webmention.PLATFORM, source=webmention.NAME, read_at=until
        )
        yield Batch(READINGS, rows)


def _received(text: object) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None
