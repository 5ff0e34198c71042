"""When is somebody gone? The silence after which an account's people hardly ever come back, and who has been through it.

Lapse is a stopping time: it is known on the day on which the silence gets long enough, and stays true whatever comes
later. Days that were not collected are unknown, never silence: all lengths are on a clock that pauses on them.
Steps over people are narwhals over lazy frames; what is known of an account is Polars.
"""

from datetime import date
from typing import NamedTuple

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL, missing, uncovered_before
from assets.metrics.people import People, collected, day_number, with_day_before
from assets.metrics.survival import curves

SHORTEST_DAYS = 28
LONGEST_DAYS = 180
HORIZON_DAYS = 90
"""A return is looked for in so many days after the silence."""
RISK = 0.1

_TIE = ("account_id", "person_id")
_ACCOUNT = ("account_id",)
_ROUNDING = 1e-9
"""A quotient of products that should be 0.1 may miss it by this much."""


class Clock(NamedTuple):
    """Days on a clock that stands still while nothing is collected.

    `days` has `account_id, day, at` (on the clock) of accounts with a day missing; elsewhere the clock is the calendar.
    `ends` has `account_id, end_day`: the last collected day up to `as_of`, on the clock.
    """

    days: pl.LazyFrame
    ends: pl.LazyFrame


