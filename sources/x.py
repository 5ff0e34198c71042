"""X, by its API v2 with a bearer token: own posts, mentions, and who liked, shared or quoted what.

X charges for each post and each user that it returns, so nothing is read twice that need not be: posts and
mentions go on from the newest that is known, and what a spent budget left out is a gap that later nights
fill (the past takes half of a night at most while something else is due); lists of a post are read when its age says so. See `sources.budget` and docs/sources/x.md.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain
from typing import Any

from dlt.extract.source import DltSource

from sources import budget as budgets
from sources import collection as collecting
from sources.batches import Batch
from sources.budget import SPENDING, Budget, BudgetSpentError
from sources.collection import Collection
from sources.http import Client
from sources.memory import Memory
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import INTERACTIONS, LISTS, POSTS, SIGHTINGS
from sources.observations import TABLES as OBSERVATIONS
from sources.schedule import AGES, is_due
from sources.timestamps import parse_time
from sources.visit import Visit
from sources.x_api import (
    API,
    AbsentError,
    Api,
    ForbiddenError,
    headers,
    is_absent,
    objects,
    posts_of,
    problems_of,
    published_at,
    section,
    text,
    user,
    username,
)
from sources.x_posts import counts, inbound, one_click, outbound, own_post, user_url

NAME = PLATFORM = "x"
STREAMS = ("posts", "inbound", "outbound", "counters")
TABLES = (*OBSERVATIONS, SPENDING)
OPTIONS = ("price_per_1000",)
UNIT = "posts and users read"
BUDGET = 300
"""Posts and users a day, unless rapport.toml says otherwise: little on purpose, since each is charged for."""

_FIELDS = (
    "created_at,author_id,conversation_id,in_reply_to_user_id,referenced_tweets,public_metrics,entities,lang,note_tweet"
)
_LISTS = {"likes": ("like", "liking_users"), "reposts": ("repost", "retweeted_by"), "quotes": ("quote", "quote_tweets")}
_TOGETHER = 10
"""Posts whose numbers are asked for at once, before their lists: few, so that a budget is not spent on numbers alone."""


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The accounts: one dlt resource a raw table."""
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS,
        tables=TABLES, service=API,
    )  # fmt: skip


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one account, within the budget: what is new first, then what is due, then what was left out."""
    bearer = headers(visit.account)
    budget = budgets.opened(collection, visit, name=NAME, unit=UNIT, default=BUDGET)
    clients: dict[str, Client] = {}
    with ExitStack() as stack:

        def client_of(endpoint: str) -> Client:
            if endpoint not in clients:
                client = collection.client(
                    visit.account, headers=bearer, hosts=collection.hosts_apart(endpoint, *bearer.values())
                )
                clients[endpoint] = stack.enter_context(client)
            return clients[endpoint]

        reader = _User(visit, Api(client_of, visit.account, budget))
        yield from budgets.accounted(visit, budget, reader.read())


class _User:
    """One account being read."""

    def __init__(self, visit: Visit, api: Api) -> None:
        self.visit, self.api, self.id = visit, api, ""
        self.own = visit.memory.present.setdefault("posts", set())
        self.fresh: dict[str, dict[str, int | None]] = {}
        self.hidden: set[str] = set()
        self.too_large: list[str] = []

    def read(self) -> Iterator[Batch]:
        visit = self.visit
        try:
            found = user(self.api)
        except BudgetSpentError:
            for stream in STREAMS:
                visit.succeeded(stream)  # partial and not down: the platform is well
            raise
        self.id = str(found["id"])
        said = section(found, "public_metrics")
        yield visit.profile(
            profile=self.id, handle=text(found.get("username")), url=user_url(text(found.get("username"))),
            name=text(found.get("name")), born_at=text(found.get("created_at")), state="active",
        )  # fmt: skip
        visit.born_at = _moment(found.get("created_at"))
        names = {"followers": "followers_count", "following": "following_count", "posts": "tweet_count"}
        profile = {name: value if isinstance(value := said.get(f), int) else None for name, f in names.items()}
        yield visit.counters("profile", PLATFORM, profile)
        half = self.api.budget.limit // 2  # the past takes no more of a night than what is due now
        with budgets.within(visit, "posts", "outbound"):
            yield from self._newest("posts", first_leaves=half)
            yield from self._gaps("posts", leaves=half)
        are_known = not self._ranges("posts")
        if are_known:
            yield from self._all_mentions()
        with budgets.within(visit, "inbound", "counters"):
            yield from self._due()
        if not are_known:
            with budgets.within(visit, "posts", "outbound"):
                yield from self._gaps("posts")
            yield from self._all_mentions()
            with budgets.within(visit, "inbound", "counters"):
                yield from self._due()

    def _all_mentions(self) -> Iterator[Batch]:
        """Once all own posts are known: what answers whom is told by whose conversation it is."""
        with budgets.within(self.visit, "inbound"):
            if self._ranges("posts"):
                self.api.check()
                raise SourceError(
                    "Not all posts are known yet", self.visit.account.url, "Mentions follow when they are."
                )
            yield from self._newest("mentions")
            yield from self._gaps("mentions")

    def _newest(self, timeline: str, *, first_leaves: int = 0) -> Iterator[Batch]:
        """What is newer than the newest that is known."""
        tops = [name.partition(">")[2] for name in self.visit.memory.complete if name.startswith(f"{timeline}>")]
        since = max(tops, key=int, default="0")
        yield from self._range(timeline, since, None, leaves=0 if tops else first_leaves)

    def _gaps(self, timeline: str, *, leaves: int = 0) -> Iterator[Batch]:
        """What a spent budget or a failure left out, the newest first, while more than `leaves` is left to spend."""
        for since, until in self._ranges(timeline):
            if self.api.budget.left <= leaves and leaves:
                return
            yield from self._range(timeline, since, until, leaves=leaves)

    def _ranges(self, timeline: str) -> list[tuple[str, str]]:
        """The gaps of a timeline: between which two posts."""
        names = [name for name in self.visit.memory.cut if name.startswith(f"{timeline}<")]
        ends = [name.partition("<")[2].partition("-") for name in names]
        return sorted(((since, until) for since, _, until in ends), key=lambda gap: -int(gap[1]))

    def _range(self, timeline: str, since: str, until: str | None, *, leaves: int) -> Iterator[Batch]:
        """A timeline between two ids, newest first. How far it was read is kept, also where an error ends it."""
        read: list[int] = []
        ended, error = False, None
        try:
            for said in self._timeline(timeline, since, until):
                yield from self._posts(said) if timeline == "posts" else self._mentions(said)
                read += [int(post["id"]) for post in posts_of(said)]
                ended = not section(said, "meta").get("next_token")
                if leaves and not ended and self.api.budget.left <= leaves:
                    break
        except SourceError as raised:
            error = raised
        yield self._progress(timeline, since, until, read, is_whole=ended and error is None)
        if error is not None:
            raise error

    def _timeline(self, timeline: str, since: str, until: str | None) -> Iterator[dict[str, Any]]:
        ends: dict[str, str | int] = {"since_id": since} if since != "0" else {}
        ends |= {"until_id": until} if until else {}
        if timeline == "posts":
            more: dict[str, str | int] = {"expansions": "referenced_tweets.id", "tweet.fields": _FIELDS}
            yield from self.api.pages("posts", f"users/{self.id}/tweets", {**more, **ends}, each=3, least=5)
        else:
            more = {"expansions": "author_id", "tweet.fields": _FIELDS, "user.fields": "username,name"}
            yield from self.api.pages("mentions", f"users/{self.id}/mentions", {**more, **ends}, each=2, least=5)

    def _progress(self, timeline: str, since: str, until: str | None, read: list[int], *, is_whole: bool) -> Batch:
        rows, memory = [], self.visit.memory
        if until is None and read:
            rows.append(self._list(f"{timeline}>{max(read)}", len(read), None))
        if until is not None and (read or is_whole):
            memory.cut.discard(f"{timeline}<{since}-{until}")
            rows.append(self._list(f"{timeline}<{since}-{until}", len(read), None))
        if read and not is_whole:
            memory.cut.add(f"{timeline}<{since}-{min(read)}")
            rows.append(self._list(f"{timeline}<{since}-{min(read)}", None, "Older ones are read later"))
        return Batch(LISTS, rows)

    def _posts(self, said: dict[str, Any]) -> Iterator[Batch]:
        authors = {str(post["id"]): str(post.get("author_id") or "") for post in objects(said, "tweets")}
        posts = [(post, own_post(post, me=self.id)) for post in posts_of(said)]
        rows = [row for _, row in posts if row is not None]
        new = sorted({row["post"] for row in rows} - self.own)
        self.own.update(new)
        yield Batch(POSTS, [self.visit.row(**row) for row in rows])
        seen = {"list": "posts", "event": "seen", "observed_at": self.visit.read_at}
        yield Batch(SIGHTINGS, [self.visit.row(item=post, **seen) for post in new])
        others = [r for post, _ in posts for r in outbound(post, me=self.id, authors=authors, own=self.own)]
        yield Batch(INTERACTIONS, [self.visit.row(**row) for row in others])
        moments = [moment for post, _ in posts if (moment := _moment(post.get("created_at")))]
        self.visit.oldest = min([*moments, *([self.visit.oldest] if self.visit.oldest else [])], default=None)
        for post, row in posts:
            if row is not None:
                self.fresh[row["post"]] = counts(post)
                yield self.visit.counters("post", row["post"], self.fresh[row["post"]])

    def _mentions(self, said: dict[str, Any]) -> Iterator[Batch]:
        yield Batch(INTERACTIONS, [self.visit.row(**row) for row in self._inbound(said)])

    def _inbound(self, said: dict[str, Any]) -> list[Row]:
        users = {str(found["id"]): found for found in objects(said, "users")}
        rows = [
            inbound(post, me=self.id, users=users, own=self.own, store_text=self.visit.store_text)
            for post in posts_of(said)
        ]
        return [row for row in rows if row is not None]

    def _due(self) -> Iterator[Batch]:
        """The numbers and the lists of posts that are due: young ones first, of these never read ones, the newest."""
        due = sorted(
            (post for post in self.own if _is_due(post, self.visit.memory, self.visit.read_at)), key=self._urgency
        )
        for start in range(0, len(due), _TOGETHER):
            posts = due[start : start + _TOGETHER]
            shown = {post: self.fresh[post] for post in posts if post in self.fresh}
            asked = [post for post in posts if post not in shown]
            if asked:
                said = self.api.get(
                    "lookup",
                    "tweets",
                    cost=len(asked),
                    params={"ids": ",".join(asked), "tweet.fields": "public_metrics"},
                )
                shown |= {str(post["id"]): counts(post) for post in objects(said)}
                absent = {str(p.get("resource_id") or p.get("value")) for p in problems_of(said) if is_absent(p)}
                yield self.visit.gone("posts", absent & set(asked))
            for post in posts:
                if post in shown:
                    yield from self._lists_of(post, shown[post])
                    self.api.check()
        if self.too_large:
            what = f"Lists of {len(self.too_large):,} posts cost more than half of the budget of a day"
            raise SourceError(what, self.too_large[0], "Only their numbers are kept, unless [budgets] x is raised.")

    def _urgency(self, post: str) -> tuple[bool, bool, int]:
        is_read = all(f"{kind}:{post}" in self.visit.memory.complete for kind in _LISTS)
        return published_at(post) + AGES[-1] < self.visit.read_at, is_read, -int(post)

    def _lists_of(self, post: str, shown: dict[str, int | None]) -> Iterator[Batch]:
        due = [
            k for k in _LISTS if self.visit.is_due(f"{k}:{post}", published_at(post), post=post, counts={k: shown[k]})
        ]
        yield self.visit.counters("post", post, shown, note=bool(due))
        for kind in due:
            yield from (
                [self._unread(kind, post)] if kind in self.hidden else self._list_of(kind, post, shown[kind] or 0)
            )
            self.api.check()

    def _list_of(self, kind: str, post: str, claimed: int) -> Iterator[Batch]:
        """Who liked, shared or quoted a post. A list that would not be finished is not begun."""
        each, least = (2, 10) if kind == "quotes" else (1, 1)
        reading: Iterator[list[Row]] | None = None
        first: list[Row] = []
        if claimed and max(claimed, least) * each > self.api.budget.limit // 2:
            self.too_large.append(f"https://x.com/i/status/{post}")
            yield self._unread(kind, post)
            return
        if claimed:
            try:
                self.api.require(max(claimed, least) * each)
                reading = self._people(kind, post)
                first = next(reading, [])
            except AbsentError:
                yield self.visit.gone("posts", [post])
                return
            except ForbiddenError:
                self.hidden.add(kind)
            except SourceError as error:
                self.visit.failed("inbound", error)
                return
            if not first:  # not shown to this token, or to nobody: X keeps likes private
                yield self._unread(kind, post)
                return
        found: set[str] = set()

        def pages() -> Iterator[list[Row]]:
            nonlocal reading, first
            begun = [first] if reading else []
            rest, reading, first = reading or (self._people(kind, post) if claimed else iter(())), None, []
            for rows in chain(begun, rest):
                found.update(str(row["interaction"]) for row in rows)
                yield rows

        # X shows some lists in part (protected, suspended, the newest only): what is missing then is not taken back.
        yield from self.visit.items("inbound", f"{kind}:{post}", pages, judged=lambda _: len(found) >= claimed)

    def _unread(self, kind: str, post: str) -> Batch:
        """A note that a list cannot be read, so that it is tried again at the next age of the post only."""
        self.visit.memory.complete[f"unread:{kind}:{post}"] = self.visit.read_at
        return Batch(LISTS, [self._list(f"unread:{kind}:{post}", None, None)])

    def _people(self, kind: str, post: str) -> Iterator[list[Row]]:
        name, path = _LISTS[kind]
        fields: dict[str, str | int] = {"user.fields": "username,name"}
        if kind == "quotes":
            fields |= {"expansions": "author_id", "tweet.fields": _FIELDS}
            for said in self.api.pages(kind, f"tweets/{post}/{path}", fields, each=2, least=10):
                yield self._inbound(said)
        else:
            for said in self.api.pages(kind, f"tweets/{post}/{path}", fields, each=1, least=1):
                yield [one_click(name, post, found) for found in objects(said) if str(found["id"]) != self.id]

    def _list(self, name: str, items: int | None, reason: str | None) -> Row:
        return self.visit.row(
            list=name, observed_at=self.visit.read_at, is_complete=reason is None, items=items, reason=reason
        )


def _is_due(post: str, memory: Memory, read_at: datetime) -> bool:
    """Whether a list of the post was never read, was cut, or the post has reached an age of the schedule since."""
    for name in (f"{kind}:{post}" for kind in _LISTS):
        tried = [at for at in (memory.complete.get(name), memory.complete.get(f"unread:{name}")) if at]
        if name in memory.cut or is_due(published_at(post), last_complete=max(tried, default=None), read_at=read_at):
            return True
    return False


def _moment(said: object) -> datetime | None:
    try:
        return parse_time(said) if isinstance(said, str) else None
    except ValueError:
        return None


def claims(url: str) -> bool:
    """Whether the address is a profile on X. A bare @name may be anybody's and is not claimed."""
    return not url.strip().startswith("@") and username(url) is not None


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """The user at the address, after asking for it (one user read); null where it is no address of X's."""
    if not claims(account.url):
        return None
    budget = Budget(where=NAME, unit=UNIT, limit=1)
    found = user(Api(lambda _: client, account, budget, headers=headers(account)))
    name = str(found.get("username") or found["id"])
    posts = section(found, "public_metrics").get("tweet_count")
    many = f", {posts:,} posts" if isinstance(posts, int) else ""
    return Recognised(
        source=NAME, url=user_url(text(found.get("username"))) or account.url, title=text(found.get("name")),
        summary=f"@{name} on X{many}",
    )  # fmt: skip


def estimate(account: AccountSource, memory: Memory, read_at: datetime) -> float:  # noqa: ARG001 - as every connector
    """What a night costs, in posts and users; `inf` before the first night, when nothing is known.

    It rests on the posts that are due now and on the numbers of likes, reposts and quotes that were seen
    last. New posts (up to 3 each) and new mentions (2 each) come on top, and so does what earlier nights left out.
    """
    if "posts" not in memory.present:
        return math.inf
    due = [post for post in memory.present["posts"] if _is_due(post, memory, read_at)]
    people = sum(
        memory.counters.get((post, kind), 0) * (2 if kind == "quotes" else 1) for post in due for kind in _LISTS
    )
    return float(3 + len(due) + people)
