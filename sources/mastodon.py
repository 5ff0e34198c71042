"""Mastodon and every server that speaks its API: posts, who reacts to them, whom the account answers.

Everything public is read without a token. A token adds notifications (they carry the times that lists
lack, and mentions outside own threads), favourites given, and posts for followers only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.answers import HttpError
from sources.batches import Batch
from sources.collection import Collection
from sources.http import Client
from sources.mastodon_api import Api, Person, Status, number, objects, split_address
from sources.mastodon_feed import Feed, time_of
from sources.mastodon_notifications import Notifications
from sources.mastodon_rows import given, one_click, post
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import INTERACTIONS, POSTS, TABLES
from sources.visit import Pages, Visit

__all__ = ["NAME", "PLATFORM", "STREAMS", "TABLES", "claims", "read", "recognise", "source"]

NAME = PLATFORM = "mastodon"
STREAMS = ("posts", "inbound", "outbound", "counters")
HIDDEN = (401, 403, 404, 405, 410, 422)
SHORT_CONTEXT = 60
"""Descendants that Mastodon shows without a token."""
_ADDRESS = "Give @user@host or https://host/@user."


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The accounts: one dlt resource a raw table."""
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS
    )


def claims(url: str) -> bool:
    """Whether the address alone says that it is a profile of this family.

    >>> claims("@ann@social.example"), claims("https://social.example/@ann"), claims("https://blog.example/")
    (True, True, False)
    """
    return split_address(url) is not None


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """What `rapport add` says of a profile: None where the address is none of this family.

    Raises `SourceError` where the server does not answer, or has no such account.
    """
    if not claims(account.url):
        return None
    api, user = _server(account, client)
    api.find_host()
    said = api.lookup(user)
    me = api.person(said)
    counts = [(said.get(f"{key}_count"), word) for key, word in (("statuses", "posts"), ("followers", "followers"))]
    shown = "".join(f", {n:,} {word}" for n, word in counts if isinstance(n, int))
    return Recognised(source=NAME, url=me.url or account.url, title=me.name, summary=f"Mastodon API @{me.id}{shown}")


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one account."""
    token = visit.account.options.get("token")
    with collection.client(visit.account) as public:
        api, user = _server(visit.account, public)
        if not token:
            yield from _read(visit, collection, api, user)
            return
        headers = {"Authorization": f"Bearer {token}"}
        with collection.client(visit.account, headers=headers) as secret:
            api.token = secret
            yield from _read(visit, collection, api, user)


def _server(account: AccountSource, client: Client) -> tuple[Api, str]:
    found = split_address(account.url)
    if found is None:
        raise SourceError("This is no profile of Mastodon's family", account.url, _ADDRESS)
    return Api(public=client, base=(account.endpoint or found[1]).rstrip("/")), found[0]


def _read(visit: Visit, collection: Collection, api: Api, user: str) -> Iterator[Batch]:
    api.find_host()
    mine = api.verify()
    said = api.lookup(user)
    if mine is not None and str(mine.get("id")) != str(said.get("id")):
        api.drop_token("The token belongs to another account")
    me = api.person(said)
    state = "suspended" if said.get("suspended") is True else "moved" if said.get("moved") else None
    yield visit.profile(
        profile=me.id, handle=me.id, url=me.url, name=me.name, born_at=said.get("created_at"), state=state
    )
    visit.born_at = time_of(said.get("created_at"))
    feed = Feed(visit=visit, api=api, said=said, me=me, history_of=collection.history)
    account = Account(visit=visit, api=api, said=said, me=me, feed=feed)
    with visit.stream("posts"):
        yield from account.posts()
    with visit.stream("counters"):
        yield from account.counters()
    with visit.stream("inbound"):
        yield from account.inbound()
    with visit.stream("outbound"):
        yield from account.outbound()
    if api.refused is not None:
        for stream in ("inbound", "outbound"):
            with visit.stream(stream):
                raise api.refused


@dataclass
class Account:
    """The reading of one account: its own statuses are read once, then everything about each."""

    visit: Visit
    api: Api
    said: dict[str, Any]
    me: Person
    feed: Feed
    due: dict[str, set[str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    broken: SourceError | None = None
    hides_followers: bool = False

    def posts(self) -> Iterator[Batch]:
        """Own posts. Reading them sorts own replies and reposts out, for `outbound`."""
        since = self.feed.since("posts")

        def pages() -> Pages:
            for page in self.feed.pages(since):
                yield [post(s, self._continues(s)) for s in page if s.local in self.feed.threads.posts]

        judged = self.feed.judged(since, POSTS.name, "post", "published_at")
        yield from self.visit.items("posts", "posts", pages, table=POSTS, judged=judged)
        if "posts" not in self.visit.memory.cut and self.visit.memory.complete.get("posts") == self.visit.read_at:
            yield from self.visit.whole("posts", since, count=self.feed.statuses_count)
        else:
            self.broken = SourceError("The own statuses could not be read whole", self.api.base, "Try again later.")
        times = [moment for s in self.feed.threads.posts.values() if (moment := time_of(s.published_at))]
        self.visit.oldest = min(times, default=None)

    def _continues(self, status: Status) -> str | None:
        parent = self.feed.threads.parent(status)
        return parent.uri if parent is not None and self.feed.threads.is_mine(parent) else None

    def counters(self) -> Iterator[Batch]:
        """Counters of the profile and of each post; which lists are due is settled before they are remembered."""
        counts = {name: number(self.said, f"{key}_count") for name, key in
                  (("followers", "followers"), ("following", "following"), ("posts", "statuses"))}  # fmt: skip
        yield self.visit.counters("profile", PLATFORM, counts)
        for status in self._read_closely():
            published = time_of(status.published_at)
            if published is None:
                continue
            due = {
                kind
                for kind in ("likes", "reposts", "replies")
                if self.visit.is_due(
                    f"{kind}:{status.uri}", published, post=status.uri, counts={kind: status.counts[kind]}
                )
            }
            self.due[status.uri] = due
            if status.local in self.feed.threads.posts:
                yield self.visit.counters("post", status.uri, status.counts, note=bool(due))

    def _read_closely(self) -> list[Status]:
        """Own posts, and own replies that somebody answered."""
        answered = [s for s in self.feed.threads.replies.values() if s.counts["replies"]]
        return sorted([*self.feed.threads.posts.values(), *answered], key=lambda s: s.uri)

    def inbound(self) -> Iterator[Batch]:
        """Who likes, reposts, answers, follows, and mentions."""
        shows = {
            kind: any(s.counts[kind] for s in self.feed.statuses.values()) for kind in ("likes", "reposts", "replies")
        }
        for status in self._read_closely():
            for kind in sorted(self.due.get(status.uri, ())):
                if kind in self.missing or (kind != "replies" and status.local not in self.feed.threads.posts):
                    continue
                name = f"{kind}:{status.uri}"
                count = status.counts[kind]
                is_none = count == 0 and shows[kind] and not self.visit.memory.present.get(name)
                read = self._nothing if is_none else (self._context if kind == "replies" else self._people)
                pages = Peeked(read(status, kind))
                if (gone := self._gone(status, kind, pages)) is not None:
                    yield gone
                    break
                if kind in self.missing:
                    continue
                yield from self.visit.items(
                    "inbound", name, partial(pages.start, partial(read, status, kind)),
                    judged=self.feed.sees_all, claimed=count if kind != "replies" else None,
                )  # fmt: skip
        if self.visit.memory.complete.get("followers") != self.visit.read_at:
            yield from self._follows("inbound", "followers")
        if self.api.token is not None:
            news = Notifications(
                visit=self.visit, api=self.api, threads=self.feed.threads, posts=set(self.feed.statuses)
            )
            yield from news.read(hides_followers=self.hides_followers)
        if self.missing:
            kinds = ", ".join(sorted(self.missing))
            raise SourceError(f"The server does not show {kinds} without a token", self.api.base, "Set a token.")

    def _gone(self, status: Status, kind: str, pages: "Peeked") -> Batch | None:
        """Whether the status was deleted after the feed was read, or its lists are not for us."""
        error = pages.error
        if not isinstance(error, HttpError) or error.status not in HIDDEN:
            return None
        try:
            self.api.get(f"/api/v1/statuses/{status.local}", dict)
        except HttpError as said:
            if said.status in (404, 410):
                return self.visit.gone("posts", [status.uri])
        except SourceError:
            return None
        if self.api.token is None and error.status in (401, 403, 422):
            self.missing.add(kind)
        return None

    def _nothing(self, _status: Status, _kind: str) -> Pages:
        """The server counts none: there is nothing to ask for."""
        return iter(())

    def _people(self, status: Status, kind: str) -> Pages:
        path, one = {"likes": ("favourited_by", "like"), "reposts": ("reblogged_by", "repost")}[kind]
        for page in self.api.pages(f"/api/v1/statuses/{status.local}/{path}"):
            people = [self.api.person(item) for item in page]
            yield [one_click(one, person, status.uri, post=status.uri) for person in people]

    def _context(self, status: Status, _kind: str) -> Pages:
        """The answers below an own status that concern the account."""
        said = self.api.get(f"/api/v1/statuses/{status.local}/context", dict)
        above, below = ([self.api.status(s) for s in objects(said, k)] for k in ("ancestors", "descendants"))
        self.feed.threads.meet([*above, *below])
        yield [row for one in below if (row := self.feed.threads.inbound(one)) is not None]
        direct = sum(one.parent == status.local for one in below)
        if self.api.token is None and len(below) >= SHORT_CONTEXT and direct < (status.counts["replies"] or 0):
            raise SourceError(f"The server shows only the first {len(below)} answers", status.uri, "Set a token.")

    def _follows(self, stream: str, name: str) -> Iterator[Batch]:
        claimed = number(self.said, f"{name}_count")

        def pages() -> Pages:
            try:
                for page in self.api.pages(f"/api/v1/accounts/{self.me.local}/{name}"):
                    people = [self.api.person(item) for item in page]
                    if name == "followers":
                        yield [one_click("follow", person, self.me.id) for person in people]
                    else:
                        yield [given("follow", person, person.id, person.url) for person in people]
            except HttpError as error:
                self.hides_followers |= name == "followers" and error.status in HIDDEN
                raise

        yield from self.visit.items(stream, name, pages, claimed=claimed, judged=self.feed.sees_all)
        self.hides_followers |= name == "followers" and not self.visit.memory.present.get("followers") and (
            bool(claimed) or self.visit.memory.complete.get("followers") == self.visit.read_at
        )  # fmt: skip

    def outbound(self) -> Iterator[Batch]:
        """Answers, messages, reposts and mentions; whom the account follows; with a token what it likes."""
        since, first = self.feed.since("posts"), [True]
        earlier: dict[str, Row] = {}
        for row in self.feed.history(INTERACTIONS.name):
            if row["direction"] == "outbound" and row["person"]:
                said = {name: value for name, value in row.items() if value is not None}
                earlier.setdefault(str(row["interaction"]), {}).update(said)

        def pages() -> Pages:
            if first.pop() if first else False:
                yield from self._outward(self.feed.statuses.values(), earlier)
                if self.broken is not None:
                    raise self.broken
                return
            for page in self.feed.pages(since):
                yield from self._outward(page, earlier)

        judged = self.feed.judged(since, INTERACTIONS.name, "interaction", "occurred_at")
        yield from self.visit.items("outbound", "outbound:posts", pages, judged=judged)
        if self.visit.memory.complete.get("following") != self.visit.read_at:
            yield from self._follows("outbound", "following")
        if self.api.token is not None:
            yield from self._likes_given()

    def _outward(self, statuses: Iterable[Status], earlier: dict[str, Row]) -> Pages:
        for status in statuses:
            answered = None
            if status.local in self.feed.threads.replies or (status.visibility == "direct" and not status.mentions):
                answered = self._answered(status, earlier.get(status.uri))
            rows = list(self.feed.threads.outbound(status, answered))
            for row in rows:  # what it answers may be gone by now: then it stays as it was known
                known = earlier.get(row["interaction"], {})
                row.update({name: known.get(name) for name in ("in_reply_to", "post") if row.get(name) is None})
            if rows:
                yield rows

    def _answered(self, status: Status, known: Row | None) -> Person | None:
        """Whom an own reply answers. What was answered is asked for once, when the reply is new."""
        parent = self.feed.threads.parent(status)
        if parent is None and status.parent is not None and known is None:
            try:
                parent = self.api.status(self.api.get(f"/api/v1/statuses/{status.parent}", dict))
                self.feed.threads.meet([parent])
            except HttpError as error:
                if error.status not in HIDDEN:
                    raise
        if parent is not None:
            return parent.author
        if known is not None:
            return Person(id=known["person"], name=known.get("person_name"), url=known.get("person_url"), local=None)
        by_id = [one for one in status.mentions if one.local == status.parent_author]
        others = by_id or [one for one in status.mentions if one.id != self.me.id]
        if len(others) == 1 or status.parent_author is None:
            return others[0] if others else None
        try:
            return self.api.person(self.api.get(f"/api/v1/accounts/{status.parent_author}", dict))
        except HttpError as error:
            if error.status not in HIDDEN:
                raise
            return None

    def _likes_given(self) -> Iterator[Batch]:
        name = "outbound:likes"
        known = self.visit.memory.present.get(name, set())
        since = self.visit.since(name)
        is_whole = since is None

        def pages() -> Pages:
            for page in self.api.pages("/api/v1/favourites"):
                liked = [self.api.status(item) for item in page]
                rows = [given("like", s.author, s.uri, s.url) for s in liked]
                yield rows
                if not is_whole and all(row["interaction"] in known for row in rows):
                    return

        yield from self.visit.items("outbound", name, pages, judged=lambda item: is_whole and self.feed.sees_all(item))
        yield from self.visit.whole(name, since)


class Peeked:
    """Pages whose first is read at once: whether the list exists is known before it is read."""

    def __init__(self, pages: Pages) -> None:
        """Read the first page; an error is kept for `start`."""
        self.error: SourceError | None = None
        self._pages: Pages | None = pages
        self._first: list[list[Row]] = []
        try:
            self._first = [page for page in [next(pages, None)] if page is not None]
        except SourceError as error:
            self.error = error

    def start(self, again: Callable[[], Pages]) -> Pages:
        """All pages: the first time with the one that was read, after that anew."""
        pages, self._pages = self._pages, None
        if pages is None:
            yield from again()
            return
        if self.error is not None:
            raise self.error
        yield from self._first
        yield from pages
