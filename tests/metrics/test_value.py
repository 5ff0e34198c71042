import math
import random as random_module
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.metrics import dilution as dilution_module
from assets.metrics import promotion_penalty, shrinkage, value
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES

AS_OF = date(2024, 6, 30)
START = datetime(2024, 3, 1, 12, tzinfo=UTC)
KINDS = {"replies": 1.0, "mentions": 1.0, "quotes": 0.5, "reposts": 0.5, "bookmarks": 0.5, "likes": 0.1}


def _frame(table, rows):
    """The rows as the catalogue's table; columns left out are null, or 0 where they are counts of a fold."""
    entry = TABLES[table]
    blank = 0 if entry.layer == "folds" else None
    data = {c.name: [row.get(c.name, blank) for row in rows] for c in entry.columns}
    return enforce(entry, pl.DataFrame(data, strict=False, infer_schema_length=None))


def post(post_id, *, at=START, account="a", platform="feed", **more):
    return {
        "post_id": post_id,
        "account_id": account,
        "platform": platform,
        "published_at": at,
        "observed_at": at,
        **more,
    }


def gave(post_id, identity, *, account="a", others=0, **kinds):
    worth = {kind: KINDS[kind] * n for kind, n in kinds.items()}
    like = worth.get("likes", 0.0)
    total = sum(worth.values())
    return {
        "post_id": post_id, "account_id": account, "identity_id": identity, **kinds,
        "interactions": sum(kinds.values()) + others,
        "value": total, "value_low": total - like, "value_high": total + 2 * like,
    }  # fmt: skip


def person(identity, *, person=None, is_bot=False):
    return {"identity_id": identity, "person_id": person or identity, "is_bot": is_bot}


def span(start, end, *, account="a", platform="webmention", stream="inbound", status="ok"):
    return {
        "account_id": account,
        "platform": platform,
        "stream": stream,
        "from_date": start,
        "to_date": end,
        "status": status,
    }


COVERED = (span(date(2023, 1, 1), AS_OF),)


def post_value(posts, given=(), people=(), counters=(), spans=COVERED, as_of=AS_OF):
    people = people or [person(i) for i in sorted({g["identity_id"] for g in given})]
    frames = {
        "fold_post_value": given, "dim_post": posts, "dim_identity": people,
        "fct_counter": counters, "fct_collection_span": spans,
    }  # fmt: skip
    tables = {name: _frame(name, rows).lazy() for name, rows in frames.items()}
    return enforce(TABLES["mart_post_value"], value.post_value(**tables, as_of=as_of))


def one(*args, **kwargs):
    [row] = post_value(*args, **kwargs).rows(named=True)
    return row


def test_public_names():
    assert value.dilution is dilution_module.dilution
    assert value.shrunken_rate is shrinkage.shrunken_rate


def test_a_post_by_hand():
    given = [
        gave("p", "x", replies=2, likes=1),
        gave("p", "y", quotes=1, mentions=1),
        gave("p", "z", reposts=1, others=1),
    ]
    row = one([post("p", kind="note", url="https://a.example/p", is_promotional=True, promotion_reason="utm")], given)
    assert row["interactions_7d"] == 7
    assert (row["people_7d"], row["replies_7d"], row["reposts_7d"], row["likes_7d"]) == (3, 2, 1, 1)
    assert (row["conversation_7d"], row["amplification_7d"], row["applause_7d"]) == (4, 1, 1)
    assert (row["value_7d"], row["value_7d_low"], row["value_7d_high"]) == (4.1, 4.0, 4.3)
    assert (row["platform"], row["kind"], row["url"]) == ("feed", "note", "https://a.example/p")
    assert (row["is_promotional"], row["promotion_reason"]) == (True, "utm")
    assert (row["is_pending"], row["interactions_7d_note"], row["value_z"]) == (False, None, None)


def test_a_post_that_nobody_answered_has_zeros():
    row = one([post("p", deleted_at=START)])
    assert (row["interactions_7d"], row["people_7d"], row["value_7d"], row["conversation_7d"]) == (0, 0, 0.0, 0)