def clock(days: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> Clock:
    """The clock of each account that has an active day: `days` has `account_id, day` (a number), in any order."""
    spans = collected(
        missing(fct_collection_span, stream="inbound", as_of=as_of)
        .filter(pl.col("platform") == ALL)
        .select("account_id", "from_date", "to_date")
    )
    last = days.select("account_id").unique().with_columns(pl.lit(day_number(as_of), dtype=pl.Int64).alias("day"))
    paused = days.select("account_id", "day").unique().join(spans, on="account_id", how="semi")
    at = pl.col("day") - pl.col("uncovered")
    return Clock(
        uncovered_before(paused, spans, at="day", by=_ACCOUNT).select("account_id", "day", at.alias("at")),
        uncovered_before(last, spans, at="day", by=_ACCOUNT).select(
            "account_id", (at - pl.col("is_uncovered")).alias("end_day")
        ),
    )


def clocked(days: People, clock_days: People, *, column: str = "day") -> People:
    """The frame with that column of days moved to the clock: several days of one hole become the day after it."""
    on_clock = clock_days.select("account_id", nw.col("day").alias(column), "at")
    moved = nw.when(nw.col("at").is_null()).then(nw.col(column)).otherwise(nw.col("at"))
    return days.join(on_clock, on=["account_id", column], how="left").with_columns(moved.alias(column)).drop("at")


def silences(days: People, ends: People) -> People:
    """How long is it from each active day to the next? One row for each of them.

    `days` has `account_id, person_id, day`, distinct; `ends` has `account_id, end_day`, the last day on which a return
    would have been seen. Comes back: `account_id, person_id, since` (days since the person's first), `duration`
    (to the next active day, or to the end) and `is_observed` (false: the silence is still open).
    """
    days = with_day_before(days)
    day, before, first, last = (nw.col(name) for name in ("day", "before", "first", "last"))
    bounds = (
        days.group_by(*_TIE)
        .agg(day.min().alias("first"), day.max().alias("last"))
        .join(ends.select("account_id", "end_day"), on="account_id", how="inner")
    )
    over = (
        days.filter(~before.is_null())
        .join(bounds.select(*_TIE, "first"), on=list(_TIE), how="inner")
        .select(
            *_TIE,
            (before - first).alias("since"),
            (day - before).alias("duration"),
            nw.lit(value=True).alias("is_observed"),
        )
    )
    still = bounds.select(
        *_TIE,
        (last - first).alias("since"),
        (nw.max_horizontal("end_day", "last") - last).alias("duration"),
        nw.lit(value=False).alias("is_observed"),
    )
    return nw.concat([over, still])


def thresholds(silences: pl.LazyFrame) -> pl.LazyFrame:
    """After how long a silence do an account's people hardly ever come back? One row for each account.

    With S the Kaplan-Meier curve of the silences (the open ones censored), the risk that somebody silent for d days
    comes back within 90 is 1 - S(d + 90) / S(d). `lapse_days` is the smallest whole d at which it is at most 10 %,
    clamped to 28 to 180 days; `lapse_risk` is the risk there, null where no silence lasted so long.
    `lapse_risk_note` says where the clamp binds, why the risk is null, and where nobody was followed for d + 90 days:
    it is then at least so much.

    Ten silences, eight ended after 5 days, one after 60, one open after 200: S falls to 0.2 at 5 and to 0.1 at 60.
    Of those silent for 28 days half come back within 90; of those silent for 60 nobody.

    >>> silences = pl.LazyFrame({"account_id": "a", "duration": [5] * 8 + [60, 200],
    ...                          "is_observed": [True] * 9 + [False]})
    >>> thresholds(silences).select("lapse_days", "lapse_risk").collect().row(0)
    (60, 0.0)
    """
    curve = collected(
        curves(silences.select("account_id", "duration", "is_observed"), by=_ACCOUNT).select(
            "account_id", pl.col("time").cast(pl.Int64), "ended", "survival"
        )
    )
    accounts = curve.group_by("account_id").agg(pl.col("time").max().alias("_longest"))
    # The risk falls only where S(d) does: nothing between the ends of silences needs to be looked at.
    falls = curve.filter(pl.col("ended") > 0, pl.col("time") <= LONGEST_DAYS)
    candidates = pl.concat([
        accounts.select("account_id", pl.lit(0, dtype=pl.Int64).alias("day")),
        falls.select("account_id", pl.col("time").alias("day")),
    ])  # fmt: skip
    smallest = (
        _risks(candidates, curve)
        .filter(pl.col("risk") <= RISK + _ROUNDING)
        .group_by("account_id")
        .agg(pl.col("day").min().alias("_smallest"))
    )
    chosen = accounts.join(smallest, on="account_id", how="left").with_columns(
        pl.col("_smallest").fill_null(LONGEST_DAYS + 1).clip(SHORTEST_DAYS, LONGEST_DAYS).alias("day")
    )
    risk, day = pl.col("risk"), pl.col("day")
    notes = pl.concat_str(
        pl.when(pl.col("_smallest") < SHORTEST_DAYS).then(pl.lit(f"the least of {SHORTEST_DAYS} days binds")),
        pl.when(pl.col("_smallest").is_null()).then(pl.lit(f"the most of {LONGEST_DAYS} days binds")),
        pl.when(risk > RISK + _ROUNDING).then(pl.lit("the risk is above 10 %")),
        pl.when(risk.is_null()).then(pl.lit("no silence lasted so long")),
        pl.when(risk.is_not_null() & (pl.col("_longest") < day + HORIZON_DAYS)).then(
            pl.lit(f"at least so much: nobody was followed for {HORIZON_DAYS} days more")
        ),
        separator="; ",
        ignore_nulls=True,
    )
    return (
        _risks(chosen, curve)
        .select(
            "account_id",
            day.alias("lapse_days"),
            risk.alias("lapse_risk"),
            pl.when(notes != "").then(notes).alias("lapse_risk_note"),
        )
        .sort("account_id")
    )


def _risks(frame: pl.LazyFrame, curve: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `risk`: of coming back within 90 days after `day` days of silence, null where there is none."""
    steps = curve.select("account_id", "time", "survival").sort("time")
    for name, at in (("_now", pl.col("day")), ("_later", pl.col("day") + HORIZON_DAYS)):
        frame = (
            frame.with_columns(at.alias("_at"))
            .sort("_at")
            .join_asof(
                steps.rename({"survival": name}),
                left_on="_at",
                right_on="time",
                by="account_id",
                strategy="backward",
                check_sortedness=False,  # sorted just above; Polars cannot check it within groups and warns
            )
            .with_columns(pl.col(name).fill_null(1.0))
            .drop("_at", "time", strict=False)
        )
    risk = (1 - pl.col("_later") / pl.col("_now")).clip(0, 1).round(12)
    return frame.with_columns(pl.when(pl.col("_now") > 0).then(risk).alias("risk")).drop("_now", "_later")


def lifetimes(silences: People, thresholds: People) -> People:
    """How long did each person stay? `account_id, person_id, duration, is_observed, followed`, in days.

    From `silences`, and `account_id, lapse_days` of `thresholds`. A person lapses at the first silence longer than
    `lapse_days` d, d days after its beginning; `duration` is counted from first contact. Who has not lapsed is censored
    at the end. `followed` is from first contact to the end, whatever happened: who came back after a lapse stays lapsed.
    """
    since, duration, limit = nw.col("since"), nw.col("duration"), nw.col("lapse_days")
    # An open silence of d days holds d whole days without a sign: the next one can only come after more than d.
    is_long = (duration > limit) | (~nw.col("is_observed") & (duration >= limit))
    lapsed = nw.col("lapsed")
    return (
        silences.join(thresholds.select("account_id", "lapse_days"), on="account_id", how="inner")
        .with_columns(
            nw.when(is_long).then(since + limit).alias("lapsed"),
            (since + duration).alias("followed"),
        )
        .group_by(*_TIE)
        .agg(lapsed.min(), nw.col("followed").max())
        .select(
            *_TIE,
            nw.when(lapsed.is_null()).then(nw.col("followed")).otherwise(lapsed).alias("duration"),
            (~lapsed.is_null()).alias("is_observed"),
            "followed",
        )
    )
