"""The made-up facts: as many as asked for, the same each time, typed and linked as the catalogue says."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from assets.metrics import fold
from orchestration import bench_facts
from orchestration.io import TablesIOManager
from orchestration.settings import Settings
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.core import TABLES
from quality.catalog.model import Table
from quality.catalog.tables import TABLES as CATALOGUE

AS_OF = date(2026, 6, 17)
SIZE = bench_facts.Size(12_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path_factory.mktemp("facts") / "warehouse.duckdb")
    bench_facts.generate(warehouse, SIZE, as_of=AS_OF)
    yield warehouse
    warehouse.close()


def one(warehouse: Warehouse, query: str) -> object:
    return warehouse.connect().execute(query).fetchall()[0][0]


def test_there_is_what_was_asked_for(made: Warehouse) -> None:
    assert one(made, "select count(*) from core.fct_interaction") == SIZE.rows
    assert one(made, "select count(distinct identity_id) from core.fct_interaction") == SIZE.people == 360
    assert one(made, "select count(*) from core.dim_identity") == SIZE.people
    assert one(made, "select count(*) from core.dim_account") == SIZE.accounts == bench_facts.FEWEST_ACCOUNTS
    assert bench_facts.Size(100_000_000).people == 3_000_000
    assert bench_facts.Size(100_000_000).accounts == 20_000


def test_the_same_seed_makes_the_same_and_another_one_does_not(made: Warehouse, tmp_path: Path) -> None:
    for seed, is_same in ((1, True), (2, False)):
        again = Warehouse(tmp_path / str(seed) / "warehouse.duckdb")
        (tmp_path / str(seed)).mkdir()
        again.connect().execute("set threads = 1")
        bench_facts.generate(again, SIZE, as_of=AS_OF, seed=seed)
        for name in ("fct_interaction", "dim_post", "dim_identity"):
            assert (bench_facts.fingerprint(again, name) == bench_facts.fingerprint(made, name)) is is_same
        again.close()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_tables_keep_their_catalogue(made: Warehouse, table: Table) -> None:
    found = made.connect().execute(f"describe {table.qualified}").fetchall()
    assert [(row[0], row[1]) for row in found] == [(c.name, c.dtype.duckdb) for c in table.columns]
    assert one(made, f"select count(*) from (select distinct {', '.join(table.key)} from {table.qualified})") == one(
        made, f"select count(*) from {table.qualified}"
    )
    for column in table.columns:
        if not column.nullable:
            assert one(made, f'select count(*) from {table.qualified} where "{column.name}" is null') == 0
        if column.allowed:
            others = f'select count(*) from {table.qualified} where "{column.name}" not in {column.allowed}'
            assert one(made, others) == 0
    for rule in table.rules:
        if "{previous}" not in rule.violations:
            query = rule.violations.replace("{table}", "checked")
            assert one(made, f"with checked as (from {table.qualified}) select count(*) from ({query})") == 0, rule.name


def test_history_is_three_years_and_skewed(made: Warehouse) -> None:
    first, last = (
        made.connect().execute("select min(active_at), max(active_at) from core.fct_interaction").fetchall()[0]
    )
    assert bench_facts.first_monday(AS_OF) == date(2023, 6, 26)
    assert first.date() >= bench_facts.first_monday(AS_OF)
    assert last.date() <= AS_OF
    busy = "select sum(n) from (select count(*) as n from core.fct_interaction group by identity_id order by n desc limit 36)"
    assert one(made, busy) > SIZE.rows * 0.25, "a tenth of the people does more than a quarter"
    kinds = made.connect().execute("select kind, count(*) from core.fct_interaction group by kind").fetchall()
    assert len(kinds) == len(bench_facts.KINDS)
    for what in (
        "not is_time_known",
        "retracted_at is not null",
        "in_reply_to_id is not null",
        "direction = 'outbound'",
    ):
        assert one(made, f"select count(*) from core.fct_interaction where {what}") > 0, what


def test_the_next_day_brings_its_rows_and_late_ones(tmp_path: Path) -> None:
    warehouse, day = Warehouse(tmp_path / "warehouse.duckdb"), AS_OF + timedelta(days=1)
    bench_facts.generate(warehouse, SIZE, as_of=AS_OF)
    people = one(warehouse, "select count(*) from core.dim_identity")
    bench_facts.next_day(warehouse, SIZE, as_of=day, rows=300)
    assert one(warehouse, "select count(*) from core.fct_interaction") == SIZE.rows + 300
    assert one(warehouse, "select count(*) - count(distinct interaction_id) from core.fct_interaction") == 0
    new = f"from core.fct_interaction where observed_at >= '{day}' and loaded_at > '{day}' and active_at "
    assert 250 < one(warehouse, f"select count(*) {new} >= '{day}'") < 300
    assert one(warehouse, "select count(*) from core.dim_identity") > people
    known = "select count(*) from core.fct_interaction anti join core.dim_identity using (identity_id)"
    assert one(warehouse, known) == 0
    assert one(warehouse, "select max(to_date) from core.fct_collection_span") == day
    warehouse.close()


def test_the_night_after_computes_the_months_of_the_day_and_the_same_night_again_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    warehouse, day = Warehouse(settings.warehouse_path), AS_OF + timedelta(days=1)
    bench_facts.generate(warehouse, SIZE, as_of=AS_OF)
    with closing(warehouse), closing(SparkStore(settings, warehouse)) as store:
        tables = TablesIOManager(warehouse, settings, store)
        facts = tables.load("fct_interaction", AS_OF, reader="fold_response")
        tables.save(CATALOGUE["fold_response"], fold.response(facts, as_of=AS_OF), AS_OF)
        again = tables.recomputing.plan("fold_response", AS_OF)
        assert again is not None
        assert (again.why, again.months) == (None, ())
        bench_facts.next_day(warehouse, SIZE, as_of=day, rows=300)
        tables.recomputing.done()
        after = tables.recomputing.plan("fold_response", day)
        assert after is not None
        assert after.why is None
        assert set(after.months) <= {date(2026, 5, 1), date(2026, 6, 1)}
        assert date(2026, 6, 1) in after.months
