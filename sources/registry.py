"""Every connector, by name. A new platform is one line here, beside its file and its staging."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from dlt.extract.source import DltSource

from sources import activity, archive, bluesky, feed, ghost, mastodon, webmention, wordpress, x, youtube
from sources.memory import Memory
from sources.model import STREAMS, AccountSource, RawTable


@dataclass(frozen=True, kw_only=True)
class Connector:
    """What the rest needs to know of a connector.

    `source(accounts, *, read_at, store_text)` makes its dlt source, also for no accounts at all; a
    connector that is not nightly is filled by `rapport import`, and its `source` takes files. One that
    `remembers` also takes a `collection`, from which it knows what earlier nights found. `options` are
    further keys that a source of rapport.toml may have; `unit` is what its budget counts, where it has one; `budget` is what
    it may spend in a day unless rapport.toml says otherwise, `estimate` what a night would cost at most,
    and `day` where the day begins.
    """

    name: str
    platform: str
    streams: tuple[str, ...]
    tables: tuple[RawTable, ...]
    source: Callable[..., DltSource]
    is_nightly: bool = True
    remembers: bool = False
    options: tuple[str, ...] = ()
    unit: str | None = None
    budget: int | None = None
    estimate: Callable[[AccountSource, Memory, datetime], float] | None = None
    day: tzinfo = UTC

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
        name=bluesky.NAME,
        platform=bluesky.PLATFORM,
        streams=bluesky.STREAMS,
        tables=bluesky.TABLES,
        source=bluesky.source,
        remembers=True,
        options=bluesky.OPTIONS,
    ),
    Connector(
        name=mastodon.NAME,
        platform=mastodon.PLATFORM,
        streams=mastodon.STREAMS,
        tables=mastodon.TABLES,
        source=mastodon.source,
        remembers=True,
    ),
    Connector(
        name=wordpress.NAME,
        platform=wordpress.PLATFORM,
        streams=wordpress.STREAMS,
        tables=wordpress.TABLES,
        source=wordpress.source,
        remembers=True,
    ),
    Connector(
        name=ghost.NAME,
        platform=ghost.PLATFORM,
        streams=ghost.STREAMS,
        tables=ghost.TABLES,
        source=ghost.source,
        remembers=True,
    ),
    Connector(
        name=youtube.NAME,
        platform=youtube.PLATFORM,
        streams=youtube.STREAMS,
        tables=youtube.TABLES,
        source=youtube.source,
        remembers=True,
        unit=youtube.UNIT,
        budget=youtube.BUDGET,
        estimate=youtube.estimate,
        day=youtube.DAY,
    ),
    Connector(
        name=x.NAME,
        platform=x.PLATFORM,
        streams=x.STREAMS,
        tables=x.TABLES,
        source=x.source,
        remembers=True,
        options=x.OPTIONS,
        unit=x.UNIT,
        budget=x.BUDGET,
        estimate=x.estimate,
    ),
    Connector(
        name=activity.NAME,
        platform=activity.PLATFORM,
        streams=("posts", "inbound", "outbound"),
        tables=activity.TABLES,
        source=activity.source,
        is_nightly=False,
    ),
    Connector(
        name=archive.NAME,
        platform=archive.PLATFORM,
        streams=("posts", "inbound", "outbound"),
        tables=archive.TABLES,
        source=archive.source,
        is_nightly=False,
    ),
)
REGISTRY: Mapping[str, Connector] = {connector.name: connector for connector in _CONNECTORS}
