"""What `rapport add` finds at an address, and how it says that it found nothing."""

import json

import pytest

from sources.model import SourceError
from sources.recognise import Recognised, recognise

FEED = {"version": "https://jsonfeed.org/version/1.1", "title": "A personal site", "items": [{"id": "1"}] * 1476}


def test_feed_behind_a_page(web, quick, answer):
    web.routes["/"] = answer('<!doctype html><link rel="alternate" type="application/feed+json" href="/feed.json">')
    web.routes["/feed.json"] = json.dumps(FEED)
    found = recognise("blog.example", endpoint=web.address, allow_private=True, limits=quick)
    assert found == Recognised(
        source="feed",
        url="https://blog.example/feed.json",
        title="A personal site",
        summary="JSON Feed 'A personal site', 1,476 entries",
    )


def test_webmentions_when_asked_for(web, quick):
    web.routes["/api/mentions.jf2"] = json.dumps({"children": [{"wm-id": 1}]})
    found = recognise(
        "https://blog.example/",
        source="webmention",
        endpoint=web.address,
        allow_private=True,
        token=lambda _: "t",
        limits=quick,
    )
    assert (found.url, found.title) == ("https://blog.example/", "blog.example")
    assert found.summary == "webmentions of blog.example, 1 webmention"
    assert web.asked[0].query["token"] == "t"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("<!doctype html><p>Hello", "a web page that links to no feed"),
        ("", "The answer is empty"),
        ("GIF89a", "neither RSS nor Atom nor JSON Feed"),
    ],
)
def test_nothing_that_can_be_read(web, quick, said, message):
    web.routes["/x"] = said
    with pytest.raises(SourceError, match=message):
        recognise(f"{web.address}/x", allow_private=True, limits=quick)


def test_page_whose_feed_is_a_page(web, quick):
    web.routes["/"] = '<!doctype html><link rel="alternate" type="application/rss+xml" href="/feed">'
    web.routes["/feed"] = "<!doctype html>Sorry"
    with pytest.raises(SourceError, match="should be a feed but is a web page"):
        recognise(f"{web.address}/", allow_private=True, limits=quick)


def test_unknown_source(quick):
    with pytest.raises(SourceError, match=r"no source 'feeed' to add.*Choose one of: bluesky, feed, ghost"):
        recognise("https://blog.example", source="feeed", limits=quick)


def test_loopback_needs_leave(web, quick):
    with pytest.raises(SourceError, match="add --allow-private"):
        recognise(web.address, limits=quick)


@pytest.mark.parametrize("address", ["http://[bad", "not a url", "", "https://", "https://a.example:port/"])
def test_what_is_no_address_is_not_asked_for(address):
    with pytest.raises(SourceError, match="This is no address"):
        recognise(address)


def test_a_redirect_to_no_address_is_a_message(web, quick, answer):
    web.routes["/feed"] = answer(status=302, headers={"Location": "http://[bad"})
    with pytest.raises(SourceError, match="no address that can be read"):
        recognise(f"{web.address}/feed", allow_private=True, limits=quick)


def test_a_page_that_links_to_no_address(web, quick, answer):
    web.routes["/"] = answer('<!doctype html><link rel="alternate" type="application/atom+xml" href="http://[bad">')
    with pytest.raises(SourceError, match="no address that can be read"):
        recognise("https://blog.example", endpoint=web.address, allow_private=True, limits=quick)
