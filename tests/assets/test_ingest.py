"""Collecting through the real pipeline: slices that each are loaded, and what the next one then knows."""

import dagster as dg
import pytest
from collected import Store
from dagster_dlt import DagsterDltResource
from loopback import Replay
from sources_campaign import FIRST, campaign

from assets import ingest
from assets.history import RawHistory
from orchestration.settings import Account, Settings
from orchestration.warehouse import Warehouse
from sources import wordpress
from sources.registry import REGISTRY

WORDPRESS = campaign("wordpress")

TABLES = ("posts", "interactions", "sightings", "lists", "readings")


@pytest.fixture
def site():
    with Replay(WORDPRESS.RECORDING) as server:
        yield server


def collect(home, site):
    """One night of WordPress alone, as Dagster runs it; the rows of each raw table, and how often it was loaded."""
    account = WORDPRESS.make_account(site.base)
    settings = Settings(home=home, accounts=(Account(name=account.account_id, sources=(account,)),))
    collector = next(
        definition
        for definition in ingest.collectors(warehouse_path=str(settings.warehouse_path), dlt_home=settings.dlt_home)
        if isinstance(definition, dg.AssetsDefinition) and definition.op.name == "collect_wordpress"
    )
    warehouse = Warehouse(settings.warehouse_path)
    resources = {"settings": settings, "warehouse": warehouse, "dlt_runner": DagsterDltResource()}
    assert dg.materialize([collector], resources=resources).success
    counts = {name: warehouse.rows(f"raw_wordpress__{name}") for name in TABLES}
    loads = warehouse.connect().execute("select count(distinct loaded_at) from raw_wordpress.lists").fetchone()[0]
    warehouse.close()
    return counts, loads


def test_slices_however_short_come_to_an_end_with_the_same_rows(tmp_path, site, monkeypatch):
    whole, loads = collect(tmp_path / "whole", site)
    assert loads == 1
    assert whole["posts"] > 0
    monkeypatch.setattr(ingest, "SLICE_SECONDS", 0.0)
    sliced, loads = collect(tmp_path / "sliced", site)
    assert loads > 1
    assert sliced == whole


def test_a_second_night_knows_the_first_and_adds_no_more_than_its_readings(tmp_path, site):
    first, _ = collect(tmp_path, site)
    second, _ = collect(tmp_path, site)
    assert {name: second[name] for name in ("posts", "interactions", "sightings")} == {
        name: first[name] for name in ("posts", "interactions", "sightings")
    }
    assert second["readings"] == 2 * first["readings"]


def test_a_night_may_know_every_table_that_the_tests_may(tmp_path, site):
    """`Store` stands in for the warehouse in the connectors' tests: they must not see more than a night does."""
    collect(tmp_path, site)
    account, store = WORDPRESS.make_account(site.base), Store()
    store.collect(wordpress, [account], read_at=FIRST)
    night = RawHistory(str(tmp_path / "warehouse.duckdb"), "wordpress")(account.account_id)
    stood_in = store.history(account.account_id)
    names = {table.name for table in REGISTRY["wordpress"].tables}
    assert set(night) == names <= set(stood_in)
    for name in names - {"readings", "lists", "sightings", "counters"}:
        kept = ["row_hash"]
        assert sorted(night[name].select(kept).to_pylist(), key=str) == sorted(
            stood_in[name].select(kept).to_pylist(), key=str
        )
