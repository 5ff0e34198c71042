"""`rapport bench` on very little: that every part runs and its figures belong together, not how fast it was."""

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration import bench, bench_facts, bench_limit, bench_scale, cli
from orchestration.bench_process import Figure
from orchestration.warehouse import Warehouse

AS_OF = date(2026, 6, 17)
ROWS = 4_000


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of made-up facts."""
    folder = tmp_path_factory.mktemp("limit")
    warehouse = Warehouse(folder / "warehouse.duckdb")
    bench_facts.generate(warehouse, bench_facts.Size(ROWS), as_of=AS_OF)
    warehouse.connect().execute(f"copy core.fct_interaction to '{folder / 'facts.parquet'}'")
    warehouse.close()
    return folder / "facts.parquet"


def test_limit_and_pandas_count_the_same(facts: Path) -> None:
    limit, pandas = bench_limit.limit(facts, facts.parent), bench_limit.pandas(facts, facts.parent)
    assert limit["rows"] == pandas["rows"] == ROWS
    assert limit["groups"] == pandas["groups"] > 500
    weeks = f"select count(distinct (account_id, identity_id, date_trunc('week', active_at::timestamp))) from '{facts}'"
    assert duckdb.sql(weeks).fetchall() == [(limit["groups"],)]


def test_the_peer_makes_both_tables(facts: Path) -> None:
    made = bench_limit.peer(facts, facts.parent)
    limit = bench_limit.limit(facts, facts.parent)
    assert limit["groups"] * 0.9 < made["weekly"] <= limit["groups"], "what is not visible is not in it"
    people = duckdb.sql(f"select count(distinct (account_id, identity_id)) from '{facts}'").fetchall()[0][0]
    assert 0 < made["cohort"] < made["weekly"]
    assert made["cohort"] > people / 10
    assert not (facts.parent / "peer.duckdb").exists()


def test_a_figure_says_whether_it_holds() -> None:
    assert Figure("a", 1.0, "s").line().startswith("· a")
    assert Figure("a", 1.0, "s", 2).line().startswith("✓ a")
    assert Figure("a", 3.0, "s", 2).line().endswith("(≤ 2)")
    assert not Figure("a", 3.0, "s", 2).holds
    assert Figure("a", 3.0, "rows/s", 2, is_at_least=True, peer="b").line().splitlines()[1] == "  b"


def test_a_disk_that_is_too_small_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"need 450,000 GB .* --home"):
        list(bench_scale.measure(10**12, tmp_path, as_of=AS_OF, details={}))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_read_as_they_are_spoken(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.parser().parse_args(["bench", "--scale", "1M,10M"]).scale == (1_000_000, 10_000_000)
    for wrong in ("many", "0", "-1", "1e999"):
        with pytest.raises(SystemExit):
            cli.parser().parse_args(["bench", "--rows", wrong])
    assert "too few rows" in capsys.readouterr().err


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--only", "start,speed"]) == 1
    assert "there is no such part" in capsys.readouterr().err


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    done = bench.run(
        rows=20_000, scales=(30_000,), json_path=str(file), as_of=AS_OF, is_quick=True, folder=tmp_path,
        parts=("import", "scale", "engines"),
    )  # fmt: skip
    assert done == 0
    said, out = json.loads(file.read_text()), capsys.readouterr().out
    figures = {figure["what"]: figure["value"] for figure in said["figures"]}
    assert all(what in out for what in figures)
    assert list(tmp_path.iterdir()) == [file], "homes are removed"
    details = said["details"]["3,000"]
    night, limit = details[f"night {AS_OF}"], details["limit"]
    derived = night["folds"] + night["marts"]
    assert night["seconds"] == pytest.approx(derived + night["checks"] + night["publish"] + night["dagster"])
    assert figures["3,000: the same, beside the limit"] == pytest.approx(derived / limit["seconds"])
    steps = night["steps"]
    assert derived == pytest.approx(
        sum(t["seconds"] for name, t in steps.items() if name.startswith(("fold_", "mart_")))
    )
    assert 1_000 < steps["fold_relationship_day"]["rows"] < 3_000
    assert steps["mart_relationship"]["rows"] > 0
    after, stored = details["night 2026-06-18"], details["stored"]
    assert stored["fct_interaction"] == 3_003
    assert after["steps"]["mart_relationship"]["rows"] > 0
    assert {"polars", "duckdb"} <= {what.split()[4].rstrip(",") for what in figures if what.startswith("steps over")}
