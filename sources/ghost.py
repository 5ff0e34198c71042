"""A Ghost site: posts with either key; members, comments and own answers with an Admin API key.

A comment of a member who is also on the staff (the same e-mail address, compared in memory and never
kept) is the account's own. What counts as an interaction, and what Ghost does not tell:
docs/sources/ghost.md. Keys, tokens and pages: `sources.ghost_api`.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources import schedule
from sources.answers import HttpError
from sources.batches import Batch
from sources.collection import Collection
from sources.ghost_api import Api, Keys, base_of, has_fields
from sources.http import Client
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import INTERACTIONS, POSTS, TABLES
from sources.timestamps import EARLIEST, parse_time
from sources.visit import Pages, Visit

NAME = PLATFORM = "ghost"
STREAMS = ("posts", "inbound", "outbound", "counters")
_POST = {"url": str, "published_at": str, "updated_at": str, "html": str, "visibility": str}
_MEMBER = {"name": str, "email": str, "created_at": str}
_COMMENT = {"status": str, "created_at": str, "member": dict}
_USER = {"email": str}
_LATER = "Try again later; what was collected before is kept."


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
        tables=TABLES,
    )  # fmt: skip


def claims(url: str) -> bool:
    """Whether the address alone says that it is Ghost; most sites say it only when asked.

    >>> claims("ann.ghost.io"), claims("https://blog.example/ghost/#/posts"), claims("https://blog.example/")
    (True, True, False)
    """
    parts = urlsplit(url if "//" in url else f"//{url}")
    return (parts.hostname or "").lower().endswith(".ghost.io") or parts.path.rstrip("/").endswith("/ghost")


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """What `rapport add` says of the site: None where the page at the address shows no sign of Ghost.

    Raises `SourceError` where the address does not answer, its API does not, or a key is refused.
    """
    account = account if "://" in account.url else replace(account, url=f"https://{account.url}")
    base = base_of(account)
    if not claims(account.url):
        page = client.get(account.endpoint or account.url).body[: 256 * 1024]
        if not re.search(rb"<meta[^>]+name=[\"']generator[\"'][^>]+content=[\"']Ghost\b", page):
            return None
    site = Api(client, base, Keys()).site()
    title, url = _text(site.get("title")), _text(site.get("url")) or base
    said = f"Ghost {site.get('version') or ''}".strip() + (f" '{title}'" if title else "")
    if not account.options.get("token"):
        return Recognised(source=NAME, url=url, title=title, summary=f"{said}, to be read with a key of Ghost Admin")
    api = Api(client, base, Keys.of(account))
    _, total = next(_posts_of(api, is_admin=bool(api.keys.admin), since=None))
    return Recognised(source=NAME, url=url, title=title, summary=said + (f", {total:,} posts" if total else ""))


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one site."""
    keys = Keys.of(visit.account)
    with collection.client(visit.account) as client:
        api = Api(client, base_of(visit.account), keys)
        site = api.site()
        url = _text(site.get("url")) or api.base
        host = urlsplit(url).hostname
        yield visit.profile(
            profile=_text(site.get("site_uuid")) or host or url, handle=host, url=url, name=_text(site.get("title"))
        )
        yield from _Site(visit, collection, api, url).read()


