"""Export archives: raw observations to `stg_archive__*`, as all networks are staged, but for when a row was first seen."""

import polars as pl

from assets.staging.observations import Staging
from assets.staging.shapes import Frame
from quality.catalog.tables import TABLES

_STAGING = Staging("archive", is_archive=True)
profiles, posts, counters = _STAGING.profiles, _STAGING.posts, _STAGING.counters
readings, quarantine = _STAGING.readings, _STAGING.quarantine


def interactions(interactions: Frame, posts: Frame, lists: Frame, sightings: Frame) -> pl.LazyFrame:
    """`stg_archive__interactions`: interactions in both directions.

    What bears no time was first seen when the archive was made, not when it was imported.
    """
    table = TABLES["stg_archive__interactions"]
    key = ["account_id", "platform", "interaction"]
    made = (
        sightings.lazy()
        .filter(pl.col("event") == "seen")
        .group_by("account_id", "platform", interaction="item")
        .agg(made_at=pl.col("observed_at").min())
    )
    return (
        _STAGING.interactions(interactions, posts, lists, sightings)
        .join(made, on=key, how="left")
        .with_columns(observed_at=pl.coalesce("occurred_at", "made_at", "observed_at"))
        .with_columns(not_before_at=pl.min_horizontal("not_before_at", "observed_at"))
        .sort(table.key)
        .select(table.column_names)
    )
