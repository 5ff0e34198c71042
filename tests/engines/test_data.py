"""The same rows on every engine from the tables of whole homes: the demo's, a real site's, and those of 21,871 accounts."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest
from serve_webmention import serving

from orchestration import cli, definitions
from sources import demo
from tests.engines.comparing import in_parquet, on_duckdb
from tests.engines.frames import Tables, of_home
from tests.engines.test_conformance import compare

pytestmark = [pytest.mark.slow, pytest.mark.long]
DEMO, SITE, MATHS = date(2026, 3, 31), date(2020, 9, 18), date(2016, 3, 5)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for homes."""
    yield tmp_path_factory.mktemp("homes")
    definitions.build.cache_clear()


def derived(home: Path, as_of: date, *files: str) -> Tables:
    """The tables of a home in which these files were imported and a night was run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(home))
        assert cli.main(["import", *files]) == 0
        assert cli.main(["run", "--as-of", str(as_of)]) == 0
    return of_home(home)


@pytest.fixture(scope="module")
def demos(homes: Path) -> Tables:
    """The simulated community's tables."""
    home = homes / "demo"
    home.mkdir()
    posts, interactions, _ = demo.write(demo.simulate(seed=1, as_of=DEMO), home / "community")
    return derived(home, DEMO, "--posts", str(posts), "--interactions", str(interactions))


@pytest.fixture(scope="module")
def site(homes: Path) -> Tables:
    """A real site's tables: posts from its feed, and what others wrote, from its webmentions."""
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    address = "https://nicolas-hoizey.com/"
    with pytest.MonkeyPatch.context() as patch, serving(data / "webmention-nhoizey") as (server, _):
        patch.setenv("RAPPORT_HOME", str(homes / "site"))
        patch.setenv("RAPPORT_WEBMENTION_TOKEN", "secret")
        common = ["--account", "nhoizey", "--endpoint", server, "--allow-private"]
        assert cli.main(["add", f"{address}feed.json", *common]) == 0
        assert cli.main(["add", address, "--source", "webmention", *common]) == 0
        assert cli.main(["run", "--as-of", str(SITE)]) == 0
    return of_home(homes / "site")


@pytest.fixture(scope="module")
def maths(homes: Path) -> Tables:
    """The tables of a forum of mathematicians, where each of 21,871 people who were answered is an account."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > 2 * cores:
        pytest.skip(f"half a million rows of 21,871 accounts are too many for a machine with a load of {load:.0f}")
    home = homes / "maths"
    home.mkdir()
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "mathoverflow" / "interactions.parquet"
    return derived(home, MATHS, "--interactions", str(file))


def in_duckdb(tables: Tables, as_of: date) -> None:
    """Hold DuckDB against Polars."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        compare(tables, lambda name, frame: on_duckdb(frame, connection, name), as_of=as_of)


def in_spark(tables: Tables, session: Any, as_of: date, folder: Path) -> None:
    """Hold Spark against Polars; Spark reads from files in that folder."""
    brought: dict[str, nw.LazyFrame[Any]] = {}

    def put(name: str, frame: pl.DataFrame) -> nw.LazyFrame[Any]:
        if name not in brought:
            brought[name] = in_parquet(frame, session, folder / f"{name}.parquet")
        return brought[name]

    compare(tables, put, as_of=as_of)


def test_demo_on_duckdb(demos: Tables) -> None:
    in_duckdb(demos, DEMO)


@pytest.mark.shared
def test_a_real_site_on_duckdb(site: Tables) -> None:
    in_duckdb(site, SITE)


@pytest.mark.shared
def test_many_accounts_on_duckdb(maths: Tables) -> None:
    in_duckdb(maths, MATHS)


@pytest.mark.spark
def test_demo_on_spark(demos: Tables, spark: Any, tmp_path: Path) -> None:
    in_spark(demos, spark, DEMO, tmp_path)


@pytest.mark.spark
@pytest.mark.shared
def test_a_real_site_on_spark(site: Tables, spark: Any, tmp_path: Path) -> None:
    in_spark(site, spark, SITE, tmp_path)


@pytest.mark.spark
@pytest.mark.shared
def test_many_accounts_on_spark(maths: Tables, spark: Any, tmp_path: Path) -> None:
    in_spark(maths, spark, MATHS, tmp_path)
