"""An X of invented people on loopback, in the shape that the public documentation of the API v2 describes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token"
ME = "100"
PEOPLE = {ME: "me", "1": "ann", "2": "bob", "3": "eve"}
START = datetime(2024, 5, 1, 12, tzinfo=UTC)
PAGE = 5
"""Items a page at most, whatever is asked for."""
_ZERO = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)


def post_id(days: float, number: int = 0) -> str:
    """The id of a post of that day: it holds its time."""
    return str((int((START + timedelta(days=days) - _ZERO).total_seconds() * 1000) << 22) + number)


@dataclass
class Post:
    """A post, whom it answers (id, author) or shares or quotes, and whom it names."""

    id: str
    author: str = ME
    text: str = "text"
    replied_to: tuple[str, str] | None = None
    retweeted: tuple[str, str] | None = None
    quoted: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    root: str = ""
    likes: list[str] = field(default_factory=list)
    reposts: list[str] = field(default_factory=list)


@dataclass
class X:
    """What there is. From request `fail_after` on every answer is `failure` (status, title); `hidden` paths are refused."""

    posts: list[Post] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    returned: int = 0
    fail_after: int | None = None
    failure: tuple[int, str] = (402, "CreditsDepleted")
    hidden: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    address: str = ""

    def answer(self, path: str, asked: dict[str, str], token: str | None) -> tuple[int, dict[str, Any]]:
        self.requests.append((path, asked))
        if token != f"Bearer {TOKEN}":
            return 401, {"title": "Unauthorized", "type": "about:blank", "status": 401}
        if self.fail_after is not None and len(self.requests) > self.fail_after:
            return self.failure[0], {"title": self.failure[1], "type": "about:blank", "detail": "..."}
        if path.rpartition("/")[2] in self.hidden:
            return 403, {"title": "Client Forbidden", "type": "about:blank"}
        said = self._said(path.strip("/").split("/")[1:], asked)
        self.returned += sum(
            len(part) if isinstance(part, list) else 1
            for part in (said.get("data", []), *said.get("includes", {}).values())
        )
        return 200, said

    def _said(self, path: list[str], asked: dict[str, str]) -> dict[str, Any]:  # noqa: PLR0911 - one an endpoint
        match path:
            case ["users", "by", "username", name]:
                return {"data": self._user(ME)} if name == "me" else missing("username", name)
            case ["users", _, "tweets"]:
                return self._timeline([p for p in self.posts if p.author == ME], asked, 5, "tweets")
            case ["users", _, "mentions"]:
                to_me = [
                    p for p in self.posts if p.author != ME and (ME in p.names or (p.replied_to or ("", ""))[1] == ME)
                ]
                return self._timeline(to_me, asked, 5, "users")
            case ["tweets"]:
                wanted = asked["ids"].split(",")
                found = [self._post(p) for p in self.posts if p.id in wanted]
                lost = [i for i in wanted if i not in {p["id"] for p in found}]
                return (
                    {"data": found, "errors": [missing("id", i)["errors"][0] for i in lost]}
                    if lost
                    else {"data": found}
                )
            case ["tweets", post, "quote_tweets"]:
                quotes = [p for p in self.posts if (p.quoted or ("",))[0] == post]
                return self._timeline(quotes, asked, 10, "users")
            case ["tweets", post, which]:
                found_post = next((p for p in self.posts if p.id == post), None)
                if found_post is None:
                    return missing("id", post)
                people = found_post.likes if which == "liking_users" else found_post.reposts
                return page([self._user(person) for person in people], asked, 1)
        return missing("path", "/".join(path))

    def _timeline(self, posts: list[Post], asked: dict[str, str], least: int, include: str) -> dict[str, Any]:
        kept = [p for p in posts if int(asked.get("since_id", 0)) < int(p.id) < int(asked.get("until_id", 10**30))]
        kept.sort(key=lambda p: -int(p.id))
        said = page([self._post(p) for p in kept], asked, least)
        shown = {p["id"] for p in said.get("data", [])}
        if include == "users":
            authors = sorted({p.author for p in kept if p.id in shown})
            included = [self._user(author) for author in authors]
        else:
            refs = [r for p in kept if p.id in shown for r in (p.retweeted, p.quoted, p.replied_to) if r]
            included = [{"id": post, "author_id": author, "text": "..."} for post, author in dict.fromkeys(refs)]
        return {**said, "includes": {include: included}} if included else said

    def _user(self, user_id: str) -> dict[str, Any]:
        name = PEOPLE.get(user_id, f"fan{user_id}")
        more = {"public_metrics": {"followers_count": 7, "following_count": 3, "tweet_count": len(self.posts)}}
        return {"id": user_id, "username": name, "name": name.title(), "created_at": "2020-01-01T00:00:00.000Z", **more}

    def _post(self, post: Post) -> dict[str, Any]:
        at = _ZERO + timedelta(milliseconds=int(post.id) >> 22)
        kinds = {"replied_to": post.replied_to, "retweeted": post.retweeted, "quoted": post.quoted}
        refs = [{"type": kind, "id": ref[0]} for kind, ref in kinds.items() if ref]
        numbers = {
            "like_count": len(post.likes),
            "retweet_count": len(post.reposts),
            "quote_count": sum((p.quoted or ("",))[0] == post.id for p in self.posts),
            "reply_count": sum((p.replied_to or ("",))[0] == post.id for p in self.posts),
            "impression_count": 50,
        }
        said = {
            "id": post.id,
            "author_id": post.author,
            "text": post.text,
            "created_at": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conversation_id": post.root or post.id,
            "public_metrics": numbers,
            "lang": "en",
            "new_field": {"a": 1},
            "entities": {"mentions": [{"id": name, "username": PEOPLE[name]} for name in post.names]},
        }
        said |= {"referenced_tweets": refs} if refs else {}
        return {**said, "in_reply_to_user_id": post.replied_to[1]} if post.replied_to else said


def page(items: list[Any], asked: dict[str, str], least: int) -> dict[str, Any]:
    """A page of a list; too small a `max_results` is refused as X does."""
    size = int(asked["max_results"])
    assert least <= size <= 100, size
    start = int(asked.get("pagination_token", "t0")[1:])
    end = start + min(size, PAGE)
    more = {"next_token": f"t{end}"} if end < len(items) else {}
    shown = items[start:end]
    return {**({"data": shown} if shown else {}), "meta": {"result_count": len(shown), **more}}


def missing(parameter: str, value: str) -> dict[str, Any]:
    """The answer of X about what does not exist: 200, and the error inside."""
    problem = {
        "title": "Not Found Error",
        "type": "https://api.twitter.com/2/problems/resource-not-found",
        "parameter": parameter,
        "value": value,
        "resource_id": value,
        "detail": f"Could not find [{value}].",
    }
    return {"errors": [problem]}


@contextmanager
def serving(x: X) -> Iterator[X]:
    """`x`, answering at its `address`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            status, said = x.answer(parts.path, asked, self.headers.get("Authorization"))
            body = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **x.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    x.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield x
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def community() -> X:
    """Own posts of two weeks and what happened around them, in both directions."""
    own = [
        Post(post_id(day), likes=["1", "2", "3"][: day % 4], reposts=["2"] if day % 5 == 0 else []) for day in range(14)
    ]
    root = own[10].id
    talk = [
        Post(post_id(10.1, 1), "1", "Nice", replied_to=(root, ME), root=root, names=(ME,)),
        Post(post_id(10.2, 2), ME, "Thanks", replied_to=(post_id(10.1, 1), "1"), root=root, names=("1",)),
        Post(post_id(10.3, 3), "1", "Welcome", replied_to=(post_id(10.2, 2), ME), root=root, names=(ME,)),
        Post(post_id(10.4, 4), "2", "to ann, and you", replied_to=(post_id(10.1, 1), "1"), root=root, names=("1", ME)),
        Post(post_id(11.1, 5), "3", "look", names=(ME,)),
        Post(post_id(11.2, 6), "3", "as they say", quoted=(own[11].id, ME)),
        Post(post_id(11.3, 7), ME, "", retweeted=("9000", "2"), names=("2",)),
        Post(post_id(11.4, 8), ME, "see", quoted=("9001", "3")),
        Post(post_id(11.5, 9), ME, "hello", names=("1",)),
    ]
    return X(posts=own + talk)
