"""Each output of the catalogue covers every table and column, and the committed dictionary is the generated one."""

from pathlib import Path

import duckdb
import pytest

from quality.catalog.staging import staged
from quality.catalog.tables import TABLES
from quality.dagster_schema import column_lineage, column_schema
from quality.render import comments, dictionary

DICTIONARY = Path(__file__).resolve().parents[2] / "docs" / "dictionary.md"
ALL = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@ALL
def test_comments_reach_every_table_and_column(store, table):
    with duckdb.connect(store.path) as connection:
        for statement in comments(table):
            connection.execute(statement)
        (of_table,) = connection.execute(
            "select comment from duckdb_tables() where table_name = ?", [table.name]
        ).fetchone()
        of_columns = connection.execute(
            "select column_name, comment from duckdb_columns() where table_name = ? order by column_index", [table.name]
        ).fetchall()
    assert table.doc in of_table
    assert table.grain in of_table
    assert [name for name, _ in of_columns] == list(table.column_names)
    assert all(column.doc in said for column, (_, said) in zip(table.columns, of_columns, strict=True))


@ALL
def test_the_dictionary_has_every_table_and_column(table):
    entry = dictionary([table])
    assert f"### {table.name}\n" in entry
    assert table.doc in entry
    assert table.grain in entry
    rows = [line.split(" | ")[0].strip("| `") for line in entry.splitlines() if line.startswith("| `")]
    assert rows == list(table.column_names)
    assert all(rule.doc in entry for rule in table.rules)
    cells = {line.replace("\\|", "").count("|") for line in entry.splitlines() if line.startswith("|")}
    assert cells == {8}, "every row has as many cells as the heading"


def test_the_committed_dictionary_is_up_to_date():
    assert DICTIONARY.read_text(encoding="utf-8") == dictionary(), "run ./rapport docs"


def test_the_dictionary_names_each_table_once():
    headings = [line[4:] for line in dictionary().splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(TABLES)


@ALL
def test_column_schema_has_every_column_with_its_constraints(table):
    schema = column_schema(table)
    assert [(column.name, column.type) for column in schema.columns] == [
        (c.name, c.dtype.duckdb) for c in table.columns
    ]
    for shown, column in zip(schema.columns, table.columns, strict=True):
        assert column.doc in shown.description
        assert shown.constraints.nullable is column.nullable
        assert bool(shown.constraints.other) is (bool(column.allowed) or (column.low, column.high) != (None, None))
    assert schema.constraints.other[0] == f"unique ({', '.join(table.key)})"


@ALL
def test_lineage_that_is_said_outright_names_real_columns(table):
    wrong = [
        origin
        for column in table.columns
        for origin in column.from_
        if origin not in {f"{t.name}.{c}" for t in TABLES.values() for c in t.column_names}
    ]
    assert wrong == []


def test_column_lineage_follows_names_unless_told_otherwise():
    lineage = column_lineage(TABLES["dim_post"], ["stg_feed__posts", "raw_feed__posts"]).deps_by_column
    said = {
        name: {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps} for name, deps in lineage.items()
    }
    assert said["url"] == {"stg_feed__posts.url"}, "the column of the same name; raw tables are not in the catalogue"
    assert said["post_id"] == {
        f"{table}.{column}" for table in staged("posts") for column in ("account_id", "platform", "post")
    }, "what the column says of itself wins over the names"


def test_a_column_without_origin_has_no_lineage():
    assert column_lineage(TABLES["dim_post"], []).deps_by_column.keys() == {"post_id"}
