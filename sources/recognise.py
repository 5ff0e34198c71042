"""What is at an address: which connector reads it, and does it answer? For `rapport add`."""

import re
from urllib.parse import urlsplit

from sources import feed, webmention
from sources.http import Client, Limits, mask
from sources.model import AccountSource, Recognised, SourceError
from sources.registry import REGISTRY

IMPATIENT = Limits(attempts=2, total=60.0)
"""Somebody is waiting at the terminal."""


def recognise(
    url: str,
    *,
    source: str | None = None,
    endpoint: str | None = None,
    allow_private: bool = False,
    token: str | None = None,
    limits: Limits = IMPATIENT,
) -> Recognised:
    """The connector that reads the address, after asking it once.

    A page is followed to the feed it links to, and the feed's address returned. Webmentions are
    chosen with `source="webmention"` (then the address is the site's): a site does not say who
    receives them. Raises `SourceError` where nothing answers, or nothing that can be read.
    """
    wanted = source or feed.NAME
    if wanted not in REGISTRY or not REGISTRY[wanted].is_nightly:
        known = ", ".join(sorted(name for name, connector in REGISTRY.items() if connector.is_nightly))
        raise SourceError(f"There is no source {wanted!r} to add", url, f"Choose one of: {known}.")
    for address in (url, endpoint or url):
        if not host_of(address):
            raise SourceError("This is no address", repr(address), "Give one such as https://blog.example/feed.")
    account = AccountSource(
        account_id="",
        source=wanted,
        url=with_scheme(url),
        endpoint=with_scheme(endpoint) if endpoint else None,
        allow_private=allow_private,
    )
    with Client(allow_private=allow_private, limits=limits) as client:
        if wanted == webmention.NAME:
            return _webmention(account, client, token)
        return _feed(account, client)


def with_scheme(url: str) -> str:
    """The address with `https://` where it names no scheme.

    >>> with_scheme("blog.example/feed")
    'https://blog.example/feed'
    """
    stripped = url.strip()
    return stripped if "://" in stripped else f"https://{stripped}"


def host_of(url: str) -> str | None:
    """The host that an address names, with or without a scheme; null where it names none.

    >>> host_of("Blog.example/feed"), host_of("http://[bad"), host_of("not a url")
    ('blog.example', None, None)
    """
    try:
        parts = urlsplit(with_scheme(url))
        host = parts.hostname if parts.port != 0 else None  # asking for the port checks it
    except ValueError:
        return None
    return host if host and not re.search(r"\s", host) else None


def _feed(account: AccountSource, client: Client) -> Recognised:
    page = feed.first_page(account, client)
    if page is None:
        raise SourceError(
            "The server says that nothing changed, though nothing was known", mask(account.url), "Try again later."
        )
    found = page.feed
    more = " on the first page" if found.next_url else ""
    named = f" '{found.title}'" if found.title else ""
    return Recognised(
        source=feed.NAME,
        url=page.feed_url,
        title=found.title,
        summary=f"{found.format}{named}, {_counted(len(found.items), 'entry', 'entries')}{more}",
    )


def _webmention(account: AccountSource, client: Client, token: str | None) -> Recognised:
    host = webmention.domain(account.url)
    mentions = webmention.fetch_page(client, account, token)
    at_least = "at least " if len(mentions) == webmention.PER_PAGE else ""
    return Recognised(
        source=webmention.NAME,
        url=account.url,
        title=host,
        summary=f"webmentions of {host}, {at_least}{_counted(len(mentions), 'webmention', 'webmentions')}",
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
