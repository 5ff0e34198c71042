"""Followers by day, and who came and went: `mart_followers`.

The number is the platform's own; the log is of follows that were seen. The two need not agree: a platform's number
counts people whose follow has no known time, and people that it does not show.
"""

from datetime import date

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.typing import IntoLazyFrame
from numpy.typing import NDArray

from assets.metrics import coverage
from assets.metrics.engines import collected
from assets.metrics.people import People
from assets.metrics.visible import cutoff

_KEYS = ("account_id", "platform")


def follow_log(fold_relationship_day: IntoLazyFrame, dim_identity: IntoLazyFrame, *, as_of: date) -> People:
    """Who came and went, by day: `account_id, platform, date, followed, unfollowed`, without bots.

    A day on which only follows of unknown time were seen has a row of zeros.
    """
    people = nw.from_native(dim_identity).filter(~nw.col("is_bot")).select("identity_id")
    seen = nw.col("followed") + nw.col("followed_untimed") + nw.col("unfollowed")
    return (
        nw.from_native(fold_relationship_day)
        .filter(nw.col("date") <= nw.lit(as_of), seen > 0)
        .join(people, on="identity_id", how="semi")
        .group_by(*_KEYS, "date")
        .agg(nw.col("followed").sum().cast(nw.Int64), nw.col("unfollowed").sum().cast(nw.Int64))
    )


def followers(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    fct_counter: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """How many follow, who began and who left? One row a day, from the first on which followers were seen to `as_of`.

    Only accounts and platforms with a follow or a `followers` counter have rows. There is no `all`: who follows on two
    platforms would count twice. `followers` is the counter's newest observation on or before the day (null before the
    first). `followed` counts follows of known time that began on the day, also those taken back since, `unfollowed` those
    taken back on it; bots are out. Both are null on days whose inbound was not collected, and where no follow was ever
    seen: a platform that shows only the number does not show who.
    """
    log = collected(follow_log(fold_relationship_day, dim_identity, as_of=as_of)).collect()
    numbers = (
        fct_counter.filter(
            pl.col("subject") == "profile", pl.col("counter") == "followers", pl.col("observed_at") < cutoff(as_of)
        )
        .select(*_KEYS, pl.col("observed_at").dt.date().alias("date"), "observed_at", "value")
        .filter(pl.col("date") <= as_of)
        .sort("observed_at", "value")
        .group_by(*_KEYS, "date")
        .agg(pl.col("value").last())
        .collect()
    )
    fct_collection_span = coverage.spans_read(fct_collection_span)
    holes = coverage.missing(fct_collection_span, stream="inbound", as_of=as_of).collect()
    offered = coverage.births(fct_collection_span, stream="inbound", as_of=as_of).select(_KEYS).collect()
    shown = log.select(_KEYS).unique().join(offered, on=_KEYS, how="semi").with_columns(is_shown=pl.lit(value=True))
    places = (
        pl.concat([log.select(*_KEYS, "date"), numbers.select(*_KEYS, "date")])
        .group_by(_KEYS)
        .agg(pl.col("date").min().alias("first_date"))
        .join(shown, on=_KEYS, how="left")
        .sort(_KEYS)
        .with_columns((pl.lit(as_of) - pl.col("first_date")).dt.total_days().alias("days") + 1)
        .with_columns((pl.col("days").cum_sum() - pl.col("days")).alias("start"))
    )
    return (
        places.select(*_KEYS, pl.date_ranges("first_date", pl.lit(as_of)).alias("date"))
        .explode("date", empty_as_null=False, keep_nulls=False)
        .with_columns(_last_known(numbers, places), *_came_and_went(log, holes, places))
        .lazy()
    )


# Every place has a row a day, in order: what was seen of a day is put into its row, and nothing is searched or sorted.


def _placed(seen: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """What was seen on a `date`, with the `row` of that day."""
    days = (pl.col("date") - pl.col("first_date")).dt.total_days()
    of_places = places.select(*_KEYS, "first_date", "start")
    return seen.join(of_places, on=_KEYS, maintain_order="left").with_columns((pl.col("start") + days).alias("row"))


def _last_known(numbers: pl.DataFrame, places: pl.DataFrame) -> pl.Series:
    """`followers` of each row: the newest number of the place on or before the day."""
    placed, days = _placed(numbers, places).sort("row"), places["days"].to_numpy()
    newest = np.full(days.sum(), -1)
    newest[placed["row"].to_numpy()] = np.arange(placed.height)
    newest = np.maximum.accumulate(newest)
    start_of_newest = np.append(placed["start"].to_numpy(), -1)[newest]
    is_own = pl.Series(start_of_newest == np.repeat(places["start"].to_numpy(), days))
    return placed["value"].gather(pl.Series(newest).set(~is_own, None)).alias("followers")


def _came_and_went(log: pl.DataFrame, holes: pl.DataFrame, places: pl.DataFrame) -> list[pl.Series]:
    """`followed` and `unfollowed` of each row; null where they are not shown, or were not collected."""
    placed, days = _placed(log, places)["row"].to_numpy(), places["days"].to_numpy()
    is_shown = np.repeat(places["is_shown"].fill_null(value=False).to_numpy(), days)
    is_unknown = pl.Series(~is_shown | _uncovered(holes, places, rows=days.sum()))
    result = []
    for name in ("followed", "unfollowed"):
        count = np.zeros(days.sum(), dtype=np.int64)
        count[placed] = log[name].to_numpy()
        result.append(pl.Series(name, count).set(is_unknown, None))
    return result


def _uncovered(holes: pl.DataFrame, places: pl.DataFrame, *, rows: int) -> NDArray[np.bool_]:
    """Whether each row's day lies in a hole: from its first row on one more is open, after its last one fewer."""
    since = pl.max_horizontal("from_date", "first_date").alias("date")
    seen = holes.join(places.select(*_KEYS, "first_date"), on=_KEYS).select(*_KEYS, since, "to_date")
    placed = _placed(seen.filter(pl.col("date") <= pl.col("to_date")), places)
    begins = placed["row"].to_numpy()
    ends = begins + 1 + placed.select((pl.col("to_date") - pl.col("date")).dt.total_days()).to_series().to_numpy()
    change = np.bincount(begins, minlength=rows + 1) - np.bincount(ends, minlength=rows + 1)
    return np.cumsum(change)[:-1] > 0
