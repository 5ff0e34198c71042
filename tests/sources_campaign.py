"""The fault campaign: every connector against a server that fails in every way a real one does.

A case collects through a fault proxy over replies recorded from a real server, or over a small server where
what is asked depends on what was read before: once without faults, and for each schedule two nights with
faults and then a good one. What is staged in the end must be the same.
"""

import importlib.util
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

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


class Server(Protocol):
    """What answers: a replay, or a small server."""

    base: str


class History(Protocol):
    """What one collection after the other brought."""

    def read(self, base: str, night: int) -> None:
        """Collect once, from the server at that address."""

    def settled(self) -> dict[str, pl.DataFrame]:
        """What is staged of all nights, without what depends on when it was read."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A connector under faults: what serves it, the collections it is judged by, the shares of requests that go wrong."""

    serve: Callable[[], AbstractContextManager[Server]]
    begin: Callable[[], History]
    aliases: tuple[str, ...] = ()
    bodies: bool = True
    rates: tuple[float, ...] = (0.05, 0.3, 0.55, 0.8)


@dataclass(kw_only=True)
class Network:
    """Nights of a connector that reads a network (`sources.collection`)."""

    connector: ModuleType
    staging: ModuleType
    make_account: Callable[[str], AccountSource]
    first: datetime = FIRST
    budgets: Mapping[str, float] = field(default_factory=dict)
    store: Store = field(default_factory=Store)

    def read(self, base: str, night: int) -> None:
        collection = Collection(limits=IMPATIENT, sleep=lambda _: None, budgets=dict(self.budgets))
        read_at = self.first + timedelta(days=night)
        self.store.collect(self.connector, [self.make_account(base)], read_at=read_at, collection=collection)

    def settled(self) -> dict[str, pl.DataFrame]:
        staged = self.store.staged(self.staging)
        return {shape: settled(staged[shape]) for shape in SHAPES}


def recorded(
    connector: ModuleType, staging: ModuleType, recording: Path, make_account: Callable[[str], AccountSource]
) -> Case:
    """The case of a network whose replies were recorded."""
    return Case(
        serve=lambda: Replay(recording),
        begin=lambda: Network(connector=connector, staging=staging, make_account=make_account),
    )


@dataclass
class Verdict:
    """What a schedule came to: rows that the fault-free collection has and this one not, and the reverse."""

    lost: int = 0
    doubled: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def campaign(name: str) -> Any:
    """The module `tests/sources/campaign_<name>.py`."""
    path = Path(__file__).parent / "sources" / f"campaign_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> dict[str, Case]:
    """Every case, by the name of its file."""
    names = sorted(path.stem for path in (Path(__file__).parent / "sources").glob("campaign_*.py"))
    return {name: campaign(name).CASE for name in (stem.removeprefix("campaign_") for stem in names)}


def fault_free(case: Case) -> dict[str, pl.DataFrame]:
    """The staged tables of three nights without faults."""
    history = case.begin()
    with case.serve() as server, FaultProxy(server.base, Schedule(), aliases=case.aliases, bodies=case.bodies) as proxy:
        for night in range(3):
            history.read(proxy.base, night)
    return history.settled()


def under_faults(case: Case, seed: int, truth: dict[str, pl.DataFrame]) -> Verdict:
    """Two nights with the faults of a schedule, a good night, and what differs from the truth then."""
    history, verdict = case.begin(), Verdict()
    with case.serve() as server, FaultProxy(server.base, Schedule(), aliases=case.aliases, bodies=case.bodies) as proxy:
        for night in range(2):
            proxy.schedule = Schedule.seeded(2 * seed + night, rate=case.rates[seed % len(case.rates)])
            history.read(proxy.base, night)
            verdict.injected.update(str(fault.kind) for fault in proxy.schedule.injected)
        proxy.schedule = Schedule()
        history.read(proxy.base, 2)
    for shape, found in history.settled().items():
        wanted = truth[shape]
        for name, left, right in (("lost", wanted, found), ("doubled", found, wanted)):
            missing = _rows(left) - _rows(right)
            setattr(verdict, name, getattr(verdict, name) + missing.total())
            verdict.differences += [f"{shape} {name}: {row}" for row in list(missing)[:3]]
    return verdict


def _rows(frame: pl.DataFrame) -> Counter[str]:
    return Counter(repr(row) for row in frame.iter_rows())
