"""WordPress: raw observations to `stg_wordpress__*`. What is the same for all such sources is in `observations`."""

import polars as pl

from assets.staging import observations
from assets.staging.shapes import Frame
from assets.urls import author_key

NAME = "wordpress"
RAW = observations.RAW


def profiles(profiles: Frame) -> pl.LazyFrame:
    """`stg_wordpress__profiles`: the profile of each account.

    The host is the account's own only where its site is all of it, and the account is not one of many authors.
    """
    return observations.profiles(NAME, profiles, is_site=True).with_columns(
        host=pl.when(author_key(pl.col("url")) == pl.col("host")).then("host")
    )


def posts(posts: Frame, sightings: Frame) -> pl.LazyFrame:
    """`stg_wordpress__posts`: own posts."""
    return observations.posts(NAME, posts, sightings)


def interactions(interactions: Frame, posts: Frame, lists: Frame, sightings: Frame) -> pl.LazyFrame:
    """`stg_wordpress__interactions`: interactions in both directions."""
    return observations.interactions(NAME, interactions, posts, lists, sightings)


def counters(counters: Frame, posts: Frame) -> pl.LazyFrame:
    """`stg_wordpress__counters`: public counters over time."""
    return observations.counters(NAME, counters, posts)


def readings(readings: Frame) -> pl.LazyFrame:
    """`stg_wordpress__readings`: every reading once."""
    return observations.readings(NAME, readings)


def quarantine(posts: Frame, interactions: Frame) -> pl.LazyFrame:
    """`stg_wordpress__quarantine`: what cannot be read, with the reason."""
    return observations.quarantine(NAME, posts, interactions)
