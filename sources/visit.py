"""One account being read: what is known of it, what is seen now, and what each stream comes to.

A connector is a generator of batches; everything that all of them must do alike is here: reading
lists to their end, telling what vanished, going on after a failure, counting changes, saying what
is covered.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sources import schedule
from sources.answers import HttpError, UnreachableError
from sources.batches import Batch
from sources.memory import Memory
from sources.model import AccountSource, Outcome, RawTable, Row, SourceError
from sources.observations import COUNTERS, INTERACTIONS, LISTS, POSTS, PROFILES, SIGHTINGS
from sources.schedule import SETTLING, is_due

Pages = Iterator[list[Row]]
_ID = {POSTS.name: "post", INTERACTIONS.name: "interaction"}
PATIENCE = 5
"""So many lists in a row that cannot be read end a stream for this night: the server is not well."""


class HopelessError(SourceError):
    """Too many failures in a row: the rest of the stream is left for another night."""


class PausedError(Exception):
    """The time slice is over: what was read is loaded first, then the reading goes on."""


@dataclass
class Visit:
    """The reading of one account on one platform, at `read_at`.

    `is_over()` says that the time slice has ended; lists ask it before they start. `read_tonight` are the
    lists that this night has read, in earlier slices too. `store_text` is whether what other people wrote
    may be kept. `got_no_answer` says that nothing was read, since the host does not answer or does not cope.
    """

    account: AccountSource
    platform: str
    read_at: datetime
    memory: Memory = field(default_factory=Memory)
    store_text: bool = False
    is_over: Callable[[], bool] = lambda: False
    read_tonight: set[str] = field(default_factory=set)
    born_at: datetime | None = None
    oldest: datetime | None = None
    got_no_answer: bool = False
    _failed: dict[str, list[str]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)
    _in_a_row: dict[str, int] = field(default_factory=dict)

    def row(self, **values: object) -> Row:
        """A row of this account on this platform."""
        return {"account_id": self.account.account_id, "platform": self.platform, **values}

    def profile(self, **values: object) -> Batch:
        """The profile as it shows itself."""
        return Batch(PROFILES, [self.row(**values)])

    def counters(self, subject: str, subject_id: str, counts: Mapping[str, int | None], *, note: bool = False) -> Batch:
        """Counters that are new or have changed, all of them where the schedule asks to `note` them.

        A counter that the platform does not show is null and makes no row.
        """
        rows = []
        for name, value in counts.items():
            key = (subject_id, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                continue
            if note or self.memory.counters.get(key) != value:
                if self.memory.counters.get(key) != value:
                    self.memory.changed[key] = self.read_at
                self.memory.counters[key] = value
                said = {"subject": subject, "subject_id": subject_id, "counter": name, "value": value}
                rows.append(self.row(**said, observed_at=self.read_at))
        return Batch(COUNTERS, rows)

    def is_due(
        self,
        name: str,
        published_at: datetime,
        *,
        post: str | None = None,
        counts: Mapping[str, int | None] | None = None,
    ) -> bool:
        """Whether a list of a post has to be read: by its age, because a counter changed, or after a failure.

        Ask before `counters` remembers the new numbers.
        """
        last = self.memory.complete.get(name)
        if last is None or name in self.memory.cut:
            return True
        if is_due(published_at, last_complete=last, read_at=self.read_at):
            return True
        for counter, value in (counts or {}).items():
            key = (post or "", counter)
            if value is not None and self.memory.counters.get(key) != value:
                return True
            changed = self.memory.changed.get(key)
            if changed is not None and (last < changed or last < changed + SETTLING <= self.read_at):
                return True
        return False

    def items(
        self,
        stream: str,
        name: str,
        pages: Callable[[], Pages],
        *,
        table: RawTable = INTERACTIONS,
        claimed: int | None = None,
        judged: Callable[[str], bool] = lambda _: True,
    ) -> Iterator[Batch]:
        """Read a list to its end: its rows, what is new in it, and what has vanished from it.

        `pages()` starts the reading anew and gives pages of rows of `table`. A failure keeps what was
        read, says nothing of what was not, and counts against the stream; it is not raised. What is
        missing is looked for a second time, since lists move while they are paged. An empty list
        that the platform `claimed` to hold something is hidden, not empty. `judged` tells which of
        the known items the reading could have found (a feed that is not read to its beginning).
        """
        if self.is_over():
            raise PausedError
        known = self.memory.present.setdefault(name, set())
        found: set[str] = set()
        try:
            yield from self._pages(pages(), table, found)
            _refuse_hidden(name, found, claimed)
            missing = {item for item in known - found if judged(item)}
            if missing:
                again: set[str] = set()
                yield from self._pages(pages(), table, again)
                found |= again
                missing -= again
        except SourceError as error:
            yield self._changes(name, found - known, set())
            known |= found
            yield Batch(LISTS, [self._list(name, len(found), str(error))])
            self.read_tonight.add(name)
            self.failed(stream, error)
            if isinstance(error, HopelessError):
                raise
            return
        yield self._changes(name, found - known, missing)
        known |= found
        known -= missing
        self.read_tonight.add(name)
        self.memory.complete[name] = self.read_at
        self.memory.cut.discard(name)
        yield Batch(LISTS, [self._list(name, len(found), None)])
        self.succeeded(stream)

    def since(self, name: str, *, count: int | None = None) -> datetime | None:
        """From when on a list is read tonight: null, all of it, but for lists of more items than are read whole nightly.

        `count` is how many there are, where the platform says so; else those that are known.
        """
        whole_at = self.memory.complete.get(_whole(name))
        known = len(self.memory.present.get(name, ())) if count is None else count
        if known <= schedule.MANY or whole_at is None or self.read_at - whole_at >= schedule.WHOLE_EVERY:
            return None
        return self.read_at - schedule.RECENT

    def whole(self, name: str, since: datetime | None, *, count: int | None = None) -> Iterator[Batch]:
        """A note that a long list was just read from its very beginning, which `since` asks for."""
        items = len(self.memory.present.get(name, ())) if count is None else count
        is_read = self.memory.complete.get(name) == self.read_at and name not in self.memory.cut
        if since is None and is_read and items > schedule.MANY:
            yield Batch(LISTS, [self._list(_whole(name), items, None)])

    def gone(self, name: str, items: Iterable[str]) -> Batch:
        """Items of a list that the platform says are no more (404 for a post that was there)."""
        known = self.memory.present.setdefault(name, set())
        lost = known & set(items)
        known -= lost
        return self._changes(name, set(), lost)

    def _pages(self, pages: Pages, table: RawTable, found: set[str]) -> Iterator[Batch]:
        """The rows of the pages; their ids join `found`. Pages that repeat themselves end in an error."""
        key, stale = _ID[table.name], 0
        for page in pages:
            ids = {str(row[key]) for row in page if row.get(key)}
            stale = 0 if ids - found or not page else stale + 1
            if stale > 3:
                raise SourceError("The list repeats itself without end", self.account.url, "Try again later.")
            found |= ids
            yield Batch(table, [self.row(**row) for row in page])

    def _changes(self, name: str, seen: set[str], gone: set[str]) -> Batch:
        said = [(item, "seen") for item in sorted(seen)] + [(item, "gone") for item in sorted(gone)]
        rows = [self.row(list=name, item=item, event=event, observed_at=self.read_at) for item, event in said]
        return Batch(SIGHTINGS, rows)

    def _list(self, name: str, items: int, reason: str | None) -> Row:
        return self.row(list=name, observed_at=self.read_at, is_complete=reason is None, items=items, reason=reason)

    def succeeded(self, stream: str) -> None:
        """A part of the stream was read."""
        self.got_no_answer = False
        self._read[stream] = self._read.get(stream, 0) + 1
        self._in_a_row[stream] = 0

    def failed(self, stream: str, error: SourceError) -> None:
        """A part of the stream could not be read. Raises `HopelessError` after too many in a row."""
        self._note(stream, error)
        self._in_a_row[stream] = self._in_a_row.get(stream, 0) + 1
        if self._in_a_row[stream] >= PATIENCE and not isinstance(error, HopelessError):
            raise HopelessError(error.what, error.where, error.todo)

    @contextmanager
    def stream(self, *names: str) -> Iterator[None]:
        """Everything inside belongs to these streams: an error ends them, and nothing else."""
        try:
            yield
        except SourceError as error:
            for name in names:
                if not isinstance(error, HopelessError):
                    self._note(name, error)
        else:
            for name in names:
                if name not in self._failed:
                    self.succeeded(name)

    @contextmanager
    def account_streams(self, *names: str) -> Iterator[None]:
        """What no stream of its own caught concerns the account: all `names` that nothing was read of are down."""
        try:
            yield
        except SourceError as error:
            for name in names:
                self._note(name, error)

    def _note(self, stream: str, error: SourceError) -> None:
        # What failed for another reason, or after something was read, says that somebody answers.
        is_first = not self._failed and not self._read
        self._failed.setdefault(stream, []).append(str(error))
        self.got_no_answer = _is_no_answer(error) and (is_first or self.got_no_answer)

    def outcomes(self) -> dict[str, Outcome]:
        """What each stream that was tried came to; a stream never tried is not offered."""
        start = min((moment for moment in (self.born_at, self.oldest) if moment), default=self.read_at)
        result: dict[str, Outcome] = {}
        for stream in {*self._read, *self._failed}:
            reasons = list(dict.fromkeys(self._failed.get(stream, ())))
            if not reasons:
                result[stream] = Outcome(status="ok", covers_from=min(start, self.read_at))
                continue
            more = f" (and {len(reasons) - 1} more like it)" if len(reasons) > 1 else ""
            result[stream] = Outcome(status="partial" if self._read.get(stream) else "down", reason=reasons[0] + more)
        return result


def _is_no_answer(error: SourceError) -> bool:
    """Whether an error is one of the host, and not of the account: nobody answers, or only that it is too much."""
    if isinstance(error, HttpError):
        return error.status == 429 or error.status >= 500
    return isinstance(error, UnreachableError)


def _whole(name: str) -> str:
    return f"whole:{name}"


def _refuse_hidden(name: str, found: set[str], claimed: int | None) -> None:
    if not found and claimed:
        raise SourceError("The platform hides this list", f"{name} ({claimed} are counted)", "A token may open it.")
