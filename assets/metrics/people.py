"""What every metric of people shares: persons and days, periods, and since when first contacts are known.

Steps over people (`persons`, `active_days`, `first_contacts`) are narwhals over lazy frames and run on Polars,
DuckDB and Spark; steps over accounts are Polars. Between them days, weeks and months are integers, because that
arithmetic is the same on every engine: a day counts from 1970-01-01, a week (Monday to Sunday) from the one of
1969-12-29, a month is year * 12 + month - 1. In narwhals steps a floor division must not stand within another: each
becomes seven copies of its operand in SQL. Hence `month` is carried beside `day`, not derived from it.
"""

from datetime import date
from typing import Any, Literal, TypeVar

import narwhals as nw
import polars as pl
from narwhals.typing import IntoLazyFrame

from assets.metrics.coverage import births, coverage_share, missing
from assets.metrics.engines import beside, collected, kept
from assets.metrics.numbering import (
    AS_NAMED,
    Names,
    Numbered,
    distinct_days,
    fit_in_one,
    number_of,
    of_platforms,
    only_together,
    together,
    without_together,
)
from assets.metrics.once import once
from assets.metrics.visible import end_of, visible_posts

Period = Literal["week", "month"]
Number = TypeVar("Number", int, pl.Expr)
People = nw.LazyFrame[Any]

UNKNOWN_DAYS = 90
"""Covered days at a truncated start in which a first contact may be an old acquaintance."""

TOTALLED = (
    "inbound_active", "inbound", "inbound_composed", "inbound_untimed", "inbound_composed_untimed", "outbound",
    "outbound_composed", "outbound_composed_untimed", "value", "is_ended", "first_at", "last_at",
)  # fmt: skip
"""The measures of a day that `relationship.totals` adds up."""

_COUNTS = TOTALLED[:8]
_OFTEN = ("inbound_active", "inbound", "outbound", "strength", "first_at")
_ALL_ASKED = (*TOTALLED, "strength")

MINIMUM_COVERAGE = 0.9
"""Below this share of its days collected, a period is unknown."""

_KEYS = ("account_id", "platform")
DAYS_TO_1970 = 719_468
"""From 0000-03-01: a year that starts in March ends with its leap day."""


def day_number(day: date) -> int:
    """Days since 1970-01-01.

    >>> day_number(date(1970, 3, 1))
    59
    """
    return (day - date(1970, 1, 1)).days


def week_of(day: Number) -> Number:
    """The number of the Monday week that holds the day.

    >>> [week_of(day_number(date(2024, 1, d))) for d in (7, 8, 14, 15)]
    [2818, 2819, 2819, 2820]
    """
    return (day + 3) // 7


def month_of(day: Number) -> Number:
    """The number of the calendar month that holds the day.

    >>> divmod(month_of(day_number(date(2024, 2, 29))), 12)
    (2024, 1)
    """
    shifted = day + DAYS_TO_1970
    of_era = shifted % 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    year = year_of_era + shifted // 146_097 * 400
    return year * 12 + (5 * of_year + 2) // 153 + 2


def period_of(day: Number, period: Period) -> Number:
    """The number of the week or month that holds the day."""
    return week_of(day) if period == "week" else month_of(day)


def period_start(number: Number, period: Period) -> Number:
    """The first day (as a number) of the week or month of that number.

    >>> period_start(month_of(day_number(date(2024, 2, 29))), "month") == day_number(date(2024, 2, 1))
    True
    >>> period_start(week_of(day_number(date(2024, 2, 29))), "week") == day_number(date(2024, 2, 26))
    True
    """
    if period == "week":
        return number * 7 - 3
    from_march = number - 2
    year, month = from_march // 12, from_march % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 - DAYS_TO_1970


def last_complete(as_of: date, period: Period) -> int:
    """The number of the last week or month that has ended by the end of `as_of`.

    >>> last_complete(date(2024, 2, 29), "month") % 12, last_complete(date(2024, 2, 28), "month") % 12
    (1, 0)
    """
    return period_of(day_number(as_of) + 1, period) - 1


def as_date(day: pl.Expr) -> pl.Expr:
    """A day number as a date."""
    return day.cast(pl.Int32).cast(pl.Date)


