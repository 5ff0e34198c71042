"""A WordPress site through its REST API: posts, comments in both directions, pingbacks with a login.

Everything public is read without a login, so that what is private (drafts, private posts) is never
seen; an application password opens pingbacks, and sites closed to strangers. Comments are one list
of the whole site. What is own, who a commenter is, and what does not count as a comment to the
account: docs/sources/wordpress.md. The API is found and paged in `sources.wordpress_api`, comments
are understood in `sources.wordpress_comments`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.batches import Batch
from sources.collection import Collection
from sources.http import Client
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import INTERACTIONS, POSTS, SIGHTINGS, TABLES
from sources.timestamps import EARLIEST, parse_time
from sources.visit import Pages, Visit
from sources.wordpress_api import Site, looks_like_wordpress, open_site
from sources.wordpress_comments import Comments, after

NAME = PLATFORM = "wordpress"
STREAMS = ("posts", "inbound", "outbound")

_POST = {
    "id": int, "date_gmt": str, "modified_gmt": str, "status": str, "link": str, "content": dict, "author": int,
    "format": str,
}  # fmt: skip


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
        for page in site.listed("posts", {**params, **after(since)}, _POST):
            published = [post for post in page if post.get("status", "publish") == "publish"]
            authors.update(f"user:{post['author']}" for post in published if post.get("author"))
            for post in published:
                _note_oldest(visit, post.get("date_gmt"))
            yield [_post(post) for post in published]

    yield from visit.items("posts", "posts", pages, table=POSTS, judged=judged)
    yield from visit.whole("posts", since)


def _comments(visit: Visit, collection: Collection, comments: Comments) -> Iterator[Batch]:
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
    yield from visit.whole("comments", since)


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
    since = visit.since(name)
    if since is None:
        return None, lambda _: True
    moments = _moments(visit, collection, table, item, time)
    if name == "posts":
        _note_known(visit, moments)

    def judged(known: str) -> bool:
        moment = moments.get(known)
        return moment is not None and moment >= since

    return since, judged


def _is_read(visit: Visit, name: str) -> bool:
    """Whether an earlier slice of this very night has read the list."""
    return name in visit.read_tonight and name not in visit.memory.cut


def _rows(visit: Visit, collection: Collection, table: str) -> list[Row]:
    """The account's raw rows so far, oldest load first."""
    tables = collection.history(visit.account.account_id)
    rows = tables[table].to_pylist() if table in tables else []
    return sorted(
        (row for row in rows if row["platform"] == visit.platform), key=lambda row: (row["loaded_at"], row["row_hash"])
    )


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
