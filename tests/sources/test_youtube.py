"""The YouTube connector against an invented YouTube on loopback: what is read, what it costs, what stops it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from collected import Store, settled
from faults import SHAPES, FaultProxy, Schedule
from serve_youtube import KEY, ME, Video, YouTube, community, person, serving

from assets.staging import youtube as staging
from sources import youtube
from sources.collection import Collection
from sources.http import Client, Limits
from sources.memory import Memory
from sources.model import AccountSource, SourceError

FIRST = datetime(2024, 5, 6, 12, tzinfo=UTC)
LIMITS = Limits(connect=2.0, read=2.0, total=5.0, attempts=2, backoff=0.0, longest_wait=1.0)


@pytest.fixture
def site() -> Iterator[YouTube]:
    with serving(community()) as server:
        yield server


def account(site: YouTube, **options: Any) -> AccountSource:
    said: dict[str, Any] = {"account_id": "blog", "source": "youtube", "url": "https://www.youtube.com/@me"}
    return AccountSource(
        **{**said, "endpoint": site.address, "allow_private": True, "options": {"token": KEY}, **options}
    )


def night(
    store: Store, site: YouTube, at: datetime = FIRST, *, budget: float = 8_000, **options: Any
) -> dict[str, str]:
    """One night; what each stream came to."""
    site.requests.clear()
    collection = Collection(limits=LIMITS, budgets={"youtube": budget})
    store.collect(youtube, [account(site, **options)], read_at=at, collection=collection)
    rows = store.frame("readings").filter(pl.col("read_at") == at)
    return dict(rows.select("stream", "status").iter_rows())


def interactions(store: Store) -> set[tuple[str, str, str]]:
    rows = store.staged(staging)["interactions"].filter(pl.col("retracted_at").is_null())
    return set(rows.select("interaction", "direction", "person").iter_rows())


def whole(site: YouTube) -> Store:
    """All of it in one night without limits."""
    store = Store(youtube.TABLES)
    night(store, site)
    return store


TALK = {
    ("t1", "inbound", "ann"),
    ("t2", "inbound", "bob"),
    ("t4", "inbound", "eve"),
    ("t1.1", "outbound", "ann"),  # answers the comment
    ("t1.2", "inbound", "ann"),  # its author goes on after our answer
    ("t1.4", "outbound", "bob"),  # addresses somebody else than the comment's author
    ("t1.5", "inbound", "bob"),  # addresses us
    ("t3.1", "inbound", "eve"),  # below our own comment
    ("t3.2", "outbound", "eve"),
}
TRUTH = (
    {(i, d, person(who)) for i, d, who in TALK}
    | {(f"m{n}", "inbound", person(f"fan{n}")) for n in range(7)}
    | {(f"o{n}", "inbound", person(f"fan{n}")) for n in range(4)}
)


def test_everything_is_read_in_both_directions_and_nothing_of_what_others_say_to_each_other(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    assert set(night(store, site).values()) == {"ok"}
    assert interactions(store) == TRUTH
    staged = store.staged(staging)
    assert staged["quarantine"].is_empty()
    assert staged["posts"]["post"].to_list() == ["v-closed", "v-many", "v-more", "v-quiet", "v-talk"]
    answered = dict(staged["interactions"].select("interaction", "in_reply_to").iter_rows())
    assert (answered["t1.1"], answered["t1.2"], answered["t1.4"], answered["t1.5"]) == ("t1", "t1.1", "t1.3", "t1.4")
    assert staged["interactions"]["occurred_at"].null_count() == 0
    assert store.frame("interactions")["content_text"].null_count() == len(TRUTH)
    assert set(site.keys) == {KEY}


def test_numbers_become_counters_and_what_is_hidden_is_null(site: YouTube) -> None:
    site.followers = None
    store = whole(site)
    rows = store.staged(staging)["counters"]
    assert "followers" not in rows["counter"].to_list()
    said = {(s, c): v for s, c, v in rows.select("subject_id", "counter", "value").iter_rows()}
    assert said["v-talk", "comments"] == 13
    assert said["v-talk", "views"] == 10
    assert ("v-closed", "comments") not in said
    assert said["youtube", "posts"] == 5


def test_a_night_costs_a_unit_a_request_and_never_searches(site: YouTube) -> None:
    store = whole(site)
    assert store.frame("spending")["amount"].to_list() == [len(site.requests)]
    assert set(site.paths()) == {"channels", "playlistItems", "videos", "commentThreads", "comments"}


def test_a_second_night_reads_comments_only_where_they_are_due(site: YouTube) -> None:
    store = whole(site)
    before = interactions(store)
    night(store, site, FIRST + timedelta(hours=1))
    assert set(site.paths()) == {"channels", "playlistItems", "videos"}
    site.videos[1].comments.append(("new", "ann", "late"))
    night(store, site, FIRST + timedelta(hours=2))
    assert [asked["videoId"] for path, asked in site.requests if path == "commentThreads"] == ["v-many"] * 3
    assert interactions(store) == before | {("new", "inbound", person("ann"))}


def test_what_is_deleted_is_retracted_with_its_answers(site: YouTube) -> None:
    store = whole(site)
    talk, many = site.videos[:2]
    talk.comments.pop(0)
    del talk.replies["t1"]
    many.comments.pop()
    site.videos[2].is_listed = False
    night(store, site, FIRST + timedelta(days=1))
    gone = {(i, d, person(who)) for i, d, who in TALK if i.startswith("t1")} | {("m6", "inbound", person("fan6"))}
    assert interactions(store) == TRUTH - gone
    deleted = store.staged(staging)["posts"].filter(pl.col("deleted_at").is_not_null())
    assert deleted["post"].to_list() == ["v-more"]


def test_comments_switched_off_later_are_hidden_and_not_taken_back(site: YouTube) -> None:
    store = whole(site)
    site.videos[1].is_disabled = True
    assert set(night(store, site, FIRST + timedelta(days=30)).values()) == {"ok"}
    assert interactions(store) == TRUTH


@pytest.mark.parametrize("budget", [9, 11, 13])
def test_a_small_budget_reads_everything_once_over_some_nights(site: YouTube, budget: int) -> None:
    expected = whole(site).staged(staging)
    store, at, nights = Store(youtube.TABLES), FIRST, 0
    lists: list[str] = []
    while nights < 20:
        nights += 1
        statuses = night(store, site, at, budget=budget)
        assert len(site.requests) <= budget
        if set(statuses.values()) == {"ok"}:
            break
        assert set(statuses.values()) <= {"ok", "partial"}
        lists += [
            asked["videoId"] for path, asked in site.requests if path == "commentThreads" and "pageToken" not in asked
        ]
        at += timedelta(minutes=20, days=1)
    assert 1 < nights < 20
    staged = store.staged(staging)
    for shape in ("posts", "interactions", "quarantine"):
        assert settled(staged[shape]).equals(settled(expected[shape]))
    assert interactions(store) == TRUTH
    assert lists[0] == "v-talk"  # the newest first
    reasons = store.frame("readings")["reason"].drop_nulls()
    assert reasons.str.contains(f"The budget of {budget} quota units is used.*next night").all()


def test_two_nights_on_a_day_share_the_budget(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    night(store, site, budget=10)
    first = len(site.requests)
    statuses = night(store, site, FIRST + timedelta(hours=2), budget=12)
    assert (first, len(site.requests)) == (10, 2)
    assert set(statuses.values()) <= {"partial", "ok"}
    statuses = night(store, site, FIRST + timedelta(hours=3), budget=12)
    assert not site.requests
    assert set(statuses.values()) == {"partial"}
    assert store.frame("spending").sort("observed_at")["spent_today"].to_list() == [10, 12]
    night(store, site, FIRST + timedelta(days=1), budget=12)
    assert len(site.requests) == 12


def test_accounts_share_the_budget(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    both = [account(site), account(site, account_id="other")]
    collection = Collection(limits=LIMITS, budgets={"youtube": 20})
    store.collect(youtube, both, read_at=FIRST, collection=collection)
    assert len(site.requests) == 20
    assert store.frame("spending")["amount"].sum() == 20


def test_a_quota_error_midway_stops_at_once_and_the_next_night_goes_on(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    site.fail_after = 8
    statuses = night(store, site)
    assert len(site.requests) == 9  # nothing is asked after the refusal
    assert statuses == {"posts": "ok", "counters": "ok", "inbound": "partial", "outbound": "partial"}
    assert store.frame("readings")["reason"].drop_nulls().str.contains("the key's quota of the day is used").all()
    site.fail_after = None
    assert set(night(store, site, FIRST + timedelta(days=1)).values()) == {"ok"}
    assert interactions(store) == TRUTH


def test_a_key_revoked_midway_says_so_and_keeps_what_was_read(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    site.fail_after, site.failure = 9, (400, "API_KEY_INVALID")
    statuses = night(store, site)
    assert len(site.requests) == 10
    assert statuses["posts"] == "ok"
    assert statuses["inbound"] in {"down", "partial"}
    assert store.frame("readings")["reason"].drop_nulls().str.contains("refuses the key .API_KEY_INVALID.").all()
    assert len(store.staged(staging)["posts"]) == 5


def test_without_a_key_the_message_says_where_to_get_one(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    assert set(night(store, site, options={}).values()) == {"down"}
    reason = store.frame("readings")["reason"][0]
    assert "RAPPORT_YOUTUBE_TOKEN" in reason
    assert "console.cloud.google.com" in reason
    assert not site.requests


def test_no_message_holds_the_key(site: YouTube) -> None:
    store = Store(youtube.TABLES)
    night(store, site, options={"token": "wrong-secret"})
    assert not store.frame("readings")["reason"].str.contains("wrong-secret").any()
    assert "wrong-secret" not in repr(account(site, options={"token": "wrong-secret"}))


def test_a_channel_without_videos_is_well(site: YouTube) -> None:
    site.videos.clear()
    assert set(night(Store(youtube.TABLES), site).values()) == {"ok"}


def test_a_video_deleted_between_list_and_comments_is_gone_and_no_failure(site: YouTube) -> None:
    store = whole(site)
    real = site.answer

    def vanishing(path: str, asked: dict[str, str], key: str | None) -> tuple[int, dict[str, Any]]:
        if path == "commentThreads":
            site.videos = [video for video in site.videos if video.id != "v-more"]
        return real(path, asked, key)

    site.answer = vanishing  # type: ignore[method-assign]
    assert set(night(store, site, FIRST + timedelta(days=1)).values()) == {"ok"}
    posts = store.staged(staging)["posts"].filter(pl.col("deleted_at").is_not_null())
    assert posts["post"].to_list() == ["v-more"]


def test_the_estimate_is_not_below_what_a_whole_night_costs(site: YouTube) -> None:
    assert youtube.estimate(account(site), Memory(), FIRST) == float("inf")
    site.videos.extend(Video(f"x{n}", 5, comments=[(f"x{n}.{i}", "ann", "x") for i in range(3)]) for n in range(4))
    store = whole(site)
    memory = Memory.of(store.history("blog"), platform="youtube")
    assert youtube.estimate(account(site), memory, FIRST) == 1 + 2 + 6 + 4  # v-talk 3, v-many 2, the others 1


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("https://www.youtube.com/@me", True),
        ("youtube.com/channel/" + ME, True),
        (ME, True),
        ("@me", False),
        ("https://www.youtube.com/watch?v=abc", False),
        ("https://blog.example/@me", False),
    ],
)
def test_addresses_of_channels_are_claimed(url: str, is_ours: bool) -> None:
    assert youtube.claims(url) is is_ours


def test_a_channel_is_recognised_and_an_unknown_one_named(site: YouTube) -> None:
    with Client(allow_private=True, limits=LIMITS) as client:
        found = youtube.recognise(account(site), client)
        assert found is not None
        assert (found.url, found.summary) == (f"https://www.youtube.com/channel/{ME}", "YouTube channel 'Me', 5 videos")
        assert youtube.recognise(account(site, url="https://blog.example"), client) is None
        with pytest.raises(SourceError, match="knows no such channel"):
            youtube.recognise(account(site, url="https://www.youtube.com/@nobody"), client)
        with pytest.raises(SourceError, match="RAPPORT_YOUTUBE_TOKEN"):
            youtube.recognise(account(site, options={}), client)


def test_the_pipeline_loads_what_was_spent(site: YouTube, warehouse: Callable[[str], Any]) -> None:
    raw = warehouse("youtube")
    raw.load(youtube.source([account(site)], read_at=FIRST, collection=Collection(limits=LIMITS)))
    assert raw.table("spending")["amount"].to_list() == [len(site.requests)]


@pytest.mark.parametrize("seed", range(12))
def test_fields_that_are_missing_or_of_another_type_break_and_retract_nothing(site: YouTube, seed: int) -> None:
    store = whole(site)
    before = interactions(store)
    with FaultProxy(site.address, Schedule.seeded(seed, rate=0.4, kinds=SHAPES)) as proxy:
        collection = Collection(limits=LIMITS, budgets={"youtube": 8_000}, sleep=lambda _: None)
        said = account(site, endpoint=proxy.base)
        store.collect(youtube, [said], read_at=FIRST + timedelta(days=14), collection=collection)
    assert interactions(store) >= before
    assert store.staged(staging)["posts"]["deleted_at"].null_count() == len(store.staged(staging)["posts"])
    night(store, site, FIRST + timedelta(days=28))
    assert interactions(store) == before
