"""Which days of which stream were collected: the arithmetic of `fct_collection_span`.

A day not covered is unknown, never silence, so every metric asks here what it may judge. All of it is
arithmetic on spans: nothing is ever unrolled to a row a day. What a metric does about a missing day is the
metric's own business.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from assets.metrics.engines import collected
from assets.metrics.once import once

ALL = "all"
"""The platform that means every platform of the account together."""

_KEYS = ("account_id", "platform")
_STREAM = ("account_id", "platform", "stream")
_DAY = timedelta(days=1)
_YEAR = timedelta(days=364)


@once
def spans_read(fct_collection_span: pl.LazyFrame) -> pl.LazyFrame:
    """The spans, read: whoever asks for several things of the same spans begins with this, and shares what is found."""
    return collected(fct_collection_span)


@once
def births(fct_collection_span: pl.LazyFrame, *, stream: str, as_of: date) -> pl.LazyFrame:
    """Since when a stream can be judged: its birth, and the first day that was collected.

    One row for each account and platform that offers the stream and was born by `as_of`, and one for `all`, the
    earliest of them: `account_id, platform, birth_date, covered_from` (dates). Spans of status `not_started` reach
    back to the birth, so `birth_date` is the first day of any span. `covered_from` is null where no day was collected
    by `as_of`. Days before the birth are not missing.
    """
    each = (
        _offered(fct_collection_span, as_of=as_of)
        .filter(pl.col("stream") == stream)
        .group_by(*_KEYS)
        .agg(
            pl.col("from_date").min().alias("birth_date"),
            pl.col("from_date").filter(pl.col("status") == "ok").min().alias("covered_from"),
        )
    )
    together = each.group_by("account_id").agg(
        pl.lit(ALL).alias("platform"), pl.col("birth_date").min(), pl.col("covered_from").min()
    )
    columns = (*_KEYS, "birth_date", "covered_from")
    return collected(pl.concat([each.select(columns), together.select(columns)]).sort(_KEYS))


@once
def missing(fct_collection_span: pl.LazyFrame, *, stream: str, as_of: date) -> pl.LazyFrame:
    """The days since its birth on which a stream was not collected, up to and including `as_of`.

    `account_id, platform, from_date, to_date` (both inclusive): maximal spans, disjoint and not adjacent, of days that
    no `ok` span covers, the days after the last span among them. `all` is the union over the platforms that offer the
    stream, each since its own birth. A stream without a missing day has no row.
    """
    spans = _offered(fct_collection_span.filter(pl.col("stream") == stream), as_of=as_of)
    each = _missing(spans, _KEYS, as_of)
    together = _merged(each.with_columns(pl.lit(ALL).alias("platform")), _KEYS)
    return collected(pl.concat([each, together]).sort(*_KEYS, "from_date"))


def coverage_share(
    windows: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, stream: str, as_of: date
) -> pl.LazyFrame:
    """The share of each window that was collected.

    `windows` has `account_id, platform` (also `all`), `from_date, to_date` (inclusive) and any other columns; its rows
    come back, in any order, with `coverage_share` = covered days / days of the window since birth and up to `as_of`:
    0 to 1, null where there is no such day or the platform does not offer the stream.
    """
    born = births(fct_collection_span, stream=stream, as_of=as_of).select(*_KEYS, pl.col("birth_date").alias("_birth"))
    return _share(
        windows.join(born, on=_KEYS, how="left"),
        missing(fct_collection_span, stream=stream, as_of=as_of),
        by=_KEYS,
        as_of=as_of,
    )


def collection(fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """What was collected, and what is missing: `mart_collection`, one row a stream of an account on a platform.

    `covered_from` and `covered_to` are the first and last day collected up to `as_of`, `coverage_share` is over the
    364 days that end with it, `status` and `reason` are those of `as_of` itself. A day in no span is `down`: "not
    collected since" the last day that a span knows. A stream that the platform does not offer is one row with nulls and status
    `not_offered`; one born after `as_of` has no row.
    """
    spans = _offered(fct_collection_span, as_of=as_of)
    is_ok, is_today = pl.col("status") == "ok", pl.col("to_date") == as_of
    summary = spans.group_by(*_STREAM).agg(
        pl.col("from_date").min().alias("_birth"),
        pl.col("from_date").filter(is_ok).min().alias("covered_from"),
        pl.col("to_date").filter(is_ok).max().alias("covered_to"),
        pl.col("to_date").max().alias("_last"),
        pl.col("last_ok_at").max(),
        pl.col("status").filter(is_today).sort().first(),
        pl.col("reason").filter(is_today).sort().first(),
    )
    since = pl.format("not collected since {}", pl.col("_last").dt.strftime("%Y-%m-%d"))
    judged = _share(
        summary.with_columns(from_date=pl.lit(as_of - _YEAR + _DAY), to_date=pl.lit(as_of)),
        _missing(spans, _STREAM, as_of),
        by=_STREAM,
        as_of=as_of,
    ).with_columns(
        pl.when(pl.col("status").is_null()).then(since).otherwise(pl.col("reason")).alias("reason"),
        pl.col("status").fill_null("down"),
    )
    # Its day is that of the first reading, and the night's own reading comes the day after as_of.
    not_offered = (
        fct_collection_span.filter(pl.col("status") == "not_offered", pl.col("from_date") <= as_of + _DAY)
        .join(summary, on=_STREAM, how="anti")
        .group_by(*_STREAM)
        .agg(pl.col("status").first(), pl.col("reason").sort().first())
    )
    return (
        pl.concat([judged, not_offered], how="diagonal")
        .select(*_STREAM, "covered_from", "covered_to", "coverage_share", "last_ok_at", "status", "reason")
        .sort(*_STREAM)
    )


def uncovered_before(
    frame: pl.LazyFrame, spans: pl.LazyFrame, *, at: str, by: Sequence[str], unit: int = 1
) -> pl.LazyFrame:
    """How much uncovered time lies before each point: the frame, in any order, with two more columns.

    `uncovered` (0 where none) and `is_uncovered` (the point itself lies in a span; `uncovered` then has the span's
    part before it). `at` is an integer column counting from the epoch, `unit` of them a day (1: days; 86_400_000_000:
    microseconds). `spans` are those of `missing`, with the columns `by` that they share with the frame. Both are
    computed here, once: as plans, each of their several uses below would compute them again.
    """
    computed, holes = pl.collect_all([frame, spans])
    frame, spans = computed.lazy(), holes.lazy()
    if holes.is_empty():
        return frame.with_columns(
            pl.lit(0, dtype=pl.Int64).alias("uncovered"), pl.lit(value=False).alias("is_uncovered")
        )
    starts = spans.select(
        *by,
        (pl.col("from_date").cast(pl.Int64) * unit).alias("_start"),
        ((pl.col("to_date").cast(pl.Int64) + 1) * unit).alias("_stop"),
    )
    length = pl.col("_stop") - pl.col("_start")
    earlier = (length.cum_sum() - length).over(by, order_by="_start").alias("_earlier")
    touched = (
        frame.join(starts, on=list(by), how="semi")  # few series have holes: only those pay for the search
        .sort(at)
        .join_asof(
            starts.with_columns(earlier).sort("_start"),
            left_on=at,
            right_on="_start",
            by=list(by),
            strategy="backward",
            check_sortedness=False,  # sorted just above; Polars cannot check it within groups and warns
        )
        .with_columns(
            (pl.col("_earlier") + pl.min_horizontal(at, "_stop") - pl.col("_start")).fill_null(0).alias("uncovered"),
            (pl.col(at) < pl.col("_stop")).fill_null(value=False).alias("is_uncovered"),
        )
        .drop("_start", "_stop", "_earlier", strict=False)
    )
    untouched = frame.join(starts, on=list(by), how="anti").with_columns(
        pl.lit(0, dtype=pl.Int64).alias("uncovered"), pl.lit(value=False).alias("is_uncovered")
    )
    return pl.concat([touched, untouched])


def _offered(fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The spans of streams that exist, up to `as_of`."""
    return fct_collection_span.filter(pl.col("status") != "not_offered", pl.col("from_date") <= as_of).with_columns(
        pl.min_horizontal("to_date", pl.lit(as_of)).alias("to_date")
    )


