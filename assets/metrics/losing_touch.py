"""Whom should we write to before it is too late? The ties that are cooling, and those just lost."""

from datetime import date

import narwhals as nw
import polars as pl

from assets.metrics.people import as_date, day_number, last_complete, period_start
from assets.metrics.relationship import lost_after

LOST_WITHIN_DAYS = 28
_KEY = ("account_id", "person_id")


def losing_touch(mart_relationship: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Whom are we losing? `mart_losing_touch`: every cooling tie, and those that became lost in the last 28 days.

    `silent_days` is the number of days since the last active one, `rhythm_days` how often the person comes. A tie is
    lost from the second week's end in a row that finds it silent for max(8 rhythms, 90 days); that week's end is less
    than 28 days before the end of `as_of`. Ties that are ended (unfollow, block) are not listed, since that was a
    decision, nor people who came in the running week, since they are back, whatever the last week's end found.

    `rank` counts from 1 within the account, by `value_365d` x `p_alive` (what is still to be lost), by `value_365d`
    where there is no probability; then by value, the shorter silence, and `person_id`. `reason` says it in a sentence.

    >>> row = {"account_id": "a", "person_id": "p", "tie_state": "cooling", "last_at": date(2024, 5, 16),
    ...        "rhythm_days": 8.4, "value_365d": 12.5, "p_alive": 0.62}
    >>> losing_touch(pl.LazyFrame([row]), as_of=date(2024, 6, 30)).collect()["reason"].item()
    'Silent for 45 days, usually back after about 8; gave 12.5 in the last 365 days, alive with probability 0.62.'
    """
    today, running_week = day_number(as_of), last_complete(as_of, "week") + 1
    last_day = pl.col("last_at").cast(pl.Date).cast(pl.Int64)
    # The second week's end that finds the silence long enough: Sundays are 3, 10, 17, ... days after 1970-01-01.
    found = (last_day + 7 + pl.col("lost_after")).ceil().cast(pl.Int64)
    lost_on = found + (10 - found % 7) % 7
    is_just_lost = (pl.col("tie_state") == "lost") & (today - pl.col("lost_day") < LOST_WITHIN_DAYS)
    # Rounded, so that equal ranks are equal whatever the platform's last bit says.
    at_stake = (pl.col("value_365d") * pl.col("p_alive").fill_null(1.0)).round(9)
    order = {"at_stake": True, "value_365d": True, "silent_days": False, "person_id": False}
    return (
        nw.from_native(mart_relationship)
        .with_columns(lost_after(nw.col("rhythm_days")).alias("lost_after"))
        .to_native()
        .filter(pl.col("tie_state").is_in(["cooling", "lost"]))
        .with_columns((today - last_day).alias("silent_days"), lost_on.alias("lost_day"), at_stake.alias("at_stake"))
        .filter((pl.col("tie_state") == "cooling") | is_just_lost, last_day < period_start(running_week, "week"))
        .sort("account_id", *order, descending=[False, *order.values()])
        .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("account_id").alias("rank"))
        .select(
            *_KEY,
            pl.lit(as_of).alias("as_of"),
            *("rank", "tie_state", "silent_days", "rhythm_days", "value_365d", "p_alive"),
            _reason().alias("reason"),
        )
        .sort("account_id", "rank")
    )


def _reason() -> pl.Expr:
    silence = pl.format(
        "Silent for {} days, usually back after about {}",
        "silent_days",
        pl.col("rhythm_days").round(0).cast(pl.Int64),
    )
    lost = pl.when(pl.col("tie_state") == "lost").then(
        pl.format(": lost since {}", as_date(pl.col("lost_day")).dt.strftime("%Y-%m-%d"))
    )
    given = pl.format("; gave {} in the last 365 days", pl.col("value_365d").round(1))
    alive = pl.format(", alive with probability {}", pl.col("p_alive").round(2))
    return pl.concat_str(silence, lost.fill_null(""), given, alive.fill_null(""), pl.lit("."))
