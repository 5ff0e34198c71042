"""Statuses and people of the Mastodon API as raw rows: what is a post, a reply, a mention, and about which own post.

A person is `user@host` in lower case: the only name of somebody that accounts, mentions and archives all give, and
one that the network never changes (who moves becomes somebody else). A status is its `uri`, as in archives.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sources.mastodon_api import Person, Status
from sources.model import Row


def one_click(kind: str, person: Person, subject: str, **more: object) -> Row:
    """Somebody's like, repost or follow of `subject`: the same row from a list and from a notification."""
    return {
        "interaction": f"{kind}:{subject}:{person.id}", "direction": "inbound", "kind": kind, **named(person), **more,
    }  # fmt: skip


def given(kind: str, person: Person, subject: str, target_url: str | None) -> Row:
    """A like, repost or follow of the account."""
    return {
        "interaction": f"out:{kind}:{subject}", "direction": "outbound", "kind": kind, **named(person),
        "target_url": target_url,
    }  # fmt: skip


def named(person: Person) -> Row:
    """Who it is."""
    return {"person": person.id, "person_name": person.name, "person_url": person.url}


def post(status: Status, continues: str | None) -> Row:
    """An own post."""
    return {
        "post": status.uri, "url": status.url, "published_at": status.published_at, "edited_at": status.edited_at,
        "kind": status.kind, "language": status.language, "text": status.text, "in_reply_to": continues,
    }  # fmt: skip


@dataclass
class Threads:
    """The statuses met so far, and which of them are the account's.

    `posts` are own posts, `replies` own answers to others, both by the server's id.
    """

    me: Person
    store_text: bool = False
    posts: dict[str, Status] = field(default_factory=dict)
    replies: dict[str, Status] = field(default_factory=dict)
    met: dict[str, Status] = field(default_factory=dict)

    def is_mine(self, status: Status) -> bool:
        """Whether the account wrote it."""
        return status.author.id == self.me.id

    def meet(self, statuses: Iterable[Status]) -> None:
        """Remember statuses, so that threads can be followed."""
        self.met.update((status.local, status) for status in statuses)

    def parent(self, status: Status) -> Status | None:
        """What it answers, where that was met."""
        local = status.parent or ""
        return self.posts.get(local) or self.replies.get(local) or self.met.get(local)

    def is_reply_to_others(self, status: Status) -> bool:
        """Whether an own status answers somebody else, also one whose status is gone."""
        if status.parent_author is not None:
            return status.parent_author != self.me.local
        if status.parent is None:
            return False
        parent = self.parent(status)
        return parent is None or not self.is_mine(parent)

    def own_post(self, status: Status) -> str | None:
        """The own post in whose thread a status lies: the nearest above it."""
        passed, above = {status.local}, self.parent(status)
        while above is not None and above.local not in passed:
            if above.local in self.posts:
                return above.uri
            passed.add(above.local)
            above = self.parent(above)
        return None

    def inbound(self, status: Status, *, is_notified: bool = False) -> Row | None:
        """A status of somebody else as an interaction with the account; None where it is none.

        `is_notified`: the server said itself that it mentions the account; some servers list no mentions.
        """
        if self.is_mine(status) or status.reblog is not None:
            return None
        parent, post = self.parent(status), self.own_post(status)
        is_answer = (parent is not None and self.is_mine(parent)) or (
            status.parent_author is not None and status.parent_author == self.me.local
        )
        is_addressed = is_notified or any(one.id == self.me.id for one in status.mentions)
        quoted, key = status.quoted, status.uri
        if status.visibility == "direct" and (is_answer or is_addressed):
            kind = "message"
        elif is_answer or (post is not None and is_addressed):
            kind = "reply"
        elif quoted is not None and self.is_mine(quoted):
            kind, key, post = "quote", f"quote:{status.uri}", quoted.uri
        elif is_addressed:
            kind = "mention"
        else:
            return None
        answered = parent.uri if parent is not None and parent.local not in self.posts else None
        return {
            "interaction": key, "direction": "inbound", "kind": kind, **named(status.author), "post": post,
            "in_reply_to": answered, "occurred_at": status.published_at,
            "content_text": status.text if self.store_text else None,
        }  # fmt: skip

    def outbound(self, status: Status, answered: Person | None) -> Iterator[Row]:
        """What an own status is towards others: a reply to `answered`, a message, mentions, a quote, a repost."""
        said = {"direction": "outbound", "occurred_at": status.published_at}
        if status.reblog is not None:
            yield {
                **given("repost", status.reblog.author, status.reblog.uri, status.reblog.url),
                "occurred_at": status.published_at,
            }
            return
        parent, others = self.parent(status), [one for one in status.mentions if one.id != self.me.id]
        answers = {"in_reply_to": parent.uri if parent is not None else None}
        is_reply = status.local in self.replies
        if status.visibility == "direct":
            to = others or ([answered] if answered else [])
            for one in to:
                key = status.uri if len(to) == 1 else f"{status.uri}:{one.id}"
                yield {"interaction": key, "kind": "message", **named(one), **said, **answers}
            return
        if is_reply:
            who = named(answered) if answered else {}
            yield {"interaction": status.uri, "kind": "reply", **who, **said, **answers, "post": self.own_post(status)}
        if status.quoted is not None and not self.is_mine(status.quoted):
            yield {"interaction": f"quote:{status.uri}", "kind": "quote", **named(status.quoted.author), **said}
        for one in () if is_reply else others:
            yield {"interaction": f"out:mention:{status.uri}:{one.id}", "kind": "mention", **named(one), **said}
