"""`rapport run`: one night in this process, the same job that the schedule runs, with progress."""

import logging
import re
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TextIO

import dagster as dg
import polars as pl

from orchestration import definitions, schedules
from orchestration import settings as settings_module
from orchestration.settings import Settings
from orchestration.sole_use import sole_use
from orchestration.warehouse import Warehouse
from quality.catalog.staging import staged
from sources.budget import SPENT
from sources.registry import REGISTRY

LAYERS = ("raw", "staging", "core", "folds", "marts", "published")
EXIT_OK, EXIT_MISTAKE, EXIT_SOURCE_FAILED, EXIT_NOT_PUBLISHED = 0, 1, 3, 4


@dataclass
class Progress:
    """Follows the events of a run; on a terminal it shows what is being done."""

    layer_of: dict[str, str]
    out: TextIO = sys.stderr
    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    derived_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of `seconds`, those of the tables themselves, without their checks."""
    checks: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    warned: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    was_stopped: bool = False
    _started: float = 0.0
    _step: str = ""

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one event."""
        event = entry.dagster_event
        if event is None:
            said = entry.user_message.strip().splitlines()
            self._show(f"{self._step}: {said[0][:100]}" if said else self._step)
            return
        match event.event_type:
            case dg.DagsterEventType.STEP_START:
                self._step, self._started = event.step_key or "", time.perf_counter()
                self._show(f"{self._step} ...")
            case dg.DagsterEventType.STEP_SUCCESS | dg.DagsterEventType.STEP_FAILURE:
                took = time.perf_counter() - self._started
                self.seconds[self._layer(self._step)] += took
                if not self._step.startswith("check_"):
                    self.derived_seconds[self._layer(self._step)] += took
                if event.event_type is dg.DagsterEventType.STEP_FAILURE:
                    self._fail(event)
            case dg.DagsterEventType.ASSET_MATERIALIZATION:
                data: Any = event.event_specific_data
                count = data.materialization.metadata.get("dagster/row_count") or data.materialization.metadata.get(
                    "rows_loaded"
                )
                name = data.materialization.asset_key.path[-1]
                self.rows[name] = int(count.value or 0) if count is not None else 0
            case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                self._check(event.event_specific_data)
            case dg.DagsterEventType.RUN_FAILURE:
                ended: Any = event.event_specific_data
                # Stopped between two steps (Ctrl-C, SIGTERM), where no step fails.
                reason = getattr(ended.failure_reason, "name", "")
                self.was_stopped |= reason == "UNEXPECTED_TERMINATION"
                if reason == "RUN_EXCEPTION":
                    self._fail(event)
            case _:
                pass

    def _layer(self, step: str) -> str:
        return next((layer for name, layer in self.layer_of.items() if name in step), "raw")

    def _check(self, check: Any) -> None:
        name = check.asset_key.path[-1]
        self.checks[self.layer_of.get(name, "raw")].append(check.passed)
        if not check.passed:
            line = f"{name}, {check.check_name}: {check.description or 'failed'}"
            (self.failed if check.check_name == "contract" else self.warned).append(line)

    def _fail(self, event: dg.DagsterEvent) -> None:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None and "DagsterExecutionInterruptedError" in str(error.message):
            self.was_stopped = True  # Ctrl-C: Dagster makes a failed step of it
            return
        message = str(error.message).strip().splitlines()[0] if error is not None else "failed"
        message = re.sub(r"^[\w.]*\bFailure: ", "", message)  # Dagster's name for a step that says itself why it failed
        if "blocking asset check" not in message:
            self.failed.append(f"{event.step_key or 'the run'}: {message}")

    def _show(self, text: str) -> None:
        if self.out.isatty():
            self.out.write(f"\r\033[K  {text}")
            self.out.flush()

    def table(self) -> str:
        """What was done, a line a layer."""
        if self.out.isatty():
            self.out.write("\r\033[K")
        lines = []
        for layer in LAYERS:
            names = [name for name in self.rows if self.layer_of.get(name) == layer]
            if names:
                checks = self.checks[layer]
                passed = f"{sum(checks)} of {len(checks)} checks passed" if checks else ""
                rows = sum(self.rows[name] for name in names)
                lines.append(
                    f"  {layer:<10}{len(names):>3} tables {rows:>12,} rows {self.seconds[layer]:>7.1f} s   {passed}".rstrip()
                )
        return "\n".join(lines)


