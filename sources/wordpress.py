"""A WordPress site through its REST API: posts, comments in both directions, pingbacks with a login.

Everything public is read without a login, so that what is private (drafts, private posts) is never
seen; an application password opens pingbacks, and sites closed to strangers. Comments are one list
of the whole site. What is own, who a commenter is, and what does not count as a comment to the
account: docs/sources/wordpress.md. How the API is found and paged: `sources.wordpress_api`.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.answers import HttpError
from sources.batches import Batch
from sources.collection import Collection
from sources.http import Client
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import INTERACTIONS, LISTS, POSTS, SIGHTINGS, TABLES
from sources.timestamps import EARLIEST, parse_time
from sources.visit import Pages, Visit
from sources.wordpress_api import Site, host_and_path, looks_like_wordpress, open_site

NAME = PLATFORM = "wordpress"
STREAMS = ("posts", "inbound", "outbound")

MANY = 5_000
"""Lists with more items than this are read back to `RECENT` nightly, and whole every `WHOLE_EVERY`."""
RECENT = timedelta(days=92)
WHOLE_EVERY = timedelta(days=28)
_MARGIN = timedelta(days=2)
"""`after` is compared with the site's local time: ask for more than is judged."""

_POST = {
    "id": int, "date_gmt": str, "modified_gmt": str, "status": str, "link": str, "content": dict, "author": int,
    "format": str,
}  # fmt: skip
_COMMENT = {
    "id": int, "post": int, "parent": int, "author": int, "author_name": str, "author_url": str, "date_gmt": str,
    "content": dict, "link": str, "status": str, "type": str, "author_avatar_urls": dict,
}  # fmt: skip
_AVATAR = re.compile(r"/avatar/([0-9a-f]{64}|[0-9a-f]{32})(?:[/?#]|$)")
_OF_NOTHING = {
    "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
"""MD5 and SHA-256 of no e-mail address at all."""


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
    """Whether the address alone says that it is WordPress; most sites say it only when asked.

    >>> claims("https://blog.example/wp-json/"), claims("ann.wordpress.com"), claims("https://blog.example/")
    (True, True, False)
    """
    host = (urlsplit(url if "//" in url else f"//{url}").hostname or "").lower()
    return host.endswith(".wordpress.com") or "/wp-json" in url or "rest_route=" in url


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """What `rapport add` says of the site: None where the page at the address shows no sign of WordPress.

    Raises `SourceError` where the address does not answer, or its API does not.
    """
    account = account if "://" in account.url else replace(account, url=f"https://{account.url}")
    if not claims(account.url) and not looks_like_wordpress(client, account):
        return None
    site = open_site(client, account)
    mine: dict[str, str | int] = {"author": site.author} if site.author is not None else {}
    counts = [site.count("posts", mine), None if mine else site.count("comments", {})]
    said = [f"{n:,} {what}" for n, what in zip(counts, ("posts", "comments"), strict=True) if n is not None]
    named = f" '{site.name}'" if site.name else ""
    return Recognised(
        source=NAME, url=site.url, title=site.name, summary=f"WordPress{named}" + "".join(f", {s}" for s in said)
    )


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one account: a site, or one author of it (an address such as `/author/ann/`)."""
    with collection.client(visit.account) as client:
        site = open_site(client, visit.account)
        yield visit.profile(profile=site.profile, handle=site.slug, url=site.url, name=site.name)
        authors: set[str] = set()
        with visit.stream("posts"):
            if not _is_read(visit, "posts"):
                yield from _posts(visit, collection, site, authors)
            else:
                _note_known(visit, _moments(visit, collection, POSTS.name, "post", "published_at"))
        yield _remember(visit, authors)
        own = {f"user:{site.author}"} if site.author is not None else authors | visit.memory.present["authors"]
        comments = Comments(
            visit=visit, site=site, own=own, history=lambda: _rows(visit, collection, INTERACTIONS.name)
        )
        with visit.stream("inbound", "outbound"):
            if "posts" not in visit.memory.complete:
                raise SourceError(
                    "The posts could not be read, so nobody knows whose comments are own", site.url, "Try again later."
                )
            if not _is_read(visit, "comments"):
                yield from _comments(visit, collection, comments)
        if visit.account.options.get("token"):
            with visit.stream("inbound"):
                if not _is_read(visit, "pingbacks"):
                    yield from visit.items("inbound", "pingbacks", comments.pingbacks)


def _posts(visit: Visit, collection: Collection, site: Site, authors: set[str]) -> Iterator[Batch]:
    """The published posts; who wrote them joins `authors`."""
    since, judged = _window(visit, collection, "posts", POSTS.name, "post", "published_at")
    params = {"author": site.author} if site.author is not None else {}

    def pages() -> Pages:
        for page in site.listed("posts", {**params, **_after(since)}, _POST):
            published = [post for post in page if post.get("status", "publish") == "publish"]
            authors.update(f"user:{post['author']}" for post in published if post.get("author"))
            for post in published:
                _note_oldest(visit, post.get("date_gmt"))
            yield [_post(post) for post in published]

    yield from visit.items("posts", "posts", pages, table=POSTS, judged=judged)
    yield from _read_whole(visit, "posts", since)


def _comments(visit: Visit, collection: Collection, comments: "Comments") -> Iterator[Batch]:
    """The comments: one list for both directions, so that a failure is one of both."""
    since, judged = _window(visit, collection, "comments", INTERACTIONS.name, "interaction", "occurred_at")
    problems: list[SourceError] = []

    def pages() -> Pages:
        try:
            yield from comments.pages(since)
        except SourceError as error:
            problems.append(error)
            raise

    yield from visit.items("inbound", "comments", pages, judged=judged)
    for problem in problems[-1:]:
        visit.failed("outbound", problem)
    yield from _read_whole(visit, "comments", since)


@dataclass(frozen=True)
class _Person:
    id: str | None
    name: str | None
    url: str | None
    is_own: bool


@dataclass
class Comments:
    """The comments of a site as interactions of the account.

    `own` are the ids of the account's own authors (`user:<id>`), `history()` the raw interactions so far.
    """

    visit: Visit
    site: Site
    own: set[str]
    history: Callable[[], list[Row]]
    _fetched: dict[int, _Person] = field(default_factory=dict)

    def pages(self, since: datetime | None) -> Pages:
        """Rows of the comments; one whose parent is not read yet waits for the end of the list."""
        known: dict[int, _Person] = {}
        names: set[str] = set()
        waiting: list[Row] = []
        for page in self.site.listed("comments", _after(since), _COMMENT):
            approved = [comment for comment in page if comment.get("status", "approved") == "approved"]
            for comment in approved:
                known[comment["id"]] = person = self._person(comment)
                if person.is_own and person.name:
                    names.add(f"@{person.name.casefold()}")
            ready = [c for c in approved if not c.get("parent") or self._is_clear(c, known)]
            clear = {comment["id"] for comment in ready}
            waiting += [comment for comment in approved if comment["id"] not in clear]
            yield [row for comment in ready for row in self._row(comment, known)]
        if waiting:
            unknown = {comment["parent"] for comment in waiting} - known.keys()
            known |= self._elsewhere(unknown, is_whole=since is None)
            said = [c for c in waiting if not self._is_between(c, known) or _names(c, names)]
            yield [row for comment in said for row in self._row(comment, known)]

    def pingbacks(self) -> Pages:
        """Rows of pingbacks and trackbacks: other sites that link here. Only for those who log in."""
        for kind in ("pingback", "trackback"):
            try:
                for page in self.site.listed("comments", {"type": kind}, _COMMENT, login=True):
                    yield [self._pingback(item) for item in page if self._is_on_own(item)]
            except HttpError as error:
                if error.status not in (400, 401, 403):
                    raise
                raise SourceError(
                    f"The application password is refused, or its user may not see pingbacks ({error.status})",
                    error.where,
                    "Make a new one in the profile of a user who may edit posts.",
                ) from None

    def _row(self, comment: Row, known: Mapping[int, _Person]) -> Iterator[Row]:
        """The comment as an interaction; none where it has nothing to do with the account."""
        author, answered = known[comment["id"]], known.get(comment.get("parent") or 0)
        other = author
        if author.is_own and answered and not answered.is_own:
            other = answered
        elif not self._is_on_own(comment) and (author.is_own or not (answered and answered.is_own)):
            return
        row = {
            **self._shared(comment),
            "direction": "outbound" if other is not author else "inbound",
            "kind": "reply",
            "person": other.id,
            "person_name": other.name,
            "person_url": other.url,
            "in_reply_to": str(comment["parent"]) if comment.get("parent") else None,
        }
        yield row

    def _pingback(self, comment: Row) -> Row:
        address = comment.get("author_url") or ""
        host = (host_and_path(address) or "").partition("/")[0].partition("?")[0] or None
        shown = {
            "person": host,
            "person_name": _text(comment.get("author_name")),
            "person_url": host and f"https://{host}/",
        }
        return {**self._shared(comment), "direction": "inbound", "kind": "mention", **shown}

    def _shared(self, comment: Row) -> Row:
        link = comment.get("link")
        said = _plain(comment) if self.visit.store_text else None
        return {
            "interaction": str(comment["id"]),
            "post": str(comment["post"]) if comment.get("post") else None,
            "target_url": link.partition("#")[0] if link else None,
            "occurred_at": comment.get("date_gmt"),
            "content_text": said,
        }

    def _is_on_own(self, comment: Row) -> bool:
        return self.site.author is None or str(comment.get("post")) in self.visit.memory.present["posts"]

    def _is_clear(self, comment: Row, known: Mapping[int, _Person]) -> bool:
        """Whether it is known already whom the comment answers, and that this concerns the account."""
        return comment["parent"] in known and not self._is_between(comment, known)

    def _is_between(self, comment: Row, known: Mapping[int, _Person]) -> bool:
        """Whether one reader answers another, on the account's own ground but not the account."""
        author, answered = known[comment["id"]], known.get(comment.get("parent") or 0)
        return answered is not None and not author.is_own and not answered.is_own and author.id != answered.id

    def _person(self, comment: Row) -> _Person:
        """Who wrote it: a registered user, else an address, else the hash of an e-mail address, else a name."""
        name, url = _text(comment.get("author_name")), _text(comment.get("author_url"))
        page = host_and_path(url or "")
        if user := comment.get("author"):
            person = f"user:{user}"
            if person in self.own:
                return _Person(person, name, self.site.url, is_own=True)
            # Members' pages are often on the site's own host, and what is there counts as the account itself.
            is_here = page is not None and page.partition("/")[0] == self.site.host
            return _Person(person, name, None if is_here else url, is_own=False)
        return _Person(page or _gravatar(comment) or (name and f"name:{name.casefold()}"), name, url, is_own=False)

    def _elsewhere(self, parents: set[int], *, is_whole: bool) -> dict[int, _Person]:
        """Who wrote comments that the reading did not show: as known from earlier, else asked for one by one.

        A whole reading that lacks a comment has seen that it is held back or in the bin; earlier
        rows still tell who wrote it, so that an answer does not change when its parent vanishes.
        """
        found: dict[int, _Person] = {}
        for row in self.history():
            number = int(row["interaction"]) if str(row["interaction"]).isdecimal() else 0
            if number in parents:
                is_own = row["direction"] == "outbound" or row["person"] in self.own
                found[number] = _Person(row["person"], row["person_name"], row["person_url"], is_own=is_own)
        missing = sorted(parents - found.keys() - self._fetched.keys())
        for start in range(0, 0 if is_whole else len(missing), 100):
            include = ",".join(map(str, missing[start : start + 100]))
            for page in self.site.listed("comments", {"include": include}, _COMMENT, may_be_empty=True):
                self._fetched |= {comment["id"]: self._person(comment) for comment in page}
        return {**found, **{number: self._fetched[number] for number in parents & self._fetched.keys()}}


def _post(post: Row) -> Row:
    content = post.get("content") or {}
    text = None if content.get("protected") else content.get("rendered")
    shape = post.get("format")
    return {
        "post": str(post["id"]),
        "url": post.get("link"),
        "published_at": post.get("date_gmt"),
        "edited_at": post.get("modified_gmt"),
        "kind": "article" if shape in (None, "", "standard") else shape,
        "text": text if isinstance(text, str) else None,
    }


def _remember(visit: Visit, authors: set[str]) -> Batch:
    """Who has ever written here stays an author, also when their posts are gone: sightings of the list `authors`."""
    known = visit.memory.present.setdefault("authors", set())
    new = sorted(authors - known)
    known.update(new)
    return Batch(SIGHTINGS, [visit.row(list="authors", item=a, event="seen", observed_at=visit.read_at) for a in new])


def _window(
    visit: Visit, collection: Collection, name: str, table: str, item: str, time: str
) -> tuple[datetime | None, Callable[[str], bool]]:
    """From when on the list is read (None: whole), and which known items that reading could have found."""
    last = visit.memory.complete.get(_whole(name))
    if len(visit.memory.present.get(name, ())) <= MANY or last is None or visit.read_at - last >= WHOLE_EVERY:
        return None, lambda _: True
    since = visit.read_at - RECENT
    moments = _moments(visit, collection, table, item, time)
    if name == "posts":
        _note_known(visit, moments)

    def judged(known: str) -> bool:
        moment = moments.get(known)
        return moment is not None and moment >= since

    return since, judged


def _is_read(visit: Visit, name: str) -> bool:
    """Whether an earlier slice of this very night has read the list."""
    return visit.memory.complete.get(name) == visit.read_at and name not in visit.memory.cut


def _read_whole(visit: Visit, name: str, since: datetime | None) -> Iterator[Batch]:
    """A note that a long list was read from its very beginning."""
    number = len(visit.memory.present[name])
    if since is None and number > MANY and visit.memory.complete.get(name) == visit.read_at:
        said = {"list": _whole(name), "observed_at": visit.read_at, "is_complete": True, "items": number}
        yield Batch(LISTS, [visit.row(**said)])


def _whole(name: str) -> str:
    return f"whole:{name}"


def _rows(visit: Visit, collection: Collection, table: str) -> list[Row]:
    """The account's raw rows so far, oldest load first."""
    tables = collection.history(visit.account.account_id)
    rows = tables[table].to_pylist() if table in tables else []
    return sorted(
        (row for row in rows if row["platform"] == visit.platform), key=lambda row: (row["loaded_at"], row["row_hash"])
    )


def _after(since: datetime | None) -> dict[str, str | int]:
    return {"after": (since - _MARGIN).strftime("%Y-%m-%dT%H:%M:%S")} if since else {}


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parse_time(text or "")
    except ValueError:
        return None
    return moment if moment >= EARLIEST else None


def _moments(visit: Visit, collection: Collection, table: str, item: str, time: str) -> dict[str, datetime | None]:
    """When each known item of a raw table happened."""
    return {row[item]: _moment(row[time]) for row in _rows(visit, collection, table)}


def _note_known(visit: Visit, moments: Mapping[str, datetime | None]) -> None:
    """The oldest of what earlier readings found, where this one does not go back so far."""
    visit.oldest = min((moment for moment in moments.values() if moment), default=None)


def _note_oldest(visit: Visit, text: str | None) -> None:
    moment = _moment(text)
    if moment and (visit.oldest is None or moment < visit.oldest):
        visit.oldest = moment


def _gravatar(comment: Row) -> str | None:
    avatars = comment.get("author_avatar_urls") or {}
    hashes = {found[1] for url in avatars.values() if isinstance(url, str) and (found := _AVATAR.search(url))}
    return next((f"gravatar:{value}" for value in sorted(hashes - _OF_NOTHING)), None)


def _text(value: object) -> str | None:
    return " ".join(html.unescape(value).split()) or None if isinstance(value, str) else None


def _plain(comment: Row) -> str | None:
    rendered = (comment.get("content") or {}).get("rendered")
    return _text(re.sub(r"<[^>]*>", " ", rendered)) if isinstance(rendered, str) else None


def _names(comment: Row, names: set[str]) -> bool:
    said = (_plain(comment) or "").casefold()
    return any(name in said for name in names)
