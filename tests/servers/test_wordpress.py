"""WordPress itself on loopback: what is collected is what its seed did; what changes there is all that changes here."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import requests
from collected import Store
from servers import state

from assets.staging import wordpress as staging
from sources import wordpress
from sources.model import AccountSource

pytestmark = pytest.mark.servers("wordpress")

NIGHT = datetime(2027, 1, 10, 3, tzinfo=UTC)
API = f"{state.WORDPRESS}/wp-json/wp/v2"
SEEN = ("interaction", "direction", "kind", "person", "post", "in_reply_to", "occurred_at")


def logins() -> dict[str, str]:
    found: dict[str, str] = json.loads((state.STATE / "wordpress" / "app-passwords.json").read_text())
    return found


def account(*, login: bool = False, path: str = "/", token: str | None = None) -> AccountSource:
    token = f"alice:{logins()['alice']}" if login else token
    return AccountSource(
        account_id="blog", source="wordpress", url=state.WORDPRESS + path, allow_private=True,
        options={"token": token} if token else {},
    )  # fmt: skip


def collect(store: Store, *, nights: int = 0, **kind: Any) -> dict[str, pl.DataFrame]:
    store.collect(wordpress, [account(**kind)], read_at=NIGHT + timedelta(days=nights))
    return store.staged(staging)


def person(name: str) -> str:
    """Who the seed's reader is: the address that every one gave; alice commented with her login."""
    return "user:1" if name == "alice" else f"{name.lower().replace(' ', '-')}.example.test"


def expected(truth: dict[str, Any]) -> set[tuple[Any, ...]]:
    """The seed's comments as interactions."""
    author = {comment["id"]: comment["author"] for comment in truth["comments"]}
    rows = set()
    for comment in truth["comments"]:
        answered = author.get(comment["parent"])
        is_answer = comment["author"] == "alice" and answered not in (None, "alice")
        rows.add(
            (
                str(comment["id"]),
                "outbound" if is_answer else "inbound",
                "reply",
                person(answered if is_answer else comment["author"]),
                str(comment["post"]),
                str(comment["parent"]) if comment["parent"] else None,
                moment(comment["date_gmt"]),
            )
        )
    return rows


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows(frame: pl.DataFrame, *names: str) -> set[tuple[Any, ...]]:
    found = list(frame.select(names).iter_rows())
    assert len(found) == len(set(found))
    return set(found)


def outcomes(tables: dict[str, pl.DataFrame]) -> dict[str, str]:
    newest = tables["readings"].sort("read_at").group_by("stream", maintain_order=True).last()
    return dict(newest.select("stream", "status").iter_rows())


def test_the_first_collection_is_the_truth(server):
    tables = collect(Store())
    posts = {(post, moment(said["date_gmt"])) for post, said in server["posts"].items()}
    assert (len(posts), len(server["comments"])) == (43, 131)
    hidden = (str(server["special"]["password"]), moment(server["from"][:19]))
    assert rows(tables["posts"], "post", "published_at") == posts | {hidden}
    assert rows(tables["interactions"], *SEEN) == expected(server)
    assert tables["posts"]["deleted_at"].null_count() == 44
    assert tables["interactions"]["retracted_at"].null_count() == 131
    assert tables["interactions"]["is_time_known"].all()
    assert tables["quarantine"].is_empty()
    assert outcomes(tables) == {"posts": "ok", "inbound": "ok", "outbound": "ok", "counters": "not_offered"}
    oldest = min(published for _, published in posts | {hidden})
    assert set(tables["readings"]["covers_from"].drop_nulls()) == {oldest}


def test_people_are_counted_as_the_seed_did(server):
    found = collect(Store())["interactions"]
    inbound, outbound = (
        dict(found.filter(direction=way).group_by("person").len().iter_rows()) for way in ("inbound", "outbound")
    )
    readers = {name: said for name, said in server["people"].items() if name != "alice"}
    assert inbound == {person(name): said["comments"] for name, said in readers.items()}
    answered = {person(name): said["answered_by_alice"] for name, said in readers.items() if said["answered_by_alice"]}
    assert outbound == answered


def test_a_password_post_has_no_text(server):
    posts = collect(Store())["posts"]
    hidden = posts.filter(post=str(server["special"]["password"])).row(0, named=True)
    assert (hidden["words"], hidden["links"]) == (None, None)
    assert posts["words"].null_count() == 1


def test_a_login_adds_the_pingback_and_nothing_else(server):
    tables = collect(Store(), login=True)
    pingback = str(server["special"]["pingback"])
    assert rows(tables["interactions"].filter(pl.col("interaction") != pingback), *SEEN) == expected(server)
    found = tables["interactions"].filter(interaction=pingback).row(0, named=True)
    assert (found["kind"], found["direction"], found["person"]) == ("mention", "inbound", "other-blog.example.test")
    assert tables["posts"].height == 44