def test_two_identities_of_one_person_are_one_and_bots_are_nobody():
    given = [gave("p", "x", likes=1), gave("p", "y", likes=1), gave("p", "bot", reposts=5)]
    row = one([post("p")], given, [person("x"), person("y", person="x"), person("bot", is_bot=True)])
    assert (row["interactions_7d"], row["people_7d"], row["reposts_7d"]) == (2, 1, 0)


def test_pending_until_seven_days_have_passed():
    end = datetime(2024, 7, 1, tzinfo=UTC)
    rows = post_value(
        [
            post("old", at=end - timedelta(days=7)),
            post("young", at=end - timedelta(days=7) + timedelta(microseconds=1)),
        ],
        [gave("young", "x", likes=3)],
    ).rows(named=True)
    assert [(r["post_id"], r["is_pending"], r["interactions_7d"], r["interactions_7d_note"]) for r in rows] == [
        ("old", False, 0, None),
        ("young", True, None, "pending"),
    ]


def test_posts_after_as_of_have_no_row():
    assert post_value([post("p", at=datetime(2024, 7, 1, tzinfo=UTC))]).is_empty()


@pytest.mark.parametrize(
    ("spans", "note"),
    [
        ([], "inbound not offered"),
        ([span(date(2024, 1, 1), date(2024, 1, 1), status="not_offered")], "inbound not offered"),
        ([span(date(2024, 1, 1), AS_OF, stream="outbound")], "inbound not offered"),
        ([span(date(2024, 4, 1), AS_OF)], "inbound not collected (before its first day)"),
        ([span(date(2024, 1, 1), date(2024, 3, 3)), span(date(2024, 3, 4), AS_OF, status="down")], "inbound not collected (coverage 0.43)"),
        ([span(date(2024, 1, 1), date(2024, 3, 6)), span(date(2024, 3, 8), AS_OF)], "inbound not collected (coverage 0.86)"),
        ([*COVERED, span(date(2024, 1, 1), AS_OF, platform="activity", status="down")], "inbound not collected (coverage 0.00)"),
        ([*COVERED, span(date(2024, 1, 1), date(2024, 1, 1), platform="feed", status="not_offered")], None),
        ([span(date(2024, 1, 1), date(2024, 3, 7)), span(date(2024, 3, 8), AS_OF, status="down")], None),
    ],
)  # fmt: skip
def test_what_was_not_collected_is_unknown(spans, note):
    row = one([post("p")], [gave("p", "x", likes=1)], spans=spans)
    assert row["interactions_7d_note"] == note
    assert row["interactions_7d"] == (1 if note is None else None)
    assert row["value_7d_high"] == (0.3 if note is None else None)
    assert not row["is_pending"]


def _followers(n, at, **more):
    profile = {
        "account_id": "a",
        "platform": "feed",
        "subject": "profile",
        "subject_id": "feed",
        "counter": "followers",
    }
    return {**profile, "value": n, "observed_at": at, **more}


def test_followers_of_the_publish_day():
    counters = [
        _followers(50, START - timedelta(days=3)),
        _followers(100, START + timedelta(hours=11)),  # the same day, after the post
        _followers(999, START + timedelta(hours=12)),  # the next day
        _followers(7, START, platform="webmention"),
        _followers(8, START, subject="post"),
        _followers(9, START, counter="following"),
    ]
    posts = [post("p"), post("earlier", at=START - timedelta(days=1)), post("before", at=START - timedelta(days=9))]
    rows = post_value(posts, [gave(p["post_id"], "x", likes=5) for p in posts], counters=counters)
    assert rows.select("post_id", "engagement_rate_by_followers").rows() == [
        ("before", None),
        ("earlier", 0.1),
        ("p", 0.05),
    ]
    assert one([post("p")], counters=[_followers(0, START)])["engagement_rate_by_followers"] is None


def _series(counts, *, account="a"):
    posts = [post(f"{account}{i:03}", account=account, at=START + timedelta(days=i)) for i in range(len(counts))]
    given = [gave(p["post_id"], "x", account=account, likes=n) for p, n in zip(posts, counts, strict=True) if n]
    return posts, given


def test_value_z_by_hand():
    # before the eleventh post: ln(1 + I7) = 0 (5 times), 2 ln 2 (5 times); median = MAD = ln 2
    *_, last = post_value(*_series([0, 3] * 5 + [7])).rows(named=True)
    assert last["value_z"] == pytest.approx((3 * math.log(2) - math.log(2)) / (1.4826 * math.log(2)))


