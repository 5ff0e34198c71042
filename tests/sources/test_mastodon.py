"""The Mastodon connector on recorded replies: what it reads, what it says, and what it makes of failures."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sources_campaign
from collected import Store, settled
from faults import LASTING, SHAPES, FaultProxy, Replay, Schedule
from loopback import Loopback, Said

from assets.staging import mastodon as staging
from sources import mastodon, mastodon_api
from sources.collection import Collection
from sources.http import Client, Limits
from sources.mastodon_api import Api, split_address
from sources.model import SourceError

campaign = sources_campaign.campaign("mastodon")
RECORDING, make_account = campaign.RECORDING, campaign.make_account
OF_SNAC = RECORDING.with_name("mastodon_snac.json.gz")
NIGHT = datetime(2027, 1, 10, 3, tzinfo=UTC)
QUICK = Limits(connect=2.0, read=0.4, total=3.0, attempts=3, backoff=0.0, longest_wait=5.0)


def collect(store, base, *, nights=0, **account):
    collection = Collection(limits=QUICK, sleep=lambda _: None)
    store.collect(
        mastodon, [make_account(base, **account)], read_at=NIGHT + timedelta(days=nights), collection=collection
    )
    return store.staged(staging)


def status_of(tables):
    newest = tables["readings"].sort("read_at").group_by("stream", maintain_order=True).last()
    return dict(newest.select("stream", "status").iter_rows())


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("@ann@social.example", ("ann", "https://social.example")),
        ("ann@social.example", ("ann", "https://social.example")),
        ("https://social.example/@ann", ("ann", "https://social.example")),
        ("https://social.example/users/ann/", ("ann", "https://social.example")),
        ("social.example/@ann", ("ann", "https://social.example")),
        ("@alice@localhost:8801", ("alice", "https://localhost:8801")),
        ("https://social.example/@ann/1234", None),
        ("https://blog.example/", None),
        ("ann.bsky.social", None),
    ],
)
def test_addresses(address, found):
    assert split_address(address) == found
    assert mastodon.claims(address) is (found is not None)


def test_everything_of_the_recording():
    with Replay(RECORDING) as server:
        tables = collect(Store(), server.base)
        assert not server.missed
    assert (tables["posts"].height, tables["interactions"].height) == (47, 149)
    kinds = dict(tables["interactions"].group_by("direction", "kind").len().select(
        pl.concat_str("direction", "kind", separator=" "), "len").iter_rows())  # fmt: skip
    assert set(kinds) == {"inbound like", "inbound repost", "inbound reply", "inbound mention", "inbound follow",
                          "outbound reply", "outbound follow"}  # fmt: skip
    assert set(status_of(tables).values()) == {"ok"}
    assert tables["profiles"]["handle"].to_list() == ["alice@localhost:8808"]
    replies = tables["interactions"].filter(direction="outbound", kind="reply")
    known = set(tables["interactions"]["interaction"])
    assert set(replies["in_reply_to"].drop_nulls()) <= known
    assert replies["in_reply_to"].null_count() == 1  # it answers what was deleted


def test_a_server_that_shows_own_posts_as_boosts_and_does_not_page():
    with Replay(OF_SNAC) as server:
        tables = collect(Store(), server.base, url="@alice@localhost:8801")
    assert tables["posts"].height == 14
    assert tables["interactions"].filter(kind="repost", direction="outbound").is_empty()
    assert tables["interactions"].filter(kind="mention").height == 4
    assert tables["interactions"].filter(kind="follow", direction="inbound")["occurred_at"].null_count() == 0


def test_a_second_night_changes_nothing_and_asks_less():
    store = Store()
    with Replay(RECORDING) as server, FaultProxy(server.base, Schedule()) as proxy:
        first = collect(store, proxy.base)
        before = len(proxy.asked)
        rows = len(store.rows["interactions"])
        second = collect(store, proxy.base, nights=1)
        assert len(proxy.asked) - before < before
    assert len(store.rows["interactions"]) == rows
    for shape in ("profiles", "posts", "interactions", "quarantine"):
        assert second[shape].equals(first[shape]), shape


def test_recognise_says_who_it_is():
    with Replay(RECORDING) as server, Client(allow_private=True) as client:
        found = mastodon.recognise(make_account(server.base), client)
        assert mastodon.recognise(make_account(server.base, url="https://blog.example"), client) is None
        with pytest.raises(SourceError, match="There is no account nobody"):
            mastodon.recognise(make_account(server.base, url="@nobody@localhost:8808"), client)
    assert found.url == "http://localhost:8808/@alice"
    assert "@alice@localhost:8808" in found.summary


@pytest.mark.parametrize("seed", range(8))
def test_lasting_faults_are_made_good_and_never_called_deletions(seed):
    store = Store()
    with Replay(RECORDING) as server:
        truth = collect(Store(), server.base)
        only = {"gone": r"/(favourited_by|reblogged_by|context|followers|following|notifications)$"}
        schedule = Schedule.seeded(seed, rate=0.2, kinds=LASTING, only=only)
        with FaultProxy(server.base, schedule) as proxy:
            collect(store, proxy.base)
        assert schedule.injected
        tables = collect(store, server.base, nights=1)
    for shape in ("posts", "interactions", "quarantine"):
        assert settled(tables[shape]).equals(settled(truth[shape])), shape


@pytest.mark.parametrize("seed", range(12))
def test_another_shape_of_answer_loses_nothing_for_good(seed):
    store = Store()
    with Replay(RECORDING) as server:
        truth = collect(Store(), server.base)
        with FaultProxy(server.base, Schedule.seeded(seed, rate=0.3, kinds=SHAPES)) as proxy:
            collect(store, proxy.base)
        collect(store, server.base, nights=1)
        tables = collect(store, server.base, nights=2)
    lost = set(truth["interactions"]["interaction"]) - set(tables["interactions"]["interaction"])
    assert not lost
    assert set(truth["posts"]["post"]) <= set(tables["posts"]["post"])


def test_a_token_that_is_revoked_midway_costs_what_needs_it():
    store = Store()
    with Replay(RECORDING) as server:
        schedule = Schedule(planned={12: "revoked"}, revoked=(422, '{"error": "invalid"}'))
        with FaultProxy(server.base, schedule) as proxy:
            tables = collect(store, proxy.base)
        assert schedule.injected
    assert tables["posts"].height == 47
    assert status_of(tables)["inbound"] == "partial"
    assert "refuses the token (422)" in " ".join(tables["readings"]["reason"].drop_nulls())
    assert tables["interactions"].filter(kind="like").height > 0


def test_a_post_deleted_between_list_and_detail_is_gone_and_no_failure():
    store = Store()
    with Replay(RECORDING) as server:
        lost = collect(store, server.base)["interactions"].filter(kind="like")["post"][0]
        local = lost.rpartition("/")[2]
        for (_, target), entry in server._answers.items():
            if f"/api/v1/statuses/{local}/" in target:
                entry.update(status=404, body='{"error": "Record not found"}')
        tables = collect(store, server.base, nights=60)
    deleted = tables["posts"].filter(pl.col("deleted_at").is_not_null())
    assert deleted.select("post", "deleted_at").rows() == [(lost, NIGHT + timedelta(days=60))]
    assert status_of(tables)["inbound"] == "ok"
    assert tables["interactions"]["retracted_at"].is_null().all()


class Pages(Loopback):
    """A list that says it goes on, elsewhere by name; the last page is empty and still has a next."""

    def answer(self, request):
        number = int(request.target.partition("max_id=")[2] or 0)
        link = {"Link": f'<https://elsewhere.example/api/v1/x?max_id={number + 1}>; rel="next"'}
        return Said(200, link, b"[]" if number == 3 else b'[{"id": "01HX"}]')


def test_pages_follow_link_on_the_same_server_and_end_at_an_empty_one():
    with Pages() as server, Client(allow_private=True, limits=QUICK) as client:
        assert [len(page) for page in Api(public=client, base=server.base).pages("/api/v1/x")] == [1, 1, 1, 0]


class NoLink(Loopback):
    """A server that cannot page: it gives as many as asked for."""

    def answer(self, request):
        limit = int(request.target.partition("limit=")[2])
        return Said(200, {}, b"[" + b",".join([b'{"id": "1"}'] * min(limit, 63)) + b"]")


def test_a_server_without_links_is_asked_for_all_at_once():
    with NoLink() as server, Client(allow_private=True, limits=QUICK) as client:
        api = Api(public=client, base=server.base)
        assert [len(page) for page in api.pages("/x")] == [63]
        assert api.unpaged == {"/x"}
    assert mastodon_api.PAGE == 40
