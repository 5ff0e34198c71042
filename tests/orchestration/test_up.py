"""`rapport up`: the UI answers, the schedule is on, and a SIGTERM ends all of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from orchestration import cli
from orchestration.settings import CHECKOUT

pytestmark = pytest.mark.slow
QUERY = '{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "orchestration.definitions"}) { ... on Schedules { results { name scheduleState { status } } } } }'


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int) -> dict:
    """The schedules, as the UI sees them."""
    body = json.dumps({"query": QUERY}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def alive(group: int) -> bool:
    """Whether any process of the group still runs."""
    return any(
        stat.rpartition(")")[2].split()[2] == str(group) and stat.rpartition(")")[2].split()[0] != "Z"
        for stat in (p.read_text() for p in Path("/proc").glob("[0-9]*/stat") if p.exists())
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_the_ui_answers_with_the_schedule_on_and_stops_as_one(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "RAPPORT_HOME": str(tmp_path / "home")}  # noqa: TID251
    command = [
        sys.executable,
        "-c",
        "import sys; from orchestration.cli import main; sys.exit(main())",
        "up",
        "--port",
        str(port),
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            found: dict = {}
            for _ in range(240):
                try:
                    found = ask(port)
                    if found["data"]["schedulesOrError"].get("results"):
                        break
                except (OSError, ValueError, KeyError, TypeError):
                    pass
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
            groups = [int(child) for child in children.read_text().split()]
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
    assert found["data"]["schedulesOrError"]["results"] == [
        {"name": "every_night", "scheduleState": {"status": "RUNNING"}}
    ]
    assert code == 0
    assert groups
    assert not any(alive(group) for group in groups)


def test_a_taken_port_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "home"))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert cli.main(["up", "--port", str(port)]) == 1
    assert f"port {port} is taken" in capsys.readouterr().err
