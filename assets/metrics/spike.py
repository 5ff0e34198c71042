"""On which days did unusually many new people come? Spikes, against the same weekday of the eight weeks before.

Whether people won in a spike stay is judged elsewhere; this module says when spikes were.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import special

from assets.metrics.coverage import missing, spans_read
from assets.metrics.engines import beside, kept
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    People,
    active_days_once,
    after_covered_days,
    as_date,
    beginnings,
    collected,
    day_number,
    known_contacts,
    known_people,
    with_only_platform_as_all,
)

_KEYS = ("account_id", "platform")
_DAY = (*_KEYS, "day")
_BASELINE_DAYS = 56
_LEAST_NEW_PEOPLE = 10
_TIMES_BASELINE = 3.0
_END_TIMES_BASELINE = 1.5
_LEAST_BASELINE = 0.5
_LONGEST_DAYS = 28
_P_VALUE = 1e-4


def new_people(days: People, beginnings: People) -> People:
    """New people a day: `account_id, platform, day, people`; those of unknown start are out."""
    contacts = known_contacts(days, beginnings)
    return contacts.group_by(*_KEYS, nw.col("first_day").alias("day")).agg(nw.len().alias("people"))


def judged_from(begun: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The first day on which a spike can start: `account_id, platform, judged_from` (a day number).

    It comes after the first 56 covered days in which new people are known: where history is left-truncated, nobody of
    its first 90 covered days is new, and days without anybody new would be no baseline.
    """
    start = pl.max_horizontal("birth_day", "known_from").alias("from_day")
    return after_covered_days(
        begun.select(*_KEYS, start), fct_collection_span, days=_BASELINE_DAYS, as_of=as_of
    ).rename({"after_day": "judged_from"})


