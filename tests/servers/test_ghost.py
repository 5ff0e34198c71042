"""The Ghost connector against a real Ghost (tests/servers/ghost/start.sh): the truth of its seed, exactly.

Skipped, with the reason, unless `--servers` asks for servers and this one runs with its state.
"""

import importlib.util
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from collected import Store
from servers import state

from assets.staging import ghost as staging
from sources import ghost
from sources.model import AccountSource

pytestmark = pytest.mark.servers("ghost")
FIRST = datetime(2027, 1, 10, 3, tzinfo=UTC)
STATE = state.STATE / "ghost"


@pytest.fixture
def keys(server: dict[str, Any]) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((STATE / "keys.json").read_text())
        urllib.request.urlopen(f"{state.GHOST}/ghost/api/admin/site/", timeout=5).close()
    except (OSError, urllib.error.URLError) as error:
        pytest.skip(f"no Ghost with a seed runs here: {error}; run tests/servers/ghost/start.sh")
    return found


def _seed() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ghost_seed", state.Path(__file__).parent / "ghost" / "seed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _account(keys: dict[str, str]) -> AccountSource:
    token = f"{keys['content']} {keys['admin']}"
    return AccountSource(
        account_id="letters", source="ghost", url=state.GHOST, allow_private=True, options={"token": token}
    )


def _rows(store: Store) -> dict[str, dict[str, Any]]:
    return {row["interaction"]: row for row in store.staged(staging)["interactions"].to_dicts()}


def test_the_truth_exactly_and_then_exactly_the_difference(keys: dict[str, str]) -> None:
    truth = state.truth("ghost")
    store, account = Store(), _account(keys)
    store.collect(ghost, [account], read_at=FIRST)
    staged = store.staged(staging)

    assert {p["post"]: (p["url"], _iso(p["published_at"])) for p in staged["posts"].to_dicts()} == {
        p["id"]: (p["url"], p["published_at"]) for p in truth["posts"]
    }
    assert staged["quarantine"].is_empty()
    assert {r["stream"]: r["status"] for r in staged["readings"].to_dicts()} == dict.fromkeys(ghost.STREAMS, "ok")
    assert _said(staged["interactions"].to_dicts()) == _expected(truth)
    numbers = {(c["subject_id"], c["counter"]): c["value"] for c in staged["counters"].to_dicts()}
    shown = [c for c in truth["comments"] if c["id"] not in truth["hidden"]]
    assert numbers == {
        ("ghost", "members"): len(truth["members"]),
        ("ghost", "posts"): len(truth["posts"]),
        **{(p["id"], "replies"): sum(c["post"] == p["id"] for c in shown) for p in truth["posts"]},
    }
    everything = json.dumps([list(rows.values()) for rows in store.rows.values()], default=str)
    assert "example.test" not in everything

    site = _seed().Ghost(state.GHOST)
    site.key = keys["admin"]
    before = {name: frame.rows() for name, frame in staged.items()}
    posts = [p["id"] for p in truth["posts"]]
    someone = site.add("members", name="New", email="new@example.test")
    added = site.add("comments", post_id=posts[0], member_id=someone["id"], html="<p>First!</p>")["id"]
    letter = site.add("posts", "?source=html", title="One more", status="published", html="<p>More.</p>")
    old = next(c for c in truth["comments"] if c["member"] == truth["ann"])
    try:
        site.ask("PUT", f"comments/{old['id']}/", {"comments": [{"id": old["id"], "status": "hidden"}]})
        store.collect(ghost, [account], read_at=FIRST + timedelta(days=1))
        now = _rows(store)
        known = {row[staged["interactions"].columns.index("interaction")] for row in before["interactions"]}
        assert now.keys() - known == {added, f"follow:site:{someone['id']}"}
        assert {i for i, r in now.items() if r["retracted_at"]} == {old["id"]}
        assert set(store.staged(staging)["posts"]["post"]) == {*posts, letter["id"]}
    finally:
        site.ask("PUT", f"comments/{old['id']}/", {"comments": [{"id": old["id"], "status": "published"}]})
        site.ask("PUT", f"comments/{added}/", {"comments": [{"id": added, "status": "deleted"}]})
        site.ask("DELETE", f"members/{someone['id']}/")
        site.ask("DELETE", f"posts/{letter['id']}/")

    store.collect(ghost, [account], read_at=FIRST + timedelta(days=2))
    now = _rows(store)
    assert {i for i, r in now.items() if r["retracted_at"]} == {added, f"follow:site:{someone['id']}"}
    assert [p["post"] for p in store.staged(staging)["posts"].to_dicts() if p["deleted_at"]] == [letter["id"]]


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _said(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {
        (r["interaction"], r["direction"], r["kind"], r["person"], r["post"], r["in_reply_to"], _iso(r["occurred_at"]))
        for r in rows
        if r["retracted_at"] is None
    }


def _expected(truth: dict[str, Any]) -> set[tuple[Any, ...]]:
    """The rule in other words: an own answer to somebody goes out, what is between two readers is left out."""
    by = {c["id"]: c["member"] for c in truth["comments"]}
    rows = {
        (f"follow:site:{m['id']}", "inbound", "follow", m["id"], None, None, m["created_at"]) for m in truth["members"]
    }
    for c in truth["comments"]:
        if c["id"] in truth["hidden"]:
            continue
        answered = by.get(c["answers"])
        if c["id"] in truth["between"] and answered != c["member"]:
            continue
        goes_out = c["member"] == truth["ann"] and answered not in (None, truth["ann"])
        direction, person = ("outbound", answered) if goes_out else ("inbound", c["member"])
        rows.add((c["id"], direction, "reply", person, c["post"], c["answers"], c["created_at"]))
    return rows
