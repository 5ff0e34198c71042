"""Listening: do we answer people, how soon, and who is waiting?

An opportunity opens when somebody writes to the account after a day's quiet, and closes with the account's answer or
after 14 days. `opportunities` finds them and `response_times` measures them (fine in a notebook); `waiting` lists the
open ones. What a year of them says of an account is in `assets.metrics.availability`. `exchanges` runs on any engine,
the rest on Polars: whether a message
opens an opportunity depends on the one before, and that is a walk along a pair's messages, not a grouping.
"""

from datetime import date, timedelta
from typing import TypeVar

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.typing import IntoLazyFrame

from assets.metrics import coverage, survival
from assets.metrics.coverage import ALL, spans_read
from assets.metrics.engines import collected
from assets.metrics.once import once
from assets.metrics.people import People
from assets.metrics.visible import end_of

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

MIN_COVERAGE = 0.9
QUIET = timedelta(hours=24)
"""A message opens an opportunity after at least so long without any."""
LIMIT = timedelta(days=14)
"""An opportunity stays open at most so long."""
NOT_REACHED = "> 14 d"
TIMES = {"response_time_median_seconds": 0.5, "response_time_p90_seconds": 0.9}

_KEYS = ("account_id", "platform")
_PAIR = ("account_id", "person_id", "platform")
_DAY_US = 86_400_000_000


def opportunities(exchanges: Frame, *, as_of: date) -> Frame:
    """When did somebody await an answer, and when did it come? One row an opportunity.

    `exchanges` has what was written: `direction` (inbound, outbound), `active_at`, optionally `messages` (how many at
    that moment; else each row is one), and any of `account_id, person_id, platform`, which tell pairs apart. Comes
    back, eager or lazy as given, sorted: these keys, `opened_at`, `answered_at` (null where not answered) and
    `inbound_composed`, the messages that belong to it.

    An inbound message opens an opportunity where none of the pair is open and nothing was written in either direction
    for at least 24 h. Later messages before the answer belong to it. The first outbound one answers it, also at the
    same moment (clocks of a second or a day); it stays open for at most 14 days. Rows after `as_of` are not looked at.

    Source: defined here (docs/metrics/listening.md).

    >>> from datetime import datetime
    >>> written = pl.DataFrame({"direction": ["inbound", "inbound", "outbound"],
    ...                         "active_at": [datetime(2024, 1, 1, hour) for hour in (8, 9, 11)]})
    >>> opportunities(written, as_of=date(2024, 1, 31)).rows()
    [(datetime.datetime(2024, 1, 1, 8, 0), datetime.datetime(2024, 1, 1, 11, 0), 2)]
    """
    schema = exchanges.lazy().collect_schema()
    keys = [key for key in _PAIR if key in schema]
    end = end_of(as_of) if getattr(schema["active_at"], "time_zone", None) else end_of(as_of).replace(tzinfo=None)
    messages = pl.col("messages").sum() if "messages" in schema else pl.len()
    written = (
        exchanges.lazy()
        .filter(pl.col("active_at") < end)
        .group_by(*keys, "active_at", (pl.col("direction") == "outbound").alias("is_answer"))
        .agg(messages.cast(pl.Int64).alias("messages"))
        .collect()
    )
    pairs = written.select(keys).unique().sort(keys).with_row_index("pair") if keys else None
    written = written.join(pairs, on=keys) if pairs is not None else written.with_columns(pair=pl.lit(0, pl.UInt32))
    # A run is what the person wrote up to and with an answer: the answer of a row is the last row of its run.
    is_new_pair = (pl.col("pair") != pl.col("pair").shift(1)).fill_null(value=True)
    written = (
        written.sort("pair", "active_at", "is_answer")
        .with_columns(
            (is_new_pair | pl.col("is_answer").shift(1)).cum_sum().alias("run"),
            (is_new_pair | (pl.col("active_at") - pl.col("active_at").shift(1) >= QUIET)).alias("is_quiet"),
        )
        .with_columns(pl.when("is_answer").then("active_at").max().over("run").alias("answered_at"))
        .filter(~pl.col("is_answer"))
    )
    opened = _opening(written.filter("is_quiet").select("run", "active_at"))
    of_run = written.group_by("run").agg(pl.col("pair").first(), pl.col("answered_at").first())
    is_in_time = pl.col("answered_at") - pl.col("opened_at") <= LIMIT
    found = (
        _belonging(written, opened)
        .join(of_run, on="run")
        .with_columns(pl.when(is_in_time).then("answered_at").alias("answered_at"))
    )
    if pairs is not None:
        found = found.join(pairs, on="pair")
    result = found.sort("pair", "opened_at").select(*keys, "opened_at", "answered_at", "inbound_composed")
    return result.lazy() if isinstance(exchanges, pl.LazyFrame) else result


