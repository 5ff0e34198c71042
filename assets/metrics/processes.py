"""Many small computations on all cores: Python processes of our own beside this one, for as long as one call takes.

For what neither Polars nor NumPy spreads over cores: thousands of fits, each of many small steps. Processes are
started by a command of their own and read from their standard input, so that nobody's main module is run a second
time; they end when that is closed, also where this process is killed.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
_Part = tuple[int, Sequence[Job]]
Helpers = list[subprocess.Popen[bytes]]

WORTH_A_PROCESS = 128
"""Jobs for which it pays to start another process: it takes about a second to be ready."""
_AT_ONCE = 8
_MOST = 16


def helpers(function: Callable[[Job], Result], jobs: int) -> Helpers:
    """Processes that get ready to compute `function` for so many jobs: one a core, this one among them, where it pays.

    They take about a second to be ready, in which this process may prepare the jobs. Hand them to `on_all_cores`,
    which ends them; nobody else does.
    """
    # Those this process may use, where the system tells (Linux), else all there are.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _started(function, min(cores, _MOST, 1 + jobs // WORTH_A_PROCESS) - 1)


def _started(function: Callable[[Job], Result], processes: int) -> Helpers:
    command = [sys.executable, "-m", __name__]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own command
        for _ in range(processes)
    ]
    for worker in workers:
        with suppress(OSError):
            _ask(worker, (function, []))  # so that it imports what the function needs
    return workers


def on_all_cores(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    processes: int | None = None,
    workers: Helpers | None = None,
) -> list[Result]:
    """The result of each job, in their order, whatever process it came from.

    `function` can be imported by its name, jobs and results can be pickled. So many `processes` work on it, this one
    included: by default one a core, but none for less than `WORTH_A_PROCESS` jobs; or `workers` that were made ready
    by `helpers`. Raises what `function` raises. What a process leaves undone that ended early (for want of memory,
    say) is done here.

    >>> on_all_cores(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    if workers is None:
        workers = helpers(function, len(jobs)) if processes is None else _started(function, processes - 1)
    parts: SimpleQueue[_Part[Job]] = SimpleQueue()
    for start in range(0, len(jobs), _AT_ONCE):
        parts.put((start, jobs[start : start + _AT_ONCE]))
    results: dict[int, Result] = {}
    failed: list[Exception] = []
    feeders = [Thread(target=_feed, args=(worker, function, parts, results, failed)) for worker in workers]
    for feeder in feeders:
        feeder.start()
    try:
        for start, part in _all(parts):
            results.update(enumerate([function(job) for job in part], start))
    finally:
        for _ in _all(parts):
            pass  # after an error nothing more is begun
        for feeder, worker in zip(feeders, workers, strict=True):
            feeder.join()
            worker.communicate()
    if failed:
        raise failed[0]
    return [results[number] if number in results else function(job) for number, job in enumerate(jobs)]


def _feed(
    worker: subprocess.Popen[bytes],
    function: Callable[[Job], Result],
    parts: "SimpleQueue[_Part[Job]]",
    results: dict[int, Result],
    failed: list[Exception],
) -> None:
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        _answer(worker)  # that it is ready
        for start, part in _all(parts):
            _ask(worker, (function, part))
            answer: Sequence[Result] | Exception = _answer(worker)
            if isinstance(answer, Exception):
                failed.append(answer)
                return
            results.update(enumerate(answer, start))


def _all(parts: "SimpleQueue[_Part[Job]]") -> Iterator[_Part[Job]]:
    with suppress(Empty):
        while True:
            yield parts.get_nowait()


def _ask(worker: subprocess.Popen[bytes], question: object) -> None:
    assert worker.stdin is not None  # noqa: S101  it was opened so
    pickle.dump(question, worker.stdin)
    worker.stdin.flush()


def _answer(worker: subprocess.Popen[bytes]) -> Sequence[Result] | Exception:
    assert worker.stdout is not None  # noqa: S101  it was opened so
    answer: Sequence[Result] | Exception = pickle.load(worker.stdout)  # noqa: S301 - of our own process
    return answer


def _work() -> None:
    """Answer until nobody asks any more."""
    # Ctrl-C reaches every process of the terminal: the one that asks decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed meanwhile is no answer
    with suppress(EOFError, BrokenPipeError):
        while True:
            function, part = pickle.load(questions)  # noqa: S301 - of the process that started this one
            try:
                answer: object = [function(job) for job in part]
            except Exception as error:  # noqa: BLE001 - raised where it was asked for
                answer = error
            pickle.dump(answer, answers)
            answers.flush()


if __name__ == "__main__":
    _work()
