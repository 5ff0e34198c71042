"""One polite HTTP client for every connector: patient, bounded, discreet.

It waits where a server asks it to, gives up after a bounded time and size, refuses addresses of
private networks unless told otherwise, and turns every failure into a `SourceError` that a user
can act on. Secrets in query strings are masked wherever an address is shown.
"""

import ipaddress
import logging
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, InvalidHeader

from sources.model import SourceError

_SECRET = re.compile(r"token|secret|password|passwd|api_?key|signature|^key$|^sig$|^auth", re.IGNORECASE)
_CHECK_ADDRESS = "Check the address in a browser, and correct it (in rapport.toml, where it is there)."
_LATER = "Try again later; what was collected before is kept."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how much the client puts up with. Times in seconds, size in bytes."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0
    attempts: int = 4
    backoff: float = 1.0
    longest_wait: float = 120.0
    redirects: int = 10
    size: int = 50 * 1024 * 1024


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Response:
    """A complete answer: final address, status, headers, body."""

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


def mask(url: str) -> str:
    """The address without secrets: query values whose name sounds like one, and a password.

    >>> mask("https://u:p@api.example/x?domain=a.example&token=abc")
    'https://***@api.example/x?domain=a.example&token=***'
    """
    try:
        parts = urlsplit(url)
        query = [
            (name, "***" if _SECRET.search(name) else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:
        return url.partition("?")[0]
    host = parts.netloc.rpartition("@")
    netloc = f"***@{host[2]}" if host[0] else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, safe="*/:,")))


def _mask_record(record: logging.LogRecord) -> bool:
    """Keep secrets out of urllib3's debug log, which prints every address."""
    if isinstance(record.args, tuple):
        record.args = tuple(mask(arg) if isinstance(arg, str) and "?" in arg else arg for arg in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_mask_record)


def user_agent() -> str:
    """Who we are: `rapport/<version>`."""
    try:
        return f"rapport/{version('rapport')}"
    except PackageNotFoundError:  # a checkout that is not installed
        return "rapport"


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not ip.is_global or ip.is_multicast


class _PublicOnly:
    """Connections that check where they lead: before, by name, and after, by the peer's address.

    Checking each connection covers redirects; checking the peer covers a name that resolves
    to a public address when asked first and to a private one when asked again.
    """

    host: str
    port: int

    def _new_conn(self) -> socket.socket:
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)}
        except (socket.gaierror, UnicodeError):
            found = set()  # the connection itself says so in a moment
        if any(map(_is_private, found)):
            raise _private(self.host)
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if _is_private(sock.getpeername()[0]):
            sock.close()
            raise _private(self.host)
        return sock


def _private(host: str) -> SourceError:
    return SourceError(
        "The address leads into a private network",
        host,
        "If that is meant (a server of your own), add --allow-private.",
    )


class _PublicHTTPConnection(_PublicOnly, HTTPConnection):
    pass


class _PublicHTTPSConnection(_PublicOnly, HTTPSConnection):
    pass


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _PublicAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}


class _TryAgainError(Exception):
    """A failure that may pass: what it was, and how long the server asks to wait."""

    def __init__(self, failure: SourceError, wait: float = 0.0) -> None:
        super().__init__(failure)
        self.failure, self.wait = failure, wait