def response_times(opportunities: Frame, *, as_of: date) -> Frame:
    """How long does an answer take? Kaplan-Meier median and ninth decile of each account and platform.

    `opportunities` has `opened_at, answered_at` and any of `account_id, platform`. Comes back, eager or lazy as given:
    these keys, `opportunities`, and `response_time_median_seconds` and `response_time_p90_seconds`, each with `_low`,
    `_high` (95 %) and `_note`. Unanswered opportunities are censored at 14 days or at the end of `as_of`, never left
    out: the median of the answered ones would flatter. Not reached: null, with the note "> 14 d". Openings and answers
    after `as_of` are not looked at.

    >>> from datetime import datetime
    >>> asked = pl.DataFrame({"opened_at": [datetime(2024, 1, 1)] * 3,
    ...                       "answered_at": [datetime(2024, 1, 1, 1), datetime(2024, 1, 1, 2), None]})
    >>> response_times(asked, as_of=date(2024, 1, 31)).select("response_time_median_seconds", "^.*p90.*note$").row(0)
    (7200.0, '> 14 d')
    """
    schema = opportunities.lazy().collect_schema()
    keys = [key for key in _KEYS if key in schema]
    by = keys or ["group"]
    end = _end_like(schema, as_of)
    waited = pl.min_horizontal(end - pl.col("opened_at"), pl.lit(LIMIT))
    answered = pl.when(pl.col("answered_at") < end).then("answered_at")
    duration = pl.coalesce(answered - pl.col("opened_at"), waited)
    lifetimes = (
        opportunities.lazy()
        .filter(pl.col("opened_at") < end)
        .select(
            pl.col(keys) if keys else pl.lit(0).alias("group"),
            (duration.dt.total_microseconds() / 1_000_000).alias("duration"),
            answered.is_not_null().alias("is_observed"),
        )
    )
    curves = survival.curves(lifetimes, by=by).collect().lazy()
    result = lifetimes.group_by(by).agg(pl.len().cast(pl.Int64).alias("opportunities"))
    for name, share in TIMES.items():
        result = result.join(survival.quantile(curves, by=by, share=share, name=name), on=by).with_columns(
            pl.when(pl.col(name).is_null()).then(pl.lit(NOT_REACHED)).alias(f"{name}_note")
        )
    columns = [f"{name}{part}" for name in TIMES for part in ("", "_low", "_high", "_note")]
    result = result.sort(by).select(*keys, "opportunities", *columns)
    return result if isinstance(opportunities, pl.LazyFrame) else result.collect()


def exchanges(fold_response: IntoLazyFrame, dim_identity: IntoLazyFrame) -> People:
    """What account and person wrote to each other: the fold with `person_id` in place of `identity_id`, bots out."""
    people = nw.from_native(dim_identity).filter(~nw.col("is_bot")).select("identity_id", "person_id")
    written = nw.from_native(fold_response).join(people, on="identity_id", how="inner")
    return written.select(*_PAIR, "direction", "active_at", "messages")


@once
def written(fold_response: IntoLazyFrame, dim_identity: IntoLazyFrame) -> pl.LazyFrame:
    """The `exchanges` in Polars, read once for all that ask the same frames."""
    return collected(exchanges(fold_response, dim_identity))


