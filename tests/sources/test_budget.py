"""A budget: what may be spent in a day, by all accounts and all nights of the day together."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from assets.history import RawHistory
from sources import budget as budgets
from sources import collection as collecting
from sources.batches import Batch
from sources.budget import SPENDING, Budget, BudgetSpentError, within
from sources.collection import Collection
from sources.model import AccountSource, SourceError
from sources.visit import PausedError, Visit

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


def visit(account: str = "blog", read_at: datetime = NOON) -> Visit:
    return Visit(
        account=AccountSource(account_id=account, source="shop", url="https://shop.example"),
        platform="shop",
        read_at=read_at,
    )


def opened(collection: Collection, read_at: datetime = NOON) -> Budget:
    return budgets.opened(collection, visit(read_at=read_at), name="shop", unit="coins", default=10)


def test_what_is_not_left_is_refused_and_nothing_taken() -> None:
    budget = Budget(where="shop", unit="coins", limit=10)
    assert budget.spend(7) == 7
    with pytest.raises(BudgetSpentError, match=r"The budget of 10 coins is used: shop\. It goes on the next night"):
        budget.spend(4)
    assert budget.left == 3
    assert budget.spend(4, least=2) == 3
    assert budget.left == 0


def test_what_was_not_used_is_given_back() -> None:
    budget = Budget(where="shop", unit="coins", limit=10)
    budget.give_back(budget.spend(8, account_id="blog") - 3, account_id="blog")
    budget.require(7)
    assert (budget.left, budget.recorded("blog"), budget.recorded("blog")) == (7, (3, 3), (0, 3))


def test_the_platform_can_end_it() -> None:
    budget = Budget(where="shop", unit="coins", limit=10)
    assert "sold out" in str(budget.stop("The shop is sold out"))
    assert budget.left == 0
    with pytest.raises(BudgetSpentError, match="sold out"):
        budget.spend(1)


def test_many_at_once_spend_no_more_than_there_is() -> None:
    budget = Budget(where="shop", unit="coins", limit=1_000)

    def spend(_: int) -> int:
        try:
            return budget.spend(3)
        except BudgetSpentError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(2_000))) == 999


def test_accounts_of_a_collection_share_it_and_rapport_toml_sets_it() -> None:
    collection = Collection(budgets={"shop": 4.0})
    assert opened(collection) is opened(collection)
    assert opened(collection).limit == 4
    assert opened(Collection()).limit == 10


def test_what_was_spent_earlier_that_day_is_known() -> None:
    rows = [
        {"account_id": "other", "platform": "shop", "unit": "coins", "amount": 3, "spent_today": 3, "observed_at": NOON},
        {"account_id": "blog", "platform": "shop", "unit": "coins", "amount": 2, "spent_today": 5, "observed_at": NOON - timedelta(hours=6)},
        {"account_id": "blog", "platform": "shop", "unit": "coins", "amount": 90, "spent_today": 90, "observed_at": NOON - timedelta(hours=13)},
        {"account_id": "blog", "platform": "fair", "unit": "coins", "amount": 50, "spent_today": 50, "observed_at": NOON},
    ]  # fmt: skip
    tables = {"spending": SPENDING.arrow(rows, loaded_at=NOON)}
    assert opened(Collection(history=lambda _: tables)).spent == 5
    assert budgets.spent_on(tables, "shop", NOON, day=ZoneInfo("America/Los_Angeles")) == 3  # its day began at 7
    assert budgets.spent_on({}, "shop", NOON) == 0


@pytest.mark.parametrize("ends", [None, SourceError("broken", "here", "wait"), PausedError()])
def test_what_was_spent_is_recorded_however_the_reading_ends(ends: Exception | None) -> None:
    budget = Budget(where="shop", unit="coins", limit=10, spent=4)

    def read() -> Iterator[Batch]:
        budget.spend(2, account_id="blog")
        yield visit().profile(profile="1")
        if ends:
            raise ends

    taken: list[Batch] = []
    try:
        for batch in budgets.accounted(visit(), budget, read()):
            taken.append(batch)  # noqa: PERF402 - what came before the error counts
    except (SourceError, PausedError) as error:
        assert error is ends  # noqa: PT017
    assert taken[-1].table is SPENDING
    assert (taken[-1].rows[0]["amount"], taken[-1].rows[0]["spent_today"]) == (2, 6)


def test_streams_that_a_budget_cut_short_are_partial_and_not_down() -> None:
    reading = visit()
    with within(reading, "inbound"):
        raise BudgetSpentError("used", "shop", "later")
    with within(reading, "posts"):
        raise SourceError("broken", "here", "wait")
    outcomes = reading.outcomes()
    assert (outcomes["inbound"].status, outcomes["posts"].status) == ("partial", "down")


def test_the_history_in_the_warehouse_holds_what_all_accounts_spent(warehouse: Callable[[str], Any]) -> None:
    def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
        budget = budgets.opened(collection, visit, name="shop", unit="coins", default=10)
        budget.spend(4, account_id=visit.account.account_id)
        yield from budgets.accounted(visit, budget, iter([visit.profile(profile="1")]))

    raw = warehouse("shop")
    accounts = [visit(name).account for name in ("blog", "other")]
    raw.load(collecting.source("shop", "shop", read, accounts, read_at=NOON, tables=(*collecting.TABLES, SPENDING)))
    history = RawHistory(str(raw.folder / "warehouse.duckdb"), "shop")
    assert budgets.spent_on(history("blog"), "shop", NOON) == 8
    again = history("nobody")
    assert isinstance(again["lists"], pa.Table)
    assert again["lists"].num_rows == 0
    assert raw.table("spending")["spent_today"].max() == 8
