"""Serves a folder of real or invented data in the shape of webmention.io's API, and its feed, on loopback."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    """`/api/mentions.jf2` with domain, token, per-page, page, since_id and sort-dir; `/feed.json` as it is."""

    folder: Path
    token: str
    requests: list[str]

    def do_GET(self) -> None:
        """Answer one request."""
        address = urlsplit(self.path)
        self.requests.append(self.path)
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if address.path == "/feed.json":
            self._send(200, (self.folder / "feed.json").read_bytes(), "application/feed+json")
        elif address.path != "/api/mentions.jf2":
            self._send(404, b"{}", "application/json")
        elif asked.get("token") != self.token:
            self._send(401, b'{"error":"invalid_token"}', "application/json")
        else:
            self._send(200, json.dumps(self._mentions(asked)).encode(), "application/json")

    def _mentions(self, asked: dict[str, str]) -> dict[str, object]:
        children = json.loads((self.folder / "mentions.jf2.json").read_text(encoding="utf-8"))["children"]
        since, size, page = int(asked.get("since_id", 0)), int(asked.get("per-page", 20)), int(asked.get("page", 0))
        rows = [child for child in children if child["wm-id"] > since]
        rows.sort(key=lambda child: child["wm-id"], reverse=asked.get("sort-dir", "down") == "down")
        return {"type": "feed", "name": "Webmentions", "children": rows[page * size : (page + 1) * size]}

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay quiet."""


@contextmanager
def serving(folder: Path, *, token: str = "secret") -> Iterator[tuple[str, list[str]]]:
    """The address of a server of `folder`, and the requests it has had."""
    requests: list[str] = []
    handler = type("FolderHandler", (Handler,), {"folder": folder, "token": token, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
