"""Staging of every source that fills the common raw tables (`sources.observations`): frames in and out.

A source's own module names its tables and says what is particular to it; reading times, keeping the
newest good observation, threads, retractions and the time of a row are the same for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from assets.staging import promotion, shapes
from assets.staging.feed import links, words
from assets.staging.shapes import Frame
from assets.staging.times import parsed, unreadable
from assets.urls import host
from quality.catalog.columns import DIRECTIONS, KINDS
from quality.catalog.tables import TABLES
from sources import observations as raw

RAW = shapes.raw_schemas(raw.TABLES)
"""Schemas of the raw tables, by name, to stand in for those that nothing was loaded into yet."""

THREAD = pl.duration(hours=1)
"""An own reply to an own post within this time continues it."""
KNOWN_WITHIN = pl.duration(days=2)
"""First seen within this time of when it can have happened at the earliest: the time is known."""

_POST = ["account_id", "platform", "post"]
_INTERACTION = ["account_id", "platform", "interaction"]


@dataclass(frozen=True)
class Staging:
    """The shapes of a source that has nothing of its own to say: each the function below of the same name."""

    source: str
    is_site: bool = False
    is_archive: bool = False

    def profiles(self, profiles: Frame) -> pl.LazyFrame:
        """The profile of each account."""
        return _profiles(self.source, profiles, is_site=self.is_site)

    def posts(self, posts: Frame, sightings: Frame) -> pl.LazyFrame:
        """Own posts."""
        return _posts(self.source, posts, sightings)

    def interactions(self, interactions: Frame, posts: Frame, lists: Frame, sightings: Frame) -> pl.LazyFrame:
        """Interactions in both directions."""
        return _interactions(self.source, interactions, posts, lists, sightings, is_archive=self.is_archive)

    def counters(self, counters: Frame, posts: Frame) -> pl.LazyFrame:
        """Public counters over time."""
        return _counters(self.source, counters, posts)

    def readings(self, readings: Frame) -> pl.LazyFrame:
        """Every reading once."""
        return shapes.readings(self.source, readings)

    def quarantine(self, posts: Frame, interactions: Frame) -> pl.LazyFrame:
        """What cannot be read, with the reason."""
        return _quarantine(self.source, posts, interactions, is_archive=self.is_archive)


def _profiles(source: str, profiles: Frame, *, is_site: bool = False) -> pl.LazyFrame:
    """`stg_<source>__profiles`: each account's profile, as seen last; of several, the first by id.

    The host is given only where the whole host is the account's (`is_site`): authors on it are the account.
    """
    table = TABLES[f"stg_{source}__profiles"]
    return (
        profiles.lazy()
        .sort("loaded_at", "row_hash")
        .unique(["account_id", "platform", "profile"], keep="last", maintain_order=True)
        .sort("account_id", "platform", "profile")
        .unique(["account_id", "platform"], keep="first", maintain_order=True)
        .with_columns(
            source=pl.lit(source),
            host=host(pl.col("url")) if is_site else pl.lit(None, pl.String),
            born_at=parsed(pl.col("born_at")),
        )
        .sort(table.key)
        .select(table.column_names)
    )


def _posts(source: str, posts: Frame, sightings: Frame) -> pl.LazyFrame:
    """`stg_<source>__posts`: each own post once, its newest good observation; a thread is its first post.

    A post that a complete reading no longer found is deleted at that reading, where the platform does
    not say when.
    """
    table = TABLES[f"stg_{source}__posts"]
    newest = _newest_posts(posts)
    gone = _gone(sightings, "post", lists=pl.col("list") == "posts")
    rows = (
        newest.join(_roots(newest), on=_POST, how="left")
        .filter(pl.col("root").is_null())
        .join(gone, on=_POST, how="left")
        .with_columns(
            source=pl.lit(source),
            deleted_at=pl.coalesce("said_deleted_at", "gone_at"),
            kind=pl.col("kind").fill_null("note"),
            language=pl.col("language").str.strip_chars().replace("", None),
            words=words(pl.col("text")),
            links=links(pl.col("text")),
            observed_at="published_at",
        )
        .sort(table.key)
        .collect()
    )
    judged = promotion.judge(rows.select(*_POST, "published_at", "url", "external_url", "text"))
    return rows.lazy().join(judged.lazy(), on=_POST, how="left", maintain_order="left").select(table.column_names)


def _interactions(
    source: str, interactions: Frame, posts: Frame, lists: Frame, sightings: Frame, *, is_archive: bool = False
) -> pl.LazyFrame:
    """`stg_<source>__interactions`: each interaction once, its newest good observation.

    Seen first when its first observation was loaded (an archive: when it happened). It cannot have
    happened before the last complete reading of its list that did not have it, nor before its post.
    """
    table = TABLES[f"stg_{source}__interactions"]
    own = _newest_posts(posts)
    published = own.select(*_POST, post_at="published_at")
    judged = _judged_interactions(interactions, is_archive=is_archive).filter(pl.col("reason").is_null())
    newest = (
        judged.sort("loaded_at", "row_hash")
        .group_by(_INTERACTION, maintain_order=True)
        .agg(
            pl.col("direction", "kind", "person", "loaded_at").last(),
            pl.col("person_name", "person_url", "post", "target_url", "in_reply_to", "occurred_at").drop_nulls().last(),
            pl.col("said_deleted_at").drop_nulls().last(),
            pl.col("seen_at").min(),
        )
    )
    gone = _gone(sightings, "interaction", lists=pl.col("list") != "posts")
    return (
        newest.join(_roots(own), on=_POST, how="left")
        .with_columns(post=pl.coalesce("root", "post"))
        .join(published, on=_POST, how="left")
        .join(gone, on=_INTERACTION, how="left")
        .join(_absent(lists, sightings), on=_INTERACTION, how="left")
        .with_columns(
            source=pl.lit(source),
            observed_at="seen_at",
            is_site_wide=pl.lit(value=False),
            retracted_at=pl.coalesce("said_deleted_at", "gone_at"),
            not_before_at=pl.min_horizontal(pl.coalesce("absent_at", "post_at"), "seen_at"),
        )
        .with_columns(
            is_time_known=pl.col("occurred_at").is_not_null()
            | ((pl.col("observed_at") - pl.col("not_before_at")) <= KNOWN_WITHIN).fill_null(value=False)
        )
        .sort(table.key)
        .select(table.column_names)
    )


def _counters(source: str, counters: Frame, posts: Frame) -> pl.LazyFrame:
    """`stg_<source>__counters`: every observation of every counter; those of a thread's later posts are left out."""
    table = TABLES[f"stg_{source}__counters"]
    parts = _roots(_newest_posts(posts)).select("account_id", "platform", subject_id="post")
    return (
        counters.lazy()
        .join(parts, on=["account_id", "platform", "subject_id"], how="anti")
        .with_columns(source=pl.lit(source))
        .sort("loaded_at", "row_hash")
        .unique(table.key, keep="last", maintain_order=True)
        .sort(table.key)
        .select(table.column_names)
    )


