"""Small web servers on loopback for tests: forward to another one, record what it says, say it again.

with Recorder("http://127.0.0.1:8803") as recorder:   # once, with the real server
    collect(recorder.base)
recorder.save(file)
with Replay(file) as replay:                           # ever after, without it
    collect(replay.base)
"""

import base64
import gzip
import http.client
import json
import re
import socket
import struct
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

SECRET = re.compile(r"token|secret|password|passwd|api[_-]?key|signature|^key$|^sig$|^auth", re.IGNORECASE)
_SECRET_FIELD = re.compile(r'("\w*(?:jwt|token|secret|password)\w*"\s*:\s*)"[^"]*"', re.IGNORECASE)
_KEPT = re.compile(r"content-type|link|x-wp-.*|x-rate-?limit.*|ratelimit.*|retry-after", re.IGNORECASE)
_ADDRESSES = {"link", "location", "content-location"}
_PAGING = {"cursor", "page", "offset", "max_id", "min_id", "since_id", "next_token", "pagetoken", "pagination_token"}
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "upgrade"}


def _is_secret(name: str) -> bool:
    """Whether a header or parameter sounds like a secret; `pageToken` only tells the pages of a list apart."""
    return bool(SECRET.search(name)) and name.lower() not in _PAGING


@dataclass
class Request:
    """What a client asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def public_target(self) -> str:
        """Path and query in a fixed order, without the parameters that sound like secrets."""
        query = sorted(
            pair for pair in parse_qsl(urlsplit(self.target).query, keep_blank_values=True) if not _is_secret(pair[0])
        )
        return self.path + (f"?{urlencode(query)}" if query else "")

    @property
    def is_later_page(self) -> bool:
        """Whether a cursor or a number of a page was given."""
        return any(name.lower() in _PAGING for name, _ in parse_qsl(urlsplit(self.target).query))

    @property
    def list_target(self) -> str:
        """The public target without what tells the pages of one list apart."""
        path, _, query = self.public_target.partition("?")
        kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0].lower() not in _PAGING]
        return path + (f"?{urlencode(kept)}" if kept else "")

    @property
    def has_secret(self) -> bool:
        named = [*self.headers, *(name for name, _ in parse_qsl(urlsplit(self.target).query))]
        return any(_is_secret(name) for name in named)


@dataclass
class Said:
    """What a server answers. `cut` of the body's bytes are sent before the connection is reset."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers.items() if known.lower() == name.lower()), "")


class Loopback:
    """A threaded server at `base`; what it answers is `answer`, which subclasses give."""

    def __init__(self, port: int = 0) -> None:
        self.port, self.base = port, ""
        self.closing = Event()

    def answer(self, request: Request) -> Said:
        raise NotImplementedError

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                said = outer.answer(Request(self.command, self.path, dict(self.headers), body))
                try:
                    self.send_response_only(said.status)
                    if not said.header("Date"):
                        self.send_header("Date", self.date_time_string())
                    for name, value in said.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(said.body)))
                    self.end_headers()
                    self.wfile.write(said.body[: said.cut])
                    if said.cut is not None:
                        self.wfile.flush()
                        # Lingering for no time makes the kernel send a reset instead of a proper end.
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                except OSError:
                    self.close_connection = True  # the client gave up, as the test wants

            do_GET = do_POST = respond  # noqa: N815  the library's names

            def log_message(self, *args: object) -> None:
                pass

        self.closing.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.port = self._server.server_port
        self.base = f"http://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def forward(request: Request, upstream: str) -> Said:
    """What the upstream server (plain http) says to this request, which it believes to be its own."""
    parts = urlsplit(upstream)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
    headers.pop("Accept-Encoding", None)
    try:
        connection.request(request.method, parts.path.rstrip("/") + request.target, request.body or None, headers)
        got = connection.getresponse()
        kept: dict[str, str] = {}
        for name, value in got.getheaders():  # a header given twice is one with a comma
            if name.lower() not in _OF_ONE_HOP:
                kept[name] = f"{kept[name]}, {value}" if name in kept else value
        return Said(got.status, kept, got.read())
    finally:
        connection.close()


def rebase(said: Said, old: tuple[str, ...], new: str, *, bodies: bool = True) -> Said:
    """The answer with the addresses of one server turned into another's: in headers and, for texts, the body."""
    headers, body = dict(said.headers), said.body
    for base in old:
        headers = {
            name: value.replace(base, new) if name.lower() in _ADDRESSES else value for name, value in headers.items()
        }
        if bodies and _is_text(body):
            body = body.replace(base.encode(), new.encode())
            body = body.replace(base.replace("/", "\\/").encode(), new.replace("/", "\\/").encode())
    return Said(said.status, headers, body, said.cut)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in body


class Recorder(Loopback):
    """Stands before a real server and remembers what it said, without what must stay secret.

    `aliases` are other addresses by which the server calls itself (`http://localhost:8808`). Of two
    answers to the same request the later is kept; a POST is known by its address, not by its body.
    """

    def __init__(self, upstream: str, *, aliases: tuple[str, ...] = (), port: int = 0) -> None:
        super().__init__(port)
        self.upstream, self._names = upstream.rstrip("/"), (upstream.rstrip("/"), *aliases)
        self._answers: dict[tuple[str, str], dict[str, Any]] = {}
        self._lock = Lock()

    def answer(self, request: Request) -> Said:
        said = forward(request, self.upstream)
        kept = rebase(said, self._names, "{base}")
        entry: dict[str, Any] = {
            "status": said.status,
            "headers": {name: value for name, value in sorted(kept.headers.items()) if _KEPT.fullmatch(name)},
        }
        if _is_text(kept.body):
            entry["body"] = _SECRET_FIELD.sub(r'\1"recorded"', kept.body.decode())
        else:
            entry["base64"] = base64.b64encode(kept.body).decode()
        with self._lock:
            self._answers[request.method, request.public_target] = entry
        return rebase(said, self._names, self.base)

    def save(self, file: Path) -> None:
        """Write the recording; the same answers give the same bytes."""
        with self._lock:
            answers = [{"method": m, "target": t, **said} for (m, t), said in sorted(self._answers.items())]
        file.write_bytes(gzip.compress(json.dumps(answers, ensure_ascii=False, indent=0).encode(), mtime=0))


class Replay(Loopback):
    """Serves a recording; `missed` lists what was asked and never recorded (answered 404)."""

    def __init__(self, file: Path, *, port: int = 0) -> None:
        super().__init__(port)
        entries = json.loads(gzip.decompress(file.read_bytes()))
        self._answers = {(entry["method"], entry["target"]): entry for entry in entries}
        self.missed: list[str] = []

    def answer(self, request: Request) -> Said:
        entry = self._answers.get((request.method, request.public_target))
        if entry is None:
            self.missed.append(f"{request.method} {request.public_target}")
            return Said(404, {"Content-Type": "application/json"}, b'{"error": "NotRecorded"}')
        body = entry["body"].encode() if "body" in entry else base64.b64decode(entry["base64"])
        return rebase(Said(entry["status"], entry["headers"], body), ("{base}",), self.base)