def _missing(spans: pl.LazyFrame, by: Sequence[str], as_of: date) -> pl.LazyFrame:
    """The holes between the birth, the `ok` spans and the end of `as_of`."""
    is_ok = pl.col("status") == "ok"
    # Most streams are one span from birth to as_of: looked at once, they need no search.
    to_as_of = pl.col("from_date").filter(is_ok, pl.col("to_date") >= as_of).min()
    spans = spans.pipe(collected)
    birth = (
        spans.group_by(by)
        .agg(pl.col("from_date").min(), to_as_of.alias("_to_as_of"))
        .filter(pl.col("_to_as_of").is_null() | (pl.col("_to_as_of") > pl.col("from_date")))
        .drop("_to_as_of")
        .pipe(collected)
    )
    # The day before the birth and the day after as_of act as covered: every hole then lies between two spans.
    before = birth.select(
        *by, (pl.col("from_date") - _DAY).alias("from_date"), (pl.col("from_date") - _DAY).alias("to_date")
    )
    after = birth.select(*by, pl.lit(as_of + _DAY).alias("from_date"), pl.lit(as_of + _DAY).alias("to_date"))
    covered = spans.filter(is_ok).join(birth, on=list(by), how="semi").select(*by, "from_date", "to_date")
    return (
        pl.concat([before, covered, after])
        .sort(*by, "from_date", "to_date")
        .select(
            *by,
            (pl.col("to_date").cum_max().shift(1).over(by) + _DAY).alias("from_date"),
            (pl.col("from_date") - _DAY).alias("to_date"),
        )
        .filter(pl.col("from_date") <= pl.col("to_date"))
    )


