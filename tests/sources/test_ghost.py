"""The Ghost connector on replies recorded from a real Ghost 5.130, and on an account with other keys."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sources_campaign
from collected import Store
from faults import Replay
from loopback import Request, Said
from sources_campaign import FIRST, IMPATIENT

from assets.staging import ghost as staging
from sources import ghost
from sources.collection import Collection
from sources.ghost_api import Keys, signed
from sources.http import Client
from sources.model import AccountSource, SourceError

campaign = sources_campaign.campaign("ghost")


def _collected(account: AccountSource, *, store: Store | None = None, night: int = 0) -> Store:
    store = store or Store()
    night_of = Collection(limits=IMPATIENT, sleep=lambda _: None)
    store.collect(ghost, [account], read_at=FIRST + timedelta(days=night), collection=night_of)
    return store


def _statuses(store: Store) -> dict[str, str]:
    return {row["stream"]: row["status"] for row in store.frame("readings").sort("read_at").to_dicts()}


class Refusing(Replay):
    """The recording, of a site that refuses the Admin API key, or some of what it opens."""

    def __init__(self, file: Path, part: str, status: int = 401) -> None:
        super().__init__(file)
        self.part, self.status = part, status

    def answer(self, request: Request) -> Said:
        if self.part in request.path and "/admin/site" not in request.path:
            return Said(self.status, {"Content-Type": "application/json"}, b'{"errors": [{"type": "No"}]}')
        return super().answer(request)


def test_everything_with_both_keys() -> None:
    with Replay(campaign.RECORDING) as server:
        store = _collected(campaign.make_account(server.base))
        assert server.missed == []
    staged = store.staged(staging)
    people = staged["interactions"]
    assert _statuses(store) == dict.fromkeys(ghost.STREAMS, "ok")
    assert staged["posts"].height == 24
    assert people.filter(kind="follow").height == 106
    assert people.filter(kind="reply", direction="outbound").height > 20
    own = people.filter(direction="inbound", person_url=f"{campaign.SITE}/")
    assert set(own["kind"]) == {"follow"}  # Ann is a member of her own site
    assert set(people.filter(direction="outbound")["person_name"]) <= set(people.filter(kind="follow")["person_name"])
    assert staged["quarantine"].is_empty()
    assert "example.test" not in json.dumps([list(rows.values()) for rows in store.rows.values()], default=str)


def test_a_second_night_adds_no_row_but_readings() -> None:
    with Replay(campaign.RECORDING) as server:
        store = _collected(campaign.make_account(server.base))
        before = {name: len(store.rows[name]) for name in ("posts", "interactions", "sightings")}
        _collected(campaign.make_account(server.base), store=store, night=1)
    assert {name: len(store.rows[name]) for name in before} == before


def test_a_content_key_offers_posts_and_their_numbers() -> None:
    with Replay(campaign.RECORDING) as server:
        store = _collected(campaign.make_account(server.base, token=campaign.CONTENT))
    offered = {"posts": "ok", "counters": "ok", "inbound": "not_offered", "outbound": "not_offered"}
    assert _statuses(store) == offered
    posts = store.frame("posts")
    assert posts.height == 24
    assert posts["text"].null_count() == 4  # for members only


def test_a_refused_admin_key_leaves_what_the_content_key_opens() -> None:
    with Refusing(campaign.RECORDING, "/api/admin/") as server:
        store = _collected(campaign.make_account(server.base))
    assert _statuses(store) == {"posts": "ok", "counters": "ok", "inbound": "down", "outbound": "down"}
    reason = store.frame("readings").filter(stream="inbound")["reason"].item()
    assert "refuses the Admin API key (401)" in reason
    assert campaign.ADMIN not in reason


def test_a_night_without_the_admin_key_changes_no_post() -> None:
    account = campaign.make_account
    with Replay(campaign.RECORDING) as server:
        store = _collected(account(server.base))
    before = store.staged(staging)["posts"].select("post", "words", "links").sort("post")
    for night, server in enumerate((Refusing(campaign.RECORDING, "/api/admin/"), Replay(campaign.RECORDING)), 1):
        with server:
            _collected(account(server.base), store=store, night=night)
        after = store.staged(staging)["posts"].select("post", "words", "links").sort("post")
        assert after.equals(before)
    assert before["words"].null_count() == 0


@pytest.mark.parametrize(("status", "says"), [(404, "too old"), (405, "switched off")])
def test_comments_that_are_not_there_leave_the_members(status: int, says: str) -> None:
    with Refusing(campaign.RECORDING, "/comments/post/", status) as server:
        store = _collected(campaign.make_account(server.base))
    assert _statuses(store) == {"posts": "ok", "counters": "ok", "inbound": "partial", "outbound": "down"}
    assert store.staged(staging)["interactions"].height == 106
    assert says in store.frame("readings").filter(stream="outbound")["reason"].item()


@pytest.mark.parametrize("token", ["", "abc", f"{campaign.CONTENT} {campaign.CONTENT} x"])
def test_what_to_create_is_said_and_no_secret(token: str) -> None:
    account = campaign.make_account("http://127.0.0.1:1", token=token)
    with pytest.raises(SourceError, match="Integrations") as raised:
        Keys.of(account)
    assert campaign.CONTENT not in str(raised.value)
    assert campaign.CONTENT not in repr(Keys(content=campaign.CONTENT))


def test_the_token_is_signed_as_ghost_asks() -> None:
    head, said, signature = signed(campaign.ADMIN, 1_700_000_000.9).split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, said)]
    assert decoded[0] == {"alg": "HS256", "kid": "1" * 24, "typ": "JWT"}
    assert decoded[1] == {"iat": 1_700_000_000, "exp": 1_700_000_300, "aud": "/admin/"}
    digest = hmac.new(bytes.fromhex("2" * 64), f"{head}.{said}".encode(), hashlib.sha256).digest()
    assert signature == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_recognised_by_its_page_or_its_address() -> None:
    with Replay(campaign.RECORDING) as server, Client(allow_private=True, limits=IMPATIENT) as client:
        account = campaign.make_account(server.base)
        found = ghost.recognise(account, client)
        without = ghost.recognise(replace(account, options={}, url=f"{campaign.SITE}/ghost/"), client)
    assert found is not None
    assert (found.url, found.title) == (f"{campaign.SITE}/", "Slow Letters")
    assert "24 posts" in found.summary
    assert without is not None
    assert "key" in without.summary
