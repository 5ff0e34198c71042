"""A web server on loopback that says what a test wants, and a warehouse of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dlt
import duckdb
import polars as pl
import pytest

from sources.http import Limits


@dataclass
class Answer:
    """What the server says: status, body, headers; `cut` promises more than it sends."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    wait: float = 0.0


@dataclass
class Asked:
    """A request as the server saw it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Web:
    """`routes` maps a path to an answer, a list of answers in turn, or a function of the request."""

    address: str = ""
    routes: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, request: Asked) -> Answer:
        self.asked.append(request)
        said = self.routes.get(request.path, Answer(status=404))
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        if callable(said):
            said = said(request)
        return said if isinstance(said, Answer) else Answer(said)


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on loopback."""
    site = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = site.answer(Asked(parts.path, query, dict(self.headers), sent))
            body = said.body.encode() if isinstance(said.body, str) else said.body
            if said.wait:
                closing.wait(said.wait)
            try:
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                if said.status != 304:
                    self.send_header("Content-Length", str(len(body) + (100 if said.cut else 0)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                pass  # the client gave up, as the test wants

        do_POST = do_GET  # noqa: N815  the library's name

        def log_message(self, *args: object) -> None:
            pass

    closing = Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def quick() -> Limits:
    """Limits of a test that cannot wait."""
    return Limits(connect=2.0, read=0.3, total=3.0, attempts=2, backoff=0.0, longest_wait=1.0, redirects=4)


@dataclass
class Warehouse:
    """A DuckDB file that a dlt pipeline fills, and what is in it."""

    folder: Path
    name: str

    def load(self, source: Any) -> None:
        """One night's collection, by a fresh pipeline object as in real life."""
        pipeline = dlt.pipeline(
            f"raw_{self.name}",
            pipelines_dir=str(self.folder / "pipelines"),
            destination=dlt.destinations.duckdb(str(self.folder / "warehouse.duckdb")),
            dataset_name=f"raw_{self.name}",
        )
        pipeline.run(source, loader_file_format="parquet")

    def table(self, name: str) -> pl.DataFrame:
        """The raw table."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.sql(f"from raw_{self.name}.{name}").pl()

    def reading(self, stream: str) -> dict[str, Any]:
        """The newest reading of a stream."""
        rows = self.table("readings").filter(stream=stream).sort("read_at")
        return rows.row(-1, named=True)


@pytest.fixture
def warehouse(tmp_path: Path) -> Callable[[str], Warehouse]:
    """A new warehouse for a source."""
    return lambda name: Warehouse(tmp_path, name)


@pytest.fixture
def night() -> Callable[[int], datetime]:
    """The time of the reading in a night of 2024-05."""
    return lambda day: datetime(2024, 5, day, 3, 0, tzinfo=UTC)


@pytest.fixture
def answer() -> type[Answer]:
    """The answers of the server."""
    return Answer
