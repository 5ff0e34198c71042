"""What the staging of every source does alike: readings, and setting rows aside with the reason.

Raw tables hold observations: the same thing as it was said at different times. A good observation
is never displaced by a later bad one; the bad one is reported until a later good one follows.
"""

from collections.abc import Iterable, Mapping

import polars as pl

from quality.catalog.tables import TABLES
from sources.model import RawTable

Frame = pl.DataFrame | pl.LazyFrame
_POLARS = {"text": pl.String(), "bigint": pl.Int64(), "bool": pl.Boolean(), "timestamp": pl.Datetime("us", "UTC")}


def raw_schemas(tables: Iterable[RawTable]) -> dict[str, pl.Schema]:
    """The Polars schema of each raw table: what an empty frame stands in with until it is loaded."""
    return {table.name: pl.Schema({c.name: _POLARS[c.dtype] for c in table.columns}) for table in tables}


def readings(source: str, readings: Frame) -> pl.LazyFrame:
    """`stg_<source>__readings`: every reading once."""
    table = TABLES[f"stg_{source}__readings"]
    return (
        readings.lazy()
        .sort("row_hash")
        .unique(table.key, keep="last", maintain_order=True)
        .sort(table.key)
        .select(table.column_names)
    )


def because(reasons: Mapping[str, pl.Expr]) -> pl.Expr:
    """All reasons whose condition holds, `; ` between them; null where none does.

    >>> frame = pl.DataFrame({"a": [1, 2]})
    >>> frame.select(because({"too big": pl.col("a") > 1})).to_series().to_list()
    [None, 'too big']
    """
    said = [pl.when(holds.fill_null(value=False)).then(pl.lit(reason)) for reason, holds in reasons.items()]
    return pl.concat_str(said, separator="; ", ignore_nulls=True).replace("", None)


def quarantined(judged: pl.LazyFrame, *, source: str, shape: str, thing: str, said: Iterable[str]) -> pl.LazyFrame:
    """`stg_<source>__quarantine`: the rows of `judged` with a `reason`.

    `judged` has account_id, the column `thing` (id of what the row is about, null where unknown),
    row_ref, reason, row_hash, loaded_at; `said` names the raw columns that are kept as JSON. A row
    whose thing was read well later is left out; of several with one row_ref the newest stays.
    """
    table = TABLES[f"stg_{source}__quarantine"]
    good = (
        judged.filter(pl.col("reason").is_null())
        .group_by("account_id", thing)
        .agg(read_well_at=pl.col("loaded_at").max())
    )
    return (
        judged.filter(pl.col("reason").is_not_null())
        .join(good, on=["account_id", thing], how="left")
        .filter(pl.col("read_well_at").is_null() | (pl.col("read_well_at") <= pl.col("loaded_at")))
        .sort("loaded_at", "row_hash")
        .unique(["account_id", "row_ref"], keep="last", maintain_order=True)
        .with_columns(
            platform=pl.lit(source),
            source=pl.lit(source),
            shape=pl.lit(shape),
            row=pl.struct(said).struct.json_encode(),
        )
        .sort(table.key)
        .select(table.column_names)
    )
