"""The lists of a Bluesky account: its feed, what others did with each post, followers, what it gave itself.

An AppView is eventually consistent and its lists move while they are paged. So what a list no longer
shows is taken for gone only if a second reading lacks it too, the post it is about still exists, and -
where it is a message - asking for it by its address finds nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sources.batches import Batch
from sources.bluesky_api import PAGE, SKEWED, Api, Json, Params, each, until
from sources.bluesky_records import (
    FOLLOW,
    LIKE,
    REPOST,
    did_of,
    inbound_click,
    inbound_message,
    moment,
    own_rows,
    post_author,
    text_of,
    time_of,
)
from sources.collection import Collection
from sources.http import HttpError
from sources.model import RawTable, Row, SourceError
from sources.observations import INTERACTIONS, POSTS
from sources.visit import Pages, Visit

DEPTH = 100
"""Levels of a thread to ask for."""
SURELY = 5
"""An empty list is doubted if so many are counted: the number still counts people who left, the list does not."""

_COUNTERS = {
    "likes": "likeCount", "reposts": "repostCount", "replies": "replyCount", "quotes": "quoteCount",
    "bookmarks": "bookmarkCount",
}  # fmt: skip
_READ = ("replies", "likes", "reposts", "quotes")


@dataclass(frozen=True, kw_only=True)
class Own:
    """An own post or reply as the feed shows it; `root` is the post that began its thread, if not itself."""

    uri: str
    published_at: datetime
    counts: Mapping[str, int | None]
    is_post: bool
    root: str | None


@dataclass
class Lists:
    """What is read of the account `did` in one visit. `posts` is how many the profile counts, replies included."""

    visit: Visit
    api: Api
    did: str
    collection: Collection
    posts: int | None = None
    own: dict[str, Own] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    _answers: list[list[Row]] | None = None
    _children: dict[str, list[Json]] = field(default_factory=dict)
    _exists: dict[str, bool] = field(default_factory=dict)
    _jobs: list[tuple[str, Own]] = field(default_factory=list)

    def own_posts(self) -> Iterator[Batch]:
        """The feed: own posts. What it shows beside them is kept for `own_answers` and `counters`."""
        since, judged = self._window("posts", POSTS, "post", "published_at")

        def pages() -> Pages:
            answers = []
            for posts, interactions in self._feed(since):
                answers.append(interactions)
                yield posts
            self._answers = answers

        yield from self.items("posts", "posts", pages, table=POSTS, judged=judged, are_messages=True)
        yield from self.visit.whole("posts", since)
        times = [own.published_at for own in self.own.values()]
        if since is not None:
            times += self.history(POSTS, "post", "published_at").values()
        self.visit.oldest = min(times, default=None)

    def own_answers(self) -> Iterator[Batch]:
        """Replies to others, quotes, mentions, reposts: from the feed as `own_posts` has read it, or read anew."""
        since, judged = self._window("outbound:posts", INTERACTIONS, "interaction", "occurred_at")

        def pages() -> Pages:
            answers, self._answers = self._answers, None
            yield from answers if answers is not None else (found for _, found in self._feed(since))

        yield from self.items("outbound", "outbound:posts", pages, judged=judged, are_messages=True)
        yield from self.visit.whole("outbound:posts", since)

    def counters(self) -> Iterator[Batch]:
        """The counters of what the feed showed; and which lists of each are to be read, before they are known."""
        if self.visit.memory.complete.get("posts") != self.visit.read_at:
            self.visit.failed("counters", SourceError("The feed was not read to its end", self.did, SKEWED))
        self._jobs = []
        for own in sorted(self.own.values(), key=lambda own: (own.published_at, own.uri), reverse=True):
            for kind in _READ:
                counts = {kind: own.counts[kind]}
                if self.visit.is_due(f"{kind}:{own.uri}", own.published_at, post=own.uri, counts=counts):
                    self._jobs.append((kind, own))
            is_noted = self.visit.is_due(f"likes:{own.uri}", own.published_at)
            yield self.visit.counters("post", own.uri, own.counts, note=is_noted)

    def reactions(self) -> Iterator[Batch]:
        """Likes, reposts, quotes and replies of all own posts and replies that are due.

        A list of which nothing is counted and nothing known is empty without asking: those come first, so that
        failures in a row are seen as such. A thread shows the answers to the own replies in it, so
        posts come before replies.
        """
        free = [job for job in self._jobs if self._is_empty(*job)]
        asked = sorted((job for job in self._jobs if not self._is_empty(*job)), key=lambda job: job[1].root is not None)
        for kind, own in free:
            yield from self.visit.items("inbound", f"{kind}:{own.uri}", lambda: iter(()))
        has_quotes = True
        if first := next((own for kind, own in asked if kind == "quotes"), None):
            has_quotes = self.api.offers("app.bsky.feed.getQuotes", {"uri": first.uri, "limit": PAGE})
        for kind, own in asked:
            if own.uri in self.deleted or (kind == "quotes" and not has_quotes):
                continue
            yield from self._reactions(kind, own)
            if own.uri in self.deleted:
                yield self.visit.gone("posts", [own.uri])
                yield self.visit.gone("outbound:posts", [own.uri])

    def followers(self, counted: int | None) -> Iterator[Batch]:
        """Who follows the account; the platform does not say since when."""

        def parse(profile: Json) -> list[Row]:
            return [self.click("follow", self.did, profile, None)]

        def pages() -> Pages:
            found = self.api.pages("app.bsky.graph.getFollowers", "followers", {"actor": self.did})
            return each(found, parse, "followers")

        yield from self.items("inbound", "followers", pages, claimed=_surely(counted))

    def given(self) -> Iterator[Batch]:
        """Likes and follows that the account gave, from its repository."""
        for name, collection in (("outbound:likes", LIKE), ("following", FOLLOW)):
            since, judged = self._window(name, INTERACTIONS, "interaction", "occurred_at")
            pages = self._records(name, collection, since)
            yield from self.items("outbound", name, pages, judged=judged)
            yield from self.visit.whole(name, since)

    def _records(self, name: str, collection: str, since: datetime | None) -> Callable[[], Pages]:
        def parse(item: Json) -> list[Row]:
            return own_rows(_needed(item, "uri"), _record(item, "value"), self.did).interactions

        def pages() -> Pages:
            params = {"repo": self.did, "collection": collection}
            found = self.api.pages("com.atproto.repo.listRecords", "records", params, at=self.api.pds(self.did))
            times = ("value", "createdAt")
            return each(until(found, since, lambda item: time_of(text_of(item, *times))), parse, name)

        return pages

    def items(
        self,
        stream: str,
        name: str,
        pages: Callable[[], Pages],
        *,
        table: RawTable = INTERACTIONS,
        claimed: int | None = None,
        about: str | None = None,
        are_messages: bool = False,
        judged: Callable[[str], bool] = lambda _: True,
    ) -> Iterator[Batch]:
        """`Visit.items`, where a post that the list is `about` and each missing message are asked for once more."""
        known = frozenset(self.visit.memory.present.get(name, ()))
        seen: set[str] = set()

        def watched() -> Pages:
            for page in pages():
                seen.update(str(row["post" if table is POSTS else "interaction"]) for row in page)
                yield page

        def is_gone(item: str) -> bool:
            if not judged(item):
                return False
            if about is not None and not self.exist([about]):
                self.deleted.add(about)
                return False
            message = _message(item) if are_messages else None
            if message is None:
                return True
            self.exist([found for found in map(_message, known - seen) if found and judged(found)])
            return not self.exist([message])

        yield from self.visit.items(stream, name, watched, table=table, claimed=claimed, judged=is_gone)

    def exist(self, uris: Iterable[str]) -> bool:
        """Whether all these posts still exist; each is asked for once in a visit."""
        uris = set(uris)
        if unknown := uris - self._exists.keys():
            found = self.api.existing(unknown)
            self._exists.update({uri: uri in found for uri in unknown})
        return all(self._exists[uri] for uri in uris)

    def click(self, kind: str, about: str, profile: object, occurred_at: str | None) -> Row:
        """A row of who liked, reposted or followed. Raises `ValueError` where the profile names nobody."""
        person = _needed(profile, "did")
        return inbound_click(
            kind, about, person, name=_name(profile), occurred_at=occurred_at, own_posts=self.own_uris()
        )

    def message(self, post: Json) -> Row | None:
        """A row of somebody's message, if it is addressed to the account. Raises `ValueError` where it is no message."""
        return inbound_message(
            _needed(post, "uri"), _record(post, "record"), _needed(post, "author", "did"), self.did,
            name=_name(post.get("author")), indexed_at=text_of(post, "indexedAt"), own_posts=self.own_uris(),
            store_text=self.visit.store_text,
        )  # fmt: skip

    def own_uris(self) -> set[str]:
        """The own posts that are known."""
        return self.visit.memory.present.setdefault("posts", set())

    def history(self, table: RawTable, item: str, time: str) -> dict[str, datetime]:
        """When each known row of a raw table says that it happened, where it says so."""
        tables = self.collection.history(self.visit.account.account_id)
        if table.name not in tables:
            return {}
        rows = tables[table.name].select(["platform", item, time]).to_pylist()
        times = {row[item]: time_of(row[time]) for row in rows if row["platform"] == self.visit.platform and row[time]}
        return {name: at for name, at in times.items() if at}

    def _feed(self, since: datetime | None) -> Iterator[tuple[list[Row], list[Row]]]:
        """The pages of the feed: rows of posts and rows of interactions."""
        params = {"actor": self.did, "filter": "posts_with_replies"}
        pages, is_empty = self.api.pages("app.bsky.feed.getAuthorFeed", "feed", params), True
        for page in each(until(pages, since, _feed_time), self._feed_item, "feed"):
            is_empty = False
            yield (
                [row for row in page if "post" in row and "kind" in row and "interaction" not in row],
                [row for row in page if "interaction" in row],
            )
        if is_empty and _surely(self.posts):
            raise SourceError("The feed is empty, though posts are counted", self.did, "Try again later.")

    def _feed_item(self, item: Json) -> list[Row]:
        post = item.get("post")
        uri, author = _needed(post, "uri"), _needed(post, "author", "did")
        record, indexed_at = _record(post, "record"), text_of(post, "indexedAt")
        if str(text_of(item, "reason", "$type")).endswith("#reasonRepost"):
            said = {"subject": {"uri": uri}, "createdAt": text_of(item, "reason", "indexedAt")}
            repost = own_rows(f"at://{self.did}/{REPOST}/-", said, self.did).interactions
            return [{**row, "person_name": _name(_get(post, "author"))} for row in repost]
        if author != self.did:
            raise ValueError("somebody else's post that is no repost")
        record = {**record, "createdAt": moment(text_of(record, "createdAt"), indexed_at)}
        found = own_rows(uri, record, self.did, store_text=self.visit.store_text)
        published_at = time_of(record["createdAt"])
        if published_at:
            self.own[uri] = Own(
                uri=uri,
                published_at=published_at,
                counts={name: _number(post, key) for name, key in _COUNTERS.items()},
                is_post=bool(found.posts),
                root=text_of(record, "reply", "root", "uri"),
            )
        answered = item.get("reply", {}).get("parent") if isinstance(item.get("reply"), Mapping) else None
        names = {text_of(answered, "author", "did"): _name(_get(answered, "author"))}
        return [*found.posts, *({**row, "person_name": names.get(row["person"])} for row in found.interactions)]

    def _is_empty(self, kind: str, own: Own) -> bool:
        return own.counts[kind] == 0 and not self.visit.memory.present.get(f"{kind}:{own.uri}")

    def _reactions(self, kind: str, own: Own) -> Iterator[Batch]:
        uri, name = own.uri, f"{kind}:{own.uri}"

        def like(item: Json) -> list[Row]:
            at = moment(text_of(item, "createdAt"), text_of(item, "indexedAt"))
            return [self.click("like", uri, item.get("actor"), at)]

        def quote(item: Json) -> list[Row]:
            row = self.message(item)
            return [row] if row and row["kind"] == "quote" else []

        if kind == "replies":
            yield from self.items("inbound", name, lambda: self._thread(own), about=uri, are_messages=True)
            return
        method, key, parse = {
            "likes": ("getLikes", "likes", like),
            "reposts": ("getRepostedBy", "repostedBy", lambda item: [self.click("repost", uri, item, None)]),
            "quotes": ("getQuotes", "posts", quote),
        }[kind]
        claimed = None if kind == "quotes" else _surely(own.counts[kind])  # some quotes are replies, and left out

        def pages() -> Pages:
            return each(self.api.pages(f"app.bsky.feed.{method}", key, {"uri": uri}), parse, name)

        yield from self.items("inbound", name, pages, claimed=claimed, about=uri, are_messages=kind == "quotes")

    def _thread(self, own: Own) -> Pages:
        """The answers to an own record, and those deeper in a thread that it began which mention the account.

        A message is in one list only: that of the own record it answers, else that of the thread's first post.
        """
        if own.uri in self._children:
            yield from each(iter([self._children.pop(own.uri)]), self._reply, own.uri)
            return
        params: Params = {"uri": own.uri, "depth": 1 if own.root else DEPTH, "parentHeight": 0}
        try:
            thread = self.api.ask("app.bsky.feed.getPostThread", params).get("thread") or {}
        except HttpError as error:
            if error.code != "NotFound":
                raise
            thread = {"$type": "#notFoundPost"}
        if str(text_of(thread, "$type")).endswith("#notFoundPost"):
            self._exists[own.uri] = False
            self.deleted.add(own.uri)
            return
        if text_of(thread, "post", "uri") != own.uri:
            raise SourceError("The answer has no thread", own.uri, SKEWED)
        found: list[Json] = []
        stack: list[Json] = [thread]
        while stack:
            node = stack.pop()
            uri, author = text_of(node, "post", "uri"), text_of(node, "post", "author", "did")
            below = [child for child in _nodes(node) if isinstance(child.get("post"), Mapping)]
            stack += below
            posts = [child["post"] for child in below]
            if uri == own.uri:
                found += posts
            elif author == self.did and uri and isinstance(node.get("replies"), list):
                self._children[uri] = posts
            else:
                found += posts
        yield from each(iter([found]), self._reply, own.uri)

    def _reply(self, post: Json) -> list[Row]:
        row = self.message(post)
        return [row] if row and row["kind"] == "reply" else []

    def _window(
        self, name: str, table: RawTable, item: str, time: str
    ) -> tuple[datetime | None, Callable[[str], bool]]:
        """Since when a list is read (null: all of it), and which known items such a reading could have found."""
        since = self.visit.since(name)
        if since is None:
            return None, lambda _: True
        times = self.history(table, item, time)
        return since, lambda known: times.get(known, since) > since + timedelta(days=1)


