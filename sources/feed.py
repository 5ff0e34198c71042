"""Own posts of a site, from its RSS, Atom or JSON Feed.

A feed shows the newest posts, or all of them; either way a reading covers the days from its oldest
dated item on. Items are kept as the feed says them, also those without an id or a date: staging
sets them aside with the reason. An unchanged feed (304) is a complete reading too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.batches import Batch
from sources.collection import Collection
from sources.feed_formats import Feed, feed_links, is_html, parse_feed
from sources.http import Client, Response, mask
from sources.model import (
    ACCOUNT_ID,
    KEY,
    LOADED_AT,
    READINGS,
    AccountSource,
    RawColumn,
    RawTable,
    Row,
    SourceError,
)
from sources.timestamps import EARLIEST, parse_time
from sources.visit import Visit

NAME = PLATFORM = "feed"
STREAMS = ("posts",)
MOST_PAGES = 1000
_FEED_URL = RawColumn(name="feed_url", doc="Address of the feed.", nullable=False)

ITEMS = RawTable(
    name="items",
    doc="Items of feeds as the feeds give them, one row per observation.",
    columns=(
        ACCOUNT_ID,
        _FEED_URL,
        RawColumn(name="item_id", doc="The item's id: JSON Feed id, Atom id, RSS guid (else its link)."),
        RawColumn(name="url", doc="Address of the post."),
        RawColumn(name="external_url", doc="Address elsewhere that the post is about (JSON Feed)."),
        RawColumn(name="published", doc="When it was published, as written."),
        RawColumn(name="updated", doc="When it was changed, as written."),
        RawColumn(name="title", doc="Title."),
        RawColumn(name="summary", doc="Summary; the description of an RSS item."),
        RawColumn(name="content_text", doc="Content that the feed gives as plain text."),
        RawColumn(name="content_html", doc="Content that the feed gives as HTML."),
        RawColumn(name="language", doc="Language of the item."),
        RawColumn(name="tags", doc="Tags or categories, as a JSON list."),
        RawColumn(name="extra", doc="The item itself as JSON, where it is no object."),
        KEY,
        LOADED_AT,
    ),
)
PROFILES = RawTable(
    name="profiles",
    doc="What each feed says about itself, one row per observation.",
    columns=(
        ACCOUNT_ID,
        RawColumn(name="url", doc="Address of the feed.", nullable=False),
        RawColumn(name="home_page_url", doc="Address of the site."),
        RawColumn(name="title", doc="Title of the feed."),
        RawColumn(name="language", doc="Language of the feed, unless an item says otherwise."),
        RawColumn(name="format", doc="RSS, Atom or JSON Feed."),
        KEY,
        LOADED_AT,
    ),
)
TABLES = (ITEMS, PROFILES, READINGS)


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The feeds of the accounts: resources `items`, `profiles` and `readings`.

    A feed that cannot be read is reported in `readings` and stops no other one.
    """
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS,
        tables=TABLES, state_of=ITEMS,
    )  # fmt: skip


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything that the feed of one account says, if it changed since the last reading."""
    account = visit.account
    where = f"{account.account_id} {account.url} {mask(account.endpoint or '')}".strip()
    place, pages = collection.state.setdefault(where, {}), 0
    with visit.stream("posts"), collection.client(account) as client:
        for page in _pages(account, client, place):
            yield Batch(PROFILES, [_profile(account, page)] if not pages else [])
            yield Batch(ITEMS, [_item(account, page, item) for item in page.feed.items])
            pages += 1
            visit.succeeded("posts")
        oldest = place.get("oldest")
        visit.oldest = datetime.fromisoformat(oldest) if oldest else None


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a feed: the feed's address as the site gives it, and what was there.

    `is_direct` says that the account's own address answered, not a feed that a page there links to.
    """

    feed_url: str
    feed: Feed
    response: Response
    is_direct: bool = True


