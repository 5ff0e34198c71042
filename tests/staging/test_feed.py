"""Feeds, from raw observations to posts."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from assets.staging import feed
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from sources.feed import ITEMS, PROFILES
from sources.feed_formats import parse_feed

URL = "https://blog.example/feed.json"


def night(day):
    return datetime(2024, 5, day, 3, tzinfo=UTC)


def item(number=1, **more):
    return {
        "account_id": "ada",
        "feed_url": URL,
        "item_id": str(number),
        "url": f"https://blog.example/{number}",
        "published": "2024-04-01T10:00:00Z",
        "content_text": "three words here",
        **more,
    }


def raw(*nights):
    """Raw observations: one list of items per night, as the connector stores them."""
    frames = [pl.from_arrow(ITEMS.arrow(items, loaded_at=night(day))) for day, items in enumerate(nights, start=1)]
    return pl.concat(frames).unique("row_hash", keep="first", maintain_order=True)


def about(**more):
    row = {"account_id": "ada", "url": URL, "home_page_url": "https://www.blog.example/", **more}
    return pl.from_arrow(PROFILES.arrow([row], loaded_at=night(1)))


def posts(*nights, profiles=None):
    return enforce(
        TABLES["stg_feed__posts"], feed.posts(raw(*nights), about(language="en") if profiles is None else profiles)
    )


def set_aside(*nights):
    return enforce(TABLES["stg_feed__quarantine"], feed.quarantine(raw(*nights)))


def test_one_post():
    assert posts([item(language="fr")]).row(0, named=True) == {
        "account_id": "ada",
        "platform": "feed",
        "source": "feed",
        "post": "1",
        "url": "https://blog.example/1",
        "published_at": datetime(2024, 4, 1, 10, tzinfo=UTC),
        "deleted_at": None,
        "kind": "article",
        "language": "fr",
        "words": 3,
        "links": 0,
        "is_promotional": False,
        "promotion_reason": None,
        "observed_at": datetime(2024, 4, 1, 10, tzinfo=UTC),
        "loaded_at": night(1),
    }


def test_link_post_language_of_the_feed_and_promotion():
    row = posts([item(external_url="https://shop.example.com/x", content_text="Get 20 % off, order now!")]).row(
        0, named=True
    )
    assert (row["kind"], row["language"], row["links"]) == ("link", "en", 1)
    assert row["is_promotional"]
    assert row["promotion_reason"] == "commerce_link,sales_language"


@pytest.mark.parametrize(
    ("text", "words", "links"),
    [
        ({"content_text": "one two https://a.example"}, 3, 1),
        (
            {"content_text": None, "content_html": "<p>one<br>two</p><script>var x</script> <a href='/x'>three</a>"},
            3,
            1,
        ),
        ({"content_text": None, "summary": "one &amp; two"}, 2, 0),
        ({"content_text": None}, None, None),
        ({"content_text": ""}, 0, 0),
        ({"content_text": "日本語 — émigré"}, 2, 0),
    ],
)
def test_words_and_links(text, words, links):
    row = posts([item(**text)]).row(0, named=True)
    assert (row["words"], row["links"]) == (words, links)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"item_id": None}, "no id"),
        ({"published": None}, "no date"),
        ({"published": "  "}, "no date"),
        ({"published": "soon"}, "the date of publication is no usable time"),
        ({"published": "soon", "updated": "2024-04-02"}, "the date of publication is no usable time"),
        ({"updated": "later"}, "the date of the change is no usable time"),
        ({"item_id": None, "published": None, "extra": '"x"'}, "the item is no object"),
    ],
)
def test_bad_items_are_set_aside_with_the_reason_and_stop_nothing(wrong, reason):
    items = [item(1, **wrong), item(2)]
    assert posts(items)["post"].to_list() == ["2"]
    bad = set_aside(items)
    assert bad["reason"].to_list() == [reason]
    assert json.loads(bad["row"][0])["url"] == "https://blog.example/1"


def test_of_two_items_with_one_id_the_later_version_counts():
    items = [item(title="old", updated="2024-04-02"), item(title="new", updated="2024-04-03", content_text="one")]
    assert posts(items)["words"].to_list() == [1]
    bad = set_aside(items)
    assert bad["reason"].to_list() == ["another item with this id in the same reading"]
    assert json.loads(bad["row"][0])["title"] == "old"


def test_two_feeds_may_hold_the_same_post():
    items = [item(), item(feed_url="https://blog.example/rss.xml", title="again")]
    assert posts(items).height == 1
    assert set_aside(items).is_empty()


def test_newest_observation_wins():
    rows = posts([item(), item(2)], [item(content_text="one")])
    assert rows.select("post", "words", "loaded_at").rows() == [("1", 1, night(2)), ("2", 3, night(1))]


def test_item_that_only_says_updated_keeps_its_first_date():
    old, new = item(published=None, updated="2024-04-02"), item(published=None, updated="2024-04-09")
    assert posts([old], [new])["published_at"].to_list() == [datetime(2024, 4, 2, tzinfo=UTC)]


def test_profiles():
    two = pl.concat([about(), about(url="https://blog.example/z", home_page_url=None, title="Z")])
    rows = enforce(TABLES["stg_feed__profiles"], feed.profiles(two))
    assert rows.select("account_id", "url", "host").rows() == [("ada", "https://www.blog.example/", "blog.example")]
    only = enforce(TABLES["stg_feed__profiles"], feed.profiles(about(home_page_url=None)))
    assert only["url"].to_list() == ["https://blog.example/"]


def test_order_of_rows_does_not_matter():
    frame = raw([item(n, published=p) for n, p in enumerate([None, "soon", "2024-03-01"])], [item(2, title="t")])
    assert feed.posts(frame, about()).collect().equals(feed.posts(frame.reverse(), about()).collect())
    assert feed.quarantine(frame).collect().equals(feed.quarantine(frame.reverse()).collect())


def test_before_anything_was_loaded():
    empty = {name: pl.DataFrame(schema=schema) for name, schema in feed.RAW.items()}
    frames = {
        "profiles": feed.profiles(empty["profiles"]),
        "posts": feed.posts(empty["items"], empty["profiles"]),
        "readings": feed.readings(empty["readings"]),
        "quarantine": feed.quarantine(empty["items"]),
    }
    for shape, frame in frames.items():
        assert enforce(TABLES[f"stg_feed__{shape}"], frame).is_empty()


@pytest.mark.shared
def test_real_feed_is_staged_without_loss(shared_data):
    body = (shared_data / "webmention-nhoizey" / "feed.json").read_bytes()
    found = parse_feed(body, charset=None, url=URL, where=URL)
    items = [{"account_id": "ada", "feed_url": URL, **entry} for entry in found.items]
    rows = posts(items, profiles=about())
    assert (rows.height, rows["kind"].value_counts().sort("kind").rows()) == (1476, [("article", 908), ("link", 568)])
    assert rows.filter(pl.col("published_at") < datetime(2020, 9, 19, tzinfo=UTC)).height == 710
    assert set_aside(items).is_empty()