def persons(fold_relationship_day: IntoLazyFrame, dim_identity: IntoLazyFrame, *, as_of: date) -> People:
    """The fold with `person_id` in place of `identity_id`, `day` and `month` (numbers) of `date`; bots are out.

    Several identities of a person keep their rows: whoever counts days or people asks for distinct ones.
    """
    identities = nw.from_native(dim_identity).filter(~nw.col("is_bot")).select("identity_id", "person_id")
    fold = nw.from_native(fold_relationship_day).filter(nw.col("date") <= nw.lit(as_of))
    of_date = nw.col("date").dt
    year = nw.col("year")
    leap_days = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    return (
        fold.with_columns(of_date.year().cast(nw.Int64).alias("year"))
        .with_columns(
            (year * 12 + of_date.month().cast(nw.Int64) - 1).alias("month"),
            ((year - 1970) * 365 + leap_days + of_date.ordinal_day().cast(nw.Int64) - 1).alias("day"),
        )
        .drop("date", "year")
        .join(identities, on="identity_id", how="inner")
        .drop("identity_id")
    )


def active_days(people: People) -> People:
    """The days on which a person came, distinct: `account_id, platform, person_id, day, month`, `all` beside platforms.

    A day is active with at least one inbound interaction of known time other than a follow.
    """
    return nw.concat([_active(people).unique(), active_days_together(people)])


def active_days_together(people: People) -> People:
    """The rows of `active_days` of `all` platforms together."""
    return together(_active(people)).unique()


def _active(people: People) -> People:
    return people.filter(nw.col("inbound_active") > 0).select("account_id", "platform", "person_id", "day", "month")


def known_people(
    fold_relationship_day: IntoLazyFrame,
    dim_identity: IntoLazyFrame,
    *,
    as_of: date,
    measures: tuple[str, ...] = _OFTEN,
) -> tuple[People, Names]:
    """`persons` with these measures of a day, kept, and the names behind their numbers.

    In Polars with all that any metric asks of a day and with numbers for names, read once for the same frames. Other
    engines keep names, and only what is asked: they would write all of it to disk for each metric. A metric that asks
    less of a day may be given a fold with less.
    """
    fold: Any = nw.to_native(fold_relationship_day, pass_through=True)
    if isinstance(fold, pl.LazyFrame | pl.DataFrame):
        return _numbered_people(fold, nw.to_native(dim_identity, pass_through=True), as_of=as_of)
    people = persons(fold_relationship_day, dim_identity, as_of=as_of)
    return kept(people.select(*_asked(people, measures))), AS_NAMED


@once
def _numbered_people(
    fold_relationship_day: pl.LazyFrame | pl.DataFrame, dim_identity: pl.LazyFrame | pl.DataFrame, *, as_of: date
) -> tuple[People, Names]:
    fold = fold_relationship_day.lazy()
    # Of some accounts' fold only their people: names are kept as long as the numbers are.
    there = collected(fold.select("identity_id").unique())
    of_all = dim_identity.lazy().select("identity_id", "person_id", "is_bot")
    identities = collected(of_all.join(there, on="identity_id", how="semi"))
    names = {
        "account_id": Numbered(_in_order(fold, "account_id")),
        "platform": of_platforms(_in_order(fold, "platform")),
        "person_id": Numbered(_in_order(identities, "person_id")),
    }
    of_people = identities.join(
        pl.LazyFrame({"person_id": names["person_id"].names}).with_row_index("number"), on="person_id", how="left"
    ).select("identity_id", pl.col("number").cast(pl.Int32).alias("person_id"), "is_bot")
    numbered = fold.with_columns(number_of(column, names[column]) for column in _KEYS)
    people = persons(numbered, collected(of_people), as_of=as_of)
    rows = people.select(*_asked(people, _ALL_ASKED))
    # What somebody does in a day fits into 32 bits, and this frame is the largest that marts keep.
    counts = [nw.col(name).cast(nw.Int32) for name in _COUNTS if name in rows.collect_schema().names()]
    return kept(rows.with_columns(*counts)), Names(names)


def _in_order(frame: pl.LazyFrame, column: str) -> pl.Series:
    return frame.select(pl.col(column).unique().sort()).collect(engine="streaming").to_series()


