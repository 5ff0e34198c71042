"""Webmentions of a site, from webmention.io or a server that speaks its API (`mentions.jf2`).

What webmention.io knows is complete from the first mention it received, and it only grows: each
reading asks for what came since the last complete one, and every four weeks for everything. Private webmentions (`wm-private`) are
kept and marked: they were sent to this account. Of what other people wrote only the metadata is
stored, unless `store_text`. The token never leaves the request.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.batches import Batch
from sources.collection import Collection
from sources.http import Client, mask
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

NAME = PLATFORM = "webmention"
STREAMS = ("inbound",)
SERVICE = "https://webmention.io"
PER_PAGE = 500
WHOLE_EVERY = timedelta(days=28)
"""So often everything is read again: what came damaged, or was changed since, is made good."""

MENTIONS = RawTable(
    name="mentions",
    doc="Webmentions as the server gives them, one row per observation.",
    columns=(
        ACCOUNT_ID,
        RawColumn(name="wm_id", doc="The server's number of the webmention.", dtype="bigint"),
        RawColumn(name="wm_received", doc="When the server received it."),
        RawColumn(name="wm_source", doc="The page that mentions."),
        RawColumn(name="wm_target", doc="The page that is mentioned."),
        RawColumn(name="wm_property", doc="How it mentions: in-reply-to, like-of, repost-of, ..."),
        RawColumn(name="wm_private", doc="It was sent as a private webmention.", dtype="bool"),
        RawColumn(name="published", doc="When the mentioning page says it was published."),
        RawColumn(name="url", doc="Address of the mentioning post."),
        RawColumn(name="author_name", doc="Name of the author."),
        RawColumn(name="author_url", doc="Address of the author: who the person is."),
        RawColumn(name="author_photo", doc="Address of the author's picture."),
        RawColumn(name="content_text", doc="What was written; null unless texts of others are stored."),
        RawColumn(name="extra", doc="Fields that are not named here, as JSON, without texts."),
        KEY,
        LOADED_AT,
    ),
)
PROFILES = RawTable(
    name="profiles",
    doc="Sites as they are configured, one row per observation.",
    columns=(
        ACCOUNT_ID,
        RawColumn(name="url", doc="Address of the site.", nullable=False),
        RawColumn(name="domain", doc="The domain that the server knows the site by.", nullable=False),
        KEY,
        LOADED_AT,
    ),
)
TABLES = (MENTIONS, PROFILES, READINGS)
_FIELDS = {
    "wm-received": "wm_received",
    "wm-source": "wm_source",
    "wm-target": "wm_target",
    "wm-property": "wm_property",
    "published": "published",
    "url": "url",
}
_TEXTS = {"content", "name", "summary"}


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The webmentions of the accounts: resources `mentions`, `profiles` and `readings`.

    The token of a site is `options["token"]` of its account. A site that cannot be read is reported in
    `readings` and stops no other one.
    """
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS,
        tables=TABLES, state_of=MENTIONS, keeps_history=True, service=SERVICE,
    )  # fmt: skip


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """The webmentions of one account that are new since the last reading."""
    account = visit.account
    where = f"{account.account_id} {domain(account.url)} {mask(account.endpoint or SERVICE)}"
    place = collection.state.setdefault(where, {})
    site = {"account_id": account.account_id, "url": account.url, "domain": domain(account.url)}
    yield Batch(PROFILES, [site])
    with visit.stream("inbound"), collection.client(account) as client:
        for page in _pages(account, client, account.options.get("token"), place, read_at=visit.read_at):
            rows = [mention_row(account.account_id, m, store_text=visit.store_text) for m in page]
            yield Batch(MENTIONS, rows)
            visit.succeeded("inbound")
        visit.oldest = datetime.fromisoformat(place["oldest"])


def domain(url: str) -> str:
    """The domain that webmention.io knows a site by: its host, without port.

    >>> domain("https://Blog.example:8080/about/")
    'blog.example'
    """
    return urlsplit(url if "//" in url else f"https://{url}").hostname or url


