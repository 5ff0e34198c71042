"""One run, import or check at a time in a home.

DuckDB's own lock is not enough: a run closes the file now and then (dlt writes it too), and what
opened it in between would break the run, or mix the tables of two nights.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class WarehouseError(RuntimeError):
    """The warehouse file cannot be used; the message says why and what to do."""


_held: dict[Path, tuple[TextIO, int]] = {}
"""What this process holds: the open lock file of each home, and how many times it was asked for."""


@contextmanager
def sole_use(home: Path) -> Iterator[None]:
    """Keep other processes out of the warehouse of `home` meanwhile; may be nested.

    The system lets go of the lock when the process ends, however it ends. Raises `WarehouseError`
    where another process has it.
    """
    hold(home)
    try:
        yield
    finally:
        let_go(home)


def hold(home: Path) -> None:
    """Hold the home until `let_go` was called as often. Raises `WarehouseError` where another process has it."""
    if home in _held:
        file, times = _held[home]
        _held[home] = file, times + 1
        return
    home.mkdir(parents=True, exist_ok=True)
    file = (home / "warehouse.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        process = file.read().strip()
        file.close()
        raise WarehouseError(
            f"{home} is in use by another run, import or check (process {process or 'unknown'}). "
            "Wait until it has ended, then try again."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _held[home] = file, 1


def let_go(home: Path) -> None:
    """End one `hold`."""
    file, times = _held.pop(home)
    if times > 1:
        _held[home] = file, times - 1
    else:
        file.close()