def test_a_refused_login_costs_the_pingbacks_only(server):
    tables = collect(Store(), token="alice:this is no password")
    assert rows(tables["interactions"], *SEEN) == expected(server)
    assert outcomes(tables) == {"posts": "ok", "inbound": "partial", "outbound": "ok", "counters": "not_offered"}
    reason = " ".join(tables["readings"]["reason"].drop_nulls())
    assert "application password" in reason
    assert "this is no password" not in reason


def test_an_author_is_an_account(server):
    tables = collect(Store(), path="/author/bob/")
    posts = {post for post, said in server["posts"].items() if said["author"] == "bob"}
    assert set(tables["posts"]["post"]) == posts
    # Alice answers readers there: that is between them and her. Only what answers the post is bob's.
    wanted = {row for row in expected(server) if row[4] in posts and row[1] == "inbound" and row[5] is None}
    assert rows(tables["interactions"], *SEEN) == wanted


@pytest.fixture
def api(server) -> Iterator["Api"]:
    """The site's REST API as alice, who may do everything; the site is as seeded again afterwards."""
    yield Api()
    state.start_wordpress()


class Api:
    def __call__(self, method: str, path: str, **said: Any) -> dict[str, Any]:
        answer = requests.request(method, f"{API}/{path}", json=said or None, auth=("alice", logins()["alice"]))
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def comment(self, post: str, name: str, **more: Any) -> str:
        """An approved comment of a reader."""
        who = {"author_name": name, "author_email": f"{name.replace(chr(32), chr(45))}@example.test".lower()}
        return str(self("POST", "comments", post=int(post), content=f"{name} says more", **{**who, **more})["id"])


def test_a_second_collection_brings_exactly_the_difference(server, api):
    store = Store()
    before = collect(store, login=True)
    truth = list(server["comments"])
    answered = {comment["parent"] for comment in truth}
    leaves = [c for c in truth if c["author"] != "alice" and c["id"] not in answered]
    trunk = next(c for c in truth if c["author"] == "alice")["parent"]
    deleted, trashed, spam = (str(c["id"]) for c in leaves[:3])
    quiet, busy, edited = "5", leaves[10]["post"], leaves[20]["post"]

    new = api.comment("46", "Zoe", author_url="https://www.zoe.example/me/", date_gmt="2026-11-20T10:00:00")
    reply = str(api("POST", "comments", post=46, parent=int(new), content="Thank you, Zoe")["id"])
    nameless = api.comment("46", "No Site")
    api("DELETE", f"comments/{deleted}?force=true")
    api("DELETE", f"comments/{trashed}")
    api("POST", f"comments/{spam}", status="spam")
    api("DELETE", f"comments/{trunk}")  # alice's answer to it stays
    held = str(server["special"]["pending_comment"])
    api("POST", f"comments/{held}", status="approved")
    api("POST", f"posts/{edited}", content="<p>Seven words are in this text now</p>")
    written = str(api("POST", "posts", title="New", content="<p>One</p>", status="publish")["id"])
    drafted = str(api("POST", "posts", title="Not yet", content="<p>One</p>", status="draft")["id"])
    api("DELETE", f"posts/{quiet}?force=true")
    api("DELETE", f"posts/{busy}")  # to the bin, and its comments with it

    after = collect(store, login=True, nights=1)
    second = NIGHT + timedelta(days=1)
    lost = {str(c["id"]) for c in truth if c["post"] == busy} | {deleted, trashed, spam, str(trunk)}
    old, now = before["interactions"], after["interactions"]
    assert rows(now.filter(pl.col("interaction").is_in(old["interaction"].implode())), *SEEN) == rows(old, *SEEN)
    assert set(now["interaction"]) - set(old["interaction"]) == {new, reply, nameless, held}
    gone = dict(now.filter(pl.col("retracted_at").is_not_null()).select("interaction", "retracted_at").iter_rows())
    assert gone == dict.fromkeys(lost, second)

    added = {row["interaction"]: row for row in now.iter_rows(named=True)}
    assert (added[new]["person"], added[new]["direction"]) == ("zoe.example/me", "inbound")
    assert added[new]["occurred_at"] == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert (added[reply]["person"], added[reply]["direction"]) == ("zoe.example/me", "outbound")
    assert added[reply]["in_reply_to"] == new
    assert added[nameless]["person"].startswith("gravatar:")
    assert added[held]["person"] == "pending.example.test"

    posts = {row["post"]: row for row in after["posts"].iter_rows(named=True)}
    assert set(posts) - set(before["posts"]["post"]) == {written}
    assert drafted not in posts
    assert {post for post, row in posts.items() if row["deleted_at"]} == {quiet, str(busy)}
    assert posts[str(edited)]["words"] == 7
    changed = [
        post for post, words in before["posts"].select("post", "words").iter_rows() if posts[post]["words"] != words
    ]
    assert changed == [str(edited)]

    assert store.staged(staging)["interactions"].equals(now)
    third = collect(store, login=True, nights=2)
    for shape in ("profiles", "posts", "interactions", "counters", "quarantine"):
        assert third[shape].equals(after[shape]), shape
