"""Listening: do we answer people, how soon, and who is waiting?

An opportunity opens when somebody writes to the account after a day's quiet, and closes with the account's answer or
after 14 days. `opportunities` finds them and `response_times` measures them (fine in a notebook); `waiting` lists the
open ones. What a year of them says of an account is in `assets.metrics.availability`. `exchanges` runs on any engine,
the rest on Polars: whether a message
opens an opportunity depends on the one before, and that is a walk along a pair's messages, not a grouping.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.typing import IntoLazyFrame
from numpy.typing import NDArray

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
_FOUND = ("opened_at", "answered_at", "inbound_composed")
_DAY_US = 86_400_000_000
_LIMIT_US = LIMIT // timedelta(microseconds=1)

Numbers = NDArray[np.int64]


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
    by = keys or ["group"]
    names = pl.col(keys) if keys else pl.lit(0).alias("group")
    messages = pl.col("messages") if "messages" in schema else pl.lit(1).alias("messages")
    rows = exchanges.lazy().select(names, "direction", "active_at", messages).collect()
    stretches = _stretches(rows, by)
    pairs = stretches.select(by).unique().sort(by).with_row_index("pair")
    found = _found(_numbered(rows, stretches.join(pairs, on=by, maintain_order="left")), as_of=as_of)
    result = found.join(pairs, on="pair", maintain_order="left").select(*keys, *_FOUND)
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
    end = _end_like(schema["opened_at"], as_of)
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


class Written(NamedTuple):
    """The `exchanges` in Polars: `rows` with `pair, is_answer, active_at, messages`, and the names of each `pair`."""

    rows: pl.LazyFrame
    pairs: pl.LazyFrame

    def named(self) -> pl.LazyFrame:
        """The rows with the names of their pairs."""
        return self.rows.join(self.pairs, on="pair")


@once
def written(fold_response: IntoLazyFrame, dim_identity: IntoLazyFrame) -> Written:
    """What account and person wrote to each other, read once for all that ask the same frames."""
    fold: Any = nw.to_native(fold_response, pass_through=True)
    if isinstance(fold, pl.LazyFrame):
        # The fold is stored by identity: persons are looked up once for each, not once for each row.
        rows = fold.collect(engine="streaming")
        people = collected(dim_identity).filter(~pl.col("is_bot")).select("identity_id", "person_id").collect()
        stretches = _stretches(rows, ("account_id", "platform", "identity_id"))
        stretches = stretches.join(people, on="identity_id", how="left", maintain_order="left")
    else:
        rows = collected(exchanges(fold_response, dim_identity)).collect()
        stretches = _stretches(rows, _PAIR)
    pairs = stretches.select(_PAIR).drop_nulls("person_id").unique().with_row_index("pair")
    stretches = stretches.join(pairs, on=_PAIR, how="left", maintain_order="left")
    return Written(_numbered(rows, stretches).drop_nulls("pair").lazy(), pairs.lazy())


def _stretches(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The rows in stretches, each of consecutive rows of the same keys: these keys, and how many `rows` it has."""
    is_first = pl.int_range(pl.len()) == 0
    is_new = pl.any_horizontal(is_first, *(pl.col(key).ne_missing(pl.col(key).shift(1)) for key in keys))
    starts = rows.select(*keys, pl.int_range(pl.len()).alias("rows")).filter(rows.select(is_new).to_series())
    return starts.with_columns(pl.col("rows").shift(-1, fill_value=rows.height) - pl.col("rows"))


