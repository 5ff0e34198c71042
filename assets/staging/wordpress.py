"""WordPress: raw observations to `stg_wordpress__*`, as all networks are staged, but for whose the host is."""

import polars as pl

from assets.staging.observations import Staging
from assets.staging.shapes import Frame
from assets.urls import author_key

_STAGING = Staging("wordpress", is_site=True)
posts, interactions, counters = _STAGING.posts, _STAGING.interactions, _STAGING.counters
readings, quarantine = _STAGING.readings, _STAGING.quarantine


def profiles(profiles: Frame) -> pl.LazyFrame:
    """`stg_wordpress__profiles`: the profile of each account.

    The host is the account's own only where its site is all of it, and the account is not one of many authors.
    """
    return _STAGING.profiles(profiles).with_columns(
        host=pl.when(author_key(pl.col("url")) == pl.col("host")).then("host")
    )
