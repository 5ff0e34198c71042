"""Asking the AT Protocol: an AppView for what is public, a PDS for repositories and notifications, PLC for where that is.

Nothing here knows of raw tables; `sources.bluesky` does, and `sources.bluesky_records` knows the records.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from sources.bluesky_records import did_of, text_of
from sources.http import Client, HttpError
from sources.model import AccountSource, Row, SourceError

APPVIEW = "https://public.api.bsky.app"
PLC = "https://plc.directory"
PAGE = 100
"""Items of a page; more is refused."""
FEW = 25
"""Posts that can be asked for by their addresses at once."""

SKEWED = "Try again later; if it stays so, the server has changed and rapport needs an update."
LATER = "Try again later; what was collected before is kept."
_HANDLE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_EXPIRED = ("ExpiredToken", "InvalidToken", "AuthMissing", "AuthenticationRequired")
_MISSING_METHOD = ("MethodNotImplemented", "XRPCNotSupported")

Json = dict[str, Any]
Params = Mapping[str, str | int]


def actor(url: str) -> str | None:
    """The handle or DID that an address names: a profile's, `@handle`, `at://…`, or the bare thing; null without one.

    >>> actor("https://bsky.app/profile/Alice.bsky.social"), actor("@alice.test"), actor("at://did:plc:a")
    ('alice.bsky.social', 'alice.test', 'did:plc:a')
    """
    said = url.strip()
    try:
        parts = urlsplit(said) if re.match(r"https?://", said, re.IGNORECASE) else None
    except ValueError:
        return None
    if parts:
        found = re.match(r"/profile/([^/]+)", unquote(parts.path))
        said = found[1] if found else (parts.hostname or "") if parts.path in ("", "/") else ""
    said = said.removeprefix("at://").partition("/")[0].removeprefix("@")
    return did_of(said) or (said.lower() if _HANDLE.fullmatch(said.lower()) else None)


class Api:
    """The servers of one account. Every method raises `SourceError` where they do not answer as they should."""

    def __init__(self, client: Client, account: AccountSource) -> None:
        """Which servers: the account's own settings, or the public ones."""
        self.client, self.account = client, account
        self.appview = (account.endpoint or APPVIEW).rstrip("/")
        self._plc = (account.options.get("plc") or PLC).rstrip("/")
        self._pds: dict[str, str] = {}

    def ask(
        self, nsid: str, params: Params, *, at: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        """The answer of a method at the AppView, or `at` another server."""
        said, _ = self.client.get_json(f"{at or self.appview}/xrpc/{nsid}", params=params, headers=headers, shape=dict)
        return dict(said or {})

    def pages(self, nsid: str, key: str, params: Params, *, at: str | None = None) -> Iterator[list[Json]]:
        """The pages of a list, to its end: no cursor, or an empty page."""
        yield from follow(lambda cursor: self.ask(nsid, {**params, "limit": PAGE, **cursor}, at=at), key, nsid)

    def offers(self, nsid: str, params: Params) -> bool:
        """Whether the AppView has a method: not all versions have all."""
        try:
            self.ask(nsid, params)
        except HttpError as error:
            if error.code in _MISSING_METHOD or error.status == 501:
                return False
            raise
        return True

    def existing(self, uris: Iterable[str]) -> set[str]:
        """Those of the posts that still exist."""
        wanted, found = sorted(set(uris)), set()
        for start in range(0, len(wanted), FEW):
            part = wanted[start : start + FEW]
            query = urlencode([("uris", uri) for uri in part])
            said, _ = self.client.get_json(f"{self.appview}/xrpc/app.bsky.feed.getPosts?{query}", shape=dict)
            found |= {str(text_of(post, "uri")) for post in listed(said, "posts", "app.bsky.feed.getPosts")}
        return found

    def pds(self, did: str) -> str:
        """The server that keeps the repository, as the account's DID document says, unless the settings say so."""
        if said := self.account.options.get("pds"):
            return said.rstrip("/")
        if did not in self._pds:
            self._pds[did] = self._pds_of(did)
        return self._pds[did]

    def _pds_of(self, did: str) -> str:
        where = f"{self._plc}/{did}"
        if did.startswith("did:web:"):
            where = f"https://{unquote(did.removeprefix('did:web:'))}/.well-known/did.json"
        document, _ = self.client.get_json(where, shape=dict)
        services = document.get("service")
        for service in services if isinstance(services, list) else ():
            address = text_of(service, "serviceEndpoint")
            if address and str(text_of(service, "id")).endswith("#atproto_pds"):
                return address.rstrip("/")
        raise SourceError(
            "The account's DID document names no server",
            where,
            'Set `pds = "https://…"` at the source in rapport.toml.',
        )


class Session:
    """A login at the account's PDS with an app password; renewed once when the server calls it expired."""

    def __init__(self, api: Api, did: str, password: str) -> None:
        """Nothing is sent before the first question."""
        self._api, self._did, self._password = api, did, password
        self._token: str | None = None

    def pages(self, nsid: str, key: str) -> Iterator[list[Json]]:
        """The pages of a list that only the account may read."""
        yield from follow(lambda cursor: self._ask(nsid, {"limit": PAGE, **cursor}), key, nsid)

    def _ask(self, nsid: str, params: Params) -> Json:
        is_new = self._token is None
        token, failure = self._token or self._login(), None
        for _ in range(2):
            try:
                return self._api.ask(
                    nsid, params, at=self._api.pds(self._did), headers={"Authorization": f"Bearer {token}"}
                )
            except HttpError as error:
                if error.status != 401 and error.code not in _EXPIRED:
                    raise
                failure = self._refused(error)
            if is_new:
                break
            token, is_new = self._login(), True
        self._token = None
        raise failure or self._refused(None)

    def _login(self) -> str:
        pds, failure = self._api.pds(self._did), None
        if not pds.startswith("https://") and not self._api.account.allow_private:
            raise SourceError("The account's server has no encrypted address", pds, "No password is sent there.")
        payload = {"identifier": self._did, "password": self._password}
        try:
            said, _ = self._api.client.post_json(f"{pds}/xrpc/com.atproto.server.createSession", payload)
        except HttpError as error:
            if error.status not in (400, 401, 403):
                raise
            failure = self._refused(error)
        if failure is None:
            self._token = text_of(said, "accessJwt")
            if self._token:
                return self._token
            failure = SourceError("The login gives no session", pds, LATER)
        raise failure

    def _refused(self, error: HttpError | None) -> SourceError:
        said = f" ({error.code})" if error and error.code else ""
        return SourceError(
            f"The app password is refused{said}",
            self._api.pds(self._did),
            "Make a new app password in Bluesky's settings and put it into RAPPORT_BLUESKY_TOKEN; "
            "what is public was read without it.",
        )


def follow(ask: Callable[[dict[str, str]], Json], key: str, name: str) -> Iterator[list[Json]]:
    """The pages that `ask({"cursor": …})` gives, until there is no cursor or an empty page.

    A page that only repeats the one before, or a cursor that leads to itself, is an error: what should
    have been there instead is unknown. So is an item that is no object, once the others were given.
    """
    cursor: dict[str, str] = {}
    cursors: set[str] = set()
    before: list[Json] = []
    while True:
        page = ask(cursor)
        items = listed(page, key, name)
        if not items:
            return
        if items == before:
            raise SourceError("The list repeats a page", name, LATER)
        before = items
        yield items
        following = page.get("cursor")
        if following is None or following == "":
            return
        if not isinstance(following, str) or following in cursors:
            raise SourceError("The list leads to itself and has no end", name, LATER)
        cursors.add(following)
        cursor = {"cursor": following}


def listed(page: object, key: str, name: str) -> list[Json]:
    """The list of a page. Raises `SourceError` where there is none: that is no empty list."""
    items = page.get(key) if isinstance(page, Mapping) else None
    if not isinstance(items, list):
        raise SourceError(f"The answer has no list of {key}", name, SKEWED)
    return items


def each(pages: Iterable[list[Json]], parse: Callable[[Any], list[Row]], name: str) -> Iterator[list[Row]]:
    """The rows of pages. Items that cannot be read are an error, but only once all others were given."""
    unreadable = 0
    for page in pages:
        rows = []
        for item in page:
            try:
                rows += parse(item)
            except ValueError:
                unreadable += 1
        yield rows
    if unreadable:
        raise SourceError(f"{unreadable} items are not as they should be", name, SKEWED)


def until(
    pages: Iterable[list[Json]], since: datetime | None, time: Callable[[Json], datetime | None]
) -> Iterator[list[Json]]:
    """The pages down to the first that holds nothing newer than `since`."""
    for page in pages:
        yield page
        times = [at for at in map(time, page) if at]
        if since and times and max(times) < since:
            return
