"""Every mart that reads a fold, with the fold in DuckDB: the same rows as with it in Polars.

Steps in a row and what stands between them (`kept`, `beside`, `joined`, `collected`), as a night runs them. On Spark a whole
night is held against one on Polars (`test_nights.py`): each mart plans many jobs there.
"""

import inspect
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
from hypothesis import Phase, given, settings

from assets.metrics import (
    availability,
    concentration,
    followers,
    growth,
    listening,
    relationship,
    retention,
    retention_comparison,
    retention_curve,
    retention_model,
    spike,
    value,
)  # fmt: skip
from quality.catalog.model import empty
from quality.catalog.tables import TABLES as CATALOGUE
from tests.engines.comparing import differences, on_duckdb
from tests.engines.frames import AS_OF, Tables, communities
from tests.engines.steps import reference

MARTS: dict[str, tuple[Callable[..., pl.LazyFrame], dict[str, Any]]] = {
    "mart_listening": (availability.listening, {}),
    "mart_waiting": (listening.waiting, {}),
    "mart_followers": (followers.followers, {}),
    "mart_post_value": (value.post_value, {}),
    "mart_spike": (spike.spike, {}),
    "mart_retention_model": (retention_model.retention_model, {}),
    "mart_relationship": (relationship.relationship, {}),
    "mart_growth_week": (growth.growth, {"period": "week"}),
    "mart_growth_month": (growth.growth, {"period": "month"}),
    "mart_retention_cohort": (retention.cohort, {}),
    "mart_retention_curve": (retention_curve.curve, {}),
    "mart_retention_test": (retention_comparison.comparison, {}),
    "people_as_of": (concentration.people_as_of, {}),
}


def compare(tables: Tables, put: Callable[[str, pl.DataFrame], Any]) -> None:
    """Each of these marts from folds and identities in the engine, against the same from Polars."""
    known = reference(tables, as_of=AS_OF)
    there: dict[str, Any] = {}

    def given_(name: str, *, is_in_engine: bool) -> Any:
        frame = known[name] if name in known else empty(CATALOGUE[name])
        if is_in_engine and (name.startswith("fold_") or name == "dim_identity"):
            return there[name] if name in there else there.setdefault(name, put(name, frame).to_native())
        return frame.lazy()

    differing = {}
    for mart, (function, more) in MARTS.items():
        names = [n for n, p in inspect.signature(function).parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        want, got = (
            function(*(given_(name, is_in_engine=where) for name in names), **more, as_of=AS_OF)
            for where in (False, True)
        )
        if found := differences(got, want):
            differing[mart] = found
    assert not differing


@given(tables=communities(accounts=8))
@settings(max_examples=2, phases=(Phase.generate,))
def test_marts_from_duckdb(tables: Tables) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        compare(tables, lambda name, frame: on_duckdb(frame, connection, name))
