"""A memory limit is given to DuckDB, stays after the file was closed, and holds: what does not fit goes to disk."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from assets.metrics import fold
from orchestration.engines import LARGE, engine_of, rows_at_once
from orchestration.settings import Settings
from orchestration.warehouse import Warehouse
from quality.catalog.model import ContractError, empty
from quality.catalog.tables import TABLES

AS_OF = date(2024, 6, 1)
ROWS = 400_000
INTERACTIONS = f"""
create or replace table core.fct_interaction as select
    'i' || i as interaction_id, 'account' || i % 50 as account_id, 'blog' as platform,
    md5(i::varchar) as identity_id, 'inbound' as direction, 'reply' as kind, true as is_composed, null::varchar as post_id,
    timestamptz '2024-01-01' + interval (i % 9000000) second as active_at, active_at as observed_at, active_at as occurred_at,
    true as is_time_known, true as is_audience, null::timestamptz as retracted_at
from range({ROWS}) as rows(i)
"""


@pytest.fixture
def small(tmp_path: Path):
    """A warehouse that may use 60 MB."""
    made = Warehouse(tmp_path / "warehouse.duckdb", memory="60MB")
    yield made
    made.close()


def limit(warehouse: Warehouse) -> str:
    """What DuckDB says of its limit."""
    [(said,)] = warehouse.connect().execute("select current_setting('memory_limit')").fetchall()
    return said


def test_what_does_not_fit_goes_to_disk(small: Warehouse) -> None:
    before = limit(small)
    assert before == "57.2 MiB"
    small.connect().execute(INTERACTIONS)
    written = small.write(
        TABLES["fold_response"], fold.response(small.relation("fct_interaction"), as_of=AS_OF), as_of=AS_OF
    )
    assert written == ROWS
    assert (Path(small.path).parent / "scratch").is_dir()
    small.close()
    assert limit(small) == before
    # Rows keep the order of storage: by month, then by key.
    key = "date_trunc('month', active_at), account_id, platform, identity_id"
    stored = f"select ({key}) as here, lag(({key})) over (order by rowid) as last from folds.fold_response"
    assert small.connect().execute(f"select count(*) from ({stored}) where last > here").fetchone() == (0,)


def test_a_relation_is_held_to_the_contract(small: Warehouse) -> None:
    table = TABLES["mart_dilution"]
    row = {"as_of": AS_OF, "account_id": "a", "dilution_elasticity": float("nan"), "posts": 1}
    frame = pl.DataFrame([{name: row.get(name) for name in empty(table).schema}], schema=empty(table).schema)
    small.connect().register("rows_in", frame.to_arrow())
    relation = small.connect().table("rows_in")
    assert small.write(table, relation, AS_OF) == 1
    assert small.write(table, frame, AS_OF) == 1  # a frame after a relation, on one connection
    assert small.write(table, relation, AS_OF) == 1
    assert small.read("mart_dilution").collect()["dilution_elasticity"].to_list() == [None]
    with pytest.raises(ContractError, match="missing columns"):
        small.write(table, relation.select(duckdb.ColumnExpression("as_of")), AS_OF)
    with pytest.raises(ContractError, match="does not fit"):
        small.write(
            table,
            relation.select(duckdb.StarExpression(exclude=["posts"]), duckdb.SQLExpression("'many' as posts")),
            AS_OF,
        )
    assert small.rows("mart_dilution") == 1


def test_auto_is_what_was_measured_and_with_a_limit_what_needs_little_at_once(tmp_path: Path) -> None:
    """Large folds, or a limit: DuckDB, or where accounts can be computed after each other what is faster at once."""
    home = Settings(home=tmp_path)

    def engine(table: str, rows: int = 0, **said: str) -> str:
        return engine_of(replace(home, **said), table, rows)

    named = ("polars", "duckdb", "spark")
    assert [engine("fold_response", engine=name) for name in named] == list(named)
    assert engine("fold_response", memory="4GB") == "duckdb"
    assert engine("fold_response") in ("polars", "duckdb")
    assert [engine("mart_post_value", rows) for rows in (LARGE, LARGE + 1)] == ["polars", "duckdb"]
    assert engine("mart_growth_week", LARGE + 1) == engine("mart_growth_week", memory="4GB") == "polars"
    assert engine("mart_growth_week", LARGE + 1, engine="duckdb") == "duckdb"


def test_a_limit_is_shared_by_duckdb_and_polars(tmp_path: Path) -> None:
    home = Settings(home=tmp_path, memory="4GB")
    assert home.duckdb_memory == "2000MB"
    assert replace(home, engine="duckdb").duckdb_memory == "4GB"
    assert rows_at_once(home) < rows_at_once(Settings(home=tmp_path)) == LARGE
    assert rows_at_once(replace(home, memory="1MB")) > 0
