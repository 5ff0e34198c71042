"""Webmentions: raw observations to `stg_webmention__*`. Frames in and out; no assets here.

The person is the author's address. Times are those of the server (`wm-received`), which is never
far from the truth, so the time of every webmention counts as known.
"""

import polars as pl

from assets.staging import shapes
from assets.staging.shapes import Frame
from assets.staging.times import parsed, unreadable
from assets.urls import host, match_key
from quality.catalog.tables import TABLES
from sources import webmention as raw

RAW = shapes.raw_schemas(raw.TABLES)
"""Schemas of the raw tables, by name, to stand in for those that nothing was loaded into yet."""

KINDS = {
    "in-reply-to": "reply",
    "like-of": "like",
    "repost-of": "repost",
    "mention-of": "mention",
    "bookmark-of": "bookmark",
    "rsvp": "rsvp",
}
"""What `wm-property` says, in the catalogue's words."""

_SAID = [name for name in RAW["mentions"].names() if name not in ("row_hash", "loaded_at", "content_text")]


def person(author_url: pl.Expr) -> pl.Expr:
    """Who the author is: host without `www.`, path without trailing slash, and the query.

    Scheme and fragment do not distinguish people; the query does on sites like
    `/profile.php?id=7`. Null where the address names no host.

    >>> pl.select(person(pl.lit("https://www.Example.org/ann/#me"))).item()
    'example.org/ann'
    """
    query = author_url.str.extract(r"^[^?#]*(\?[^#]+)", 1).fill_null("")
    return match_key(author_url) + query


def profiles(profiles: Frame) -> pl.LazyFrame:
    """`stg_webmention__profiles`: the site of each account, as configured last."""
    table = TABLES["stg_webmention__profiles"]
    return (
        profiles.lazy()
        .sort("loaded_at", "url", "row_hash")
        .unique("account_id", keep="last", maintain_order=True)
        .with_columns(
            platform=pl.lit(raw.PLATFORM),
            source=pl.lit(raw.NAME),
            host=pl.col("domain").str.to_lowercase().str.strip_prefix("www."),
            handle=pl.lit(None, pl.String),
            born_at=pl.lit(None, table.column("born_at").dtype.polars),
        )
        .sort("account_id")
        .select(table.column_names)
    )


def interactions(mentions: Frame) -> pl.LazyFrame:
    """`stg_webmention__interactions`: each webmention once, its newest good observation.

    The first `wm-received` stays its observed_at, whatever is said later.
    """
    table = TABLES["stg_webmention__interactions"]
    return (
        _judged(mentions)
        .filter(pl.col("reason").is_null())
        .sort("loaded_at", "row_hash")
        .unique(["account_id", "wm_id"], keep="last", maintain_order=True)
        .with_columns(
            platform=pl.lit(raw.PLATFORM),
            source=pl.lit(raw.NAME),
            person_name=pl.col("author_name").str.strip_chars().replace("", None),
            person_url=pl.col("author_url"),
            direction=pl.lit("inbound"),
            target_url=pl.col("wm_target"),
            post=pl.lit(None, pl.String),
            in_reply_to=pl.lit(None, pl.String),
            is_site_wide=match_key(pl.col("wm_target")) == host(pl.col("wm_target")),
            not_before_at=pl.lit(None, table.column("not_before_at").dtype.polars),
            is_time_known=pl.lit(value=True),
            retracted_at=pl.lit(None, table.column("retracted_at").dtype.polars),
        )
        .sort(table.key)
        .select(table.column_names)
    )


def readings(readings: Frame) -> pl.LazyFrame:
    """`stg_webmention__readings`: every reading once."""
    return shapes.readings(raw.NAME, readings)


def quarantine(mentions: Frame) -> pl.LazyFrame:
    """`stg_webmention__quarantine`: webmentions that cannot be read, each with its reason."""
    return shapes.quarantined(_judged(mentions), source=raw.NAME, shape="interactions", thing="interaction", said=_SAID)


def _judged(mentions: Frame) -> pl.LazyFrame:
    """Every observation, with what was read from it and the `reason` not to use it."""
    received, published = pl.col("wm_received"), pl.col("published")
    return (
        mentions.lazy()
        .with_columns(
            interaction=pl.col("wm_id").cast(pl.String),
            person=person(pl.col("author_url")),
            kind=pl.col("wm_property").replace_strict(KINDS, default=None, return_dtype=pl.String),
            received_at=parsed(received),
            occurred_at=parsed(published),
        )
        .with_columns(
            row_ref=pl.coalesce("interaction", pl.concat_str(pl.lit("row "), "row_hash")),
            observed_at=pl.col("received_at")
            .sort_by("loaded_at", "row_hash")
            .drop_nulls()
            .first()
            .over("account_id", pl.coalesce("interaction", "row_hash")),
        )
        .with_columns(
            reason=shapes.because(
                {
                    "no wm-id": pl.col("wm_id").is_null(),
                    "no address of the author that names a host": pl.col("person").is_null(),
                    "wm-property is missing or unknown": pl.col("kind").is_null(),
                    "no wm-target that names a host": match_key(pl.col("wm_target")).is_null(),
                    "wm-received is missing": pl.col("received_at").is_null()
                    & ~unreadable(received, pl.col("received_at")),
                    "wm-received is no usable time": unreadable(received, pl.col("received_at")),
                    "published is no usable time": unreadable(published, pl.col("occurred_at")),
                    "published more than a day after it was received": pl.col("occurred_at")
                    > pl.col("observed_at") + pl.duration(days=1),
                }
            )
        )
    )
