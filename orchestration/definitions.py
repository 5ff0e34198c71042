"""Everything Dagster loads, as explicit lists: assets, checks, the nightly job and its schedule.

`build(home)` assembles it for one home, so a test builds the same graph on a temporary folder;
Dagster itself loads `defs`, the one for `RAPPORT_HOME`.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dlt import DagsterDltResource

from assets import core, folds, ingest, marts, stage
from orchestration import schedules
from orchestration import settings as settings_module
from orchestration.io import tables_io_manager
from orchestration.outputs import published, report
from orchestration.sole_use import sole_use
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES
from quality.checks import checks_for


@cache
def build(home: Path) -> dg.Definitions:
    """The graph for one home: the same assets, checks, job and schedule wherever it is built."""
    settings = settings_module.Settings(home=home)
    return dg.Definitions(
        assets=[
            *ingest.collectors(warehouse_path=str(settings.warehouse_path), dlt_home=settings.dlt_home),
            *stage.ASSETS,
            *core.ASSETS,
            *folds.ASSETS,
            *marts.ASSETS,
            published,
            report,
        ],
        asset_checks=checks_for(TABLES),
        jobs=[schedules.nightly],
        schedules=[schedules.every_night],
        resources={
            "settings": dg.ResourceDefinition(lambda _: settings_module.load(home)),
            "warehouse": dg.ResourceDefinition(lambda _: _warehouse(settings_module.load(home))),
            "tables": tables_io_manager,
            "dlt_runner": DagsterDltResource(),
        },
    )


def _warehouse(settings: settings_module.Settings) -> Iterator[Any]:
    warehouse = Warehouse(settings.warehouse_path, settings.duckdb_memory)
    with sole_use(settings.home):
        try:
            yield warehouse
        finally:
            warehouse.close()


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the graph of `RAPPORT_HOME`."""
    settings_module.prepare_environment(settings_module.home())
    return build(settings_module.home())
