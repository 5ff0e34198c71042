"""Activity files from raw rows to staging: what is read, what is set aside and why, which observation counts."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.staging import activity
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from sources import activity as source
from sources.activity_files import open_file

NOW = datetime(2026, 2, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)
NO_POSTS = pl.DataFrame(schema=activity.RAW["posts"])
NO_INTERACTIONS = pl.DataFrame(schema=activity.RAW["interactions"])
GOOD = {"person": "ann", "kind": "like", "occurred_at": "2024-01-02T03:04:05Z"}
POST = {"post": "p1", "published_at": "2024-01-02"}


def raw(shape, *rows, loaded_at=NOW, file="a.csv"):
    """Raw rows as the source keeps them: `row_hash` is a number here, unless a row says it."""
    filled = [
        {
            "account_id": "me", "platform": "activity", "file": file, "row_number": number, "loaded_at": loaded_at,
            "row_hash": f"{file} {number} {loaded_at}", **row,
        }
        for number, row in enumerate(rows, 1)
    ]  # fmt: skip
    return pl.DataFrame(filled, schema=activity.RAW[shape])


def interactions(frame, posts=NO_POSTS):
    return enforce(TABLES["stg_activity__interactions"], activity.interactions(frame, posts))


def posts(frame):
    return enforce(TABLES["stg_activity__posts"], activity.posts(frame))


def set_aside(*, posts=NO_POSTS, interactions=NO_INTERACTIONS):
    return enforce(TABLES["stg_activity__quarantine"], activity.quarantine(posts, interactions))


def test_nothing_imported_yet():
    assert interactions(NO_INTERACTIONS).is_empty()
    assert posts(NO_POSTS).is_empty()
    assert set_aside().is_empty()
    empty = pl.DataFrame(schema=activity.RAW["readings"])
    assert enforce(TABLES["stg_activity__readings"], activity.readings(empty)).is_empty()


def test_an_interaction_with_everything():
    row = {
        "person": " https://ann.example/ ", "kind": "Reply", "occurred_at": "2024-01-02 03:04", "direction": "Outbound",
        "post": "p1", "interaction": "7", "in_reply_to": "6", "observed_at": "2024-01-02T05:00:00+01:00",
        "retracted_at": "Thu, 04 Jan 2024 00:00:00 GMT",
    }  # fmt: skip
    (found,) = interactions(raw("interactions", row)).to_dicts()
    assert found == {
        "account_id": "me", "platform": "activity", "source": "activity", "interaction": "7", "person": "https://ann.example/",
        "person_name": None, "person_url": "https://ann.example/", "direction": "outbound", "kind": "reply", "target_url": None,
        "post": "p1", "in_reply_to": "6", "is_site_wide": False, "occurred_at": datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        "observed_at": datetime(2024, 1, 2, 4, tzinfo=UTC), "not_before_at": None, "is_time_known": True,
        "retracted_at": datetime(2024, 1, 4, tzinfo=UTC), "loaded_at": NOW,
    }  # fmt: skip


def test_the_least_an_interaction_needs():
    (found,) = interactions(raw("interactions", {**GOOD, "row_hash": "abc"})).to_dicts()
    assert found["interaction"] == "abc"
    assert found["direction"] == "inbound"
    assert found["observed_at"] == found["occurred_at"] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    typed = {"person": "ann", "kind": "like", "at_utc": datetime(2024, 1, 2, tzinfo=UTC)}
    (found,) = interactions(raw("interactions", typed)).to_dicts()
    assert found["occurred_at"] == datetime(2024, 1, 2, tzinfo=UTC)


def test_a_post_given_by_its_address_is_matched_later():
    frame = raw("interactions", {**GOOD, "post": "https://me.example/1"}, {**GOOD, "post": "1"})
    found = interactions(frame).sort("post", nulls_last=False)
    assert found.select("target_url", "post").rows() == [("https://me.example/1", None), (None, "1")]


def test_time_unknown_unless_seen_soon_after_the_post():
    given_posts = raw("posts", {"post": "p", "published_at": "2024-01-01"})
    frame = raw(
        "interactions",
        {**GOOD, "occurred_at": None, "observed_at": "2024-01-03", "post": "p", "interaction": "soon"},
        {**GOOD, "occurred_at": None, "observed_at": "2024-01-03T00:00:01", "post": "p", "interaction": "later"},
        {**GOOD, "occurred_at": None, "observed_at": "2024-01-03", "post": "q", "interaction": "no post"},
    )
    found = {row["interaction"]: row for row in interactions(frame, given_posts).to_dicts()}
    assert {name: row["is_time_known"] for name, row in found.items()} == {
        "soon": True,
        "later": False,
        "no post": False,
    }
    assert found["soon"]["not_before_at"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert found["soon"]["occurred_at"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"person": " "}, "no person"),
        ({"kind": None}, "no kind"),
        ({"kind": "poke"}, "unknown kind"),
        ({"direction": "sideways"}, "unknown direction"),
        ({"occurred_at": None}, "neither occurred_at nor observed_at"),
        ({"occurred_at": "yesterday"}, "occurred_at is no usable time"),
        ({"occurred_at": "20240102"}, "occurred_at is no usable time"),
        ({"occurred_at": "yesterday", "observed_at": "2024-01-02"}, "occurred_at is no usable time"),
        ({"occurred_at": "1989-12-31T23:59:59Z"}, "occurred_at is no usable time"),
        ({"occurred_at": None, "at_utc": datetime(1970, 1, 1, tzinfo=UTC)}, "occurred_at is no usable time"),
        ({"occurred_at": "2026-02-02T03:00:01Z"}, "occurred_at is in the future"),
        ({"observed_at": "soon"}, "observed_at is no usable time"),
        ({"retracted_at": "soon"}, "retracted_at is no usable time"),
        ({"observed_at": "2024-01-01T03:04:04Z"}, "occurred_at is more than a day after observed_at"),
        ({"account_id": source.NO_ACCOUNT}, "no account"),
        ({"person": None, "kind": None, "problem": "the line is no JSON object"}, "the line is no JSON object"),
        ({"kind": "poke", "retracted_at": "soon"}, "unknown kind; retracted_at is no usable time"),
    ],
)
def test_interactions_set_aside(change, reason):
    frame = raw("interactions", GOOD, {**GOOD, **change})
    assert interactions(frame).height == 1
    (found,) = set_aside(interactions=frame).to_dicts()
    assert (found["reason"], found["row_ref"], found["shape"]) == (reason, "a.csv:2", "interactions")
    assert json.loads(found["row"])["occurred_at"] == (change.get("occurred_at", GOOD["occurred_at"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"post": None}, "no post"),
        ({"published_at": ""}, "no published_at"),
        ({"published_at": "soon"}, "published_at is no usable time"),
        ({"published_at": "2030-01-01"}, "published_at is in the future"),
        ({"deleted_at": "soon"}, "deleted_at is no usable time"),
        ({"words": "many"}, "words is no whole number"),
        ({"words": "-1"}, "words is no whole number"),
        ({"links": "1.5"}, "links is no whole number"),
    ],
)
def test_posts_set_aside(change, reason):
    frame = raw("posts", POST, {**POST, "post": "p2", **change})
    assert posts(frame)["post"].to_list() == ["p1"]
    (found,) = set_aside(posts=frame).to_dicts()
    assert (found["reason"], found["row_ref"], found["shape"]) == (reason, "a.csv:2", "posts")


def test_limits_that_are_still_good():
    frame = raw(
        "interactions",
        {**GOOD, "occurred_at": "2026-02-02T03:00:00Z"},
        {**GOOD, "occurred_at": "1990-01-01"},
        {**GOOD, "observed_at": "2024-01-01T03:04:05Z"},
    )
    assert interactions(frame).height == 3
    assert set_aside(interactions=frame).is_empty()


def test_a_post_with_everything():
    row = {
        "post": "p1", "published_at": "2024-01-02", "kind": "Article", "language": "fr", "words": "12.0", "links": "0",
        "url": "https://me.example/1", "text": "Commandez dès maintenant https://me.example/x", "deleted_at": "2025-01-01",
    }  # fmt: skip
    (found,) = posts(raw("posts", row)).to_dicts()
    at = datetime(2024, 1, 2, tzinfo=UTC)
    assert found == {
        "account_id": "me", "platform": "activity", "source": "activity", "post": "p1", "url": "https://me.example/1",
        "published_at": at, "deleted_at": datetime(2025, 1, 1, tzinfo=UTC), "kind": "article", "language": "fr", "words": 12,
        "links": 0, "is_promotional": True, "promotion_reason": "sales_language", "observed_at": at, "loaded_at": NOW,
    }  # fmt: skip


def test_words_and_links_are_counted_where_only_the_text_is_given():
    frame = raw("posts", POST, {**POST, "post": "p2", "text": "Two words https://a.example"})
    assert posts(frame).select("words", "links", "is_promotional").rows() == [(None, None, None), (3, 1, False)]


def test_the_newest_good_observation_counts_and_the_first_sight_stays():
    frame = pl.concat(
        [
            raw("interactions", {**GOOD, "interaction": "1", "observed_at": "2024-01-03"}),
            raw(
                "interactions",
                {**GOOD, "interaction": "1", "kind": "reply", "observed_at": "2024-01-09"},
                loaded_at=NOW + DAY,
            ),
            raw("interactions", {**GOOD, "interaction": "1", "kind": "poke"}, loaded_at=NOW + 2 * DAY),
        ]
    )
    (found,) = interactions(frame).to_dicts()
    assert (found["kind"], found["observed_at"]) == ("reply", datetime(2024, 1, 3, tzinfo=UTC))
    assert set_aside(interactions=frame)["reason"].to_list() == ["unknown kind"]
    healed = pl.concat(
        [frame, raw("interactions", {**GOOD, "interaction": "1", "kind": "quote"}, loaded_at=NOW + 3 * DAY)]
    )
    assert set_aside(interactions=healed).is_empty()


def test_a_later_time_than_the_first_sight_allows_is_its_own_sight():
    frame = pl.concat(
        [
            raw("interactions", {**GOOD, "interaction": "1"}),
            raw("interactions", {**GOOD, "interaction": "1", "occurred_at": "2025-01-01"}, loaded_at=NOW + DAY),
        ]
    )
    (found,) = interactions(frame).to_dicts()
    assert found["observed_at"] == found["occurred_at"] == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_newest_post_counts():
    frame = pl.concat([raw("posts", POST), raw("posts", {**POST, "language": "de"}, loaded_at=NOW + DAY)])
    assert posts(frame)["language"].to_list() == ["de"]


def test_rows_of_files_with_one_name_are_told_apart():
    bad = {**GOOD, "kind": "poke"}
    frame = pl.concat([raw("interactions", bad), raw("interactions", {**bad, "person": "bob"}, loaded_at=NOW + DAY)])
    found = set_aside(interactions=frame)
    assert found["row_ref"].n_unique() == 2
    assert found.filter(pl.col("row_ref") == "a.csv:1")["row"].str.contains("bob").all()
    assert found["row_ref"].str.starts_with("a.csv:1").all()


def test_readings_offered_once_stay_offered():
    rows = [
        {
            "account_id": "me", "platform": "activity", "source": "activity", "stream": stream, "read_at": NOW,
            "status": status, "row_hash": str(number), "loaded_at": NOW + number * DAY,
        }
        for number, (stream, status) in enumerate([("posts", "ok"), ("posts", "not_offered"), ("inbound", "ok")])
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=activity.RAW["readings"])
    found = enforce(TABLES["stg_activity__readings"], activity.readings(frame))
    assert found.select("stream", "status").rows() == [("inbound", "ok"), ("posts", "ok")]


some = st.fixed_dictionaries(
    {
        "person": st.sampled_from(["ann", "bob", None]),
        "kind": st.sampled_from(["like", "reply", "poke"]),
        "occurred_at": st.sampled_from(["2024-01-02", "2024-03-01T10:00:00Z", "soon", None]),
        "observed_at": st.sampled_from(["2024-03-01", None]),
        "interaction": st.sampled_from(["1", "2", None]),
    }
)


@given(rows=st.lists(some, max_size=10), random=st.randoms(use_true_random=False))
def test_every_row_is_used_or_set_aside_in_any_order(rows, random):
    frame = raw("interactions", *rows)
    found, bad = interactions(frame), set_aside(interactions=frame)
    keyed = [row["interaction"] for row in rows]
    assert found["interaction"].is_unique().all()
    # A bad row is missing from quarantine only where a later import read it well: here all came at once.
    judged = {f"a.csv:{number}" for number in range(1, len(rows) + 1)}
    assert set(bad["row_ref"]) <= judged
    assert found.height >= len(rows) - bad.height - sum(keyed.count(key) - 1 for key in ("1", "2") if key in keyed)
    assert found.filter(pl.col("occurred_at") > pl.col("observed_at") + DAY).is_empty()
    places = list(range(frame.height))
    random.shuffle(places)
    assert interactions(frame[places]).sort("interaction").equals(found.sort("interaction"))
    assert set_aside(interactions=frame[places]).equals(bad)


@pytest.mark.shared
def test_mathoverflow_is_staged_whole(shared_data):
    file = open_file(shared_data / "mathoverflow" / "interactions.parquet", "interactions")
    reader = source._Import(account=None, platform="activity", covers=None, read_at=NOW)
    frame = pl.concat(reader.rows(file))
    found = interactions(frame)
    assert (found.height, set_aside(interactions=frame).height) == (390_441, 0)
    assert found["interaction"].is_unique().all()
