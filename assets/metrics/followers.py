"""Followers by day, and who came and went: `mart_followers`.

The number is the platform's own; the log is of follows that were seen. The two need not agree: a platform's number
counts people whose follow has no known time, and people that it does not show.
"""

from datetime import date

import narwhals as nw
import polars as pl
from narwhals.typing import IntoLazyFrame

from assets.metrics import coverage
from assets.metrics.engines import collected
from assets.metrics.people import People
from assets.metrics.visible import cutoff

_KEYS = ("account_id", "platform")


def follow_log(fold_relationship_day: IntoLazyFrame, dim_identity: IntoLazyFrame, *, as_of: date) -> People:
    """Who came and went, by day: `account_id, platform, date, followed, unfollowed`, without bots.

    A day on which only follows of unknown time were seen has a row of zeros.
    """
    people = nw.from_native(dim_identity).filter(~nw.col("is_bot")).select("identity_id")
    seen = nw.col("followed") + nw.col("followed_untimed") + nw.col("unfollowed")
    return (
        nw.from_native(fold_relationship_day)
        .filter(nw.col("date") <= nw.lit(as_of), seen > 0)
        .join(people, on="identity_id", how="semi")
        .group_by(*_KEYS, "date")
        .agg(nw.col("followed").sum().cast(nw.Int64), nw.col("unfollowed").sum().cast(nw.Int64))
    )


def followers(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    fct_counter: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """How many follow, who began and who left? One row a day, from the first on which followers were seen to `as_of`.

    Only accounts and platforms with a follow or a `followers` counter have rows. There is no `all`: who follows on two
    platforms would count twice. `followers` is the counter's newest observation on or before the day (null before the
    first). `followed` counts follows of known time that began on the day, also those taken back since, `unfollowed` those
    taken back on it; bots are out. Both are null on days whose inbound was not collected, and where no follow was ever
    seen: a platform that shows only the number does not show who.
    """
    log = collected(follow_log(fold_relationship_day, dim_identity, as_of=as_of))
    numbers = (
        fct_counter.filter(
            pl.col("subject") == "profile", pl.col("counter") == "followers", pl.col("observed_at") < cutoff(as_of)
        )
        .with_columns(pl.col("observed_at").dt.date().alias("date"))
        .filter(pl.col("date") <= as_of)
        .group_by(*_KEYS, "date")
        .agg(pl.col("value").sort_by("observed_at", "value").last().alias("followers"))
        .collect()
        .lazy()
    )
    days = (
        pl.concat([log.select(*_KEYS, "date"), numbers.select(*_KEYS, "date")])
        .group_by(_KEYS)
        .agg(pl.date_range(pl.col("date").min(), pl.lit(as_of)).alias("date"))
        .explode("date")
        .join(numbers, on=[*_KEYS, "date"], how="left")
        .join(log, on=[*_KEYS, "date"], how="left")
        .sort(*_KEYS, "date")
        .with_columns(
            pl.col("followers").forward_fill().over(_KEYS), pl.col("date").cast(pl.Int32).cast(pl.Int64).alias("day")
        )
        .collect()
        .lazy()
    )
    fct_collection_span = coverage.spans_read(fct_collection_span)
    holes = coverage.missing(fct_collection_span, stream="inbound", as_of=as_of)
    offered = coverage.births(fct_collection_span, stream="inbound", as_of=as_of).select(_KEYS)
    shown = log.select(_KEYS).unique().join(offered, on=_KEYS, how="semi").with_columns(is_shown=pl.lit(value=True))
    is_known = pl.col("is_shown").fill_null(value=False) & ~pl.col("is_uncovered")
    return (
        coverage.uncovered_before(days, holes, at="day", by=_KEYS)
        .join(shown, on=_KEYS, how="left")
        .sort(*_KEYS, "date")
        .select(
            *_KEYS,
            "date",
            "followers",
            *(pl.when(is_known).then(pl.col(name).fill_null(0)).alias(name) for name in ("followed", "unfollowed")),
        )
    )
