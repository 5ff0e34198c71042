"""The Spark session of a night: what is said where it cannot start. What it computes is in `tests/engines`."""

import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestration.bench_cluster import Cluster
from orchestration.settings import CHECKOUT, SettingsError
from orchestration.spark import session
from tests.engines.conftest import why_no_spark


@pytest.fixture
def closed() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_master_that_does_not_answer_is_named_at_once(closed: int, tmp_path: Path) -> None:
    master = f"spark://127.0.0.1:{closed}"
    with pytest.raises(
        SettingsError, match=rf"'{master}' in rapport.toml .*{closed}: Connection refused.*start the master"
    ):
        session(master, folder=tmp_path)
    two = f"spark://127.0.0.1:{closed},127.0.0.1:{closed}"
    with pytest.raises(SettingsError, match=re.escape(f"{two!r} in rapport.toml does not answer")):
        session(two, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [], "no Java was started"


NO_WORKER = """
import sys
from pathlib import Path
from orchestration import spark
spark.WORKERS_SECONDS = 1.0
try:
    spark.session(sys.argv[1], folder=Path(sys.argv[2]), memory="600MB")
except spark.SettingsError as error:
    print(error)
"""


@pytest.mark.spark
@pytest.mark.skipif(why_no_spark() is not None, reason=str(why_no_spark()))
def test_a_cluster_without_workers_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """In a process of its own: in this one Spark may be at work for other tests."""
    script = tmp_path / "no_worker.py"
    script.write_text(NO_WORKER, encoding="utf-8")
    with Cluster(tmp_path / "cluster") as cluster:
        command = [sys.executable, str(script), cluster.address, str(tmp_path)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert f"{cluster.address!r} gave no worker within 1 s: start workers" in done.stdout, done.stderr
        assert [app["state"] for app in cluster.state()["completedapps"]] == ["FINISHED"], "nothing is left there"


def test_ci_installs_the_pyspark_of_the_extra() -> None:
    [wanted] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["spark"]
    lines = (CHECKOUT / ".ci" / "spark.lock").read_text().splitlines()
    assert any(line.startswith(f"{wanted} ") for line in lines)
    assert "pyspark" not in (CHECKOUT / "requirements.lock").read_text(), "who does not choose Spark does not get it"
