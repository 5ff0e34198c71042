"""What a connector may spend in a day and what it has spent: units of a quota, or what is billed.

The amounts are rows of a raw table, `spending`, beside what they bought, so a night that runs twice on a
day shares one budget. The accounts of a connector share it too, since they usually share the key.
A spent budget is no failure: what was read is kept, and the next night goes on with what was not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from sources.batches import Batch
from sources.collection import Collection
from sources.model import ACCOUNT_ID, KEY, LOADED_AT, RawColumn, RawTable, SourceError
from sources.visit import Visit

SPENDING = RawTable(
    name="spending",
    doc="What a reading has spent of the connector's budget.",
    columns=(
        ACCOUNT_ID,
        RawColumn(name="platform", doc="The platform.", nullable=False),
        RawColumn(name="unit", doc="What is counted.", nullable=False),
        RawColumn(
            name="amount", doc="How much this reading of this account has spent.", dtype="bigint", nullable=False
        ),
        RawColumn(
            name="spent_today",
            doc="How much all readings of all accounts had spent that day, this one included.",
            dtype="bigint",
            nullable=False,
        ),
        RawColumn(name="observed_at", doc="When it was read.", dtype="timestamp", nullable=False),
        KEY,
        LOADED_AT,
    ),
)
_OPENING = Lock()


SPENT = "The budget of"
"""How a message begins that says only that the budget is used: nothing went wrong."""


class BudgetSpentError(SourceError):
    """Nothing more may be spent today."""


@dataclass
class Budget:
    """What may still be spent today. Thread-safe: the accounts of a connector are read side by side.

    `limit` and `spent` are in `unit`. `where` names the connector in messages.
    """

    where: str
    unit: str
    limit: int
    spent: int = 0
    is_refused: bool = False
    _stopped: str | None = None
    _by_account: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def left(self) -> int:
        """How much may still be spent."""
        return 0 if self._stopped else max(self.limit - self.spent, 0)

    def spend(self, amount: int, *, account_id: str = "", least: int | None = None) -> int:
        """Take `amount`, or what is left of it where that is at least `least`; give what was taken.

        Raises `BudgetSpentError` where it is not, and takes nothing.
        """
        with self._lock:
            taken = min(amount, self.left)
            if self._stopped or taken < (amount if least is None else least):
                self.is_refused = True
                raise self._refusal()
            self.spent += taken
            self._by_account[account_id] = self._by_account.get(account_id, 0) + taken
            return taken

    def give_back(self, amount: int, *, account_id: str = "") -> None:
        """What was taken and then not used."""
        with self._lock:
            self.spent -= amount
            self._by_account[account_id] = self._by_account.get(account_id, 0) - amount

    def require(self, amount: int, *, account_id: str = "") -> None:
        """See that `amount` is left, before something is begun that would be of no use cut short."""
        self.give_back(self.spend(amount, account_id=account_id), account_id=account_id)

    def stop(self, reason: str) -> BudgetSpentError:
        """The platform itself says that nothing more may be spent: an error to raise, now and at every further `spend`."""
        with self._lock:
            self._stopped, self.is_refused = reason, True
            return self._refusal()

    def recorded(self, account_id: str) -> tuple[int, int]:
        """What the account has spent since this was last asked, and what all have spent today."""
        with self._lock:
            return self._by_account.pop(account_id, 0), self.spent

    def _refusal(self) -> BudgetSpentError:
        what = self._stopped or f"{SPENT} {self.limit:,} {self.unit} is used"
        return BudgetSpentError(what, self.where, "It goes on the next night; [budgets] in rapport.toml sets how much.")


def opened(collection: Collection, visit: Visit, *, name: str, unit: str, default: int, day: tzinfo = UTC) -> Budget:
    """The budget that all accounts of the connector `name` share in this collection.

    What was spent earlier on the same day is known from the history; `day` is the time zone in which
    the platform's day begins.
    """
    with _OPENING:
        budget = collection.shared.get(f"budget:{name}")
        if not isinstance(budget, Budget):
            spent = spent_on(collection.history(visit.account.account_id), visit.platform, visit.read_at, day=day)
            limit = int(collection.budgets.get(name, default))
            budget = Budget(where=name, unit=unit, limit=limit, spent=spent)
            collection.shared[f"budget:{name}"] = budget
        return budget


def spent_on(tables: Mapping[str, pa.Table], platform: str, read_at: datetime, *, day: tzinfo = UTC) -> int:
    """What was spent on the platform on the day of `read_at`, by the raw `tables`, which hold that of all accounts."""
    table = tables.get(SPENDING.name)
    if table is None:
        return 0
    # All accounts of all nights: only those of these days are worth a Python object each.
    near = table.filter(pc.field("observed_at") >= read_at - timedelta(days=2))
    today = read_at.astimezone(day).date()
    return sum(
        row["amount"]
        for row in near.to_pylist()
        if row["platform"] == platform and row["observed_at"].astimezone(day).date() == today
    )


def accounted(visit: Visit, budget: Budget, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, and what they have cost, also where they end in an error or a pause."""
    try:
        yield from batches
    except Exception:
        yield from _spending(visit, budget)
        raise
    yield from _spending(visit, budget)


def _spending(visit: Visit, budget: Budget) -> Iterator[Batch]:
    amount, today = budget.recorded(visit.account.account_id)
    if amount:
        said = {"unit": budget.unit, "amount": amount, "spent_today": today, "observed_at": visit.read_at}
        yield Batch(SPENDING, [visit.row(**said)])


@contextmanager
def within(visit: Visit, *streams: str) -> Iterator[None]:
    """As `visit.stream`, but streams that the budget cut short are partial and not down: the platform is well."""
    with visit.stream(*streams):
        try:
            yield
        except BudgetSpentError:
            for name in streams:
                visit.succeeded(name)
            raise