def _asked(people: People, measures: tuple[str, ...]) -> list[str]:
    """Who and when, and of these measures those that are there."""
    there = people.collect_schema().names()
    return ["account_id", "platform", "person_id", "day", "month", *(name for name in measures if name in there)]


def on_several_platforms(rows: People) -> People:
    """The accounts with rows of more than one platform: `account_id`."""
    platforms = rows.select(*_KEYS).unique()
    return kept(
        platforms.group_by("account_id").agg(nw.len().alias("platforms")).filter(nw.col("platforms") > 1)
    ).select("account_id")


def with_only_platform_as_all(rows: People, several: People) -> People:
    """The rows, and those of accounts with one platform again as `all`: what is the same is computed once."""
    alone = without_together(rows).join(several, on="account_id", how="anti")
    return nw.concat([rows, together(alone)])


@once
def active_days_once(people: People, begun: pl.LazyFrame | None = None) -> tuple[People, People]:
    """`active_days` without what is the same twice: the rows of `all` only of accounts on several platforms.

    These accounts are the second frame. What is counted on the rows is completed by `with_only_platform_as_all`. Where
    `beginnings` matter to the count, accounts of which `all` began otherwise than the platform are among them.
    """
    each = kept(_active(people).unique())
    pairs = collected(each.select(*_KEYS).unique())
    if begun is not None:
        of_all = only_together(nw.from_native(begun)).to_native()
        pairs = pairs.join(begun.select(*_KEYS, "known_from"), on=_KEYS, how="left").join(
            of_all.select("account_id", pl.col("known_from").alias("all_from")), on="account_id", how="left"
        )
        is_apart = pl.col("known_from").ne_missing(pl.col("all_from")).any()
    else:
        is_apart = pl.lit(value=False)
    several = pairs.group_by("account_id").agg(is_several=(pl.len() > 1) | is_apart).filter("is_several")
    accounts = beside(several.select("account_id"), each)
    again = together(each.join(accounts, on="account_id", how="semi")).unique()
    return kept(nw.concat([each, again])), accounts


def with_day_before(days: People) -> People:
    """The rows with `before`, the day before of the same tie (null for its first), where they have it not yet.

    `days` has `account_id, person_id, day`, distinct.
    """
    if "before" in days.collect_schema().names():
        return days
    before = nw.col("day").shift(1).over("account_id", "person_id", order_by="day")
    return days.with_columns(before.alias("before"))


@once
def days_together_once(people: People) -> People:
    """`active_days_together` with `before` (`with_day_before`), kept: most of what is asked of a tie starts from it."""
    came: Any = _active(people).to_native()
    if not isinstance(came, pl.LazyFrame) or not fit_in_one(came):
        return kept(with_day_before(active_days_together(people)))
    return kept(nw.from_native(distinct_days(came).with_columns(month_of(pl.col("day")).alias("month"))))


def first_contacts(days: People) -> People:
    """The first active day of each person: `account_id, platform, person_id, first_day, first_month`."""
    first_day, first_month = nw.col("day").min().alias("first_day"), nw.col("month").min().alias("first_month")
    return days.group_by("account_id", "platform", "person_id").agg(first_day, first_month)


def period_number(period: Period) -> nw.Expr:
    """The number of the week or month of a row of `active_days`."""
    return (nw.col("day") + 3) // 7 if period == "week" else nw.col("month")


def known_contacts(days: People, beginnings: People) -> People:
    """First contacts whose start is known: not in the first covered days of a left-truncated history."""
    known = beginnings.select("account_id", "platform", "known_from")
    return (
        first_contacts(days)
        .join(known, on=["account_id", "platform"], how="inner")
        .filter(nw.col("first_day") >= nw.col("known_from"))
        .select("account_id", "platform", "person_id", "first_day", "first_month")
    )