class Client:
    """Reads addresses, one at a time, within `Limits`.

    `sleep` is an argument so that tests need not wait.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open a session; close it with `with Client() as client`."""
        self._limits, self._sleep = limits, sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent()
        self._session.max_redirects = limits.redirects
        if allow_private:
            self._session.trust_env = False  # a proxy cannot see our private network
        else:
            for scheme in ("http://", "https://"):
                self._session.mount(scheme, _PublicAdapter())

    def __enter__(self) -> Self:
        """Nothing to do on entry."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self._session.close()

    def get(
        self, url: str, *, params: Mapping[str, str | int] | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer to a GET with status 200 or, for conditional requests, 304.

        Raises `SourceError` for everything else, after the retries that make sense: time-outs, cut
        connections, cut answers, 429 and 5xx, with growing pauses or the ones the server asks for.
        """
        failure = None
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return self._get(url, params or {}, headers or {})
            except _TryAgainError as again:
                failure, wait = again.failure, max(again.wait, self._limits.backoff * 2 ** (attempt - 1))
            if wait > self._limits.longest_wait:
                break
            if attempt < self._limits.attempts:
                self._sleep(wait)
        # Raised here and not inside `except`: the original errors spell out addresses with their secrets.
        assert failure is not None  # noqa: S101  the loop runs at least once
        raise failure

    def _get(self, url: str, params: Mapping[str, str | int], headers: Mapping[str, str]) -> Response:
        where, failure = mask(url), None
        try:
            with self._session.get(
                url,
                params=params,
                headers=headers,
                stream=True,
                timeout=(self._limits.connect, self._limits.read),
            ) as answer:
                where = mask(answer.url)
                self._check_status(answer, where)
                body = self._body(answer, where)
                return Response(url=answer.url, status=answer.status_code, headers=answer.headers, body=body)
        except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: a redirect to no address
            failure = _explain(error, where, self._limits)
        raise failure

    def _check_status(self, answer: requests.Response, where: str) -> None:
        status = answer.status_code
        if status in (200, 304):
            return
        if status == 429 or status >= 500:
            wait = _retry_after(answer)
            asks = f" and asks to wait {wait:.0f} s" if wait else ""
            raise _TryAgainError(SourceError(f"The server answers {status}{asks}", where, _LATER), wait)
        if status in (401, 403):
            raise SourceError(f"The server refuses access ({status})", where, "Check the token and the address.")
        if status in (404, 410):
            raise SourceError(f"There is nothing at this address ({status})", where, _CHECK_ADDRESS)
        raise SourceError(f"The server answers {status}", where, _CHECK_ADDRESS)

    def _body(self, answer: requests.Response, where: str) -> bytes:
        started, parts, size = time.monotonic(), [], 0
        for part in answer.iter_content(64 * 1024):
            parts.append(part)
            size += len(part)
            if size > self._limits.size:
                limit = self._limits.size // (1024 * 1024)
                raise SourceError(f"The answer is larger than {limit} MiB", where, _CHECK_ADDRESS)
            if time.monotonic() - started > self._limits.total:
                raise _TryAgainError(
                    SourceError(f"The answer takes longer than {self._limits.total:.0f} s", where, _LATER)
                )
        return b"".join(parts)


def _retry_after(answer: requests.Response) -> float:
    header = answer.headers.get("Retry-After")
    try:
        return Retry(retry_after_max=10**9).parse_retry_after(header) if header else 0.0
    except InvalidHeader:
        return 0.0


def _explain(error: Exception, where: str, limits: Limits) -> SourceError | _TryAgainError:
    """What a failure of the library means to a user. Its own text is not used: it may hold a token."""
    match error:
        case requests.exceptions.TooManyRedirects():
            return SourceError(
                f"The address redirects more than {limits.redirects} times, probably in a loop", where, _CHECK_ADDRESS
            )
        case requests.exceptions.SSLError():
            return SourceError("The server's TLS certificate is not valid", where, "Check the address and your clock.")
        case requests.exceptions.ConnectTimeout():
            what = f"The server did not answer within {limits.connect:.3g} s"
        case requests.exceptions.ReadTimeout():
            what = f"The server sent nothing for {limits.read:.3g} s"
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            what = "The answer broke off or is damaged"
        case requests.exceptions.ConnectionError() if "Read timed out" in str(error):
            what = f"The server sent nothing for {limits.read:.3g} s"
        case requests.exceptions.ConnectionError() if "resolve" in str(error).lower():
            what = "No server of that name is known"
        case requests.exceptions.ConnectionError():
            what = "The server cannot be reached"
        case _:
            return SourceError("This is no address that can be read", where, "Give one that starts with https://.")
    return _TryAgainError(SourceError(what, where, _LATER))
