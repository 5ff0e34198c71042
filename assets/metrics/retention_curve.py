"""Who is still here, and for how long? Kaplan-Meier curves of the time to lapse, by where and when people came.

`followed` follows each person from first contact; `strata` says which curves a person counts in; `curve` is the mart.
Arms are compared in `retention_comparison`.
"""

from datetime import date
from typing import NamedTuple

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL, coverage_share, spans_read
from assets.metrics.engines import beside, joined, kept
from assets.metrics.lapse import clock, clocked, lifetimes, silences, thresholds
from assets.metrics.numbering import Names
from assets.metrics.once import once
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    People,
    as_date,
    beginnings,
    collected,
    day_number,
    days_together_once,
    known_contacts,
    known_people,
)
from assets.metrics.spike import judged_from
from assets.metrics.survival import curves

CHANNEL_DAYS = 90
"""The number of channels is as of so many days after first contact."""
WEEKS_5_TO_8 = (28, 55)
"""First and last day of them, the day of first contact being 0."""

_TIE = ("account_id", "person_id")
_STRATUM = ("account_id", "stratum")


class Followed(NamedTuple):
    """People from first contact on, and what is known of their accounts.

    `people`: `account_id, person_id, first_day` (calendar), `duration, is_observed, followed` (`lapse.lifetimes`),
    `is_back, is_back_later` (active in weeks 5 to 8 after first contact, and after the 90th day; null where not
    followed so far), `first_platform, channels, is_won`. `accounts`: `account_id, coverage_share, lapse_days,
    lapse_risk, lapse_risk_note`, every account with inbound collected. `names` are behind the numbers of accounts and
    people in `people`.
    """

    people: pl.LazyFrame
    accounts: pl.LazyFrame
    names: Names


def first_signs(people: People, clock_days: People) -> People:
    """When did a person first come on each platform? `account_id, person_id, platform, first_at, day` (on the clock)."""
    first = people.filter(nw.col("inbound_active") > 0).group_by(*_TIE, "platform")
    days = first.agg(nw.col("first_at").min(), nw.col("day").min())
    return clocked(days, clock_days)


def origins(signs: People) -> People:
    """Where did each person first come, and on how many platforms within 90 days? From `first_signs`.

    `account_id, person_id, first_platform, channels`. Two platforms at the same moment: the first by name.
    """
    # Joined, not a window: half the time on Polars.
    first = signs.group_by(*_TIE).agg(nw.col("day").min().alias("start"), nw.col("first_at").min().alias("start_at"))
    is_early = nw.col("day") - nw.col("start") <= CHANNEL_DAYS
    return (
        signs.join(first, on=list(_TIE), how="inner")
        .select(
            *_TIE,
            nw.when(nw.col("first_at") == nw.col("start_at")).then(nw.col("platform")).alias("first_platform"),
            nw.when(is_early).then(nw.lit(1)).otherwise(nw.lit(0)).alias("channels"),
        )
        .group_by(*_TIE)
        .agg(nw.col("first_platform").min(), nw.col("channels").sum())
    )


def returns(silences: People) -> People:
    """Who was active in weeks 5 to 8, after first contact and after day 90? `account_id, person_id, back, back_later`."""
    low, high = WEEKS_5_TO_8
    since, one, nothing = nw.col("since"), nw.lit(1), nw.lit(0)
    later = (since >= CHANNEL_DAYS + low) & (since <= CHANNEL_DAYS + high)
    return (
        silences.select(
            *_TIE,
            nw.when((since >= low) & (since <= high)).then(one).otherwise(nothing).alias("back"),
            nw.when(later).then(one).otherwise(nothing).alias("back_later"),
        )
        .group_by(*_TIE)
        .agg(nw.col("back").max(), nw.col("back_later").max())
    )


@once
def followed(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    mart_spike: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> Followed:
    """Every person whose first contact is known, all platforms together, from there to lapse or `as_of`.

    People of unknown start (left truncation) are out, in the account's silences too. `is_won` is null where spikes
    cannot be judged yet (`judged_from`); spikes are those of `mart_spike` over `all` platforms that began by `as_of`.
    """
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    begun = collected(
        beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of).filter(pl.col("platform") == ALL)
    )
    every = days_together_once(people)
    contacts = kept(known_contacts(every, beside(names.numbered(begun), every)).select(*_TIE, "first_day"))
    days = every.join(contacts.select(*_TIE), on=list(_TIE), how="inner").select(*_TIE, "day", "before")
    seen_days = names.named(collected(days.select("account_id", "day").unique()))
    ticks = clock(seen_days, fct_collection_span, as_of=as_of)
    clock_days, ends = (beside(names.numbered(collected(frame)), every) for frame in ticks)
    moved = clocked(clocked(days, clock_days), clock_days, column="before")
    # Several days of one hole are one on the clock.
    came = moved.filter(nw.col("before").is_null() | (nw.col("before") < nw.col("day")))
    quiet = kept(silences(came, ends))
    limits = collected(thresholds(collected(quiet.select("account_id", "duration", "is_observed"))))
    lives = lifetimes(quiet, beside(limits, quiet))
    parts = (lives, returns(quiet), origins(first_signs(people, clock_days)))
    rows = joined(contacts, *parts, on=_TIE, how="inner")
    since = judged_from(begun, fct_collection_span, as_of=as_of).select("account_id", "judged_from")
    rows = rows.join(names.numbered(since), on="account_id", how="left").join(
        names.numbered(_spike_days(mart_spike, as_of=as_of)), on=["account_id", "first_day"], how="left"
    )
    platforms = Names({"first_platform": names.by_column["platform"]} if names.by_column else {})
    _, last = WEEKS_5_TO_8
    seen = collected(
        platforms.named(rows).select(
            *_TIE,
            "first_day",
            "duration",
            "is_observed",
            "followed",
            pl.when(pl.col("followed") >= last).then(pl.col("back") > 0).alias("is_back"),
            pl.when(pl.col("followed") >= CHANNEL_DAYS + last).then(pl.col("back_later") > 0).alias("is_back_later"),
            "first_platform",
            pl.col("channels").cast(pl.Int64),
            pl.when(pl.col("first_day") >= pl.col("judged_from"))
            .then(pl.col("in_spike").is_not_null())
            .alias("is_won"),
        )
    )
    return Followed(seen, _accounts(begun, names.named(limits), fct_collection_span, as_of=as_of), names)