@once
def beginnings(
    dim_post: pl.LazyFrame, dim_profile: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """Since when is a first contact known to be one? The beginnings of inbound history.

    One row for each account and platform (and `all`) whose inbound stream was collected on at least one day:
    `birth_day`, `covered_from`, `known_from` (day numbers) and `is_truncated`. History is left-truncated where inbound
    coverage starts later than the account's first post, its profile's birth or the stream's own; people first seen in
    its first 90 covered days then have an unknown start, and `known_from` is the day after those. Otherwise it is the
    first day there is.
    """
    profiles = dim_profile.filter(pl.col("born_at") < end_of(as_of)).select("account_id", pl.col("born_at").alias("at"))
    posts = visible_posts(dim_post, as_of=as_of).select("account_id", pl.col("published_at").alias("at"))
    origin = pl.concat([posts, profiles]).group_by("account_id").agg(pl.col("at").min().dt.date().alias("origin"))
    born = (
        births(fct_collection_span, stream="inbound", as_of=as_of)
        .filter(pl.col("covered_from").is_not_null())
        .join(origin, on="account_id", how="left")
        .select(
            *_KEYS,
            pl.col("birth_date").cast(pl.Int64).alias("birth_day"),
            pl.col("covered_from").cast(pl.Int64),
            (pl.col("covered_from") > pl.min_horizontal("origin", "birth_date")).alias("is_truncated"),
        )
    )
    after = after_covered_days(
        born.with_columns(from_day="birth_day"), fct_collection_span, days=UNKNOWN_DAYS, as_of=as_of
    )
    # A person seen before the stream's first day (a platform told of an earlier time) is no less known.
    always = pl.lit(-DAYS_TO_1970, dtype=pl.Int64)
    known = pl.when("is_truncated").then(pl.col("after_day")).otherwise(always).alias("known_from")
    columns = (*_KEYS, "birth_day", "covered_from", "known_from", "is_truncated")
    return collected(after.with_columns(known).select(columns).sort(_KEYS))


def after_covered_days(
    frame: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, days: int, as_of: date
) -> pl.LazyFrame:
    """The day after the first `days` covered ones, counted from `from_day`: the frame with `after_day`.

    `frame` has one row for each account and platform. Where fewer were covered by `as_of`, the day lies after it.
    """
    spans = missing(fct_collection_span, stream="inbound", as_of=as_of).select(
        *_KEYS, pl.col("from_date").cast(pl.Int64).alias("start"), pl.col("to_date").cast(pl.Int64).alias("stop")
    )
    start, stop = pl.max_horizontal("start", "from_day"), pl.col("stop")
    length = (stop - start + 1).alias("length")
    # A hole delays the end only if it opens before the last of the covered days that are asked for.
    delay = (
        frame.select(*_KEYS, "from_day")
        .join(spans, on=_KEYS, how="inner")
        .filter(pl.col("stop") >= pl.col("from_day"))
        .select(*_KEYS, (start - pl.col("from_day")).alias("offset"), length)
        .with_columns((pl.col("length").cum_sum().over(_KEYS, order_by="offset") - pl.col("length")).alias("before"))
        .filter(pl.col("offset") - pl.col("before") < days)
        .group_by(_KEYS)
        .agg(pl.col("length").sum())
    )
    return (
        frame.join(delay, on=_KEYS, how="left")
        .with_columns((pl.col("from_day") + days + pl.col("length").fill_null(0)).alias("after_day"))
        .drop("length", "from_day")
    )


@once
def patchy_periods(fct_collection_span: pl.LazyFrame, *, as_of: date, period: Period) -> pl.LazyFrame:
    """Periods since birth with a day of inbound not collected: `account_id, platform, period, coverage_share`.

    Every other period is covered wholly. A period that as_of cuts is judged on its days so far.
    """
    windows = (
        missing(fct_collection_span, stream="inbound", as_of=as_of)
        .select(
            *_KEYS,
            pl.int_ranges(
                period_of(pl.col("from_date").cast(pl.Int64), period),
                period_of(pl.col("to_date").cast(pl.Int64), period) + 1,
            ).alias("period"),
        )
        .explode("period")
        .unique()
        .with_columns(
            from_date=as_date(period_start(pl.col("period"), period)),
            to_date=as_date(period_start(pl.col("period") + 1, period) - 1),
        )
        .pipe(collected)
    )
    judged = coverage_share(windows, fct_collection_span, stream="inbound", as_of=as_of)
    return collected(judged.select(*_KEYS, "period", "coverage_share"))
