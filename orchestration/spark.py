"""The Spark session of the extra `spark`: for installations that outgrow one machine (docs/scale-out.md).

The only module that imports PySpark, and only inside its functions: who does not choose it needs neither it nor Java.
"""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestration.settings import SettingsError

NEEDED = 'engine = "spark" needs PySpark and Java 17 or newer'
STANDALONE = "spark://"
ANSWER_SECONDS = 10.0
"""How long a master may take to answer. Spark itself would try for a minute, and then say less."""
WORKERS_SECONDS = 120.0
"""How long a standalone cluster may take to give the first worker. Spark itself would wait for ever."""


def session(master: str, *, folder: Path, memory: str | None = None, more: Mapping[str, str] | None = None) -> Any:
    """A Spark session on `master` (`local[2]`, `spark://host:7077`, ...), in UTC, working below `folder`.

    Timestamps and dates mean UTC whatever the machine's zone; a sum that overflows fails instead of wrapping. `more`
    are Spark's own settings, which go before ours. Raises `SettingsError` where PySpark or Java is missing, the master
    does not answer, or it has no worker that gives what is asked.
    """
    _ask(master)
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SettingsError(
            f"{NEEDED}: install the extra, `pip install 'rapport[spark]'` in this environment."
        ) from error
    local = master.startswith("local")
    # Where the master is on loopback, so are its workers, and there they reach the driver.
    is_here = local or {host for host, _ in _addresses(master)} == {"127.0.0.1"}
    options = {
        **({"spark.driver.memory": _java(memory), "spark.executor.memory": _java(memory)} if memory else {}),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.local.dir": str(folder / "spark-scratch"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if is_here else {}),
        **({"spark.sql.shuffle.partitions": "4", "spark.default.parallelism": "4"} if local else {}),
        **(more or {}),
    }
    builder: Any = SparkSession.builder.master(master).appName("rapport")
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        opened = builder.getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        raise SettingsError(
            f"{NEEDED}; spark_master = {master!r} did not start: {str(error).splitlines()[0]}"
        ) from error
    opened.sparkContext.setLogLevel("ERROR")
    if master.startswith(STANDALONE):
        _wait_for_a_worker(opened, master)
    return opened


def _addresses(master: str) -> list[tuple[str, int]]:
    """Host and port of each master of a standalone cluster; none for other kinds of masters.

    >>> _addresses("spark://10.0.0.1:7077,10.0.0.2"), _addresses("local[2]")
    ([('10.0.0.1', 7077), ('10.0.0.2', 7077)], [])
    """
    if not master.startswith(STANDALONE):
        return []
    parts = [urlsplit(f"//{part}") for part in master.removeprefix(STANDALONE).split(",")]
    return [(part.hostname or "", part.port or 7077) for part in parts]


def _ask(master: str) -> None:
    """Raise `SettingsError` where no master of a standalone cluster answers."""
    silent = []
    for host, port in _addresses(master):
        try:
            socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
        except OSError as error:
            silent.append(f"{host}:{port}: {error.strerror or error}")
        else:
            return
    if silent:
        raise SettingsError(
            f"spark_master = {master!r} in rapport.toml does not answer ({'; '.join(silent)}): "
            "start the master, or say where it is (docs/scale-out.md)."
        )


def _wait_for_a_worker(opened: Any, master: str) -> None:
    """Raise `SettingsError` where no worker joins, after ending the session: its jobs would wait for ever."""
    until = time.monotonic() + WORKERS_SECONDS
    while opened.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 2:  # the driver is one of them
        if time.monotonic() > until:
            stop(opened)
            raise SettingsError(
                f"spark_master = {master!r} gave no worker within {WORKERS_SECONDS:.0f} s: start workers that have free "
                "what an executor asks for (`memory`, and spark.executor.cores below [spark]); the master's page lists them."
            )
        time.sleep(0.1)


def _java(memory: str) -> str:
    """An amount as Java writes it: whole, in megabytes.

    >>> _java("1.5GB"), _java("800MB")
    ('1536m', '800m')
    """
    amount, unit = float(memory[:-2]), memory[-2:].upper()
    return f"{int(amount * (1024 if unit == 'GB' else 1))}m"


def stop(session: Any) -> None:
    """End the session and its Java process; the next session of this process (a backfill's next night) starts its own."""
    context = type(session.sparkContext)
    gateway = context._gateway  # PySpark leaves Java running until Python ends
    session.stop()
    gateway.shutdown()
    context._gateway = context._jvm = None  # and would take the one that has ended
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()
        process.wait(timeout=30)
