"""Which engine is faster for each step: folds, and marts that start from a fold, on the tables of a home.

`python -m orchestration.bench_engines HOME AS_OF [ENGINE ...]` computes each of them in each engine as a night does (from
the warehouse, into the warehouse, best of two; nothing is published) and prints seconds. Work on a copy of a home.
With `--json` the last line says the same in JSON.
"""

import json
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg

from assets import folds, marts
from assets.table import is_in_engine
from orchestration import settings as settings_module
from orchestration.io import TablesIOManager
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES

TIMES = 2


def seconds(home: Path, as_of: date, engine: str) -> dict[str, float]:
    """The seconds of each step that has a choice, in that engine."""
    settings = replace(settings_module.load(home), engine=engine)
    took: dict[str, float] = {}
    assets = {asset.key.path[-1]: asset for asset in (*folds.ASSETS, *marts.ASSETS)}
    with (
        closing(Warehouse(settings.warehouse_path, settings.duckdb_memory)) as warehouse,
        closing(SparkStore(settings, warehouse)) as store,
    ):
        tables = TablesIOManager(warehouse, settings, store)
        for name, asset in assets.items():
            if name == "mart_retention_model":  # fits, which are NumPy's whatever the engine
                continue
            upstream = [key.path[-1] for key in asset.dependency_keys]
            if TABLES[name].layer == "folds" or any(other.startswith("fold_") for other in upstream):
                took[name] = min(_once(asset, tables, as_of) for _ in range(TIMES))
                print(f"{engine}: {name} {took[name]:.2f} s", file=sys.stderr, flush=True)
    return took


def _once(asset: dg.AssetsDefinition, tables: TablesIOManager, as_of: date) -> float:
    tables.warehouse.log.forget()  # all of a table, not only what changed
    table, upstream = TABLES[asset.key.path[-1]], [key.path[-1] for key in asset.dependency_keys]
    started = time.perf_counter()
    inputs = {
        name: tables.load(name, as_of, reader=table.name if is_in_engine(table, upstream, name) else None)
        for name in upstream
    }
    resources = {"settings": tables.settings, "tables": tables}
    context = dg.build_asset_context(partition_key=as_of.isoformat(), resources=resources)
    tables.save(table, asset(context, **inputs), as_of)
    return time.perf_counter() - started


def main(arguments: list[str]) -> None:
    """Print a line a step, a column an engine."""
    words = [word for word in arguments if word != "--json"]
    home, as_of, engines = Path(words[0]), date.fromisoformat(words[1]), words[2:] or ["polars", "duckdb"]
    settings_module.prepare_environment(home)
    measured = {engine: seconds(home, as_of, engine) for engine in engines}
    print(f"{'':<28}" + "".join(f"{engine:>10}" for engine in engines))
    for name in measured[engines[0]]:
        print(f"{name:<28}" + "".join(f"{measured[engine][name]:>10.2f}" for engine in engines))
    if "--json" in arguments:
        print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
