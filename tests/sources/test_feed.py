"""The feed connector against a real server, into a real warehouse."""

import json
from datetime import UTC, datetime

import pytest

from sources import feed
from sources.collection import Collection
from sources.model import AccountSource


def account(web, path="/feed.json", **options):
    return AccountSource(
        account_id=options.pop("account_id", "ada"),
        source="feed",
        url=f"https://blog.example{path}",
        endpoint=web.address,
        allow_private=True,
        **options,
    )


def json_feed(*items, **more):
    return json.dumps({"version": "https://jsonfeed.org/version/1.1", "title": "Blog", **more, "items": items})


def item(number, **more):
    return {"id": str(number), "date_published": f"2024-04-{number:02}T10:00:00Z", "content_text": "a b", **more}


def test_second_run_adds_nothing_and_a_change_is_a_second_observation(web, quick, warehouse, night):
    store = warehouse("feed")
    web.routes["/feed.json"] = json_feed(item(3), item(2), item(2), {"title": "no id"})
    for day in (1, 2):
        store.load(feed.source([account(web)], read_at=night(day), collection=Collection(limits=quick)))
    items = store.table("items")
    assert sorted(items["item_id"].to_list(), key=str) == ["2", "3", None]
    assert set(items["loaded_at"]) == {night(1)}
    assert store.table("profiles").select("url", "title", "format").rows() == [
        ("https://blog.example/feed.json", "Blog", "JSON Feed")
    ]

    web.routes["/feed.json"] = json_feed(item(3, title="Now with a title"), item(2))
    store.load(feed.source([account(web)], read_at=night(3), collection=Collection(limits=quick)))
    changed = store.table("items").filter(item_id="3").sort("loaded_at")
    assert changed["title"].to_list() == [None, "Now with a title"]
    assert store.table("items").height == 4


def test_reading_covers_from_the_oldest_item_to_now(web, quick, warehouse, night):
    store = warehouse("feed")
    web.routes["/feed.json"] = json_feed(item(9), item(4), item(7, date_published="soon"))
    store.load(feed.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    read = store.reading("posts")
    assert (read["status"], read["covers_from"], read["read_at"]) == (
        "ok",
        datetime(2024, 4, 4, 10, tzinfo=UTC),
        night(1),
    )
    assert store.reading("inbound")["status"] == "not_offered"


def test_unchanged_feed_is_a_complete_reading(web, quick, warehouse, night, answer):
    def conditional(request):
        if request.headers.get("If-None-Match") == '"v1"':
            assert request.headers["If-Modified-Since"] == "Wed, 01 May 2024 00:00:00 GMT"
            return answer(status=304)
        headers = {"ETag": '"v1"', "Last-Modified": "Wed, 01 May 2024 00:00:00 GMT"}
        return answer(json_feed(item(4)), headers=headers)

    store = warehouse("feed")
    web.routes["/feed.json"] = conditional
    for day in (1, 2):
        store.load(feed.source([account(web)], read_at=night(day), collection=Collection(limits=quick)))
    read = store.reading("posts")
    assert (read["status"], read["covers_from"], read["read_at"]) == (
        "ok",
        datetime(2024, 4, 4, 10, tzinfo=UTC),
        night(2),
    )
    assert len(web.asked) == 2


def test_all_pages_through_the_endpoint(web, quick, warehouse, night):
    store = warehouse("feed")
    web.routes["/feed.json"] = lambda request: (
        json_feed(item(2), item(1))
        if request.query.get("page")
        else json_feed(item(3), item(2), next_url="https://blog.example/feed.json?page=2")
    )
    store.load(feed.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    assert sorted(store.table("items")["item_id"]) == ["1", "2", "3"]
    assert store.reading("posts")["covers_from"] == datetime(2024, 4, 1, 10, tzinfo=UTC)


def test_pages_without_end_are_no_complete_reading(web, quick, warehouse, night):
    store = warehouse("feed")
    web.routes["/feed.json"] = json_feed(item(3), next_url="/feed.json")
    store.load(feed.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    read = store.reading("posts")
    assert (read["status"], read["covers_from"]) == ("partial", None)
    assert "have no end" in read["reason"]
    assert store.table("items").height == 1


def test_page_that_links_to_its_feed(web, quick, warehouse, night, answer):
    html = '<html><head><link rel="alternate" type="application/feed+json" href="/feed.json"></head></html>'
    web.routes["/"] = answer(html, headers={"Content-Type": "text/html"})
    web.routes["/feed.json"] = answer(json_feed(item(3)), headers={"ETag": '"feed"'})
    store = warehouse("feed")
    for day in (1, 2):
        store.load(feed.source([account(web, "/")], read_at=night(day), collection=Collection(limits=quick)))
    assert not any("If-None-Match" in asked.headers for asked in web.asked)  # the page is not the feed
    assert store.table("items")["feed_url"].to_list() == ["https://blog.example/feed.json"]


def test_one_broken_account_stops_no_other_and_loses_nothing(web, quick, warehouse, night):
    store = warehouse("feed")
    ada, ben = account(web), account(web, "/ben.json", account_id="ben")
    web.routes |= {"/feed.json": json_feed(item(3)), "/ben.json": json_feed(item(5))}
    store.load(feed.source([ada, ben], read_at=night(1), collection=Collection(limits=quick)))
    web.routes |= {"/feed.json": "<html>gone</html>", "/ben.json": json_feed(item(6), item(5))}
    store.load(feed.source([ada, ben], read_at=night(2), collection=Collection(limits=quick)))
    assert sorted(store.table("items").select("account_id", "item_id").rows()) == [
        ("ada", "3"),
        ("ben", "5"),
        ("ben", "6"),
    ]
    posts = store.table("readings").filter(stream="posts", read_at=night(2)).sort("account_id")
    assert posts["status"].to_list() == ["down", "ok"]
    assert posts["reason"][0].startswith("This is a web page that links to no feed: https://blog.example/feed.json.")


def test_endpoint_with_a_path_stands_for_the_address(web):
    there = AccountSource(account_id="a", source="feed", url="https://blog.example/feed", endpoint=f"{web.address}/x/y")
    assert feed.relocated(there.url, there) == f"{web.address}/x/y"
    assert feed.relocated("https://elsewhere.example/feed", there) == "https://elsewhere.example/feed"


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00Z", None, "2031-01-01T00:00:00Z"])
def test_impossible_dates_do_not_stretch_the_coverage(web, quick, warehouse, night, date):
    store = warehouse("feed")
    web.routes["/feed.json"] = json_feed(item(4, date_published=date))
    store.load(feed.source([account(web)], read_at=night(1), collection=Collection(limits=quick)))
    assert store.reading("posts")["covers_from"] == night(1)
