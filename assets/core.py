"""Core: the sources' staging tables united, people and posts resolved, coverage known.

Wrappers only: the steps are in `assets.resolve` and `assets.ledger`. A new platform changes
nothing here.
"""

import polars as pl

from assets import ledger, payers, resolve
from assets.table import table_asset
from quality.catalog.columns import COMPOSED
from quality.catalog.tables import TABLES


@table_asset
def dim_account(readings: pl.LazyFrame, earnings: pl.LazyFrame, settings) -> pl.LazyFrame:
    """Configured accounts, and accounts that only an activity file or a ledger named."""
    configured = pl.LazyFrame(
        [(a.name, a.name, a.timezone, a.promise_days, a.is_own) for a in settings.accounts],
        schema={
            "account_id": pl.String,
            "name": pl.String,
            "timezone": pl.String,
            "promise_days": pl.Float64,
            "is_own": pl.Boolean,
        },
        orient="row",
    )
    named = pl.concat([readings.select("account_id"), earnings.select("account_id")]).unique()
    found = named.join(configured, on="account_id", how="anti")
    default = found.with_columns(
        name=pl.col("account_id"), timezone=pl.lit("UTC"), promise_days=pl.lit(7.0), is_own=pl.lit(value=True)
    )
    return pl.concat([configured, default])


@table_asset
def dim_profile(profiles: pl.LazyFrame) -> pl.LazyFrame:
    """Profiles of all sources."""
    return profiles


@table_asset
def identity_name(interactions: pl.LazyFrame, settings) -> pl.LazyFrame:
    """The names behind the pseudonyms: the newest name each platform gave."""
    newest = (
        interactions.sort("observed_at", "interaction")
        .group_by("platform", "person")
        .agg(pl.col("person_name", "person_url").drop_nulls().last())
    )
    ids = resolve.identities(interactions, key=settings.identity_key())
    return ids.join(newest, on=["platform", "person"]).select(TABLES["identity_name"].column_names)


@table_asset
def dim_identity(identity_name: pl.LazyFrame, interactions: pl.LazyFrame, settings) -> pl.LazyFrame:
    """Identities, their persons, and whether they are configured as bots."""
    first = interactions.group_by("platform", "person").agg(
        first_seen_at=pl.coalesce("occurred_at", "observed_at").min()
    )
    bots = pl.concat_str("platform", "person", separator=":").is_in(settings.bots)
    return (
        resolve.persons(identity_name, same_person=settings.same_person)
        .join(first, on=["platform", "person"])
        .with_columns(is_bot=bots)
        .select(TABLES["dim_identity"].column_names)
    )


@table_asset
def dim_post(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Own posts of all sources; what an archive and an API both bring is one post."""
    return (
        resolve.one_each(posts, "post")
        .with_columns(post_id=resolve.published_id(pl.col("account_id"), pl.col("platform"), pl.col("post")))
        .select(TABLES["dim_post"].column_names)
    )


@table_asset
def fct_interaction(
    interactions: pl.LazyFrame,
    dim_account: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    identity_name: pl.LazyFrame,
    settings,
) -> pl.LazyFrame:
    """Interactions of all sources, with their people and posts."""
    own = resolve.own_names(dim_account, dim_profile, configured=[(a.name, a.own) for a in settings.accounts])
    ids = (
        interactions.select("account_id", "platform", in_reply_to="interaction")
        .unique()
        .with_columns(is_known=pl.lit(value=True))
    )
    published = resolve.published_id(pl.col("account_id"), pl.col("platform"), pl.col("interaction"))
    answered = resolve.published_id(pl.col("account_id"), pl.col("platform"), pl.col("in_reply_to"))
    rows = resolve.with_post(resolve.is_own(own, resolve.one_each(interactions, "interaction")), dim_post)
    return (
        rows.join(identity_name.select("platform", "person", "identity_id"), on=["platform", "person"])
        .join(ids, on=["account_id", "platform", "in_reply_to"], how="left")
        .with_columns(
            interaction_id=published,
            in_reply_to_id=pl.when("is_known").then(answered),
            is_composed=pl.col("kind").is_in(COMPOSED),
            active_at=pl.coalesce("occurred_at", "observed_at"),
            is_audience=~(pl.col("is_own_row") | pl.col("is_site_wide")),
        )
        .select(TABLES["fct_interaction"].column_names)
    )


@table_asset
def fct_counter(counters: pl.LazyFrame) -> pl.LazyFrame:
    """Observations of public counters, of all sources."""
    native = resolve.published_id(pl.col("account_id"), pl.col("platform"), pl.col("subject_id"))
    table = TABLES["fct_counter"]
    return (
        counters.with_columns(subject_id=pl.when(pl.col("subject") == "post").then(native).otherwise("subject_id"))
        .sort("loaded_at", "source", "value")
        .unique(table.key, keep="last", maintain_order=True)
        .select(table.column_names)
    )


@table_asset
def fct_earning(
    earnings: pl.LazyFrame,
    fct_interaction: pl.LazyFrame,
    identity_name: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    settings,
) -> pl.LazyFrame:
    """What people paid, and who they are."""
    return payers.earning(earnings, fct_interaction, identity_name, dim_identity, key=settings.identity_key())


@table_asset
def fct_collection_span(readings: pl.LazyFrame) -> pl.LazyFrame:
    """The coverage ledger."""
    return ledger.spans(readings).select(TABLES["fct_collection_span"].column_names)


ASSETS = [
    dim_account,
    dim_profile,
    identity_name,
    dim_identity,
    dim_post,
    fct_interaction,
    fct_counter,
    fct_earning,
    fct_collection_span,
]
