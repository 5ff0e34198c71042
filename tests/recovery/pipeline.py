"""The whole pipeline on a simulated community: `rapport demo` in a process of its own, and what it found."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl

from orchestration import demo

CHECKOUT = Path(__file__).resolve().parents[2]


def findings(seed: int, home: Path, *, as_of: date) -> list[demo.Finding]:
    """What the published marts say of each planted fact of that community."""
    command = [sys.executable, "-m", "orchestration.cli", "demo", "--seed", str(seed), "--as-of", as_of.isoformat()]
    environment = {**os.environ, "RAPPORT_HOME": str(home)}  # noqa: TID251 - handed on, with a home of its own
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the demo's night failed: {done.stderr[-2000:]}")
    folder = home / "demo"
    (truth,) = (folder / "community").glob("*.json")
    published = folder / "published" / "parquet"
    return demo.findings(
        lambda name: pl.read_parquet(published / f"{name}.parquet"), json.loads(truth.read_text(encoding="utf-8"))
    )
