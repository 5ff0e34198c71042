"""The folds: what passed between a person and an account on a day, and what each gave a post.

The only steps that read single interactions. Sums are of integers (weights in thousandths), so
that the result does not depend on the order in which an engine adds.
"""

from collections.abc import Mapping
from datetime import date

import narwhals as nw
from narwhals.typing import IntoLazyFrameT

from assets.metrics.visible import cutoff, end_of, visible_interactions, visible_posts

_COUNTED, _UNDONE, _ENDED = 0, 1, 2

LIKE_BAND = (0.0, 0.3)
"""What a like is worth at least and at most: the band around `value`."""


def _is(condition: nw.Expr) -> nw.Expr:
    """1 where the condition holds, else 0: a sum of booleans is not portable."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0))


def _weight(weights: Mapping[str, float]) -> nw.Expr:
    """The weight of the row's kind in thousandths."""
    expression = nw.lit(0)
    for kind in sorted(weights):
        expression = (
            nw.when(nw.col("kind") == nw.lit(kind)).then(nw.lit(round(1000 * weights[kind]))).otherwise(expression)
        )
    return expression


def _sums(*names: str) -> list[nw.Expr]:
    return [nw.col(name).sum().cast(nw.Int64).alias(name) for name in names]


def relationship_day(fct_interaction: IntoLazyFrameT, *, weights: Mapping[str, float], as_of: date) -> IntoLazyFrameT:
    """What passed between each person and account on each day: `fold_relationship_day`.

    `fct_interaction` as in the catalogue; `weights` by kind. Rows of unknown time stand on the day
    they were first seen, in the `_untimed` columns only. A follow taken back before the cutoff
    counts in `followed` alone, and marks the day it was taken back `is_ended`: a log of followers
    must show both, or its days would not add up.
    """
    timed, inbound, composed = nw.col("is_time_known"), nw.col("direction") == nw.lit("inbound"), nw.col("is_composed")
    counts = {
        "inbound": timed & inbound,
        "inbound_active": timed & inbound & (nw.col("kind") != nw.lit("follow")),
        "inbound_composed": timed & inbound & composed,
        "outbound": timed & ~inbound,
        "outbound_composed": timed & ~inbound & composed,
        "inbound_untimed": ~timed & inbound,
        "inbound_composed_untimed": ~timed & inbound & composed,
        "outbound_composed_untimed": ~timed & ~inbound & composed,
    }
    follow = inbound & (nw.col("kind") == nw.lit("follow"))
    log = {
        "followed": timed & follow & (nw.col("standing") != nw.lit(_ENDED)),
        "followed_untimed": ~timed & follow & (nw.col("standing") != nw.lit(_ENDED)),
        "unfollowed": nw.col("standing") == nw.lit(_ENDED),
    }
    active = timed & inbound & (nw.col("kind") != nw.lit("follow"))
    keys = ["account_id", "platform", "identity_id"]
    used = [*keys, "kind", "direction", "is_composed", "is_time_known", "active_at"]
    visible = (
        nw.from_native(visible_interactions(fct_interaction, as_of=as_of))
        .select(*used)
        .with_columns(standing=nw.lit(_COUNTED))
    )
    undone, ended = _undone_follows(fct_interaction, as_of=as_of), _ended_follows(fct_interaction, as_of=as_of)
    rows = nw.concat([visible, undone.select(*used, "standing"), ended.select(*used, "standing")])
    is_real = nw.col("standing") == nw.lit(_COUNTED)
    return (
        rows.with_columns(
            _weight(weights).alias("weight"),
            nw.col("active_at").dt.date().alias("date"),
            nw.when(active & is_real).then(nw.col("active_at")).alias("contact_at"),
            *(_is(condition & is_real).alias(name) for name, condition in counts.items()),
            *(_is(condition).alias(name) for name, condition in log.items()),
        )
        .with_columns(
            (nw.col("weight") * nw.col("inbound")).alias("value"),
            (nw.col("weight") * (nw.col("inbound") + nw.col("outbound"))).alias("strength"),
        )
        .group_by(*keys, "date")
        .agg(
            *_sums(*counts, *log, "value", "strength"),
            nw.col("contact_at").min().alias("first_at"),
            nw.col("contact_at").max().alias("last_at"),
        )
        .select(
            *keys,
            "date",
            *counts,
            *log,
            (nw.col("value") / nw.lit(1000.0)).alias("value"),
            (nw.col("strength") / nw.lit(1000.0)).alias("strength"),
            "first_at",
            "last_at",
            (nw.col("unfollowed") > nw.lit(0)).alias("is_ended"),
        )
        .to_native()
    )


