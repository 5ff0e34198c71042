"""Availability: what a year of listening says of an account, `mart_listening`.

Rates, times and days of the opportunities that `assets.metrics.listening` finds; beside them what the account wrote to
people at all: its share, its steadiness (the arithmetic is in `assets.metrics.cadence`) and whether it is mutual. Which
streams a measure needs, and why it is null, is decided here.
"""

from datetime import date, timedelta

import polars as pl

from assets.metrics import cadence, coverage
from assets.metrics.coverage import ALL
from assets.metrics.intervals import wilson
from assets.metrics.listening import (
    LIMIT,
    MIN_COVERAGE,
    TIMES,
    as_known,
    asked_of,
    both_offered,
    offering,
    response_times,
    written,
)
from assets.metrics.visible import end_of, visible_posts

WINDOW_DAYS = 364
RECIPROCITY_DAYS = 180
RATES = {"response_rate_24h": timedelta(hours=24), "response_rate_7d": timedelta(days=7)}
"""Answered within so long, among the opportunities that were open to see for so long."""

_KEYS = ("account_id", "platform")
_DAY = timedelta(days=1)
_COLUMNS = (
    "opportunities",
    *(f"{name}{part}" for name in RATES for part in ("", "_low", "_high", "_n", "_note")),
    *(f"{name}{part}" for name in TIMES for part in ("", "_low", "_high", "_note")),
    *(f"listening_share{part}" for part in ("", "_n", "_note")),
    *(f"listening_steadiness{part}" for part in ("", "_low", "_high", "_note")),
    *(f"availability_days_share{part}" for part in ("", "_n", "_note")),
    *(f"reciprocity{part}" for part in ("", "_n", "_note")),
    "coverage_share",
)


