"""Which engine computes a table: what the user said, or what was measured to be faster.

Only folds, and marts that start from a fold, have a choice: they read many rows. The rest is small, and Polars'.
"""

from collections.abc import Mapping
from typing import Literal

from orchestration.settings import Settings, bytes_of
from quality.catalog.tables import TABLES

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


LARGE = 5_000_000
"""Rows of `fold_relationship_day` that marts of people take at once in Polars; with more, some accounts after the others.

3.5 million at once took 3.5 GB, all of a night together; in three ranges 2.4.
"""
ROWS_PER_GB = 800_000
"""The same for each GB of `memory`, of which Polars has half and DuckDB half."""


def engine_of(settings: Settings, table: str, fold_rows: int = 0) -> Engine:
    """The engine for a table, where the largest fold has so many rows.

    With a memory limit, and with large folds, `auto` is DuckDB, which can put on disk what does not fit, but for tables
    that Polars can compute for some accounts after the others (`rows_at_once`).
    """
    match settings.engine:
        case "auto":
            measured = MEASURED.get(table, "polars")
            if fold_rows <= LARGE and not settings.memory:
                return measured
            return measured if TABLES[table].by_account else "duckdb"
        case "duckdb":
            return "duckdb"
        case "spark":
            return "spark"
        case _:
            return "polars"


def rows_at_once(settings: Settings) -> int:
    """How many rows of the largest fold marts of people may take at once in Polars."""
    if settings.memory is None:
        return LARGE
    return max(1, min(LARGE, round(bytes_of(settings.memory) / 1e9 * ROWS_PER_GB / 2)))
