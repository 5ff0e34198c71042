"""Derivation at a size: facts made up, the limit and the peer, a first night, the next one, and one within 4 GB.

Every step is a process of its own, all on the same machine in the same run, so that their ratios say something. Steps are
`python -m orchestration.bench_scale STEP ARGUMENTS`; `measure` runs them all.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration import bench_facts, bench_growth
from orchestration import settings as settings_module
from orchestration.bench_limit import PANDAS_ROWS
from orchestration.bench_night import peak_gb
from orchestration.bench_process import Figure, measured
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES

PAPER = 100_000_000_000
"""Interactions of the plan on paper."""
FEWEST_ROWS = 1_000_000
"""Below, ratios are not held to their bounds."""
NEW_SHARE = 0.001
"""Of all rows, what the next day brings."""
MEMORY = "4GB"
BYTES_PER_ROW = 450
"""Disk that a size needs at its peak, for each interaction: facts twice, folds and marts of two nights, what is put aside."""
SMALL = ("dim_account", "dim_profile", "dim_identity", "dim_post", "fct_counter", "fct_collection_span")


def disk_gb(rows: int) -> float:
    """What a size takes on disk while it is measured.

    >>> disk_gb(100_000_000)
    45.0
    """
    return rows * BYTES_PER_ROW / 1e9


def measure(rows: int, home: Path, *, as_of: date, details: dict[str, Any], polite: bool = False) -> Iterator[Figure]:
    """All figures of a size; everything else that was measured goes to `details`.

    Raises `LookupError` where the disk is too small, or a step fails.
    """
    home.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(home).free / 1e9, disk_gb(rows)
    if free < needed:
        raise LookupError(
            f"{rows:,} interactions need {needed:,.0f} GB in {home}; {free:,.0f} GB are free. Choose another folder with --home."
        )

    def step(name: str, *arguments: str) -> dict[str, Any]:
        module = {"night": "bench_night"}.get(
            name, "bench_limit" if name in ("limit", "peer", "pandas") else "bench_scale"
        )
        words = list(arguments) if name == "night" else [name, *arguments]
        found = measured(f"orchestration.{module}", words, home, polite=polite)
        details[" ".join([name, *(a for a in arguments if not a.startswith("/"))])] = found
        return found

    size, parquet = f"{rows:,}", str(home / "facts.parquet")
    made = step("generate", str(rows), as_of.isoformat(), parquet)
    yield Figure(f"{size}: facts made up", rows / made["seconds"], "rows/s")
    yield Figure(f"{size}: Parquet of the facts", made["parquet_bytes"] / rows, "B/row")
    limit, peer = step("limit", parquet, str(home)), step("peer", parquet, str(home))
    yield Figure(
        f"{size}: the limit, one group by account, person, week",
        limit["seconds"],
        "s",
        peer=f"{limit['groups']:,} groups, {rows / limit['seconds']:,.0f} rows/s, {limit['resident_gb']:.1f} GB",
    )
    yield Figure(
        f"{size}: the peer, two tables in plain SQL",
        peer["seconds"],
        "s",
        peer=f"{peer['seconds'] / limit['seconds']:.1f} x the limit, {peer['resident_gb']:.1f} GB",
    )
    if rows <= PANDAS_ROWS:
        yield _pandas(size, step, parquet, limit)
    Path(parquet).unlink()
    night = step("night", as_of.isoformat())
    yield from _night(rows, night, limit, peer)
    bare = step("bare")
    ratio = night["publish"] / bare["seconds"]
    yield Figure(
        f"{size}: publish, beside the bare statements",
        ratio,
        "x",
        1.5,
        peer=f"{night['publish']:.1f} s, bare {bare['seconds']:.1f} s",
    )
    new, day = max(1, round(rows * NEW_SHARE)), as_of + timedelta(days=1)
    step("day", str(rows), day.isoformat(), str(new))
    after = step("night", day.isoformat())
    share = 100 * _derived(after) / _derived(night)
    yield Figure(
        f"{size}: the next night, {new:,} new rows, of the full derivation",
        share,
        "%",
        _held(rows, 5),
        peer=f"{_derived(after):.1f} s: folds {after['folds']:.1f} s, marts {after['marts']:.1f} s",
    )
    stored = step("stored")
    yield from _growth(rows, stored, night, details)
    step("reset", MEMORY)
    within = step("night", day.isoformat())
    yield Figure(
        f"{size}: folds and marts with memory = {MEMORY}",
        _derived(within),
        "s",
        peer=f"peak resident {within['resident_gb']:.2f} GB",
    )


def _derived(night: dict[str, Any]) -> float:
    return float(night["folds"] + night["marts"])


def _pandas(size: str, step: Any, parquet: str, limit: dict[str, Any]) -> Figure:
    what = f"{size}: the limit pass in pandas"
    try:
        found = step("pandas", parquet, parquet)
    except LookupError as error:
        return Figure(what, float("nan"), "s", peer=str(error).splitlines()[-1])
    text = f"{found['seconds'] / limit['seconds']:.1f} x DuckDB, {found['resident_gb']:.1f} GB"
    return Figure(what, found["seconds"], "s", peer=text)


def _cpu(night: dict[str, Any], *prefixes: str) -> float:
    return sum(float(took["cpu"]) for name, took in night["steps"].items() if name.startswith(prefixes))


def _night(rows: int, night: dict[str, Any], limit: dict[str, Any], peer: dict[str, Any]) -> Iterator[Figure]:
    """The figures of a first night; CPU seconds beside them, since other work of the machine moves the clock's."""
    size, derived, cpu = f"{rows:,}", _derived(night), _cpu(night, "fold_", "mart_")
    slowest = sorted(night["steps"].items(), key=lambda item: -item[1]["seconds"])[:3]
    said = ", ".join(f"{name} {took['seconds']:.1f} s" for name, took in slowest)
    parts = f"folds {night['folds']:.1f} s, marts {night['marts']:.1f} s, {cpu:.1f} s CPU; slowest: {said}"
    yield Figure(f"{size}: folds and all marts", derived, "s", peer=parts)
    for name, other, bound in (("limit", limit, 5.0), ("peer", peer, 1.0)):
        ratio, of_cpu = derived / other["seconds"], f"{cpu / other['cpu']:.1f} x by CPU"
        yield Figure(f"{size}: the same, beside the {name}", ratio, "x", _held(rows, bound), peer=of_cpu)
    yield Figure(f"{size}: peak resident of the night", night["resident_gb"], "GB", 8)
    checks, of_checks = 100 * night["checks"] / derived, _cpu(night, "check_")
    text = f"{night['checks']:.1f} s, {of_checks:.1f} s CPU: {100 * of_checks / cpu:.0f} % by CPU"
    yield Figure(f"{size}: checks, of the derivation", checks, "%", _held(rows, 30), peer=text)
    yield Figure(f"{size}: what Dagster adds", night["dagster"], "s", 10, peer=f"{night['dagster_cpu']:.1f} s CPU")


