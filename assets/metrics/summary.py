"""The three questions in numbers: what each mart says of an account, now and a quarter ago.

A metric's name is the name of the mart column it restates, for all platforms together. Only the two of
`assets.metrics.concentration` are of the whole account and stand nowhere else. There is no score that mixes them.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from assets.metrics.coverage import ALL, coverage_share, spans_read
from assets.metrics.intervals import wilson
from assets.metrics.people import last_complete
from assets.metrics.visible import end_of

QUARTER = timedelta(days=91)
YEAR = timedelta(days=364)
RETAINED_AFTER_MONTHS = 3
COHORTS = 12


@dataclass(frozen=True)
class Measure:
    """A column of a mart that the summary restates, and where its interval, n and note stand.

    `why` says why it is null where the mart has a row for it and no note of its own.
    """

    name: str
    question: str
    low: str | None = None
    high: str | None = None
    n: str | None = None
    note: str | None = None
    why: str = "too little data"


CADENCE = (
    Measure("steadiness", "consistency", "steadiness_low", "steadiness_high", "posts", "steadiness_note"),
    Measure("kept_weeks_share", "consistency", n="kept_weeks_share_n", note="steadiness_note"),
    Measure("streak_weeks", "consistency", note="steadiness_note"),
    Measure("open_silence_days", "consistency", note="steadiness_note"),
)
LISTENING = (
    Measure(
        "response_rate_24h",
        "consistency",
        "response_rate_24h_low",
        "response_rate_24h_high",
        "response_rate_24h_n",
        "response_rate_24h_note",
    ),
    Measure(
        "response_time_median_seconds",
        "consistency",
        "response_time_median_seconds_low",
        "response_time_median_seconds_high",
        "opportunities",
        "response_time_median_seconds_note",
    ),
    Measure(
        "availability_days_share",
        "consistency",
        n="availability_days_share_n",
        note="availability_days_share_note",
    ),
)
VALUE = (
    Measure("value_per_post", "value", "value_per_post_low", "value_per_post_high", "posts", "value_per_post_note"),
    Measure("people_per_post", "value", "people_per_post_low", "people_per_post_high", "posts", "value_per_post_note"),
    Measure(
        "promotional_share_28d",
        "value",
        n="promotional_share_28d_n",
        why="no post of the last 28 days that could be judged",
    ),
)
_NO_YEAR = "no ties of a year earlier to compare with, or less than 90 % of either time was collected"
GROWTH = (
    Measure("active", "relationships", note="active_note"),
    Measure("quick_ratio", "relationships", n="dormant", note="active_note", why="nobody became dormant"),
    Measure(
        "stickiness",
        "relationships",
        n="active",
        note="active_note",
        why="nobody was active, or a week of the month is not over or was not collected",
    ),
    Measure("net_retention", "relationships", n="net_retention_n", note="active_note", why=_NO_YEAR),
    Measure("gross_retention", "relationships", n="net_retention_n", note="active_note", why=_NO_YEAR),
)
RETAINED = Measure(
    "retained_rate", "relationships", "retained_rate_low", "retained_rate_high", "people", "retained_rate_note"
)
CIRCLE = (
    Measure(
        "people_for_half_of_value",
        "relationships",
        n="people_for_half_of_value_n",
        note="people_for_half_of_value_note",
    ),
    Measure("multi_platform_share", "relationships", n="multi_platform_share_n", note="multi_platform_share_note"),
)
MEASURES = (*CADENCE, *LISTENING, *VALUE, *GROWTH, RETAINED, *CIRCLE)
_TOGETHER = pl.col("platform") == ALL
_ABSENT = {
    "consistency": "posts not offered",
    "value": "no posts",
    "relationships": "inbound not offered, or known for too short a time",
}
"""Why a measure of the question is null where the mart has no row of the account."""
_STREAMS = {"consistency": "posts", "value": "inbound", "relationships": "inbound"}
"""Whose coverage a measure rests on; those of listening rest on both directions, a share of posts on posts."""
_BOTH = "both directions"
_NOT_LISTENING = "neither inbound nor outbound offered"
"""The same of the measures of listening, which need other streams than the rest of their question."""


def summary(
    dim_account: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    now: pl.LazyFrame,
    before: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """`mart_summary`: every measure of every account; `now` and `before` come from `measures`.

    A measure that an account has no row for is there with a null value and a note. `coverage_share` is that of the
    stream that the measure rests on, over the 364 days that end with `as_of`: of both directions the lower one.
    """
    every = pl.LazyFrame(
        {
            "metric": [m.name for m in MEASURES],
            "question": [m.question for m in MEASURES],
            "stream": [_stream(m) for m in MEASURES],
            "absent": [_NOT_LISTENING if m in LISTENING else _ABSENT[m.question] for m in MEASURES],
        }
    )
    key = ["account_id", "metric"]
    return (
        dim_account.select("account_id")
        .join(every, how="cross")
        .join(now, on=key, how="left")
        .join(before.select(*key, previous="value"), on=key, how="left")
        .join(_coverage(dim_account, fct_collection_span, as_of=as_of), on=["account_id", "stream"], how="left")
        .select(
            pl.lit(as_of).alias("as_of"),
            *("account_id", "metric", "question", "value", "low", "high", "n", "coverage_share", "previous"),
            note=pl.when(pl.col("value").is_null()).then(pl.coalesce("note", "absent")).otherwise("note"),
        )
    )


def _stream(measure: Measure) -> str:
    if measure in LISTENING:
        return _BOTH
    return "posts" if measure.name == "promotional_share_28d" else _STREAMS[measure.question]


def _coverage(dim_account: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """How much of the year was collected: `account_id, stream, coverage_share`, null where it is not offered."""
    fct_collection_span = spans_read(fct_collection_span)
    year = dim_account.select(
        "account_id",
        platform=pl.lit(ALL),
        from_date=pl.lit(as_of - YEAR + timedelta(days=1)),
        to_date=pl.lit(as_of),
    )
    each = [
        coverage_share(year, fct_collection_span, stream=stream, as_of=as_of).select(
            "account_id", pl.lit(stream).alias("stream"), "coverage_share"
        )
        for stream in ("posts", "inbound", "outbound")
    ]
    directions = pl.concat(each[1:])
    # Where one direction is not offered there is nothing to take the lower of.
    both = directions.group_by("account_id").agg(
        pl.when(pl.col("coverage_share").null_count() == 0).then(pl.col("coverage_share").min()).alias("coverage_share")
    )
    return pl.concat([each[0], each[1], both.select("account_id", pl.lit(_BOTH).alias("stream"), "coverage_share")])


def measures(
    mart_cadence: pl.LazyFrame,
    mart_listening: pl.LazyFrame,
    mart_value: pl.LazyFrame,
    mart_growth_month: pl.LazyFrame,
    mart_retention_cohort: pl.LazyFrame,
    circle: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """`account_id, metric, value, low, high, n, note` of all platforms together.

    The first three marts, and `circle` (`concentration.concentration`), are of this `as_of`. Of the growth mart the last month that was complete
    on it is taken, of the cohorts the cells that were fully observed on it: `retained_rate` pools
    the last 12 cohorts that have a third month.
    """
    complete = pl.col("month") <= _month(last_complete(as_of, "month"))
    # A month's last week may end in the next: on an earlier as_of, its stickiness was not known yet.
    last_monday = (pl.col("month").dt.offset_by("1mo") - timedelta(days=1)).dt.truncate("1w")
    month = (
        mart_growth_month.filter(_TOGETHER, complete)
        .filter(pl.col("month") == pl.col("month").max().over("account_id"))
        .with_columns(pl.when(last_monday + timedelta(days=6) <= as_of).then("stickiness").alias("stickiness"))
    )
    # Read once each: every measure is a pass of its own.
    mart_cadence, mart_listening, mart_value, month, kept, circle = (
        frame.lazy()
        for frame in pl.collect_all([
            *(mart.filter(_TOGETHER) for mart in (mart_cadence, mart_listening, mart_value)),
            month,
            retained(mart_retention_cohort.filter(_TOGETHER), as_of=as_of),
            circle,
        ])
    )  # fmt: skip
    parts = [
        *(_long(mart_cadence, measure) for measure in CADENCE),
        *(_long(mart_listening, measure) for measure in LISTENING),
        *(_long(mart_value, measure) for measure in VALUE),
        *(_long(month, measure) for measure in GROWTH),
        _long(kept, RETAINED),
        *(_long(circle, measure) for measure in CIRCLE),
    ]
    return pl.concat(parts)


def of_all_platforms(
    mart_growth_month: pl.LazyFrame, mart_retention_cohort: pl.LazyFrame, *, since: date
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """What `measures` needs of the two large marts, read once: it is asked for two dates, `since` is the earlier.

    The months of an account run to the last that is complete, so none is asked for that was complete before.
    """
    months = [measure.name for measure in GROWTH] + [name for m in GROWTH for name in (m.n, m.note) if name]
    growth, cohorts = pl.collect_all([
        mart_growth_month.filter(_TOGETHER, pl.col("month") >= _month(last_complete(since, "month"))).select("account_id", "platform", "month", *dict.fromkeys(months)),
        mart_retention_cohort.filter(_TOGETHER, pl.col("period") == RETAINED_AFTER_MONTHS).select(
            "account_id", "platform", "cohort_month", "period", "people", "retained"
        ),
    ])  # fmt: skip
    return growth.lazy(), cohorts.lazy()


def as_known(mart_post_value: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The posts as they stood on an earlier `as_of`: later ones are gone, those younger than 7 days pending."""
    settled = end_of(as_of) - timedelta(days=7)
    return mart_post_value.filter(pl.col("published_at") < end_of(as_of)).with_columns(
        is_pending=pl.col("published_at") > settled
    )