@dataclass
class _Site:
    """One site being read; `problem` is why the Admin API could not be used, where a key for it was given."""

    visit: Visit
    collection: Collection
    api: Api
    url: str
    posts: dict[str, str] = field(default_factory=dict)
    staff: set[str] = field(default_factory=set)
    totals: dict[str, int] = field(default_factory=dict)
    problem: SourceError | None = None

    def read(self) -> Iterator[Batch]:
        visit, keys = self.visit, self.api.keys
        if keys.admin:
            self._read_staff()
        with visit.stream("posts"):
            if self.problem and not keys.content:
                raise self.problem
            yield from self._posts()
        counts = self.api.comment_counts()
        due = self._due(counts)
        if self.problem:
            for stream in ("inbound", "outbound"):
                visit.failed(stream, self.problem)
        elif keys.admin:
            with visit.stream("inbound"):
                yield from self._members()
            with visit.stream("inbound", "outbound"):
                yield from self._comments(due)
        yield from self._counters(counts, due)

    def _read_staff(self) -> None:
        try:
            for page, _ in self.api.listed(self.api.admin, "users", {}, _USER):
                self.staff |= {user["email"].strip().casefold() for user in page if user["email"]}
        except SourceError as error:
            self.problem = error

    def _counters(self, counts: dict[str, int] | None, due: set[str]) -> Iterator[Batch]:
        visit = self.visit
        with visit.stream("counters"):
            yield visit.counters("profile", PLATFORM, self.totals)
            if counts is not None:
                for post in self.posts:
                    yield visit.counters("post", post, {"replies": counts.get(post, 0)}, note=post in due)
            if visit.memory.complete.get("posts") != visit.read_at:
                raise SourceError(
                    "The posts could not all be read, so not their numbers either", self.url, "See posts."
                )

    def _posts(self) -> Iterator[Batch]:
        """The published posts; ids and times join `posts`."""
        is_admin = bool(self.api.keys.admin) and self.problem is None
        known = self._times(POSTS.name, "post", "published_at")
        since, judged = self._window("posts", known)
        # That a key opens less tonight changes no post.
        earlier = {row["post"]: row["text"] for row in self._rows(POSTS.name)} if self.problem else {}

        def pages() -> Pages:
            for page, total in _posts_of(self.api, is_admin=is_admin, since=since):
                if total is not None and since is None:
                    self.totals["posts"] = total
                self.posts |= {post["id"]: post["published_at"] or "" for post in page}
                yield [_post(post, earlier.get(post["id"])) for post in page]

        yield from self.visit.items("posts", "posts", pages, table=POSTS, judged=judged)
        yield from self.visit.whole("posts", since)
        if since:  # older posts get comments too
            there = self.visit.memory.present["posts"]
            self.posts = {**{post: at for post, at in known.items() if post in there}, **self.posts}
        moments = [_moment(text) for text in self.posts.values()]
        self.visit.oldest = min((moment for moment in moments if moment), default=None)

    def _members(self) -> Iterator[Batch]:
        """The members: people who follow."""
        since, judged = self._window("members", self._times(INTERACTIONS.name, "interaction", "occurred_at"))
        recent: dict[str, str | int] = {"filter": f"created_at:>='{since:%Y-%m-%d %H:%M:%S}'"} if since else {}

        def pages() -> Pages:
            params = {"order": "created_at asc", **recent}
            for page, total in self.api.listed(self.api.admin, "members", params, _MEMBER):
                if total is not None and since is None:
                    self.totals["members"] = total
                yield [
                    {
                        "interaction": f"follow:site:{member['id']}",
                        "direction": "inbound",
                        "kind": "follow",
                        **self._person(member),
                        "target_url": self.url,
                        "occurred_at": member["created_at"],
                    }
                    for member in page
                ]

        yield from self.visit.items("inbound", "members", pages, judged=judged)
        yield from self.visit.whole("members", since)

    def _due(self, counts: dict[str, int] | None) -> set[str]:
        """The posts whose comments are to be read: asked before the new numbers are remembered."""
        due = set()
        for post, published_at in self.posts.items():
            said = {} if counts is None else {"replies": counts.get(post, 0)}
            moment = _moment(published_at)
            if moment is None or self.visit.is_due(f"comments:{post}", moment, post=post, counts=said):
                due.add(post)
        return due

    def _comments(self, due: set[str]) -> Iterator[Batch]:
        """The comments: one list a post for both directions, so that a failure is one of both."""
        failures: list[SourceError] = []
        for post in sorted(due, key=lambda post: (self.posts[post], post)):

            def pages(post: str = post) -> Pages:
                try:
                    yield self._thread(post)
                except SourceError as error:
                    failures.append(error)
                    raise

            failures.clear()
            try:
                yield from self.visit.items("inbound", f"comments:{post}", pages)
            finally:
                if failures:
                    self.visit.failed("outbound", failures[-1])
            if not failures:
                self.visit.succeeded("outbound")

    def _thread(self, post: str) -> list[Row]:
        """The comments of a post and their answers, as rows."""
        known: dict[str, Row] = {}
        for page, _ in self._listed(f"comments/post/{post}"):
            for comment in page:
                known[comment["id"]] = {**comment, "answers": None}
                answers, count = comment.get("replies"), comment.get("count")
                counted = count.get("replies") if isinstance(count, dict) else None
                if counted != 0 and (not isinstance(answers, list) or counted != len(answers)):
                    # The comment shows only the first few of its answers.
                    answers = [reply for more, _ in self._listed(f"comments/{comment['id']}/replies") for reply in more]
                for reply in answers or []:
                    if not has_fields(reply, _COMMENT):
                        raise SourceError("An answer is not as Ghost gives it", f"{self.url} (post {post})", _LATER)
                    known[reply["id"]] = {**reply, "answers": reply.get("in_reply_to_id") or comment["id"]}
        if not all(_is_sound(comment) for comment in known.values()):
            raise SourceError("The comments are not as Ghost gives them", f"{self.url} (post {post})", _LATER)
        missing = {str(c["answers"]) for c in known.values() if c["answers"]} - known.keys()
        earlier = self._earlier(missing) if missing else {}
        return [row for comment in known.values() for row in self._row(post, comment, known, earlier)]

    def _listed(self, path: str) -> Iterator[tuple[list[Row], int | None]]:
        problem = None
        try:
            yield from self.api.listed(self.api.admin, path, {"order": "created_at asc"}, _COMMENT)
        except HttpError as error:
            if error.status not in (404, 405, 501):
                raise
            why = "has comments switched off" if error.status == 405 else "is too old to show comments to an API key"
            problem = SourceError(f"This Ghost {why}", self.url, "Switch them on, or update Ghost, to have them read.")
        if problem:
            raise problem

    def _row(self, post: str, comment: Row, known: dict[str, Row], earlier: dict[str, Row]) -> Iterator[Row]:
        """The comment as an interaction; none where it is not shown, or passes between two readers."""
        if comment["status"] not in (None, "published"):
            return
        author, other = self._person(comment["member"]), None
        if comment["answers"]:
            parent = known.get(comment["answers"])
            other = self._person(parent["member"]) if parent else earlier.get(comment["answers"])
        is_own, answers_own = author["person_url"] == self.url, bool(other) and (other or {})["person_url"] == self.url
        if other and not is_own and not answers_own and other["person"] != author["person"]:
            return
        is_answer = is_own and other is not None and not answers_own
        shown = html.unescape(re.sub(r"<[^>]*>", " ", str(comment.get("html") or "")))
        yield {
            "interaction": comment["id"],
            "direction": "outbound" if is_answer else "inbound",
            "kind": "reply",
            **(other if is_answer and other else author),
            "post": post,
            "in_reply_to": comment["answers"],
            "occurred_at": comment["created_at"],
            "content_text": _text(shown) if self.visit.store_text else None,
        }

    def _person(self, member: Row | None) -> Row:
        """Who it is: the member's id; the site itself for its staff; nobody for a member who was deleted."""
        if not member:
            return {"person": None, "person_name": None, "person_url": None}
        email, name = str(member.get("email") or "").strip().casefold(), _text(member.get("name"))
        is_own = bool(email) and email in self.staff
        return {
            "person": str(member["id"]),
            "person_name": None if name and "@" in name else name,
            "person_url": self.url if is_own else None,
        }

    def _earlier(self, comments: set[str]) -> dict[str, Row]:
        """Who wrote comments that are no longer shown, as earlier nights saw it."""
        return {
            row["interaction"]: {
                "person": row["person"],
                "person_name": row["person_name"],
                # An own answer is stored with the person that it answered.
                "person_url": self.url if row["direction"] == "outbound" else row["person_url"],
            }
            for row in self._rows(INTERACTIONS.name)
            if row["interaction"] in comments
        }

    def _rows(self, table: str) -> list[Row]:
        tables = self.collection.history(self.visit.account.account_id)
        rows = tables[table].to_pylist() if table in tables else []
        mine = (row for row in rows if row["platform"] == PLATFORM)
        return sorted(mine, key=lambda row: (row["loaded_at"], row["row_hash"]))

    def _times(self, table: str, item: str, time: str) -> dict[str, str]:
        """When known posts or interactions happened; read only for lists that are too long to read whole."""
        name = "posts" if table == POSTS.name else "members"
        if len(self.visit.memory.present.get(name, ())) <= schedule.MANY:
            return {}
        return {row[item]: row[time] or "" for row in self._rows(table)}

    def _window(self, name: str, known: dict[str, str]) -> tuple[datetime | None, Callable[[str], bool]]:
        """From when on the list is read (None: whole), and which known items that reading could have found."""
        since = self.visit.since(name)
        if since is None:
            return None, lambda _: True
        since = since.replace(microsecond=0)
        return since, lambda item: (_moment(known.get(item)) or EARLIEST) > since


