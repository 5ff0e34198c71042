"""The fault campaign: every connector against a server that fails in every way a real one does.

A case collects through a fault proxy over replies recorded from a real server: once without faults, and
for each schedule two nights with faults and then a good one. What is staged in the end must be the same.
"""

import importlib.util
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
from collected import Store, settled
from faults import FaultProxy, Replay, Schedule

from sources.collection import Collection
from sources.http import Limits
from sources.model import AccountSource

FIRST = datetime(2027, 1, 10, 3, tzinfo=UTC)
"""The first night: later than anything recorded."""
IMPATIENT = Limits(connect=2.0, read=0.4, total=3.0, attempts=3, backoff=0.0, longest_wait=5.0)
SHAPES = ("profiles", "posts", "interactions", "quarantine")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A connector, its staging, replies recorded from a real server, and the account they are of."""

    connector: ModuleType
    staging: ModuleType
    recording: Path
    make_account: Callable[[str], AccountSource]


@dataclass
class Verdict:
    """What a schedule came to: rows that the fault-free collection has and this one not, and the reverse."""

    lost: int = 0
    doubled: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def cases() -> dict[str, Case]:
    """Every case, by the name of its file (`campaign_<name>.py`)."""
    found = {}
    for path in sorted((Path(__file__).parent / "sources").glob("campaign_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[path.stem.removeprefix("campaign_")] = module.CASE
    return found


def fault_free(case: Case) -> dict[str, pl.DataFrame]:
    """The staged tables of three nights without faults."""
    store = Store()
    with Replay(case.recording) as server:
        for night in range(3):
            _night(case, store, server.base, night)
    return _settled(case, store)


def under_faults(case: Case, seed: int, truth: dict[str, pl.DataFrame]) -> Verdict:
    """Two nights with the faults of a schedule, a good night, and what differs from the truth then."""
    store, verdict = Store(), Verdict()
    with Replay(case.recording) as server:
        for night in range(2):
            schedule = Schedule.seeded(2 * seed + night, rate=0.05 + 0.25 * (seed % 4))
            with FaultProxy(server.base, schedule) as proxy:
                _night(case, store, proxy.base, night)
            verdict.injected.update(str(fault.kind) for fault in schedule.injected)
        _night(case, store, server.base, 2)
    for shape, found in _settled(case, store).items():
        wanted = truth[shape]
        for name, left, right in (("lost", wanted, found), ("doubled", found, wanted)):
            missing = _rows(left) - _rows(right)
            setattr(verdict, name, getattr(verdict, name) + missing.total())
            verdict.differences += [f"{shape} {name}: {row}" for row in list(missing)[:3]]
    return verdict


def _night(case: Case, store: Store, base: str, night: int) -> None:
    account = case.make_account(base)
    collection = Collection(limits=IMPATIENT, sleep=lambda _: None)
    store.collect(case.connector, [account], read_at=FIRST + timedelta(days=night), collection=collection)


def _settled(case: Case, store: Store) -> dict[str, pl.DataFrame]:
    staged = store.staged(case.staging)
    return {shape: settled(staged[shape]) for shape in SHAPES}


def _rows(frame: pl.DataFrame) -> Counter[str]:
    return Counter(repr(row) for row in frame.iter_rows())
