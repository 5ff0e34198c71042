"""Marts as assets: each names its inputs, passes parameters and returns. The mathematics is in `assets.metrics`."""

import polars as pl

from assets.metrics import (
    availability,
    cadence,
    concentration,
    coverage,
    earnings,
    followers,
    growth,
    listening,
    losing_touch,
    relationship,
    retention,
    retention_comparison,
    retention_curve,
    retention_model,
    spike,
    summary,
    value,
)
from assets.table import table_asset, table_asset_of_counts


@table_asset
def mart_cadence(dim_post, dim_account, fct_collection_span, as_of) -> pl.LazyFrame:
    """Are we consistent?"""
    return cadence.cadence(dim_post, dim_account, fct_collection_span, as_of=as_of)


@table_asset
def mart_cadence_week(dim_post, fct_collection_span, as_of) -> pl.LazyFrame:
    """Posts by week."""
    return cadence.cadence_week(dim_post, fct_collection_span, as_of=as_of)


@table_asset
def mart_listening(fold_response, dim_identity, dim_post, dim_account, fct_collection_span, as_of) -> pl.LazyFrame:
    """Do we answer people, and how soon?"""
    return availability.listening(fold_response, dim_identity, dim_post, dim_account, fct_collection_span, as_of=as_of)


@table_asset
def mart_waiting(fold_response, dim_identity, fct_collection_span, as_of) -> pl.LazyFrame:
    """Who awaits an answer?"""
    return listening.waiting(fold_response, dim_identity, fct_collection_span, as_of=as_of)


@table_asset
def mart_followers(fold_relationship_day, dim_identity, fct_counter, fct_collection_span, as_of) -> pl.LazyFrame:
    """How many follow, who began and who left?"""
    return followers.followers(fold_relationship_day, dim_identity, fct_counter, fct_collection_span, as_of=as_of)


@table_asset
def mart_post_value(fold_post_value, dim_post, dim_identity, fct_counter, fct_collection_span, as_of) -> pl.LazyFrame:
    """What did people value?"""
    return value.post_value(fold_post_value, dim_post, dim_identity, fct_counter, fct_collection_span, as_of=as_of)


@table_asset
def mart_value(mart_post_value, fct_counter, as_of) -> pl.LazyFrame:
    """What does a post give people, on average?"""
    return value.value(mart_post_value, fct_counter, as_of=as_of)


@table_asset
def mart_dilution(mart_post_value, as_of) -> pl.LazyFrame:
    """Does posting more cost value per post?"""
    return value.dilution(mart_post_value, as_of=as_of)


@table_asset
def mart_spike(fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of) -> pl.LazyFrame:
    """When did unusually many new people come?"""
    return spike.spike(fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of)


@table_asset_of_counts(retention_model.histories, retention_model.models)
def mart_retention_model(
    fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Is a relationship alive, and may the model be believed?"""
    return retention_model.retention_model(
        fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of
    )


@table_asset
def mart_relationship(
    fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, mart_retention_model, fct_collection_span,
    as_of,
) -> pl.LazyFrame:  # fmt: skip
    """Who keeps coming back?"""
    return relationship.relationship(
        fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, mart_retention_model,
        fct_collection_span, as_of=as_of,
    )  # fmt: skip


@table_asset
def mart_losing_touch(mart_relationship, as_of) -> pl.LazyFrame:
    """Whom are we losing?"""
    return losing_touch.losing_touch(mart_relationship, as_of=as_of)


@table_asset
def mart_growth_week(
    fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Does the circle of active people grow, week by week?"""
    return growth.growth(
        fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of, period="week"
    )


@table_asset
def mart_growth_month(
    fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Does the circle of active people grow, month by month?"""
    return growth.growth(
        fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of, period="month"
    )


@table_asset
def mart_retention_cohort(
    fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Who stays?"""
    return retention.cohort(
        fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of
    )


@table_asset
def mart_retention_curve(
    fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Who is still here, after how long?"""
    return retention_curve.curve(
        fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of=as_of
    )


@table_asset
def mart_retention_test(
    fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of
) -> pl.LazyFrame:
    """Do people won in a spike stay?"""
    return retention_comparison.comparison(
        fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of=as_of
    )


@table_asset
def mart_earnings(fct_earning, dim_identity, mart_relationship, as_of) -> pl.LazyFrame:
    """What do relationships earn, by how long they last?"""
    return earnings.earnings(fct_earning, dim_identity, mart_relationship, as_of=as_of)


@table_asset
def mart_collection(fct_collection_span, as_of) -> pl.LazyFrame:
    """What was collected, and what is missing?"""
    return coverage.collection(fct_collection_span, as_of=as_of)


@table_asset
def mart_summary(
    dim_account, dim_identity, dim_post, fct_collection_span, fold_response, fold_relationship_day, mart_cadence, mart_listening,
    mart_value, mart_post_value, mart_growth_month, mart_relationship, mart_retention_cohort, as_of,
) -> pl.LazyFrame:  # fmt: skip
    """The three questions in numbers, now and a quarter ago."""
    then = as_of - summary.QUARTER
    months, cohorts = summary.of_all_platforms(mart_growth_month, mart_retention_cohort, since=then)
    people_then = concentration.people_as_of(fold_relationship_day, dim_identity, as_of=then, known_on=as_of)
    circle, circle_then = (
        concentration.concentration(people, fct_collection_span, as_of=day)
        for people, day in ((mart_relationship, as_of), (people_then, then))
    )
    before = (
        cadence.cadence(dim_post, dim_account, fct_collection_span, as_of=then),
        availability.answering(
            fold_response, dim_identity, dim_account, fct_collection_span, as_of=then, known_on=as_of
        ),
        value.averages(summary.as_known(mart_post_value, as_of=then), as_of=then),
    )
    return summary.summary(
        dim_account,
        fct_collection_span,
        summary.measures(mart_cadence, mart_listening, mart_value, months, cohorts, circle, as_of=as_of),
        summary.measures(*before, months, cohorts, circle_then, as_of=then),
        as_of=as_of,
    )


ASSETS = [
    mart_cadence,
    mart_cadence_week,
    mart_listening,
    mart_waiting,
    mart_followers,
    mart_post_value,
    mart_value,
    mart_dilution,
    mart_spike,
    mart_retention_model,
    mart_relationship,
    mart_losing_touch,
    mart_growth_week,
    mart_growth_month,
    mart_retention_cohort,
    mart_retention_curve,
    mart_retention_test,
    mart_earnings,
    mart_collection,
    mart_summary,
]
