"""In which weeks could somebody have come, and in which of them did each person? What the retention models are fitted to.

Weeks are UTC Monday weeks by number; an account's opportunity weeks are numbered from 0.
"""

from datetime import date

import narwhals as nw
import polars as pl
from narwhals.typing import IntoLazyFrame

from assets.metrics.coverage import ALL, births
from assets.metrics.numbering import AS_NAMED, Names
from assets.metrics.once import once
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    People,
    collected,
    last_complete,
    patchy_periods,
    period_number,
    week_of,
)
from assets.metrics.visible import visible_posts

_TIE = ("account_id", "person_id")


def weeks_of(days: People, opportunities: People) -> People:
    """x, t_x and n of each pair with an active opportunity week: `repeat_weeks, last_week, opportunity_weeks`.

    `days` has `account_id, person_id, day`; `opportunities` has `account_id, week, number, weeks`: the account's
    opportunity weeks, numbered from 0, and how many there are.
    """
    number = nw.col("number")
    return (
        days.select(*_TIE, period_number("week").alias("week"))
        .unique()
        .join(opportunities, on=["account_id", "week"], how="inner")
        .group_by(*_TIE)
        .agg(
            nw.len().alias("active_weeks"),
            number.min().alias("first"),
            number.max().alias("last"),
            nw.col("weeks").max(),
        )
        .select(
            *_TIE,
            (nw.col("active_weeks").cast(nw.Int64) - 1).alias("repeat_weeks"),
            (nw.col("last") - nw.col("first")).alias("last_week"),
            (nw.col("weeks") - 1 - nw.col("first")).alias("opportunity_weeks"),
        )
    )


@once
def opportunity_weeks(
    people: People | IntoLazyFrame,
    dim_post: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
    names: Names = AS_NAMED,
) -> pl.LazyFrame:
    """In which weeks could somebody have come? `account_id, week, number, weeks`, numbered from 0 within the account.

    A complete UTC Monday week with inbound covered (>= 90 % of its days since birth, on every platform that offers it)
    in which the account posted, sent or received at least one interaction of known time: without an opportunity, a
    silence is no evidence. `names` are behind the numbers in `people`.
    """
    passed = (
        nw.from_native(people)
        .filter((nw.col("inbound") > 0) | (nw.col("outbound") > 0))
        .select("account_id", period_number("week").alias("week"))
    )
    posted = visible_posts(dim_post, as_of=as_of).select(
        "account_id", week_of(pl.col("published_at").dt.date().cast(pl.Int64)).alias("week")
    )
    unknown = patchy_periods(fct_collection_span, as_of=as_of, period="week").filter(
        pl.col("platform") == ALL, pl.col("coverage_share") < MINIMUM_COVERAGE
    )
    born = births(fct_collection_span, stream="inbound", as_of=as_of).filter(
        pl.col("platform") == ALL, pl.col("covered_from").is_not_null()
    )
    return collected(
        pl.concat([names.named(collected(passed.unique())), posted])
        .unique()
        .join(born.select("account_id", week_of(pl.col("birth_date").cast(pl.Int64)).alias("birth")), on="account_id")
        .filter(pl.col("week") >= pl.col("birth"), pl.col("week") <= last_complete(as_of, "week"))
        .join(unknown.select("account_id", pl.col("period").alias("week")), on=["account_id", "week"], how="anti")
        .sort("account_id", "week")
        .select(
            "account_id",
            "week",
            (pl.int_range(pl.len(), dtype=pl.Int64).over("account_id")).alias("number"),
            pl.len().over("account_id").cast(pl.Int64).alias("weeks"),
        )
    )
