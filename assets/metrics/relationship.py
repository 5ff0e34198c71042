"""Who keeps coming back, and whom are we losing? One row for each account and person with an active day.

Steps over people are narwhals over lazy frames; what is known of an account (its weeks, its coverage) is Polars.
The probability that a relationship is alive is a fitted model's business (`assets.metrics.expectation`), not this one's.
"""

from datetime import date, timedelta

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL, births, coverage_share, spans_read
from assets.metrics.engines import beside, joined
from assets.metrics.expectation import with_expectations
from assets.metrics.growth import lifecycle_states
from assets.metrics.opportunity_weeks import opportunity_weeks, weeks_of
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    TOTALLED,
    People,
    as_date,
    beginnings,
    collected,
    day_number,
    days_together_once,
    first_contacts,
    known_people,
    last_complete,
    patchy_periods,
    period_start,
    with_day_before,
)
from assets.metrics.silence import unknown_silences
from assets.metrics.spike import judged_from

_TIE = ("account_id", "person_id")
_USUAL_GAP = 7.0
_SHORTEST_RHYTHM = 7.0
_WEIGHT_OF_ACCOUNT = 3
_COOLING_RHYTHMS = 3
_LOST_RHYTHMS = 8
_LOST_DAYS = 90.0
_RESURRECTED_DAYS = 28
_RECIPROCITY_DAYS = 180
VALUE_DAYS = 365


def lost_after(rhythm: nw.Expr) -> nw.Expr:
    """After how many days of silence a tie of that rhythm is lost: max(8 rhythms, 90 days)."""
    days = rhythm * _LOST_RHYTHMS
    return nw.when(days < _LOST_DAYS).then(nw.lit(_LOST_DAYS)).otherwise(days)


def rhythms(days: People) -> People:
    """How often does a person come? The own median gap, drawn towards the account's.

    `account_id, person_id, rhythm_days` from `account_id, person_id, day`: (k own + 3 account) / (k + 3) with k gaps
    between active days, at least 7. The account's is the median of all gaps of all its people, 7 where there is none.
    """
    days, before = with_day_before(days), nw.col("before")
    gaps = days.filter(~before.is_null()).select(*_TIE, (nw.col("day") - before).alias("gap"))
    own = gaps.group_by(*_TIE).agg(nw.col("gap").count().alias("k"), nw.col("gap").median().alias("own"))
    account = gaps.group_by("account_id").agg(nw.col("gap").median().alias("usual"))
    usual = _WEIGHT_OF_ACCOUNT * nw.col("usual").fill_null(_USUAL_GAP)
    k = nw.col("k").fill_null(0)
    drawn = (k * nw.col("own").fill_null(0.0) + usual) / (k + _WEIGHT_OF_ACCOUNT)
    rhythm = nw.when(drawn < _SHORTEST_RHYTHM).then(nw.lit(_SHORTEST_RHYTHM)).otherwise(drawn)
    # Everybody has one day without a day before it.
    known = (
        days.filter(before.is_null())
        .select(*_TIE)
        .join(own, on=list(_TIE), how="left")
        .join(account, on="account_id", how="left")
    )
    return known.select(*_TIE, rhythm.alias("rhythm_days"))


