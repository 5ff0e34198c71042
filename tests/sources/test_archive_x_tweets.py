"""Tweets as X's archive writes them, as it once wrote them, and as it should not."""

import json

import pytest

from sources import archive_x_tweets
from sources.archive_x_tweets import Entities, Link, Named, Tweet

PLAIN = {
    "id_str": "1",
    "created_at": "Wed Oct 10 20:19:24 +0000 2018",
    "full_text": "👋 https://t.co/a",
    "lang": "en",
    "unknown": {"deeply": [1, None]},
    "entities": {
        "urls": [{"url": "https://t.co/a", "expanded_url": "https://blog.example", "indices": ["0", "1"]}],
        "user_mentions": [{"id_str": "7", "screen_name": "ann"}],
        "media": [{}],
    },
}
READ = Tweet(
    id_str="1",
    created_at="Wed Oct 10 20:19:24 +0000 2018",
    full_text="👋 https://t.co/a",
    lang="en",
    entities=Entities([Link("https://t.co/a", "https://blog.example")], [Named("7", None, "ann")]),
)


def tweets(data):
    """The tweets by what they say: one that stands bare has a type of its own."""
    names = Tweet.__struct_fields__
    return [Tweet(**{name: getattr(tweet, name) for name in names}) for tweet in archive_x_tweets.tweets(data)]


def written(*items):
    return json.dumps(items).encode()


def test_both_spellings_are_read_alike():
    assert tweets(written({"tweet": PLAIN}, PLAIN)) == [READ, READ]


def test_the_long_way_reads_what_the_short_way_does():
    data = written({"tweet": PLAIN}, PLAIN, {"tweet": {"id": "2", "entities": None}})
    quick = tweets(data)
    slow = [*tweets(data[:-1] + b', {"tweet": {"lang": 3}}]')]
    assert slow[:2] == quick[:2]
    assert slow[2] == quick[2] == Tweet(id="2")
    assert slow[3].lang == "3"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"tweet": {"id": 12}}, Tweet(id="12")),
        ({"tweet": {"id_str": "1", "entities": ["no object"]}}, Tweet(id_str="1")),
        ({"tweet": {"id_str": "1", "entities": {"urls": {}, "user_mentions": ["ann"]}}}, Tweet(id_str="1", entities=Entities([], []))),
        ({"tweet": "gone"}, Tweet()),
        ("no object", Tweet()),
        ({"tweet": {"full_text": "\ud800 half"}}, Tweet(full_text="\ud800 half")),
    ],
)  # fmt: skip
def test_what_is_not_as_x_writes_it_loses_nothing_beside_it(item, expected):
    assert tweets(written(item, {"tweet": PLAIN})) == [expected, READ]


def test_what_is_no_json_is_said():
    for data in (b"[{", b"[1,]", b""):
        with pytest.raises(ValueError, match=r"line|end|expected|value"):
            tweets(data)
