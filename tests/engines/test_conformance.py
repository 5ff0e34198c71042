"""Every fold and every step over people gives the same rows on Polars, DuckDB and Spark."""

from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.engines.comparing import differences, on_duckdb, on_spark
from tests.engines.frames import AS_OF, Tables, communities
from tests.engines.steps import STEPS, reference, run

WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""A failing community takes minutes to shrink, and the difference names the step."""

Put = Callable[[str, pl.DataFrame], nw.LazyFrame[Any]]


def compare(tables: Tables, put: Put, *, as_of: date) -> None:
    """Each step, from the same frames as on Polars: a step that differs does not hide behind another."""
    wanted = reference(tables, as_of=as_of)
    differing = {}
    for name, step in STEPS.items():
        got = run(step, lambda frame: put(frame, wanted[frame]), as_of=as_of)
        if found := differences(got, wanted[name]):
            differing[name] = found
    assert not differing


@given(tables=communities(accounts=6))
@settings(max_examples=6, phases=WITHOUT_SHRINKING)
def test_random_communities_on_duckdb(tables: Tables) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        compare(tables, lambda name, frame: on_duckdb(frame, connection, name), as_of=AS_OF)


@pytest.mark.spark
@given(tables=communities(accounts=20))
@settings(max_examples=2, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_communities_on_spark(spark: Any, tables: Tables) -> None:
    brought: dict[str, nw.LazyFrame[Any]] = {}

    def put(name: str, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        return brought[name] if name in brought else brought.setdefault(name, on_spark(frame, spark))

    compare(tables, put, as_of=AS_OF)
