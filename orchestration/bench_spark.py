"""What a second worker is worth: the folds on a standalone Spark cluster with one worker, then with two.

`python -m orchestration.bench_spark [--rows 200000] [--memory 2GB] [--cores 1] [--home FOLDER] [--seed 1] [--json]` makes
facts up, starts a cluster on loopback, and times each fold from the store's Parquet to the store's Parquet, as a night
does. Writing the facts to the store and starting Spark are not in the seconds. Both runs must give the same rows, which
are held by a hash, and both workers must have worked; otherwise the exit code is 1.

On a machine that does other work too, seconds say little. Beside them stands what does not depend on it: the processor's
seconds within the tasks of each executor. All of one worker's, divided by those of the busier of two, is the factor that an
idle machine comes near.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from assets.metrics import fold
from orchestration import bench_facts
from orchestration import settings as settings_module
from orchestration.bench import AS_OF
from orchestration.bench_cluster import Cluster
from orchestration.settings import Settings
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES

FOLDS = ("fold_relationship_day", "fold_post_value", "fold_response")


class Run(NamedTuple):
    """The folds on a cluster: what they took, and what came out."""

    seconds: dict[str, float]
    hashes: dict[str, str]
    tasks: dict[str, int]
    """By executor: how many tasks it ended."""
    cpu: dict[str, float]
    """By executor: the processor's seconds within its tasks."""


def measure(settings: Settings, warehouse: Warehouse, *, as_of: date, workers: int) -> Run:
    """Compute each fold once, after every worker has joined and has read something."""
    seconds, hashes = {}, {}
    with closing(SparkStore(settings, warehouse)) as store:
        interactions, posts = (store.read(name, None) for name in ("fct_interaction", "dim_post"))
        spark = store.session()
        _wait_for(spark, workers)
        interactions.selectExpr("max(active_at)").collect()  # Java is warm, and the files are found
        steps: dict[str, Any] = {
            "fold_relationship_day": lambda: fold.relationship_day(interactions, weights=settings.weights, as_of=as_of),
            "fold_post_value": lambda: fold.post_value(interactions, posts, weights=settings.weights, as_of=as_of),
            "fold_response": lambda: fold.response(interactions, as_of=as_of),
        }
        for name in FOLDS:
            started = time.perf_counter()
            rows = store.write(TABLES[name], steps[name](), None)
            seconds[name] = time.perf_counter() - started
            columns = ", ".join(sorted(rows.columns))
            [(hashes[name],)] = rows.query(
                "made",
                f"select count(*) || ':' || coalesce(sum(hash({columns})::hugeint), 0) from made",  # noqa: S608 - our columns
            ).fetchall()
        tasks, cpu = _tasks(spark)
    return Run(seconds, hashes, tasks, cpu)


def _each(sequence: Any) -> list[Any]:
    return [sequence.apply(i) for i in range(sequence.size())]


def _executors(spark: Any) -> list[str]:
    """The executors there are, by Spark's ids."""
    found = _each(spark.sparkContext._jsc.sc().statusStore().executorList(False))
    return [executor.id() for executor in found if executor.id() != "driver"]


def _tasks(spark: Any) -> tuple[dict[str, int], dict[str, float]]:
    """By executor, the tasks that it ended and the processor's seconds within them, as Spark itself counts them."""
    context = spark.sparkContext
    jvm, store = context._gateway.jvm, context._jsc.sc().statusStore()
    counts: dict[str, int] = defaultdict(int)
    cpu: dict[str, float] = defaultdict(float)
    for stage in _each(
        store.stageList(None, False, False, context._gateway.new_array(jvm.double, 0), jvm.java.util.ArrayList())
    ):
        for task in _each(store.taskList(stage.stageId(), stage.attemptId(), 1_000_000)):
            if task.taskMetrics().isDefined():
                counts[task.executorId()] += 1
                cpu[task.executorId()] += task.taskMetrics().get().executorCpuTime() / 1e9
    return dict(counts), dict(cpu)


def _wait_for(spark: Any, workers: int) -> None:
    until = time.monotonic() + 120
    while len(_executors(spark)) < workers:
        if time.monotonic() > until:
            raise LookupError(f"only {len(_executors(spark))} of {workers} workers gave an executor within 120 s.")
        time.sleep(0.1)


def compare(
    rows: int, home: Path, *, as_of: date, seed: int = 1, memory: str = "2GB", cores: int = 1
) -> dict[int, Run]:
    """The folds of `rows` made-up interactions with one worker and with two, below `home`.

    Raises `LookupError` where a worker does not start.
    """
    settings_module.prepare_environment(home)
    settings = Settings(home=home, engine="spark", memory=memory, spark_store=str(home / "store"))
    runs = {}
    with (
        closing(Warehouse(settings.warehouse_path, settings.duckdb_memory)) as warehouse,
        Cluster(home / "cluster", cores=cores, memory=f"{_megabytes(memory) + 500}M") as cluster,
    ):
        bench_facts.generate(warehouse, bench_facts.Size(rows), as_of=as_of, seed=seed)
        for workers in (1, 2):
            cluster.add_worker()
            there = replace(settings, spark_master=cluster.address)
            runs[workers] = measure(there, warehouse, as_of=as_of, workers=workers)
            _say(f"{workers} worker(s): {sum(runs[workers].seconds.values()):.1f} s", load=True)
    return runs


def _megabytes(memory: str) -> int:
    """An amount of rapport.toml in megabytes.

    >>> _megabytes("2GB")
    2048
    """
    return int(float(memory[:-2]) * (1024 if memory[-2:].upper() == "GB" else 1))


def _say(text: str, *, load: bool = False) -> None:
    print(f"{text}; load {os.getloadavg()[0]:.1f}" if load else text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Print a line a fold, a column a number of workers."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.bench_spark", description="Folds on Spark workers.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--memory", default="2GB", help="of the driver and of each executor")
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("--home", type=Path, help="where to work; the disk must hold the facts three times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rapport-spark-", dir=told.home) as folder:
        runs = compare(told.rows, Path(folder), as_of=AS_OF, seed=told.seed, memory=told.memory, cores=told.cores)
    one, two = runs[1], runs[2]
    print(f"{told.rows:,} interactions, {told.cores} core(s) a worker, {os.cpu_count()} cores in the machine")
    print(f"{'seconds':<24}{'1 worker':>10}{'2 workers':>10}{'factor':>8}")
    for name in FOLDS:
        print(_line(name, one.seconds[name], two.seconds[name]))
    print(_line("folds", sum(one.seconds.values()), sum(two.seconds.values())))
    print(_line("processor, busiest", max(one.cpu.values()), max(two.cpu.values())))
    print(
        f"processor, all: {sum(one.cpu.values()):.1f} and {sum(two.cpu.values()):.1f}; tasks {one.tasks} and {two.tasks}"
    )
    is_same, have_all_worked = one.hashes == two.hashes, len(two.tasks) == 2 and all(two.tasks.values())
    print("the same rows" if is_same else f"OTHER ROWS: {one.hashes} and {two.hashes}")
    if told.json:
        print(
            json.dumps(
                {"rows": told.rows, "load": os.getloadavg()[0], **{str(k): r._asdict() for k, r in runs.items()}}
            )
        )
    return 0 if is_same and have_all_worked else 1


def _line(name: str, one: float, two: float) -> str:
    return f"{name:<24}{one:>10.1f}{two:>10.1f}{one / two:>8.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
