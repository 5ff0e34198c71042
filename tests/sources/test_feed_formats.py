"""RSS, Atom, JSON Feed, and what only looks like one."""

import pytest

from sources.feed_formats import feed_links, is_html, parse_feed
from sources.model import SourceError

URL = "https://blog.example/feed"

RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel><title>Café</title><link>https://blog.example/</link><language>fr</language>
<item><title>Un</title><link>https://blog.example/1</link><guid isPermaLink="false">tag:1</guid>
<pubDate>Thu, 02 May 2024 08:00:00 +0200</pubDate><description>court</description>
<content:encoded><![CDATA[<p>long</p>]]></content:encoded><category>a</category><category>b</category></item>
<item><guid>https://blog.example/2</guid><dc:date>2024-05-01T00:00:00Z</dc:date></item>
<item><link>/3</link></item></channel></rss>"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"><title>Log</title>
<link rel="self" href="/atom.xml"/><link href="/"/>
<entry><id>tag:1</id><title type="html">&lt;b&gt;One&lt;/b&gt;</title><link rel="alternate" href="/1"/>
<published>2024-05-01T00:00:00Z</published><updated>2024-05-02T00:00:00Z</updated><category term="x"/>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Hello</p></div></content></entry>
<entry xml:lang="de"><id>tag:2</id><content>plain</content></entry></feed>"""


def parse(body, charset=None):
    return parse_feed(body.encode() if isinstance(body, str) else body, charset=charset, url=URL, where=URL)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "windows-1252", "utf-16", "mac-roman"])
def test_rss_in_the_encoding_it_declares(encoding):
    feed = parse(RSS.format(encoding=encoding).encode(encoding))
    assert (feed.format, feed.title, feed.home_page_url, feed.language) == (
        "RSS",
        "Café",
        "https://blog.example/",
        "fr",
    )
    one, two, three = feed.items
    assert (one["item_id"], one["url"], one["published"]) == (
        "tag:1",
        "https://blog.example/1",
        "Thu, 02 May 2024 08:00:00 +0200",
    )
    assert (one["summary"], one["content_html"], one["tags"]) == ("court", "<p>long</p>", '["a", "b"]')
    assert (two["item_id"], two["url"], two["published"]) == (
        "https://blog.example/2",
        "https://blog.example/2",
        "2024-05-01T00:00:00Z",
    )
    assert (three["item_id"], three["url"], three["published"]) == ("/3", "https://blog.example/3", None)


def test_encoding_from_the_server_where_the_feed_declares_none():
    body = RSS.format(encoding="x").replace(' encoding="x"', "").encode("iso-8859-1")
    assert parse(body, charset="iso-8859-1").title == "Café"
    with pytest.raises(SourceError, match=r"not in the encoding it declares \(utf-8\)"):
        parse(body)


def test_rss_1_0():
    feed = parse(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
        "<channel><title>Old</title></channel><item><title>A</title><link>https://blog.example/a</link></item></rdf:RDF>"
    )
    assert (feed.title, [item["title"] for item in feed.items]) == ("Old", ["A"])


def test_atom():
    feed = parse(ATOM)
    assert (feed.format, feed.home_page_url, feed.language) == ("Atom", "https://blog.example/", "en")
    one, two = feed.items
    assert (one["title"], one["url"]) == ("<b>One</b>", "https://blog.example/1")
    assert one["content_html"] == "<div><p>Hello</p></div>"
    assert (one["published"], one["updated"], one["tags"]) == ("2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z", '["x"]')
    assert (two["content_text"], two["language"], two["published"]) == ("plain", "de", None)


def test_json_feed_keeps_what_is_wrong_with_it():
    feed = parse(
        '{"version": "https://jsonfeed.org/version/1", "title": "J", "next_url": "?page=2", "items": '
        '[{"id": 7, "url": "/7", "tags": ["t"]}, {"title": "no id"}, "no object"]}'
    )
    assert (feed.format, feed.next_url) == ("JSON Feed", "https://blog.example/feed?page=2")
    assert [item.get("item_id") for item in feed.items] == ["7", None, None]
    assert feed.items[0]["url"] == "https://blog.example/7"
    assert feed.items[2] == {"extra": '"no object"'}


BOMB = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]><rss>&lol2;</rss>'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The answer is empty"),
        (" \n\ufeff", "The answer is empty"),
        ("just text", "neither RSS nor Atom nor JSON Feed"),
        ('{"items": [', r"The JSON is broken \(line 1\)"),
        ("[" * 100_000, "The JSON is broken"),
        ('{"hello": 1}', "no JSON Feed"),
        ("<rss><channel>", r"The XML is broken \(line 1\)"),
        ("<opml></opml>", "neither RSS nor Atom .*<opml>"),
        (BOMB, "The XML defines entities"),
    ],
)
def test_what_is_no_feed_is_said_with_place_and_remedy(body, message):
    with pytest.raises(SourceError, match=message) as caught:
        parse(body)
    assert URL in str(caught.value)
    assert caught.value.todo


def test_old_doctype_is_no_attack():
    feed = parse(
        '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" '
        '"http://my.netscape.com/publish/formats/rss-0.91.dtd"><rss><channel><title>O</title></channel></rss>'
    )
    assert feed.title == "O"


def test_pages_and_their_feeds():
    page = b"""<!DOCTYPE html><html><head><base href="https://blog.example/a/">
    <link rel="alternate" type="application/rss+xml" title="Comments" href="comments.xml">
    <link rel="ALTERNATE" type="application/rss+xml; charset=utf-8" href="rss.xml">
    <link rel="alternate" type="application/feed+json" href="/feed.json">
    <link rel="alternate" hreflang="fr" href="/fr"><link rel="stylesheet" href="x.css"></head>"""
    assert is_html(page, "text/html")
    assert feed_links(page, charset=None, url=URL) == [
        "https://blog.example/feed.json",
        "https://blog.example/a/rss.xml",
        "https://blog.example/a/comments.xml",
    ]
    assert feed_links(b"<html>", charset="no-such-charset", url=URL) == []


@pytest.mark.parametrize("body", [b"<rss version='2.0'>", b"<?xml version='1.0'?><feed>", b'{"items": []}'])
def test_feeds_that_call_themselves_html_are_feeds(body):
    assert not is_html(body, "text/html")


def test_an_atom_base_that_is_no_address_is_left_aside():
    text = b'<feed xmlns="http://www.w3.org/2005/Atom" xml:base="http://[bad"><entry><id>1</id><link href="/a"/></entry></feed>'
    feed = parse_feed(text, charset=None, url="https://blog.example/feed", where="here")
    assert [item["url"] for item in feed.items] == ["https://blog.example/a"]
