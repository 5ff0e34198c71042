"""What do people value? Posts in their first seven days, and what an account's posts give on average.

`post_value` judges each post, `value` the posts of a year; rates of few posts are in
`assets.metrics.shrinkage`, the effect of posting more in `assets.metrics.dilution`. Associations
only: nothing here says that promotion or frequency causes anything.
"""

from datetime import date, timedelta
from functools import reduce
from operator import add
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.typing import IntoLazyFrame
from numpy.typing import NDArray

from assets.metrics.coverage import ALL, coverage_share
from assets.metrics.dilution import dilution
from assets.metrics.engines import collected
from assets.metrics.intervals import positive_mean_interval
from assets.metrics.people import People
from assets.metrics.promotion_penalty import penalties
from assets.metrics.shrinkage import shrunken_rate, shrunken_rates
from assets.metrics.visible import end_of, visible_posts

__all__ = ["dilution", "post_value", "shrunken_rate", "value"]

WINDOW = timedelta(days=7)
"""How long after publishing a post is judged."""
YEAR = timedelta(days=364)
MINIMUM_COVERAGE = 0.9
PREVIOUS_POSTS = 30
MINIMUM_PREVIOUS_POSTS = 10

_COUNTS = {
    "interactions_7d": ("interactions",),
    "replies_7d": ("replies",),
    "reposts_7d": ("reposts",),
    "likes_7d": ("likes",),
    "conversation_7d": ("replies", "mentions", "quotes"),
    "amplification_7d": ("reposts",),
    "applause_7d": ("likes",),
}
_VALUES = {"value_7d": "value", "value_7d_low": "value_low", "value_7d_high": "value_high"}
_BLOCK = 50_000
_KEYS = ("account_id", "platform")

Floats = NDArray[np.float64]