def api_address(endpoint: str | None) -> str:
    """Where the mentions are, whatever part of the address the user gave.

    >>> api_address(None)
    'https://webmention.io/api/mentions.jf2'
    >>> api_address("http://127.0.0.1:8000/api/")
    'http://127.0.0.1:8000/api/mentions.jf2'
    """
    base = (endpoint or SERVICE).rstrip("/")
    if base.endswith(".jf2"):
        return base
    return f"{base}/mentions.jf2" if base.endswith("/api") else f"{base}/api/mentions.jf2"


def fetch_page(
    client: Client, account: AccountSource, token: str | None, *, page: int = 0, since_id: int | None = None
) -> list[dict[str, Any]]:
    """One page of webmentions, oldest first. Raises `SourceError` where the answer is none."""
    params: dict[str, str | int] = {
        "domain": domain(account.url),
        "per-page": PER_PAGE,
        "page": page,
        "sort-by": "created",
        "sort-dir": "up",
    }
    if token:
        params["token"] = token
    if since_id is not None:
        params["since_id"] = since_id
    said, answer = client.get_json(api_address(account.endpoint), params=params)
    children = said.get("children") if isinstance(said, dict) else None
    if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
        raise SourceError(
            "The answer is no list of webmentions (no `children`)",
            mask(answer.url),
            "Check the domain, the token and the endpoint.",
        )
    return children


def _pages(
    account: AccountSource, client: Client, token: str | None, place: dict[str, Any], *, read_at: datetime
) -> Iterator[list[dict[str, Any]]]:
    """Pages of what is new; `place` (dlt state) advances only once the list was read to its end.

    Servers differ: some ignore paging and send everything each time, some cap a page. So the end is
    an empty page or one that brings no new webmention, whatever its length.
    """
    is_whole = "whole_at" not in place or read_at - datetime.fromisoformat(place["whole_at"]) >= WHOLE_EVERY
    since_id = None if is_whole else place.get("since_id")
    oldest, seen = place.get("oldest"), set[str]()
    newest, number = place.get("since_id"), 0
    while True:
        page = fetch_page(client, account, token, page=number, since_id=since_id)
        keyed = {_identity(mention): mention for mention in page}
        new = [mention for key, mention in keyed.items() if key not in seen]
        if not new:
            break
        yield new
        seen |= keyed.keys()
        numbers = [m["wm-id"] for m in new if _is_number(m.get("wm-id"))]
        newest = max([*numbers, *([newest] if newest is not None else [])], default=None)
        received = [moment.isoformat() for m in new if (moment := _received(m))]
        oldest = min([*received, *([oldest] if oldest else [])], default=None)
        number += 1
    # A site without mentions is covered from its first complete reading: nothing came before the next.
    place.update(since_id=newest, oldest=oldest or read_at.isoformat())
    if is_whole:
        place["whole_at"] = read_at.isoformat()


def _identity(mention: dict[str, Any]) -> str:
    number = mention.get("wm-id")
    return str(number) if number is not None else json.dumps(mention, sort_keys=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _received(mention: dict[str, Any]) -> datetime | None:
    try:
        received = parse_time(mention["wm-received"])
    except (KeyError, ValueError, AttributeError):
        return None  # staging sets the row aside, with the reason
    return received if received >= EARLIEST else None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def mention_row(account_id: str, mention: dict[str, Any], *, store_text: bool) -> Row:
    """A webmention as a row of `MENTIONS`; what other people wrote only where `store_text` is on."""
    author = mention.get("author")
    author = author if isinstance(author, dict) else {}
    number, private = mention.get("wm-id"), mention.get("wm-private")
    content = mention.get("content")
    content = content.get("text") if isinstance(content, dict) else content
    known = {*_FIELDS, *_TEXTS, "author", "type"}
    known |= {"wm-id"} if _is_number(number) else set()
    known |= {"wm-private"} if isinstance(private, bool) else set()
    extra = {k: v for k, v in mention.items() if k not in known and v != mention.get("wm-target")}
    return {
        "account_id": account_id,
        "wm_id": number if _is_number(number) else None,
        **{column: _text(mention.get(field)) for field, column in _FIELDS.items()},
        "wm_private": private if isinstance(private, bool) else None,
        "author_name": _text(author.get("name")),
        "author_url": _text(author.get("url")),
        "author_photo": _text(author.get("photo")),
        "content_text": _text(content) if store_text else None,
        "extra": json.dumps(extra, sort_keys=True, ensure_ascii=False) if extra else None,
    }
