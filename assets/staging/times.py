"""Reading the times that sources write, column by column, for every source's staging.

A timestamp without zone is UTC. What cannot be read becomes null; the caller sets the row aside
(`unreadable`). So do times before 1990: they are no times of a web page but a clock at zero.
"""

from datetime import datetime

import polars as pl

from sources.timestamps import EARLIEST, parse_time

TIMESTAMP = pl.Datetime("us", "UTC")


def parsed(text: pl.Expr) -> pl.Expr:
    """The moments that texts name, UTC; null where there is none or it cannot be read.

    ISO 8601 and the e-mail format of RSS are read; digits alone are not (a year? seconds?).

    >>> frame = pl.DataFrame({"at": ["2020-01-02T03:04:05+02:00", "2020-01-02 03:04", "soon", None]})
    >>> frame.select(parsed(pl.col("at"))).to_series().dt.to_string("iso:strict").to_list()
    ['2020-01-02T01:04:05.000000+00:00', '2020-01-02T03:04:00.000000+00:00', None, None]
    """
    moment = text.map_batches(_parsed, return_dtype=TIMESTAMP, is_elementwise=True)
    return pl.when(moment >= pl.lit(EARLIEST)).then(moment)


def unreadable(text: pl.Expr, moment: pl.Expr) -> pl.Expr:
    """Whether a time was written that cannot be used; `moment` is what `parsed` made of `text`.

    An empty text is no time, not an unreadable one.
    """
    return (text.str.strip_chars() != "").fill_null(value=False) & moment.is_null()


def _parsed(texts: pl.Series) -> pl.Series:
    """Polars reads the two common forms fast; Python reads the rest, each distinct text once."""
    fast = texts.to_frame("text").select(
        pl.coalesce(
            pl.col("text").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False),
            pl.col("text")
            .str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
            .dt.replace_time_zone("UTC"),
        )
    )
    left = texts.filter(fast.to_series().is_null() & texts.is_not_null()).unique()
    if left.is_empty():
        return fast.to_series()
    read = pl.DataFrame({"text": left, "slow": [_one(text) for text in left]}, schema_overrides={"slow": TIMESTAMP})
    return (
        pl.DataFrame({"text": texts, "fast": fast.to_series()})
        .join(read, on="text", how="left", maintain_order="left")
        .select(pl.coalesce("fast", "slow"))
        .to_series()
    )


def _one(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None