def _posts_of(api: Api, *, is_admin: bool, since: datetime | None) -> Iterator[tuple[list[Row], int | None]]:
    """The published posts, oldest first, from either API."""
    wanted = ["status:published"] if is_admin else []
    if since:
        wanted.append(f"published_at:>='{since:%Y-%m-%d %H:%M:%S}'")
    params: dict[str, str | int] = {"order": "published_at asc", "formats": "html"}
    if wanted:
        params["filter"] = "+".join(wanted)
    return api.listed(api.admin if is_admin else api.content, "posts", params, _POST)


def _post(post: Row, earlier: str | None) -> Row:
    """The post as a row, with the text that was seen `earlier` where it is not shown now."""
    return {
        "post": post["id"],
        "url": post["url"],
        "published_at": post["published_at"],
        "edited_at": post["updated_at"],
        "kind": "article",
        # Without access only a teaser is shown.
        "text": earlier if post.get("access") is False else post["html"],
    }


def _is_sound(comment: Row) -> bool:
    member, answers = comment["member"], comment["answers"]
    return (not member or isinstance(member.get("id"), str)) and (answers is None or isinstance(answers, str))


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parse_time(text or "")
    except ValueError:
        return None
    return moment if moment >= EARLIEST else None


def _text(value: object) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None