def _follows(fct_interaction: IntoLazyFrameT, *, as_of: date) -> nw.LazyFrame:
    """Inbound follows that were seen before the cutoff, also those taken back."""
    return nw.from_native(fct_interaction).filter(
        nw.col("is_audience"),
        nw.col("kind") == nw.lit("follow"),
        nw.col("direction") == nw.lit("inbound"),
        nw.col("observed_at") < nw.lit(cutoff(as_of)),
    )


def _undone_follows(fct_interaction: IntoLazyFrameT, *, as_of: date) -> nw.LazyFrame:
    """Follows of the time up to `as_of` that were taken back before the cutoff, standing on when they began."""
    return (
        _follows(fct_interaction, as_of=as_of)
        .filter(nw.col("active_at") < nw.lit(end_of(as_of)), nw.col("retracted_at") < nw.lit(cutoff(as_of)))
        .with_columns(standing=nw.lit(_UNDONE))
    )


def _ended_follows(fct_interaction: IntoLazyFrameT, *, as_of: date) -> nw.LazyFrame:
    """Follows taken back by the end of `as_of`, standing on the moment they were taken back."""
    return (
        _follows(fct_interaction, as_of=as_of)
        .filter(nw.col("retracted_at") < nw.lit(end_of(as_of)))
        .with_columns(nw.col("retracted_at").alias("active_at"), nw.lit(_ENDED).alias("standing"))
    )


def post_value(
    fct_interaction: IntoLazyFrameT, dim_post: IntoLazyFrameT, *, weights: Mapping[str, float], as_of: date
) -> IntoLazyFrameT:
    """What each person gave each post in the 7 days after publishing: `fold_post_value`.

    Inbound interactions on the post with `active_at` in the window. Those of unknown time count
    where they were first seen by the reading that closes the window, at an age of at most 9 days.
    """
    posts = nw.from_native(visible_posts(dim_post, as_of=as_of)).select(
        "post_id",
        "published_at",
        nw.col("published_at").dt.offset_by("7d").alias("timed_end"),
        nw.col("published_at").dt.offset_by("9d").alias("untimed_end"),
    )
    end = nw.when(nw.col("is_time_known")).then(nw.col("timed_end")).otherwise(nw.col("untimed_end"))
    kinds = {
        "replies": nw.col("kind") == nw.lit("reply"),
        "mentions": nw.col("kind") == nw.lit("mention"),
        "quotes": nw.col("kind") == nw.lit("quote"),
        "reposts": nw.col("kind") == nw.lit("repost"),
        "bookmarks": nw.col("kind") == nw.lit("bookmark"),
        "likes": nw.col("kind") == nw.lit("like"),
    }
    low, high = ({**weights, "like": band} for band in LIKE_BAND)
    values = {"value": weights, "value_low": low, "value_high": high}
    return (
        nw.from_native(visible_interactions(fct_interaction, as_of=as_of))
        .filter(nw.col("direction") == nw.lit("inbound"), ~nw.col("post_id").is_null())
        .select(
            "post_id", "account_id", "identity_id", "kind", "is_time_known", "active_at"
        )
        .join(posts, on="post_id", how="inner")
        .filter(nw.col("active_at") >= nw.col("published_at"), nw.col("active_at") < end)
        .with_columns(
            nw.lit(1).alias("interactions"),
            *(_is(condition).alias(name) for name, condition in kinds.items()),
            *(_weight(weight).alias(name) for name, weight in values.items()),
        )
        .group_by("post_id", "account_id", "identity_id")
        .agg(*_sums("interactions", *kinds, *values))
        .select(
            "post_id", "account_id", "identity_id", "interactions", *kinds,
            *((nw.col(name) / nw.lit(1000.0)).alias(name) for name in values),
        )
        .to_native()
    )  # fmt: skip


def response(fct_interaction: IntoLazyFrameT, *, as_of: date) -> IntoLazyFrameT:
    """The composed exchange of each identity with an account, moment by moment: `fold_response`.

    One row for each moment (`active_at`, known times only) and direction, with the `messages` of it (one, unless the
    platform's clock is coarse). Not yet opportunities: whether a message opens one depends on what passed before it
    between the account and the person, and persons are joined after the folds. So a merge moves no row here, and what
    is left of all interactions are those in which somebody wrote something.
    """
    keys = ["account_id", "platform", "identity_id", "direction", "active_at"]
    return (
        nw.from_native(visible_interactions(fct_interaction, as_of=as_of))
        .filter(nw.col("is_composed"), nw.col("is_time_known"))
        .select(*keys)
        .with_columns(messages=nw.lit(1))
        .group_by(*keys)
        .agg(*_sums("messages"))
        .to_native()
    )