def test_value_z_needs_ten_posts_and_some_variation():
    scores = post_value(*_series([0, 3] * 5 + [7]))["value_z"]
    assert scores.null_count() == 10
    assert post_value(*_series([2] * 11 + [9]))["value_z"].null_count() == 12


def test_value_z_agrees_with_a_plain_loop_and_skips_unjudged_posts():
    rng = np.random.default_rng(1)
    counts = rng.poisson(4, size=110).tolist()
    posts, given = _series(counts)
    spans = [span(date(2023, 1, 1), date(2024, 4, 10)), span(date(2024, 4, 21), AS_OF)]
    rows = post_value(posts, given, spans=spans).rows(named=True)
    seen = []
    for row in rows:
        if row["interactions_7d"] is None:
            assert row["value_z"] is None
            continue
        x = math.log1p(row["interactions_7d"])
        before = np.array(seen[-30:])
        if len(before) >= 10:
            median = np.median(before)
            spread = np.median(np.abs(before - median))
            assert row["value_z"] == pytest.approx((x - median) / (1.4826 * spread))
        seen.append(x)
    assert 60 < len(seen) < 110


def test_accounts_do_not_touch_each_other_and_row_order_is_nothing():
    first, second = _series([1, 4, 2, 0, 3, 9] * 4), _series([8, 2, 2, 5, 1, 1] * 4, account="b")
    spans = [*COVERED, span(date(2023, 1, 1), AS_OF, account="b")]
    apart = pl.concat([post_value(*first, spans=spans), post_value(*second, spans=spans)])
    posts, given = first[0] + second[0], first[1] + second[1]
    shuffle = random_module.Random(3).shuffle
    shuffle(posts)
    shuffle(given)
    assert_frame_equal(post_value(posts, given, spans=spans), apart, check_exact=True)


GIVEN = st.lists(
    st.builds(
        lambda p, i, kinds, others: gave(f"p{p}", f"i{i}", others=others, **kinds),
        st.integers(0, 3),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from(sorted(KINDS)), st.integers(1, 9), min_size=1),
        st.integers(0, 3),
    ),
    unique_by=lambda g: (g["post_id"], g["identity_id"]),
)


@settings(max_examples=40, deadline=None)
@given(GIVEN, st.randoms(use_true_random=False))
def test_parts_are_within_the_whole(given, random):
    posts = [post(f"p{i}", at=START + timedelta(hours=i)) for i in range(4)]
    mart = post_value(posts, given)
    assert mart.height == 4
    parts = pl.col("conversation_7d") + pl.col("amplification_7d") + pl.col("applause_7d")
    for rule in (
        parts <= pl.col("interactions_7d"),
        pl.col("replies_7d") <= pl.col("conversation_7d"),
        pl.col("people_7d") <= pl.col("interactions_7d"),
        pl.col("value_7d_low") <= pl.col("value_7d"),
        pl.col("value_7d") <= pl.col("value_7d_high"),
    ):
        assert mart.select(rule.all()).item()
    assert mart["interactions_7d"].sum() == sum(g["interactions"] for g in given)
    shuffled = random.sample(given, len(given))
    people = [person(i) for i in sorted({g["identity_id"] for g in given})]
    assert_frame_equal(mart, post_value(posts, shuffled, people), check_exact=True)
    more = [*given, gave("p0", "new", likes=1)]
    assert post_value(posts, more)["value_7d"][0] > mart["value_7d"][0]


# mart_value


def judged(values, *, account="a", platform="feed", start=datetime(2024, 1, 1, tzinfo=UTC), promotional=None):
    n = len(values)
    return _frame("mart_post_value", [
        {
            "post_id": f"{account}-{platform}-{start:%Y%m%d}-{i:03}", "account_id": account, "platform": platform,
            "published_at": start + timedelta(days=i), "is_pending": False, "interactions_7d": v, "people_7d": (v + 1) // 2,
            "value_7d": v / 2, "is_promotional": (promotional or [None] * n)[i],
        }
        for i, v in enumerate(values)
    ])  # fmt: skip


