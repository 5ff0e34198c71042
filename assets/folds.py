"""Folds as assets: the only steps that read every interaction."""

import polars as pl

from assets.metrics import fold
from assets.table import table_asset


@table_asset
def fold_relationship_day(fct_interaction: pl.LazyFrame, settings, as_of) -> pl.LazyFrame:
    """What passed between a person and an account on a day."""
    return fold.relationship_day(fct_interaction, weights=settings.weights, as_of=as_of)


@table_asset
def fold_post_value(fct_interaction: pl.LazyFrame, dim_post: pl.LazyFrame, settings, as_of) -> pl.LazyFrame:
    """What each person gave a post in its first 7 days."""
    return fold.post_value(fct_interaction, dim_post, weights=settings.weights, as_of=as_of)


@table_asset
def fold_response(fct_interaction: pl.LazyFrame, as_of) -> pl.LazyFrame:
    """What account and person wrote to each other, and when."""
    return fold.response(fct_interaction, as_of=as_of)


ASSETS = [
    fold_relationship_day,
    fold_post_value,
    fold_response,
]
