"""Notifications of the Mastodon API: when somebody liked, reposted, followed, and mentions outside own threads.

Version 1 gives every event with its time. Version 2 groups events, so that only the newest of a group
has one; it is asked only where version 1 is not offered.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from sources.answers import HttpError
from sources.batches import Batch
from sources.mastodon_api import Api, Person, Status, objects, text
from sources.mastodon_rows import Threads, one_click
from sources.model import Row, SourceError
from sources.timestamps import parse_time
from sources.visit import Pages, Visit

ENOUGH = timedelta(days=7)
"""Where everything of so long a time is known, everything older is."""
_ONE_CLICK = {"favourite": ("like", "likes"), "reblog": ("repost", "reposts")}
_COMPOSED = ("mention", "quote")


@dataclass
class Notifications:
    """The account's notifications. `posts` are the own posts whose lists may have been read tonight."""

    visit: Visit
    api: Api
    threads: Threads
    posts: set[str]
    _first: dict[str, Row] = field(default_factory=dict)

    def read(self, *, hides_followers: bool) -> Iterator[Batch]:
        """Everything new. Nothing is judged gone by what a notification no longer says.

        A like or follow that its list, read tonight, does not hold was taken back: it is left out.
        """
        known = set(self.visit.memory.present.get("notifications", ()))
        was_whole = "notifications" in self.visit.memory.complete and "notifications" not in self.visit.memory.cut

        def pages() -> Pages:
            error = None
            try:
                self._gather(known, was_whole=was_whole, hides_followers=hides_followers)
            except SourceError as raised:
                error = raised  # what was read so far is kept
            yield [self._first[key] for key in sorted(self._first)]
            if error is not None:
                raise error

        yield from self.visit.items("inbound", "notifications", pages, judged=lambda _: False)

    def _gather(self, known: set[str], *, was_whole: bool, hides_followers: bool) -> None:
        """Read to the end, or to where everything of a week is known."""
        known_since: datetime | None = None
        for said in (one for page in self._pages() for one in page):
            row, moment = self._row(said, hides_followers=hides_followers), _time(said)
            if row is None:
                continue
            if row["interaction"] not in known:
                known_since = None
                self._keep(row)
            elif moment is not None:
                known_since = known_since or moment
                if was_whole and known_since - moment >= ENOUGH:
                    return

    def _keep(self, row: Row) -> None:
        """Some servers tell an event twice: its first time counts."""
        kept = self._first.setdefault(row["interaction"], row)
        if (row.get("occurred_at") or "~") < (kept.get("occurred_at") or "~"):
            self._first[row["interaction"]] = row

    def _row(self, said: dict[str, Any], *, hides_followers: bool) -> Row | None:
        """The interaction that a notification tells of; None where it is none, or was taken back."""
        kind, account, about = text(said, "type"), said.get("account"), said.get("status")
        if not isinstance(account, dict):
            return None
        at = text(said, "created_at")
        if kind == "follow":
            row = one_click("follow", self.api.person(account), self.threads.me.id, occurred_at=at)
            followers = self.visit.memory.present.get("followers", set())
            return row if row["interaction"] in followers or hides_followers else None
        status = self.api.status(about) if isinstance(about, dict) else None
        if status is not None and kind in _ONE_CLICK:
            return self._one_click(kind, self.api.person(account), status.reblog or status, at)
        return (
            self._composed(status, is_mention=kind == "mention") if status is not None and kind in _COMPOSED else None
        )

    def _one_click(self, kind: str, person: Person, status: Status, at: str | None) -> Row | None:
        if not self.threads.is_mine(status) or status.local in self.threads.replies:
            return None
        one, lists = _ONE_CLICK[kind]
        row = one_click(one, person, status.uri, post=status.uri, occurred_at=at)
        present = self.visit.memory.present.get(f"{lists}:{status.uri}", set())
        return row if row["interaction"] in present or status.uri not in self.posts else None

    def _composed(self, status: Status, *, is_mention: bool) -> Row | None:
        if self.threads.parent(status) is None and status.parent is not None and self._is_new(status.uri):
            self._meet_thread(status.local)
        return self.threads.inbound(status, is_notified=is_mention)

    def _is_new(self, uri: str) -> bool:
        return uri not in self.visit.memory.present.get("notifications", ())

    def _meet_thread(self, local: str) -> None:
        """What is above a status decides whether it lies in an own thread."""
        try:
            said = self.api.get(f"/api/v1/statuses/{local}/context", dict)
        except HttpError as error:
            if error.status not in (404, 410):
                raise
            return
        self.threads.meet(self.api.status(one) for one in objects(said, "ancestors"))

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        pages = self.api.pages("/api/v1/notifications")
        try:
            first = next(pages, [])
        except HttpError as error:
            if error.status not in (404, 410, 501):
                raise
        else:
            yield first
            yield from pages
            return
        yield from self._grouped()

    def _grouped(self) -> Iterator[list[dict[str, Any]]]:
        """Version 2 as if it were version 1: of a group, only its newest account has the group's time."""
        url: str | None = "/api/v2/notifications"
        while url is not None:
            said, url = self.api.page(url)
            accounts = {text(a, "id"): a for a in objects(said, "accounts")}
            statuses = {text(s, "id"): s for s in objects(said, "statuses")}
            groups = objects(said, "notification_groups")
            for group in groups:
                times = [group.get("latest_page_notification_at")]
                about = statuses.get(text(group, "status_id"))
                yield [
                    {"type": group.get("type"), "account": accounts.get(one), "status": about, "created_at": time}
                    for one, time in zip_longest(group.get("sample_account_ids") or (), times)
                ]
            if not groups:
                return


def _time(said: dict[str, Any]) -> datetime | None:
    try:
        return parse_time(text(said, "created_at") or "")
    except ValueError:
        return None
