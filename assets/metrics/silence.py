"""Is a silence one, or did nobody look? Silences of which too little was collected are unknown."""

from datetime import date

import polars as pl

from assets.metrics.coverage import ALL, births, coverage_share, missing
from assets.metrics.people import MINIMUM_COVERAGE, as_date, collected, last_complete, period_start


def unknown_silences(last_days: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Since which last days is the silence unknown? The `account_id, last_day` (day numbers) of those given.

    The silence of somebody is the time from the day after the last active one to the end of the last complete week.
    It is unknown where less than 90 % of its days were collected (inbound, on every platform that offers it), and
    where inbound was not collected at all. A silence of no day is known.
    """
    end = period_start(last_complete(as_of, "week") + 1, "week") - 1
    holes = missing(fct_collection_span, stream="inbound", as_of=as_of).filter(pl.col("platform") == ALL)
    born = births(fct_collection_span, stream="inbound", as_of=as_of).filter(
        pl.col("platform") == ALL, pl.col("covered_from").is_not_null()
    )
    asked = last_days.select("account_id", "last_day").filter(pl.col("last_day") < end).unique()
    # An account without a missing day needs no arithmetic: that is nearly all of them.
    windows = asked.join(holes.select("account_id").unique(), on="account_id", how="semi").with_columns(
        pl.lit(ALL).alias("platform"),
        as_date(pl.col("last_day") + 1).alias("from_date"),
        pl.lit(end).pipe(as_date).alias("to_date"),
    )
    judged = coverage_share(collected(windows), fct_collection_span, stream="inbound", as_of=as_of)
    patchy = judged.filter(pl.col("coverage_share") < MINIMUM_COVERAGE).select("account_id", "last_day")
    never = asked.join(born, on="account_id", how="anti").select("account_id", "last_day")
    return pl.concat([patchy, never]).unique()