def _numbered(rows: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame:
    """What was written, with the number of its stretch's `pair` in place of names."""
    of_rows = stretches.select(pl.col("pair").repeat_by("rows").explode()).to_series()
    return rows.select(
        of_rows, pl.col("direction") == "outbound", "active_at", pl.col("messages").cast(pl.Int64)
    ).rename({"direction": "is_answer"})


@once
def asked_of(
    fold_response: IntoLazyFrame, dim_identity: IntoLazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """The `opportunities` of platforms that offer both directions, found once for all that ask the same frames."""
    rows, pairs = (frame.collect() for frame in written(fold_response, dim_identity))
    asked = pairs.join(both_offered(fct_collection_span, as_of=as_of).collect(), on=_KEYS, how="semi")
    found = _found(rows.join(asked.select("pair"), on="pair", how="semi"), as_of=as_of)
    return found.join(asked, on="pair", maintain_order="left").select(*_PAIR, *_FOUND).lazy()


def as_known(opportunities: Frame, *, as_of: date) -> Frame:
    """Opportunities as they stood at the end of an earlier `as_of`: later ones are gone, answers after it still awaited.

    What somebody wrote later neither opens nor closes an earlier opportunity, so these are the ones that would have been
    found then; of `inbound_composed` nothing is known but today's, so it is gone.
    """
    end = _end_like(opportunities.lazy().collect_schema()["opened_at"], as_of)
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


def _found(rows: pl.DataFrame, *, as_of: date) -> pl.DataFrame:
    """The `opportunities` of numbered pairs, sorted: `pair, opened_at, answered_at, inbound_composed`.

    The walk along a pair's messages, of all pairs at once. A run is what the person wrote up to and with an answer, so
    the answer of a row is the last row of its run, and within a run nothing is answered.
    """
    rows = rows.filter(pl.col("active_at") < _end_like(rows.schema["active_at"], as_of))
    is_new_pair = (pl.col("pair") != pl.col("pair").shift(1)).fill_null(value=True)
    is_quiet = is_new_pair | (pl.col("active_at") - pl.col("active_at").shift(1) >= QUIET)
    rows = rows.sort("pair", "active_at", "is_answer").with_columns(
        (is_new_pair | pl.col("is_answer").shift(1)).cum_sum().alias("run"),
        (is_quiet & ~pl.col("is_answer")).alias("is_quiet"),
    )
    run, at, is_answer = (
        rows["run"].to_numpy(),
        rows["active_at"].dt.epoch("us").to_numpy(),
        rows["is_answer"].to_numpy(),
    )
    quiet = np.flatnonzero(rows["is_quiet"].to_numpy())
    opening = quiet[_is_opening(run[quiet], at[quiet])]
    # A message belongs to the last opening before it, if that is of its run and not too long ago.
    is_opening = np.zeros(rows.height, dtype=np.int64)
    is_opening[opening] = 1
    latest = np.cumsum(is_opening) - 1
    before = opening[latest] if opening.size else latest  # of rows before the first: any, for the run tells
    belongs = ~is_answer & (run == run[before]) & (at - at[before] <= _LIMIT_US) & (latest >= 0)
    messages = np.bincount(latest[belongs], rows["messages"].to_numpy()[belongs], minlength=len(opening))
    last = np.searchsorted(run, run[opening], side="right") - 1
    is_answered = is_answer[last] & (at[last] - at[opening] <= _LIMIT_US)
    return rows[opening].select(
        "pair",
        pl.col("active_at").alias("opened_at"),
        pl.when(pl.Series(is_answered)).then(rows["active_at"][last]).alias("answered_at"),
        pl.Series("inbound_composed", messages.astype(np.int64)),
    )


def _is_opening(run: Numbers, at: Numbers) -> NDArray[np.bool_]:
    """Which messages after a day's quiet (sorted) find no opportunity open, in runs in which nothing is answered.

    The first of a run opens, then the first one more than 14 days later, and so on. Each knows its successor; following
    these, of all runs at once, takes as many steps as the longest run has openings.
    """
    successor = np.arange(1, len(run) + 1)
    for step in range(1, LIMIT // QUIET + 1):  # a day apart, no more of them are within the limit
        successor[:-step] += (run[step:] == run[:-step]) & (at[step:] - at[:-step] <= _LIMIT_US)
    successor[run[np.minimum(successor, len(run) - 1)] != run] = len(run)
    is_opening = np.zeros(len(run) + 1, dtype=bool)  # one more, where all chains end
    current = np.flatnonzero(np.diff(run, prepend=-1))
    while current.size:
        is_opening[current] = True
        current = successor[current]
        current = current[current < len(run)]
    return is_opening[:-1]


def _end_like(moments: pl.DataType, as_of: date) -> pl.Expr:
    """The end of `as_of`, with a zone iff the moments have one."""
    end = end_of(as_of)
    return pl.lit(end if getattr(moments, "time_zone", None) else end.replace(tzinfo=None))


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