def listening(
    fold_response: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_account: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """Do we answer people? `mart_listening`, over the 364 days that end with `as_of`, since the streams' birth.

    One row for each account and platform that offers inbound or outbound, and `all`: the opportunities of the platforms
    that offer both directions together. Rates are over the opportunities with at least so much exposure at the end of
    `as_of`, with Wilson intervals; times as in `response_times`. `availability_days_share`: of the local days with an
    open opportunity, those on which one was answered. `listening_share`: of everything written (outbound composed, and
    posts), the part that was to somebody. `listening_steadiness`: `cadence.steadiness` of the first of each local day's
    outbound messages, by the account's posting promise. `reciprocity`: mean over people of
    2 min(in, out) / (in + out) of the composed interactions of 180 days, weighted by inbound.

    Each is null where a stream that it needs is not offered or was collected on less than 0.9 of its days, or where
    there is nothing to judge; its note says which. `coverage_share` is of outbound.
    """
    rows, accounts, spans = _asked(dim_account, fct_collection_span, as_of=as_of)
    found = asked_of(fold_response, dim_identity, spans, as_of=as_of)
    messages = written(fold_response, dim_identity).named()
    parts = (
        _responses(rows, found, accounts, spans, as_of=as_of),
        _shares(rows, messages, dim_post, spans, as_of=as_of),
        _steadiness(rows, messages, accounts, spans, as_of=as_of),
        _reciprocity(rows, messages, spans, as_of=as_of),
        _covered(rows, spans, streams=("outbound",), days=WINDOW_DAYS, as_of=as_of).select(
            *_KEYS, pl.col("outbound").alias("coverage_share")
        ),
    )
    for part in parts:
        rows = rows.join(_computed(part), on=_KEYS, how="left")
    return rows.sort(_KEYS).select(pl.lit(as_of).alias("as_of"), *_KEYS, *_COLUMNS)


def answering(
    fold_response: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_account: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
    known_on: date | None = None,
) -> pl.LazyFrame:
    """How soon did we answer? Of `listening` the opportunities, rates, times and answered days, and nothing else.

    `known_on` is the day of the night that asks: the opportunities that it has found are looked at as they stood then.
    """
    rows, accounts, spans = _asked(dim_account, fct_collection_span, as_of=as_of)
    found = asked_of(fold_response, dim_identity, spans, as_of=known_on or as_of)
    return _responses(rows, as_known(found, as_of=as_of), accounts, spans, as_of=as_of)


def _asked(
    dim_account: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """Of whom there is a row, what is known of the accounts, and the spans, each computed once."""
    spans = coverage.spans_read(fct_collection_span)
    accounts = _computed(dim_account.select("account_id", "timezone", "promise_days"))
    return _computed(offering(spans, as_of=as_of)), accounts, spans


def _covered(
    rows: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, streams: tuple[str, ...], days: int, as_of: date
) -> pl.LazyFrame:
    """Accounts and platforms with their window (`from_date`, `to_date`) and the covered share of each stream in it.

    The window has at most so many days and starts with the latest of the streams' births; a share is null where the
    stream is not offered.
    """
    windows = rows.select(*_KEYS, pl.lit(as_of - (days - 1) * _DAY).alias("from_date"), pl.lit(as_of).alias("to_date"))
    for stream in streams:
        born = coverage.births(fct_collection_span, stream=stream, as_of=as_of).select(*_KEYS, "birth_date")
        latest = pl.max_horizontal("from_date", "birth_date").alias("from_date")
        windows = windows.join(born, on=_KEYS, how="left").with_columns(latest).drop("birth_date")
    for stream in streams:
        judged = coverage.coverage_share(_computed(windows), fct_collection_span, stream=stream, as_of=as_of)
        windows = judged.rename({"coverage_share": stream})
    return _computed(windows)


def _why(*streams: str) -> pl.Expr:
    """Why a measure of these streams is null: not offered, or not collected."""
    reasons = [
        *(pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} not offered")) for name in streams),
        *(
            pl.when(pl.col(name) < MIN_COVERAGE).then(pl.lit(f"less than 0.9 of {name} was collected"))
            for name in streams
        ),
    ]
    return pl.coalesce(reasons)


def _noted(frame: pl.LazyFrame, measures: dict[str, str], *, parts: tuple[str, ...] = ()) -> pl.LazyFrame:
    """Measures null where `why` says so, and their notes: `why`, else a note there is, else the measure's own reason."""
    names = frame.collect_schema().names()
    is_known = pl.col("why").is_null()
    columns = [f"{name}{part}" for name in measures for part in ("", *parts) if f"{name}{part}" in names]
    return frame.with_columns(pl.when(is_known).then(column).alias(column) for column in columns).with_columns(
        pl.when(pl.col(name).is_null())
        .then(pl.coalesce("why", *([f"{name}_note"] if f"{name}_note" in names else []), pl.lit(reason)))
        .alias(f"{name}_note")
        for name, reason in measures.items()
    )


def _responses(
    rows: pl.LazyFrame, asked: pl.LazyFrame, accounts: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """Opportunities, rates, times and answered days; `asked` are the opportunities of all history."""
    both = both_offered(fct_collection_span, as_of=as_of)
    spans = fct_collection_span.join(both, on=_KEYS, how="semi")
    windows = _covered(rows, spans, streams=("outbound", "inbound"), days=WINDOW_DAYS, as_of=as_of)
    found = (
        asked.join(both, on=_KEYS, how="semi")
        .join(windows.select(*_KEYS, "from_date"), on=_KEYS)
        .filter(pl.col("opened_at").dt.date() >= pl.col("from_date"))
        .drop("from_date")
    )
    found = _computed(_with_all(found))
    why = (
        pl.when(~pl.col("is_outbound"))
        .then(pl.lit("outbound not offered"))
        .when(~pl.col("is_inbound"))
        .then(pl.lit("inbound not offered"))
        .when(pl.col("outbound").is_null())
        .then(pl.lit("no platform offers both directions"))
        .otherwise(_why("outbound", "inbound"))
    )
    judged = (
        rows.join(windows, on=_KEYS)
        .with_columns(why.alias("why"))
        .join(_rates(found, as_of=as_of), on=_KEYS, how="left")
        .join(response_times(found, as_of=as_of), on=_KEYS, how="left")
        .join(_answered_days(found, accounts, as_of=as_of), on=_KEYS, how="left")
        .with_columns(
            pl.col("opportunities", *(f"{name}_n" for name in RATES), "availability_days_share_n").fill_null(0)
        )
    )
    reasons = {
        "response_rate_24h": "no opportunity is 24 h old",
        "response_rate_7d": "no opportunity is 7 d old",
        **dict.fromkeys((*TIMES, "availability_days_share"), "no opportunity"),
    }
    known = pl.when(pl.col("why").is_null()).then("opportunities").alias("opportunities")
    return (
        _noted(judged, reasons, parts=("_low", "_high", "_n"))
        .with_columns(known)
        .select(*_KEYS, *(c for c in _COLUMNS if c.startswith(("opportunities", "response", "availability"))))
    )


def _rates(found: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Answered within h, among the opportunities with at least h of exposure, with Wilson intervals."""
    exposure = pl.lit(end_of(as_of)) - pl.col("opened_at")
    answer = pl.col("answered_at") - pl.col("opened_at")
    counted = found.group_by(_KEYS).agg(
        *((exposure >= limit).sum().cast(pl.Int64).alias(f"{name}_n") for name, limit in RATES.items()),
        *(((exposure >= limit) & (answer <= limit)).sum().alias(f"{name}_k") for name, limit in RATES.items()),
    )
    for name in RATES:
        k, n = pl.col(f"{name}_k").cast(pl.Float64), pl.col(f"{name}_n")
        low, high = wilson(k, n)
        rate = (k / n).fill_nan(None)
        counted = counted.with_columns(rate.alias(name), low.alias(f"{name}_low"), high.alias(f"{name}_high"))
    return counted.drop(f"{name}_k" for name in RATES)


def _answered_days(found: pl.LazyFrame, accounts: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Of the local days with an open opportunity, those on which one was answered."""
    last = pl.min_horizontal(
        "answered_at", pl.col("opened_at") + LIMIT, pl.lit(end_of(as_of)) - timedelta(microseconds=1)
    )
    days = _local_days(found.with_columns(last.alias("last_at")), accounts, ("opened_at", "last_at"))
    open_days = (
        days.with_columns(pl.int_ranges("opened_at_day", pl.col("last_at_day") + 1).alias("day"))
        .explode("day")
        .group_by(_KEYS)
        .agg(pl.col("day").n_unique().cast(pl.Int64).alias("availability_days_share_n"))
    )
    # An answer closes its opportunity, so the last open day is the day of the answer.
    answered = days.filter(pl.col("answered_at").is_not_null())
    answered = answered.group_by(_KEYS).agg(pl.col("last_at_day").n_unique().alias("_answered"))
    share = pl.col("_answered").fill_null(0) / pl.col("availability_days_share_n")
    return open_days.join(answered, on=_KEYS, how="left").select(
        *_KEYS, "availability_days_share_n", share.alias("availability_days_share")
    )


def _shares(
    rows: pl.LazyFrame, written: pl.LazyFrame, dim_post: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """`listening_share`: outbound composed by outbound composed and posts."""
    windows = _covered(rows, fct_collection_span, streams=("outbound", "posts"), days=WINDOW_DAYS, as_of=as_of)
    to_people = written.filter("is_answer").select(*_KEYS, pl.col("active_at").dt.date(), "messages")
    to_all = visible_posts(dim_post, as_of=as_of).select(
        *_KEYS, pl.col("published_at").dt.date().alias("active_at"), pl.lit(1, pl.Int64).alias("messages")
    )
    outbound, posts = (
        _with_all(frame)
        .join(windows.select(*_KEYS, "from_date"), on=_KEYS)
        .filter(pl.col("active_at").is_between("from_date", as_of))
        .group_by(_KEYS)
        .agg(pl.col("messages").sum().alias(name))
        for frame, name in ((to_people, "_outbound"), (to_all, "_posts"))
    )
    n = pl.col("_outbound") + pl.col("_posts")
    counted = (
        windows.with_columns(_why("outbound", "posts").alias("why"))
        .join(outbound, on=_KEYS, how="left")
        .join(posts, on=_KEYS, how="left")
        .with_columns(pl.col("_outbound", "_posts").fill_null(0))
        .with_columns(
            n.alias("listening_share_n"), pl.when(n > 0).then(pl.col("_outbound") / n).alias("listening_share")
        )
    )
    noted = _noted(counted, {"listening_share": "nothing was written"}, parts=("_n",))
    return noted.select(*_KEYS, "listening_share", "listening_share_n", "listening_share_note")


def _steadiness(
    rows: pl.LazyFrame, written: pl.LazyFrame, accounts: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """`listening_steadiness`: was there something to somebody, by the account's promise, without long silences?"""
    sent = _with_all(written.filter("is_answer", pl.col("active_at") < end_of(as_of)).select(*_KEYS, "active_at"))
    days = _local_days(sent, accounts, ("active_at",)).join(
        accounts.select("account_id", "promise_days"), on="account_id"
    )
    first = _computed(
        days.group_by(*_KEYS, "promise_days", "active_at_day").agg(pl.col("active_at").min().alias("published_at"))
    )
    holes = _computed(coverage.missing(fct_collection_span, stream="outbound", as_of=as_of))
    promises = first.select(pl.col("promise_days").unique().sort()).collect()["promise_days"].to_list()
    measured = [
        cadence.steadiness(
            first.filter(pl.col("promise_days") == promise).select(*_KEYS, "published_at"),
            as_of=as_of,
            promise_days=promise,
            window_days=WINDOW_DAYS,
            missing=holes,
        )
        for promise in promises or [7]
    ]
    began = first.group_by(_KEYS).agg(pl.col("published_at").min().dt.date().alias("_first"))
    born = coverage.births(fct_collection_span, stream="outbound", as_of=as_of).select(*_KEYS, "covered_from")
    start = pl.max_horizontal(pl.lit(as_of - (WINDOW_DAYS - 1) * _DAY), pl.col("covered_from"), pl.col("_first"))
    windows = (
        rows.select(_KEYS)
        .join(born, on=_KEYS, how="left")
        .join(began, on=_KEYS, how="left")
        .with_columns(pl.min_horizontal(start, pl.lit(as_of)).alias("from_date"), pl.lit(as_of).alias("to_date"))
    )
    judged = coverage.coverage_share(windows, fct_collection_span, stream="outbound", as_of=as_of)
    named = pl.concat(measured).rename(lambda name: name.replace("steadiness", "listening_steadiness"))
    counted = judged.rename({"coverage_share": "outbound"}).join(named, on=_KEYS, how="left")
    noted = _noted(
        counted.with_columns(_why("outbound").alias("why")),
        {"listening_steadiness": "nothing was written to anybody"},
        parts=("_low", "_high"),
    )
    return noted.select(*_KEYS, *(c for c in _COLUMNS if c.startswith("listening_steadiness")))


def _reciprocity(
    rows: pl.LazyFrame, written: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """`reciprocity`: of each person as in `mart_relationship`, then their mean, weighted by inbound."""
    windows = rows.select(
        *_KEYS, pl.lit(as_of - (RECIPROCITY_DAYS - 1) * _DAY).alias("from_date"), pl.lit(as_of).alias("to_date")
    )
    for stream in ("outbound", "inbound"):
        judged = coverage.coverage_share(_computed(windows), fct_collection_span, stream=stream, as_of=as_of)
        windows = judged.rename({"coverage_share": stream})
    is_recent = pl.col("active_at").dt.date().is_between(as_of - (RECIPROCITY_DAYS - 1) * _DAY, as_of)
    given, taken = pl.col("_in"), pl.col("_out")
    people = (
        _with_all(written.filter(is_recent))
        .group_by(*_KEYS, "person_id")
        .agg(
            pl.col("messages").filter(~pl.col("is_answer")).sum().alias("_in"),
            pl.col("messages").filter("is_answer").sum().alias("_out"),
        )
        .filter(given > 0)
        .group_by(_KEYS)
        .agg(
            pl.len().cast(pl.Int64).alias("reciprocity_n"),
            # Rounded, because a sum of floats depends on the order of its terms, and every result must not.
            ((given * 2 * pl.min_horizontal(given, taken) / (given + taken)).sum() / given.sum())
            .round(9)
            .alias("reciprocity"),
        )
    )
    counted = windows.with_columns(_why("outbound", "inbound").alias("why")).join(people, on=_KEYS, how="left")
    counted = counted.with_columns(pl.col("reciprocity_n").fill_null(0))
    noted = _noted(counted, {"reciprocity": f"nobody wrote in {RECIPROCITY_DAYS} days"}, parts=("_n",))
    return noted.select(*_KEYS, "reciprocity", "reciprocity_n", "reciprocity_note")


def _with_all(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The rows, and all of them once more as platform `all`."""
    return pl.concat([frame, frame.with_columns(pl.lit(ALL).alias("platform"))])


def _local_days(frame: pl.LazyFrame, accounts: pl.LazyFrame, instants: tuple[str, ...]) -> pl.LazyFrame:
    """The frame with `<instant>_day` of each instant: days since the epoch in the account's time zone."""
    zones = accounts.select(pl.col("timezone").unique().sort()).collect()["timezone"].to_list()
    placed = _computed(frame.join(accounts.select("account_id", "timezone"), on="account_id"))
    return pl.concat(
        placed.filter(pl.col("timezone") == zone)
        .with_columns(
            pl.col(at).dt.convert_time_zone(zone).dt.date().cast(pl.Int64).alias(f"{at}_day") for at in instants
        )
        .drop("timezone")
        for zone in zones or ["UTC"]
    )


def _computed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame computed now: several measures start from it, and a lazy plan would compute it for each of them."""
    return frame.collect().lazy()
