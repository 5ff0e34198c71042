"""The common staging: times, threads, retractions, and what is known of when something happened."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.staging import bluesky, observations, wordpress
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from sources import observations as raw

NIGHT = datetime(2026, 5, 10, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def frame(table, rows):
    """Raw rows, each loaded at its `loaded_at` (default: the first night)."""
    full = [
        {"account_id": "a", "platform": "bluesky", "loaded_at": NIGHT, **row, "row_hash": str(number)}
        for number, row in enumerate(rows)
    ]
    schema = observations.RAW[table.name]
    return pl.DataFrame([{name: row.get(name) for name in schema.names()} for row in full], schema=schema)


def posts(*rows):
    return frame(raw.POSTS, rows)


def sightings(*rows):
    """(list, item, event, night)"""
    return frame(
        raw.SIGHTINGS,
        [{"list": name, "item": item, "event": event, "observed_at": NIGHT + n * DAY} for name, item, event, n in rows],
    )


def lists(*rows):
    """(list, night, is_complete)"""
    return frame(raw.LISTS, [{"list": n, "observed_at": NIGHT + k * DAY, "is_complete": c} for n, k, c in rows])


def like(person, night=0, **more):
    return {
        "interaction": f"like:1:{person}", "direction": "inbound", "kind": "like", "person": person, "post": "1",
        "loaded_at": NIGHT + night * DAY, **more,
    }  # fmt: skip


ONE = {"post": "1", "published_at": "2026-05-09T12:00:00Z", "text": "Hello wide world, see https://x.example"}


def staged(interactions, *, own=(ONE,), read=(), seen=()):
    rows = bluesky.interactions(frame(raw.INTERACTIONS, interactions), posts(*own), lists(*read), sightings(*seen))
    table = enforce(TABLES["stg_bluesky__interactions"], rows)
    return {row["interaction"]: row for row in table.to_dicts()}


def test_posts_know_their_words_and_when_they_went():
    rows = bluesky.posts(
        posts(ONE, {**ONE, "post": "2"}), sightings(("posts", "2", "seen", 0), ("posts", "2", "gone", 3))
    )
    first, second = enforce(TABLES["stg_bluesky__posts"], rows).to_dicts()
    assert (first["words"], first["links"], first["deleted_at"]) == (5, 1, None)
    assert first["observed_at"] == first["published_at"] == datetime(2026, 5, 9, 12, tzinfo=UTC)
    assert second["deleted_at"] == NIGHT + 3 * DAY


def test_a_post_that_came_back_is_not_deleted():
    events = [("posts", "1", "seen", 0), ("posts", "1", "gone", 3), ("posts", "1", "seen", 4)]
    assert bluesky.posts(posts(ONE), sightings(*events)).collect()["deleted_at"].to_list() == [None]


def test_a_thread_is_its_first_post():
    own = [
        ONE,
        {"post": "2", "published_at": "2026-05-09T12:50:00Z", "in_reply_to": "1"},
        {"post": "3", "published_at": "2026-05-09T13:40:00Z", "in_reply_to": "2"},
        {"post": "4", "published_at": "2026-05-09T15:00:00Z", "in_reply_to": "3"},
    ]
    assert bluesky.posts(posts(*own), sightings()).collect()["post"].to_list() == ["1", "4"]
    found = staged([{**like("ann"), "post": "3"}, {**like("bob"), "post": "4"}], own=own)
    assert [row["post"] for row in found.values()] == ["1", "4"]
    counted = frame(
        raw.COUNTERS,
        [{"subject": "post", "subject_id": s, "counter": "likes", "value": 1, "observed_at": NIGHT} for s in "13"],
    )
    assert bluesky.counters(counted, posts(*own)).collect()["subject_id"].to_list() == ["1"]


def test_time_is_known_where_the_platform_says_it():
    found = staged([like("ann", 9, occurred_at="2026-05-11T08:00:00Z")])["like:1:ann"]
    assert found["is_time_known"]
    assert found["occurred_at"] == datetime(2026, 5, 11, 8, tzinfo=UTC)
    assert found["observed_at"] == NIGHT + 9 * DAY


@pytest.mark.parametrize(
    ("night", "read", "known", "not_before"),
    [
        (0, [("likes:1", 0, True)], True, datetime(2026, 5, 9, 12, tzinfo=UTC)),  # 15 hours after the post
        (4, [("likes:1", 4, True)], False, datetime(2026, 5, 9, 12, tzinfo=UTC)),  # first read four nights later
        (4, [("likes:1", 3, True), ("likes:1", 4, True)], True, NIGHT + 3 * DAY),
        (4, [("likes:1", 1, True), ("likes:1", 3, False), ("likes:1", 4, True)], False, NIGHT + 1 * DAY),
    ],
)
def test_else_within_two_days_of_the_last_complete_reading_without_it(night, read, known, not_before):
    found = staged([like("ann", night)], read=read, seen=[("likes:1", "like:1:ann", "seen", night)])["like:1:ann"]
    assert found["occurred_at"] is None
    assert found["is_time_known"] is known
    assert found["not_before_at"] == not_before


def test_what_a_complete_reading_no_longer_found_is_taken_back():
    seen = [
        ("likes:1", "like:1:ann", "seen", 0),
        ("likes:1", "like:1:ann", "gone", 2),
        ("likes:1", "like:1:bob", "seen", 0),
    ]
    found = staged([like("ann"), like("bob")], seen=seen)
    assert found["like:1:ann"]["retracted_at"] == NIGHT + 2 * DAY
    assert found["like:1:bob"]["retracted_at"] is None


def test_a_list_and_a_notification_are_one_interaction():
    told = {**like("ann", 1, occurred_at="2026-05-09T20:00:00Z"), "person_name": "Ann"}
    found = staged([like("ann", 0), told, like("ann", 2)])
    assert len(found) == 1
    assert found["like:1:ann"]["occurred_at"] == datetime(2026, 5, 9, 20, tzinfo=UTC)
    assert (found["like:1:ann"]["person_name"], found["like:1:ann"]["observed_at"]) == ("Ann", NIGHT)


def test_what_cannot_be_read_is_set_aside_with_the_reason():
    bad = [
        {**like("ann"), "occurred_at": "soon"},
        {**like("bob"), "kind": "poke"},
        {**like("cy"), "person": " "},
        {**like("dan"), "occurred_at": "2026-06-01T00:00:00Z"},
    ]
    assert staged(bad) == {}
    rows = bluesky.quarantine(posts(ONE, {"post": "9"}), frame(raw.INTERACTIONS, bad)).collect()
    assert enforce(TABLES["stg_bluesky__quarantine"], rows).sort("row_ref")["reason"].to_list() == [
        "no time of publication",
        "the time is no usable time",
        "the kind is missing or unknown",
        "no person",
        "it happened more than a day after it was read",
    ]


def test_a_site_owns_its_host_and_a_profile_does_not():
    rows = frame(raw.PROFILES, [{"profile": "p", "url": "https://www.blog.example/", "handle": "ann"}])
    assert wordpress.profiles(rows).collect()["host"].to_list() == ["blog.example"]
    assert bluesky.profiles(rows).collect()["host"].to_list() == [None]


def test_the_order_of_rows_does_not_matter():
    rows = [like(p, n, occurred_at=t) for p in "abc" for n, t in ((0, None), (1, "2026-05-09T20:00:00Z"), (3, None))]
    seen = [("likes:1", f"like:1:{p}", e, n) for p in "abc" for n, e in ((0, "seen"), (2, "gone"), (4, "seen"))]
    expected = staged(rows, seen=seen)
    dice = random.Random(1)
    for _ in range(5):
        dice.shuffle(seen)
        assert staged(rows, seen=seen) == expected