def _feed_time(item: Json) -> datetime | None:
    said = moment(text_of(item, "post", "record", "createdAt"), text_of(item, "post", "indexedAt"))
    return time_of(text_of(item, "reason", "indexedAt") or said)


def _needed(item: object, *path: str) -> str:
    said = text_of(item, *path)
    if not said or (path[-1] == "did" and not did_of(said)):
        raise ValueError(path[-1])
    return said


def _get(item: object, name: str) -> object:
    return item.get(name) if isinstance(item, Mapping) else None


def _record(item: object, name: str) -> Mapping[str, Any]:
    record = _get(item, name)
    if not isinstance(record, Mapping):
        raise ValueError(name)  # noqa: TRY004  what cannot be read is one thing, whatever its type
    return record


def _nodes(node: Json) -> list[Json]:
    replies = node.get("replies")
    return [child for child in replies if isinstance(child, dict)] if isinstance(replies, list) else []


def _name(profile: object) -> str | None:
    return text_of(profile, "displayName") or text_of(profile, "handle")


def _number(post: object, name: str) -> int | None:
    value = _get(post, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _surely(counted: int | None) -> int | None:
    return counted if counted is not None and counted >= SURELY else None


def _message(item: str) -> str | None:
    """The address of the message that an id names; null for what is none."""
    uri = item.removeprefix("out:mention:").rsplit(":did:", 1)[0] if item.startswith("out:mention:") else item
    uri = uri.removeprefix("quote:")
    return uri if post_author(uri) else None
