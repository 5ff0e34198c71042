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

from assets.account_ranges import AccountRange, InRanges, ranges
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


NEVER_APART = ("mart_post_value", "mart_followers", "people_as_of")
"""What is never computed for some accounts after the others: a key without accounts, a few rows, no table."""
BY_ACCOUNT = {name: mart for name, mart in MARTS.items() if name not in NEVER_APART} | {
    "mart_retention_model": (retention_model.histories, {})
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


@given(tables=communities(accounts=8))
@settings(max_examples=5, phases=(Phase.generate,))
def test_marts_for_some_accounts_after_the_others(tables: Tables) -> None:
    """The rows are those of all accounts at once, and each range's come after those of the ranges before."""
    known, as_of = reference(tables, as_of=AS_OF), {"as_of": AS_OF}
    sizes = known["fold_relationship_day"].group_by("account_id").len().sort("account_id")
    some = ranges(sizes.iter_rows(), most=1)
    for mart, (function, more) in BY_ACCOUNT.items():
        assert CATALOGUE[mart].by_account
        names = [n for n, p in inspect.signature(function).parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        given = {name: (known[name] if name in known else empty(CATALOGUE[name])).lazy() for name in names}

        def of_range(of: AccountRange, function=function, given=given, more=more) -> pl.LazyFrame:
            within = {name: _within(frame, of) for name, frame in given.items()}
            return function(**within, **more, **as_of)

        parts = [part.collect() for part in InRanges(of_range, tuple(some))]
        assert not differences(pl.concat(parts).lazy(), function(**given, **more, **as_of)), mart
        accounts = pl.concat([part.select(pl.col("account_id").unique().sort()) for part in parts])["account_id"]
        assert accounts.is_sorted(), mart
        assert accounts.is_unique().all(), mart


def _within(frame: pl.LazyFrame, of: AccountRange) -> pl.LazyFrame:
    """The rows of the accounts in the range, as a warehouse would give them."""
    if "account_id" not in frame.collect_schema():
        return frame
    account = pl.col("account_id")
    return frame.filter(account >= (of.start or ""), account < of.end if of.end else pl.lit(value=True))
