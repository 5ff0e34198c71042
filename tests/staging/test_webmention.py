"""Webmentions, from raw observations to interactions."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from assets.staging import webmention
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from sources.webmention import MENTIONS, mention_row


def night(day):
    return datetime(2024, 5, day, 3, tzinfo=UTC)


def mention(number=1, **more):
    return {
        "author": {"name": " Ben ", "url": "https://www.Ben.example/me/"},
        "url": f"https://ben.example/{number}",
        "published": None,
        "wm-received": "2024-04-01T10:00:00Z",
        "wm-id": number,
        "wm-source": f"https://ben.example/{number}",
        "wm-target": "https://blog.example/post",
        "wm-property": "in-reply-to",
        "wm-private": False,
        **more,
    }


def raw(*nights):
    """Raw observations: one list of mentions per night, as the connector stores them."""
    frames = [
        pl.from_arrow(MENTIONS.arrow([mention_row("ada", m, store_text=False) for m in mentions], loaded_at=night(day)))
        for day, mentions in enumerate(nights, start=1)
    ]
    return pl.concat(frames).unique("row_hash", keep="first", maintain_order=True)


def staged(*nights):
    return enforce(TABLES["stg_webmention__interactions"], webmention.interactions(raw(*nights)))


def set_aside(*nights):
    return enforce(TABLES["stg_webmention__quarantine"], webmention.quarantine(raw(*nights)))


def test_one_row():
    row = staged([mention(published="2024-03-31T23:00:00-02:00")]).row(0, named=True)
    assert row == {
        "account_id": "ada",
        "platform": "webmention",
        "source": "webmention",
        "interaction": "1",
        "person": "ben.example/me",
        "person_name": "Ben",
        "person_url": "https://www.Ben.example/me/",
        "direction": "inbound",
        "kind": "reply",
        "target_url": "https://blog.example/post",
        "post": None,
        "in_reply_to": None,
        "is_site_wide": False,
        "occurred_at": datetime(2024, 4, 1, 1, tzinfo=UTC),
        "observed_at": datetime(2024, 4, 1, 10, tzinfo=UTC),
        "not_before_at": None,
        "is_time_known": True,
        "retracted_at": None,
        "loaded_at": night(1),
    }


def test_kinds():
    kinds = ["in-reply-to", "like-of", "repost-of", "mention-of", "bookmark-of", "rsvp"]
    rows = staged([mention(number, **{"wm-property": kind}) for number, kind in enumerate(kinds)])
    assert rows.sort("interaction")["kind"].to_list() == ["reply", "like", "repost", "mention", "bookmark", "rsvp"]


@pytest.mark.parametrize(
    ("url", "person"),
    [
        ("https://ben.example", "ben.example"),
        ("http://WWW.ben.example:8080/A/?#x", "ben.example/A"),
        ("https://face.example/profile.php?id=7#wall", "face.example/profile.php?id=7"),
        ("ben.example/me", None),
        ("mailto:ben@ben.example", None),
        ("", None),
        (None, None),
    ],
)
def test_person(url, person):
    assert pl.select(webmention.person(pl.lit(url, pl.String))).item() == person


@pytest.mark.parametrize(
    ("target", "is_site_wide"),
    [
        ("https://www.blog.example", True),
        ("http://blog.example/", True),
        ("https://blog.example/?utm_source=x#top", True),
        ("https://blog.example/a", False),
    ],
)
def test_site_wide(target, is_site_wide):
    assert staged([mention(**{"wm-target": target})])["is_site_wide"].to_list() == [is_site_wide]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"author": None}, "no address of the author"),
        ({"author": {"url": "Ben"}}, "no address of the author"),
        ({"wm-property": "wink-of"}, "wm-property is missing or unknown"),
        ({"wm-property": None}, "wm-property is missing or unknown"),
        ({"wm-id": "x"}, "no wm-id"),
        ({"wm-target": None}, "no wm-target"),
        ({"wm-received": None}, "wm-received is missing"),
        ({"wm-received": "noon"}, "wm-received is no usable time"),
        ({"published": "noon"}, "published is no usable time"),
        ({"published": "1970-01-01T00:00:00Z"}, "published is no usable time"),
        ({"published": "2024-04-02T10:00:01Z"}, "published more than a day after"),
    ],
)
def test_bad_rows_are_set_aside_with_the_reason_and_stop_nothing(wrong, reason):
    rows = [mention(1, **wrong), mention(2)]
    assert staged(rows)["interaction"].to_list() == ["2"]
    bad = set_aside(rows)
    assert bad.height == 1
    assert reason in bad["reason"][0]
    assert json.loads(bad["row"][0])["wm_source"] == "https://ben.example/1"


def test_several_reasons_are_all_said():
    bad = set_aside([mention(author=None, published="noon", **{"wm-property": "x"})])
    assert bad["reason"][0].count(";") == 2


def test_newest_observation_wins_but_the_first_time_seen_stays():
    rows = staged(
        [mention()], [mention(**{"wm-property": "mention-of", "wm-received": "2024-04-20T10:00:00Z"})], [mention(2)]
    )
    first = rows.filter(interaction="1").row(0, named=True)
    assert (first["kind"], first["observed_at"], first["loaded_at"]) == (
        "mention",
        datetime(2024, 4, 1, 10, tzinfo=UTC),
        night(2),
    )


def test_a_later_date_of_publication_cannot_lie_after_the_first_sight():
    again = mention(**{"published": "2024-04-20T09:00:00Z", "wm-received": "2024-04-20T10:00:00Z"})
    assert staged([mention()], [again])["loaded_at"].to_list() == [night(1)]
    assert set_aside([mention()], [again]).height == 1


def test_bad_observation_displaces_no_good_one_and_is_forgotten_when_repaired():
    bad = mention(published="noon")
    assert staged([mention()], [bad])["interaction"].to_list() == ["1"]
    assert set_aside([mention()], [bad])["row_ref"].to_list() == ["1"]
    assert set_aside([bad], [mention()]).is_empty()


def test_two_bad_rows_without_an_id_are_two():
    rows = set_aside([mention(1, **{"wm-id": None}), mention(2, **{"wm-id": None})])
    assert rows["row_ref"].n_unique() == 2


def test_order_of_rows_does_not_matter():
    frame = raw([mention(n, published=p) for n, p in enumerate([None, "noon", "2024-03-01"])], [mention(0, url="u")])
    for stage in (webmention.interactions, webmention.quarantine):
        assert stage(frame).collect().equals(stage(frame.reverse()).collect())


def test_before_anything_was_loaded():
    empty = {name: pl.DataFrame(schema=schema) for name, schema in webmention.RAW.items()}
    frames = {
        "profiles": webmention.profiles(empty["profiles"]),
        "interactions": webmention.interactions(empty["mentions"]),
        "readings": webmention.readings(empty["readings"]),
        "quarantine": webmention.quarantine(empty["mentions"]),
    }
    for shape, frame in frames.items():
        assert enforce(TABLES[f"stg_webmention__{shape}"], frame).is_empty()


def test_profile_is_the_site_as_configured_last():
    rows = [
        {"account_id": "ada", "url": "https://old.example", "domain": "old.example", "loaded_at": night(1)},
        {"account_id": "ada", "url": "https://www.Blog.example/", "domain": "www.blog.example", "loaded_at": night(2)},
    ]
    frame = pl.DataFrame(rows, schema=webmention.RAW["profiles"])
    staged_profile = enforce(TABLES["stg_webmention__profiles"], webmention.profiles(frame))
    assert staged_profile.select("url", "host").rows() == [("https://www.Blog.example/", "blog.example")]


@pytest.mark.shared
def test_real_site_is_staged_without_loss(shared_data):
    mentions = json.loads((shared_data / "webmention-nhoizey" / "mentions.jf2.json").read_text())["children"]
    rows = staged(mentions)
    assert rows.height == 2717
    assert dict(rows["kind"].value_counts().rows()) == {
        "reply": 685,
        "like": 762,
        "repost": 238,
        "mention": 1027,
        "bookmark": 5,
    }
    assert rows["is_site_wide"].sum() == 830
    assert rows["person"].n_unique() == 1059
    assert set_aside(mentions).is_empty()