def tail_probability(people: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> NDArray[np.float64]:
    """How likely are at least so many? The upper tail of a negative binomial of that mean and variance.

    Where the variance is no larger than the mean, of a Poisson distribution.

    >>> tail_probability([10, 10], [2.0, 2.0], [2.0, 6.0]).round(7).tolist()
    [4.65e-05, 0.0173415]
    """
    x, m, v = (np.asarray(a, dtype=np.float64) for a in (people, mean, variance))
    is_wider = v > m
    spread = np.where(is_wider, v - m, 1.0)
    poisson = special.gammainc(x, m)
    wider = special.betainc(x, m * m / spread, spread / np.where(is_wider, v, 2.0))
    return np.where(is_wider, wider, poisson)


def spike(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """On which days did unusually many new people come? `mart_spike`, by platform and for `all`.

    `baseline` = mean new people on the same weekday over the 56 days before, at least 0.5. A spike starts on a day with
    at least 10 new people, at least 3 x the baseline, and a negative-binomial tail below 1e-4 (that mean, and the
    sample variance of the 8 counts; `tail_probability`). It ends on the first day with at most 1.5 x the baseline of
    its starting day, at most 28 days later, and that day is its last; `ended_on` is null while it lasts. None starts
    within another, or before 56 covered days of known newcomers (`judged_from`). Days not collected are unknown:
    they are no part of a baseline (below 90 % of the 56 days nothing is judged) and end no spike.
    """
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    begun = beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of)
    known = names.numbered(begun)
    days, several = active_days_once(people, known)
    counted = kept(new_people(days, beside(known, days)))
    counts = collected(names.named(collected(with_only_platform_as_all(counted, several))))
    since = judged_from(begun, fct_collection_span, as_of=as_of)
    candidates = collected(
        counts.filter(pl.col("people") >= _LEAST_NEW_PEOPLE)
        .join(since, on=_KEYS, how="inner")
        .filter(pl.col("day") >= pl.col("judged_from"))
        .select(*_DAY, pl.col("people").cast(pl.Int64))
    )
    holes = collected(
        missing(fct_collection_span, stream="inbound", as_of=as_of)
        .join(candidates, on=_KEYS, how="semi")
        .select(
            *_KEYS,
            pl.int_ranges(pl.col("from_date").cast(pl.Int64), pl.col("to_date").cast(pl.Int64) + 1).alias("day"),
        )
        .explode("day")
    )
    starts = _starts(candidates, counts, holes)
    return _spikes(starts, counts, holes, as_of=as_of)


def _around(candidates: pl.LazyFrame, counts: pl.LazyFrame, holes: pl.LazyFrame, offsets: pl.Expr) -> pl.LazyFrame:
    """Each candidate day beside the days at those offsets: `day` (the candidate), `other`, `new` there, `is_missing`."""
    other = [*_KEYS, "other"]
    return (
        candidates.with_columns(offsets.alias("offset"))
        .explode("offset")
        .with_columns((pl.col("day") + pl.col("offset")).alias("other"))
        .join(counts.select(*_KEYS, pl.col("day").alias("other"), pl.col("people").alias("new")), on=other, how="left")
        .join(
            holes.select(*_KEYS, pl.col("day").alias("other"), pl.lit(value=True).alias("is_missing")),
            on=other,
            how="left",
        )
        .with_columns(pl.col("new").cast(pl.Int64).fill_null(0), pl.col("is_missing").fill_null(value=False))
    )


def _starts(candidates: pl.LazyFrame, counts: pl.LazyFrame, holes: pl.LazyFrame) -> pl.LazyFrame:
    """The candidates that pass: `account_id, platform, day, people, baseline, p_value`."""
    before = _around(candidates, counts, holes, pl.lit(list(range(-_BASELINE_DAYS, 0)), dtype=pl.List(pl.Int64)))
    is_same_weekday = (pl.col("offset") % 7 == 0) & ~pl.col("is_missing")
    same = pl.col("new").filter(is_same_weekday)
    # From whole numbers, exactly: a variance of floats depends on the order of its terms.
    n, total, squares = same.len().cast(pl.Int64), same.sum(), (same * same).sum()
    variance = pl.when(n > 1).then((n * squares - total * total) / (n * (n - 1)))
    judged = (
        before.group_by(*_DAY, "people")
        .agg(
            pl.max_horizontal(same.mean(), _LEAST_BASELINE).alias("baseline"),
            variance.alias("variance"),
            (1 - pl.col("is_missing").mean()).alias("coverage_share"),
        )
        .filter(
            pl.col("coverage_share") >= MINIMUM_COVERAGE,
            pl.col("people") >= _TIMES_BASELINE * pl.col("baseline"),
        )
        .collect()
    )
    p_value = tail_probability(judged["people"], judged["baseline"], judged["variance"].fill_null(0.0))
    return (
        judged.lazy()
        .with_columns(pl.Series("p_value", p_value))
        .filter(pl.col("p_value") < _P_VALUE)
        .select(*_DAY, "people", "baseline", "p_value")
    )


def _spikes(starts: pl.LazyFrame, counts: pl.LazyFrame, holes: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The spikes from the days that could start one: each with its end, none within another."""
    today = day_number(as_of)
    after = _around(starts, counts, holes, pl.lit(list(range(_LONGEST_DAYS + 1)), dtype=pl.List(pl.Int64)))
    is_end = (
        (pl.col("offset") > 0)
        & (pl.col("new") <= _END_TIMES_BASELINE * pl.col("baseline"))
        & ~pl.col("is_missing")
        & (pl.col("other") <= today)
    ) | (pl.col("offset") == _LONGEST_DAYS)
    ends = after.filter(is_end).group_by(_DAY).agg(pl.col("other").min().alias("end"))
    sized = (
        after.join(ends, on=_DAY, how="inner")
        .filter(pl.col("other") <= pl.col("end"))
        .group_by(*_DAY, "end", "baseline", "p_value")
        .agg(pl.col("new").sum().alias("new_people"))
        .sort(_DAY)
        .collect()
    )
    return (
        sized.lazy()
        .filter(pl.Series("is_first", _first_of_each(sized.select(*_DAY, "end").iter_rows()), dtype=pl.Boolean))
        .select(
            *_KEYS,
            as_date(pl.col("day")).alias("started_on"),
            as_date(pl.when(pl.col("end") <= today).then("end")).alias("ended_on"),
            "new_people",
            "baseline",
            "p_value",
        )
    )


def _first_of_each(rows: Iterable[tuple[Any, ...]]) -> list[bool]:
    """Which of the sorted (account, platform, start, end) start after the end of the last one kept."""
    kept, current, until = [], None, 0
    for account, platform, start, end in rows:
        is_kept = (account, platform) != current or start > until
        if is_kept:
            current, until = (account, platform), end
        kept.append(is_kept)
    return kept
