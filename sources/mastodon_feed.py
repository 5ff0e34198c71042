"""The account's own statuses, newest first: which are posts, which answer others, and what a reading could find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sources.mastodon_api import Api, Person, Status
from sources.mastodon_rows import Threads
from sources.memory import History
from sources.model import Row
from sources.timestamps import parse_time
from sources.visit import Visit


def time_of(text: object) -> datetime | None:
    """The moment that the server names; None where it is none."""
    try:
        return parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None


@dataclass
class Feed:
    """The statuses read tonight, by `uri`, and the threads that they make. `said` is the account's profile."""

    visit: Visit
    api: Api
    said: dict[str, Any]
    me: Person
    history_of: History
    statuses: dict[str, Status] = field(default_factory=dict)
    threads: Threads = field(init=False)
    had_token: bool = field(init=False)

    def __post_init__(self) -> None:
        """What a token could see once and nobody can see now is not gone."""
        self.threads = Threads(me=self.me, store_text=self.visit.store_text)
        self.had_token = "notifications" in self.visit.memory.complete

    def sees_all(self, _item: str = "") -> bool:
        """Whether what is missing is gone: not where a token that opened more is refused now."""
        return self.api.token is not None or not (self.had_token or self.api.refused)

    @property
    def statuses_count(self) -> int:
        """How many statuses there are; 0 where the server does not say."""
        count = self.said.get("statuses_count")
        return count if isinstance(count, int) else 0

    def since(self, name: str) -> datetime | None:
        """Where tonight's reading stops: nowhere, but for accounts with very many statuses."""
        return self.visit.since(name, count=self.statuses_count)

    def judged(self, since: datetime | None, table: str, key: str, time: str) -> Callable[[str], bool]:
        """Which known items the reading of the feed could have found: all, or those since its oldest page."""
        dates: dict[str, datetime | None] = {}

        def judged(item: str) -> bool:
            if not self.sees_all():
                return False
            start = since if self._path not in self.api.unpaged else self._oldest()
            if start is None:
                return True
            if not dates:
                dates.update({row[key]: time_of(row[time]) for row in self.history(table)})
            moment = dates.get(item)
            return moment is not None and moment >= start

        return judged

    def _oldest(self) -> datetime | None:
        return min((t for s in self.statuses.values() if (t := time_of(s.published_at))), default=None)

    def history(self, table: str) -> list[Row]:
        """What was loaded of the account before."""
        rows = self.history_of(self.visit.account.account_id)
        return [r for r in rows[table].to_pylist() if r["platform"] == self.visit.platform] if table in rows else []

    @property
    def _path(self) -> str:
        return f"/api/v1/accounts/{self.me.local}/statuses"

    def pages(self, since: datetime | None) -> Iterator[list[Status]]:
        """Own statuses, newest first, sorted into posts, replies and the rest."""
        for page in self.api.pages(self._path):
            statuses = [self._own(self.api.status(item)) for item in page]
            for status in statuses:
                self.statuses[status.uri] = status
                if status.reblog is None and status.visibility != "direct":
                    is_reply = self.threads.is_reply_to_others(status)
                    (self.threads.replies if is_reply else self.threads.posts)[status.local] = status
            yield statuses
            times = [time_of(s.published_at) for s in statuses]
            if since is not None and times and all(t is not None and t < since for t in times):
                return

    def _own(self, status: Status) -> Status:
        """Some servers show an own post that others boosted as their boost."""
        boosted = status.reblog
        is_others = boosted is not None and not self.threads.is_mine(status) and self.threads.is_mine(boosted)
        return boosted if boosted is not None and is_others else status
