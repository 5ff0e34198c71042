"""Which engine computes a table: what the user said, or what was measured to be faster.

Only folds, and marts that start from a fold, have a choice: they read many rows. The rest is small, and Polars'.
"""

from collections.abc import Mapping
from typing import Literal

from orchestration.settings import Settings

Engine = Literal["polars", "duckdb", "spark"]

MEASURED: Mapping[str, Engine] = {
    "fold_relationship_day": "duckdb",
    "fold_post_value": "duckdb",
    "fold_response": "duckdb",
    "mart_followers": "duckdb",
}
"""What `auto` takes: the faster one by `python -m orchestration.bench_engines` (docs/performance.md), Polars where none is named.

`mart_waiting` alone is faster in DuckDB; in Polars it looks at what `mart_listening` has found.
"""


LARGE = 15_000_000
"""Rows of `fold_relationship_day` beyond which Polars is not tried: 3.5 million took 3.6 GB, 10.5 million 9.6.

DuckDB, told to keep to 4 GB, took 4.0 and 9.9 GB there, and twice the time.
"""


def engine_of(settings: Settings, table: str, fold_rows: int = 0) -> Engine:
    """The engine for a table, where the largest fold has so many rows.

    With a memory limit, and with large folds, `auto` is DuckDB: it can put on disk what does not fit.
    """
    match settings.engine:
        case "auto":
            return "duckdb" if settings.memory or fold_rows > LARGE else MEASURED.get(table, "polars")
        case "duckdb":
            return "duckdb"
        case "spark":
            return "spark"
        case _:
            return "polars"
