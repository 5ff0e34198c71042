"""What the readers of all archives share: one archive being read, how far it reaches, what of it bears no time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sources.batches import Batch
from sources.model import Outcome, Row
from sources.observations import INTERACTIONS, LISTS, SIGHTINGS
from sources.timestamps import EARLIEST, parse_time


@dataclass
class Contents:
    """One archive of one account: where it is, what is known of it, how far what it holds reaches.

    A reader sets `born_at` (the profile's birth) and `made_at` (when the archive was made) where the
    archive says so, and names the streams it `holds`.
    """

    path: Path
    account_id: str
    platform: str
    read_at: datetime
    store_text: bool = False
    warn: Callable[[str], object] = lambda _: None
    born_at: datetime | None = None
    made_at: datetime | None = None
    holds: set[str] = field(default_factory=set)
    _oldest: str | None = None
    _newest: str | None = None

    def row(self, **values: object) -> Row:
        """A row of this account on this platform."""
        return {"account_id": self.account_id, "platform": self.platform, **values}

    def saw(self, times: Iterable[str | None]) -> None:
        """Times of rows, as ISO 8601 in UTC (they sort as texts), which say how far the archive reaches."""
        known = [time for time in times if time and time >= "1990"]
        if known:
            self._oldest = min([*known, *([self._oldest] if self._oldest else [])])
            self._newest = max([*known, *([self._newest] if self._newest else [])])

    @property
    def newest(self) -> datetime | None:
        """The time of the newest row."""
        return moment(self._newest)

    def undated(self, name: str, rows: Sequence[Row]) -> list[Batch]:
        """A whole list whose items bear no time: they were there when the archive was made."""
        observed = min(self.made_at or self.read_at, self.read_at)
        sightings = [
            self.row(list=name, item=row["interaction"], event="seen", observed_at=observed)
            for row in rows
            if row["interaction"]
        ]
        return [Batch(INTERACTIONS, list(rows)), Batch(SIGHTINGS, sightings)]

    def whole(self, name: str, items: int) -> Batch:
        """A list was read to its end."""
        observed = min(self.made_at or self.read_at, self.read_at)
        return Batch(LISTS, [self.row(list=name, observed_at=observed, is_complete=True, items=items)])

    def outcomes(self) -> dict[str, list[Outcome]]:
        """What each stream that the archive holds comes to: whole from the birth, or the oldest row."""
        until = min(self.made_at or self.newest or self.read_at, self.read_at)
        start = min([m for m in (self.born_at, moment(self._oldest)) if m], default=until)
        return {stream: [Outcome(status="ok", covers_from=min(start, until))] for stream in self.holds}


def moment(text: str | None) -> datetime | None:
    """The moment that a text names, None where it names none that can be.

    >>> moment("2020-01-02T03:04:05Z").isoformat(), moment("soon")
    ('2020-01-02T03:04:05+00:00', None)
    """
    try:
        found = parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found and found >= EARLIEST else None
