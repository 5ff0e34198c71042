"""Real nights of `rapport run`: what only changed is computed, Dagster says which months, and `--full` computes the same."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from assets.account_ranges import AccountRange
from orchestration import bench, cli, definitions, settings
from orchestration.io import TablesIOManager
from quality.catalog.model import Table
from quality.catalog.tables import MARTS

pytestmark = pytest.mark.slow
AS_OF, NEXT = date(2024, 6, 2), date(2024, 6, 3)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a small community and its first night."""
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "home"))
    imports(tmp_path, bench.interactions(rows=1_500, as_of=AS_OF))
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    yield tmp_path / "home"
    definitions.build.cache_clear()


def imports(folder: Path, rows: pl.DataFrame) -> None:
    rows.write_parquet(folder / "interactions.parquet")
    assert cli.main(["import", "--interactions", str(folder / "interactions.parquet")]) == 0


def content_hash(home: Path) -> str:
    with duckdb.connect(str(home / "published" / "rapport.duckdb"), read_only=True) as connection:
        (found,) = connection.execute("select content_hash from marts.about").fetchone() or ("",)
    return str(found)


def said(name: str) -> dict[str, str]:
    """What the last materialisation of a table says of itself."""
    settings.prepare_environment(settings.home())
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None
        assert event.asset_materialization is not None
        return {key: str(value.value) for key, value in event.asset_materialization.metadata.items()}


def test_a_night_of_a_few_new_rows_publishes_what_a_full_one_does(home: Path, tmp_path: Path) -> None:
    assert said("fold_response")["recomputed"].startswith("everything: it was never computed")
    new = bench.interactions(rows=5, as_of=NEXT, seed=2).with_columns(
        occurred_at=pl.lit(datetime(2024, 6, 3, 9, tzinfo=UTC))
    )
    imports(tmp_path, new)
    assert cli.main(["run", "--as-of", str(NEXT)]) == 0
    assert said("fold_relationship_day")["months_recomputed"] == "2024-06"
    assert said("fct_interaction")["recomputed"] == "5 (by account_id, platform, interaction)"
    in_parts = content_hash(home)
    assert cli.main(["run", "--full", "--as-of", str(NEXT)]) == 0
    assert said("fold_relationship_day")["recomputed"].startswith("everything: it was never computed, or `--full`")
    assert content_hash(home) == in_parts


def test_a_night_for_some_accounts_after_the_others_publishes_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold counts as large here, and what marts share goes to disk also where it is small."""
    at_once, ranges = content_hash(home), {}
    ranges_of = TablesIOManager.ranges

    def counted(tables: TablesIOManager, table: Table) -> tuple[AccountRange, ...]:
        ranges[table.name] = ranges_of(tables, table)
        return ranges[table.name]

    monkeypatch.setattr(TablesIOManager, "ranges", counted)
    monkeypatch.setattr("orchestration.engines.LARGE", 200)
    monkeypatch.setattr("orchestration.aside._SMALL", 1_000)
    assert cli.main(["run", "--full", "--as-of", str(AS_OF)]) == 0
    assert content_hash(home) == at_once
    assert set(ranges) == {table.name for table in MARTS.values() if table.by_account}
    assert min(map(len, ranges.values())) > 2
    assert not (home / "scratch" / "aside").exists()
