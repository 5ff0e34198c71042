"""Whole nights on other engines publish what a night on Polars publishes: the same content hash."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration import bench_files, cli, definitions, settings
from orchestration.bench_cluster import Cluster
from tests.engines.conftest import why_no_spark

pytestmark = pytest.mark.slow
AS_OF = date(2024, 6, 2)
SPARK = """engine = "spark"
spark_master = "{master}"
spark_store = "{folder}/store"
memory = "1GB"
[spark]
"spark.eventLog.enabled" = "true"
"spark.eventLog.dir" = "file://{folder}/events"
"spark.eventLog.rolling.enabled" = "false"
"spark.eventLog.compress" = "false"
"spark.sql.shuffle.partitions" = "2"
"spark.sql.codegen.wholeStage" = "false"
"spark.sql.codegen.factoryMode" = "NO_CODEGEN"
"spark.sql.adaptive.enabled" = "false"
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a small community, no night derived yet."""
    folder = tmp_path_factory.mktemp("engines")
    bench_files.interactions(rows=1_500, as_of=AS_OF).write_parquet(folder / "interactions.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(folder / "imported"))
        assert cli.main(["import", "--interactions", str(folder / "interactions.parquet")]) == 0
    settings.load(folder / "imported").identity_key()  # made on first use: the same for all copies
    yield folder / "imported"
    definitions.build.cache_clear()


def night(imported: Path, name: str, text: str) -> tuple[str, int]:
    """The content hash and the rows of a night in a copy of the home with that rapport.toml, in a process of its own.

    A process has one Spark session: in this one it may be that of other tests.
    """
    home = imported.with_name(name)
    if not home.exists():
        shutil.copytree(imported, home)
        with (home / "rapport.toml").open("a", encoding="utf-8") as file:
            file.write(text)
        command = [sys.executable, "-m", "orchestration.cli", "run", "--as-of", str(AS_OF)]
        environment = {**os.environ, "RAPPORT_HOME": str(home)}  # noqa: TID251 - handed on to the night
        done = subprocess.run(
            command, cwd=settings.CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(home / "published" / "rapport.duckdb"), read_only=True) as connection:
        row = connection.execute("select content_hash, rows from marts.about").fetchone()
    assert row is not None
    return row


def test_a_night_on_duckdb_publishes_the_same(imported: Path) -> None:
    polars = night(imported, "polars", 'engine = "polars"\n')
    assert night(imported, "duckdb", 'engine = "duckdb"\nmemory = "500MB"\n') == polars
    assert polars[1] > 1_000


@pytest.mark.spark
@pytest.mark.long
@pytest.mark.skipif(why_no_spark() is not None, reason=str(why_no_spark()))
def test_a_night_on_a_spark_cluster_publishes_the_same(imported: Path) -> None:
    """A standalone cluster of a master and two workers: what they share with the driver is the store."""
    polars = night(imported, "polars", 'engine = "polars"\n')
    folder = imported.with_name("cluster")
    (folder / "events").mkdir(parents=True)
    with Cluster(folder) as cluster:
        workers = [cluster.add_worker() for _ in range(2)]
        text = SPARK.format(master=cluster.address, folder=folder)
        assert night(imported, "spark", text) == polars
        assert [app["state"] for app in cluster.state()["completedapps"]] == ["FINISHED"]
    tasks = tasks_by_executor(folder / "events")
    assert sum(tasks.values()) > 100
    for worker in workers:
        assert [executor for executor in cluster.executors(worker) if tasks[executor] > 10]
    assert not list((folder / "store").iterdir())


def tasks_by_executor(events: Path) -> Counter[str]:
    """How many tasks each executor ended well, by what Spark wrote down."""
    [log] = events.iterdir()
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    ended = [event for event in said if event["Event"] == "SparkListenerTaskEnd"]
    assert all(event["Task End Reason"]["Reason"] == "Success" for event in ended)
    return Counter(event["Task Info"]["Executor ID"] for event in ended)
