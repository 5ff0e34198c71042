"""Activity files: raw rows to `stg_activity__*`. Frames in and out; no assets here.

The only source whose rows people write by hand, so everything is judged: what cannot be used is set
aside with the reason, its row as JSON and where it stands (`file:row`). Of several observations of
one post or interaction the newest good one counts, and the first `observed_at` stays.
"""

from collections.abc import Iterable

import polars as pl

from assets.staging import feed, promotion, shapes
from assets.staging.shapes import Frame
from assets.staging.times import parsed, unreadable
from quality.catalog.columns import DIRECTIONS, KINDS
from quality.catalog.tables import TABLES
from sources import activity as raw
from sources.activity_files import COLUMNS, TIME, Shape
from sources.timestamps import EARLIEST

RAW = shapes.raw_schemas(raw.TABLES)
"""Schemas of the raw tables, by name, to stand in for those that nothing was loaded into yet."""

Reasons = dict[str, pl.Expr]

_DAY = pl.duration(days=1)
_KNOWN_TIME = pl.duration(days=2)
"""An interaction seen this soon after it became possible has a known time."""
_KEYS: dict[Shape, list[str]] = {
    "posts": ["account_id", "platform", "post"],
    "interactions": ["account_id", "platform", "interaction"],
}


def posts(posts: Frame) -> pl.LazyFrame:
    """`stg_activity__posts`: each post once, its newest good observation, judged for promotion.

    A post counts as first seen when it was published: the day of import says nothing. Words and
    links are counted in the text where the file does not give them.
    """
    table = TABLES["stg_activity__posts"]
    read, reasons = _read_posts(posts)
    newest = (
        _good(read, reasons)
        .sort("loaded_at", "row_number", "row_hash")
        .unique(_KEYS["posts"], keep="last", maintain_order=True)
        .sort(_KEYS["posts"])
        .select(
            *_KEYS["posts"], "url", "language", "loaded_at", "text",
            source=pl.lit(raw.NAME),
            external_url=pl.lit(None, pl.String),
            kind=pl.col("kind").str.to_lowercase().fill_null("post"),
            published_at=pl.col("published_at_read"),
            observed_at=pl.col("published_at_read"),
            deleted_at=pl.col("deleted_at_read"),
            words=pl.coalesce("words_read", feed.words(pl.col("text"))),
            links=pl.coalesce("links_read", feed.links(pl.col("text"))),
        )
        .collect()
    )  # fmt: skip
    judged = promotion.judge(newest).select("is_promotional", "promotion_reason")
    return pl.concat([newest, judged], how="horizontal").lazy().select(table.column_names)


def interactions(interactions: Frame, posts: Frame) -> pl.LazyFrame:
    """`stg_activity__interactions`: each interaction once, its newest good observation.

    `posts` are the raw posts: an interaction of unknown time cannot be older than its post. What
    has no id of its own is identified by its content.
    """
    table = TABLES["stg_activity__interactions"]
    read, reasons = _read_interactions(interactions)
    good = _good(read, reasons).with_columns(
        interaction=pl.coalesce("interaction", "row_hash"),
        occurred_at=pl.col("occurred_at_read"),
        observed_at=pl.coalesce("observed_at_read", "occurred_at_read"),
    )
    is_url = pl.col("post").str.contains(r"^(?i)https?://")
    return (
        _with_earliest(_newest(good), posts)
        .with_columns(
            source=pl.lit(raw.NAME),
            person_name=pl.lit(None, pl.String),
            person_url=pl.when(pl.col("person").str.contains(r"^(?i)https?://")).then("person"),
            kind=pl.col("kind_read"),
            direction=pl.col("direction_read"),
            retracted_at=pl.col("retracted_at_read"),
            target_url=pl.when(is_url).then("post"),
            post=pl.when(~is_url).then("post"),
            is_site_wide=pl.lit(value=False),
            is_time_known=pl.col("occurred_at").is_not_null()
            | (pl.col("observed_at") - pl.col("not_before_at") <= _KNOWN_TIME).fill_null(value=False),
        )
        .select(table.column_names)
    )


