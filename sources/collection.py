"""A night's collection of one platform: many accounts, many hosts at a time, one broken one stops no other.

A connector gives `read(visit, collection)`, a generator of batches for one account; `source` makes the
dlt source of it. Accounts of different hosts are read side by side (`sources.lanes`). A long collection is cut
into slices: each slice is loaded before the next one starts, so a stop loses at most the running slice.
Of an account that was read nothing is kept but its key, so memory does not grow with their number.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import dlt
from dlt.extract.source import DltSource

from sources.batches import Batch, batch_source
from sources.http import DEFAULT_LIMITS, Client, Hosts, Limits, UnreachableError
from sources.lanes import Lanes, in_order
from sources.memory import History, Memory, no_history
from sources.model import HOSTS_AT_ONCE, READINGS, STREAMS, AccountSource, Outcome, RawTable, Row, SourceError, readings
from sources.observations import TABLES
from sources.visit import PausedError, Visit

SAY_EVERY = 10.0
"""Seconds between two lines of progress."""

SAY_MOST = 50
"""Accounts with trouble that get a line each; the ledger has all of them."""

STRIKES = 3
"""So many accounts of a host in a row that got no answer: the others of that host are left for another night."""

Reader = Callable[[Visit, "Collection"], Iterator[Batch]]
Key = tuple[str, str, str]


def expects_nothing(_account_ids: Sequence[str]) -> None:
    """A history that needs no notice."""


@dataclass
class Collection:
    """What a connector may use: what is known, how patient to be, whom to tell, what may be spent.

    `history(account_id)` gives the raw rows so far; `expect` is told before in which order it will be asked.
    `hosts` are read at once. `slice_seconds` and `slice_rows` are how much to read before what was
    read is loaded; then `has_more` is true, and a further `source` with the same object goes on.
    `budgets` is what each connector may spend in a day (its own unit); `shared` is what the accounts of a
    connector have in common, such as what is left of it; `state` is what dlt keeps for it from night to night.
    `finished` are the accounts that need no further slice, `read_lists` what this night has read of the others so far.
    """

    history: History = no_history
    expect: Callable[[Sequence[str]], None] = expects_nothing
    limits: Limits = DEFAULT_LIMITS
    say: Callable[[str], None] = lambda _: None
    budgets: dict[str, float] = field(default_factory=dict)
    shared: dict[str, object] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    hosts: int = HOSTS_AT_ONCE
    slice_seconds: float = float("inf")
    slice_rows: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None
    finished: set[Key] = field(default_factory=set)
    read_lists: dict[Key, set[str]] = field(default_factory=dict)
    has_more: bool = False
    _lanes: Lanes | None = field(default=None, repr=False)
    _lists_done: int = 0
    _troubled: int = 0
    _strikes: Counter[str] = field(default_factory=Counter)
    _apart: dict[Hashable, Hosts] = field(default_factory=dict, repr=False)
    _outcomes: dict[str, list["_Visited"]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def progress(self) -> int:
        """How much this night has read so far: lists, and accounts that are finished."""
        return len(self.finished) + self._lists_done + sum(map(len, tuple(self.read_lists.values())))

    def client(self, account: AccountSource, **options: Any) -> Client:
        """A client for the account, as polite and patient as this collection is."""
        return Client(
            allow_private=account.allow_private, limits=self.limits, sleep=self._sleep, say=self.say, **options
        )

    def hosts_apart(self, *what: Hashable) -> Hosts:
        """The limits of what a server limits apart (an endpoint for a token), shared by all accounts that meet them."""
        with self._lock:
            return self._apart.setdefault(what, Hosts())

    def lanes(self) -> Lanes:
        """Where the accounts are read."""
        if self._lanes is None:
            self._lanes = Lanes(self.hosts)
        return self._lanes

    def _sleep(self, seconds: float) -> None:
        (self.sleep or self.lanes().sleep)(seconds)

    def given_up(self, host: str) -> SourceError | None:
        """Why the host is asked no more tonight; null where it is."""
        if self._strikes[host] < STRIKES:
            return None
        what = f"There was no answer for {STRIKES} accounts in a row, so the others were not asked for tonight"
        return UnreachableError(what, host, "The next night asks again.")

    def ended(self, key: Key, visit: Visit, host: str, sources: int) -> list["_Visited"] | None:
        """Note that a source of an account is finished; what all its `sources` came to, where this was the last one."""
        with self._lock:
            self.finished.add(key)
            self._lists_done += len(self.read_lists.pop(key, ()))
            self._strikes[host] = self._strikes[host] + 1 if visit.got_no_answer else 0
            visited = self._outcomes.setdefault(visit.account.account_id, [])
            visited.append(_Visited(key, visit.born_at, visit.outcomes()))
            if len(visited) < sources:
                return None
            return sorted(self._outcomes.pop(visit.account.account_id), key=lambda said: said.key)

    def tell(self, name: str, rows: Sequence[Row]) -> None:
        """A line for an account where something is wrong with it, unless there are too many."""
        wrong = [f"{row['stream']} {row['status']}" for row in rows if row["status"] in ("partial", "down")]
        if not wrong:
            return
        self._troubled += 1
        if self._troubled <= SAY_MOST:
            reason = next(row["reason"] for row in rows if row["status"] in ("partial", "down"))
            self.say(f"{name}, {rows[0]['account_id']}: {', '.join(wrong)}: {reason}")
        elif self._troubled == SAY_MOST + 1:
            self.say(f"{name}: more accounts have trouble; `rapport status` has the reasons.")


@dataclass(frozen=True)
class _Visited:
    """What the reading of one source of an account came to."""

    key: Key
    born_at: datetime | None
    outcomes: dict[str, Outcome]


def host_of(account: AccountSource, service: str | None = None) -> str:
    """The host that an account's source is read from: its endpoint's, the connector's `service`, or its address's own.

    >>> host_of(AccountSource(account_id="a", source="mastodon", url="@ann@social.example"))
    'social.example'
    >>> host_of(AccountSource(account_id="a", source="feed", url="https://Blog.example/feed"))
    'blog.example'
    """
    address = account.endpoint or service or account.url
    try:
        parts = urlsplit(address if "//" in address else f"//{address.lstrip('@')}")
        found = (parts.hostname or address) + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return address
    return found


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
    state_of: RawTable | None = None,
    keeps_history: bool = False,
    service: str | None = None,
) -> DltSource:
    """The dlt source `name`: the `batches` of the accounts, one resource a raw table.

    What dlt keeps with the table `state_of` is the collection's `state`.
    """
    collection = collection or Collection()

    def read_all() -> Iterator[Batch]:
        if state_of is not None:
            collection.state = dlt.current.resource_state(state_of.name)
        yield from batches(
            name, platform, read, accounts, read_at=read_at, store_text=store_text, collection=collection,
            streams=streams, keeps_history=keeps_history, service=service,
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
    keeps_history: bool = False,
    service: str | None = None,
) -> Iterator[Batch]:
    """Everything `read` gives for each account, and what each stream came to.

    `streams` are those that an error fails which the connector did not place in a stream of its own: the
    account itself could not be read. Accounts that the collection has finished are not read again.
    `keeps_history` is as in `readings`; `service` is the address where all accounts without an endpoint are read.
    """
    collection.has_more = False
    ends = collection.clock() + collection.slice_seconds
    before = collection.progress()
    sources = Counter(account_id for _, account_id, _ in {_key(name, account) for account in accounts})
    lanes = _waiting(name, accounts, collection.finished, service)
    collection.expect([account.account_id for lane in in_order(lanes) for account in lane])

    count = 0

    def is_over() -> bool:
        """A slice gets further than the one before it, however short: else a night would not end."""
        is_full = collection.clock() > ends or count > collection.slice_rows
        return is_full and collection.progress() > before

    def visit(account: AccountSource) -> Iterator[Batch]:
        if is_over():
            collection.has_more = True
            return
        key, host = _key(name, account), host_of(account, service)
        given_up = collection.given_up(host)
        memory = Memory() if given_up else Memory.of(collection.history(account.account_id), platform=platform)
        visit = Visit(
            account=account, platform=platform, read_at=read_at, memory=memory, store_text=store_text,
            is_over=is_over, read_tonight=collection.read_lists.setdefault(key, set()),
        )  # fmt: skip
        try:
            with visit.account_streams(*streams):
                if given_up:
                    raise given_up
                yield from read(visit, collection)
        except PausedError:
            collection.has_more = True
            return
        if visited := collection.ended(key, visit, host, sources[account.account_id]):
            rows = _readings(name, platform, account.account_id, visited, read_at, keeps_history=keeps_history)
            collection.tell(name, rows)
            yield Batch(READINGS, rows)

    told = collection.clock()
    for batch in collection.lanes().run(lanes, visit):
        count += len(batch.rows)
        if collection.clock() - told > SAY_EVERY:
            told = collection.clock()
            collection.say(f"{name}: {len(collection.finished):,} of {sources.total():,} accounts, {count:,} rows")
        yield batch


def _waiting(
    name: str, accounts: Sequence[AccountSource], finished: set[Key], service: str | None
) -> dict[str, list[AccountSource]]:
    """The sources that are not finished, each once, by host."""
    waiting: dict[str, dict[Key, AccountSource]] = {}
    for account in accounts:
        if (key := _key(name, account)) not in finished:
            waiting.setdefault(host_of(account, service), {}).setdefault(key, account)
    return {host: list(found.values()) for host, found in waiting.items()}


def _key(name: str, account: AccountSource) -> Key:
    return (name, account.account_id, account.url)


def _readings(
    name: str, platform: str, account_id: str, visited: Sequence[_Visited], read_at: datetime, *, keeps_history: bool
) -> list[Row]:
    """One reading a stream; an account may have several profiles on a platform."""
    outcomes = {stream: [said.outcomes[stream] for said in visited if stream in said.outcomes] for stream in STREAMS}
    born = min((said.born_at for said in visited if said.born_at), default=None)
    rows = readings(account_id, outcomes, platform=platform, source=name, read_at=read_at, keeps_history=keeps_history)
    return [{**row, "born_at": born} for row in rows]
