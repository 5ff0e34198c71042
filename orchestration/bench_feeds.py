"""A web of feeds on loopback: many hosts, each with a few accounts' feeds, some of them slow, broken or gone.

`rapport bench` and the tests collect from it. It runs in a process of its own, so that what the collector
takes can be measured apart: `with Web(hosts=100, feeds=1000) as web: web.url(7)`.
"""

import asyncio
import json
import resource
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.request import urlopen

ITEMS = 20
"""Posts of a feed."""
SLOW = 0.25
"""Seconds that a slow host thinks."""
SILENT = 1.5
"""Seconds after which a silent host hangs up without a word."""
KINDS = ("good", "good", "good", "good", "slow", "good", "limited", "dead", "malformed", "silent")
"""What hosts are like in turn, where the web has troubles."""
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_TEXT = "What somebody wrote on a weblog, of the length that a paragraph has in most of them. " * 4


def host_of(feed: int, hosts: int) -> int:
    """The host that a feed is on."""
    return feed % hosts


def address(host: int) -> str:
    """The loopback address of a host: all of 127.0.0.0/8 is this machine.

    >>> address(0), address(300)
    ('127.1.0.1', '127.1.1.51')
    """
    return f"127.1.{host // 250}.{host % 250 + 1}"


def kind_of(host: int, *, has_troubles: bool) -> str:
    """What a host is like.

    >>> kind_of(7, has_troubles=True), kind_of(7, has_troubles=False)
    ('dead', 'good')
    """
    return KINDS[host % len(KINDS)] if has_troubles else "good"


def items_of(feed: int) -> list[tuple[str, datetime]]:
    """The id and the time of each post of a feed."""
    return [(f"{feed}-{n}", _FIRST + timedelta(hours=feed % 97, days=n)) for n in range(ITEMS)]


def body_of(feed: int) -> tuple[str, bytes]:
    """A feed as its media type and its text: half of them are JSON Feeds, half RSS."""
    if feed % 2:
        posts = "".join(
            f"<item><guid>{name}</guid><pubDate>{at:%a, %d %b %Y %H:%M:%S} GMT</pubDate><description>{_TEXT}</description></item>"
            for name, at in items_of(feed)
        )
        text = (
            f"<rss version='2.0'><channel><title>{feed}</title><link>http://blog.example/</link>{posts}</channel></rss>"
        )
        return "application/rss+xml", text.encode()
    items = [{"id": name, "date_published": at.isoformat(), "content_text": _TEXT} for name, at in items_of(feed)]
    said = {"version": "https://jsonfeed.org/version/1.1", "title": str(feed), "items": items}
    return "application/feed+json", json.dumps(said).encode()


class Web:
    """The server, in a process of its own, for as long as the block lasts."""

    def __init__(self, *, hosts: int, feeds: int, has_troubles: bool = False) -> None:
        """`feeds` feeds on `hosts` hosts; with `has_troubles`, hosts are of all `KINDS`."""
        self.hosts, self.feeds, self.has_troubles, self.port = hosts, feeds, has_troubles, 0

    def __enter__(self) -> Self:
        """Start it."""
        command = [sys.executable, "-m", "orchestration.bench_feeds", str(self.hosts), str(int(self.has_troubles))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101  a pipe was asked for
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()

    def url(self, feed: int) -> str:
        """The address of a feed."""
        return f"http://{address(host_of(feed, self.hosts))}:{self.port}/{feed}"

    def kind(self, feed: int) -> str:
        """What the host of a feed is like."""
        return kind_of(host_of(feed, self.hosts), has_troubles=self.has_troubles)

    def seen(self) -> dict[str, int]:
        """What the server has seen: `requests`, and the most at once of one host (`at_once`) and of all (`together`)."""
        with urlopen(f"http://{address(0)}:{self.port}/seen", timeout=30) as answer:
            found: dict[str, int] = json.load(answer)
        return found


class _Server:
    """Answers, and counts how many requests run at once."""

    def __init__(self, hosts: int, *, has_troubles: bool) -> None:
        self.hosts, self.has_troubles = hosts, has_troubles
        self.running: Counter[int] = Counter()
        self.asked: Counter[str] = Counter()
        self.at_once = self.together = self.requests = 0

    async def run(self) -> None:
        first = await self._listen(0, 0)
        port = first.sockets[0].getsockname()[1]
        others = [n for n in range(1, self.hosts) if kind_of(n, has_troubles=self.has_troubles) != "dead"]
        servers = [first, *[await self._listen(host, port) for host in others]]
        print(port, flush=True)
        await asyncio.gather(*(server.serve_forever() for server in servers))

    async def _listen(self, host: int, port: int) -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: self._serve(host, r, w), address(host), port, backlog=64)

    async def _serve(self, host: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(host, head.decode("latin-1"), writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, host: int, head: str, writer: asyncio.StreamWriter) -> None:
        path = head.split(" ", 2)[1]
        if path == "/seen":
            said = {"requests": self.requests, "at_once": self.at_once, "together": self.together}
            self._say(writer, "200 OK", "application/json", json.dumps(said).encode())
            return
        self.requests += 1
        self.asked[path] += 1
        kind = kind_of(host, has_troubles=self.has_troubles)
        if kind == "silent":  # not counted as running: who asked may have given up long ago
            await asyncio.sleep(SILENT)
            raise ConnectionResetError
        self.running[host] += 1
        self.at_once = max(self.at_once, self.running[host])
        self.together = max(self.together, self.running.total())
        try:
            await self._say_feed(kind, path, head, writer)
        finally:
            self.running[host] -= 1

    async def _say_feed(self, kind: str, path: str, head: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(SLOW if kind == "slow" else 0.005)
        if kind == "limited" and self.asked[path] == 1:
            self._say(writer, "429 Too Many Requests", "text/plain", b"", "Retry-After: 1\r\n")
        elif kind == "malformed":
            self._say(writer, "200 OK", "application/feed+json", b'{"version": "https://jsonfeed.org/ver')
        elif f'if-none-match: "{path}"' in head.lower():
            self._say(writer, "304 Not Modified", "text/plain", b"")
        else:
            media, body = body_of(int(path[1:]))
            self._say(writer, "200 OK", media, body, f'ETag: "{path}"\r\n')
        await writer.drain()

    def _say(self, writer: asyncio.StreamWriter, status: str, media: str, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        writer.write(head.encode() + body)


def _main() -> None:
    hosts, has_troubles = int(sys.argv[1]), bool(int(sys.argv[2]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000) if most > 0 else 20_000, most))
    asyncio.run(_Server(hosts, has_troubles=has_troubles).run())


if __name__ == "__main__":
    _main()
