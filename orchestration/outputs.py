"""What leaves the warehouse, as assets: the published copy and the report, after every contract held."""

from datetime import date

import dagster as dg

from assets import core, folds, marts, stage
from assets.table import NIGHTS, OWNERS
from orchestration import nightly_report
from orchestration.publish import publish
from quality.catalog.tables import TABLES


def _last() -> list[str]:
    """The tables that no other table reads: whatever stops a table before them stops them too."""
    definitions = [*stage.ASSETS, *core.ASSETS, *folds.ASSETS, *marts.ASSETS]
    read = {key.path[-1] for definition in definitions for key in definition.dependency_keys}
    return [name for name in TABLES if name not in read]


@dg.asset(
    deps=_last(),
    partitions_def=NIGHTS,
    group_name="published",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    required_resource_keys={"warehouse", "settings"},
)
def published(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What others read: `published/rapport.duckdb` and Parquet files, replaced atomically.

    Comes after every table, directly or through others, so a failed contract anywhere leaves last night's files in place.
    """
    warehouse, as_of = context.resources.warehouse, date.fromisoformat(context.partition_key)
    oldest = warehouse.oldest()
    if oldest is None or oldest > as_of:
        warehouse.forget(as_of)  # or the next night would publish its rows
        what = f"the oldest post or interaction is of {oldest}" if oldest else "nothing was collected or imported yet"
        raise dg.Failure(f"There is nothing to count on {as_of}: {what}. Choose a later --as-of.", allow_retries=False)
    about = publish(warehouse, context.resources.settings.published, as_of=as_of)
    return dg.MaterializeResult(metadata={**about, "as_of": str(about["as_of"]), "dagster/row_count": about["rows"]})


@dg.asset(
    deps=[published],
    partitions_def=NIGHTS,
    group_name="published",
    kinds={"html"},
    owners=OWNERS,
    required_resource_keys={"warehouse", "settings"},
)
def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The community manager's page: `published/report/index.html`, private to its owner."""
    path = nightly_report.build_report(context.resources.warehouse, context.resources.settings)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(path))})
