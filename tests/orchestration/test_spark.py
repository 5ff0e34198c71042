"""The Spark session of a night: what is said where it cannot start. What it computes is in `tests/engines`."""

import importlib.util
import re
import socket
from pathlib import Path

import pytest

from orchestration.settings import SettingsError
from orchestration.spark import session

NEEDS_PYSPARK = pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="PySpark is not installed")


@pytest.fixture
def closed() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@NEEDS_PYSPARK
@pytest.mark.spark
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
