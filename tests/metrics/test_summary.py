"""The summary, and what it may know of an earlier night."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from assets.metrics import summary, value
from quality.catalog.model import empty, enforce
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
    names = ("mart_cadence", "mart_listening", "mart_value", "mart_retention_cohort")
    cadence, listening, worth, cohort = (empty(TABLES[name]).lazy() for name in names)
    for as_of, active, stickiness in (
        (date(2024, 3, 30), 5, 0.25),  # the last Monday of February is the 26th
        (date(2024, 4, 29), 6, 0.5),
        (date(2024, 4, 30), 7, None),  # the week of Monday 29 April ends on 5 May
        (date(2024, 5, 4), 7, None),
        (date(2024, 5, 5), 7, 0.75),
    ):
        found = summary.measures(cadence, listening, worth, growth, cohort, as_of=as_of).collect()
        values = dict(found.select("metric", "value").iter_rows())
        assert (values["active"], values["stickiness"]) == (active, stickiness), as_of


def test_a_null_number_says_why() -> None:
    key = {"account_id": "a", "platform": "all"}
    rows: dict[str, dict[str, Any] | None] = {
        "mart_cadence": {"steadiness_note": "less than 0.9 of the window was collected"},
        "mart_listening": {
            "response_rate_24h_note": "no opportunity is 24 h old", "response_time_median_seconds_note": "> 14 d",
            "availability_days_share": 0.5, "availability_days_share_n": 2,
        },
        "mart_value": {"value_per_post_note": "pending"},
        "mart_growth_month": {"month": date(2024, 3, 1), "active": 0, "dormant": 0, "net_retention_n": 0},
        "mart_retention_cohort": None,
    }  # fmt: skip
    marts = [
        pl.concat([empty(TABLES[name]), pl.DataFrame([key | row] if row else [])], how="diagonal").lazy()
        for name, row in rows.items()
    ]
    measured = summary.measures(*marts, as_of=THEN)
    accounts = pl.LazyFrame({"account_id": ["a", "b"]})
    frame = summary.summary(accounts, measured, measured, as_of=THEN)
    found = enforce(TABLES["mart_summary"], frame)
    notes = dict(found.filter(account_id="a").select("metric", "note").iter_rows())
    no_year = "no ties of a year earlier to compare with, or less than 90 % of either time was collected"
    collected = "less than 0.9 of the window was collected"
    assert notes == {
        **dict.fromkeys(("steadiness", "kept_weeks_share", "streak_weeks", "open_silence_days"), collected),
        "response_rate_24h": "no opportunity is 24 h old",
        "response_time_median_seconds": "> 14 d",
        "availability_days_share": None,
        **dict.fromkeys(("value_per_post", "people_per_post"), "pending"),
        "promotional_share_28d": "no post of the last 28 days that could be judged",
        "active": None,
        "quick_ratio": "nobody became dormant",
        "stickiness": "nobody was active, or a week of the month is not over or was not collected",
        **dict.fromkeys(("net_retention", "gross_retention"), no_year),
        "retained_rate": "inbound not offered, or known for too short a time",
    }
    absent = set(found.filter(account_id="b").select("question", "note").iter_rows())
    assert absent == {
        ("consistency", "posts not offered"), ("consistency", "neither inbound nor outbound offered"), ("value", "no posts"),
        ("relationships", "inbound not offered, or known for too short a time"),
    }  # fmt: skip


def test_a_note_of_steadiness_is_no_note_of_what_is_known_beside_it() -> None:
    row = {
        "account_id": "a", "platform": "all", "steadiness_note": "window under 28 days", "streak_weeks": 2,
        "open_silence_days": 1.0, "kept_weeks_share": 0.5,
    }  # fmt: skip
    short = pl.concat([empty(TABLES["mart_cadence"]), pl.DataFrame([row])], how="diagonal").lazy()
    others = [
        empty(TABLES[name]).lazy()
        for name in ("mart_listening", "mart_value", "mart_growth_month", "mart_retention_cohort")
    ]
    notes = summary.measures(short, *others, as_of=THEN).collect().select("metric", "note")
    assert dict(notes.iter_rows()) == {
        "steadiness": "window under 28 days", "streak_weeks": None, "open_silence_days": None, "kept_weeks_share": None,
    }  # fmt: skip