@once
def asked_of(
    fold_response: IntoLazyFrame, dim_identity: IntoLazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """The `opportunities` of platforms that offer both directions, found once for all that ask the same frames."""
    both = both_offered(fct_collection_span, as_of=as_of)
    return collected(
        opportunities(written(fold_response, dim_identity).join(both, on=list(_KEYS), how="semi"), as_of=as_of)
    )


def as_known(opportunities: Frame, *, as_of: date) -> Frame:
    """Opportunities as they stood at the end of an earlier `as_of`: later ones are gone, answers after it still awaited.

    What somebody wrote later neither opens nor closes an earlier opportunity, so these are the ones that would have been
    found then; of `inbound_composed` nothing is known but today's, so it is gone.
    """
    end = _end_like(opportunities.lazy().collect_schema(), as_of)
    answered = pl.when(pl.col("answered_at") < end).then("answered_at").alias("answered_at")
    return opportunities.filter(pl.col("opened_at") < end).with_columns(answered).drop("inbound_composed")


def waiting(
    fold_response: pl.LazyFrame, dim_identity: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """Who awaits an answer? `mart_waiting`: opportunities still open at the end of `as_of`.

    With `waited_days` so far and the number of messages. Only of platforms that offer both directions, and only where
    at least 0.9 of the outbound days since the opening were collected: else the answer may be there, unread. Somebody
    who opened on two platforms at one moment waits once, on the first of them by name.
    """
    fct_collection_span = spans_read(fct_collection_span)
    end = pl.lit(end_of(as_of))
    is_open = pl.col("answered_at").is_null() & (end - pl.col("opened_at") <= LIMIT)
    found = asked_of(fold_response, dim_identity, fct_collection_span, as_of=as_of)
    asked = found.filter(is_open).with_columns(
        pl.col("opened_at").dt.date().alias("from_date"), pl.lit(as_of).alias("to_date")
    )
    return (
        coverage.coverage_share(asked, fct_collection_span, stream="outbound", as_of=as_of)
        .filter(pl.col("coverage_share") >= MIN_COVERAGE)
        .group_by("account_id", "person_id", "opened_at")
        .agg(pl.col("platform").min(), pl.col("inbound_composed").sum())
        .with_columns(
            pl.lit(as_of).alias("as_of"),
            ((end - pl.col("opened_at")).dt.total_microseconds() / _DAY_US).alias("waited_days"),
        )
        .sort("account_id", "person_id", "opened_at")
        .select("account_id", "person_id", "opened_at", "as_of", "platform", "waited_days", "inbound_composed")
    )


def _opening(quiet: pl.DataFrame) -> pl.DataFrame:
    """Of the messages after a day's quiet (`run, active_at`, sorted), those that find none open: `run, opened_at`.

    Within a run nothing is answered, so the first opens, then the first one more than 14 days later, and so on. Each
    row knows its successor; following these, of all runs at once, takes as many steps as the longest run has openings.
    """
    rows = quiet.with_row_index("row")
    later = rows.select("run", pl.col("active_at").alias("next_at"), pl.col("row").alias("next"))
    successor = (
        rows.with_columns((pl.col("active_at") + LIMIT + timedelta(microseconds=1)).alias("after"))
        .sort("after")
        .join_asof(
            later.sort("next_at"),
            left_on="after",
            right_on="next_at",
            by="run",
            strategy="forward",
            check_sortedness=False,  # sorted just above; Polars cannot check it within groups and warns
        )
        .sort("row")["next"]
        .cast(pl.Int64)
        .fill_null(-1)
        .to_numpy()
    )
    is_opening = np.zeros(rows.height, dtype=bool)
    current = rows.filter((pl.col("run") != pl.col("run").shift(1)).fill_null(value=True))["row"].to_numpy()
    while current.size:
        is_opening[current] = True
        current = successor[current]
        current = current[current >= 0]
    return quiet.filter(pl.Series(is_opening)).select("run", pl.col("active_at").alias("opened_at"))


def _belonging(inbound: pl.DataFrame, opened: pl.DataFrame) -> pl.DataFrame:
    """How many messages belong to each opportunity: `run, opened_at, inbound_composed`."""
    return (
        inbound.sort("active_at")
        .join_asof(
            opened.sort("opened_at"),
            left_on="active_at",
            right_on="opened_at",
            by="run",
            strategy="backward",
            check_sortedness=False,  # sorted just above; Polars cannot check it within groups and warns
        )
        .filter(pl.col("active_at") - pl.col("opened_at") <= LIMIT)
        .group_by("run", "opened_at")
        .agg(pl.col("messages").sum().alias("inbound_composed"))
    )


def _end_like(schema: pl.Schema, as_of: date) -> pl.Expr:
    """The end of `as_of`, with a zone iff the schema's times have one."""
    end = end_of(as_of)
    return pl.lit(end if getattr(schema["opened_at"], "time_zone", None) else end.replace(tzinfo=None))


def offering(fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Accounts and platforms that offer inbound or outbound: with `is_inbound, is_outbound`."""
    inbound, outbound = (
        coverage.births(fct_collection_span, stream=stream, as_of=as_of).select(
            *_KEYS, pl.lit(value=True).alias(f"is_{stream}")
        )
        for stream in ("inbound", "outbound")
    )
    return inbound.join(outbound, on=_KEYS, how="full", coalesce=True).with_columns(
        pl.col("is_inbound", "is_outbound").fill_null(value=False)
    )


def both_offered(fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The platforms of each account that offer both directions: only there can an answer be missed."""
    offered = offering(fct_collection_span, as_of=as_of).filter("is_inbound", "is_outbound")
    return offered.filter(pl.col("platform") != ALL).select(_KEYS)
