"""Who is still here? People by month of first contact, followed month by month.

Complete counts of what happened; the models of who is still alive are in `bgbb` and `bgnbd`, and importable here.
"""

from datetime import date

import narwhals as nw
import polars as pl

from assets.metrics.bgbb import fit_bgbb
from assets.metrics.bgnbd import fit_bgnbd, fit_mbgnbd
from assets.metrics.engines import beside
from assets.metrics.intervals import wilson
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    People,
    active_days,
    as_date,
    beginnings,
    collected,
    day_number,
    known_contacts,
    last_complete,
    month_of,
    numbered,
    patchy_periods,
    period_start,
    persons,
)

__all__ = ["cohort", "fit_bgbb", "fit_bgnbd", "fit_mbgnbd", "months_after_contact"]

_KEYS = ("account_id", "platform")
_EDGE_MONTHS = 3


def months_after_contact(days: People, beginnings: People) -> People:
    """How many people of a cohort were active k months after: `account_id, platform, cohort, k, retained, last_seen`.

    `cohort` is the number of the month of first contact. `last_seen` counts people whose last active month so far is
    the k-th. Months in which nobody of the cohort was active have no row; people of unknown start are out.
    """
    person = (*_KEYS, "person_id")
    months = days.select(*person, "month").unique()
    contacts = known_contacts(days, beginnings).select(*person, nw.col("first_month").alias("cohort"))
    last = nw.col("month").max().over(*person)
    return (
        months.with_columns(last.alias("last"))
        .join(contacts, on=list(person), how="inner")
        .select(
            *_KEYS,
            "cohort",
            (nw.col("month") - nw.col("cohort")).alias("k"),
            nw.when(nw.col("month") == nw.col("last")).then(nw.lit(1)).otherwise(nw.lit(0)).alias("last_seen"),
        )
        .group_by(*_KEYS, "cohort", "k")
        .agg(nw.len().alias("retained"), nw.col("last_seen").sum())
    )


def cohort(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """Who stays? `mart_retention_cohort`: people by month of first contact, followed month by month.

    A cell for each account, platform that offers inbound (and `all`), month with a first contact, and k = 0, 1, ...
    months after it: `retained` people were active in that month, `retained_or_later` in it or at any time after it, up
    to `as_of`; rates with Wilson intervals. Cells not fully observed are left out: months that `as_of` has not ended,
    months with less than 90 % of their days collected, and all of a cohort whose own month is one of those.
    `is_right_edge` marks the last 3 complete months, in which `retained_or_later` can still grow much. People whose
    start is unknown (left truncation) are in no cohort.
    """
    days = active_days(numbered(persons(fold_relationship_day, dim_identity, as_of=as_of)))
    begun = collected(beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of))
    seen = collected(months_after_contact(days, beside(begun, days)))
    last = last_complete(as_of, "month")
    unknown = patchy_periods(fct_collection_span, as_of=as_of, period="month").filter(
        pl.col("coverage_share") < MINIMUM_COVERAGE
    )
    unknown = collected(unknown.select(*_KEYS, pl.col("period").alias("month")))
    by_cohort = (*_KEYS, "cohort")
    cells = (
        seen.group_by(*by_cohort)
        .agg(pl.col("last_seen").sum().cast(pl.Int64).alias("people"))
        .join(begun.select(*_KEYS, "birth_day"), on=_KEYS, how="inner")
        .filter(pl.col("cohort") <= last, pl.col("cohort") >= month_of(pl.col("birth_day")))
        .join(unknown, left_on=by_cohort, right_on=[*_KEYS, "month"], how="anti")
        .sort(by_cohort)
        .select(*by_cohort, "people", pl.int_ranges(0, last + 1 - pl.col("cohort")).alias("k"))
        .explode("k")
        .join(seen, on=[*by_cohort, "k"], how="left", maintain_order="left")
        .with_columns(pl.col("retained", "last_seen").fill_null(0).cast(pl.Int64))
        .with_columns(
            # People last seen before the k-th month cannot be retained in it or later.
            (pl.col("people") - pl.col("last_seen").cum_sum().over(by_cohort) + pl.col("last_seen")).alias("later"),
            (pl.col("cohort") + pl.col("k")).alias("month"),
        )
        .join(unknown, on=[*_KEYS, "month"], how="anti", maintain_order="left")
    )
    low, high = wilson(pl.col("retained"), pl.col("people"))
    later_low, later_high = wilson(pl.col("later"), pl.col("people"))
    return cells.select(
        pl.lit(as_of).alias("as_of"),
        *_KEYS,
        as_date(period_start(pl.col("cohort"), "month")).alias("cohort_month"),
        pl.col("k").alias("period"),
        "people",
        "retained",
        (pl.col("retained") / pl.col("people")).alias("retained_rate"),
        low.alias("retained_rate_low"),
        high.alias("retained_rate_high"),
        pl.col("later").alias("retained_or_later"),
        (pl.col("later") / pl.col("people")).alias("retained_or_later_rate"),
        later_low.alias("retained_or_later_rate_low"),
        later_high.alias("retained_or_later_rate_high"),
        (month_of(day_number(as_of) + 1) - pl.col("month") <= _EDGE_MONTHS).alias("is_right_edge"),
    )
