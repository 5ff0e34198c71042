"""`rapport demo`: the real import and the real night on a simulated community, then truth against marts."""

import json
import shutil
import sys
from datetime import date
from pathlib import Path

import polars as pl

from orchestration import demo
from orchestration import settings as settings_module

MARKER = ".rapport-demo"


def run(home: Path, *, seed: int, as_of: date) -> int:
    """Make the demo's home anew, run the night in it, print what was planted and what was found.

    The exit code is that of the night. Raises `LookupError` where the folder is not the demo's to
    replace.
    """
    if home.exists() and not (home / MARKER).exists():
        raise LookupError(f"{home} exists and is not the demo's: move it away, or set RAPPORT_HOME to another folder.")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / MARKER).write_text("Made by `rapport demo`, which replaces this folder each time.\n")
    settings_module.prepare_environment(home)

    from orchestration import commands, importing
    from sources import demo as simulator

    print(f"Simulating a community (seed {seed}) up to {as_of} ...", file=sys.stderr, flush=True)
    community = simulator.simulate(seed=seed, as_of=as_of)
    posts, interactions, truth_path = simulator.write(community, home / "community")
    settings = settings_module.load(home)
    print(importing.run(settings, [importing.Request(posts=posts, interactions=interactions)]))
    code = commands.night_of(settings, as_of)
    if code == commands.OK:
        folder = settings.published / "parquet"
        truth = json.loads(truth_path.read_text(encoding="utf-8"))
        found = demo.findings(lambda name: pl.read_parquet(folder / f"{name}.parquet"), truth)
        print()
        print(demo.render(found, home))
    return code
