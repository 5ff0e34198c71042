"""Opportunities, response times and the listening marts: by hand, null where nothing is known, and what must always hold."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.metrics import listening
from assets.metrics.availability import answering
from assets.metrics.availability import listening as mart_listening
from assets.metrics.relationship import relationship
from quality.catalog import core, folds
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES
from tests.metrics.community import fold, identities, posts, profiles, span, spans, table

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AS_OF = date(2024, 6, 30)
END = datetime(2024, 7, 1, tzinfo=UTC)
IN, OUT = "inbound", "outbound"


def written(*rows: tuple[str, float], person: str = "p", platform: str = "x", **more: Any) -> list[dict[str, Any]]:
    """What was written, as rows of the fold: direction and hours after `START`."""
    return [
        {
            "account_id": "a", "platform": platform, "identity_id": person, "person_id": person, "direction": direction,
            "active_at": START + hours * HOUR, "messages": 1,
        } | more
        for direction, hours in rows
    ]  # fmt: skip


def found(*rows: tuple[str, float], as_of: date = AS_OF) -> list[tuple[float, float | None, int]]:
    """Opportunities of one pair: hours of opening and of the answer, and messages."""
    result = listening.opportunities(pl.DataFrame(written(*rows)), as_of=as_of)
    return [
        ((opened - START) / HOUR, answered and (answered - START) / HOUR, messages)
        for opened, answered, messages in result.select("opened_at", "answered_at", "inbound_composed").iter_rows()
    ]


def test_a_message_opens_and_the_first_answer_after_it_closes() -> None:
    assert found((IN, 0), (OUT, 5), (OUT, 6)) == [(0, 5, 1)]


def test_later_messages_belong_to_the_open_one() -> None:
    assert found((IN, 0), (IN, 2), (IN, 50), (OUT, 60)) == [(0, 60, 3)]


def test_a_message_within_24_hours_of_the_last_exchange_opens_nothing() -> None:
    assert found((IN, 0), (OUT, 1), (IN, 24.9)) == [(0, 1, 1)]
    assert found((IN, 0), (OUT, 1), (IN, 25)) == [(0, 1, 1), (25, None, 1)]
    assert found((OUT, 0), (IN, 23)) == [], "it may be the answer to what the account wrote"
    assert found((OUT, 0), (IN, 23), (IN, 47)) == [(47, None, 1)]


def test_it_stays_open_for_at_most_14_days() -> None:
    assert found((IN, 0), (OUT, 336)) == [(0, 336, 1)]
    assert found((IN, 0), (OUT, 336.1)) == [(0, None, 1)]
    assert found((IN, 0), (IN, 336), (IN, 361)) == [(0, None, 2), (361, None, 1)]
    assert found((IN, 0), (IN, 100), (IN, 400), (OUT, 401)) == [(0, None, 2), (400, 401, 1)]


def test_a_flood_of_messages_opens_no_second_one_without_a_day_of_quiet() -> None:
    hours = [(IN, 12 * i) for i in range(60)]  # a month of two a day, never answered
    assert found(*hours) == [(0, None, 29)]


def test_an_answer_at_the_same_moment_is_one() -> None:
    assert found((OUT, 0), (IN, 0)) == [(0, 0, 1)]


def test_what_comes_after_as_of_is_not_known() -> None:
    assert found((IN, 0), (OUT, 30), as_of=START.date()) == [(0, None, 1)]


def test_pairs_are_apart() -> None:
    rows = written((IN, 0)) + written((OUT, 1), person="q") + written((OUT, 1), platform="y")
    result = listening.opportunities(pl.LazyFrame(rows), as_of=AS_OF).collect()
    assert result.select("person_id", "platform", "answered_at").rows() == [("p", "x", None)]


def test_response_times_of_the_documentation() -> None:
    minutes = (5, 10, 12, 30, 45, 60, 90, 240, None, None, None)
    opened = END - timedelta(minutes=1440)
    asked = pl.DataFrame(
        {"opened_at": [opened] * 11, "answered_at": [m and opened + timedelta(minutes=m) for m in minutes]}
    )
    row = listening.response_times(asked, as_of=AS_OF).row(0, named=True)
    assert (row["response_time_median_seconds"], row["opportunities"]) == (60 * 60, 11)
    assert row["response_time_median_seconds_note"] is None
    assert (row["response_time_p90_seconds"], row["response_time_p90_seconds_note"]) == (None, "> 14 d")


_exchange = st.lists(
    st.tuples(st.sampled_from([IN, OUT]), st.integers(0, 60 * 24), st.sampled_from(["p", "q"])), max_size=40
)


def naive(rows: list[tuple[str, float]]) -> list[tuple[float, float | None, int]]:
    """The definition, one message after the other."""
    result: list[list[Any]] = []
    is_open, last = False, None
    for direction, hour in sorted(rows, key=lambda row: (row[1], row[0])):
        if is_open and hour - result[-1][0] > 14 * 24:
            is_open = False
        if direction == OUT:
            if is_open:
                result[-1][1], is_open = hour, False
        elif is_open:
            result[-1][2] += 1
        elif last is None or hour - last >= 24:
            result.append([hour, None, 1])
            is_open = True
        last = hour
    return [tuple(row) for row in result]


@given(rows=_exchange, seed=st.randoms(), shift=st.integers(0, 100))
def test_it_is_the_definition_whatever_the_order_of_rows_and_the_date(rows, seed, shift) -> None:
    expected = {who: naive([(d, h) for d, h, person in rows if person == who]) for who in "pq"}
    frame = [row for d, h, person in rows for row in written((d, h + shift * 24), person=person)]
    seed.shuffle(frame)
    schema = {"account_id": pl.String, "person_id": pl.String, "platform": pl.String, "direction": pl.String,
              "active_at": pl.Datetime("us", "UTC"), "messages": pl.Int64}  # fmt: skip
    result = listening.opportunities(pl.DataFrame(frame, schema=schema), as_of=AS_OF)
    moved = START + shift * DAY
    for who, rows_of in expected.items():
        got = result.filter(person_id=who).select("opened_at", "answered_at", "inbound_composed").rows()
        assert [((o - moved) / HOUR, a and (a - moved) / HOUR, n) for o, a, n in got] == rows_of


@given(rows=_exchange, days=st.integers(-1, 60))
def test_as_they_were_known_on_an_earlier_day_is_as_found_on_it(rows, days) -> None:
    frame = [row for d, h, person in rows for row in written((d, h), person=person)]
    schema = {"account_id": pl.String, "person_id": pl.String, "platform": pl.String, "direction": pl.String,
              "active_at": pl.Datetime("us", "UTC"), "messages": pl.Int64}  # fmt: skip
    exchange, then = pl.DataFrame(frame, schema=schema), (START + days * DAY).date()
    later = listening.as_known(listening.opportunities(exchange, as_of=AS_OF), as_of=then)
    assert_frame_equal(later, listening.opportunities(exchange, as_of=then).drop("inbound_composed"))


BOTH = [
    span(date(2023, 1, 1), AS_OF, platform="x", stream=stream) for stream in ("inbound", "outbound", "posts")
]  # fmt: skip
BLOG = [
    span(date(2023, 1, 1), AS_OF, platform="y", stream="inbound"),
    span(date(2023, 1, 1), date(2023, 1, 1), platform="y", stream="outbound", status="not_offered"),
]
ACCOUNTS = table(
    core.dim_account,
    [{"account_id": "a", "name": "a", "timezone": "Europe/Berlin", "promise_days": 7.0, "is_own": True}],
)


def marts(
    rows: list[dict[str, Any]], covered: list[dict[str, Any]], *, people: Any = ("p", "q", "r"), dim_post: Any = None,
    bots: Any = (), as_of: date = AS_OF,
) -> tuple[dict[str, dict[str, Any]], pl.DataFrame]:  # fmt: skip
    """mart_listening by platform, and mart_waiting."""
    exchange = table(folds.fold_response, rows)
    who, ledger = identities(people, bots=bots), spans(*covered)
    own = posts(date(2024, 1, 1), platform="x") if dim_post is None else dim_post
    year = enforce(TABLES["mart_listening"], mart_listening(exchange, who, own, ACCOUNTS, ledger, as_of=as_of))
    alone = answering(exchange, who, ACCOUNTS, ledger, as_of=as_of).collect()
    assert_frame_equal(alone, year.select(alone.columns), check_row_order=False)
    open_ones = enforce(TABLES["mart_waiting"], listening.waiting(exchange, who, ledger, as_of=as_of))
    return {row["platform"]: row for row in year.iter_rows(named=True)}, open_ones


def test_mart_listening_by_hand() -> None:
    last = (END - START) / HOUR
    rows = [
        *written((IN, 0), (OUT, 2)),  # answered after 2 h
        *written((IN, 0), (OUT, 48), person="q"),  # after 2 days
        *written((IN, 500), person="q"),  # never
        *written((IN, last - 30), (IN, last - 29), person="r"),  # waiting for 30 h
        *written((IN, last - 5), person="p"),  # waiting for 5 h
    ]
    by_platform, waiting = marts(rows, BOTH)
    assert set(by_platform) == {"x", "all"}
    x = by_platform["x"]
    assert by_platform["all"] | {"platform": "x"} == x
    assert x["opportunities"] == 5
    assert (x["response_rate_24h"], x["response_rate_24h_n"]) == (0.25, 4)
    assert (x["response_rate_7d"], x["response_rate_7d_n"]) == (pytest.approx(2 / 3), 3)
    assert x["response_rate_24h_low"] < 0.25 < x["response_rate_24h_high"]
    # At risk 5 at 2 h and 2 at 48 h: survival .8, then .8 * 1/2 = .4.
    assert (x["response_time_median_seconds"], x["response_time_median_seconds_note"]) == (48 * 3600, None)
    assert (x["response_time_p90_seconds"], x["response_time_p90_seconds_note"]) == (None, "> 14 d")
    # Open local days (Berlin): 1 to 3 January, 15 in the second half of it, and 3: 29 and 30 June, and 1 July.
    assert x["availability_days_share_n"] == 3 + 15 + 3
    assert x["availability_days_share"] == pytest.approx(2 / 21)
    assert (x["listening_share"], x["listening_share_n"]) == (pytest.approx(2 / 3), 3)
    assert waiting.select("person_id", "platform", "waited_days", "inbound_composed").rows() == [
        ("p", "x", pytest.approx(5 / 24), 1), ("r", "x", pytest.approx(30 / 24), 2),
    ]  # fmt: skip
    # In 180 days: day 0 to 1 is out of reach (Jan 1 is 181 days before), so only q's answer, and what nobody answered.
    assert (x["reciprocity"], x["reciprocity_n"]) == (pytest.approx(2 / 2 * 1 / 4), 3)
    assert x["coverage_share"] == 1
    assert {v for k, v in x.items() if k.endswith("_note")} <= {None, "> 14 d"}


def test_listening_is_steady_by_the_promise() -> None:
    rows = written(*((OUT, 7 * 24 * week) for week in range(26)))
    x = marts(rows, BOTH)[0]["x"]
    assert (x["listening_steadiness"], x["listening_steadiness_note"]) == (1, None)
    assert (x["opportunities"], x["response_rate_24h"]) == (0, None)
    assert x["response_rate_24h_note"] == "no opportunity is 24 h old"
    assert x["reciprocity_note"] == "nobody wrote in 180 days"
    rows = written(*((OUT, 14 * 24 * k + h) for k in range(13) for h in (0, 1, 2)))
    assert marts(rows, BOTH)[0]["x"]["listening_steadiness"] == pytest.approx(0.75, abs=0.01), "days count, not rows"


def test_where_outbound_is_not_offered_nothing_is_known_and_nobody_waits() -> None:
    last = (END - START) / HOUR
    rows = written((IN, last - 30), platform="y")
    by_platform, waiting = marts(rows, BLOG)
    assert waiting.is_empty()
    for row in by_platform.values():
        notes = {k: v for k, v in row.items() if k.endswith("_note")}
        assert set(notes.values()) == {"outbound not offered"}
        assert {v for k, v in row.items() if k not in (*notes, "as_of", "account_id", "platform")} == {None}
    assert set(by_platform) == {"y", "all"}
    beside, waiting = marts(rows + written((IN, last - 30), (OUT, last - 20)), BOTH + BLOG)
    assert waiting.is_empty()
    assert (beside["all"]["opportunities"], beside["all"]["response_rate_24h"]) == (1, 1)
    assert beside["y"]["opportunities"] is None


def test_inbound_that_is_not_offered_leaves_what_was_written() -> None:
    covered = [s for s in BOTH if s["stream"] != "inbound"]
    x = marts(written(*((OUT, 24 * day) for day in range(100))), covered)[0]["x"]
    assert x["response_rate_24h_note"] == x["reciprocity_note"] == "inbound not offered"
    assert x["listening_share"] == pytest.approx(100 / 101)
    assert x["listening_steadiness"] is not None


@pytest.mark.parametrize("stream", ["inbound", "outbound"])
def test_a_window_not_collected_is_unknown(stream: str) -> None:
    patchy = [
        s | {"to_date": date(2024, 5, 20)} if s["stream"] == stream else s for s in BOTH
    ]  # 41 of 364 days are missing
    rows = written((IN, 0), (OUT, 2), (IN, (END - START) / HOUR - 30))
    by_platform, waiting = marts(rows, patchy)
    x = by_platform["x"]
    assert (x["opportunities"], x["response_rate_24h"], x["response_time_median_seconds"]) == (None, None, None)
    assert x["response_rate_7d_note"] == x["reciprocity_note"] == f"less than 0.9 of {stream} was collected"
    assert (x["listening_share"] is None) == (stream == "outbound")
    assert waiting.height == (1 if stream == "inbound" else 0), "the answer may be there, unread"


def test_the_window_is_the_last_364_days_since_birth() -> None:
    young = [s | {"from_date": date(2024, 3, 1)} for s in BOTH]
    rows = written((IN, 0), (OUT, 1)) + written((IN, 24 * 100), person="q")
    assert marts(rows, BOTH)[0]["x"]["opportunities"] == 2
    assert marts(rows, young)[0]["x"]["opportunities"] == 1
    assert marts(rows, BOTH, as_of=date(2025, 1, 15))[0]["x"]["opportunities"] is None, "not collected since"
    longer = [s | {"to_date": date(2025, 1, 15)} for s in BOTH]
    assert marts(rows, longer, as_of=date(2025, 1, 15))[0]["x"]["opportunities"] == 1


def test_bots_are_out_and_identities_of_a_person_are_one() -> None:
    rows = written((IN, 0), (OUT, 2)) + written((IN, 3), person="p2") + written((IN, 0), person="bot")
    x = marts(rows, BOTH, people={"p": "p", "p2": "p", "bot": "bot"}, bots=("bot",))[0]["x"]
    assert x["opportunities"] == 1, "the second identity wrote within 24 h of the exchange with the first"


def test_reciprocity_of_all_platforms_is_that_of_the_relationships() -> None:
    noon = [START + timedelta(days=d, hours=12) for d in (60, 70, 80, 90)]
    exchanged = [
        ("p", "x", IN, 0), ("p", "x", IN, 1), ("p", "y", IN, 2), ("p", "x", OUT, 3),
        ("q", "x", IN, 0), ("q", "x", OUT, 1), ("r", "y", IN, 2),
    ]  # fmt: skip
    rows = [written((d, 0), person=who, platform=on, active_at=noon[k])[0] for who, on, d, k in exchanged]
    by_day = fold(
        {"identity_id": who, "platform": on, "date": noon[k].date()}
        | ({} if d == IN else {"inbound": 0, "inbound_active": 0, "inbound_composed": 0, "outbound_composed": 1, "outbound": 1})
        for who, on, d, k in exchanged
    )  # fmt: skip
    ledger = BOTH + BLOG
    ties = relationship(
        by_day, identities("pqr"), posts(START.date()), profiles(), empty(TABLES["mart_spike"]).lazy(),
        empty(TABLES["mart_retention_model"]).lazy(), spans(*ledger), as_of=AS_OF,
    ).collect()  # fmt: skip
    pairs = dict(ties.select("person_id", "reciprocity").iter_rows())
    assert pairs == {"p": 0.5, "q": 1, "r": 0}
    found, _ = marts(rows, ledger)
    assert found["all"]["reciprocity"] == pytest.approx((3 * 0.5 + 1 * 1 + 0) / 5)
    assert found["x"]["reciprocity"] == pytest.approx((2 * (2 / 3) + 1) / 3)


def test_nothing_at_all() -> None:
    by_platform, waiting = marts([], BOTH)
    assert waiting.is_empty()
    assert (by_platform["all"]["opportunities"], by_platform["all"]["listening_share"]) == (0, 0)
    assert by_platform["all"]["response_time_median_seconds_note"] == "no opportunity"
    assert marts([], [])[0] == {}


@given(rows=_exchange, seed=st.randoms())
def test_the_marts_do_not_depend_on_the_order_of_rows(rows, seed) -> None:
    exchange = [row for d, h, person in set(rows) for row in written((d, h), person=person)]
    first = marts(exchange, BOTH)
    seed.shuffle(exchange)
    second = marts(exchange, BOTH)
    assert first[0] == second[0]
    assert_frame_equal(first[1], second[1])
    for name, value in first[0]["x"].items():
        if name.endswith(("_share", "_24h", "_7d", "reciprocity")) and value is not None:
            assert 0 <= value <= 1
