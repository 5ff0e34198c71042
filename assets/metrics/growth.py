"""Does the circle of active people grow? Lifecycle accounting by week and month.

Names of the states are PostHog's. What is new, lost and back is counted on people, each once, whatever the number
of their identities; complete periods only.
"""

from datetime import date

import narwhals as nw
import numpy as np
import polars as pl

from assets.metrics.coverage import coverage_share, missing, spans_read
from assets.metrics.engines import kept
from assets.metrics.numbering import together
from assets.metrics.parts import in_parts, numbered_runs
from assets.metrics.people import (
    DAYS_TO_1970,
    MINIMUM_COVERAGE,
    People,
    Period,
    active_days_once,
    as_date,
    beginnings,
    collected,
    known_people,
    last_complete,
    month_of,
    on_several_platforms,
    patchy_periods,
    period_number,
    period_of,
    period_start,
    week_of,
    with_only_platform_as_all,
)

_KEYS = ("account_id", "platform")
_ROW = ("series", "period")
_STATES = ("new", "returning", "resurrecting", "dormant")
_NEEDS_BEFORE = ("returning", "resurrecting", "dormant")
_STRENGTH_DAYS = 90
_YEAR = 365


def lifecycle(active_days: pl.LazyFrame, *, as_of: date, period: Period = "month") -> pl.LazyFrame:
    """What is each person in each period? New, returning, resurrecting or dormant.

    `active_days` has `account_id, platform, person_id, day, month` (as `people.active_days` numbers them). Gives
    `account_id, platform, person_id, <period>` (the Monday, or the first of the month) and `lifecycle`, for complete
    periods only. new: active for the first time ever; returning: active now and in the period before; resurrecting:
    active now, not before, not new; dormant: active in the period before, not now (and in no row after that).

    >>> days = pl.LazyFrame({"account_id": "a", "platform": "all", "person_id": "p", "day": [0, 40, 100]})
    >>> days = days.with_columns(month=month_of(pl.col("day")))
    >>> lifecycle(days, as_of=date(1970, 5, 31)).collect()["lifecycle"].to_list()
    ['new', 'returning', 'dormant', 'resurrecting', 'dormant']
    """
    states = lifecycle_states(nw.from_native(active_days), as_of=as_of, period=period).to_native()
    return states.select(
        *_KEYS, "person_id", as_date(period_start(pl.col("period"), period)).alias(period), "lifecycle"
    ).sort(*_KEYS, "person_id", period)


def lifecycle_states(days: People, *, as_of: date, period: Period) -> People:
    """The same on any engine, with the period as its number: `account_id, platform, person_id, period, lifecycle`."""
    last = last_complete(as_of, period)
    person = (*_KEYS, "person_id")
    by_period = [*person, "period"]
    active = days.select(*person, period_number(period).alias("period")).filter(nw.col("period") <= last).unique()
    next_period = active.select(*person, (nw.col("period") + 1).alias("period"))
    state = (
        nw.when(nw.col("period") == nw.col("first"))
        .then(nw.lit("new"))
        .otherwise(nw.when(nw.col("was_active").is_null()).then(nw.lit("resurrecting")).otherwise(nw.lit("returning")))
    )
    here = (
        active.with_columns(nw.col("period").min().over(*person).alias("first"))
        .join(next_period.with_columns(nw.lit(1).alias("was_active")), on=by_period, how="left")
        .select(*by_period, state.alias("lifecycle"))
    )
    gone = (
        next_period.filter(nw.col("period") <= last)
        .join(active, on=by_period, how="anti")
        .select(*by_period, nw.lit("dormant").alias("lifecycle"))
    )
    return nw.concat([here, gone])


def lifecycle_counts(days: People, *, as_of: date, period: Period) -> People:
    """People by state: `account_id, platform, period, new, returning, resurrecting, dormant`."""
    return (
        lifecycle_states(days, as_of=as_of, period=period)
        .select(
            *_KEYS,
            "period",
            *(
                nw.when(nw.col("lifecycle") == state).then(nw.lit(1)).otherwise(nw.lit(0)).alias(state)
                for state in _STATES
            ),
        )
        .group_by(*_KEYS, "period")
        .agg(*(nw.col(state).sum() for state in _STATES))
    )


