"""What is at an address: which connector reads it, and does it answer? For `rapport add`."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from sources import feed, webmention
from sources.http import Client, Limits, mask
from sources.model import AccountSource, Recognised, SourceError
from sources.registry import REGISTRY

IMPATIENT = Limits(attempts=2, total=60.0)
"""Somebody is waiting at the terminal."""

SITES = ("wordpress", "ghost", "mastodon")
"""Software that a home page can be of, tried in this order before its feed."""


def recognise(
    url: str,
    *,
    source: str | None = None,
    endpoint: str | None = None,
    allow_private: bool = False,
    token: Callable[[str], str | None] = lambda _source: None,
    options: Mapping[str, str] | None = None,
    limits: Limits = IMPATIENT,
) -> Recognised:
    """The connector that reads the address, after asking it once.

    Handles and profile addresses are known by their form; a home page is asked which software it
    is of, and failing that followed to the feed it links to. Webmentions are chosen with
    `source="webmention"` (then the address is the site's): a site does not say who receives them.
    `token(source)` is the secret for a connector, `options` its further settings. Raises `SourceError`
    where nothing answers, or nothing that can be read.
    """
    if source is not None and (source not in REGISTRY or not REGISTRY[source].is_nightly):
        raise SourceError(f"There is no source {source!r} to add", url, f"Choose one of: {', '.join(nightly())}.")
    for address in (url if "://" in url else None, endpoint):
        if address is not None and not host_of(address):
            raise SourceError("This is no address", repr(address), "Give one such as https://blog.example/feed.")

    def ask(name: str) -> Recognised | None:
        secret = token(name)
        account = AccountSource(
            account_id="",
            source=name,
            url=url.strip() if _claims(name, url) else with_scheme(url),
            endpoint=with_scheme(endpoint) if endpoint else None,
            allow_private=allow_private,
            options={**(options or {}), **({"token": secret} if secret else {})},
        )
        with Client(allow_private=allow_private, limits=limits) as client:
            return _asked(account, client)

    claimed = [source] if source else [name for name in nightly() if _claims(name, url)]
    if not claimed and not host_of(url):
        raise SourceError("This is no address", repr(url), "Give one such as https://blog.example/feed.")
    for name in claimed:
        if found := ask(name):
            return found
    if source is not None:
        raise SourceError(
            f"This is nothing that {source} reads", mask(url), "Leave --source out to have it recognised."
        )
    return _site(ask)


def _site(ask: Callable[[str], Recognised | None]) -> Recognised:
    """What a page is: of a known software, or one that has a feed."""
    for name in SITES:
        with suppress(SourceError):  # the feed's message is the one that helps
            if found := ask(name):
                return found
    found = ask(feed.NAME)
    assert found is not None  # noqa: S101  a feed is found, or an error says why not
    return found


def _asked(account: AccountSource, client: Client) -> Recognised | None:
    if account.source == webmention.NAME:
        return _webmention(account, client, account.options.get("token"))
    if account.source == feed.NAME:
        return _feed(account, client)
    ask = getattr(_module(account.source), "recognise", None)
    found: Recognised | None = ask(account, client) if ask else None
    return found


def nightly() -> list[str]:
    """The sources that can be added."""
    return sorted(name for name, connector in REGISTRY.items() if connector.is_nightly)


def _module(name: str) -> Any:
    return import_module(f"sources.{name}")


def _claims(name: str, url: str) -> bool:
    """Whether the form of the address alone says that it belongs to the source."""
    claims = getattr(_module(name), "claims", None)
    return bool(claims and claims(url.strip()))


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
