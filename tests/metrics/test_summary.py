"""The summary, and what it may know of an earlier night."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from assets.metrics import summary, value
from quality.catalog.model import empty
from quality.catalog.tables import TABLES

THEN = date(2024, 3, 31)
END = datetime(2024, 4, 1, tzinfo=UTC)


def posts(*ages: timedelta) -> pl.LazyFrame:
    """mart_post_value of a later night, in which all these posts are judged; ages at the end of `THEN`."""
    rows = {
        "post_id": [str(i) for i in range(len(ages))],
        "published_at": [END - age for age in ages],
        "interactions_7d": range(1, len(ages) + 1),
    }
    entry = TABLES["mart_post_value"]
    frame = pl.DataFrame(rows, schema_overrides={"published_at": entry.column("published_at").dtype.polars})
    constant = {"account_id": pl.lit("a"), "platform": pl.lit("feed"), "is_pending": pl.lit(value=False)}
    numbers = pl.col("interactions_7d").cast(pl.Int64)
    frame = frame.with_columns(numbers, people_7d=numbers, value_7d=numbers.cast(pl.Float64), **constant)
    return pl.concat([empty(entry), frame], how="diagonal").lazy()


def test_a_quarter_ago_knows_no_post_that_was_younger_than_seven_days_then() -> None:
    week, day = timedelta(days=7), timedelta(days=1)
    known = summary.as_known(posts(2 * week, week, week - timedelta(microseconds=1), day, -day), as_of=THEN)
    assert known.collect()["is_pending"].to_list() == [False, False, True, True]
    then = value.value(known, as_of=THEN).collect()
    assert then.select("platform", "posts", "value_per_post").rows() == [("all", 2, 1.5), ("feed", 2, 1.5)]