def strength_a_year_apart(people: People, *, as_of: date) -> People:
    """Strength of ties now and a year ago, of the people of then, at the end of each complete month.

    `account_id, platform, period` (the month's number), `people` with strength then, `then_strength`, `now_strength`
    and `kept_strength` (the smaller of the two, person by person). Strength is the sum of weights of both directions
    over the 90 days that end with the month, and with the same day 365 days earlier.
    """
    person = (*_KEYS, "person_id")
    each = kept(people.filter(nw.col("strength") > 0).select(*person, "day", "month", "strength"))
    several = on_several_platforms(each)
    days = nw.concat([each, together(each.join(several, on="account_id", how="semi"))])
    is_now = nw.col("is_now") == 1
    nothing = nw.lit(0.0)
    summed = days.join(_windows(each, as_of=as_of), on="day", how="inner").select(
        *person,
        "period",
        nw.when(is_now).then(nw.col("strength")).otherwise(nothing).alias("now_strength"),
        nw.when(is_now).then(nothing).otherwise(nw.col("strength")).alias("then_strength"),
    )
    # Rounded, because a sum of floats depends on the order of its terms, and every result must not.
    now, then = nw.col("now_strength"), nw.col("then_strength")
    by_person = (
        summed.group_by(*person, "period")
        .agg(now.sum().round(9), then.sum().round(9))
        .filter(then > 0)
        .with_columns(nw.when(now < then).then(now).otherwise(then).alias("kept_strength"))
    )
    found = by_person.group_by(*_KEYS, "period").agg(
        nw.len().alias("people"), now.sum().round(9), then.sum().round(9), nw.col("kept_strength").sum().round(9)
    )
    return with_only_platform_as_all(kept(found), several)