def post_value(
    fold_post_value: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    fct_counter: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """What did people value? `mart_post_value`: one row for each post visible on `as_of`, deleted ones included.

    I7 (`interactions_7d`) are the inbound interactions of people, not bots, in the seven days after
    publishing; `people_7d` the distinct persons behind them; `value_7d` their weighted sum, `_low` and
    `_high` with a like worth 0 and 0.3. Kaushik's rates are counts of a post: `conversation_7d` replies,
    mentions and quotes, `amplification_7d` reposts, `applause_7d` likes. A post that nobody answered has
    zeros. `engagement_rate_by_followers` is I7 over the followers last seen on or before the day of
    publishing, on the post's platform; null where there are none. `value_z` is the robust z-score of
    ln(1 + I7) against the account's previous 30 judged posts, null with fewer than 10 or a zero MAD.

    All measures are null, with the reason in `interactions_7d_note`, for a post younger than seven days
    at the end of `as_of` (`is_pending`) and where less than 0.9 of its seven days (the day of publishing
    and the six after) was collected: inbound, over all platforms of the account that offer it.

    Source: Kaushik (2011), "Best Social Media Metrics"; MAD scaled as in Rousseeuw & Croux (1993).
    """
    posts = visible_posts(dim_post, as_of=as_of).with_columns(
        (pl.col("published_at") + WINDOW > end_of(as_of)).alias("is_pending"),
        pl.col("published_at").dt.date().alias("_day"),
    )
    judged = (
        posts.join(collected(given(fold_post_value, _numbered(dim_identity))), on="post_id", how="left")
        .join(_coverage(posts, fct_collection_span, as_of=as_of), on=["account_id", "_day"], how="left")
        .join(_offered(fct_collection_span, as_of=as_of), on="account_id", how="left")
        .join(_followers(posts, fct_counter), on="post_id", how="left")
        .with_columns(_why_null().alias("interactions_7d_note"))
    )
    is_judged = pl.col("interactions_7d_note").is_null()
    measures = (*_COUNTS, *_VALUES, "people_7d")
    counted = judged.with_columns(pl.when(is_judged).then(pl.col(name).fill_null(0)).alias(name) for name in measures)
    frame = counted.collect()  # a row a post: small, and read twice below
    rated = frame.lazy().with_columns(
        _z_scores(frame), (pl.col("interactions_7d") / pl.col("_followers")).alias("engagement_rate_by_followers")
    )
    return rated.select(
        "post_id", "account_id", "platform", "url", "published_at", "kind", "is_pending",
        "interactions_7d", "interactions_7d_note", "people_7d", "replies_7d", "reposts_7d", "likes_7d",
        "value_7d", "value_7d_low", "value_7d_high", "value_z",
        "conversation_7d", "amplification_7d", "applause_7d", "engagement_rate_by_followers",
        "is_promotional", "promotion_reason",
    ).sort("post_id")  # fmt: skip


def given(fold_post_value: IntoLazyFrame, dim_identity: IntoLazyFrame) -> People:
    """What people gave each post, on any engine. Weights are thousandths: summed as integers, order cannot matter."""
    people = nw.from_native(dim_identity).filter(~nw.col("is_bot")).select("identity_id", "person_id")
    thousandths = {new: (nw.col(old) * 1000).round().cast(nw.Int64) for new, old in _VALUES.items()}
    counts = {new: reduce(add, map(nw.col, old)) for new, old in _COUNTS.items()}
    return (
        nw.from_native(fold_post_value)
        .join(people, on="identity_id", how="inner")
        .select("post_id", "person_id", **counts, **thousandths)
        .group_by("post_id")
        .agg(
            *(nw.col(name).sum().cast(nw.Int64) for name in (*_COUNTS, *_VALUES)),
            nw.col("person_id").n_unique().cast(nw.Int64).alias("people_7d"),
        )
        .with_columns((nw.col(name) / 1000.0).alias(name) for name in _VALUES)
    )


def _numbered(dim_identity: IntoLazyFrame) -> IntoLazyFrame:
    """In Polars the people as numbers: they are only counted, and to tell names apart takes three times as long."""
    identities: Any = nw.to_native(dim_identity, pass_through=True)
    if not isinstance(identities, pl.LazyFrame):
        return dim_identity
    number = pl.col("person_id").cast(pl.Categorical).to_physical()
    return collected(identities.select("identity_id", "is_bot", number))


def _coverage(posts: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """How much of the week from each day of publishing was collected: `account_id, _day, coverage_share`."""
    windows = (
        posts.filter(~pl.col("is_pending"))
        .select(
            "account_id",
            "_day",
            pl.lit(ALL).alias("platform"),
            pl.col("_day").alias("from_date"),
            (pl.col("_day") + pl.duration(days=6)).alias("to_date"),
        )
        .unique()
    )
    covered = coverage_share(windows, fct_collection_span, stream="inbound", as_of=as_of)
    return covered.select("account_id", "_day", "coverage_share")


def _offered(fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Accounts with inbound on any platform by `as_of`: `account_id, _is_offered`."""
    inbound = fct_collection_span.filter(
        pl.col("stream") == "inbound", pl.col("status") != "not_offered", pl.col("from_date") <= as_of
    )
    return inbound.select("account_id", pl.lit(value=True).alias("_is_offered")).unique()


def _why_null() -> pl.Expr:
    share = pl.col("coverage_share")
    # Whole hundredths: a formatted float would print 0.4. At most 89: what is too little must not read 0.90.
    hundredths = pl.min_horizontal((share * 100).round().cast(pl.Int64), 89).cast(pl.String).str.zfill(2)
    return (
        pl.when(pl.col("_is_offered").is_null())
        .then(pl.lit("inbound not offered"))
        .when(pl.col("is_pending"))
        .then(pl.lit("pending"))
        .when(share.is_null())
        .then(pl.lit("inbound not collected (before its first day)"))
        .when(share < MINIMUM_COVERAGE)
        .then(pl.format("inbound not collected (coverage 0.{})", hundredths))
    )


def _followers(posts: pl.LazyFrame, fct_counter: pl.LazyFrame) -> pl.LazyFrame:
    """Followers of the post's platform on the day of publishing: `post_id, _followers`, only where known and positive."""
    counted = (
        fct_counter.filter(pl.col("subject") == "profile", pl.col("counter") == "followers")
        .select(*_KEYS, "observed_at", pl.col("value").alias("_followers"))
        .collect()
        .lazy()
    )
    # One number in place of two strings: that is what the search below is by.
    places = counted.select(_KEYS).unique().with_row_index("_place").collect().lazy()
    seen = counted.join(places, on=_KEYS).with_columns(pl.col("observed_at").dt.date().alias("_day"))
    return (
        posts.select("post_id", *_KEYS, "_day")
        .join(places, on=_KEYS)
        .sort("_day")
        .join_asof(
            # Of several on a day the last one counts.
            seen.select("_place", "_day", "_followers", "observed_at").sort("_day", "observed_at", "_followers"),
            on="_day",
            by="_place",
            strategy="backward",
            check_sortedness=False,  # sorted just above; Polars cannot check it within groups and warns
        )
        .filter(pl.col("_followers") > 0)
        .select("post_id", "_followers")
    )


def _z_scores(posts: pl.DataFrame) -> pl.Series:
    """`value_z` of each post, null where it is not judged."""
    judged = (
        posts.select("account_id", "published_at", "post_id", pl.col("interactions_7d").cast(pl.Float64))
        .with_row_index("row")
        .filter(pl.col("interactions_7d").is_not_null())
        .sort("account_id", "published_at", "post_id")
    )
    scores = np.full(posts.height, np.nan)
    scores[judged["row"].to_numpy()] = robust_z(
        np.log1p(judged["interactions_7d"].to_numpy()), judged["account_id"].rle_id().to_numpy()
    )
    return pl.Series("value_z", scores).fill_nan(None)


def robust_z(values: Floats, group: NDArray[Any]) -> Floats:
    """How unusual each value is among its group's previous 30: (value - median) / (1.4826 MAD).

    Both arrays in order, groups together. NaN with fewer than 10 previous values or a zero MAD.

    >>> robust_z(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 5.5 + 2.5 * 1.4826]), np.zeros(11)).round(6).tolist()[-2:]
    [nan, 1.0]
    """
    result = np.full(len(values), np.nan)
    steps = np.arange(1, PREVIOUS_POSTS + 1)
    for start in range(0, len(values), _BLOCK):
        own = np.arange(start, min(start + _BLOCK, len(values)))
        before = own[:, None] - steps
        known = (before >= 0) & (group[np.maximum(before, 0)] == group[own][:, None])
        previous = np.where(known, values[np.maximum(before, 0)], np.nan)
        count = known.sum(axis=1)
        median = _row_median(previous, count)
        deviation = _row_median(np.abs(previous - median[:, None]), count)
        usable = (count >= MINIMUM_PREVIOUS_POSTS) & (deviation > 0)
        result[own[usable]] = (values[own] - median)[usable] / (1.4826 * deviation[usable])
    return result


def _row_median(rows: Floats, count: NDArray[np.intp]) -> Floats:
    """Median of the `count` numbers in each row; the rest of it is NaN and sorts last."""
    ordered = np.sort(rows, axis=1)
    row = np.arange(len(rows))
    upper = np.minimum(count // 2, rows.shape[1] - 1)
    return (ordered[row, np.maximum(count - 1, 0) // 2] + ordered[row, upper]) / 2


_AVERAGES = (
    "posts", "value_per_post", "value_per_post_low", "value_per_post_high", "value_per_post_note", "people_per_post",
    "people_per_post_low", "people_per_post_high",
)  # fmt: skip


def value(mart_post_value: pl.LazyFrame, fct_counter: pl.LazyFrame | None = None, *, as_of: date) -> pl.LazyFrame:
    """What does a post give people, on average? `mart_value`: each account and platform, and `all`.

    Means are over the judged posts published in the 364 days that end with `as_of`: `value_per_post`,
    `people_per_post`, each with a t interval on the log scale (two posts at least; posts taken as independent), and
    `rate_shrunken`, the mean of Gamma-Poisson posterior rates of I7 (see `shrunken_rate`) - per follower
    where `fct_counter` knows the followers on the day of each of the posts, else per post.

    `promotional_share_28d` is over the posts of the last 28 days of which it is known whether they promote
    something. `promotion_penalty` divides the mean `value_7d` of promotional posts by that of the others
    in the same 364 days: below 1, promotion is valued less. Null with fewer than 10 posts of either, or
    where the others got nothing; interval by bootstrap-t of its logarithm, 1,000 seeded resamples of each kind.
    """
    frame, settled = _settled(mart_post_value, fct_counter, as_of=as_of)
    measures: dict[str, Any] = {
        **_means(settled, frame.height),
        **_rates(settled, frame.height),
        **penalties(settled, frame.height),
    }
    return _named(frame, measures, as_of=as_of).select(
        "as_of", "account_id", "platform", *_AVERAGES,
        "rate_shrunken", "rate_shrunken_low", "rate_shrunken_high",
        "promotional_share_28d", "promotional_share_28d_n",
        "promotion_penalty", "promotion_penalty_low", "promotion_penalty_high", "promotion_penalty_note",
    )  # fmt: skip


def averages(mart_post_value: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The means of `value`, without its models: `account_id, platform`, means and `promotional_share_28d` as there."""
    frame, settled = _settled(mart_post_value, None, as_of=as_of)
    named = _named(frame, _means(settled, frame.height), as_of=as_of)
    return named.select("account_id", "platform", *_AVERAGES, "promotional_share_28d", "promotional_share_28d_n")


def _settled(
    mart_post_value: pl.LazyFrame, fct_counter: pl.LazyFrame | None, *, as_of: date
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The numbered groups (`_group`), and the posts that their means are over, by group in the order of publishing.

    A group is an account on a platform, or, where it posts on several, on all of them.
    """
    posts = (
        mart_post_value.filter(pl.col("published_at") < end_of(as_of))
        .select(
            *_KEYS, "post_id", "published_at", "is_pending", "interactions_7d", "interactions_7d_note", "people_7d",
            "value_7d", "is_promotional", (pl.col("published_at") >= end_of(as_of) - YEAR).alias("_in_year"),
        )
        .collect()
    )  # fmt: skip
    places = posts.select(_KEYS).unique()
    several = places.group_by("account_id").agg(pl.lit(ALL).alias("platform"), pl.len()).filter(pl.col("len") > 1)
    names = pl.concat([places, several.select(_KEYS)]).sort(_KEYS).with_row_index("_group")
    year = _with_followers(posts.filter("_in_year"), fct_counter).join(names, on=_KEYS)
    together = names.filter(pl.col("platform") == ALL).select("account_id", pl.col("_group").alias("_together"))
    of_all = year.join(together, on="account_id").with_columns(pl.col("_together").alias("_group")).drop("_together")
    rows = pl.concat([year, of_all]).drop(_KEYS).sort("_group", "published_at", "post_id")
    is_old = ~pl.col("is_pending")
    settled = rows.filter(is_old, pl.col("interactions_7d").is_not_null())
    why_none = rows.filter(is_old).group_by("_group").agg(pl.col("interactions_7d_note").last().alias("_last_note"))
    promotional = rows.group_by("_group").agg(
        _promotional_28d(as_of).mean().alias("promotional_share_28d"),
        _promotional_28d(as_of).count().alias("promotional_share_28d_n"),
    )
    counted = settled.group_by("_group").agg(
        pl.len().cast(pl.Int64).alias("posts"), pl.col("_followers").is_not_null().all().alias("_by_follower")
    )
    frame = names.with_columns(pl.col("_group").is_in(rows["_group"].unique().implode()).alias("_in_year"))
    for part in (promotional, counted, why_none):
        frame = frame.join(part, on="_group", how="left", maintain_order="left")
    frame = frame.with_columns(pl.col("posts", "promotional_share_28d_n").fill_null(0))
    return frame, settled.join(counted.select("_group", "_by_follower"), on="_group", maintain_order="left")


def _with_followers(posts: pl.DataFrame, fct_counter: pl.LazyFrame | None) -> pl.DataFrame:
    """The posts with `_followers`, null without a counter to ask."""
    if fct_counter is None:
        return posts.with_columns(pl.lit(None, pl.Int64).alias("_followers"))
    dated = posts.with_columns(pl.col("published_at").dt.date().alias("_day"))
    return dated.join(_followers(dated.lazy(), fct_counter).collect(), on="post_id", how="left")


def _named(frame: pl.DataFrame, measures: dict[str, Any], *, as_of: date) -> pl.LazyFrame:
    """Each account and platform, and `all`, with these measures of theirs, and why there are none."""
    reason = (
        pl.when(~pl.col("_in_year"))
        .then(pl.lit("no posts in 364 days"))
        .otherwise(pl.col("_last_note").fill_null("pending"))
    )
    groups = frame.with_columns(pl.Series(name, numbers) for name, numbers in measures.items()).with_columns(
        pl.col(pl.Float64).fill_nan(None),
        pl.lit(as_of).alias("as_of"),
        pl.when(pl.col("posts") == 0).then(reason).alias("value_per_post_note"),
    )
    # Who posts on one platform does the same on all of them.
    alone = groups.filter((pl.len() == 1).over("account_id")).with_columns(pl.lit(ALL).alias("platform"))
    return pl.concat([groups, alone]).sort(_KEYS).lazy()


def _promotional_28d(as_of: date) -> pl.Expr:
    """Whether each post of the last 28 days promotes something, where that is known."""
    return pl.col("is_promotional").filter(pl.col("published_at") >= end_of(as_of) - timedelta(days=28)).drop_nulls()


def _means(settled: pl.DataFrame, groups: int) -> dict[str, Floats]:
    """`value_per_post` and `people_per_post` with their intervals, by group number."""
    group = settled["_group"].to_numpy()
    n = np.bincount(group, minlength=groups)
    result: dict[str, Floats] = {}
    # Weights are thousandths: added as whole numbers, posts of equal value have exactly that mean, and no spread.
    for name, column, unit in (("value_per_post", "value_7d", 1000), ("people_per_post", "people_7d", 1)):
        numbers = (settled[column].cast(pl.Float64) * unit).round().to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.bincount(group, numbers, minlength=groups) / n
            squares = np.bincount(group, (numbers - mean[group]) ** 2, minlength=groups)
            low, high = positive_mean_interval(mean, np.sqrt(squares / (n - 1)), n)
        result |= {name: mean / unit, f"{name}_low": low / unit, f"{name}_high": high / unit}
    return result


def _rates(settled: pl.DataFrame, groups: int) -> dict[str, Floats]:
    """`rate_shrunken` with its interval, by group number; fitted on the distinct pairs."""
    exposure = pl.when("_by_follower").then("_followers").otherwise(1).cast(pl.Float64).alias("e")
    pairs = (
        settled.select("_group", pl.col("interactions_7d").cast(pl.Float64).alias("y"), exposure)
        .group_by("_group", "y", "e")
        .agg(pl.len().cast(pl.Float64).alias("w"))
        .sort("_group", "y", "e")
    )
    y, e, w = (pairs[name].to_numpy() for name in ("y", "e", "w"))
    fit = shrunken_rates(y, e, w, pairs["_group"].to_numpy().astype(np.intp), groups=groups)
    return {"rate_shrunken": fit.mean, "rate_shrunken_low": fit.low, "rate_shrunken_high": fit.high}
