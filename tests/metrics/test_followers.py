"""Followers by day: the number, the log, and null where neither is known."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from assets.metrics.followers import followers
from quality.catalog import core
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from tests.metrics.community import at, fold, identities, span, spans, table

DAY = timedelta(days=1)
START = date(2024, 1, 1)
AS_OF = START + 9 * DAY
NO_INTERACTION = {"inbound": 0, "inbound_active": 0, "inbound_composed": 0, "value": 0.0, "strength": 0.0}


def follows(*rows: tuple[str, int, str], platform: str = "blog") -> list[dict[str, Any]]:
    """Rows of the fold: who, on which day, and `followed`, `followed_untimed` or `unfollowed`."""
    return [
        NO_INTERACTION | {"identity_id": who, "date": START + day * DAY, "platform": platform, what: 1}
        for who, day, what in rows
    ]


def counters(*rows: tuple[int, int], platform: str = "blog", counter: str = "followers") -> pl.LazyFrame:
    """fct_counter of the profile: day and value, as seen at noon."""
    return table(
        core.fct_counter,
        [
            {
                "account_id": "a", "platform": platform, "subject": "profile", "subject_id": platform,
                "counter": counter, "value": value, "observed_at": at(START + day * DAY),
            }
            for day, value in rows
        ],
    )  # fmt: skip


ALWAYS = spans(span(START - 90 * DAY, AS_OF))


def mart(
    log: list[dict[str, Any]], numbers: pl.LazyFrame, ledger: pl.LazyFrame = ALWAYS, *, bots: tuple[str, ...] = ()
) -> list[tuple[Any, ...]]:
    """Rows of the mart: day, followers, followed, unfollowed."""
    frame = followers(fold(log), identities("pqr", bots=bots), numbers, ledger, as_of=AS_OF)
    found = enforce(TABLES["mart_followers"], frame)
    return [((day - START).days, *rest) for _, _, day, *rest in found.iter_rows()]


def test_the_number_is_the_newest_and_the_log_is_of_its_day() -> None:
    log = follows(("p", 2, "followed"), ("q", 2, "followed"), ("p", 5, "unfollowed"))
    rows = mart(log, counters((3, 10), (3, 8), (7, 9)))
    assert rows == [
        (2, None, 2, 0), (3, 10, 0, 0), (4, 10, 0, 0), (5, 10, 0, 1), (6, 10, 0, 0), (7, 9, 0, 0), (8, 9, 0, 0),
        (9, 9, 0, 0),
    ]  # fmt: skip


def test_a_platform_that_shows_only_the_number_has_no_log() -> None:
    assert mart([], counters((8, 5))) == [(8, 5, None, None), (9, 5, None, None)]


def test_a_list_without_times_makes_days_without_follows_zero() -> None:
    assert mart(follows(("p", 8, "followed_untimed")), counters()) == [(8, None, 0, 0), (9, None, 0, 0)]


def test_days_not_collected_are_unknown() -> None:
    ledger = spans(span(START, START + 6 * DAY), span(START + 8 * DAY, AS_OF))
    log = follows(("p", 6, "followed"), ("q", 7, "followed"))
    assert mart(log, counters(), ledger) == [(6, None, 1, 0), (7, None, None, None), (8, None, 0, 0), (9, None, 0, 0)]
    not_offered = spans(span(START, START, status="not_offered"))
    assert mart(log, counters((9, 3)), not_offered)[-1] == (9, 3, None, None)


def test_other_counters_other_interactions_bots_and_later_days_have_no_rows() -> None:
    visit = {"identity_id": "p", "date": START}
    later = follows(("p", 10, "followed"))
    bot = follows(("r", 1, "followed"))
    assert mart([visit, *later, *bot], counters((2, 7), counter="statuses"), bots=("r",)) == []
    assert mart([], counters((10, 7))) == []
