"""The webmention connector against a real server, into a real warehouse."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from sources import webmention
from sources.collection import Collection
from sources.model import AccountSource
from tests.serve_webmention import serving


def account(web, account_id="ada", url="https://blog.example/", **options):
    return AccountSource(
        account_id=account_id,
        source="webmention",
        url=url,
        endpoint=web if isinstance(web, str) else web.address,
        allow_private=True,
        options={"token": "s3cret", **options},
    )


def mention(number, **more):
    return {
        "type": "entry",
        "author": {"type": "card", "name": "Ben", "photo": "", "url": "https://ben.example/"},
        "url": f"https://ben.example/{number}",
        "published": None,
        "wm-received": f"2024-04-{number:02}T10:00:00Z",
        "wm-id": 1000 + number,
        "wm-source": f"https://ben.example/{number}",
        "wm-target": "https://blog.example/post",
        "wm-property": "in-reply-to",
        "wm-private": False,
        "in-reply-to": "https://blog.example/post",
        "content": {"text": "A text of Ben", "html": "<p>A text of Ben</p>"},
        **more,
    }


def api(mentions, *, cap=10_000, pages=True, since=True):
    """webmention.io, or a server that ignores paging or since_id, or caps pages."""

    def answer(request):
        found = [m for m in mentions if not since or m["wm-id"] > int(request.query.get("since_id", 0))]
        size = min(int(request.query["per-page"]), cap)
        start = int(request.query["page"]) * size if pages else 0
        return json.dumps({"type": "feed", "children": found[start : start + size] if pages else found})

    return answer


@pytest.mark.parametrize("server", [{}, {"cap": 2}, {"pages": False}, {"since": False, "cap": 3}])
def test_every_kind_of_paging_gives_each_mention_once(web, quick, warehouse, night, server):
    store = warehouse("webmention")
    mentions = [mention(number) for number in range(1, 6)]
    web.routes["/api/mentions.jf2"] = api(mentions, **server)
    store.load(webmention.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    assert sorted(store.table("mentions")["wm_id"]) == [1001, 1002, 1003, 1004, 1005]
    assert store.reading("inbound")["covers_from"] == datetime(2024, 4, 1, 10, tzinfo=UTC)

    web.routes["/api/mentions.jf2"] = api([*mentions, mention(6)], **server)
    store.load(webmention.source([account(web)], read_at=night(2), collection=Collection(limits=quick)))
    table = store.table("mentions")
    assert table.height == 6
    assert table.filter(pl.col("loaded_at") == night(2))["wm_id"].to_list() == [1006]
    assert web.asked[-1].query["since_id"] == "1005"
    assert {(a.query["domain"], a.query["token"], a.query["sort-by"]) for a in web.asked} == {
        ("blog.example", "s3cret", "created")
    }
    assert store.reading("inbound")["covers_from"] == datetime(2024, 4, 1, 10, tzinfo=UTC)


def test_cut_short_reading_is_partial_and_starts_again_where_it_was(web, quick, warehouse, night, answer):
    store = warehouse("webmention")
    whole = api([mention(number) for number in range(1, 6)], cap=2)
    web.routes["/api/mentions.jf2"] = lambda r: whole(r) if r.query["page"] == "0" else answer(status=500)
    store.load(webmention.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    read = store.reading("inbound")
    assert (read["status"], read["covers_from"], store.table("mentions").height) == ("partial", None, 2)
    assert "answers 500" in read["reason"]
    assert "s3cret" not in read["reason"]

    web.routes["/api/mentions.jf2"] = whole
    web.asked.clear()
    store.load(webmention.source([account(web)], read_at=night(2), collection=Collection(limits=quick)))
    assert "since_id" not in web.asked[0].query
    assert (store.reading("inbound")["status"], store.table("mentions").height) == ("ok", 5)


def test_texts_of_others_are_not_stored_unless_wanted(web, quick, warehouse, night):
    web.routes["/api/mentions.jf2"] = api([mention(1, summary="A text of Ben", rsvp="yes", name="A text of Ben")])
    store = warehouse("webmention")
    store.load(webmention.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    row = store.table("mentions").row(0, named=True)
    assert row["content_text"] is None
    assert "A text of Ben" not in str(row)
    assert json.loads(row["extra"]) == {"rsvp": "yes"}
    web.routes["/api/mentions.jf2"] = api([mention(2)])
    store.load(
        webmention.source([account(web)], read_at=night(2), store_text=True, collection=Collection(limits=quick))
    )
    assert store.table("mentions").filter(wm_id=1002)["content_text"].to_list() == ["A text of Ben"]


def test_no_mention_is_lost_for_its_form(web, quick, warehouse, night):
    odd = [
        mention(1, author=None),
        {**mention(2), "wm-id": "nine"},
        mention(3, published=["2024"], **{"wm-private": "yes"}),
        mention(4, **{"wm-received": "yesterday"}),
        mention(5, url="\ud800"),
    ]
    web.routes["/api/mentions.jf2"] = json.dumps({"children": odd})
    store = warehouse("webmention")
    for day in (1, 2):
        store.load(webmention.source([account(web)], read_at=night(day), collection=Collection(limits=quick)))
    rows = store.table("mentions").sort("wm_received")
    assert rows.height == 5
    assert json.loads(rows.filter(pl.col("wm_id").is_null())["extra"][0])["wm-id"] == "nine"
    assert store.reading("inbound")["covers_from"] == datetime(2024, 4, 1, 10, tzinfo=UTC)


def test_a_changed_mention_is_a_second_observation(web, quick, warehouse, night):
    store = warehouse("webmention")
    web.routes["/api/mentions.jf2"] = api([mention(1)], since=False)
    store.load(webmention.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    web.routes["/api/mentions.jf2"] = api([mention(1, **{"wm-property": "like-of"})], since=False)
    store.load(webmention.source([account(web)], read_at=night(2), collection=Collection(limits=quick)))
    table = store.table("mentions").sort("loaded_at")
    assert table["wm_property"].to_list() == ["in-reply-to", "like-of"]


def test_site_without_mentions_is_covered_from_its_first_reading(web, quick, warehouse, night):
    store = warehouse("webmention")
    web.routes["/api/mentions.jf2"] = api([])
    for day in (1, 2):
        store.load(webmention.source([account(web)], read_at=night(day), collection=Collection(limits=quick)))
    read = store.reading("inbound")
    assert (read["status"], read["covers_from"]) == ("ok", night(1))
    assert store.table("mentions").is_empty()
    assert store.table("profiles")["domain"].to_list() == ["blog.example"]


def test_one_broken_account_stops_no_other(web, quick, warehouse, night, answer):
    store = warehouse("webmention")
    good = api([mention(1)])
    broken = {"b.example": answer(status=401), "c.example": answer("<html>"), "d.example": answer('{"error": "x"}')}
    web.routes["/api/mentions.jf2"] = lambda request: broken.get(request.query["domain"]) or good(request)
    accounts = [account(web, name, f"https://{name}.example") for name in "bcda"]
    store.load(webmention.source([*accounts, accounts[-1]], read_at=night(1), collection=Collection(limits=quick)))
    read = store.table("readings").filter(stream="inbound").sort("account_id")
    assert read["status"].to_list() == ["ok", "down", "down", "down"]
    for reason, said in zip(read["reason"].to_list()[1:], ["refuses access", "no JSON", "no list of"], strict=True):
        assert said in reason
    assert store.table("mentions")["account_id"].to_list() == ["a"]


def test_token_reaches_no_table_and_no_state(web, quick, warehouse, night):
    store = warehouse("webmention")
    web.routes["/api/mentions.jf2"] = api([mention(1)])
    without = AccountSource(
        account_id="ada", source="webmention", url="blog.example", endpoint=f"{web.address}/api", allow_private=True,
        options={"token": "s3cret"},
    )  # fmt: skip
    store.load(webmention.source([without], read_at=night(1), collection=Collection(limits=quick)))
    assert web.asked[0].query["token"] == "s3cret"
    for path in store.folder.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


@pytest.mark.shared
def test_real_site_is_read_completely_once(shared_data, quick, warehouse, night):
    store = warehouse("webmention")
    with serving(shared_data / "webmention-nhoizey", token="s3cret") as (address, requests):
        site = account(address, url="https://nicolas-hoizey.com/")
        for day in (1, 2):
            store.load(webmention.source([site], read_at=night(day)))
    assert len(requests) > 2
    assert store.table("mentions").height == 2717
    assert store.reading("inbound")["covers_from"] == datetime(2016, 2, 4, 16, 52, 12, tzinfo=UTC)
