"""Who is still here? People by month of first contact, followed month by month.

Complete counts of what happened; the models of who is still alive are in `bgbb` and `bgnbd`, and importable here.
"""

from datetime import date

import narwhals as nw
import numpy as np
import polars as pl

from assets.metrics.bgbb import fit_bgbb
from assets.metrics.bgnbd import fit_bgnbd, fit_mbgnbd
from assets.metrics.coverage import spans_read
from assets.metrics.engines import beside, kept
from assets.metrics.intervals import wilson
from assets.metrics.numbering import Names
from assets.metrics.parts import in_parts, numbered_runs
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    People,
    active_days_once,
    as_date,
    beginnings,
    collected,
    day_number,
    known_contacts,
    known_people,
    last_complete,
    month_of,
    patchy_periods,
    period_start,
    with_only_platform_as_all,
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
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    begun = names.numbered(beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of))
    days, several = active_days_once(people, begun)
    seen = collected(with_only_platform_as_all(kept(months_after_contact(days, beside(begun, days))), several))
    last = last_complete(as_of, "month")
    unknown = patchy_periods(fct_collection_span, as_of=as_of, period="month").filter(
        pl.col("coverage_share") < MINIMUM_COVERAGE
    )
    unknown = names.numbered(collected(unknown.select(*_KEYS, pl.col("period").alias("month"))))
    by_cohort = (*_KEYS, "cohort")
    cohorts = collected(
        seen.group_by(*by_cohort)
        .agg(pl.col("last_seen").sum().cast(pl.Int64).alias("people"))
        .join(begun.select(*_KEYS, "birth_day"), on=_KEYS, how="inner")
        .filter(pl.col("cohort") <= last, pl.col("cohort") >= month_of(pl.col("birth_day")))
        .join(unknown, left_on=by_cohort, right_on=[*_KEYS, "month"], how="anti")
        .sort(by_cohort)
        .with_columns((last + 1 - pl.col("cohort")).alias("length"))
        .select(
            pl.int_range(pl.len()).alias("number"),
            (pl.col("length").cum_sum() - pl.col("length")).alias("offset"),
            "length",
            *by_cohort,
            "people",
        )
    )
    return _cells(cohorts, collected(_steps(cohorts, seen)), unknown, names, as_of=as_of)


def _steps(cohorts: pl.LazyFrame, seen: pl.LazyFrame) -> pl.LazyFrame:
    """What the cells say: a row for each month in which people of a cohort came, and one for the quiet months after it.

    In order of cohort and month, two rows each time: in a quiet month nobody is retained, and between two months in
    which people came nothing changes. The first month of a cohort is always one of those.
    """
    by_cohort = (*_KEYS, "cohort")
    here, gone = pl.col("retained"), pl.col("last_seen").cum_sum().over("number", order_by="k")
    came = (
        seen.join(cohorts.select("number", "length", *by_cohort, "people"), on=by_cohort, how="inner")
        .filter(pl.col("k") < pl.col("length"))
        .select("number", "k", "people", "retained", pl.col("last_seen").cast(pl.Int64))
        # People last seen before the k-th month cannot be retained in it or later.
        .with_columns((pl.col("people") - gone).alias("after"))
    )
    each = pl.concat([
        came.select("number", "k", "people", here.cast(pl.Int64), (pl.col("after") + pl.col("last_seen")).alias("later"), is_quiet=False),
        came.select("number", "k", "people", here.cast(pl.Int64) * 0, pl.col("after").alias("later"), is_quiet=True),
    ]).sort("number", "k", "is_quiet")  # fmt: skip
    low, high = wilson(pl.col("retained"), pl.col("people"))
    later_low, later_high = wilson(pl.col("later"), pl.col("people"))
    return each.select(
        "number",
        "k",
        "people",
        "retained",
        (pl.col("retained") / pl.col("people")).alias("retained_rate"),
        low.alias("retained_rate_low"),
        high.alias("retained_rate_high"),
        pl.col("later").alias("retained_or_later"),
        (pl.col("later") / pl.col("people")).alias("retained_or_later_rate"),
        later_low.alias("retained_or_later_rate_low"),
        later_high.alias("retained_or_later_rate_high"),
    )


def _cells(
    cohorts: pl.LazyFrame, steps: pl.LazyFrame, unknown: pl.LazyFrame, names: Names, *, as_of: date
) -> pl.LazyFrame:
    """Every cell, in order and in parts: which step it shows is counted, since joining millions of cells takes seconds."""
    of, told = cohorts.collect(), steps.collect()
    offset, length = of["offset"].to_numpy(), of["length"].to_numpy()
    came = told[::2]
    begins = offset[came["number"].to_numpy()] + came["k"].to_numpy()
    month = pl.col("month") - pl.col("cohort")
    holes = (
        cohorts.join(unknown, on=_KEYS, how="inner")
        .filter(month >= 0, month < pl.col("length"))
        .select((pl.col("offset") + month).alias("cell"))
        .sort("cell")
        .collect()
        .to_series()
        .to_numpy()
    )
    edge = month_of(day_number(as_of) + 1) - _EDGE_MONTHS
    of_cohort = (
        names.named(of.lazy())
        .select(*_KEYS, "cohort", as_date(period_start(pl.col("cohort"), "month")).alias("cohort_month"))
        .collect()
    )
    said = told.drop("number", "k")

    def part(first: int, end: int) -> pl.DataFrame:
        number, cell = numbered_runs(offset, length, first, end), np.arange(first, end)
        latest = np.searchsorted(begins, cell, side="right") - 1
        step = 2 * latest + (begins[latest] != cell)
        holed = slice(*np.searchsorted(holes, [first, end]))
        is_known = np.ones(cell.size, dtype=bool)
        is_known[holes[holed] - first] = False
        number, cell, step = number[is_known], cell[is_known], step[is_known]
        return pl.concat(
            [
                of_cohort.select(pl.all().gather(number)),
                pl.DataFrame({"period": cell - offset[number]}),
                said.select(pl.all().gather(step)),
            ],
            how="horizontal",
        ).select(
            pl.lit(as_of).alias("as_of"),
            *_KEYS,
            "cohort_month",
            "period",
            *said.columns,
            (pl.col("cohort") + pl.col("period") >= edge).alias("is_right_edge"),
        )

    return in_parts(int(length.sum()), part)
