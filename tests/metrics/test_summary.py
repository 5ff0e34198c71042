"""The summary, and what it may know of an earlier night."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from assets.metrics import concentration, relationship, summary, value
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES
from tests.metrics.community import fold, identities, span, spans, visits

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


def circle(fold: pl.LazyFrame, people: pl.LazyFrame, covered: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    known = concentration.people_as_of(fold, people, as_of=as_of)
    return concentration.concentration(known, covered, as_of=as_of)


def nobody() -> pl.LazyFrame:
    """The concentration of no account at all."""
    return circle(fold([]), identities([]), spans(), as_of=THEN)


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
    circle = nobody()
    for as_of, active, stickiness in (
        (date(2024, 3, 30), 5, 0.25),  # the last Monday of February is the 26th
        (date(2024, 4, 29), 6, 0.5),
        (date(2024, 4, 30), 7, None),  # the week of Monday 29 April ends on 5 May
        (date(2024, 5, 4), 7, None),
        (date(2024, 5, 5), 7, 0.75),
    ):
        found = summary.measures(cadence, listening, worth, growth, cohort, circle, as_of=as_of).collect()
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
    marts.append(nobody())
    measured = summary.measures(*marts, as_of=THEN)
    accounts = pl.LazyFrame({"account_id": ["a", "b"]})
    frame = summary.summary(accounts, empty(TABLES["fct_collection_span"]).lazy(), measured, measured, as_of=THEN)
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
        **dict.fromkeys(
            ("retained_rate", "people_for_half_of_value", "multi_platform_share"),
            "inbound not offered, or known for too short a time",
        ),
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
    others.append(nobody())
    notes = summary.measures(short, *others, as_of=THEN).collect().select("metric", "note")
    assert dict(notes.iter_rows()) == {
        "steadiness": "window under 28 days", "streak_weeks": None, "open_silence_days": None, "kept_weeks_share": None,
    }  # fmt: skip


def test_concentration_now_and_a_quarter_ago() -> None:
    today, year = date(2024, 6, 30), date(2023, 1, 1)
    rows = fold([
        *visits("a", date(2024, 6, 1), value=5.0), *visits("b", date(2024, 2, 1), value=3.0),
        *visits("c", date(2024, 2, 2), value=2.0), *visits("d", date(2024, 6, 2), value=1.0, platform="toots"),
        *visits("b", date(2024, 6, 3), value=0.0, platform="toots"), *visits("old", date(2023, 6, 30), value=50.0),
        *visits("follower", date(2024, 6, 3), inbound_active=0, value=0.0, platform="toots"),
    ])  # fmt: skip
    covered = spans(span(year, today), span(year, today, platform="toots"))
    people = identities(["a", "b", "c", "d", "old", "follower"])

    def told(day: date) -> list[tuple[Any, ...]]:
        names = ("mart_cadence", "mart_listening", "mart_value", "mart_growth_month", "mart_retention_cohort")
        inputs = [empty(TABLES[name]).lazy() for name in names]
        inputs.append(circle(rows, people, covered, as_of=day))
        found = summary.measures(*inputs, as_of=day).collect()
        return found.select("metric", "value", "n", "note").rows()

    # Of 11 points a gave 5 and b 3: two people for half. b came by two platforms, of the five who came.
    assert told(today) == [("people_for_half_of_value", 2, 4, None), ("multi_platform_share", 0.2, 5, None)]
    nothing = [empty(TABLES[name]).lazy() for name in ("dim_post", "dim_profile", "mart_spike", "mart_retention_model")]
    ties = relationship.relationship(rows, people, *nothing, covered, as_of=today)
    of_ties = concentration.concentration(ties, covered, as_of=today)
    assert_frame_equal(of_ties.collect(), circle(rows, people, covered, as_of=today).collect())
    # A quarter ago: of 55 points, old gave 50. Nobody came by two platforms.
    assert told(today - summary.QUARTER) == [
        ("people_for_half_of_value", 1, 3, None), ("multi_platform_share", 0.0, 3, None),
    ]  # fmt: skip


def test_concentration_is_null_where_it_says_nothing() -> None:
    today = date(2024, 6, 30)

    def notes(rows: list[dict[str, Any]], *covered: dict[str, Any]) -> list[str | None]:
        found = circle(fold(rows), identities("a"), spans(*covered), as_of=today).collect()
        assert found.select("people_for_half_of_value", "multi_platform_share").rows() == [(None, None)]
        (row,) = found.rows(named=True)
        return [row["people_for_half_of_value_note"], row["multi_platform_share_note"]]

    two = span(date(2023, 1, 1), today), span(date(2023, 1, 1), today, platform="toots")
    assert notes([], *two) == ["nobody gave anything in the last 365 days", "nobody came"]
    short = span(date(2023, 1, 1), date(2024, 1, 1))
    assert notes(visits("a", date(2023, 12, 1)), short) == [
        "less than 90 % of the last 365 days was collected", "only one platform offers inbound",
    ]  # fmt: skip


def test_each_measure_says_how_much_of_its_stream_was_collected() -> None:
    start = THEN - timedelta(days=363)
    half, quarter = start + timedelta(days=182), start + timedelta(days=91)
    day = timedelta(days=1)
    known = spans(
        span(start, THEN, stream="posts"),
        span(start, half - day),
        span(half, THEN, status="down"),
        span(start, quarter - day, stream="outbound"),
        span(quarter, THEN, stream="outbound", status="down"),
    )
    marts = ("mart_cadence", "mart_listening", "mart_value", "mart_growth_month", "mart_retention_cohort")
    measured = summary.measures(*(empty(TABLES[name]).lazy() for name in marts), nobody(), as_of=THEN)
    accounts = pl.LazyFrame({"account_id": ["a", "b"]})
    found = enforce(TABLES["mart_summary"], summary.summary(accounts, known, measured, measured, as_of=THEN))
    shares = dict(found.filter(account_id="a").select("metric", "coverage_share").iter_rows())
    assert shares["steadiness"] == shares["promotional_share_28d"] == 1
    assert shares["value_per_post"] == shares["active"] == shares["multi_platform_share"] == 0.5
    assert shares["response_rate_24h"] == shares["availability_days_share"] == 0.25
    assert found.filter(account_id="b")["coverage_share"].null_count() == len(summary.MEASURES)
