"""Many hosts at once, few accounts of one host: what readers give, as one stream of batches.

Every account of a host is in its lane, and at most `per_host` threads drain a lane. So a host that is slow,
or asks for patience, holds up those threads and no others; and one that must be waited for does not
even count among the `hosts` that are read at once.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sources.batches import Batch

PER_HOST = 2
"""Accounts of one host at once; how many requests go to it at once is the client's business."""

PATIENT = 4
"""For each lane that is read, so many in all may be under way: the others wait for their hosts."""

Item = TypeVar("Item")


class _StoppedError(Exception):
    """Whoever takes the batches has ended: what waits for a host need not go on."""


@dataclass(frozen=True)
class _Ended:
    """A thread has ended: well, or with an error."""

    error: BaseException | None = None


class Lanes:
    """`hosts` lanes are read at once. A thread that waits for its host lets another lane go on meanwhile."""

    def __init__(self, hosts: int) -> None:
        """With one host at once, everything is read one after the other, without threads."""
        self.hosts = hosts
        self._places = threading.Semaphore(hosts)
        self._mine = threading.local()
        self._stopped = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Sleep without a place among those that read; ends at once where the collection does."""
        with self.resting():
            self._stopped.wait(seconds)
        if self._stopped.is_set():
            raise _StoppedError

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While this thread waits, another lane may be read."""
        if not getattr(self._mine, "has_place", False):
            yield
            return
        self._places.release()
        try:
            yield
        finally:
            self._places.acquire()

    def run(self, lanes: Mapping[str, Sequence[Item]], read: Callable[[Item], Iterator[Batch]]) -> Iterator[Batch]:
        """The batches that `read` gives for every item of every lane, in the order in which they come.

        The longest lanes start first, since they end last. An error in `read` ends everything and is raised.
        """
        self._stopped.clear()
        ordered = [deque(items) for items in in_order(lanes)]
        if self.hosts <= 1 or sum(map(len, ordered)) <= 1:
            for items in ordered:
                for item in items:
                    yield from read(item)
            return
        tickets = deque(items for items in ordered for _ in range(min(PER_HOST, len(items))))
        results: queue.Queue[Batch | _Ended] = queue.Queue(maxsize=4 * self.hosts)
        left = min(len(tickets), PATIENT * self.hosts)
        for number in range(left):
            threading.Thread(
                target=self._work, args=(tickets, read, results), name=f"collect-{number}", daemon=True
            ).start()
        try:
            while left:
                said = results.get()
                if isinstance(said, Batch):
                    yield said
                    continue
                left -= 1
                if said.error is not None:
                    raise said.error
        finally:
            self._stopped.set()
            while left:  # a full queue would hold the threads
                left -= isinstance(results.get(), _Ended)

    def _work(
        self,
        tickets: "deque[deque[Item]]",
        read: Callable[[Item], Iterator[Batch]],
        results: "queue.Queue[Batch | _Ended]",
    ) -> None:
        error: BaseException | None = None
        try:
            while (lane := _next(tickets)) is not None:
                with self._place():
                    while not self._stopped.is_set() and (item := _next(lane)) is not None:
                        for batch in read(item):
                            if self._stopped.is_set():
                                break
                            if batch.rows:
                                results.put(batch)
        except _StoppedError:
            pass
        except BaseException as raised:  # noqa: BLE001 - raised again where the queue is read
            error = raised
        results.put(_Ended(error))

    @contextmanager
    def _place(self) -> Iterator[None]:
        with self._places:
            self._mine.has_place = True
            try:
                yield
            finally:
                self._mine.has_place = False


def in_order(lanes: Mapping[str, Sequence[Item]]) -> list[Sequence[Item]]:
    """The lanes as they are started: the longest first, those of one length by name."""
    return [items for _, items in sorted(lanes.items(), key=lambda lane: (-len(lane[1]), lane[0]))]


def _next(waiting: "deque[Item]") -> Item | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
