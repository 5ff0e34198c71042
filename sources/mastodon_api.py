"""The Mastodon API as every compatible server speaks it: addresses, pages, people, statuses.

Nothing here knows rapport's tables; `sources.mastodon` makes rows of what is read here. Servers differ:
ids are opaque, pages follow `Link` only, and some send no `Link` at all.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from requests.utils import parse_header_links

from sources.answers import HttpError, Response, mask
from sources.http import Client
from sources.model import SourceError

PAGE = 40
"""What every server gives at once; asking for more is answered with an error by some."""
LARGE = 1000
"""What a server that cannot page is asked for, since it gives nothing but its newest."""
REFUSED = (400, 401, 403, 422)
"""How servers answer a bad token."""
_HANDLE = re.compile(r"@?([\w.-]+)@([\w.-]+\.[\w-]+|localhost)(:\d+)?")
_PATH = re.compile(r"/(?:@|users/)([\w.-]+)(?:@[\w.:-]+)?/?")
_NOT_THIS = "Check that the address is a profile of Mastodon or of a server that speaks its API."


def split_address(url: str) -> tuple[str, str] | None:
    """User and base address of `@user@host`, `https://host/@user`, `https://host/users/user`; else None.

    >>> split_address("@ann@social.example"), split_address("https://social.example/users/ann")
    (('ann', 'https://social.example'), ('ann', 'https://social.example'))
    >>> split_address("ann@mail"), split_address("https://social.example/about")
    (None, None)
    """
    said = url.strip().removeprefix("acct:")
    if found := _HANDLE.fullmatch(said):
        return found[1], f"https://{found[2]}{found[3] or ''}"
    try:
        parts = urlsplit(said if "://" in said else f"https://{said}")
        found = _PATH.fullmatch(parts.path)
        return (found[1], f"{parts.scheme}://{parts.netloc}") if found and parts.hostname else None
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody: `user@host` in lower case, the name shown, the address of the profile, the server's own id."""

    id: str
    name: str | None
    url: str | None
    local: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """What somebody wrote or, with `reblog`, boosted. `local` and `parent` are ids of this server only."""

    local: str
    uri: str
    url: str | None
    published_at: str | None
    edited_at: str | None
    visibility: str | None
    language: str | None
    text: str | None
    kind: str
    author: Person
    parent: str | None
    parent_author: str | None
    mentions: tuple[Person, ...] = ()
    counts: Mapping[str, int | None] = field(default_factory=dict)
    reblog: "Status | None" = None
    quoted: "Status | None" = None


