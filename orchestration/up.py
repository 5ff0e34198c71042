"""`rapport up`: Dagster's UI and daemon in the foreground, on loopback only, stopped as one."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from orchestration.settings import CHECKOUT

GRACE_SECONDS = 15


def run(home: Path, *, port: int) -> int:
    """Start the UI on 127.0.0.1:`port` with the schedule on; return when stopped (SIGTERM, Ctrl-C) or ended.

    Raises `LookupError` where the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LookupError(f"port {port} is taken: stop what uses it, or choose another with --port.") from error
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workspace",
        "workspace.yaml",
    ]
    print(f"Lineage, runs and checks: http://127.0.0.1:{port}  (home {home}; Ctrl-C stops it)", flush=True)
    # A group of its own: `dagster dev` leaves its children running when only it is stopped.
    process = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True)  # noqa: S603

    asked = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    while process.poll() is None and not asked.wait(timeout=0.5):
        pass
    if asked.is_set():
        _signal_group(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGTERM)
    _signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    return 0 if asked.is_set() else code


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
