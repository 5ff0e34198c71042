"""Who is who and what belongs to what."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import polars as pl

from assets import resolve


def test_rfc_4231_case_2() -> None:
    digest = hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256").hex()
    assert digest == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_a_pseudonym_is_the_first_half_of_the_hmac_of_platform_and_id() -> None:
    whole = hmac.new(b"key", b"webmention\x1fann.example", hashlib.sha256).hexdigest()
    assert resolve.pseudonym(b"key", "webmention", "ann.example") == whole[:32]
    assert resolve.pseudonym(b"other", "webmention", "ann.example") != whole[:32]


def identities(*names: str) -> pl.LazyFrame:
    """Identities from `platform:person`."""
    rows = [(*name.split(":"), f"id-{name}") for name in names]
    return pl.LazyFrame(rows, schema=["platform", "person", "identity_id"], orient="row")


def test_declared_identities_are_one_person_and_groups_that_touch_are_one() -> None:
    frame = identities("w:ann", "a:ann", "b:ann", "w:bob")
    result = resolve.persons(
        frame, same_person=[("w:ann", "a:ann"), ("a:ann", "b:ann"), ("w:nobody", "w:bob")]
    ).collect()
    people = dict(result.select("identity_id", "person_id").iter_rows())
    assert {people[f"id-{name}"] for name in ("w:ann", "a:ann", "b:ann")} == {"id-a:ann"}
    assert people["id-w:bob"] == "id-w:bob"
    because = dict(result.select("identity_id", "merged_because").iter_rows())
    assert because["id-w:bob"] is None
    assert because["id-w:ann"] == "declared in rapport.toml"


def test_own_rows_are_the_account_itself_its_configured_names_and_its_host() -> None:
    rows = pl.LazyFrame(
        [
            ("acc", "acc", None),
            ("acc", "social.example/@me", "https://social.example/@me"),
            ("acc", "blog.example/about", "https://www.blog.example/about"),
            ("acc", "ann.example", "https://ann.example/"),
            ("acc", "channel-7", "https://video.example/channel/7"),
            ("other", "social.example/@me", "https://social.example/@me"),
        ],
        schema=["account_id", "person", "person_url"],
        orient="row",
    )
    profiles = pl.LazyFrame(
        {
            "account_id": ["acc", "acc"],
            "host": ["blog.example", None],
            "handle": [None, "me"],
            "url": ["https://blog.example/", "https://video.example/channel/7"],
        }
    )
    accounts = pl.LazyFrame({"account_id": ["acc", "other"]})
    own = resolve.own_names(accounts, profiles, configured=[("acc", ("https://social.example/@me/",))])
    found = resolve.is_own(own, rows).collect()
    assert found.sort("account_id", "person").select("person", "is_own_row").rows() == [
        ("acc", True), ("ann.example", False), ("blog.example/about", True), ("channel-7", True), ("social.example/@me", True),
        ("social.example/@me", False),
    ]  # fmt: skip


def test_an_own_address_with_a_query_is_that_person_and_nobody_else_of_the_page() -> None:
    page = "https://network.example/profile.php?id="
    rows = pl.LazyFrame(
        [("acc", f"network.example/profile.php?id={n}", f"{page}{n}#top") for n in (7, 8)],
        schema=["account_id", "person", "person_url"],
        orient="row",
    )
    profiles = pl.LazyFrame(schema=dict.fromkeys(("account_id", "host", "handle", "url"), pl.String))
    own = resolve.own_names(pl.LazyFrame({"account_id": ["acc"]}), profiles, configured=[("acc", (f"{page}7",))])
    assert resolve.is_own(own, rows).collect().sort("person")["is_own_row"].to_list() == [True, False]


def test_a_post_is_found_by_its_id_or_by_its_address_and_never_guessed() -> None:
    posts = pl.LazyFrame(
        [("acc", "feed", "1", "acc/feed/1", "https://www.blog.example/a/"), ("acc", "feed", "2", "acc/feed/2", None)],
        schema=["account_id", "platform", "post", "post_id", "url"],
        orient="row",
    )
    rows = pl.LazyFrame(
        [
            ("acc", "feed", "2", None), ("acc", "webmention", None, "http://blog.example/a?utm_source=x#c"),
            ("acc", "webmention", None, "https://blog.example/"), ("acc", "webmention", None, "https://blog.example/a/b"),
            ("other", "webmention", None, "https://blog.example/a"),
        ],
        schema=["account_id", "platform", "post", "target_url"],
        orient="row",
    )  # fmt: skip
    found = resolve.with_post(rows.with_row_index("n"), posts).collect().sort("n")
    assert found["post_id"].to_list() == ["acc/feed/2", "acc/feed/1", None, None, None]


def test_an_address_that_two_posts_share_belongs_to_the_smaller_id() -> None:
    posts = pl.LazyFrame(
        [("acc", "feed", x, f"acc/feed/{x}", "https://blog.example/a") for x in ("2", "1")],
        schema=["account_id", "platform", "post", "post_id", "url"],
        orient="row",
    )
    rows = pl.LazyFrame(
        {"account_id": ["acc"], "platform": ["w"], "post": [None], "target_url": ["https://blog.example/a"]},
        schema_overrides={"post": pl.String},
    )
    assert resolve.with_post(rows, posts).collect()["post_id"].to_list() == ["acc/feed/1"]


def test_what_two_sources_bring_is_one_row() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    later = at + timedelta(days=3)
    rows = pl.LazyFrame(
        [
            ("acc", "x", "1", "archive", "like", at, None, at, False),
            ("acc", "x", "1", "x", "like", None, later, later, True),
            ("acc", "x", "2", "x", "reply", at, None, later, True),
        ],
        schema=["account_id", "platform", "interaction", "source", "kind", "occurred_at", "retracted_at", "observed_at",
                "is_time_known"],
        orient="row",
    ).with_columns(loaded_at="observed_at")  # fmt: skip
    one, two = resolve.one_each(rows, "interaction").sort("interaction").collect().to_dicts()
    assert (one["source"], one["occurred_at"], one["retracted_at"], one["observed_at"]) == ("x", at, later, at)
    assert one["is_time_known"] is True
    assert two["kind"] == "reply"
