"""What a night of a made-up home takes, step by step: tables, checks, publishing, and what Dagster adds.

The real job with the real assets, without collection, staging and core: those are the tables that were made up. Run in
a process of its own (`python -m orchestration.bench_night HOME AS_OF`), so that its peak memory is its own.
"""

import json
import resource
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from orchestration import definitions, schedules
from orchestration import settings as settings_module
from quality.catalog.tables import TABLES

_BEGINS, _LOADED, _RETURNED, _WRITTEN = (
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.LOADED_INPUT,
    dg.DagsterEventType.STEP_OUTPUT,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
)
_WORK = {_LOADED, _RETURNED, _WRITTEN, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
"""What lies before such an event was done by us: an input loaded, a function run, a table written or judged."""


@dataclass
class Took:
    """Seconds by the clock and of all cores, the rows written, and the process's peak memory after it."""

    seconds: float = 0.0
    cpu: float = 0.0
    rows: int = 0
    resident_gb: float = 0.0
    recomputed: str = ""
    """How much of a table that is kept in parts was computed."""


@dataclass
class Clock:
    """Follows the events of a run: what each step took itself, without what Dagster does around it.

    An event is made when a piece of work has ended, then stored, then shown to this listener: from here to the making of
    the next one is work (where that one says so), the rest is Dagster's.
    """

    steps: dict[str, Took] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    _since: float = 0.0
    _cpu: float = 0.0

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one event."""
        event = entry.dagster_event
        if event is None:
            return
        kind, data = event.event_type, event.event_specific_data
        if event.step_key and kind in _WORK:
            took = self.steps.setdefault(event.step_key, Took())
            took.seconds += entry.timestamp - self._since
            took.cpu += time.process_time() - self._cpu
            took.resident_gb = peak_gb()
        if kind is _WRITTEN:
            self._count(event.step_key or "", data)
        elif kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
            error: Any = getattr(data, "error", None)
            while error is not None and error.cause is not None:
                error = error.cause
            self.failed.append(f"{event.step_key or 'the run'}: {error.message if error else event.message}".strip())
        elif kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check: Any = data
            if not check.passed and check.check_name == "contract":
                self.failed.append(f"{check.asset_key.path[-1]}: {check.description}")
        self._since, self._cpu = time.time(), time.process_time()

    def _count(self, step: str, data: Any) -> None:
        metadata = data.materialization.metadata
        count, recomputed = metadata.get("dagster/row_count"), metadata.get("recomputed")
        if count is not None:
            self.steps[step].rows = int(count.value or 0)
        if recomputed is not None:
            self.steps[step].recomputed = str(recomputed.value)

    def of(self, layer: str) -> float:
        """Seconds of the tables of a layer."""
        return sum(took.seconds for name, took in self.steps.items() if name in TABLES and TABLES[name].layer == layer)

    @property
    def checks(self) -> float:
        """Seconds of all checks."""
        return sum(took.seconds for name, took in self.steps.items() if name.startswith("check_"))


@dataclass(frozen=True)
class Night:
    """How a night went: seconds by what was done, the steps, and the peak memory of the process."""

    seconds: float
    folds: float
    marts: float
    checks: float
    publish: float
    dagster: float
    cpu: float
    dagster_cpu: float
    resident_gb: float
    steps: dict[str, dict[str, Any]]

    @property
    def derive(self) -> float:
        """Folds and marts."""
        return self.folds + self.marts


def run(as_of: date) -> Night:
    """Folds, marts, their checks and publishing for `RAPPORT_HOME`, in this process.

    Raises `LookupError` where a step or a contract failed.
    """
    built = definitions.build(settings_module.home())
    job = built.resolve_job_def(schedules.nightly.name)
    names = [table.name for table in TABLES.values() if table.layer in ("folds", "marts")]
    clock = Clock()
    with dg.DagsterInstance.get() as instance:
        run_id = str(uuid.uuid4())
        instance.add_event_listener(run_id, clock)
        started, used = time.perf_counter(), time.process_time()
        job.execute_in_process(
            partition_key=as_of.isoformat(),
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in (*names, "published")],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
    if clock.failed:
        raise LookupError("; ".join(clock.failed))
    return Night(
        seconds=seconds,
        folds=clock.of("folds"),
        marts=clock.of("marts"),
        checks=clock.checks,
        publish=clock.steps["published"].seconds,
        dagster=seconds - sum(took.seconds for took in clock.steps.values()),
        cpu=cpu,
        dagster_cpu=cpu - sum(took.cpu for took in clock.steps.values()),
        resident_gb=peak_gb(),
        steps={name: asdict(took) for name, took in clock.steps.items()},
    )


def peak_gb() -> float:
    """The most memory that this process ever had resident, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def table(night: Night) -> str:
    """The steps, slowest first: seconds, CPU seconds, rows, the peak memory when each had ended, and how much was computed."""
    lines = [f"{'step':<34}{'seconds':>9}{'CPU':>9}{'rows':>13}{'peak GB':>9}"]
    for name, took in sorted(night.steps.items(), key=lambda item: -item[1]["seconds"]):
        lines.append(
            f"{name:<34}{took['seconds']:>9.2f}{took['cpu']:>9.2f}{int(took['rows']):>13,}{took['resident_gb']:>9.2f}  {took['recomputed']}".rstrip()
        )
    return "\n".join(lines)


if __name__ == "__main__":
    settings_module.prepare_environment(settings_module.home())
    measured = run(date.fromisoformat(sys.argv[1]))
    print(table(measured), file=sys.stderr)
    print(json.dumps(asdict(measured)))