def _windows(people: People, *, as_of: date) -> People:
    """The ends of months at which a day counts: `day, period, is_now` (1, or 0 for the window of a year earlier)."""
    days = people.select("day", "month").unique()
    # 90 days touch at most 4 months, and 365 days later is 12 months later or, after a 29 February, 11.
    ends = [
        days.select(
            "day",
            (nw.col("month") + months).alias("period"),
            nw.lit(int(later == 0)).alias("is_now"),
            (nw.col("day") + later).alias("counted_day"),
        )
        for later, first in ((0, 0), (_YEAR, 11))
        for months in range(first, first + 5)
    ]
    year, month = nw.col("year"), nw.col("from_march")
    # The first day of the month after, in three steps: see people.period_start.
    start = year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 - DAYS_TO_1970
    left = start - 1 - nw.col("counted_day")
    return (
        nw.concat(ends)
        .filter(nw.col("period") <= last_complete(as_of, "month"))
        .with_columns(((nw.col("period") - 1) // 12).alias("year"), ((nw.col("period") - 1) % 12).alias("from_march"))
        .with_columns(left.alias("left"))
        .filter(nw.col("left") >= 0, nw.col("left") < _STRENGTH_DAYS)
        .select("day", "period", "is_now")
    )


def growth(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
    period: Period,
) -> pl.LazyFrame:
    """Does the circle of active people grow? `mart_growth_week` or `mart_growth_month`.

    A row for each account, platform that offers inbound (and `all`) and complete period, zeros included, from the one
    that holds the birth of the stream (days before the birth are not missing); where history is left-truncated, from
    the first full period after the days of unknown starts. active(t) = active(t-1) + new + resurrecting - dormant.

    Counts are null in a period with less than 90 % of its days collected; in the one after it `returning`,
    `resurrecting`, `dormant` and `quick_ratio` are, because they compare with it. quick_ratio = (new + resurrecting) /
    dormant, null where nobody left. Months only: stickiness = mean weekly active people, over the weeks whose Monday
    lies in the month, / monthly active people, null until the last of these weeks has ended; net_retention and
    gross_retention compare the strength of ties with a year ago (`strength_a_year_apart`), null where one of the
    two windows of 90 days is not covered, inbound or (where it is offered) outbound.
    """
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    days, several = active_days_once(people)
    calendar = _calendar(
        beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of), as_of=as_of, period=period
    )
    series = calendar.select(*_KEYS, "series")
    of_numbers = names.numbered(series)
    counted = kept(lifecycle_counts(days, as_of=as_of, period=period))
    counts = _by_series(collected(with_only_platform_as_all(counted, several)), of_numbers)
    patchy = _by_series(patchy_periods(fct_collection_span, as_of=as_of, period=period), series)
    after_unknown = patchy.filter(pl.col("coverage_share") < MINIMUM_COVERAGE).select(
        "series", pl.col("period") + 1, is_before_unknown=True
    )
    happened, strengths = [counts], None
    if period == "month":
        strengths = _by_series(collected(strength_a_year_apart(people, as_of=as_of)), of_numbers)
        happened.append(strengths)
    rows = (
        _eventful(calendar, happened, fct_collection_span, as_of=as_of)
        .join(counts, on=_ROW, how="left")
        .join(patchy, on=_ROW, how="left")
        .join(after_unknown, on=_ROW, how="left")
        .with_columns(pl.col("coverage_share").fill_null(1.0), *(pl.col(state).fill_null(0) for state in _STATES))
    )
    is_known = pl.col("coverage_share") >= MINIMUM_COVERAGE
    is_comparable = is_known & pl.col("is_before_unknown").is_null()
    known = rows.with_columns(active=pl.col("new") + pl.col("returning") + pl.col("resurrecting")).with_columns(
        *(pl.when(is_known).then(pl.col(name)) for name in ("active", "new")),
        *(pl.when(is_comparable).then(pl.col(name)) for name in _NEEDS_BEFORE),
        pl.when(~is_known)
        .then(pl.lit("less than 90 % of the period was collected"))
        .when(~is_comparable)
        .then(pl.lit("less than 90 % of the period before was collected: no comparison with it"))
        .alias("active_note"),
    )
    if strengths is not None:
        weekly = _by_series(collected(weekly_people(days, several, as_of=as_of)), of_numbers)
        known = _with_stickiness(known, weekly, series, fct_collection_span, as_of=as_of)
        known = _with_retention(known, strengths, fct_collection_span, as_of=as_of)
    else:
        nothing = pl.lit(None, dtype=pl.Float64)
        known = known.with_columns(
            stickiness=nothing,
            net_retention=nothing,
            gross_retention=nothing,
            net_retention_n=pl.lit(None, dtype=pl.Int64),
        )
    told = known.select(
        *_ROW,
        "active",
        *_STATES,
        pl.when(pl.col("dormant") > 0)
        .then((pl.col("new") + pl.col("resurrecting")) / pl.col("dormant"))
        .alias("quick_ratio"),
        "stickiness",
        "net_retention",
        "gross_retention",
        "net_retention_n",
        "coverage_share",
        "active_note",
    )
    return _filled(told, calendar, period=period)


def _calendar(begun: pl.LazyFrame, *, as_of: date, period: Period) -> pl.LazyFrame:
    """The complete periods of each account and platform, which are the rows of the mart, not yet unrolled.

    `beginnings` with `series` (0, 1, ...), `start` and `last` (period numbers) and `offset`, the number of the first row.
    """
    first_full = period_of(pl.col("known_from") - 1, period) + 1
    start = pl.when("is_truncated").then(first_full).otherwise(period_of(pl.col("birth_day"), period))
    length = pl.col("last") - pl.col("start") + 1
    return collected(
        begun.with_columns(start.alias("start"), pl.lit(last_complete(as_of, period), dtype=pl.Int64).alias("last"))
        .filter(pl.col("start") <= pl.col("last"))
        .sort(_KEYS)
        .with_columns(pl.int_range(pl.len()).alias("series"), (length.cum_sum() - length).alias("offset"))
    )


def _eventful(
    calendar: pl.LazyFrame, happened: list[pl.LazyFrame], fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """The periods of which there is something to say: people came or left, or the history has a hole somewhere.

    `series, period, account_id, platform, birth_day`. In a quiet account they are few of all periods since its birth.
    """
    holes = [
        missing(fct_collection_span, stream=stream, as_of=as_of).select(_KEYS) for stream in ("inbound", "outbound")
    ]
    ranges = calendar.join(pl.concat(holes), on=_KEYS, how="semi").select(
        "series", pl.int_ranges("start", pl.col("last") + 1).alias("period")
    )
    periods = pl.concat([ranges.explode("period"), *(frame.select(_ROW) for frame in happened)]).unique()
    return collected(
        periods.join(calendar.select("series", *_KEYS, "birth_day", "start", "last"), on="series", how="inner")
        .filter(pl.col("period").is_between("start", "last"))
        .drop("start", "last")
    )


def _filled(told: pl.LazyFrame, calendar: pl.LazyFrame, *, period: Period) -> pl.LazyFrame:
    """Every complete period, in order: those told of, and between them those in which nothing happened.

    Nothing happened in a covered period: counts are 0, and so is the number of people whose ties of a year ago are
    compared, once there is a year. Rows are picked by number, since joining millions of them takes seconds, and in
    parts (`in_parts`).
    """
    series, rows = calendar.collect(), collected(told).collect()
    nothing = {"active": 0, **dict.fromkeys(_STATES, 0), "coverage_share": 1.0}
    compared = [None, 0 if period == "month" else None]
    quiet = pl.DataFrame([nothing | {"net_retention_n": n} for n in compared], schema=rows.schema)
    said = pl.concat([rows, quiet]).drop(_ROW)
    start, offset = series["start"].to_numpy(), series["offset"].to_numpy()
    length = series["last"].to_numpy() - start + 1
    # The window of a year ago ends on or after the birth from the month on that holds the birth's day a year later.
    a_year_old = series.select(period_of(pl.col("birth_day") + _YEAR, period)).to_series().to_numpy()
    place = (offset - start)[rows["series"].to_numpy()] + rows["period"].to_numpy()
    in_order = np.argsort(place)
    place = place[in_order]

    def part(first: int, end: int) -> pl.DataFrame:
        of_series = numbered_runs(offset, length, first, end)
        number = np.arange(first, end) + (start - offset)[of_series]
        picked = rows.height + (number >= a_year_old[of_series])
        told_of = slice(*np.searchsorted(place, [first, end]))
        picked[place[told_of] - first] = in_order[told_of]
        return pl.concat(
            [
                series.select(pl.col(_KEYS).gather(of_series)),
                pl.select(as_date(period_start(pl.lit(pl.Series("period", number)), period)).alias(period)),
                said.select(pl.all().gather(picked)),
            ],
            how="horizontal",
        )

    return in_parts(int(length.sum()), part)


def _by_series(frame: pl.LazyFrame, series: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with the number of its account and platform in place of their names: rows join on integers."""
    return collected(frame.join(series, on=_KEYS, how="inner").drop(_KEYS))


def weekly_people(days: People, several: People, *, as_of: date) -> People:
    """How many people came in each complete week? `account_id, platform, week, people`, from `active_days_once`."""
    last = last_complete(as_of, "week")
    weeks = days.select(*_KEYS, "person_id", period_number("week").alias("week")).filter(nw.col("week") <= last)
    counted = weeks.unique().group_by(*_KEYS, "week").agg(nw.len().alias("people"))
    return with_only_platform_as_all(kept(counted), several)


def _with_stickiness(
    months: pl.LazyFrame, weekly: pl.LazyFrame, series: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    month_of_week = month_of(period_start(pl.col("week"), "week")).alias("period")
    last = last_complete(as_of, "week")
    patchy = patchy_periods(fct_collection_span, as_of=as_of, period="week").rename({"period": "week"})
    sums = weekly.group_by("series", month_of_week).agg(pl.col("people").sum().cast(pl.Int64))
    unknown_weeks = (
        _by_series(patchy.filter(pl.col("coverage_share") < MINIMUM_COVERAGE), series)
        .select("series", month_of_week)
        .unique()
        .with_columns(is_week_unknown=True)
    )
    # The first Monday of a month lies in the week that holds its seventh day.
    first_week = week_of(period_start(pl.col("period"), "month") + 6)
    next_week = week_of(period_start(pl.col("period") + 1, "month") + 6)
    weeks = next_week - pl.max_horizontal(first_week, week_of(pl.col("birth_day")))
    is_known = (next_week <= last + 1) & pl.col("is_week_unknown").is_null() & (pl.col("active") > 0) & (weeks > 0)
    # A week that reaches into the next month may bring people whom this month has not seen: at most 1.
    share = pl.min_horizontal(pl.col("people").fill_null(0) / (weeks * pl.col("active")), 1.0)
    return collected(
        months.join(sums, on=_ROW, how="left")
        .join(unknown_weeks, on=_ROW, how="left")
        .with_columns(pl.when(is_known).then(share).alias("stickiness"))
        .drop("people", "is_week_unknown")
    )


def _with_retention(
    months: pl.LazyFrame, strengths: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    end = period_start(pl.col("period") + 1, "month") - 1
    joined = collected(months.join(strengths, on=_ROW, how="left").with_columns(end.alias("end")))
    is_covered = pl.lit(value=True)
    # Strength is of both directions. A platform that does not offer outbound has no hole in it.
    for stream in ("inbound", "outbound"):
        holes = missing(fct_collection_span, stream=stream, as_of=as_of).select(_KEYS).unique()
        for earlier in (0, _YEAR):
            last_day = pl.col("end") - earlier
            windows = joined.join(holes, on=_KEYS, how="semi").select(
                *_KEYS, *_ROW, from_date=as_date(last_day - _STRENGTH_DAYS + 1), to_date=as_date(last_day)
            )
            judged = coverage_share(collected(windows), fct_collection_span, stream=stream, as_of=as_of)
            share = judged.select(*_ROW, pl.col("coverage_share").alias(f"{stream}_{earlier}"))
            joined = joined.join(share, on=_ROW, how="left")
            # Without a hole in its history, an account is covered since birth, and there is nothing to ask for.
            is_whole = pl.col(f"{stream}_{earlier}").fill_null(1.0) >= MINIMUM_COVERAGE
            is_covered &= is_whole & (last_day >= pl.col("birth_day"))
    return joined.with_columns(
        pl.when(is_covered).then(pl.col("now_strength") / pl.col("then_strength")).alias("net_retention"),
        pl.when(is_covered).then(pl.col("kept_strength") / pl.col("then_strength")).alias("gross_retention"),
        pl.when(is_covered).then(pl.col("people").cast(pl.Int64).fill_null(0)).alias("net_retention_n"),
    )
