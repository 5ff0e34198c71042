"""One polite HTTP client for every connector: patient, bounded, discreet.

It waits where a server asks it to, and before a limit is reached where the server says what is left;
gives up after a bounded time and size; refuses addresses of private networks unless told otherwise;
and turns every failure into a `SourceError` that a user can act on. Secrets in query strings are
masked wherever an address is shown; headers and payloads are never shown.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import requests
from urllib3.exceptions import HTTPError

from sources.answers import SECRET, HttpError, Response, UnreachableError, host_of, mask
from sources.model import SourceError
from sources.private_network import PublicAdapter
from sources.rate_limits import HOSTS, Hosts, read_quotas, retry_after

__all__ = [
    "DEFAULT_LIMITS",
    "Client",
    "Hosts",
    "HttpError",
    "Limits",
    "Response",
    "UnreachableError",
    "mask",
    "user_agent",
]

Answer = TypeVar("Answer")
Query = Mapping[str, str | int] | None
Headers = Mapping[str, str] | None
_CHECK_ADDRESS = "Check the address in a browser, and correct it (in rapport.toml, where it is there)."
_CHECK_API = "Check the address: it must be that of the platform's API. Else try again later."
_LATER = "Try again later; what was collected before is kept."
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ERROR_BODY = 64 * 1024
WORTH_SAYING = 10.0
"""Seconds of a wait that is told; shorter ones are those between attempts, several for every host that is down."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how much the client puts up with. Times in seconds, size in bytes.

    `longest_wait` is more than five minutes, the window of Mastodon's and Bluesky's limits.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0
    attempts: int = 4
    backoff: float = 1.0
    longest_wait: float = 330.0
    redirects: int = 10
    size: int = 50 * 1024 * 1024


DEFAULT_LIMITS = Limits()


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


class _TryAgainError(Exception):
    """A failure that may pass: what it was, how long the server asks to wait, whether an answer had begun."""

    def __init__(self, failure: SourceError, wait: float = 0.0, *, begun: bool = False) -> None:
        super().__init__(failure)
        self.failure, self.wait, self.begun = failure, wait, begun


