"""Every connector, by name. A new platform is one line here, beside its file and its staging."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from types import ModuleType
from typing import Any

from dlt.extract.source import DltSource

from sources import activity, archive, bluesky, earnings, feed, ghost, mastodon, webmention, wordpress, x, youtube
from sources.memory import Memory
from sources.model import STREAMS, AccountSource, RawTable


@dataclass(frozen=True, kw_only=True)
class Connector:
    """What the rest needs to know of a connector.

    `source(accounts, *, read_at, store_text, collection)` makes its dlt source, also for no accounts at all; a
    connector that is not nightly is filled by `rapport import`, and its `source` takes files. One that
    `remembers` knows from the raw tables what earlier nights found. `options` are
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


def _network(module: ModuleType, **more: Any) -> Connector:
    """A connector that remembers, as its module declares it."""
    return Connector(
        name=module.NAME,
        platform=module.PLATFORM,
        streams=module.STREAMS,
        tables=module.TABLES,
        source=module.source,
        remembers=True,
        **more,
    )


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
    _network(bluesky, options=bluesky.OPTIONS),
    _network(mastodon),
    _network(wordpress),
    _network(ghost),
    _network(youtube, unit=youtube.UNIT, budget=youtube.BUDGET, estimate=youtube.estimate, day=youtube.DAY),
    _network(x, options=x.OPTIONS, unit=x.UNIT, budget=x.BUDGET, estimate=x.estimate),
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
    Connector(
        name=earnings.NAME,
        platform=earnings.PLATFORM,
        streams=(),
        tables=earnings.TABLES,
        source=earnings.source,
        is_nightly=False,
    ),
)
REGISTRY: Mapping[str, Connector] = {connector.name: connector for connector in _CONNECTORS}
