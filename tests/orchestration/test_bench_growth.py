"""The simulation of how tables grow, held against the facts that are made up in SQL and the real folds of them."""

from collections.abc import Iterator
from datetime import date

import pytest

from assets.metrics import fold
from orchestration import bench_facts, bench_growth
from orchestration.settings import WEIGHTS
from orchestration.warehouse import Warehouse

AS_OF = date(2026, 6, 14)
SIZE = bench_facts.Size(60_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path_factory.mktemp("growth") / "warehouse.duckdb")
    bench_facts.generate(warehouse, SIZE, as_of=AS_OF)
    yield warehouse
    warehouse.close()


def test_what_was_predicted_is_there(made: Warehouse) -> None:
    facts, posts = made.relation("fct_interaction"), made.relation("dim_post")
    weeks = "select count(distinct (account_id, identity_id, date_trunc('week', active_at::timestamp))) from facts"
    found = {
        "groups": facts.query("facts", weeks).fetchall()[0][0],
        "fold_relationship_day": len(fold.relationship_day(facts, weights=WEIGHTS, as_of=AS_OF)),
        "fold_response": len(fold.response(facts, as_of=AS_OF)),
        "fold_post_value": len(fold.post_value(facts, posts, weights=WEIGHTS, as_of=AS_OF)),
    }
    predicted = bench_growth.simulate(SIZE)
    for name, rows in found.items():
        # What people give posts depends on the rhythm of a dozen accounts, the rest on two thousand people.
        assert predicted[name] == pytest.approx(rows, rel=0.3 if name == "fold_post_value" else 0.1), name
    assert predicted["mart_relationship"] == pytest.approx(SIZE.people, rel=0.02)


def test_a_prediction_is_the_same_each_time_and_grows_with_the_people() -> None:
    small, again = (bench_growth.simulate(SIZE, people=2_000) for _ in range(2))
    assert small == again
    large = bench_growth.simulate(bench_facts.Size(60_000_000), people=2_000)
    assert {name: rows / 1_000 for name, rows in large.items()} == pytest.approx(small)
    assert bench_growth.simulate(SIZE, people=2_000, seed=2) != small


def test_a_plan_adds_up() -> None:
    measured = {
        "fact_bytes": 50.0, "fold_bytes": 40.0, "fold_core_seconds": 2.0, "mart_core_seconds": 3.0,
    }  # fmt: skip
    plan = bench_growth.plan(10**11, measured)
    assert plan.first_core_seconds == pytest.approx(5e5)
    assert plan.nightly_core_seconds == pytest.approx(1e5 * (2 * 2 / 36 + 3))
    assert plan.cores == pytest.approx(plan.nightly_core_seconds / 14_400)
    assert 5e10 < plan.fold_rows < 1.5e11
    assert plan.stored_bytes == pytest.approx(5e12 + 40 * plan.fold_rows)
    assert plan.recomputed_rows == pytest.approx(1e11 * (2 / 36 + 0.001))
