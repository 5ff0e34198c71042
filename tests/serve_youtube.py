"""A YouTube of invented channels on loopback, in the shape that the public documentation of the Data API v3 describes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "a-key"
ME = "UC" + "m" * 22
START = datetime(2024, 5, 1, 12, tzinfo=UTC)
PAGE = 3
"""Items a page, whatever is asked for: small, so that small lists have several pages."""


def person(name: str) -> str:
    """The channel of a person."""
    return ME if name == "me" else "UC" + (name * 22)[:22]


@dataclass
class Video:
    """A video: what was said below it, each with its answers, as (id, who, text)."""

    id: str
    days: int = 0
    comments: list[tuple[str, str, str]] = field(default_factory=list)
    replies: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    is_disabled: bool = False
    is_listed: bool = True
    views: int = 10

    @property
    def count(self) -> int:
        return len(self.comments) + sum(map(len, self.replies.values()))


@dataclass
class YouTube:
    """What there is, and what is refused: `fail_after` requests every answer is `failure` (status, reason)."""

    videos: list[Video] = field(default_factory=list)
    followers: int | None = 1_230
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    fail_after: int | None = None
    failure: tuple[int, str] = (403, "quotaExceeded")
    address: str = ""

    def paths(self) -> list[str]:
        """What was asked for, without its parameters."""
        return [path for path, _ in self.requests]

    def answer(self, path: str, asked: dict[str, str], key: str | None) -> tuple[int, dict[str, Any]]:
        self.requests.append((path, asked))
        self.keys.append(key)
        if key != KEY:
            return error(400, "API_KEY_INVALID")
        if self.fail_after is not None and len(self.requests) > self.fail_after:
            return error(*self.failure)
        return getattr(self, f"_{path}", lambda _: error(404, "notFound"))(asked)

    def _channels(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if asked.get("forHandle") != "@me" and asked.get("id") != ME:
            return 200, {"items": []}
        hidden = {"hiddenSubscriberCount": self.followers is None}
        shown = {} if self.followers is None else {"subscriberCount": str(self.followers)}
        item = {
            "id": ME,
            "snippet": {"title": "Me", "customUrl": "@me", "publishedAt": "2020-02-02T00:00:00Z"},
            "statistics": {"viewCount": "99", "videoCount": str(len(self.videos)), **hidden, **shown},
            "contentDetails": {"relatedPlaylists": {"uploads": "UU" + ME[2:]}},
        }
        return 200, {"items": [item]}

    def _playlistItems(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:  # noqa: N802
        if not self.videos:
            return error(404, "playlistNotFound")
        newest = sorted(self.videos, key=lambda v: v.days, reverse=True)
        return 200, page([{"contentDetails": {"videoId": video.id}} for video in newest], asked)

    def _videos(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        wanted = asked["id"].split(",")
        return 200, {"items": [_video(v) for v in self.videos if v.id in wanted and v.is_listed]}

    def _commentThreads(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:  # noqa: N802
        video = next((v for v in self.videos if v.id == asked["videoId"]), None)
        if video is None:
            return error(404, "videoNotFound")
        if video.is_disabled:
            return error(403, "commentsDisabled")
        threads = [_thread(video, n) for n in reversed(range(len(video.comments)))]
        return 200, page(threads, asked)

    def _comments(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        for video in self.videos:
            if asked["parentId"] in video.replies:
                replies = video.replies[asked["parentId"]]
                return 200, page([_comment(r, video, 100 + n) for n, r in enumerate(replies)], asked)
        return error(404, "commentNotFound")


def _video(video: Video) -> dict[str, Any]:
    at = (START + timedelta(days=video.days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    counts = {"viewCount": str(video.views), "likeCount": "2"}
    counts |= {} if video.is_disabled else {"commentCount": str(video.count)}
    return {
        "id": video.id,
        "snippet": {"title": f"Video {video.id}", "description": "مرحبا 🎈", "publishedAt": at, "newField": {"a": 1}},
        "statistics": counts,
    }


def _comment(said: tuple[str, str, str], video: Video, minute: int) -> dict[str, Any]:
    comment_id, who, text = said
    at = (START + timedelta(days=video.days, minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
    author = {"authorDisplayName": f"@{who}", "authorChannelId": {"value": person(who)}}
    return {"id": comment_id, "snippet": {**author, "textDisplay": text, "publishedAt": at}}


def _thread(video: Video, number: int) -> dict[str, Any]:
    top = video.comments[number]
    replies = [_comment(r, video, 100 + n) for n, r in enumerate(video.replies.get(top[0], []))]
    shown = {"replies": {"comments": replies[:2]}} if replies else {}
    snippet = {"videoId": video.id, "topLevelComment": _comment(top, video, number), "totalReplyCount": len(replies)}
    return {"id": top[0], "snippet": snippet, **shown}


def page(items: list[Any], asked: dict[str, str]) -> dict[str, Any]:
    """A page of a list, and the token of the next."""
    start = int(asked.get("pageToken", "t0")[1:])
    more = {"nextPageToken": f"t{start + PAGE}"} if start + PAGE < len(items) else {}
    return {"items": items[start : start + PAGE], **more}


def error(status: int, reason: str) -> tuple[int, dict[str, Any]]:
    """An error as Google writes them: old reasons in `errors`, new ones in `details`."""
    if reason.isupper():
        return status, {
            "error": {"code": status, "errors": [{"reason": "badRequest"}], "details": [{"reason": reason}]}
        }
    return status, {"error": {"code": status, "message": "...", "errors": [{"domain": "youtube", "reason": reason}]}}


@contextmanager
def serving(youtube: YouTube) -> Iterator[YouTube]:
    """`youtube`, answering at its `address`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            status, said = youtube.answer(parts.path.strip("/"), asked, self.headers.get("X-Goog-Api-Key"))
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    youtube.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield youtube
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def community() -> YouTube:
    """Five videos: talk in both directions, answers among others, many answers, comments switched off."""
    talk = Video(
        "v-talk", 4,
        comments=[("t1", "ann", "Lovely"), ("t2", "bob", "How?"), ("t3", "me", "Pinned"), ("t4", "eve", "hi")],
        replies={
            "t1": [("t1.1", "me", "Thanks"), ("t1.2", "ann", "Welcome"), ("t1.3", "bob", "@ann me too"), ("t1.4", "me", "@bob and you"), ("t1.5", "bob", "@me sure")],
            "t2": [("t2.1", "ann", "@bob like this")],
            "t3": [("t3.1", "eve", "First"), ("t3.2", "me", "@eve hello")],
            "t4": [("t4.1", "bob", "hey eve")],
        },
    )  # fmt: skip
    many = Video("v-many", 3, comments=[(f"m{n}", f"fan{n}", "yes") for n in range(7)])
    more = Video("v-more", 2, comments=[(f"o{n}", f"fan{n}", "no") for n in range(4)])
    quiet, closed = Video("v-quiet", 1), Video("v-closed", 0, comments=[("c1", "ann", "x")], is_disabled=True)
    return YouTube(videos=[talk, many, more, quiet, closed])
