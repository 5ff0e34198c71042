"""Feeds: raw observations to `stg_feed__*`. Frames in and out; no assets here.

A post is a feed item. Its text is read here, for its length, its links and the promotion rules,
and goes no further.
"""

import polars as pl

from assets.staging import promotion, shapes
from assets.staging.shapes import Frame
from assets.staging.times import parsed, unreadable
from assets.urls import host
from quality.catalog.tables import TABLES
from sources import feed as raw

RAW = shapes.raw_schemas(raw.TABLES)
"""Schemas of the raw tables, by name, to stand in for those that nothing was loaded into yet."""

_SAID = [name for name in RAW["items"].names() if name not in ("row_hash", "loaded_at")]
_BLOCK = r"(?i)</?(?:p|br|div|li|ul|ol|h[1-6]|tr|td|th|table|blockquote|pre|hr|figure|figcaption|section)\b[^>]*>"
_UNSEEN = r"(?is)<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"


def profiles(profiles: Frame) -> pl.LazyFrame:
    """`stg_feed__profiles`: the site of each account's feed; of several feeds, the first by address."""
    table = TABLES["stg_feed__profiles"]
    site = pl.col("url").str.extract(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/?#]+)", 1) + "/"
    return (
        _newest(profiles)
        .sort("account_id", "url")
        .unique("account_id", keep="first", maintain_order=True)
        .with_columns(url=pl.coalesce("home_page_url", site))
        .with_columns(
            platform=pl.lit(raw.PLATFORM),
            source=pl.lit(raw.NAME),
            host=host(pl.col("url")),
            handle=pl.lit(None, pl.String),
            born_at=pl.lit(None, table.column("born_at").dtype.polars),
        )
        .sort("account_id")
        .select(table.column_names)
    )


def posts(items: Frame, profiles: Frame) -> pl.LazyFrame:
    """`stg_feed__posts`: each item once, its newest good observation, with what its text tells.

    An item without `published` was published when it first said it was updated.
    """
    table = TABLES["stg_feed__posts"]
    languages = _newest(profiles).select("account_id", feed_url="url", feed_language="language")
    rows = (
        _judged(items)
        .filter(pl.col("reason").is_null())
        .sort("loaded_at", "feed_url", "row_hash")
        .unique(["account_id", "post"], keep="last", maintain_order=True)
        .join(languages, on=["account_id", "feed_url"], how="left")
        .with_columns(text=pl.coalesce("content_html", "content_text", "summary"))
        .with_columns(
            platform=pl.lit(raw.PLATFORM),
            source=pl.lit(raw.NAME),
            deleted_at=pl.lit(None, table.column("deleted_at").dtype.polars),
            kind=pl.when(_is_written("external_url")).then(pl.lit("link")).otherwise(pl.lit("article")),
            language=pl.coalesce("language", "feed_language").str.strip_chars().replace("", None),
            words=words(pl.coalesce("content_text", "content_html", "summary")),
            links=links(pl.col("text")) + _is_written("external_url").cast(pl.Int64),
            observed_at="published_at",
        )
        .sort(table.key)
        .collect()
    )
    key = ["account_id", "platform", "post"]
    judged = promotion.judge(rows.select(*key, "published_at", "url", "external_url", "text"))
    return rows.lazy().join(judged.lazy(), on=key, how="left", maintain_order="left").select(table.column_names)


def readings(readings: Frame) -> pl.LazyFrame:
    """`stg_feed__readings`: every reading once."""
    return shapes.readings(raw.NAME, readings)


def quarantine(items: Frame) -> pl.LazyFrame:
    """`stg_feed__quarantine`: items that cannot be read, each with its reason."""
    return shapes.quarantined(_judged(items), source=raw.NAME, shape="posts", thing="post", said=_SAID)


def words(text: pl.Expr) -> pl.Expr:
    """Number of words: runs without white space that hold a letter or a digit. Markup is no text.

    >>> pl.select(words(pl.lit("<p>Two<br>words &amp; <b>o</b>ne - more</p>"))).item()
    4
    """
    plain = (
        text.str.replace_all(_UNSEEN, " ")
        .str.replace_all(_BLOCK, " ")
        .str.replace_all(r"<[^>]*>", "")
        .str.replace_all(r"&(?:#\d+|#x[0-9A-Fa-f]+|amp|lt|gt|nbsp|quot|mdash|ndash|hellip);", " ")
    )
    return plain.str.count_matches(r"\S*[\p{L}\p{N}]\S*").cast(pl.Int64)


def links(text: pl.Expr) -> pl.Expr:
    """Number of links in a text: `<a href>` where it is HTML, else addresses.

    >>> pl.select(links(pl.lit('<a href="https://a.example">https://a.example</a>'))).item()
    1
    """
    anchors = text.str.count_matches(r"(?i)<a\s[^>]*\bhref\s*=")
    return pl.when(anchors > 0).then(anchors).otherwise(text.str.count_matches(r"https?://\S")).cast(pl.Int64)


def _is_written(name: str) -> pl.Expr:
    return (pl.col(name).str.strip_chars() != "").fill_null(value=False)


def _newest(profiles: Frame) -> pl.LazyFrame:
    """The newest observation of each feed."""
    return profiles.lazy().sort("loaded_at", "row_hash").unique(["account_id", "url"], keep="last", maintain_order=True)


def _judged(items: Frame) -> pl.LazyFrame:
    """Every observation, with what was read from it and the `reason` not to use it."""
    published, updated = pl.col("published"), pl.col("updated")
    twin = ["account_id", "feed_url", pl.coalesce("item_id", "row_hash"), "loaded_at"]
    order = ["updated_at", "said_at", "row_hash"]
    return (
        items.lazy()
        .with_columns(post=pl.col("item_id"), said_at=parsed(published), updated_at=parsed(updated))
        .with_columns(
            published_at=pl.coalesce(
                "said_at", pl.col("updated_at").min().over("account_id", pl.coalesce("item_id", "row_hash"))
            ),
            # The latest version counts; its row_hash names it even where versions share their times.
            is_twin=pl.col("row_hash") != pl.col("row_hash").sort_by(order, nulls_last=False).last().over(twin),
        )
        .with_columns(
            row_ref=pl.when(pl.col("is_twin") | pl.col("post").is_null())
            .then(pl.concat_str(pl.coalesce("post", pl.lit("row")), pl.lit(" "), "row_hash"))
            .otherwise("post"),
            reason=shapes.because(
                {
                    "the item is no object": pl.col("extra").is_not_null(),
                    "no id": pl.col("post").is_null() & pl.col("extra").is_null(),
                    "no date": pl.col("published_at").is_null()
                    & pl.col("extra").is_null()
                    & ~unreadable(published, pl.col("said_at")),
                    "the date of publication is no usable time": unreadable(published, pl.col("said_at")),
                    "the date of the change is no usable time": unreadable(updated, pl.col("updated_at")),
                    "another item with this id in the same reading": pl.col("is_twin"),
                }
            ),
        )
    )
