"""Whole nights on other engines publish what a night on Polars publishes: the same content hash."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration import bench_files, cli, definitions, settings
from tests.engines.conftest import why_no_spark

pytestmark = pytest.mark.slow
AS_OF = date(2024, 6, 2)
SPARK = """engine = "spark"
spark_master = "local[2]"
memory = "1GB"
[spark]
"spark.sql.shuffle.partitions" = "2"
"spark.sql.codegen.wholeStage" = "false"
"spark.sql.codegen.factoryMode" = "NO_CODEGEN"
"spark.sql.adaptive.enabled" = "false"
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a small community, no night derived yet."""
    folder = tmp_path_factory.mktemp("engines")
    bench_files.interactions(rows=1_500, as_of=AS_OF).write_parquet(folder / "interactions.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(folder / "imported"))
        assert cli.main(["import", "--interactions", str(folder / "interactions.parquet")]) == 0
    settings.load(folder / "imported").identity_key()  # made on first use: the same for all copies
    yield folder / "imported"
    definitions.build.cache_clear()


def night(imported: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The content hash and the rows of a night in a copy of the home with that rapport.toml."""
    home = imported.with_name(name)
    if not home.exists():
        shutil.copytree(imported, home)
        with (home / "rapport.toml").open("a", encoding="utf-8") as file:
            file.write(text)
        monkeypatch.setenv("RAPPORT_HOME", str(home))
        assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    with duckdb.connect(str(home / "published" / "rapport.duckdb"), read_only=True) as connection:
        row = connection.execute("select content_hash, rows from marts.about").fetchone()
    assert row is not None
    return row


def test_a_night_on_duckdb_publishes_the_same(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polars = night(imported, "polars", 'engine = "polars"\n', monkeypatch)
    assert night(imported, "duckdb", 'engine = "duckdb"\nmemory = "500MB"\n', monkeypatch) == polars
    assert polars[1] > 1_000


@pytest.mark.spark
@pytest.mark.long
@pytest.mark.skipif(why_no_spark() is not None, reason=str(why_no_spark()))
def test_a_night_on_spark_publishes_the_same(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polars = night(imported, "polars", 'engine = "polars"\n', monkeypatch)
    assert night(imported, "spark", SPARK, monkeypatch) == polars
    assert not list((imported.with_name("spark") / "spark").glob("run-*"))
