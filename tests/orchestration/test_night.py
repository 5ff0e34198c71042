"""Whole nights, as the schedule runs them: what bad rows stop and what they do not, and what a second night changes."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from orchestration import cli, definitions, night, settings
from orchestration.warehouse import Warehouse
from quality.catalog.tables import MARTS, TABLES

AS_OF = date(2024, 6, 2)
POSTS = """post,published_at,url,text
p1,2024-01-01T09:00:00Z,https://blog.example/p1,A first text about gardens and rain
p2,2024-03-01T09:00:00Z,https://blog.example/p2,A second text about trains and towns
p3,2024-05-20T09:00:00Z,https://blog.example/p3,A third text about rivers and bread
"""
INTERACTIONS = """interaction,person,kind,occurred_at,post,direction
i1,ann,reply,2024-01-02T10:00:00Z,p1,inbound
i2,ann,like,2024-03-02T10:00:00Z,p2,inbound
i3,bob,like,2024-03-03T10:00:00Z,p2,inbound
i4,ann,reply,2024-05-21T10:00:00Z,p3,inbound
i5,ann,reply,2024-05-21T12:00:00Z,p3,outbound
"""
BAD = """i6,eve,reaction,2024-05-22T10:00:00Z,p3,inbound
i7,eve,like,1789-07-14T10:00:00Z,p3,inbound
i8,eve,like,yesterday,p3,inbound
i9,,like,2024-05-22T10:00:00Z,p3,inbound
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("RAPPORT_HOME", str(folder))
    yield folder
    definitions.build.cache_clear()


def imported(folder: Path, interactions: str = INTERACTIONS) -> None:
    """Import the small community as CSV files."""
    (folder.parent / "posts.csv").write_text(POSTS, encoding="utf-8")
    (folder.parent / "interactions.csv").write_text(interactions, encoding="utf-8")
    files = ["--posts", str(folder.parent / "posts.csv"), "--interactions", str(folder.parent / "interactions.csv")]
    assert cli.main(["import", "--account", "blog", *files]) == 0