@dataclass(frozen=True)
class Night:
    """How a night went."""

    as_of: date
    run_id: str
    is_published: bool
    progress: Progress
    seconds: float


def run(as_of: date, *, collects: bool = True, full: bool = False) -> Night:
    """Run the night of `as_of` for `RAPPORT_HOME`, in this process.

    A backfill derives and never collects: with `collects=False` the raw tables stay as they are. With `full` every table
    is computed from all rows, not only from what changed since the last night.

    The run, its events and checks are recorded in the home's Dagster instance, so the UI shows
    them. Never raises for a failed step: the result says what failed. Raises `WarehouseError` where
    another process is at work in the home or the warehouse does not open, and `KeyboardInterrupt` where
    the run was stopped.
    """
    home = settings_module.home()
    # It logs a traceback where Ctrl-C meets it while it closes a connection.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    with sole_use(home):
        # Asked once and at the start: a warehouse that does not open would fail every step.
        warehouse = Warehouse(settings_module.Settings(home=home).warehouse_path)
        used = sources_in_use(warehouse, settings_module.load(home))
        if full:
            warehouse.log.forget()
        warehouse.close()
        night = _run(as_of, used, collects=collects)
    if night.progress.was_stopped:
        raise KeyboardInterrupt
    return night


def _run(as_of: date, used: set[str], *, collects: bool) -> Night:
    built = definitions.build(settings_module.home())
    repository, job = built.get_repository_def(), built.resolve_job_def(schedules.nightly.name)
    layers = {
        key.path[-1]: node.group_name or "raw" for key, node in ((n.key, n) for n in repository.asset_graph.asset_nodes)
    }
    # The longest names first: a step is found by the asset name it contains.
    progress = Progress(dict(sorted(layers.items(), key=lambda item: -len(item[0]))))
    started = time.perf_counter()
    with dg.DagsterInstance.get() as instance:
        run_id = str(uuid.uuid4())
        instance.add_event_listener(run_id, progress)
        result = job.execute_in_process(
            partition_key=as_of.isoformat(),
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            asset_selection=_selected(repository, used, collects=collects),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    is_published = "published" in progress.rows
    return Night(as_of, result.run_id, is_published, progress, time.perf_counter() - started)


def _selected(repository: dg.RepositoryDefinition, used: set[str], *, collects: bool) -> list[dg.AssetKey]:
    """The assets of this night: those of the sources in use, and everything that all sources share."""
    nodes = [node for node in repository.asset_graph.asset_nodes if node.is_materializable]
    wanted = [node for node in nodes if collects or node.group_name != "raw"]
    return [node.key for node in wanted if (_source_of(node.key.path[-1]) or "") in {*used, ""}]


def _source_of(name: str) -> str | None:
    """The source that a raw or staging table belongs to.

    >>> _source_of("stg_feed__posts"), _source_of("mart_value")
    ('feed', None)
    """
    found = re.match(r"(?:raw|stg)_(\w+?)__", name)
    return found.group(1) if found else None


def sources_in_use(warehouse: Warehouse, settings: Settings) -> set[str]:
    """The sources that an account has, and those that ever brought something; the others have nothing to do."""
    schemas = warehouse.connect().execute("select schema_name from information_schema.schemata").fetchall()
    loaded = {name.removeprefix("raw_") for (name,) in schemas if name.startswith("raw_")}
    return {entry.source for account in settings.accounts for entry in account.sources} | (loaded & set(REGISTRY))


def collection_problems(warehouse: Warehouse, settings: Settings) -> list[str]:
    """The streams whose last reading failed, a line each: account, platform and the reason.

    Only of sources that are collected now: what was taken out of rapport.toml, and what a file lacked
    once, is no problem of this night. Nor is a budget that is used: the next night goes on.
    """
    collected = {(account.name, entry.source) for account in settings.accounts for entry in account.sources}
    readings = pl.concat([warehouse.read(name) for name in staged("readings")])
    last = readings.filter(pl.col("read_at") == pl.col("read_at").max().over("account_id", "platform", "stream"))
    failed = last.filter(pl.col("status").is_in(["down", "partial"])).sort("account_id", "platform", "stream").collect()
    return [
        f"{row['account_id']} ({row['platform']}, {row['stream']}): {row['reason']}"
        for row in failed.iter_rows(named=True)
        if (row["account_id"], row["source"]) in collected and not str(row["reason"]).startswith(SPENT)
    ]