def _held(rows: int, bound: float) -> float | None:
    """The bound of a ratio, where there are enough rows for it to be about them and not about starting."""
    return bound if rows >= FEWEST_ROWS else None


def _growth(rows: int, stored: dict[str, Any], night: dict[str, Any], details: dict[str, Any]) -> Iterator[Figure]:
    """What is stored, whether the simulation had foreseen it, and what follows for 100 billion."""
    size, predicted, found = f"{rows:,}", bench_growth.simulate(bench_facts.Size(rows)), night["steps"]
    folds = [name for name in predicted if name.startswith("fold_")]
    ratios = {name: predicted[name] / found[name]["rows"] for name in (*folds, "mart_relationship")}
    far = max(ratios, key=lambda name: abs(ratios[name] - 1))
    what = f"{size}: rows of the folds for each interaction"
    said = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    yield Figure(what, sum(found[name]["rows"] for name in folds) / rows, "rows", peer=f"predicted / measured: {said}")
    yield Figure(
        f"{size}: the prediction that is farthest off ({far})", 100 * abs(ratios[far] - 1), "%", _held(rows, 15)
    )
    measured_here = {
        "fact_bytes": stored["fct_interaction_bytes"] / stored["fct_interaction"],
        "fold_bytes": sum(stored[f"{name}_bytes"] for name in folds) / sum(stored[name] for name in folds),
        "fold_core_seconds": sum(found[name]["cpu"] for name in folds) / rows * 1e6,
        "mart_core_seconds": sum(t["cpu"] for name, t in found.items() if name.startswith("mart_")) / rows * 1e6,
    }
    plan = bench_growth.plan(PAPER, measured_here)
    details["plan"] = {"measured": measured_here, **asdict(plan), "cores": plan.cores}
    yield Figure(
        f"{size}: stored for each interaction, facts",
        measured_here["fact_bytes"],
        "B/row",
        peer=f"a row of a fold {measured_here['fold_bytes']:.0f} B",
    )
    yield Figure(
        f"{size}: core seconds for each million, folds and marts",
        measured_here["fold_core_seconds"] + measured_here["mart_core_seconds"],
        "s",
        peer=f"folds {measured_here['fold_core_seconds']:.2f} s, marts {measured_here['mart_core_seconds']:.2f} s",
    )
    yield Figure(
        f"100 billion on paper, from {size}: cores for a night of {bench_growth.NIGHT_HOURS:.0f} hours",
        plan.cores,
        "cores",
        peer=f"{plan.stored_bytes / 1e12:.1f} TB stored, first derivation {plan.first_core_seconds / 3600:,.0f} core hours, {plan.recomputed_rows / 1e9:.1f} billion rows read again",
    )