def marts(folder: Path, name: str) -> pl.DataFrame:
    """A published mart."""
    with duckdb.connect(str(folder / "published" / "rapport.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.sql(f"from marts.{name}").pl()


def warehouse(folder: Path, sql: str) -> list[tuple]:
    """Rows of a query on the warehouse."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        return connection.execute(sql).fetchall()


def derive_from_core(folder: Path) -> night.Progress:
    """The rest of a night, from the staging tables as they are, all of them."""
    store = Warehouse(folder / "warehouse.duckdb")
    store.log.forget()
    store.close()
    job = definitions.build(folder).resolve_job_def("nightly")
    progress = night.Progress({})
    keys = [dg.AssetKey(n) for n, t in TABLES.items() if t.layer != "staging"] + [
        dg.AssetKey("published"),
        dg.AssetKey("report"),
    ]
    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener("11111111-1111-1111-1111-111111111111", progress)
        job.execute_in_process(
            partition_key=AS_OF.isoformat(), asset_selection=keys, raise_on_error=False, instance=instance,
            run_id="11111111-1111-1111-1111-111111111111",
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
    return progress


def test_a_night_publishes_every_mart_and_a_second_one_the_same(home: Path) -> None:
    imported(home)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    about = marts(home, "about").to_dicts()
    for name, table in MARTS.items():
        assert marts(home, name).columns == list(table.column_names)
    value = {row["post_id"].rsplit("/")[-1]: row for row in marts(home, "mart_post_value").to_dicts()}
    assert value["p1"]["interactions_7d"] == 1
    assert (value["p2"]["people_7d"], value["p2"]["value_7d"]) == (2, pytest.approx(0.2))
    assert value["p3"]["conversation_7d"] == 1
    relationship = marts(home, "mart_relationship")
    assert relationship.height == 2
    ann = relationship.sort("inbound").to_dicts()[-1]
    assert (ann["inbound"], ann["inbound_composed"], ann["outbound_composed"], ann["repeat_weeks"]) == (3, 2, 1, 2)
    assert (home / "published" / "report" / "index.html").stat().st_mode & 0o077 == 0

    imported(home)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    assert marts(home, "about").to_dicts() == about
    assert warehouse(home, "select count(*) from raw_activity.interactions") == [(5,)]


def test_rows_that_arrive_bad_are_set_aside_with_their_reason_and_stop_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(home, INTERACTIONS + BAD)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    reasons = dict(warehouse(home, "select row_ref, reason from staging.stg_activity__quarantine"))
    assert len(reasons) == 4
    assert "kind" in reasons["interactions.csv:6"]
    assert warehouse(home, "select count(*) from core.fct_interaction") == [(5,)]
    assert "nothing_quarantined" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("corruption", "says"),
    [
        ("update staging.stg_activity__interactions set kind = 'reaction' where interaction = 'i1'", "kind"),
        ("update staging.stg_activity__interactions set occurred_at = '1789-07-14' where interaction = 'i1'", "occurred_at"),
        ("insert into staging.stg_activity__interactions from staging.stg_activity__interactions where interaction = 'i1'", "interaction_id"),
    ],
    ids=["unknown kind", "impossible time", "duplicate key"],
)  # fmt: skip
def test_a_row_corrupted_after_staging_stops_publication_and_last_night_stays(
    home: Path, corruption: str, says: str
) -> None:
    imported(home)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    relationship = marts(home, "mart_relationship")
    warehouse(home, corruption)
    # A night that computes only what changed sees that there are rows too many, or its contract judges all rows.
    assert cli.main(["run", "--as-of", str(AS_OF)]) == (0 if says == "interaction_id" else 4)
    assert marts(home, "mart_relationship").equals(relationship)
    before = marts(home, "about").to_dicts()
    warehouse(home, corruption)

    progress = derive_from_core(home)

    assert any("fct_interaction, contract" in failure and says in failure for failure in progress.failed), (
        progress.failed
    )
    assert "published" not in progress.rows
    assert "mart_relationship" not in progress.rows
    assert marts(home, "about").to_dicts() == before
    assert warehouse(home, "select count(*) from core.fct_interaction") == [(5,)]
    assert warehouse(home, "select count(*) from core.fct_interaction__rejected")[0][0] >= 5


def test_an_as_of_before_any_data_publishes_nothing_and_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(home)
    assert cli.main(["run", "--as-of", "2001-01-01"]) == 4
    said = capsys.readouterr().err
    assert "failed:  published: There is nothing to count on 2001-01-01" in said
    assert "2024-01-01" in said
    # Nor do its rows wait for the next night to publish them.
    assert warehouse(home, "select count(*) from marts.mart_summary") == [(0,)]
    assert not (home / "published" / "rapport.duckdb").exists()


def test_an_older_night_adds_its_rows_and_leaves_the_newest_marts_alone(home: Path) -> None:
    imported(home)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    relationship = marts(home, "mart_relationship")
    assert cli.main(["backfill", "2024-04-01", "2024-04-02"]) == 0
    assert cli.main(["backfill", "2001-01-01", "2001-01-02"]) == 1
    assert marts(home, "mart_relationship").equals(relationship)
    assert marts(home, "mart_cadence")["as_of"].unique().sort().to_list() == [date(2024, 4, 1), date(2024, 4, 2), AS_OF]
    assert marts(home, "about")["as_of"].to_list() == [AS_OF]


def test_a_past_night_is_the_same_whatever_came_in_later(home: Path) -> None:
    imported(home)
    assert cli.main(["run", "--as-of", "2024-04-01"]) == 0
    first = {name: marts(home, name) for name, table in MARTS.items() if table.keeps_history}
    later = "i10,cid,reply,2024-05-25T10:00:00Z,p3,inbound\ni11,cid,reply,2024-04-02T10:00:00Z,p2,inbound\n"
    imported(home, INTERACTIONS + later)
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
    assert cli.main(["backfill", "2024-04-01", "2024-04-01"]) == 0
    for name, frame in first.items():
        assert marts(home, name).filter(pl.col("as_of") == date(2024, 4, 1)).equals(frame), name


def test_one_broken_account_never_stops_the_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(home)
    home.mkdir(exist_ok=True)
    (home / "rapport.toml").write_text(
        "[[account]]\nname = 'gone'\n[[account.source]]\nsource = 'feed'\nurl = 'http://127.0.0.1:9/feed'\nallow_private = true\n"
    )
    assert settings.load(home).accounts
    assert cli.main(["run", "--as-of", str(AS_OF)]) == 3
    assert "gone (feed, posts)" in capsys.readouterr().err
    opened = Warehouse(home / "warehouse.duckdb")
    assert len(night.collection_problems(opened, settings.load(home))) == 1
    assert night.collection_problems(opened, settings.Settings(home=home)) == []  # taken out of rapport.toml
    opened.close()
    assert marts(home, "mart_relationship").height == 2