def readings(readings: Frame) -> pl.LazyFrame:
    """`stg_activity__readings`: every reading once; of two that end at the same time the one loaded last.

    Imports add up: a stream that any import offered is offered, whatever the others lacked.
    """
    table = TABLES["stg_activity__readings"]
    return (
        readings.lazy()
        .sort(pl.col("status") != "not_offered", "loaded_at", "row_hash")
        .unique(table.key, keep="last", maintain_order=True)
        .sort(table.key)
        .select(table.column_names)
    )


def quarantine(posts: Frame, interactions: Frame) -> pl.LazyFrame:
    """`stg_activity__quarantine`: rows that cannot be used, each with its reasons, `; ` between them.

    A row whose post or interaction was read well in a later import is left out. `row_ref` is
    `file:row`; where a file of the same name was imported before, the older row says when.
    """
    table = TABLES["stg_activity__quarantine"]
    bad = pl.concat(
        [_bad(*_read_posts(posts), shape="posts"), _bad(*_read_interactions(interactions), shape="interactions")]
    )
    place = ["account_id", "shape", "row_ref"]
    return (
        bad.sort(*place, "loaded_at", "row_hash")
        .with_columns(later=pl.len().over(place) - 1 - pl.int_range(pl.len()).over(place))
        .with_columns(
            row_ref=pl.when(pl.col("later") == 0)
            .then("row_ref")
            .otherwise(
                pl.concat_str(
                    "row_ref", pl.lit(" (import of "), pl.col("loaded_at").dt.to_string("%Y-%m-%d %H:%M:%S%.f"),
                    pl.lit(", "), "row_hash", pl.lit(")"),
                )
            )
        )
        .sort(table.key)
        .select(table.column_names)
    )  # fmt: skip


def _good(read: pl.LazyFrame, reasons: Reasons) -> pl.LazyFrame:
    return read.filter(~pl.any_horizontal(holds.fill_null(value=False) for holds in reasons.values()))


def _bad(read: pl.LazyFrame, reasons: Reasons, *, shape: Shape) -> pl.LazyFrame:
    """The rows with a reason, as quarantine has them, and `row_hash`."""
    key = _KEYS[shape]
    good = (
        _good(read, reasons).filter(pl.col(key[-1]).is_not_null()).group_by(key).agg(well_at=pl.col("loaded_at").max())
    )
    said = [
        name
        for name in RAW[shape].names()
        if name not in {"account_id", "platform", "file", "row_number", "row_hash", "loaded_at", "problem"}
    ]
    return (
        read.filter(pl.any_horizontal(holds.fill_null(value=False) for holds in reasons.values()))
        .join(good, on=key, how="left")
        .filter((pl.col("well_at") <= pl.col("loaded_at")).fill_null(value=True))
        .select(
            "account_id", "platform", "loaded_at", "row_hash",
            source=pl.lit(raw.NAME),
            shape=pl.lit(shape),
            row_ref=pl.concat_str("file", pl.lit(":"), "row_number"),
            # A line that is no row lacks everything else too; that needs no saying.
            reason=pl.coalesce("problem", shapes.because(reasons)),
            row=pl.struct(pl.col(name).cast(pl.String) for name in said).struct.json_encode(),
        )
    )  # fmt: skip


def _newest(good: pl.LazyFrame) -> pl.LazyFrame:
    """The newest observation of each interaction, with the first `observed_at` of all.

    Where the newest says that it happened after that, its own `observed_at` stands.
    """
    rows = good.collect()
    # Nearly always every row is one interaction: then there is nothing to choose.
    several = pl.struct(_KEYS["interactions"]).hash().is_duplicated()
    doubtful = rows.filter(several)
    first = pl.col("observed_at").first().over(_KEYS["interactions"])
    chosen = (
        doubtful.sort("loaded_at", "row_number", "row_hash")
        .with_columns(
            observed_at=pl.when((pl.col("occurred_at") <= first + _DAY).fill_null(value=True))
            .then(first)
            .otherwise("observed_at")
        )
        .unique(_KEYS["interactions"], keep="last", maintain_order=True)
    )
    return pl.concat([rows.filter(~several), chosen]).lazy() if doubtful.height else rows.lazy()


