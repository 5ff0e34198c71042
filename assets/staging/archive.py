"""Export archives of several platforms: raw observations to `stg_archive__*`. What is the same for all such sources is in `observations`."""

import polars as pl

from assets.staging import observations
from assets.staging.shapes import Frame
from quality.catalog.tables import TABLES

NAME = "archive"
RAW = observations.RAW


def profiles(profiles: Frame) -> pl.LazyFrame:
    """`stg_archive__profiles`: the profile of each account."""
    return observations.profiles(NAME, profiles)


def posts(posts: Frame, sightings: Frame) -> pl.LazyFrame:
    """`stg_archive__posts`: own posts."""
    return observations.posts(NAME, posts, sightings)


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
        observations.interactions(NAME, interactions, posts, lists, sightings, is_archive=True)
        .join(made, on=key, how="left")
        .with_columns(observed_at=pl.coalesce("occurred_at", "made_at", "observed_at"))
        .with_columns(not_before_at=pl.min_horizontal("not_before_at", "observed_at"))
        .sort(table.key)
        .select(table.column_names)
    )


def counters(counters: Frame, posts: Frame) -> pl.LazyFrame:
    """`stg_archive__counters`: public counters over time."""
    return observations.counters(NAME, counters, posts)


def readings(readings: Frame) -> pl.LazyFrame:
    """`stg_archive__readings`: every reading once."""
    return observations.readings(NAME, readings)


def quarantine(posts: Frame, interactions: Frame) -> pl.LazyFrame:
    """`stg_archive__quarantine`: what cannot be read, with the reason."""
    return observations.quarantine(NAME, posts, interactions, is_archive=True)