def tie_states(days: People, *, as_of: date) -> People:
    """Is the tie active, cooling, lost or just resurrected? `account_id, person_id, rhythm_days, last_day, tie_state`.

    `days` has `account_id, person_id, day`, distinct. States are judged at the ends of complete weeks, on rhythms as
    known at `as_of`; a demotion needs two of them in a row. No loop over weeks is needed: silence only grows until the
    person returns, and on the first week's end after that it is below 7 days, so the state at a week's end is what the
    silence was a week earlier, and `active` where the person came within the week. Likewise a silence counted as
    lost iff it was long enough one week before the last week's end within it. Null before the first week's end.
    """
    end = period_start(last_complete(as_of, "week") + 1, "week") - 1
    previous_end = end - 7
    day, rhythm = nw.col("day"), nw.col("rhythm_days")
    is_long = lost_after(rhythm)
    days, before = with_day_before(days), nw.col("before")
    own = rhythms(days)
    judged = days.filter(day <= end)
    last = judged.group_by(*_TIE).agg(day.max().alias("last_day"))
    # The last week's end before a day: a week (Monday 1969-12-29 is day -3) is seven days, its end a Sunday.
    last_end = (day + 3) // 7 * 7 - 4
    back = (
        judged.filter(day > end - _RESURRECTED_DAYS, ~before.is_null())
        .select(*_TIE, "before", last_end.alias("last_end"))
        .join(own, on=list(_TIE), how="inner")
        .filter(nw.col("last_end") - 7 - before >= is_long)
        .select(*_TIE)
        .unique()
        .with_columns(nw.lit(1).alias("is_back"))
    )
    silence = nw.lit(previous_end) - nw.col("last_day")
    state = (
        nw.when(nw.col("last_day").is_null())
        .then(nw.lit(None, dtype=nw.String))
        .otherwise(
            nw.when(silence >= is_long)
            .then(nw.lit("lost"))
            .otherwise(
                nw.when(silence >= rhythm * _COOLING_RHYTHMS)
                .then(nw.lit("cooling"))
                .otherwise(nw.when(nw.col("is_back").is_null()).then(nw.lit("active")).otherwise(nw.lit("resurrected")))
            )
        )
    )
    return (
        own.join(last, on=list(_TIE), how="left")
        .join(back, on=list(_TIE), how="left")
        .select(*_TIE, "rhythm_days", "last_day", state.alias("tie_state"))
    )


