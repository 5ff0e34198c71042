#!/usr/bin/env python3
"""Fills a new Ghost through its own APIs: ten months of posts, members, threaded comments, own answers.

seed.py http://127.0.0.1:2368 STATE  ->  STATE/keys.json (the keys of an integration), STATE/truth.json (what there is).
"""

import contextlib
import http.cookiejar
import json
import sqlite3
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from sources.ghost_api import signed

OWNER = {"name": "Ann", "email": "ann@example.test", "password": "seventeen wet larches", "blogTitle": "Slow Letters"}
NAMES = ("Bo", "Cy", "Dee", "Élan", "Fay", "غزالة", "Gus \N{ROCKET}", "Hal", "Ida", "Jo", "Kim", "Lou")
MEMBERS = 105
"""More than a page of a list."""


class Ghost:
    """The Admin API, by the owner's session until there is a key."""

    def __init__(self, base: str) -> None:
        self.base, self.key = base, ""
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; an empty one is None."""
        headers = {"Content-Type": "application/json", "Origin": self.base, "Accept-Version": "v5.0"}
        if self.key:
            headers["Authorization"] = f"Ghost {signed(self.key, datetime.now(UTC).timestamp())}"  # noqa: TID251
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/ghost/api/admin/{path}", data, headers, method=method)
        with self.opener.open(request, timeout=60) as answer:
            said = answer.read()
        return json.loads(said) if said[:1] in (b"{", b"[") else None

    def add(self, kind: str, query: str = "", **fields: Any) -> dict[str, Any]:
        """A new thing of a kind, as Ghost then shows it."""
        added: dict[str, Any] = self.ask("POST", f"{kind}/{query}", {kind: [fields]})[kind][0]
        return added


def main(base: str, state: Path) -> None:
    """Set the site up, and fill it."""
    ghost = Ghost(base)
    ghost.ask("POST", "authentication/setup/", {"setup": [OWNER]})
    ghost.ask("POST", "session/", {"username": OWNER["email"], "password": OWNER["password"]})
    ghost.ask("PUT", "settings/", {"settings": [{"key": "comments_enabled", "value": "all"}]})
    keys = ghost.add("integrations", "?include=api_keys", name="rapport")["api_keys"]
    said = {key["type"]: key["secret"] for key in keys}
    ghost.key = said["admin"]
    for post in ghost.ask("GET", "posts/?limit=100")["posts"]:
        ghost.ask("DELETE", f"posts/{post['id']}/")
    truth = fill(ghost)
    backdate(state / "data" / "ghost.db", truth["members"])
    (state / "keys.json").write_text(json.dumps(said))
    (state / "truth.json").write_text(json.dumps(truth, indent=1))


def backdate(database: Path, members: list[dict[str, Any]]) -> None:
    """When the members joined: the API takes that for comments and posts, not for members."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for member in members:
            when = member["created_at"][:19].replace("T", " ")
            connection.execute("update members set created_at = ? where id = ?", (when, member["id"]))


def fill(ghost: Ghost) -> dict[str, Any]:
    """Posts, members and comments; what came of them."""
    start = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=300)  # noqa: TID251
    at = lambda days, hours=0: (start + timedelta(days=days, hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")  # noqa: E731
    truth: dict[str, Any] = {"posts": [], "members": [], "comments": [], "hidden": [], "between": []}
    members = []
    for n in range(MEMBERS):
        name = NAMES[n] if n < len(NAMES) else f"Reader {n}"
        member = ghost.add("members", name=name, email=f"reader{n}@example.test", created_at=at(n, 1))
        members.append(member["id"])
        truth["members"].append({"id": member["id"], "name": name, "created_at": at(n, 1)})
    ann = ghost.add("members", name="Ann", email=OWNER["email"], created_at=at(0))["id"]
    truth["ann"] = ann
    truth["members"].append({"id": ann, "name": "Ann", "created_at": at(0)})
    posts = []
    for n in range(24):
        visibility = "members" if n % 6 == 5 else "public"
        post = ghost.add(
            "posts", "?source=html", title=f"Letter {n}", status="published", visibility=visibility,
            published_at=at(12 * n), html=f'<p>Letter {n} with a <a href="https://else.example/{n}">link</a>.</p>',
        )  # fmt: skip
        posts.append(post["id"])
        truth["posts"].append(
            {"id": post["id"], "url": post["url"], "published_at": at(12 * n), "visibility": visibility}
        )
    ghost.add("posts", "?source=html", title="A draft", html="<p>Not yet.</p>")

    talk(ghost, truth, at, posts, members)
    return truth


def talk(ghost: Ghost, truth: dict[str, Any], at: Callable[..., str], posts: list[str], members: list[str]) -> None:
    """Comments, answers to them, and two that the staff hides."""
    ann = truth["ann"]

    def say(post: int, member: str, hours: float, answers: str | None = None, thread: str | None = None) -> str:
        when = at(12 * post, hours)
        fields: dict[str, Any] = {"post_id": posts[post], "member_id": member, "created_at": when}
        if thread:
            fields |= {"parent_id": thread, "in_reply_to_id": answers if answers != thread else None}
        comment: str = ghost.add("comments", html="<p>Well said \N{WHITE HEART SUIT}.</p>", **fields)["id"]
        truth["comments"].append(
            {"id": comment, "post": posts[post], "member": member, "created_at": when, "answers": answers}
        )
        return comment

    for n in range(24):
        for k in range(n % 4):
            top = say(n, members[(3 * n + k) % 12], 2 + k)
            if k == 0:
                mine = say(n, ann, 20, top, top)
                say(n, members[(3 * n) % 12], 21, mine, top)
            if k == 1:
                truth["between"].append(say(n, members[(3 * n + 5) % 12], 22, top, top))
            if k == 2:
                for more in range(5):  # a comment shows its first answers only
                    say(n, ann, 23 + more, top, top)
    for _ in range(2):
        hidden = say(22, members[1], 30)
        ghost.ask("PUT", f"comments/{hidden}/", {"comments": [{"id": hidden, "status": "hidden"}]})
        truth["hidden"].append(hidden)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
