"""A standalone Spark cluster on loopback, of one machine's processes: for measuring and for tests.

Master and workers are started with the scripts that come with PySpark, on ports that they choose, below a folder of their
own; who leaves the block ends them by their process ids. It is Spark's own cluster: what a worker reads it reads from
the store, and what it is told comes over a socket.
"""

import importlib.util
import json
import os
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 120.0
"""How long a process may take to say that it is ready; a busy machine starts Java slowly."""
HERE = "127.0.0.1"


class Cluster:
    """A master and its workers, while the block runs."""

    def __init__(self, folder: Path, *, cores: int = 1, memory: str = "1500M") -> None:
        """What each worker gives; logs and the workers' scratch go below `folder`."""
        self._folder = folder
        self._cores, self._memory = cores, memory
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.address = self._ui = ""

    def __enter__(self) -> Self:
        """Start the master."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start("master", "Master", "--host", HERE, "--port", "0", "--webui-port", "0")
            self.address = self._said("master", r"Starting Spark master at (spark://[\w.:]+)")
            self._ui = f"http://{HERE}:" + self._said("master", r"MasterWebUI.* started at http://[\w.-]+:(\d+)")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        self._end()

    def add_worker(self) -> str:
        """Start one more worker; its name, once the master knows it."""
        name = f"worker{len(self._processes)}"
        place = ("--host", HERE, "--port", "0", "--webui-port", "0", "--work-dir", str(self._folder / name))
        give = ("--cores", str(self._cores), "--memory", self._memory)
        self._start(name, "Worker", *place, *give, self.address)
        self._said(name, r"(Successfully registered) with master")
        return name

    def executors(self, worker: str) -> set[str]:
        """The executors, by Spark's ids, that ran on a worker: each left a folder there."""
        return {folder.name for folder in (self._folder / worker).glob("app-*/*") if folder.is_dir()}

    def state(self) -> dict[str, Any]:
        """What the master says of its workers and applications."""
        with urllib.request.urlopen(f"{self._ui}/json/", timeout=10) as answer:  # noqa: S310 - our own master
            said: dict[str, Any] = json.load(answer)
        return said

    def _start(self, name: str, what: str, *arguments: str) -> None:
        found = importlib.util.find_spec("pyspark")
        if found is None or found.origin is None:
            raise LookupError("a cluster needs PySpark: install the extra `spark` (docs/scale-out.md).")
        spark_home = Path(found.origin).parent
        more = {
            "SPARK_HOME": str(spark_home),
            "SPARK_LOCAL_IP": HERE,  # the web pages too are on loopback only
            "SPARK_LOCAL_DIRS": str(self._folder / f"{name}-scratch"),
            "SPARK_DAEMON_MEMORY": "256m",
            # On a busy machine a worker may be silent for a minute, after which a master gives it up.
            "SPARK_DAEMON_JAVA_OPTS": "-Dspark.worker.timeout=600",
        }
        command = [str(spark_home / "bin" / "spark-class"), f"org.apache.spark.deploy.{what.lower()}.{what}"]
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - Spark's own script
                [*command, *arguments],
                env={**os.environ, **more},  # noqa: TID251 - handed on to Spark
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._processes.append((name, process))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _said(self, name: str, pattern: str) -> str:
        """The first group of what a process says in its log, as soon as it says it."""
        until, process = time.monotonic() + WAIT_SECONDS, dict(self._processes)[name]
        while time.monotonic() < until:
            text = self._log(name).read_text(encoding="utf-8", errors="replace")
            if found := re.search(pattern, text):
                return found.group(1)
            if process.poll() is not None:
                raise LookupError(f"Spark's {name} ended with code {process.returncode}: {text.strip()[-1000:]}")
            time.sleep(0.1)
        raise LookupError(f"Spark's {name} was not ready after {WAIT_SECONDS:.0f} s: see {self._log(name)}")

    def _end(self) -> None:
        """Workers first: they end their executors."""
        for _, process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