def _merged(spans: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """The union of spans: overlapping and adjacent ones become one."""
    reached = pl.col("to_date").cum_max().shift(1).over(by) + _DAY
    is_new = (pl.col("from_date") > reached).fill_null(value=True)
    return (
        spans.sort(*by, "from_date", "to_date")
        .with_columns(is_new.alias("_is_new"))
        .with_columns(pl.col("_is_new").cum_sum().alias("_run"))
        .group_by(*by, "_run")
        .agg(pl.col("from_date").min(), pl.col("to_date").max())
        .select(*by, "from_date", "to_date")
    )


def _share(windows: pl.LazyFrame, spans: pl.LazyFrame, *, by: Sequence[str], as_of: date) -> pl.LazyFrame:
    """`windows` (with `_birth`) and their `coverage_share`."""
    day_after_as_of = pl.lit(as_of + _DAY).cast(pl.Int64)
    spans = collected(spans)
    clipped = windows.with_columns(
        pl.max_horizontal("from_date", "_birth").cast(pl.Int64).alias("_window_start"),
        pl.min_horizontal(pl.col("to_date").cast(pl.Int64) + 1, day_after_as_of).alias("_window_stop"),
    )
    days = pl.col("_window_stop") - pl.col("_window_start")
    is_offered = pl.col("_birth").is_not_null() & (days > 0)
    own = ("_birth", "_window_start", "_window_stop")
    if spans.collect().is_empty():  # most nights: all of a window that there is
        return clipped.with_columns(pl.when(is_offered).then(1.0).alias("coverage_share")).drop(own)
    at_start = uncovered_before(clipped, spans, at="_window_start", by=by)
    at_start = at_start.rename({"uncovered": "_at_start"}).drop("is_uncovered")
    uncovered = pl.col("uncovered") - pl.col("_at_start")
    return (
        uncovered_before(at_start, spans, at="_window_stop", by=by)
        .with_columns(pl.when(is_offered).then((days - uncovered) / days).alias("coverage_share"))
        .drop(*own, "_at_start", "uncovered", "is_uncovered")
    )