def mart_value(*frames, as_of=AS_OF, counters=None):
    counters = None if counters is None else _frame("fct_counter", counters).lazy()
    return enforce(TABLES["mart_value"], value.value(pl.concat(frames).lazy(), counters, as_of=as_of))


def test_means_by_hand():
    feed, every = mart_value(judged([2, 4, 6])).reverse().rows(named=True)
    # mean 2, deviation 1, t(.975, 2) = 4.302653: factor exp(4.302653 / (2 sqrt(3))) = 3.462770
    assert (feed["posts"], feed["value_per_post"]) == (3, 2.0)
    ends = (feed["value_per_post_low"], feed["value_per_post_high"])
    assert ends == pytest.approx((2 / 3.462770, 2 * 3.462770), abs=1e-5)
    assert feed["people_per_post"] == 2.0
    assert feed["rate_shrunken"] == 4.0  # variance below the mean: the plain mean
    assert (feed["value_per_post_note"], feed["as_of"]) == (None, AS_OF)
    assert {**feed, "platform": "all"} == every


def test_one_post_has_a_mean_and_no_interval():
    row = mart_value(judged([3])).row(0, named=True)
    assert (row["value_per_post"], row["value_per_post_low"], row["value_per_post_high"]) == (1.5, None, None)


def test_the_year_ends_with_as_of_and_all_is_every_platform():
    year_ago = datetime(2024, 7, 1, tzinfo=UTC) - timedelta(days=364)
    mart = mart_value(
        judged([100], start=year_ago - timedelta(microseconds=1)),
        judged([10], start=year_ago),
        judged([1], platform="activity"),
        judged([1000], start=datetime(2024, 7, 1, tzinfo=UTC)),
    )
    assert mart.select("platform", "posts", "value_per_post").rows() == [
        ("activity", 1, 0.5),
        ("all", 2, 2.75),
        ("feed", 1, 5.0),
    ]


def test_posts_of_equal_value_have_exactly_that_mean_and_no_spread():
    frame = judged([4] * 41).with_columns(value_7d=pl.lit(0.4))
    names = ("value_per_post", "value_per_post_low", "value_per_post_high")
    assert mart_value(frame).select(names).rows() == [(0.4, 0.4, 0.4)] * 2


def test_says_why_there_is_no_mean():
    def note(frame):
        row = mart_value(frame).row(0, named=True)
        assert (row["posts"], row["value_per_post"], row["rate_shrunken"], row["rate_shrunken_high"]) == (
            0,
            None,
            None,
            None,
        )
        return row["value_per_post_note"]

    empty = judged([1, 1]).with_columns(interactions_7d=pl.lit(None, pl.Int64))
    assert note(judged([1], start=datetime(2020, 1, 1, tzinfo=UTC))) == "no posts in 364 days"
    assert note(empty.with_columns(is_pending=True, interactions_7d_note=pl.lit("pending"))) == "pending"
    assert note(empty.with_columns(interactions_7d_note=pl.lit("inbound not offered"))) == "inbound not offered"


def test_rate_is_per_follower_where_all_followers_are_known():
    frame = judged([10, 20, 30], start=START)
    known = [_followers(100, START - timedelta(days=1))]
    assert mart_value(frame, counters=known)["rate_shrunken"].to_list() == pytest.approx([0.2, 0.2], rel=1e-3)
    late = [_followers(100, START + timedelta(days=1))]
    assert mart_value(frame, counters=late)["rate_shrunken"].to_list() == pytest.approx([20, 20])


def test_promotional_share_of_the_last_28_days():
    start = datetime(2024, 6, 2, tzinfo=UTC)  # 3 June is the first of the 28 days
    flags = [True, True, False, None, False, False]
    row = mart_value(judged([1] * 6, start=start, promotional=flags)).row(0, named=True)
    assert (row["promotional_share_28d"], row["promotional_share_28d_n"]) == (0.25, 4)
    unknown = mart_value(judged([1] * 3, start=start)).row(0, named=True)
    assert (unknown["promotional_share_28d"], unknown["promotional_share_28d_n"]) == (None, 0)


