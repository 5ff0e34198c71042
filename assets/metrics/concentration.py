"""On how few people does the account rest, and does it know them by more than one channel? One row for each account.

Asked of the people of `mart_relationship`; for a quarter ago, which that mart no longer holds, of the fold as of then.
"""

from datetime import date, timedelta

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL, births, coverage_share, spans_read
from assets.metrics.engines import joined
from assets.metrics.people import MINIMUM_COVERAGE, TOTALLED, collected, day_number, known_people
from assets.metrics.relationship import VALUE_DAYS, platforms_of, totals

_TIE = ["account_id", "person_id"]


def fewest_for_half(given: pl.Expr) -> pl.Expr:
    """How many people give half of everything? The smallest number of largest values that sum to half; null for nothing.

    To be used within a group. Values are summed as thousandths, so that the order of rows cannot matter.

    >>> pl.DataFrame({"v": [1.0, 5.0, 1.0, 3.0]}).select(fewest_for_half(pl.col("v"))).item()
    1
    >>> pl.DataFrame({"v": [1.0, 1.0, 1.0]}).select(fewest_for_half(pl.col("v"))).item()
    2
    """
    whole = (given * 1000).round().cast(pl.Int64)
    reached = whole.sort(descending=True).cum_sum()
    needed = (2 * reached < whole.sum()).sum() + 1
    return pl.when(whole.sum() > 0).then(needed.cast(pl.Int64))


def people_as_of(
    fold_relationship_day: pl.LazyFrame, dim_identity: pl.LazyFrame, *, as_of: date, known_on: date | None = None
) -> pl.LazyFrame:
    """Whom did the account know then? `account_id, person_id, value_365d, platforms` as `mart_relationship` has them.

    `known_on` is the day of the night that asks: what it has read of the people until then is looked at again.
    """
    people, names = known_people(fold_relationship_day, dim_identity, as_of=known_on or as_of, measures=TOTALLED)
    people = people.filter(nw.col("day") <= day_number(as_of))
    came = people.filter(nw.col("inbound_active") > 0).select(*_TIE).unique()
    given = totals(people, as_of=as_of).select(*_TIE, "value_365d")
    return names.named(joined(came, given, platforms_of(people), on=_TIE, how="left"))


def concentration(people: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """On how many people does the account rest? `people_for_half_of_value` and `multi_platform_share`, with n and note.

    One row for each account that was collected (inbound), `platform` is `all`. `people` are those of
    `mart_relationship`, or `people_as_of` an earlier day: `account_id, value_365d, platforms`, one row a person with
    at least one active day by `as_of`. `people_for_half_of_value` is the fewest people who together gave half of
    `value_365d`, n the people who gave anything; null with nothing given, or less than 90 % of the days collected.
    `multi_platform_share` is the share of people with inbound on two platforms or more (`platforms` >= 2), n all
    people; null where fewer than two platforms offer inbound or nobody came. Both are complete counts: no interval.
    """
    fct_collection_span = spans_read(fct_collection_span)
    counted = collected(
        people.group_by("account_id").agg(
            fewest_for_half(pl.col("value_365d")).alias("people_for_half_of_value"),
            (pl.col("value_365d") > 0).sum().cast(pl.Int64).alias("givers"),
            (pl.col("platforms") > 1).sum().alias("several"),
            pl.len().cast(pl.Int64).alias("people"),
        )
    )
    born = births(fct_collection_span, stream="inbound", as_of=as_of).filter(pl.col("covered_from").is_not_null())
    offered = born.group_by("account_id").agg((pl.col("platform") != ALL).sum().alias("platforms_offered"))
    year = born.filter(pl.col("platform") == ALL).select(
        "account_id",
        "platform",
        pl.lit(as_of - timedelta(days=VALUE_DAYS - 1)).alias("from_date"),
        pl.lit(as_of).alias("to_date"),
    )
    covered = coverage_share(collected(year), fct_collection_span, stream="inbound", as_of=as_of)
    is_covered = (pl.col("coverage_share") >= MINIMUM_COVERAGE).fill_null(value=False)
    several, people_all = pl.col("several").fill_null(0), pl.col("people").fill_null(0)
    is_half_known = is_covered & pl.col("people_for_half_of_value").is_not_null()
    is_share_known = (pl.col("platforms_offered") > 1) & (people_all > 0)
    return (
        collected(covered)
        .join(offered, on="account_id")
        .join(counted, on="account_id", how="left")
        .select(
            "account_id",
            "platform",
            pl.when(is_half_known).then("people_for_half_of_value").alias("people_for_half_of_value"),
            pl.col("givers").fill_null(0).alias("people_for_half_of_value_n"),
            pl.when(~is_covered)
            .then(pl.lit("less than 90 % of the last 365 days was collected"))
            .when(~is_half_known)
            .then(pl.lit("nobody gave anything in the last 365 days"))
            .alias("people_for_half_of_value_note"),
            pl.when(is_share_known).then(several / people_all).alias("multi_platform_share"),
            people_all.alias("multi_platform_share_n"),
            pl.when(pl.col("platforms_offered") < 2)
            .then(pl.lit("only one platform offers inbound"))
            .when(people_all == 0)
            .then(pl.lit("nobody came"))
            .alias("multi_platform_share_note"),
        )
        .sort("account_id")
    )
