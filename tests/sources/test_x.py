"""The X connector against an invented X on loopback: what is read, what it costs, what stops it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from collected import Store, settled
from faults import SHAPES, FaultProxy, Schedule
from serve_x import ME, TOKEN, Post, X, community, post_id, serving

from assets.staging import x as staging
from sources import x
from sources.collection import Collection
from sources.http import Client, Limits
from sources.memory import Memory
from sources.model import AccountSource, SourceError

FIRST = datetime(2024, 5, 16, 12, tzinfo=UTC)
LIMITS = Limits(connect=2.0, read=2.0, total=5.0, attempts=2, backoff=0.0, longest_wait=1.0)


@pytest.fixture
def site() -> Iterator[X]:
    with serving(community()) as server:
        yield server


def account(site: X, **options: Any) -> AccountSource:
    said: dict[str, Any] = {"account_id": "blog", "source": "x", "url": "https://x.com/me"}
    return AccountSource(
        **{**said, "endpoint": site.address, "allow_private": True, "options": {"token": TOKEN}, **options}
    )


def night(store: Store, site: X, at: datetime = FIRST, *, budget: float = 10_000, **options: Any) -> dict[str, str]:
    """One night; what each stream came to."""
    site.requests.clear()
    site.returned = 0
    collection = Collection(limits=LIMITS, budgets={"x": budget}, sleep=lambda _: None)
    store.collect(x, [account(site, **options)], read_at=at, collection=collection)
    rows = store.frame("readings").filter(pl.col("read_at") == at)
    return dict(rows.select("stream", "status").iter_rows())


def interactions(store: Store) -> set[tuple[str, str, str, str]]:
    rows = store.staged(staging)["interactions"].filter(pl.col("retracted_at").is_null())
    return set(rows.select("interaction", "direction", "kind", "person").iter_rows())


def whole(site: X) -> Store:
    """All of it in one night without limits."""
    store = Store(x.TABLES)
    night(store, site)
    return store


def truth() -> set[tuple[str, str, str, str]]:
    own = [post for post in community().posts if post.author == ME and not post.replied_to]
    clicks = {(f"like:{p.id}:{who}", "inbound", "like", who) for p in own for who in p.likes}
    clicks |= {(f"repost:{p.id}:{who}", "inbound", "repost", who) for p in own for who in p.reposts}
    talk = {
        (post_id(10.1, 1), "inbound", "reply", "1"),
        (post_id(10.2, 2), "outbound", "reply", "1"),
        (post_id(10.3, 3), "inbound", "reply", "1"),
        (post_id(10.4, 4), "inbound", "reply", "2"),
        (post_id(11.1, 5), "inbound", "mention", "3"),
        ("quote:" + post_id(11.2, 6), "inbound", "quote", "3"),
        ("out:repost:9000", "outbound", "repost", "2"),
        ("quote:" + post_id(11.4, 8), "outbound", "quote", "3"),
        (f"mention:{post_id(11.5, 9)}:1", "outbound", "mention", "1"),
    }
    return clicks | talk


def test_everything_is_read_in_both_directions(site: X) -> None:
    store = Store(x.TABLES)
    assert set(night(store, site).values()) == {"ok"}
    assert interactions(store) == truth()
    staged = store.staged(staging)
    assert staged["quarantine"].is_empty()
    assert len(staged["posts"]) == 16  # 14, a quote and one that names somebody; neither the repost nor the answer
    answered = dict(staged["interactions"].select("interaction", "in_reply_to").iter_rows())
    assert answered[post_id(10.2, 2)] == post_id(10.1, 1)
    assert answered[post_id(10.3, 3)] == post_id(10.2, 2)
    about = dict(staged["interactions"].select("interaction", "post").iter_rows())
    assert about[post_id(10.1, 1)] == about[post_id(10.3, 3)] == about[post_id(10.4, 4)] == post_id(10)
    assert store.frame("interactions")["content_text"].drop_nulls().is_empty()


def test_numbers_become_counters(site: X) -> None:
    rows = whole(site).staged(staging)["counters"]
    said = {(s, c): v for s, c, v in rows.select("subject_id", "counter", "value").iter_rows()}
    assert (said[post_id(3), "likes"], said[post_id(3), "views"], said["x", "followers"]) == (3, 50, 7)


def test_what_is_paid_for_is_what_is_returned(site: X) -> None:
    store = whole(site)
    spent = store.frame("spending")["amount"].to_list()
    empty = sum(path.endswith(("mentions", "quote_tweets")) for path, _ in site.requests)
    assert site.returned <= spent[0] <= site.returned + empty
    night(store, site, FIRST + timedelta(hours=1))
    assert [path.rpartition("/")[2] for path, _ in site.requests] == ["me", "tweets", "mentions"]
    assert all("since_id" in asked for path, asked in site.requests[1:])
    assert store.frame("spending")["amount"].to_list()[1] == 3


def test_a_second_night_brings_what_changed(site: X) -> None:
    store = whole(site)
    newest = next(p for p in site.posts if p.id == post_id(13))
    newest.likes.clear()  # its like is taken back
    site.posts.append(Post(post_id(16), likes=["3"]))
    site.posts.append(Post(post_id(16.1), "2", "new", replied_to=(post_id(16), ME), root=post_id(16), names=(ME,)))
    site.posts = [p for p in site.posts if p.id != post_id(12)]
    before = interactions(store)
    assert set(night(store, site, FIRST + timedelta(days=2)).values()) == {"ok"}
    gone = {(f"like:{post_id(13)}:1", "inbound", "like", "1")}
    new = {(f"like:{post_id(16)}:3", "inbound", "like", "3"), (post_id(16.1), "inbound", "reply", "2")}
    assert interactions(store) == before - gone | new
    deleted = store.staged(staging)["posts"].filter(pl.col("deleted_at").is_not_null())
    assert deleted["post"].to_list() == [post_id(12)]


@pytest.mark.parametrize("budget", [40, 44, 50])
def test_a_small_budget_reads_everything_once_over_some_nights(site: X, budget: int) -> None:
    expected = whole(site).staged(staging)
    store, at, nights = Store(x.TABLES), FIRST, 0
    posts: list[str] = []
    while nights < 30:
        nights += 1
        statuses = night(store, site, at, budget=budget)
        assert site.returned <= budget
        assert store.frame("spending").filter(pl.col("observed_at") == at)["amount"].sum() <= budget
        if set(statuses.values()) == {"ok"}:
            break
        assert set(statuses.values()) <= {"ok", "partial"}
        at += timedelta(days=1)
    assert 1 < nights < 30
    staged = store.staged(staging)
    for shape in ("posts", "interactions", "quarantine"):
        assert settled(staged[shape]).equals(settled(expected[shape])), shape
    assert interactions(store) == truth()
    posts = store.frame("posts")["post"].to_list()
    assert len(posts) == len(set(posts)) == 16


def test_two_nights_on_a_day_share_the_budget(site: X) -> None:
    store = Store(x.TABLES)
    night(store, site, budget=40)
    night(store, site, FIRST + timedelta(hours=2), budget=40)
    assert store.frame("spending")["amount"].sum() <= 40
    assert store.frame("spending")["spent_today"].max() <= 40
    statuses = night(store, site, FIRST + timedelta(hours=3), budget=0)
    assert not site.requests
    assert set(statuses.values()) == {"partial"}


@pytest.mark.parametrize("failure", [(402, "CreditsDepleted"), (429, "UsageCapExceeded")])
def test_credits_that_are_used_up_stop_at_once_and_the_next_night_goes_on(site: X, failure: tuple[int, str]) -> None:
    store = Store(x.TABLES)
    site.fail_after, site.failure = 7, failure
    statuses = night(store, site)
    assert len(site.requests) <= 7 + LIMITS.attempts
    assert set(statuses.values()) <= {"ok", "partial"}
    assert store.frame("readings")["reason"].drop_nulls().str.contains("what was paid for is used").all()
    site.fail_after = None
    assert set(night(store, site, FIRST + timedelta(days=1)).values()) == {"ok"}
    assert interactions(store) == truth()


def test_a_token_revoked_midway_says_so_and_keeps_what_was_read(site: X) -> None:
    store = Store(x.TABLES)
    site.fail_after, site.failure = 6, (401, "Unauthorized")
    night(store, site)
    assert len(site.requests) == 7
    assert store.frame("readings")["reason"].drop_nulls().str.contains("X refuses the token").all()
    assert not store.frame("posts").is_empty()
    site.fail_after = None
    night(store, site, FIRST + timedelta(days=1))
    assert interactions(store) == truth()


def test_lists_that_are_not_shown_to_the_token_are_no_failure(site: X) -> None:
    store = Store(x.TABLES)
    site.hidden = ("liking_users",)
    assert set(night(store, site).values()) == {"ok"}
    assert sum(path.endswith("liking_users") for path, _ in site.requests) == 1
    assert interactions(store) == {row for row in truth() if row[2] != "like"}
    night(store, site, FIRST + timedelta(hours=1))
    assert len(site.requests) == 3  # nothing is tried again before its time


def test_a_list_too_long_for_the_budget_is_left_and_said(site: X) -> None:
    site.posts[13].likes = [str(n) for n in range(200, 260)]
    store = Store(x.TABLES)
    statuses = night(store, site, budget=110)
    assert statuses["inbound"] == "partial"
    said = store.staged(staging)["counters"].filter(subject_id=site.posts[13].id, counter="likes")
    assert said["value"].to_list() == [60]
    assert not any(path.startswith(f"/2/tweets/{site.posts[13].id}/liking") for path, _ in site.requests)


def test_a_rate_limit_is_waited_for_until_its_reset_and_no_longer_than_allowed(site: X) -> None:
    site.headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "9999999999"}
    statuses = night(Store(x.TABLES), site)
    assert "posts" in statuses
    assert sum(path.endswith("/tweets") for path, _ in site.requests) == 1  # each endpoint has its own window


def test_without_a_token_the_message_says_where_to_get_one(site: X) -> None:
    store = Store(x.TABLES)
    assert set(night(store, site, options={}).values()) == {"down"}
    reason = store.frame("readings")["reason"][0]
    assert "RAPPORT_X_TOKEN" in reason
    assert "console.x.com" in reason
    assert not site.requests


def test_the_estimate_counts_what_is_due(site: X) -> None:
    assert x.estimate(account(site), Memory(), FIRST) == float("inf")
    store = whole(site)
    memory = Memory.of(store.history("blog"), platform="x")
    assert x.estimate(account(site), memory, FIRST + timedelta(hours=1)) == 3
    later = x.estimate(account(site), memory, FIRST + timedelta(days=14))
    night(store, site, FIRST + timedelta(days=14))
    spent = store.frame("spending").sort("observed_at")["amount"].to_list()[-1]
    assert later >= spent > 3


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("https://x.com/me", True),
        ("twitter.com/me/status/1", True),
        ("@me", False),
        ("https://x.com/home", False),
        ("https://blog.example/me", False),
    ],
)
def test_addresses_of_profiles_are_claimed(url: str, is_ours: bool) -> None:
    assert x.claims(url) is is_ours


def test_a_profile_is_recognised_and_an_unknown_one_named(site: X) -> None:
    with Client(allow_private=True, limits=LIMITS) as client:
        found = x.recognise(account(site), client)
        assert found is not None
        assert (found.url, found.title, found.summary) == ("https://x.com/me", "Me", "@me on X, 23 posts")
        assert x.recognise(account(site, url="https://blog.example"), client) is None
        with pytest.raises(SourceError, match="Not Found Error"):
            x.recognise(account(site, url="https://x.com/nobody"), client)
        with pytest.raises(SourceError, match="RAPPORT_X_TOKEN"):
            x.recognise(account(site, options={}), client)


@pytest.mark.parametrize("seed", range(12))
def test_fields_that_are_missing_or_of_another_type_break_and_retract_nothing(site: X, seed: int) -> None:
    store = whole(site)
    before = interactions(store)
    with FaultProxy(site.address, Schedule.seeded(seed, rate=0.4, kinds=SHAPES)) as proxy:
        collection = Collection(limits=LIMITS, budgets={"x": 10_000}, sleep=lambda _: None)
        said = account(site, endpoint=proxy.base)
        store.collect(x, [said], read_at=FIRST + timedelta(days=14), collection=collection)
    assert interactions(store) >= before
    assert store.staged(staging)["posts"]["deleted_at"].null_count() == len(store.staged(staging)["posts"])
    night(store, site, FIRST + timedelta(days=28))
    assert interactions(store) == before
