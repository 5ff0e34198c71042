"""What a server answered: a response, or an error that says what it means; addresses without their secrets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from requests.structures import CaseInsensitiveDict
from requests.utils import parse_header_links

from sources.model import SourceError

SECRET = re.compile(r"token|secret|password|passwd|api[_-]?key|signature|^key$|^sig$|^auth", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_PORTS = {"http": 80, "https": 443}


def mask(url: str) -> str:
    """The address without secrets: query values whose name sounds like one, and a password.

    >>> mask("https://u:p@api.example/x?domain=a.example&token=abc")
    'https://***@api.example/x?domain=a.example&token=***'
    """
    try:
        parts = urlsplit(url)
        query = [
            (name, "***" if SECRET.search(name) else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:
        return url.partition("?")[0]
    host = parts.netloc.rpartition("@")
    netloc = f"***@{host[2]}" if host[0] else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, safe="*/:,")))


def host_of(url: str) -> str:
    """Host and port of an address, without a login; empty where it has none.

    >>> host_of("https://u:p@API.example/x"), host_of("http://a.example:8080")
    ('api.example:443', 'a.example:8080')
    """
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}" if parts.hostname else ""
    except (KeyError, ValueError):
        return ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A complete answer: final address, status, headers, body (empty after `Client.stream`)."""

    url: str
    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower case; empty where the server does not say."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The encoding that the server declares, if any."""
        found = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", self.headers.get("Content-Type", ""), re.IGNORECASE)
        return found.group(1) if found else None

    def link(self, rel: str) -> str | None:
        """The address that the `Link` header gives for `rel` ("next", "prev"), made absolute.

        `None` where there is none, or where it leads to another host or port: a token must not follow
        there. A connector that stops at `None` tells the two apart with `leads_away`. A server behind
        a proxy that calls itself http though it was asked by https is asked by https again.
        """
        url = self._link(rel)
        return url if url and host_of(url) == host_of(self.url) else None

    def leads_away(self, rel: str) -> bool:
        """Whether the `Link` header has a `rel` that leads to another host, so that a list cannot be read to its end."""
        return bool(self._link(rel)) and self.link(rel) is None

    def _link(self, rel: str) -> str | None:
        for link in parse_header_links(self.headers.get("Link", "")):
            if rel in link.get("rel", "").lower().split() and link.get("url"):
                try:
                    url = urljoin(self.url, link["url"])
                    parts, ours = urlsplit(url), urlsplit(self.url)
                    if (parts.scheme, ours.scheme) == ("http", "https") and parts.netloc == ours.netloc:
                        url = urlunsplit(parts._replace(scheme="https"))
                except ValueError:
                    return "invalid:"
                return url
        return None


class HttpError(SourceError):
    """A server answered, but with a status that is no success (429 and 5xx: after the retries).

    `status`, `headers` and the first 64 KiB of the `body` are for connectors that know what a platform means by
    them; `code` is the machine-readable `error` or `code` of a JSON body (Bluesky "InvalidToken", WordPress
    "rest_post_invalid_page_number"), never its sentence. None of them is part of the message: a server may
    repeat a secret.
    """

    def __init__(
        self, what: str, where: str, todo: str, *, status: int, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        """What, where and what to do as in `SourceError`, and what the server answered."""
        super().__init__(what, where, todo)
        self.status, self.headers, self.body = status, CaseInsensitiveDict(headers), body
        self.code = _code(body)


class UnreachableError(SourceError):
    """No complete answer came, after all retries: no connection, silence, an answer that broke off."""


def _code(body: bytes) -> str | None:
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    codes = [said.get("error"), said.get("code")] if isinstance(said, dict) else []
    return next((code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)), None)
