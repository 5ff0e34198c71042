"""When a night runs: every day at 03:00 UTC, for the UTC day that has just ended."""

import dagster as dg

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all(),
    # DuckDB has one writing process: every step of a night runs in the same one.
    executor_def=dg.in_process_executor,
    description="One night: collect, derive, check, publish, report. The partition is as_of, the last complete UTC day.",
)
every_night = dg.build_schedule_from_partitioned_job(
    nightly,
    name="every_night",
    hour_of_day=3,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
