"""Who speaks to whom below a video: from YouTube's comments to interactions with the channel.

Answers below a comment are one flat list; whom one of them addresses is told by the `@handle` that it
begins with, else it is the comment itself. What two other people say to each other is not to us.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sources.model import Row
from sources.youtube_api import count, damaged, section, text

_ADDRESSED = re.compile(r"^[\s\u200b]*@([^\s,:;!?]+)")


@dataclass(frozen=True, kw_only=True)
class Comment:
    """A comment or an answer to one, as the API gives it."""

    id: str
    author: str | None
    name: str | None
    text: str
    published_at: str | None


def comment(item: Mapping[str, Any], where: str) -> Comment:
    """The comment in an item of the API. Raises `SourceError` for one without an id, a time or a text."""
    said = section(item, "snippet")
    comment_id, written = text(item.get("id")), text(said.get("textDisplay"))
    if comment_id is None or written is None or text(said.get("publishedAt")) is None:
        raise damaged(where)
    return Comment(
        id=comment_id,
        author=text(section(said, "authorChannelId").get("value")),
        name=text(said.get("authorDisplayName")),
        text=written,
        published_at=text(said.get("publishedAt")),
    )


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A comment, how many answers it has, and those that are shown with it (a few)."""

    top: Comment
    total: int
    shown: list[Comment]


def thread(item: Mapping[str, Any], where: str) -> Thread:
    """The thread in an item of the API. Raises `SourceError` for one without a comment."""
    said = section(item, "snippet")
    shown = section(item, "replies").get("comments")
    return Thread(
        top=comment(section(said, "topLevelComment"), where),
        total=count(said.get("totalReplyCount")) or 0,
        shown=[comment(found, where) for found in shown if isinstance(found, dict)] if isinstance(shown, list) else [],
    )


def top_row(top: Comment, *, me: str, video: str, store_text: bool) -> Row | None:
    """A comment on the video: somebody's answer to it; null for the channel's own, which addresses nobody."""
    return None if top.author == me else _row(top, top, direction="inbound", video=video, store_text=store_text)


def reply_rows(
    top: Comment, replies: Iterable[Comment], *, me: str, handle: str | None, video: str, store_text: bool
) -> list[Row]:
    """The answers below `top` that are an interaction of the channel `me`, in the order of their times.

    Outbound: the channel's own, to the person addressed or else to the author of `top`. Inbound: those that
    address the channel or name its handle, those below its own comment, and what the author of `top` says
    to nobody else after the channel has answered.
    """
    ours = _key(handle)
    last = {_key(top.name): top}
    said: Comment | None = top if top.author == me else None
    rows = []
    for reply in sorted(replies, key=lambda c: (c.published_at or "", c.id)):
        found = _ADDRESSED.match(reply.text)
        addressed = last.get(_key(found.group(1))) if found else None
        if reply.author == me:
            answered = addressed if addressed and addressed.author != me else top
            if answered.author != me:
                row = _row(reply, answered, direction="outbound", video=video, store_text=True)
                rows.append({**row, "in_reply_to": answered.id, "content_text": None})
            said = reply
        elif _is_to_us(reply, top, addressed, found is not None, me, ours, said):
            row = _row(reply, reply, direction="inbound", video=video, store_text=store_text)
            rows.append({**row, "in_reply_to": said.id if said else None})
        last[_key(reply.name)] = reply
    return rows


def _is_to_us(
    reply: Comment,
    top: Comment,
    addressed: Comment | None,
    addresses: bool,
    me: str,
    ours: str,
    said: Comment | None,
) -> bool:
    if addressed is not None:
        return addressed.author == me
    if ours and re.search(rf"@{re.escape(ours)}(?![\w.-])", reply.text.casefold()):
        return True
    if addresses:
        return False
    return top.author == me or (said is not None and reply.author == top.author)


def _row(said: Comment, other: Comment, *, direction: str, video: str, store_text: bool) -> Row:
    return {
        "interaction": said.id,
        "direction": direction,
        "kind": "reply",
        "person": other.author,
        "person_name": other.name,
        "person_url": f"https://www.youtube.com/channel/{other.author}" if other.author else None,
        "post": video,
        "occurred_at": said.published_at,
        "content_text": said.text if store_text else None,
    }


def _key(name: str | None) -> str:
    return (name or "").strip().lstrip("@").casefold()
