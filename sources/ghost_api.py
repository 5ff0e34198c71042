"""Ghost's two APIs: keys, short-lived tokens, pages. What the answers mean is `sources.ghost`'s business.

The Content API takes a key in the query, the Admin API a token signed with the secret half of its key
that lives for five minutes. Lists are pages of 100 whose `next` may count on past the end.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sources.answers import HttpError, mask
from sources.http import Client
from sources.model import AccountSource, Row, SourceError

VERSION = {"Accept-Version": "v5.0"}
PER_PAGE = 100
TOKEN_SECONDS = 300
_RENEWED = 240
_CONTENT = re.compile(r"[0-9a-f]{26}")
_ADMIN = re.compile(r"([0-9a-f]{24}):((?:[0-9a-f]{2}){32})")
_CREATE = "Ghost Admin → Settings → Integrations → Add custom integration"
Query = Mapping[str, str | int]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The Content API key, the Admin API key (`id:secret`), or both."""

    content: str | None = field(default=None, repr=False)
    admin: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, account: AccountSource) -> "Keys":
        """The keys in the account's token, separated by a space. Raises `SourceError` where there is none.

        >>> account = AccountSource(account_id="a", source="ghost", url="", options={"token": "0" * 26})
        >>> Keys.of(account).content == "0" * 26, Keys.of(account).admin
        (True, None)
        """
        said = account.options.get("token", "").split()
        content = next((key for key in said if _CONTENT.fullmatch(key)), None)
        admin = next((key for key in said if _ADMIN.fullmatch(key)), None)
        if len(said) != bool(content) + bool(admin):
            raise SourceError(
                "The token is not made of Ghost's keys",
                mask(account.url),
                f"Copy the Content API key (26 characters), the Admin API key (id:secret) or both with a space between "
                f"from {_CREATE}.",
            )
        if not said:
            raise SourceError(
                "Ghost shows nothing without a key",
                mask(account.url),
                f"Create one in {_CREATE}, and set RAPPORT_GHOST_TOKEN to its Admin API key (posts, comments, members) "
                "or its Content API key (posts only).",
            )
        return cls(content=content, admin=admin)


def signed(key: str, now: float) -> str:
    """A token of the Admin API, valid for five minutes from `now` (seconds since 1970): a JWT, HS256.

    Source: RFC 7519, and Ghost's documentation of token authentication.
    """
    key_id, secret = key.split(":")
    header = {"alg": "HS256", "kid": key_id, "typ": "JWT"}
    said = {"iat": int(now), "exp": int(now) + TOKEN_SECONDS, "aud": "/admin/"}
    text = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, said))
    signature = hmac.new(bytes.fromhex(secret), text.encode(), hashlib.sha256).digest()
    return f"{text}.{_base64url(signature)}"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def base_of(account: AccountSource) -> str:
    """Where the APIs are: the endpoint where one is given, else the site, without what leads into Ghost Admin.

    >>> base_of(AccountSource(account_id="a", source="ghost", url="https://blog.example/ghost/#/dashboard"))
    'https://blog.example'
    """
    said = account.endpoint or account.url
    parts = urlsplit(said if "://" in said else f"https://{said}")
    path = re.sub(r"/ghost(/.*)?$", "", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


@dataclass
class Api:
    """The APIs of one site. `clock` is seconds since 1970."""

    client: Client
    base: str
    keys: Keys
    clock: Callable[[], float] = time.time
    _token: tuple[float, str] | None = field(default=None, repr=False)

    def site(self) -> Row:
        """Title, address and version, which every Ghost tells everybody."""
        found, _ = self.client.get_json(f"{self.base}/ghost/api/admin/site/", headers=VERSION, shape=dict)
        site = found.get("site")
        if not isinstance(site, dict):
            raise SourceError("This is not Ghost's answer", self.base, "Check that the address is that of the site.")
        return site

    def content(self, path: str, params: Query) -> Row:
        """What the Content API says."""
        return self._asked("content", path, {**params, "key": self.keys.content or ""}, VERSION)

    def admin(self, path: str, params: Query) -> Row:
        """What the Admin API says; a token that ran out while a request was repeated is replaced once."""
        started = self.clock()
        try:
            return self._asked("admin", path, params, self._signed())
        except HttpError as error:
            if error.status != 401 or self.clock() - started < TOKEN_SECONDS - _RENEWED:
                raise
        self._token = None
        return self._asked("admin", path, params, self._signed())

    def comment_counts(self) -> dict[str, int] | None:
        """How many published comments each post has, for posts that have any; null where the site does not say."""
        try:
            found, _ = self.client.get_json(f"{self.base}/members/api/comments/counts/", shape=dict)
        except HttpError:
            return None
        return {str(post): n for post, n in found.items() if isinstance(n, int) and not isinstance(n, bool)}

    def listed(
        self, ask: Callable[[str, Query], Row], path: str, params: Query, fields: Mapping[str, type]
    ) -> Iterator[tuple[list[Row], int | None]]:
        """The pages of a list, each with how many items the list claims to have.

        Ends at an empty page, whatever `next` says. `fields` are what each item must have, of that type
        or null; an item without them means that Ghost has changed, and is an error.
        """
        name, page = path.partition("/")[0], 1
        while True:
            said = ask(path, {**params, "limit": PER_PAGE, "page": page})
            items, meta = said.get(name), said.get("meta")
            if not isinstance(items, list) or not all(has_fields(item, fields) for item in items):
                raise SourceError(
                    f"The list of {name} is not as Ghost gives it", f"{self.base} ({path})", "Try again later."
                )
            pagination = meta.get("pagination") if isinstance(meta, dict) else None
            pagination = pagination if isinstance(pagination, dict) else {}
            total = pagination.get("total")
            yield items, total if isinstance(total, int) else None
            if not items or pagination.get("next", page + 1) is None:
                return
            page += 1

    def _signed(self) -> dict[str, str]:
        now = self.clock()
        if self._token is None or not 0 <= now - self._token[0] < _RENEWED:
            self._token = (now, signed(self.keys.admin or "", now))
        return {**VERSION, "Authorization": f"Ghost {self._token[1]}"}

    def _asked(self, api: str, path: str, params: Query, headers: Mapping[str, str]) -> Row:
        refused = None
        try:
            found, _ = self.client.get_json(
                f"{self.base}/ghost/api/{api}/{path}/", params=params, headers=headers, shape=dict
            )
        except HttpError as error:
            if error.status not in (401, 403):
                raise
            refused = HttpError(
                f"Ghost refuses the {api.title()} API key ({error.status})",
                error.where,
                f"Copy it anew from {_CREATE}. If it is right, check this machine's clock.",
                status=error.status,
                headers=error.headers,
                body=error.body,
            )
        if refused is not None:
            raise refused
        result: dict[str, Any] = found
        return result


def has_fields(item: object, fields: Mapping[str, type]) -> bool:
    """Whether it is an object with an id and these fields, each of its type or null."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
        return False
    return all(name in item and (item[name] is None or isinstance(item[name], kind)) for name, kind in fields.items())