def _spike_days(mart_spike: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The days of an account's spikes: `account_id, first_day, in_spike`."""
    end = pl.col("ended_on").fill_null(as_of).clip(upper_bound=as_of)
    return (
        mart_spike.filter(pl.col("platform") == ALL, pl.col("started_on") <= as_of)
        .select(
            "account_id",
            pl.int_ranges(pl.col("started_on").cast(pl.Int64), end.cast(pl.Int64) + 1).alias("first_day"),
        )
        .explode("first_day")
        .unique()
        .with_columns(pl.lit(value=True).alias("in_spike"))
    )


def _accounts(
    begun: pl.LazyFrame, limits: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    windows = begun.select(
        "account_id",
        "platform",
        as_date(pl.max_horizontal("birth_day", "known_from").clip(upper_bound=day_number(as_of) + 1)).alias(
            "from_date"
        ),
        pl.lit(as_of).alias("to_date"),
    )
    covered = coverage_share(windows, fct_collection_span, stream="inbound", as_of=as_of)
    return collected(
        covered.select("account_id", "coverage_share").join(limits, on="account_id", how="left").sort("account_id")
    )


def strata(people: People) -> People:
    """Which curves does each person count in? `people` of `followed`, once for each of its strata.

    `account_id, person_id, stratum, origin, duration, is_observed, followed, is_back`. Strata: `all`; `spike` and `steady`, where
    that can be judged; `platform:x` of first contact; `channels:n`, the platforms within 90 days of first contact, for
    those who were still followed then (neither lapsed nor censored by day 90). Theirs is a landmark: the number would
    otherwise be of those who lived to raise it. Their `origin` is day 90, others' is 0, and `is_back` is counted from it.
    """
    still = people.filter(nw.col("duration") > CHANNEL_DAYS)
    arm = nw.when(nw.col("is_won")).then(nw.lit("spike")).otherwise(nw.lit("steady"))
    named = (
        (people, nw.lit("all"), 0, "is_back"),
        (people.filter(~nw.col("is_won").is_null()), arm, 0, "is_back"),
        (people, nw.concat_str(nw.lit("platform:"), nw.col("first_platform")), 0, "is_back"),
        (
            still,
            nw.concat_str(nw.lit("channels:"), nw.col("channels").cast(nw.String)),
            CHANNEL_DAYS,
            "is_back_later",
        ),
    )
    return nw.concat([
        frame.select(
            *_TIE,
            stratum.alias("stratum"),
            nw.lit(origin).alias("origin"),
            "duration",
            "is_observed",
            "followed",
            nw.col(back).alias("is_back"),
        )
        for frame, stratum, origin, back in named
    ])  # fmt: skip


def curve(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    mart_spike: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """Who is still here after so many days? `mart_retention_curve`: Kaplan-Meier curves of the time to lapse.

    For each account and stratum (`strata`) the days since first contact on which the curve has something to say: the
    first (0; 90 for `channels:n`, whose curve is of those still followed then), each on which somebody lapsed, and the
    last on which anybody was followed. Between them `survival` stays as it was. `at_risk` people were followed up to
    that day without lapse. Greenwood's standard error; 95 % interval on the log-log scale, null where survival is 1 or
    0. Accounts with less than 90 % of their days collected have no rows.
    """
    seen = followed(
        fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of=as_of
    )
    covered = seen.names.numbered(seen.accounts.filter(pl.col("coverage_share") >= MINIMUM_COVERAGE))
    judged = collected(seen.people.join(covered, on="account_id", how="semi"))
    lives = collected(strata(nw.from_native(judged)).to_native())
    steps = collected(curves(lives, by=_STRATUM))
    starts = lives.group_by(_STRATUM).agg(pl.col("origin").first(), pl.len().cast(pl.Int64).alias("people"))
    start = starts.select(
        *_STRATUM,
        pl.col("origin").cast(pl.Int64).alias("day"),
        pl.col("people").alias("at_risk"),
        pl.lit(0, dtype=pl.Int64).alias("lapsed"),
        pl.lit(1.0).alias("survival"),
        pl.lit(None, dtype=pl.Float64).alias("survival_low"),
        pl.lit(None, dtype=pl.Float64).alias("survival_high"),
        pl.lit(0.0).alias("standard_error"),
    )
    is_last = pl.col("time") == pl.col("time").max().over(_STRATUM)
    after = (
        steps.filter((pl.col("ended") > 0) | is_last)
        .filter(pl.col("time") > 0)
        .select(
            *_STRATUM,
            pl.col("time").cast(pl.Int64).alias("day"),
            "at_risk",
            pl.col("ended").alias("lapsed"),
            "survival",
            "survival_low",
            "survival_high",
            "standard_error",
        )
    )
    return seen.names.named(pl.concat([start, after]).sort(*_STRATUM, "day")).select(
        pl.lit(as_of).alias("as_of"), *_STRATUM, pl.exclude(_STRATUM)
    )