def tie_state(active_days: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """What has become of each tie? From a person's active days to `rhythm_days` and `tie_state`.

    `active_days` has `account_id, person_id, date`, in any order, repeats allowed, rows after `as_of` ignored. With m
    the rhythm (see `rhythms`): active while silent for less than 3 m, cooling from there, lost from max(8 m, 90 days),
    resurrected in the first 28 days after lost; judged at the ends of complete UTC weeks, a demotion after two in a
    row. Thresholds after Navarro et al. (2017), EPJ Data Science 6, on phone data: an assumption here. An unfollow
    ends a tie whatever its state (`ended` in `mart_relationship`).

    >>> days = pl.LazyFrame({"account_id": "a", "person_id": ["p", "p", "q"],
    ...                      "date": [date(2024, 1, 1), date(2024, 1, 8), date(2024, 2, 26)]})
    >>> tie_state(days, as_of=date(2024, 3, 3)).collect().rows()
    [('a', 'p', 7.0, 'cooling'), ('a', 'q', 7.0, 'active')]
    """
    days = (
        active_days.filter(pl.col("date") <= as_of).select(*_TIE, pl.col("date").cast(pl.Int64).alias("day")).unique()
    )
    return tie_states(nw.from_native(collected(days)), as_of=as_of).to_native().drop("last_day").sort(_TIE)


def totals(people: People, *, as_of: date) -> People:
    """What passed between account and person: counts over all history, 180 and 365 days. One row a pair.

    `last_inbound_day` is of any inbound interaction of known time, `ended_day` of an unfollow or block.
    """
    today = day_number(as_of)
    day = nw.col("day")
    nothing = nw.lit(0)
    is_recent = day > today - _RECIPROCITY_DAYS
    return (
        people.with_columns(
            (nw.col("inbound") + nw.col("inbound_untimed")).alias("inbound_any"),
            (nw.col("inbound_composed") + nw.col("inbound_composed_untimed")).alias("in_composed"),
            (nw.col("outbound_composed") + nw.col("outbound_composed_untimed")).alias("out_composed"),
            nw.when(is_recent).then(nw.col("inbound_composed")).otherwise(nothing).alias("in_180d"),
            nw.when(is_recent).then(nw.col("outbound_composed")).otherwise(nothing).alias("out_180d"),
            nw.when(day > today - VALUE_DAYS).then(nw.col("value")).otherwise(nw.lit(0.0)).alias("value_365d"),
            nw.when(nw.col("inbound") > 0).then(day).alias("inbound_day"),
            nw.when(nw.col("is_ended")).then(day).alias("ended_day"),
        )
        .group_by(*_TIE)
        .agg(
            nw.col("first_at").min(),
            nw.col("last_at").max(),
            nw.col("inbound_any").sum(),
            nw.col("in_composed").sum(),
            nw.col("out_composed").sum(),
            nw.col("in_180d").sum(),
            nw.col("out_180d").sum(),
            # Rounded, because a sum of floats depends on the order of its terms, and every result must not.
            nw.col("value_365d").sum().round(9),
            nw.col("inbound_day").max().alias("last_inbound_day"),
            nw.col("ended_day").max(),
        )
    )


def platforms_of(people: People) -> People:
    """On how many platforms did the person come to the account? `account_id, person_id, platforms`."""
    return (
        people.filter((nw.col("inbound") > 0) | (nw.col("inbound_untimed") > 0))
        .select(*_TIE, "platform")
        .unique()
        .group_by(*_TIE)
        .agg(nw.len().alias("platforms"))
    )


def relationship(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    mart_spike: pl.LazyFrame,
    mart_retention_model: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """Who keeps coming back? `mart_relationship`, one row for each account and person with an active day.

    All platforms together. Counts are over all history, interactions of unknown time included. x, t_x and n
    (`weeks_of`) are null for people first active in the running week only and for those of unknown start (left
    truncation), whose `cohort_month` and `is_spike_won` are null too; the latter also for people first seen before
    spikes can be judged. `lifecycle` is of the last complete month, null where the person was active neither in it nor
    in the month before, or where coverage leaves it open. `reciprocity` = 2 min(in, out) / (in + out) of composed
    interactions in 180 days, null with no inbound, below 90 % coverage of either direction, and, like
    `outbound_composed`, where no platform of the account offers outbound. `tie_state` as in `tie_states`, and `ended`
    where an unfollow or block by the last week's end came after everything inbound; null instead of cooling or lost
    where less than 90 % of the silence was collected. Probabilities are those of
    `expectation.with_expectations`.
    """
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of, measures=TOTALLED)
    days = days_together_once(people)
    begun = beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of)
    opportunities = opportunity_weeks(people, dim_post, fct_collection_span, as_of=as_of, names=names)
    accounts = names.numbered(_accounts(begun, fct_collection_span, as_of=as_of))
    parts = (
        totals(people, as_of=as_of),
        platforms_of(people),
        tie_states(days, as_of=as_of),
        weeks_of(days, beside(names.numbered(opportunities), days)),
        _last_lifecycle(days, as_of=as_of),
    )
    rows = joined(first_contacts(days).drop("platform"), *parts, on=_TIE, how="left")
    last_days = names.named(collected(rows.select("account_id", "last_day").unique()))
    unknown = unknown_silences(last_days, fct_collection_span, as_of=as_of).with_columns(is_unknown=True)
    rows = rows.join(names.numbered(unknown), on=["account_id", "last_day"], how="left")
    rows = collected(rows.join(accounts, on="account_id", how="left"))
    spikes = names.numbered(_spikes(mart_spike, as_of=as_of))
    published = collected(_published(rows.join(_won(rows, spikes), on=list(_TIE), how="left"), as_of=as_of))
    models = names.numbered(mart_retention_model.filter(pl.col("as_of") == as_of))
    return names.named(with_expectations(published, models, as_of=as_of).sort(_TIE))