def relocated(url: str, account: AccountSource) -> str:
    """Where to ask for the address: at the account's endpoint, if it has one and the site is meant.

    An endpoint with a path stands for the account's own address; otherwise only scheme and host
    are replaced.

    >>> there = AccountSource(account_id="a", source="feed", url="https://blog.example/feed.json",
    ...                       endpoint="http://127.0.0.1:8000")
    >>> relocated("https://blog.example/feed.json?page=2", there)
    'http://127.0.0.1:8000/feed.json?page=2'
    """
    if account.endpoint is None:
        return url
    try:
        there, own, wanted = urlsplit(account.endpoint), urlsplit(account.url), urlsplit(url)
    except ValueError:
        return url  # no address: reading it says so
    if url == account.url and there.path.strip("/"):
        return account.endpoint
    if wanted.netloc != own.netloc:
        return url
    return urlunsplit(wanted._replace(scheme=there.scheme, netloc=there.netloc))


def first_page(account: AccountSource, client: Client, *, headers: dict[str, str] | None = None) -> Page | None:
    """The feed at the account's address, or the one that the page there links to; None for a 304."""
    response = client.get(relocated(account.url, account), headers=headers)
    if response.status == 304 and headers:
        return None
    if not is_html(response.body, response.media_type):
        return _page(account.url, response)
    links = feed_links(response.body, charset=response.charset, url=account.url)
    if not links:
        raise SourceError(
            "This is a web page that links to no feed", mask(account.url), "Give the address of the feed itself."
        )
    response = client.get(relocated(links[0], account))
    if is_html(response.body, response.media_type):
        raise SourceError("This should be a feed but is a web page", mask(links[0]), "Give the address of the feed.")
    return _page(links[0], response, is_direct=False)


def _page(feed_url: str, response: Response, *, is_direct: bool = True) -> Page:
    feed = parse_feed(response.body, charset=response.charset, url=feed_url, where=mask(response.url))
    return Page(feed_url=feed_url, feed=feed, response=response, is_direct=is_direct)


def _pages(account: AccountSource, client: Client, place: dict[str, Any]) -> Iterator[Page]:
    """Pages that changed; `place` (dlt state) advances only once the feed was read to its end."""
    conditions = {"If-None-Match": place.get("etag"), "If-Modified-Since": place.get("last_modified")}
    page = first_page(account, client, headers={name: value for name, value in conditions.items() if value})
    if page is None:
        return
    first, seen, dates = page, {page.feed_url}, _dates(page.feed)
    yield page
    while (address := page.feed.next_url) is not None:
        if address in seen or len(seen) >= MOST_PAGES:
            raise SourceError("The pages of the feed have no end", mask(address), "Ask its owner to repair `next_url`.")
        seen.add(address)
        page = _page(first.feed_url, client.get(relocated(address, account)))
        dates += _dates(page.feed)
        yield page
    place.clear()
    # A page that only links to the feed may stay the same while the feed changes: no conditions then.
    if first.is_direct:
        headers = first.response.headers
        place.update(etag=headers.get("ETag"), last_modified=headers.get("Last-Modified"))
    place["oldest"] = min(dates).isoformat() if dates else None


def _dates(feed: Feed) -> list[datetime]:
    dates = []
    for item in feed.items:
        try:
            dates.append(parse_time(item.get("published") or item.get("updated") or ""))
        except ValueError:
            continue  # staging sets the item aside, with the reason
    return [date for date in dates if date >= EARLIEST]


def _profile(account: AccountSource, page: Page) -> Row:
    feed = page.feed
    return {
        "account_id": account.account_id,
        "url": page.feed_url,
        "home_page_url": feed.home_page_url,
        "title": feed.title,
        "language": feed.language,
        "format": feed.format,
    }


def _item(account: AccountSource, page: Page, item: Row) -> Row:
    return {"account_id": account.account_id, "feed_url": page.feed_url, **item}
