"""Bluesky collected from real AT Protocol servers, against everything that the seed says is true."""

import json
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from collected import Store, settled
from servers.state import APPVIEW, PDS, PLC

from assets.staging import bluesky as staging
from sources import bluesky
from sources.bluesky_records import post_author
from sources.model import AccountSource
from sources.timestamps import parse_time

pytestmark = pytest.mark.servers("bluesky")
NIGHT = datetime.fromtimestamp(int(time.time()), UTC)
"""Now: a server indexes nothing later than its own clock."""


def account(truth, *, token):
    options = {"plc": PLC, "pds": PDS, **({"token": truth["alice"]["app_password"]} if token else {})}
    return AccountSource(
        account_id="alice", source="bluesky", url="@alice.test", endpoint=APPVIEW, allow_private=True, options=options
    )


def collect(store, truth, read_at, *, token):
    store.collect(bluesky, [account(truth, token=token)], read_at=read_at)
    staged = store.staged(staging)
    assert staged["quarantine"].height == 0
    tonight = staged["readings"].filter(read_at=read_at)
    assert tonight["status"].to_list() == ["ok"] * 4, tonight["reason"].to_list()
    return staged


def expected(truth, *, token):
    """Every interaction that the seed left visible, by id."""
    did, people = truth["alice"]["did"], truth["people"]
    alive = {r["uri"]: r for r in truth["records"] if not r["deleted"]}
    posts = {uri for uri, r in alive.items() if r["kind"] == "post"}
    found = {}
    for uri, r in alive.items():
        person, subject, at = people[r["by"]]["did"], r["subject"], parse_time(r["created_at"])
        root = r["root"]["uri"] if "root" in r else None
        match r["kind"]:
            case "like" if subject in posts:
                found[f"like:{subject}:{person}"] = ("inbound", "like", person, subject, None, at)
            case "repost" if subject in posts:
                found[f"repost:{subject}:{person}"] = (
                    "inbound",
                    "repost",
                    person,
                    subject,
                    None,
                    at if token else None,
                )
            case "quote" if subject in posts:
                found[f"quote:{uri}"] = ("inbound", "quote", person, subject, None, at)
            case "reply" if subject in alive:
                answers = None if subject in posts else subject
                found[uri] = ("inbound", "reply", person, root if root in posts else None, answers, at)
            case "mention" if token:
                found[uri] = ("inbound", "mention", person, None, None, at)
            case "follow" if r["by"] != "alice":
                found[f"follow:{did}:{person}"] = ("inbound", "follow", person, None, None, at if token else None)
            case "follow":
                found[f"out:follow:{subject}"] = ("outbound", "follow", subject, None, None, at)
            case "answer":
                found[uri] = ("outbound", "reply", post_author(subject), root, subject, at)
    return found


@pytest.mark.parametrize("token", [False, True], ids=["public", "with a login"])
def test_first_collection_is_the_truth(server, token):
    staged = collect(Store(), server, NIGHT, token=token)
    columns = ("direction", "kind", "person", "post", "in_reply_to", "occurred_at")
    said = {row["interaction"]: tuple(row[c] for c in columns) for row in staged["interactions"].to_dicts()}
    assert said == expected(server, token=token)
    assert staged["interactions"]["retracted_at"].null_count() == len(said)

    alive = {uri: post for uri, post in server["posts"].items() if not post["deleted"]}
    published = {uri: parse_time(post["created_at"]) for uri, post in alive.items()}
    assert {row["post"]: row["published_at"] for row in staged["posts"].to_dicts()} == published
    assert staged["posts"]["deleted_at"].null_count() == len(alive)

    counts = {(row["subject_id"], row["counter"]): row["value"] for row in staged["counters"].to_dicts()}
    names = {"like": "likes", "repost": "reposts", "reply": "replies", "quote": "quotes"}
    for uri, post in alive.items():
        assert {kind: counts[uri, name] for kind, name in names.items()} == {kind: post[kind] for kind in names}
    follows = [r for r in server["records"] if r["kind"] == "follow" and not r["deleted"] and r["by"] != "alice"]
    assert counts["bluesky", "followers"] == len(follows)
    assert staged["profiles"].select("url", "handle").row(0) == (
        f"https://bsky.app/profile/{server['alice']['did']}", "alice.test",
    )  # fmt: skip
    assert set(staged["readings"]["covers_from"]) == {min([*published.values(), *answered(server)])}


def answered(truth):
    return [parse_time(r["created_at"]) for r in truth["records"] if r["kind"] == "answer"]


