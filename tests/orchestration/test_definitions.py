"""The asset graph: complete from raw to mart, documented, checked, and reviewed when it changes."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration import definitions, schedules, settings
from quality.catalog.tables import MARTS, TABLES

GRAPH = Path(__file__).parent / "graph.txt"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    """The graph, built for an empty home."""
    home = tmp_path_factory.mktemp("home")
    settings.prepare_environment(home)
    return definitions.build(home).get_repository_def()


def lines(repository: dg.RepositoryDefinition) -> list[str]:
    """A line an asset: group, name, what it is computed from."""
    graph = repository.asset_graph
    return sorted(
        f"{node.group_name}: {node.key.to_user_string()} <- {', '.join(sorted(k.to_user_string() for k in node.parent_keys)) or '-'}"
        for node in graph.asset_nodes
    )


def test_the_graph_is_the_reviewed_one(repository: dg.RepositoryDefinition) -> None:
    found = "\n".join(lines(repository)) + "\n"
    assert found == GRAPH.read_text(encoding="utf-8"), (
        f"the asset graph changed; if it should, write this to {GRAPH}:\n{found}"
    )


def test_every_table_is_an_asset_with_a_contract_a_watch_and_documentation(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    checks = {(key.asset_key.path[-1], key.name) for key in graph.asset_check_keys}
    for name, table in TABLES.items():
        node = graph.get(dg.AssetKey(name))
        assert {(name, "contract"), (name, "watch")} <= checks
        assert node.description
        assert node.owners
        assert node.kinds
        schema = node.metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == list(table.column_names)
        assert all(column.description for column in schema.columns)
        assert "dagster/column_lineage" in node.metadata
        assert "dagster/code_references" in node.metadata
        assert (node.partitions_def is not None) == table.follows_as_of


def test_contracts_block_and_watches_do_not(repository: dg.RepositoryDefinition) -> None:
    for key in repository.asset_graph.asset_check_keys:
        assert repository.asset_graph.get_check_spec(key).blocking == (key.name == "contract")


def test_every_mart_goes_back_to_raw_tables_and_every_table_is_published(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph

    def ancestors(key: dg.AssetKey) -> set[str]:
        parents = graph.get(key).parent_keys
        return {k.path[-1] for k in parents}.union(*(ancestors(k) for k in parents)) if parents else set()

    for name in MARTS:
        assert any(ancestor.startswith("raw_") for ancestor in ancestors(dg.AssetKey(name))), name
    assert set(TABLES) <= ancestors(dg.AssetKey("published"))


def test_column_lineage_names_columns_that_exist(repository: dg.RepositoryDefinition) -> None:
    for name in TABLES:
        lineage = repository.asset_graph.get(dg.AssetKey(name)).metadata["dagster/column_lineage"]
        for column, origins in lineage.deps_by_column.items():
            assert column in TABLES[name].column_names
            for origin in origins:
                upstream = origin.asset_key.path[-1]
                assert upstream not in TABLES or origin.column_name in TABLES[upstream].column_names


def test_the_schedule_runs_the_job_of_the_command_line_every_night(repository: dg.RepositoryDefinition) -> None:
    schedule = repository.get_schedule_def("every_night")
    assert schedule.job_name == schedules.nightly.name == "nightly"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "0 3 * * *"
    assert repository.get_job("nightly").partitions_def is not None
    assert repository.get_job("nightly").executor_def.name == "in_process"