@dataclass
class Api:
    """One server. `host` is what its own accounts' handles end in.

    `token` is the client that shows the token, while the server accepts it; `public` shows none.
    """

    public: Client
    base: str
    token: Client | None = None
    host: str = ""
    refused: SourceError | None = None
    unpaged: set[str] = field(default_factory=set)

    def get(self, path: str, shape: type, **params: str | int) -> Any:
        """The JSON at a path of the server. Raises `SourceError`."""
        return self._ask(f"{self.base}{path}", params, shape)[0]

    def _ask(self, url: str, params: Mapping[str, str | int], shape: type) -> tuple[Any, Response]:
        """Ask with the token; without it once the server no longer accepts it, which may happen at any time."""
        if self.token is not None:
            try:
                return self.token.get_json(url, params=params or None, shape=shape)
            except HttpError as error:
                if error.status not in REFUSED or self.verify() is not None:
                    raise
        return self.public.get_json(url, params=params or None, shape=shape)

    def verify(self) -> dict[str, Any] | None:
        """Whose token it is; None, and no token from now on, where the server refuses it."""
        if self.token is None:
            return None
        where = f"{self.base}/api/v1/accounts/verify_credentials"
        try:
            return dict(self.token.get_json(where, shape=dict)[0])
        except HttpError as error:
            if error.status not in REFUSED:
                raise
            self.drop_token(f"The server refuses the token ({error.status})")
        return None

    def drop_token(self, why: str) -> None:
        """Go on without the token."""
        self.token = None
        self.refused = SourceError(why, self.base, "Make a new token that may read, and set RAPPORT_MASTODON_TOKEN.")

    def pages(self, path: str, **params: str | int) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, to its end. Raises `SourceError`, also for a list that leads to itself.

        A server that sends no `Link` with a full page cannot page: it is asked once for all it gives.
        """
        url, said, asked = f"{self.base}{path}", {"limit": PAGE, **params}, set[str]()
        while url not in asked:
            asked.add(url)
            page, answer = self._ask(url, said, list)
            following = self._next(answer)
            if following is None and len(page) >= PAGE and "Link" not in answer.headers and said.get("limit") == PAGE:
                self.unpaged.add(path)
                page, _ = self._ask(url, {**said, "limit": LARGE}, list)
            yield [item for item in page if isinstance(item, dict)]
            if not page or following is None:
                return
            url, said = following, {}
        raise SourceError("The list leads back to itself", mask(url), "Try again later.")

    def page(self, path: str) -> tuple[dict[str, Any], str | None]:
        """A page that is an object, and the path of the next one. Raises `SourceError`."""
        said, answer = self._ask(f"{self.base}{path}", {}, dict)
        following = self._next(answer)
        return said, following.removeprefix(self.base) if following and following != f"{self.base}{path}" else None

    def _next(self, answer: Response) -> str | None:
        """The next page, on this server whatever it calls itself: a token goes nowhere else."""
        for link in parse_header_links(answer.headers.get("Link", "")):
            if "next" in link.get("rel", "").lower().split():
                parts = urlsplit(link.get("url", ""))
                path = parts.path.removeprefix(urlsplit(self.base).path)
                return f"{self.base}{path}?{parts.query}"
        return None

    def find_host(self) -> dict[str, Any]:
        """Ask the server who it is: sets `host`, and gives its description."""
        try:
            said = self.get("/api/v2/instance", dict)
        except HttpError as error:
            if error.status >= 500 or error.status == 429:
                raise
            said = self.get("/api/v1/instance", dict)
        named = text(said, "domain") or text(said, "uri") or urlsplit(self.base).netloc
        self.host = (named.partition("://")[2] or named).strip("/").lower()
        return dict(said)

    def lookup(self, user: str) -> dict[str, Any]:
        """The account of a user of this server; by search where the server has no look-up. Raises `SourceError`."""
        try:
            return dict(self.get("/api/v1/accounts/lookup", dict, acct=user))
        except HttpError as error:
            if error.status not in (400, 401, 403, 404, 405, 410, 422, 501):
                raise
            missing = error
        try:
            found = self.get("/api/v1/accounts/search", list, q=f"@{user}@{self.host}", limit=PAGE)
        except HttpError:
            found = []
        for account in found:
            if isinstance(account, dict) and self.person(account).id == f"{user}@{self.host}".lower():
                return account
        raise SourceError(f"There is no account {user} ({missing.status})", self.base, _NOT_THIS)

    def person(self, account: Mapping[str, Any]) -> Person:
        """Who an account or a mention is. Raises `SourceError` where it says no name."""
        acct = text(account, "acct") or text(account, "username")
        if not acct:
            raise SourceError("The server names an account without `acct`", self.base, "Try again later.")
        acct = acct.lstrip("@")
        return Person(
            id=(acct if "@" in acct else f"{acct}@{self.host}").lower(),
            name=text(account, "display_name") or text(account, "username"),
            url=text(account, "url") or text(account, "uri"),
            local=text(account, "id"),
        )

    def status(self, said: Mapping[str, Any]) -> Status:
        """A status as the server says it. Raises `SourceError` where it has no id, URI or author."""
        local, uri, account = text(said, "id"), text(said, "uri"), said.get("account")
        if not local or not uri or not isinstance(account, dict):
            raise SourceError("The server gives a status without id, uri or account", self.base, "Try again later.")
        reblog, quote = said.get("reblog"), said.get("quote")
        quoted = quote.get("quoted_status") if isinstance(quote, dict) else None
        mentions = [self.person(one) for one in said.get("mentions") or () if isinstance(one, dict)]
        return Status(
            local=local, uri=uri, url=text(said, "url"), published_at=text(said, "created_at"),
            edited_at=text(said, "edited_at"), visibility=text(said, "visibility"), language=text(said, "language"),
            text=text(said, "content"), kind=_kind(said), author=self.person(account),
            parent=text(said, "in_reply_to_id"), parent_author=text(said, "in_reply_to_account_id"),
            mentions=tuple(sorted({one.id: one for one in mentions}.values(), key=lambda one: one.id)),
            counts={name: number(said, f"{key}_count") for name, key in _COUNTS.items()},
            reblog=self.status(reblog) if isinstance(reblog, dict) else None,
            quoted=self.status(quoted) if isinstance(quoted, dict) else None,
        )  # fmt: skip


_COUNTS = {"likes": "favourites", "reposts": "reblogs", "replies": "replies", "quotes": "quotes"}


def text(said: Mapping[str, Any], name: str) -> str | None:
    """A field that holds text; None where it is missing, empty or something else.

    >>> text({"a": "b", "c": ["d"]}, "a"), text({"a": "b", "c": ["d"]}, "c")
    ('b', None)
    """
    value = said.get(name)
    return value if isinstance(value, str) and value else None


def number(said: Mapping[str, Any], name: str) -> int | None:
    """A field that holds a count; None where it is missing or something else."""
    value = said.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def objects(said: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A field that holds a list of objects. Raises `SourceError` where it does not: nothing would be a claim."""
    value = said.get(name)
    if not isinstance(value, list):
        raise SourceError(f"The server's answer has no list `{name}`", "the Mastodon API", "Try again later.")
    return [one for one in value if isinstance(one, dict)]


def _kind(said: Mapping[str, Any]) -> str:
    if isinstance(said.get("poll"), dict):
        return "poll"
    media = said.get("media_attachments")
    first = media[0] if isinstance(media, list) and media else None
    kind = text(first, "type") if isinstance(first, dict) else None
    return {"image": "image", "gifv": "video", "video": "video", "audio": "audio"}.get(kind or "", "note")
