"""A night's collection of one platform: many accounts, a few hosts at a time, one broken one stops no other.

A connector gives `read(visit, collection)`, a generator of batches for one account; `source` makes the
dlt source of it. Accounts of different hosts are read side by side. A long collection is cut into
slices: each slice is loaded before the next one starts, so a stop loses at most the running slice.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from dlt.extract.source import DltSource

from sources.batches import Batch, batch_source
from sources.http import DEFAULT_LIMITS, Client, Limits
from sources.memory import History, Memory, no_history
from sources.model import READINGS, STREAMS, AccountSource, Outcome, RawTable, Row, readings
from sources.observations import TABLES
from sources.visit import PausedError, Visit

WORKERS = 8
"""Accounts read at once; how many requests go to one host at once is the client's business."""

SAY_EVERY = 10.0
"""Seconds between two lines of progress."""

Reader = Callable[[Visit, "Collection"], Iterator[Batch]]


@dataclass
class Collection:
    """What a connector may use: what is known, how patient to be, whom to tell, what may be spent.

    `history(account_id)` gives the raw rows so far. `slice_seconds` is how long to read before what was
    read is loaded; then `has_more` is true, and a further `source` with the same object goes on.
    `budgets` is what each connector may spend in a day (its own unit); `shared` is what the accounts of a
    connector have in common, such as what is left of it. `finished` are the accounts that need no further
    slice, `read_lists` what this night has read of each so far.
    """

    history: History = no_history
    limits: Limits = DEFAULT_LIMITS
    say: Callable[[str], None] = lambda _: None
    budgets: dict[str, float] = field(default_factory=dict)
    shared: dict[str, object] = field(default_factory=dict)
    slice_seconds: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    finished: set[tuple[str, str, str]] = field(default_factory=set)
    read_lists: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    has_more: bool = False

    def lists_read(self) -> int:
        """How many lists of how many accounts this night has read so far."""
        return sum(map(len, tuple(self.read_lists.values())))

    def client(self, account: AccountSource, **options: Any) -> Client:
        """A client for the account, as polite and patient as this collection is."""
        return Client(
            allow_private=account.allow_private, limits=self.limits, sleep=self.sleep, say=self.say, **options
        )


def source(
    name: str,
    platform: str,
    read: Reader,
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
    streams: Sequence[str] = STREAMS,
    tables: Sequence[RawTable] = TABLES,
) -> DltSource:
    """The dlt source `name`: the `batches` of the accounts, one resource a raw table."""

    def read_all() -> Iterator[Batch]:
        return batches(
            name, platform, read, accounts, read_at=read_at, store_text=store_text,
            collection=collection or Collection(), streams=streams,
        )  # fmt: skip

    return batch_source(name, read_all, tables=tables, read_at=read_at)


def batches(
    name: str,
    platform: str,
    read: Reader,
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection,
    streams: Sequence[str] = STREAMS,
    workers: int = WORKERS,
) -> Iterator[Batch]:
    """Everything `read` gives for each account, and what each stream came to.

    `streams` are those that an error fails which the connector did not place in a stream of its own: the
    account itself could not be read. Accounts that the collection has finished are not read again.
    """
    collection.has_more = False
    ends = collection.clock() + collection.slice_seconds
    waiting = [a for a in accounts if (name, a.account_id, a.url) not in collection.finished]
    before = collection.lists_read()

    def is_over() -> bool:
        """A slice gets further than the one before it, however short: else a night would not end."""
        return collection.clock() > ends and collection.lists_read() > before

    outcomes: dict[str, list[tuple[Visit, dict[str, Outcome]]]] = {}

    def visit(account: AccountSource) -> Iterator[Batch]:
        if is_over():
            collection.has_more = True
            return
        key = (name, account.account_id, account.url)
        memory = Memory.of(collection.history(account.account_id), platform=platform)
        visit = Visit(
            account=account, platform=platform, read_at=read_at, memory=memory, store_text=store_text,
            is_over=is_over, read_tonight=collection.read_lists.setdefault(key, set()),
        )  # fmt: skip
        try:
            with visit.account_streams(*streams):
                yield from read(visit, collection)
        except PausedError:
            collection.has_more = True
            return
        collection.finished.add(key)
        outcomes.setdefault(account.account_id, []).append((visit, visit.outcomes()))

    told, rows = collection.clock(), 0
    for batch in _side_by_side([partial(visit, account) for account in waiting], workers):
        rows += len(batch.rows)
        if collection.clock() - told > SAY_EVERY:
            told = collection.clock()
            done = sum(key[0] == name for key in collection.finished)
            collection.say(f"{name}: {done} of {len(accounts)} accounts, {rows:,} rows")
        yield batch
    for account_id, visits in sorted(outcomes.items()):
        yield Batch(READINGS, _readings(name, platform, account_id, visits, read_at))


def _readings(
    name: str, platform: str, account_id: str, visits: Sequence[tuple[Visit, dict[str, Outcome]]], read_at: datetime
) -> list[Row]:
    """One reading a stream; an account may have several profiles on a platform."""
    outcomes = {stream: [said[stream] for _, said in visits if stream in said] for stream in STREAMS}
    born = min((visit.born_at for visit, _ in visits if visit.born_at), default=None)
    rows = readings(account_id, outcomes, platform=platform, source=name, read_at=read_at)
    return [{**row, "born_at": born} for row in rows]


@dataclass(frozen=True)
class _Ended:
    """A reader has ended: well, or with an error."""

    error: BaseException | None = None


def _side_by_side(readers: Sequence[Callable[[], Iterator[Batch]]], workers: int) -> Iterator[Batch]:
    """The batches of all readers, a few readers at a time, in the order in which they come."""
    if len(readers) <= 1 or workers <= 1:
        for reader in readers:
            yield from reader()
        return
    results: queue.Queue[Batch | _Ended] = queue.Queue(maxsize=4 * workers)
    stopped = threading.Event()
    left = len(readers)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="collect") as pool:
        for reader in readers:
            pool.submit(_work, reader, results, stopped)
        try:
            while left:
                item = results.get()
                if isinstance(item, Batch):
                    yield item
                    continue
                left -= 1
                if item.error is not None:
                    raise item.error
        finally:
            stopped.set()
            while left:  # a full queue would hold the workers
                left -= isinstance(results.get(), _Ended)


def _work(
    reader: Callable[[], Iterator[Batch]], results: "queue.Queue[Batch | _Ended]", stopped: threading.Event
) -> None:
    error = None
    try:
        for batch in reader():
            if stopped.is_set():
                break
            results.put(batch)
    except BaseException as raised:  # noqa: BLE001 - raised again where the queue is read
        error = raised
    results.put(_Ended(error))