def _quarantine(source: str, posts: Frame, interactions: Frame, *, is_archive: bool = False) -> pl.LazyFrame:
    """`stg_<source>__quarantine`: posts and interactions that cannot be read, each with its reason."""
    said = {
        shape: [name for name in RAW[shape].names() if name not in ("row_hash", "loaded_at", "text", "content_text")]
        for shape in ("posts", "interactions")
    }
    bad_posts = shapes.quarantined(_judged_posts(posts), source=source, shape="posts", thing="post", said=said["posts"])
    judged = _judged_interactions(interactions, is_archive=is_archive)
    bad = shapes.quarantined(
        judged, source=source, shape="interactions", thing="interaction", said=said["interactions"]
    )
    return pl.concat([bad_posts, bad])


def _judged_posts(posts: Frame) -> pl.LazyFrame:
    published, deleted = pl.col("published_at"), pl.col("deleted_at")
    return (
        posts.lazy()
        .with_columns(at=parsed(published), said_deleted_at=parsed(deleted))
        .with_columns(
            row_ref=pl.coalesce("post", pl.concat_str(pl.lit("row "), "row_hash")),
            reason=shapes.because(
                {
                    "no id": pl.col("post").is_null(),
                    "no time of publication": pl.col("at").is_null() & ~unreadable(published, pl.col("at")),
                    "the time of publication is no usable time": unreadable(published, pl.col("at")),
                    "the time of deletion is no usable time": unreadable(deleted, pl.col("said_deleted_at")),
                    "published more than a day after it was read": pl.col("at")
                    > pl.col("loaded_at") + pl.duration(days=1),
                }
            ),
        )
    )


