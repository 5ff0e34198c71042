"""Every connector, by name. A new platform is one line here, beside its file and its staging."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dlt.extract.source import DltSource

from sources import activity, feed, webmention
from sources.model import STREAMS, RawTable


@dataclass(frozen=True, kw_only=True)
class Connector:
    """What the rest needs to know of a connector.

    `source(accounts, *, read_at, store_text)` makes its dlt source, also for no accounts at all; a
    connector that is not nightly is filled by `rapport import`, and its `source` takes files.
    """

    name: str
    platform: str
    streams: tuple[str, ...]
    tables: tuple[RawTable, ...]
    source: Callable[..., DltSource]
    is_nightly: bool = True

    def __post_init__(self) -> None:
        """Refuse streams that the ledger does not know."""
        if unknown := set(self.streams) - set(STREAMS):
            raise ValueError(f"{self.name}: unknown streams {sorted(unknown)}")


_CONNECTORS = (
    Connector(
        name=feed.NAME,
        platform=feed.PLATFORM,
        streams=("posts",),
        tables=feed.TABLES,
        source=feed.source,
    ),
    Connector(
        name=webmention.NAME,
        platform=webmention.PLATFORM,
        streams=("inbound",),
        tables=webmention.TABLES,
        source=webmention.source,
    ),
    Connector(
        name=activity.NAME,
        platform=activity.PLATFORM,
        streams=("posts", "inbound", "outbound"),
        tables=activity.TABLES,
        source=activity.source,
        is_nightly=False,
    ),
)
REGISTRY: Mapping[str, Connector] = {connector.name: connector for connector in _CONNECTORS}