def retained(mart_retention_cohort: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Of the people first met in the last 12 observable months, the share active in the third month after.

    Counts are pooled over cohorts; Wilson interval.
    """
    months = RETAINED_AFTER_MONTHS
    observed = pl.col("cohort_month") <= _month(last_complete(as_of, "month") - months)
    newest = pl.col("cohort_month").max().over("account_id", "platform")
    low, high = wilson(pl.col("retained"), pl.col("people"))
    return (
        mart_retention_cohort.filter(pl.col("period") == months, observed)
        .filter(pl.col("cohort_month") > newest.dt.offset_by(f"-{COHORTS}mo"))
        .group_by("account_id", "platform")
        .agg(pl.col("people", "retained").sum())
        .with_columns(
            retained_rate=pl.when(pl.col("people") > 0).then(pl.col("retained") / pl.col("people")),
            retained_rate_low=low,
            retained_rate_high=high,
            retained_rate_note=pl.lit(
                f"share of the people first met in the last {COHORTS} observable months, {months} months later"
            ),
        )
    )


def _month(number: int) -> date:
    """The first day of the month of that number."""
    return date(number // 12, number % 12 + 1, 1)


def _long(mart: pl.LazyFrame, measure: Measure) -> pl.LazyFrame:
    def column(name: str | None, dtype: pl.DataType) -> pl.Expr:
        return (pl.col(name) if name else pl.lit(None)).cast(dtype)

    note = column(measure.note, pl.String())
    # A note that stands for another measure of the row says nothing about this one while it is known.
    beside = note if measure.note == f"{measure.name}_note" else pl.lit(None, pl.String)
    return mart.filter(_TOGETHER).select(
        "account_id",
        pl.lit(measure.name).alias("metric"),
        column(measure.name, pl.Float64()).alias("value"),
        column(measure.low, pl.Float64()).alias("low"),
        column(measure.high, pl.Float64()).alias("high"),
        column(measure.n, pl.Int64()).alias("n"),
        pl.when(pl.col(measure.name).is_null()).then(note.fill_null(measure.why)).otherwise(beside).alias("note"),
    )