def _newest_posts(posts: Frame) -> pl.LazyFrame:
    """The newest good observation of each own post, `published_at` as a time."""
    return (
        _judged_posts(posts)
        .filter(pl.col("reason").is_null())
        .sort("loaded_at", "edited_at", "row_hash", nulls_last=False)
        .unique(_POST, keep="last", maintain_order=True)
        .with_columns(published_at="at")
    )


def _roots(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Own posts that continue another: `account_id, platform, post, root`, the thread's first post.

    Each continues the one it answers if it came within an hour of it; a chain leads to its first.
    """
    parents = (
        posts.filter(pl.col("in_reply_to").is_not_null())
        .select(*_POST, "published_at", parent="in_reply_to")
        .join(
            posts.select("account_id", "platform", parent="post", parent_at="published_at"),
            on=["account_id", "platform", "parent"],
        )
        .filter(
            (pl.col("published_at") - pl.col("parent_at")).is_between(pl.duration(), THREAD),
            pl.col("post") != pl.col("parent"),
        )
        .collect()
    )
    step = {(a, p, post): (a, p, parent) for a, p, post, parent in parents.select(*_POST, "parent").iter_rows()}
    roots = []
    for start in step:
        end, passed = start, {start}
        while end in step and step[end] not in passed:
            end = step[end]
            passed.add(end)
        roots.append((*start, end[2]))
    schema = dict.fromkeys((*_POST, "root"), pl.String)
    return pl.LazyFrame(roots, schema=schema, orient="row")


def _judged_interactions(interactions: Frame, *, is_archive: bool) -> pl.LazyFrame:
    occurred, deleted = pl.col("occurred_at"), pl.col("deleted_at")
    return (
        interactions.lazy()
        .with_columns(moment=parsed(occurred), said_deleted_at=parsed(deleted))
        .with_columns(
            row_ref=pl.coalesce("interaction", pl.concat_str(pl.lit("row "), "row_hash")),
            seen_at=pl.coalesce("moment", "loaded_at") if is_archive else pl.col("loaded_at"),
            reason=shapes.because(
                {
                    "no id": pl.col("interaction").is_null(),
                    "no person": (pl.col("person").str.strip_chars() == "").fill_null(value=True),
                    "the kind is missing or unknown": ~pl.col("kind").is_in(KINDS).fill_null(value=False),
                    "the direction is missing or unknown": ~pl.col("direction")
                    .is_in(DIRECTIONS)
                    .fill_null(value=False),
                    "the time is no usable time": unreadable(occurred, pl.col("moment")),
                    "the time of deletion is no usable time": unreadable(deleted, pl.col("said_deleted_at")),
                    "it happened more than a day after it was read": pl.col("moment")
                    > pl.col("loaded_at") + pl.duration(days=1),
                }
            ),
        )
        .with_columns(occurred_at="moment")
    )


def _events(sightings: Frame, item: str, lists: pl.Expr | None = None) -> pl.LazyFrame:
    events = sightings.lazy() if lists is None else sightings.lazy().filter(lists)
    return events.select("account_id", "platform", "list", "event", "observed_at", pl.col("item").alias(item))


def _gone(sightings: Frame, item: str, *, lists: pl.Expr) -> pl.LazyFrame:
    """What is gone now, and since which reading: an item whose newest event, over all its lists, is `gone`."""
    key: Sequence[str] = ("account_id", "platform", item)
    return (
        _events(sightings, item, lists)
        .sort("observed_at", pl.col("event") == "seen")
        .group_by(key, maintain_order=True)
        .agg(pl.col("event", "observed_at").last())
        .filter(pl.col("event") == "gone")
        .select(*key, gone_at="observed_at")
    )


def _absent(lists: Frame, sightings: Frame) -> pl.LazyFrame:
    """The last complete reading of its list before each interaction was first seen there."""
    first = (
        _events(sightings, "interaction", pl.col("list") != "posts")
        .filter(pl.col("event") == "seen")
        .group_by(*_INTERACTION, "list")
        .agg(first_at=pl.col("observed_at").min())
    )
    complete = lists.lazy().filter("is_complete").select("account_id", "platform", "list", absent_at="observed_at")
    return (
        first.join(complete, on=["account_id", "platform", "list"])
        .filter(pl.col("absent_at") < pl.col("first_at"))
        .group_by(_INTERACTION)
        .agg(pl.col("absent_at").max())
    )