def test_second_collection_brings_the_difference(server):
    store = Store()
    before = collect(store, server, NIGHT, token=True)
    alive = [r for r in server["records"] if not r["deleted"] and not r["orphan"]]
    liked = {(r["by"], r["subject"]) for r in alive if r["kind"] == "like"}
    posts = [r for r in alive if r["kind"] == "post"]
    likes = [r for r in alive if r["kind"] == "like"]
    fresh = next(p for p in posts if ("bob", p["uri"]) not in liked)
    unliked = next(r for r in likes if r["by"] != "bob" and r["subject"] != fresh["uri"])
    answers = {r["subject"]: r["uri"] for r in alive if r["kind"] == "answer"}
    come_back = {r["subject"] for r in alive if r["kind"] == "reply"}
    taken_back = next(r for r in alive if r["kind"] == "reply" and answers.get(r["uri"]) in come_back)
    unfollowed = next(r for r in alive if r["kind"] == "follow" and r["by"] != "alice")
    unmentioned = next(r for r in alive if r["kind"] == "mention")
    involved = {fresh["uri"], unliked["subject"], taken_back["root"]["uri"]}
    deleted = max((p for p in posts if p["uri"] not in involved), key=lambda p: sum(r["subject"] == p["uri"] for r in likes))  # fmt: skip

    people = {name: Person(name) for name in server["people"]}
    at = f"{parse_time(fresh['created_at']) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000Z}"  # backdated
    ref = {"uri": fresh["uri"], "cid": fresh["cid"]}
    people["bob"].create("app.bsky.feed.like", {"subject": ref, "createdAt": at})
    for gone in (unliked, taken_back, unfollowed, unmentioned, deleted):
        people[gone["by"]].delete(gone["uri"])
    now = f"{NIGHT:%Y-%m-%dT%H:%M:%S.000Z}"
    post = people["alice"].create("app.bsky.feed.post", {"text": "One more https://example.org", "createdAt": now})
    wait_for(server, post, fresh, deleted)

    after = collect(store, server, NIGHT + timedelta(days=1), token=True)
    did = server["alice"]["did"]
    new = f"like:{fresh['uri']}:{people['bob'].did}"
    retracted = {
        f"like:{unliked['subject']}:{people[unliked['by']].did}",
        taken_back["uri"],
        f"follow:{did}:{people[unfollowed['by']].did}",
        unmentioned["uri"],
    }
    rows = {row["interaction"]: row for row in after["interactions"].to_dicts()}
    assert {name for name, row in rows.items() if row["retracted_at"]} == retracted
    assert rows[new]["occurred_at"] == parse_time(at)
    unchanged = [settled(t["interactions"].filter(~pl.col("interaction").is_in([new, *retracted]))) for t in (before, after)]  # fmt: skip
    assert unchanged[0].equals(unchanged[1])
    assert rows.keys() - set(before["interactions"]["interaction"]) == {new}
    assert set(after["posts"]["post"]) - set(before["posts"]["post"]) == {post}
    assert after["posts"].filter(pl.col("deleted_at").is_not_null())["post"].to_list() == [deleted["uri"]]


class Person:
    """A seeded person who does more."""

    def __init__(self, name):
        body = {"identifier": f"{name}.test", "password": f"password-of-{name}"}
        session = call(PDS, "com.atproto.server.createSession", body=body)
        self.did, self.token = session["did"], session["accessJwt"]

    def create(self, collection, record):
        body = {"repo": self.did, "collection": collection, "record": {"$type": collection, **record}}
        return call(PDS, "com.atproto.repo.createRecord", body=body, token=self.token)["uri"]

    def delete(self, uri):
        collection, rkey = uri.split("/")[-2:]
        body = {"repo": self.did, "collection": collection, "rkey": rkey}
        call(PDS, "com.atproto.repo.deleteRecord", body=body, token=self.token)


def call(base, nsid, params=None, *, body=None, token=None):
    url = f"{base}/xrpc/{nsid}" + (f"?{urllib.parse.urlencode(params, doseq=True)}" if params else "")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def wait_for(truth, post, fresh, deleted):
    """Until the AppView shows what was done: each repository on its own, counts after records."""
    likes = truth["posts"][fresh["uri"]]["like"] + 1
    for _ in range(150):
        uris = {"uris": [post, fresh["uri"], deleted["uri"]]}
        shown = {p["uri"]: p for p in call(APPVIEW, "app.bsky.feed.getPosts", uris)["posts"]}
        if shown.keys() == {post, fresh["uri"]} and shown[fresh["uri"]]["likeCount"] == likes:
            time.sleep(2)
            return
        time.sleep(0.2)
    pytest.fail("The AppView does not show the changes")
