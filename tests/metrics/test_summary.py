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


def test_stickiness_of_a_month_is_known_when_its_last_week_has_ended() -> None:
    growth = pl.concat(
        [
            empty(TABLES["mart_growth_month"]),
            pl.DataFrame(
                {
                    "account_id": "a",
                    "platform": "all",
                    "month": [date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1)],
                    "active": [5, 6, 7],
                    "stickiness": [0.25, 0.5, 0.75],
                }
            ),
        ],
        how="diagonal",
    ).lazy()
    others = (empty(TABLES[name]).lazy() for name in ("mart_cadence", "mart_value", "mart_retention_cohort"))
    cadence, worth, cohort = others
    for as_of, active, stickiness in (
        (date(2024, 3, 30), 5, 0.25),  # the last Monday of February is the 26th
        (date(2024, 4, 29), 6, 0.5),
        (date(2024, 4, 30), 7, None),  # the week of Monday 29 April ends on 5 May
        (date(2024, 5, 4), 7, None),
        (date(2024, 5, 5), 7, 0.75),
    ):
        found = summary.measures(cadence, worth, growth, cohort, as_of=as_of).collect()
        values = dict(found.select("metric", "value").iter_rows())
        assert (values["active"], values["stickiness"]) == (active, stickiness), as_of
