"""`rapport doctor`: what could go wrong on this machine, each with what to do."""

import shutil
import sqlite3
import stat
from collections.abc import Iterator

import duckdb

from orchestration.settings import Settings
from orchestration.warehouse import Warehouse, WarehouseError

ENOUGH_BYTES = 1_000_000_000


def examine(settings: Settings) -> tuple[bool, str]:
    """Whether everything is well, and a line for each thing looked at."""
    findings = list(_findings(settings))
    lines = [f"{'✓' if well else '✗'} {text}" for well, text in findings]
    return all(well for well, _ in findings), "\n".join(lines)


def _findings(settings: Settings) -> Iterator[tuple[bool, str]]:
    free = shutil.disk_usage(settings.home).free
    yield (
        free > ENOUGH_BYTES,
        f"{free / 1e9:.1f} GB free at {settings.home} (a night needs room for a second copy of its tables)",
    )
    yield True, f"{settings.config_path}: {len(settings.accounts)} accounts"
    yield (
        duckdb.__version__.startswith("1.5"),
        f"DuckDB {duckdb.__version__} (1.5 expected: files of 2.x cannot be read by BI drivers)",
    )
    key = settings.home / "keys" / "identity.key"
    if key.exists():
        private = not key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        yield (
            private,
            f"{key} is readable by its owner only" if private else f"{key} is readable by others: chmod 600 it",
        )
    if settings.warehouse_path.exists():
        try:
            warehouse = Warehouse(settings.warehouse_path)
            newest = warehouse.newest()
            warehouse.close()
            yield True, f"{settings.warehouse_path.name} opens; newest night {newest}"
        except WarehouseError as error:
            yield False, str(error)
    runs = settings.dagster_home / "history" / "runs.db"
    if runs.exists():
        try:
            with sqlite3.connect(f"file:{runs}?mode=ro", uri=True) as connection:
                connection.execute("select count(*) from runs").fetchone()
            yield True, "Dagster's run history opens"
        except sqlite3.Error as error:
            yield False, f"{runs}: {error}; move it away to start a new history"
