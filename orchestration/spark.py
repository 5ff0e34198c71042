"""The Spark session of the extra `spark`: for installations that outgrow one machine (docs/scale-out.md).

The only module that imports PySpark, and only inside its functions: who does not choose it needs neither it nor Java.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.settings import SettingsError

NEEDED = 'engine = "spark" needs PySpark and Java 17 or newer'


def session(master: str, *, folder: Path, memory: str | None = None, more: Mapping[str, str] | None = None) -> Any:
    """A Spark session on `master` (`local[2]`, `spark://host:7077`, ...), in UTC, working below `folder`.

    Timestamps and dates mean UTC whatever the machine's zone; a sum that overflows fails instead of wrapping. `more`
    are Spark's own settings, which go before ours. Raises `SettingsError` where PySpark or Java is missing, or the
    master does not answer.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SettingsError(
            f"{NEEDED}: install the extra, `pip install 'rapport[spark]'` in this environment."
        ) from error
    local = master.startswith("local")
    options = {
        **({"spark.driver.memory": _java(memory), "spark.executor.memory": _java(memory)} if memory else {}),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.local.dir": str(folder / "spark-scratch"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if local else {}),
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
    return opened


def _java(memory: str) -> str:
    """An amount as Java writes it: whole, in megabytes.

    >>> _java("1.5GB"), _java("800MB")
    ('1536m', '800m')
    """
    amount, unit = float(memory[:-2]), memory[-2:].upper()
    return f"{int(amount * (1024 if unit == 'GB' else 1))}m"


def stop(session: Any) -> None:
    """End the session and its Java process."""
    gateway = session.sparkContext._gateway  # PySpark leaves Java running until Python ends
    session.stop()
    gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()
        process.wait(timeout=30)