class _Session(requests.Session):
    """A session whose redirects take no secret to another host, whatever header it is in."""

    def __init__(self, secret: Mapping[str, str]) -> None:
        super().__init__()
        self._secret = set(map(str.lower, secret))

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        old, new = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(old, new):
            for name in list(prepared_request.headers):
                if name.lower() in self._secret or SECRET.search(name):
                    del prepared_request.headers[name]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class Client:
    """Reads addresses, one at a time, within `Limits`. One thread uses a client; `hosts` is shared by all.

    `headers` go with every request (a token) and are never shown. `say` is told of long waits, a line each.
    `sleep`, `now` (monotonic seconds) and `clock` (seconds since 1970) are arguments so that tests need
    not wait.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        headers: Headers = None,
        hosts: Hosts | None = None,
        say: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open a session; close it with `with Client() as client`."""
        self._limits, self._hosts, self._say = limits, HOSTS if hosts is None else hosts, say
        self._sleep, self._now, self._clock = sleep, now, clock
        self._session = _Session(headers or {})
        self._session.headers.update({"User-Agent": user_agent(), **(headers or {})})
        self._session.max_redirects = limits.redirects
        if allow_private:
            self._session.trust_env = False  # a proxy cannot see our private network
        else:
            for scheme in ("http://", "https://"):
                self._session.mount(scheme, PublicAdapter())

    def __enter__(self) -> Self:
        """Nothing to do on entry."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, *, params: Query = None, headers: Headers = None) -> Response:
        """The answer to a GET with status 200 or, for conditional requests, 304.

        Raises `HttpError` for every other status and `UnreachableError` where no complete answer came,
        after the retries that make sense: time-outs, cut connections, cut answers, 429 and 5xx, with
        growing pauses or the ones the server asks for. Both are `SourceError`, as is what remains:
        no address, a private one, too large, too many redirects, a host whose rate limit
        asks for a longer wait than `Limits.longest_wait`.
        """
        return self._patiently(url, lambda: self._get(url, params, headers))

    def get_json(
        self,
        url: str,
        *,
        params: Query = None,
        headers: Headers = None,
        shape: type[dict[Any, Any] | list[Any]] | None = None,
    ) -> tuple[Any, Response]:
        """The JSON that a GET answers, and the answer; `(None, answer)` for a 304.

        What is no JSON, is truncated, or is not of `shape` (`dict` or `list`, of the top level), is asked for again
        like a cut answer. Raises as `get`, and `SourceError` where it stays so.
        """

        def once() -> tuple[Any, Response]:
            response = self._get(url, params, headers)
            return (None if response.status == 304 else _parse(response, shape)), response

        return self._patiently(url, once)

    def post_json(self, url: str, payload: Any, *, headers: Headers = None) -> tuple[Any, Response]:
        """The JSON that a POST of JSON (a login) answers with status 200 or 201, and the answer.

        Sent again only after 429, 5xx and failures before an answer began; redirects are not followed,
        so the payload goes nowhere else. Raises as `get_json`; the payload is in no message.
        """

        def once() -> tuple[Any, Response]:
            try:
                with self._ask("POST", url, None, headers, payload) as (answer, where):
                    response = _response(answer, self._body(answer, where))
                return _parse(response, None), response
            except _TryAgainError as again:
                failure = again.failure if again.begun else None
                if failure is None:
                    raise
            raise failure

        return self._patiently(url, once)

    def stream(
        self,
        url: str,
        *,
        to: BinaryIO,
        params: Query = None,
        headers: Headers = None,
        size: int = 8 * 1024**3,
        total: float = 3600.0,
    ) -> Response:
        """Write the body of a GET to the file `to`, from where it stands, and return the answer without its body.

        At most `size` bytes within `total` seconds. `to` must be seekable: a retry starts over, and
        nothing is left in it after an error. Raises as `get`.
        """
        start = to.tell()

        def once() -> Response:
            to.seek(start)
            to.truncate()
            with self._ask("GET", url, params, headers) as (answer, where):
                to.writelines(self._parts(answer, where, size=size, total=total))
                return _response(answer, b"")

        try:
            return self._patiently(url, once)
        except SourceError:
            to.seek(start)
            to.truncate()
            raise

    def _patiently(self, url: str, once: Callable[[], Answer]) -> Answer:
        failure: SourceError | None = None
        for attempt in range(1, self._limits.attempts + 1):
            self._spare(url)
            try:
                with self._hosts.slot(host_of(url)):
                    return once()
            except _TryAgainError as again:
                failure, wait = again.failure, max(again.wait, self._limits.backoff * 2 ** (attempt - 1))
            except SourceError as error:
                error.__context__ = None
                failure = error
                break
            if wait > self._limits.longest_wait:
                break
            if attempt < self._limits.attempts:
                self._wait(wait, host_of(url), failure.what)
        # Raised here and not inside `except`: the original errors spell out addresses with their secrets.
        assert failure is not None  # noqa: S101  the loop runs at least once
        raise failure

    def _spare(self, url: str) -> None:
        """Wait until the rate limit of the host allows another request."""
        host = host_of(url)
        wait = self._hosts.wait(host, now=self._now())
        if wait > self._limits.longest_wait:
            raise SourceError(f"The server's rate limit is used up for another {wait:.0f} s", mask(url), _LATER)
        if wait > 0:
            self._wait(wait, host, "its rate limit")

    def _wait(self, seconds: float, host: str, why: str) -> None:
        until = self._now() + seconds
        if self._say and seconds >= WORTH_SAYING:
            self._say(f"waiting {seconds:.0f} s for {host}: {why[0].lower()}{why[1:]}")
        self._sleep(seconds)
        self._hosts.waited(host, until=until)

    def _get(self, url: str, params: Query, headers: Headers) -> Response:
        with self._ask("GET", url, params, headers) as (answer, where):
            return _response(answer, self._body(answer, where))

    @contextmanager
    def _ask(
        self, method: str, url: str, params: Query, headers: Headers, payload: Any = None
    ) -> Iterator[tuple[requests.Response, str]]:
        """A successful answer whose body is still to be read, and where it came from."""
        where, begun, failure = mask(url), False, None
        own = {name.lower() for name in (*self._session.headers, *(headers or {}))}
        try:
            with self._session.request(
                method,
                url,
                params=params or {},
                headers=headers or {},
                json=payload,
                # Else requests lets a .netrc replace the token that we were given.
                auth=_as_it_is if "authorization" in own else None,
                allow_redirects=method == "GET",
                stream=True,
                timeout=(self._limits.connect, self._limits.read),
            ) as answer:
                where, begun = mask(answer.url), True
                self._note(answer)
                self._check_status(answer, where)
                yield answer, where
                return
        except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: a redirect to no address
            failure = _explain(error, where, self._limits, begun=begun)
        raise failure

    def _note(self, answer: requests.Response) -> None:
        quotas = read_quotas(answer.headers, clock=self._clock())
        self._hosts.note(host_of(answer.url), quotas, now=self._now())

    def _check_status(self, answer: requests.Response, where: str) -> None:
        status = answer.status_code
        if status in (200, 201, 304):
            return
        wait = 0.0
        if status == 429 or status >= 500:
            wait = retry_after(answer.headers, clock=self._clock())
            asks = f" and asks to wait {wait:.0f} s" if wait else ""
            what, todo = f"The server answers {status}{asks}", _LATER
        elif status in (401, 403):
            what, todo = f"The server refuses access ({status})", "Check the token and the address."
        elif status in (404, 410):
            what, todo = f"There is nothing at this address ({status})", _CHECK_ADDRESS
        else:
            what, todo = f"The server answers {status}", _CHECK_ADDRESS
        error = HttpError(what, where, todo, status=status, headers=answer.headers, body=self._error_body(answer))
        if status == 429 or status >= 500:
            if 0 < wait <= self._limits.longest_wait:
                self._hosts.spare(host_of(answer.url), until=self._now() + wait)
            raise _TryAgainError(error, wait)
        raise error

    def _error_body(self, answer: requests.Response) -> bytes:
        """The beginning of what an error says; nothing where that breaks off, for the status says enough."""
        try:
            return next(answer.iter_content(_ERROR_BODY), b"")
        except (requests.RequestException, HTTPError):
            return b""

    def _body(self, answer: requests.Response, where: str) -> bytes:
        return b"".join(self._parts(answer, where, size=self._limits.size, total=self._limits.total))

    def _parts(self, answer: requests.Response, where: str, *, size: int, total: float) -> Iterator[bytes]:
        started, read = self._now(), 0
        for part in answer.iter_content(64 * 1024):
            read += len(part)
            if read > size:
                raise SourceError(f"The answer is larger than {size // (1024 * 1024)} MiB", where, _CHECK_ADDRESS)
            if self._now() - started > total:
                late = UnreachableError(f"The answer takes longer than {total:.0f} s", where, _LATER)
                raise _TryAgainError(late, begun=True)
            yield part


def _response(answer: requests.Response, body: bytes) -> Response:
    return Response(url=answer.url, status=answer.status_code, headers=answer.headers, body=body)


def _parse(response: Response, shape: type | None) -> Any:
    """The body as JSON. Half of a surrogate pair, which no UTF-8 can hold, becomes a question mark."""
    where, failure = mask(response.url), None
    try:
        said = json.loads(response.body)
        if _SURROGATE.search(response.body):
            said = json.loads(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace"))
        if shape is not None and not isinstance(said, shape):
            kind = "list" if shape is list else "object"
            failure = SourceError(f"The answer is JSON, but no {kind}", where, _CHECK_API)
    except (ValueError, RecursionError):
        failure = SourceError("The answer is no JSON", where, _CHECK_API)
    if failure is not None:
        raise _TryAgainError(failure, begun=True)
    return said


def _explain(error: Exception, where: str, limits: Limits, *, begun: bool) -> SourceError | _TryAgainError:
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
    return _TryAgainError(UnreachableError(what, where, _LATER), begun=begun)