def _with_earliest(rows: pl.LazyFrame, posts: Frame) -> pl.LazyFrame:
    """`not_before_at`: when the post was published, for an interaction whose own time is unknown."""
    read, reasons = _read_posts(posts)
    published = (
        _good(read, reasons)
        .sort("loaded_at", "row_number", "row_hash")
        .unique(_KEYS["posts"], keep="last", maintain_order=True)
        .select(*_KEYS["posts"], "published_at_read")
    )
    is_possible = pl.col("occurred_at").is_null() & (pl.col("published_at_read") <= pl.col("observed_at"))
    return rows.join(published, on=_KEYS["posts"], how="left").with_columns(
        not_before_at=pl.when(is_possible).then("published_at_read")
    )


def _read_posts(posts: Frame) -> tuple[pl.LazyFrame, Reasons]:
    """Every row, with what was read from it in `<column>_read`; and the reasons not to use it."""
    read = _stripped(posts, "posts").with_columns(
        published_at_read=_moment("posts"),
        deleted_at_read=parsed(pl.col("deleted_at")),
        words_read=_number("words"),
        links_read=_number("links"),
    )
    return read, {
        "not a row": pl.col("problem").is_not_null(),
        "no account": pl.col("account_id").is_in([raw.NO_ACCOUNT, ""]),
        "no post": pl.col("post").is_null(),
        "no published_at": pl.all_horizontal(pl.col("published_at", "at_utc").is_null()),
        **_time_reasons("posts", ("published_at", "deleted_at")),
        "words is no whole number": pl.col("words").is_not_null() & pl.col("words_read").is_null(),
        "links is no whole number": pl.col("links").is_not_null() & pl.col("links_read").is_null(),
    }


def _read_interactions(interactions: Frame) -> tuple[pl.LazyFrame, Reasons]:
    """Every row, with what was read from it in `<column>_read`; and the reasons not to use it."""
    read = _stripped(interactions, "interactions").with_columns(
        kind_read=pl.col("kind").str.to_lowercase(),
        direction_read=pl.col("direction").str.to_lowercase().fill_null("inbound"),
        occurred_at_read=_moment("interactions"),
        observed_at_read=parsed(pl.col("observed_at")),
        retracted_at_read=parsed(pl.col("retracted_at")),
    )
    return read, {
        "not a row": pl.col("problem").is_not_null(),
        "no account": pl.col("account_id").is_in([raw.NO_ACCOUNT, ""]),
        "no person": pl.col("person").is_null(),
        "no kind": pl.col("kind").is_null(),
        "unknown kind": ~pl.col("kind_read").is_in(KINDS),
        "unknown direction": ~pl.col("direction_read").is_in(DIRECTIONS),
        "neither occurred_at nor observed_at": pl.all_horizontal(
            pl.col("occurred_at", "at_utc", "observed_at").is_null()
        ),
        **_time_reasons("interactions", ("occurred_at", "observed_at", "retracted_at")),
        "occurred_at is more than a day after observed_at": pl.col("occurred_at_read")
        > pl.col("observed_at_read") + _DAY,
    }


def _stripped(frame: Frame, shape: Shape) -> pl.LazyFrame:
    """The raw rows with their texts stripped (not the post's own text); an empty one is no value."""
    texts = [pl.col(name).str.strip_chars() for name in COLUMNS[shape] if name not in ("account", "text")]
    times = pl.col("at_utc", "loaded_at").dt.convert_time_zone("UTC")  # whatever zone the reader's session is in
    return frame.lazy().with_columns(times, *(pl.when(text != "").then(text) for text in texts))


def _moment(shape: Shape) -> pl.Expr:
    """The time that the row is about: as the file gave it, else what was written; null before 1990."""
    given = pl.when(pl.col("at_utc") >= pl.lit(EARLIEST)).then("at_utc")
    return pl.coalesce(given, parsed(pl.col(TIME[shape])))


def _time_reasons(shape: Shape, names: Iterable[str]) -> Reasons:
    reasons = {}
    for name in names:
        read = pl.col(f"{name}_read")
        written = unreadable(pl.col(name), read)
        if name == TIME[shape]:
            written |= pl.col("at_utc").is_not_null() & read.is_null()
        reasons[f"{name} is no usable time"] = written
        reasons[f"{name} is in the future"] = read > pl.col("loaded_at") + _DAY
    return reasons


def _number(name: str) -> pl.Expr:
    """A whole number, also one that a spreadsheet wrote as `12.0`."""
    return pl.col(name).str.extract(r"^(\d{1,15})(?:\.0*)?$", 1).cast(pl.Int64)
