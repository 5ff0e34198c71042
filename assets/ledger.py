"""Readings to spans: which days of which stream are known. Span arithmetic only, whatever the number of days."""

import polars as pl

_STREAM = ["account_id", "platform", "stream"]
_DAY = pl.duration(days=1)


def spans(readings: pl.LazyFrame) -> pl.LazyFrame:
    """The coverage ledger of all `readings` so far, as runs of days with one status.

    A reading that is `ok` covers every day from `covers_from` (the day of the oldest row included)
    to the last whole day before `read_at`. Between covered runs, and after the last one up to the
    last attempt, days are `down` with the reason of the attempt that failed there; between the
    profile's birth and the first covered day they are `not_started`. A stream that the platform
    never offered is one row.
    """
    days = readings.with_columns(
        from_date=pl.col("covers_from").dt.date(),
        to_date=pl.col("read_at").dt.date() - _DAY,
        read_date=pl.col("read_at").dt.date(),
    )
    last_ok = days.filter(pl.col("status") == "ok").group_by(_STREAM).agg(last_ok_at=pl.col("read_at").max())
    covered = _union(days.filter(pl.col("status") == "ok", pl.col("from_date") <= pl.col("to_date")))
    failed = days.filter(pl.col("status").is_in(["down", "partial"])).sort("read_at")
    known = covered.with_columns(status=pl.lit("ok"), reason=pl.lit(None, pl.String))
    gaps = _gaps(covered, failed)
    births = days.group_by(_STREAM).agg(born=pl.col("born_at").min().dt.date())
    early = (
        covered.group_by(_STREAM)
        .agg(to_date=pl.col("from_date").min() - _DAY)
        .join(births, on=_STREAM)
        .filter(pl.col("born") <= pl.col("to_date"))
        .select(
            *_STREAM,
            "to_date",
            from_date="born",
            status=pl.lit("not_started"),
            reason=pl.lit("before the first reading"),
        )
    )
    offered = days.filter(pl.col("status") != "not_offered").select(_STREAM).unique()
    not_offered = (
        days.filter(pl.col("status") == "not_offered")
        .join(offered, on=_STREAM, how="anti")
        .group_by(_STREAM)
        .agg(from_date=pl.col("read_date").min())
        .select(
            *_STREAM,
            "from_date",
            to_date="from_date",
            status=pl.lit("not_offered"),
            reason=pl.lit("the platform does not offer it"),
        )
    )
    columns = [*_STREAM, "from_date", "to_date", "status", "reason"]
    return (
        pl.concat([part.select(columns) for part in (known, gaps, early, not_offered)])
        .join(last_ok, on=_STREAM, how="left")
        .sort(*_STREAM, "from_date")
    )


def _union(intervals: pl.LazyFrame) -> pl.LazyFrame:
    """Overlapping and adjoining day intervals of a stream, merged."""
    reach = pl.col("to_date").cum_max().shift(1).over(_STREAM)
    return (
        intervals.select(*_STREAM, "from_date", "to_date")
        .sort(*_STREAM, "from_date", "to_date")
        .with_columns(is_start=(pl.col("from_date") > reach + _DAY).fill_null(value=True))
        .with_columns(run=pl.col("is_start").cum_sum().over(_STREAM))
        .group_by(*_STREAM, "run")
        .agg(pl.col("from_date").min(), pl.col("to_date").max())
        .drop("run")
        .sort(*_STREAM, "from_date")
    )


def _gaps(covered: pl.LazyFrame, failed: pl.LazyFrame) -> pl.LazyFrame:
    """Days between covered runs, and from the last one (or from nothing) to the last failed attempt."""
    following = pl.col("from_date").shift(-1).over(_STREAM) - _DAY
    last_attempt = failed.group_by(_STREAM).agg(attempt=pl.col("to_date").max(), first=pl.col("read_date").min())
    inner = covered.with_columns(gap_to=following).join(last_attempt, on=_STREAM, how="left")
    after = inner.select(*_STREAM, from_date=pl.col("to_date") + _DAY, to_date=pl.coalesce("gap_to", "attempt"))
    never = last_attempt.join(covered.select(_STREAM).unique(), on=_STREAM, how="anti").select(
        *_STREAM, from_date=pl.col("first") - _DAY, to_date="attempt"
    )
    gaps = pl.concat([after, never]).filter(pl.col("from_date") <= pl.col("to_date"))
    reasons = failed.select(*_STREAM, "to_date", "read_at", failure="reason")
    return (
        gaps.join(reasons, on=_STREAM, how="left", suffix="_failed")
        .with_columns(
            failure=pl.when(pl.col("to_date_failed").is_between(pl.col("from_date"), pl.col("to_date"))).then("failure")
        )
        .group_by(*_STREAM, "from_date", "to_date")
        .agg(reason=pl.col("failure").sort_by("read_at", "failure").drop_nulls().last())
        .with_columns(status=pl.lit("down"), reason=pl.col("reason").fill_null("not collected"))
    )
