"""Notifications of a Bluesky account: mentions, and the times of follows and reposts that public lists lack.

They are no complete list of anything: a reply that was indexed before its parent never becomes one, and
what was taken back leaves it. So they add, and take nothing away - but for mentions, which are asked
for by their addresses.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from sources.batches import Batch
from sources.bluesky_api import Json, Session
from sources.bluesky_lists import Lists
from sources.bluesky_records import moment, post_author, text_of, time_of
from sources.model import Row, SourceError
from sources.observations import INTERACTIONS, LISTS
from sources.schedule import RECENT, WHOLE_EVERY

NAME = "notifications"
FEW = 500
"""So many mentions are looked after every night, more of them only while they are recent and every four weeks."""
SETTLED = timedelta(days=28)
"""A backdated record sorts into the past: the end is reached when so long a time held nothing new, not before."""


def notifications(lists: Lists, session: Session) -> Iterator[Batch]:
    """The notifications: to the end where that was not done for four weeks, else to where all is known."""
    visit = lists.visit
    known = lists.history(INTERACTIONS, "interaction", "occurred_at")
    last = visit.memory.complete.get(NAME)
    is_whole = last is None or last + WHOLE_EVERY <= visit.read_at
    mentions: dict[str, Row] = {}
    unreadable = count = 0
    nothing_new_since: datetime | None = None
    for page in session.pages("app.bsky.notification.listNotifications", NAME):
        rows = []
        for item in page:
            at = time_of(text_of(item, "indexedAt"))
            try:
                row = _row(lists, item)
            except ValueError:
                unreadable += 1
                continue
            if row and row["interaction"] not in known:
                nothing_new_since = None
            elif at and nothing_new_since is None:
                nothing_new_since = at
            rows += [row] if row else []
        count += len(rows)
        mentions |= {row["interaction"]: row for row in rows if row["kind"] == "mention"}
        yield Batch(INTERACTIONS, [visit.row(**row) for row in rows])
        if not is_whole and at and nothing_new_since and nothing_new_since - at >= SETTLED:
            break
    if unreadable:
        raise SourceError(f"{unreadable} items are not as they should be", NAME, "Try again later.")
    if is_whole:
        said = {"list": NAME, "observed_at": visit.read_at, "is_complete": True, "items": count}
        yield Batch(LISTS, [visit.row(**said)])
    since = visit.read_at - RECENT
    is_whole = is_whole or len(visit.memory.present.get("mentions", ())) <= FEW
    yield from lists.items(
        "inbound", "mentions", lambda: iter([list(mentions.values())]), are_messages=True,
        judged=lambda item: is_whole or known.get(item, since) > since,
    )  # fmt: skip


def _row(lists: Lists, item: Json) -> Row | None:
    """A notification as an interaction; null for what is none. Raises `ValueError` where it cannot be read."""
    reason, record = text_of(item, "reason"), item.get("record")
    if reason is None or not isinstance(record, Mapping):
        raise ValueError("reason or record")
    at = moment(text_of(record, "createdAt"), text_of(item, "indexedAt"))
    if reason in ("like", "repost"):
        about = text_of(record, "subject", "uri")
        if about is None:
            raise ValueError(reason)
        is_own = post_author(about) == lists.did  # else it came by way of an own repost
        return lists.click(reason, about, item.get("author"), at) if is_own else None
    if reason == "follow":
        return lists.click("follow", lists.did, item.get("author"), at)
    return lists.message(item) if reason in ("reply", "mention", "quote") else None