def test_promotion_penalty():
    flags = [i % 3 == 0 for i in range(60)]
    counts = np.random.default_rng(2).poisson([4 if f else 10 for f in flags]).tolist()
    frame = judged(counts, promotional=flags)
    row = mart_value(frame).row(0, named=True)
    by_kind = [np.mean([c for c, f in zip(counts, flags, strict=True) if f is kind]) for kind in (True, False)]
    assert row["promotion_penalty"] == pytest.approx(by_kind[0] / by_kind[1])
    assert 0.2 < row["promotion_penalty_low"] < 0.4 < row["promotion_penalty_high"] < 0.6
    assert row["promotion_penalty_note"] is None
    assert_frame_equal(mart_value(frame.sample(fraction=1, shuffle=True, seed=1)), mart_value(frame), check_exact=True)


def test_promotion_penalty_of_promotion_that_got_nothing_has_no_upper_end():
    counts = [0] * 10 + [2, 3] * 6
    row = mart_value(judged(counts, promotional=[i < 10 for i in range(22)])).row(0, named=True)
    names = ("promotion_penalty", "promotion_penalty_low", "promotion_penalty_high", "promotion_penalty_note")
    assert tuple(row[name] for name in names) == (0, 0, None, None)


def test_promotion_penalty_has_no_unit():
    rng = np.random.default_rng(5)
    values = [round(value, 3) for value in (*rng.gamma(1, 1, 12), *rng.gamma(1, 2, 20))]
    assert _penalty(0, values) == pytest.approx(_penalty(0, [1000 * value for value in values]))


def test_promotion_penalty_does_not_depend_on_who_else_is_there():
    rng = np.random.default_rng(6)
    values = [[round(value, 3) for value in rng.gamma(1, 2, 32)] for _ in range(40)]
    together = [_penalty(place, *values) for place in range(40)]
    assert together == [_penalty(0, own) for own in values]


def _penalty(place: int, *accounts: list[float]) -> tuple[float, ...]:
    """Penalty and interval of one of these accounts; of each the first 12 posts are promotional."""
    settled = pl.concat(
        pl.DataFrame({"value_7d": values}).with_columns(
            pl.lit(group, pl.UInt32).alias("_group"), (pl.int_range(pl.len()) < 12).alias("is_promotional")
        )
        for group, values in enumerate(accounts)
    )
    found = promotion_penalty.penalties(settled, len(accounts))
    return tuple(found[f"promotion_penalty{end}"][place] for end in ("", "_low", "_high"))


def test_promotion_penalty_needs_ten_of_each_and_something_to_compare_with():
    few = mart_value(judged([1] * 30, promotional=[i < 9 for i in range(30)])).row(0, named=True)
    assert few["promotion_penalty"] is None
    assert few["promotion_penalty_note"] == "9 promotional and 21 other posts: needs 10 of each"
    none = mart_value(judged([int(i < 10) for i in range(30)], promotional=[i < 10 for i in range(30)])).row(
        0, named=True
    )
    assert none["promotion_penalty_note"] == "10 promotional and 20 other posts: the others got nothing"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([True, False, None])), min_size=1, max_size=60))
def test_shares_intervals_and_disjoint_accounts(rows):
    counts, flags = [r[0] for r in rows], [r[1] for r in rows]
    own = judged(counts, promotional=flags, start=datetime(2024, 5, 1, tzinfo=UTC))
    other = judged(counts[::-1], account="b")
    together = mart_value(other, own)
    assert_frame_equal(together, pl.concat([mart_value(own), mart_value(other)]), check_exact=False, rel_tol=1e-12)
    for measure in ("value_per_post", "people_per_post", "rate_shrunken", "promotion_penalty"):
        low, middle, high = (together[f"{measure}{end}"].drop_nulls() for end in ("_low", "", "_high"))
        if len(low) == len(middle) == len(high) and measure != "promotion_penalty":
            assert (low <= middle + 1e-12).all()
            assert (middle <= high + 1e-12).all()
        assert (low >= 0).all()
    assert together["promotional_share_28d"].drop_nulls().is_between(0, 1).all()
    averages = value.averages(pl.concat([own, other]).lazy(), as_of=AS_OF).collect()
    assert_frame_equal(averages, together.select(averages.columns), check_dtypes=False)
    assert (together["posts"] == len(rows)).sum() >= 2


def test_nothing_published_gives_no_row():
    assert post_value([]).is_empty()
    assert mart_value(judged([])).is_empty()
