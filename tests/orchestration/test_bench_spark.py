"""What a second Spark worker is worth is measured on the same rows, with both at work; not how much it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.bench_spark import FOLDS
from orchestration.settings import CHECKOUT
from tests.engines.conftest import why_no_spark


@pytest.mark.spark
@pytest.mark.long
@pytest.mark.skipif(why_no_spark() is not None, reason=str(why_no_spark()))
def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    """Two sessions after each other in one process, as in a backfill of two nights."""
    command = [sys.executable, "-m", "orchestration.bench_spark", "--rows", "3000", "--memory", "600MB", "--json"]
    done = subprocess.run(
        [*command, "--home", str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["1"]["hashes"] == said["2"]["hashes"]
    assert [int(said["1"]["hashes"][name].split(":")[0]) > 0 for name in FOLDS] == [True] * 3
    assert (len(said["1"]["tasks"]), len(said["2"]["tasks"])) == (1, 2)
    assert list(tmp_path.iterdir()) == []