def generate(rows: int, as_of: date, parquet: Path) -> dict[str, float]:
    """Make the facts up and write them as one Parquet file."""
    started, home = time.perf_counter(), settings_module.home()
    warehouse = Warehouse(home / "warehouse.duckdb")
    bench_facts.generate(warehouse, bench_facts.Size(rows), as_of=as_of)
    seconds = time.perf_counter() - started
    warehouse.connect().execute("checkpoint")
    warehouse.connect().execute(f"copy core.fct_interaction to '{parquet}' (format parquet, compression zstd)")
    counts = {name: float(warehouse.rows(name)) for name in SMALL}
    warehouse.close()
    sizes = {
        "parquet_bytes": float(parquet.stat().st_size),
        "warehouse_bytes": float((home / "warehouse.duckdb").stat().st_size),
    }
    return {"seconds": seconds, **sizes, **counts}


def day(rows: int, as_of: date, new: int) -> dict[str, float]:
    """Bring the rows of the next day."""
    started, warehouse = time.perf_counter(), Warehouse(settings_module.home() / "warehouse.duckdb")
    bench_facts.next_day(warehouse, bench_facts.Size(rows), as_of=as_of, rows=new)
    warehouse.close()
    return {"seconds": time.perf_counter() - started}


def bare() -> dict[str, float]:
    """Copy what was published with nothing but the statements that copying takes."""
    home = settings_module.home()
    copy, folder = home / "bare.duckdb", home / "bare"
    folder.mkdir()
    with duckdb.connect() as connection:
        connection.execute(f"attach '{home / 'published' / 'rapport.duckdb'}' as source (read_only)")
        names = [
            row[0]
            for row in connection.execute(
                "select table_name from duckdb_tables() where database_name = 'source'"
            ).fetchall()
        ]
        started = time.perf_counter()
        connection.execute(f"attach '{copy}' as copied")
        connection.execute("copy from database source to copied")
        connection.execute("detach copied")
        for name in names:
            connection.execute(
                f"copy source.marts.{name} to '{folder / name}.parquet' (format parquet, compression zstd)"
            )
        seconds = time.perf_counter() - started
    copy.unlink()
    shutil.rmtree(folder)
    return {"seconds": seconds}


def stored() -> dict[str, float]:
    """Bytes of the blocks of each fact and fold in the warehouse, and their rows."""
    warehouse = Warehouse(settings_module.home() / "warehouse.duckdb")
    found: dict[str, float] = {}
    for name, table in TABLES.items():
        if table.layer in ("core", "folds") and warehouse.has(table.layer, name):
            query = f"select 262144 * count(distinct block_id) from pragma_storage_info('{table.qualified}') where persistent"  # noqa: S608
            found[f"{name}_bytes"] = float(warehouse.connect().execute(query).fetchall()[0][0])
            found[name] = float(warehouse.rows(name))
    warehouse.close()
    return found


def reset(memory: str) -> dict[str, float]:
    """Forget every night, so that the next one derives everything, and keep it within that memory."""
    home = settings_module.home()
    warehouse = Warehouse(home / "warehouse.duckdb")
    for schema in ("folds", "marts", "past", "meta"):
        warehouse.connect().execute(f"drop schema if exists {schema} cascade")
    warehouse.close()
    (home / "rapport.toml").write_text(f'memory = "{memory}"\n', encoding="utf-8")
    return {}


def main(arguments: list[str]) -> dict[str, float]:
    """Do one step; its arguments are texts."""
    step, *rest = arguments
    match step:
        case "generate":
            done = generate(int(rest[0]), date.fromisoformat(rest[1]), Path(rest[2]))
        case "day":
            done = day(int(rest[0]), date.fromisoformat(rest[1]), int(rest[2]))
        case "reset":
            done = reset(rest[0])
        case _:
            done = {"bare": bare, "stored": stored}[step]()
    return {**done, "resident_gb": peak_gb()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
