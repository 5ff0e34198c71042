"""A failed contract stops what is downstream and brings last night back; a watch only rings. Real in-process runs."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from quality.catalog.tables import TABLES
from quality.checks import checks_for, judge

NIGHT = "2020-09-18"
NIGHTS = dg.DailyPartitionsDefinition(start_date="2020-09-01")
CHAIN = ("dim_post", "mart_post_value", "mart_summary")
"""A table without partitions, then two with them, each read by the next."""

Fill = Callable[[Any], None]


def _asset(name: str, upstream: str | None, fill: Fill) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        deps=[upstream] if upstream else [],
        partitions_def=NIGHTS if TABLES[name].follows_as_of else None,
        required_resource_keys={"warehouse"},
    )
    def write(context: dg.AssetExecutionContext) -> None:
        context.resources.warehouse.replace(name)
        fill(context.resources.warehouse)

    return write


def night(store: Any, **fills: Fill) -> dg.ExecuteInProcessResult:
    """One night over the chain; each table is filled as said, else with one good row."""

    def good(name: str) -> Fill:
        return lambda store: store.add(name)

    assets = [
        _asset(name, upstream, fills.get(name, good(name)))
        for name, upstream in zip(CHAIN, (None, *CHAIN), strict=False)
    ]
    job = dg.define_asset_job("night", selection=dg.AssetSelection.all())
    definitions = dg.Definitions(
        assets=assets,
        asset_checks=checks_for(CHAIN),
        jobs=[job],
        executor=dg.in_process_executor,
        resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(store)},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("night").execute_in_process(
            partition_key=NIGHT, instance=instance, raise_on_error=False
        )


def materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


def judged(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    return {(e.asset_key.to_user_string(), e.check_name): e for e in result.get_asset_check_evaluations()}


@pytest.fixture
def account(store):
    """The account that every row of these tests belongs to, and its post."""
    store.add("dim_account")
    store.add("dim_post")
    return store


def test_a_good_night_leaves_a_green_mark_for_each_check(account):
    result = night(account)
    assert result.success
    assert materialised(result) == set(CHAIN)
    assert set(judged(result)) == {(name, check) for name in CHAIN for check in ("contract", "watch")}
    assert all(evaluation.passed for evaluation in judged(result).values())


@pytest.mark.parametrize("broken", CHAIN)
def test_a_broken_contract_stops_downstream_and_last_night_is_back(account, broken):
    assert night(account).success
    before = account.execute(f"from {TABLES[broken].qualified}")

    def twice(store):
        store.add(broken, platform="tonight") if broken != "mart_summary" else store.add(broken, note="tonight")
        store.add(broken)

    result = night(account, **{broken: twice})

    assert not result.success
    assert materialised(result) == set(CHAIN[: CHAIN.index(broken) + 1]), "nothing downstream was written"
    evaluation = judged(result)[broken, "contract"]
    assert not evaluation.passed
    assert evaluation.blocking
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert "2 rows not alone with its key" in evaluation.description
    assert evaluation.metadata["failures"].records[0].data["count"] == 2
    assert evaluation.metadata["rejected_rows"].value == f"{TABLES[broken].qualified}__rejected"
    assert account.execute(f"from {TABLES[broken].qualified}") == before
    assert account.execute(f"select count(*) from {TABLES[broken].qualified}__rejected") == [(2,)]


def test_a_watch_rings_and_stops_nothing(account):
    def many(store):
        for post in "abcdefgh":
            store.add("dim_post", post_id=post)
        store.add("dim_post")

    assert night(account, dim_post=many).success
    result = night(account)
    assert result.success
    assert materialised(result) == set(CHAIN)
    evaluation = judged(result)["dim_post", "watch"]
    assert not evaluation.passed
    assert not evaluation.blocking
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "e.g. before=9, now=1" in evaluation.description
    assert judged(result)["dim_post", "contract"].passed


def test_a_first_night_has_nothing_to_go_back_to(store):
    store.add("dim_account")
    store.add("dim_account")
    contract, _ = judge(TABLES["dim_account"], store)
    assert not contract.passed
    assert not store.has("core.dim_account")
    assert store.has("core.dim_account__rejected")


def test_what_could_not_be_judged_is_rolled_back_too(account, monkeypatch):
    account.replace("dim_post")

    def fails(*args: object, **kwargs: object) -> None:
        raise OSError("the file is locked")

    monkeypatch.setattr("quality.checks.validate_both", fails)
    with pytest.raises(OSError, match="locked"):
        judge(TABLES["dim_post"], account)
    assert account.execute("select count(*) from core.dim_post") == [(1,)]


def test_a_night_kept_apart_is_not_measured_against_the_newest(account, monkeypatch):
    for _ in range(3):
        account.add("fold_post_value", identity_id="x")
    account.replace("fold_post_value")
    account.execute("create schema past; create table past.fold_post_value as from folds.fold_post_value")
    location = account.location
    monkeypatch.setattr(account, "location", lambda name, as_of=None: ("past", name) if as_of else location(name))
    contract, watch = judge(TABLES["fold_post_value"], account, NIGHT)
    assert contract.passed
    assert watch.passed
    assert not judge(TABLES["fold_post_value"], account)[1].passed


def test_every_table_has_both_checks():
    checks = {key for definition in checks_for(TABLES) for key in definition.check_keys}
    assert checks == {
        dg.AssetCheckKey(dg.AssetKey([name]), check) for name in TABLES for check in ("contract", "watch")
    }