def _published(rows: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    week_end = period_start(last_complete(as_of, "week") + 1, "week") - 1
    is_known = pl.col("first_day") >= pl.col("known_from")
    is_silent = pl.col("tie_state").is_in(["cooling", "lost"])
    is_ended = (pl.col("ended_day") > pl.col("last_inbound_day")) & (pl.col("ended_day") <= week_end)
    both = pl.col("in_180d") + pl.col("out_180d")
    lifecycle = pl.col("lifecycle")
    is_comparable = pl.col("is_before_known") & (is_known | (pl.col("first_month") < last_complete(as_of, "month")))
    return rows.select(
        *_TIE,
        pl.lit(as_of).alias("as_of"),
        "first_at",
        "last_at",
        *(pl.when(is_known).then(name).alias(name) for name in ("repeat_weeks", "last_week", "opportunity_weeks")),
        pl.col("inbound_any").alias("inbound"),
        pl.col("in_composed").alias("inbound_composed"),
        pl.when("is_outbound_offered").then("out_composed").alias("outbound_composed"),
        pl.when((pl.col("in_180d") > 0) & pl.col("is_reciprocity_covered"))
        .then(2 * pl.min_horizontal("in_180d", "out_180d") / both)
        .alias("reciprocity"),
        "rhythm_days",
        pl.when(pl.col("is_month_known") & (is_comparable | (is_known & (lifecycle == "new"))))
        .then(lifecycle)
        .alias("lifecycle"),
        pl.when(is_ended)
        .then(pl.lit("ended"))
        .when(~is_silent | pl.col("is_unknown").is_null())
        .then("tie_state")
        .alias("tie_state"),
        pl.when(pl.col("first_day") >= pl.col("judged_from"))
        .then(pl.col("is_won").is_not_null())
        .alias("is_spike_won"),
        pl.when(is_known).then(as_date(period_start(pl.col("first_month"), "month"))).alias("cohort_month"),
        "value_365d",
        "platforms",
    )


def _last_lifecycle(days: People, *, as_of: date) -> People:
    """State of each person in the last complete month: `account_id, person_id, lifecycle`."""
    states = lifecycle_states(days, as_of=as_of, period="month")
    return states.filter(nw.col("period") == last_complete(as_of, "month")).select(*_TIE, "lifecycle")


def _accounts(begun: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """What is known of each account: one row with what its people's rows are judged by."""
    month = last_complete(as_of, "month")
    unknown = patchy_periods(fct_collection_span, as_of=as_of, period="month").filter(
        pl.col("platform") == ALL, pl.col("coverage_share") < MINIMUM_COVERAGE
    )
    months = unknown.group_by("account_id").agg(
        (pl.col("period") == month).any().alias("is_now_open"),
        (pl.col("period") == month - 1).any().alias("is_before_open"),
    )
    together = begun.filter(pl.col("platform") == ALL)
    since = judged_from(together, fct_collection_span, as_of=as_of)
    rows = (
        together.select("account_id", "platform", "known_from")
        .join(since, on=["account_id", "platform"], how="left")
        .join(months, on="account_id", how="left")
        .with_columns(
            (~pl.col("is_now_open").fill_null(value=False)).alias("is_month_known"),
            (~pl.col("is_before_open").fill_null(value=False)).alias("is_before_known"),
            pl.lit(as_of - timedelta(days=_RECIPROCITY_DAYS - 1)).alias("from_date"),
            pl.lit(as_of).alias("to_date"),
        )
    )
    for stream in ("inbound", "outbound"):
        rows = collected(
            coverage_share(rows, fct_collection_span, stream=stream, as_of=as_of).rename({"coverage_share": stream})
        )
    offered = births(fct_collection_span, stream="outbound", as_of=as_of).filter(pl.col("platform") == ALL)
    covered = (pl.col("inbound") >= MINIMUM_COVERAGE) & (pl.col("outbound") >= MINIMUM_COVERAGE)
    return rows.join(
        offered.select("account_id", pl.lit(value=True).alias("is_outbound_offered")),
        on="account_id",
        how="full",
        coalesce=True,
    ).select(
        "account_id",
        "known_from",
        "judged_from",
        "is_month_known",
        "is_before_known",
        pl.col("is_outbound_offered").fill_null(value=False),
        covered.fill_null(value=False).alias("is_reciprocity_covered"),
    )


def _spikes(mart_spike: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The spikes of all platforms together, by their days: `account_id, start, end`."""
    return mart_spike.filter(pl.col("platform") == ALL, pl.col("started_on") <= as_of).select(
        "account_id",
        pl.col("started_on").cast(pl.Int64).alias("start"),
        pl.col("ended_on").cast(pl.Int64).fill_null(day_number(as_of)).alias("end"),
    )


def _won(rows: pl.LazyFrame, spikes: pl.LazyFrame) -> pl.LazyFrame:
    """The people whose first day lies in a spike of the account: `account_id, person_id, is_won`."""
    return (
        rows.select(*_TIE, "first_day")
        .join(spikes, on="account_id", how="inner")
        .filter(pl.col("first_day").is_between("start", "end"))
        .select(*_TIE, pl.lit(value=True).alias("is_won"))
        .unique()
    )
