"""A ledger end to end: imported twice, through a whole night, and the total is the file's."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from orchestration import cli, definitions, importing, night, settings
from sources.model import SourceError

AS_OF = date(2024, 6, 2)
POSTS = "post,published_at\np1,2024-01-01T09:00:00Z\np2,2024-03-01T09:00:00Z\n"
INTERACTIONS = """interaction,person,kind,occurred_at,post
i1,ann,reply,2024-01-02T10:00:00Z,p1
i2,bob@mail.example,like,2024-03-02T10:00:00Z,p2
i3,cid,like,2024-03-03T10:00:00Z,p2
"""
LEDGER = """person,email,earned_at,amount,currency,earning,refunded
ann,,2024-01-20,12.50,EUR,e1,
ann,,2024-05-20,20.00,eur,e2,4.25
,Bob@mail.example,2024-03-05,5.10,EUR,e3,
,eve@mail.example,2024-03-05,7.00,USD,e4,
,eve@mail.example,2024-03-06,-7.00,USD,e5,
"""
STRIPE = """id,Created date (UTC),Amount,Amount Refunded,Currency,Captured,Status,Customer Email
ch_1,2024-04-01 10:00:00,"1,000.00",0.00,eur,true,Paid,eve@mail.example
ch_2,2024-04-02 10:00:00,9.00,0.00,eur,true,Failed,eve@mail.example
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, and the files beside it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("RAPPORT_HOME", str(folder))
    for name, content in (("posts", POSTS), ("interactions", INTERACTIONS), ("ledger", LEDGER), ("stripe", STRIPE)):
        (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")
    yield folder
    definitions.build.cache_clear()


def imported(home: Path, *names: str) -> int:
    """What `rapport import` returns for the files."""
    return cli.main(["import", "--account", "blog", *(str(home.parent / f"{name}.csv") for name in names)])


def ask(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(sql).fetchall()


def test_an_import_says_what_was_new_and_what_was_set_aside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(home, "ledger", "stripe") == 0
    said = capsys.readouterr().out
    assert "ledger.csv: 5 new earnings (5 in all)" in said
    assert "set aside: 1 x amount is negative (first: ledger.csv:5)" in said
    assert "stripe.csv: 2 new earnings (7 in all)" in said
    assert imported(home, "ledger", "stripe") == 0
    assert "ledger.csv: 0 new earnings (7 in all)" in capsys.readouterr().out


def test_a_ledger_of_which_nothing_can_be_used_is_a_mistake(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home.parent / "bad.csv").write_text("person,earned_at,amount,currency\nann,soon,5,EUR\n", encoding="utf-8")
    assert imported(home, "bad") == 1
    assert "No row of bad.csv can be used" in capsys.readouterr().out


def test_nothing_is_loaded_where_the_ledger_is_unusable_as_a_whole(home: Path) -> None:
    (home.parent / "bad.csv").write_text("person,earned_at,amount\nann,2024-01-01,5\n", encoding="utf-8")
    request = importing.Request(posts=home.parent / "posts.csv", earnings=home.parent / "bad.csv", account="blog")
    settings.prepare_environment(home)
    with pytest.raises(SourceError, match="currency"):
        importing.run(settings.load(home), [request])
    assert not ask(
        home / "warehouse.duckdb",
        "select 1 from duckdb_tables() where schema_name = 'raw_activity' and table_name = 'posts'",
    )


@pytest.mark.slow
def test_a_night_derives_what_was_paid(home: Path) -> None:
    assert imported(home, "posts", "interactions", "ledger", "stripe") == 0
    assert night.run(AS_OF).is_published
    published = home / "published" / "rapport.duckdb"
    cells = ask(
        published,
        "select tenure_band, currency, people, earners, amount from marts.mart_earnings where stratum = 'all' order by all",
    )
    assert cells == [
        ("< 1 y", "EUR", 3, 1, Decimal("15.7500")),
        ("< 1 y", "USD", 3, 0, Decimal("0.0000")),
        ("< 90 d", "EUR", 3, 2, Decimal("17.6000")),
        ("< 90 d", "USD", 3, 0, Decimal("0.0000")),
        ("all", "EUR", 4, 3, Decimal("1033.3500")),
        ("all", "USD", 4, 1, Decimal("7.0000")),
        ("no contact", "EUR", 1, 1, Decimal("1000.0000")),
        ("no contact", "USD", 1, 1, Decimal("7.0000")),
    ]
    linked = "select is_linked, count(*) from core.fct_earning group by all order by all"
    assert ask(home / "warehouse.duckdb", linked) == [(False, 2), (True, 3)]
    assert b"eve@mail" not in (home / "warehouse.duckdb").read_bytes().lower()


@pytest.mark.slow
def test_a_home_without_a_ledger_is_published_with_an_empty_table(home: Path) -> None:
    assert imported(home, "posts", "interactions") == 0
    done = night.run(AS_OF)
    assert done.is_published
    assert not [warning for warning in done.progress.warned if "earning" in warning]
    assert ask(home / "published" / "rapport.duckdb", "select count(*) from marts.mart_earnings") == [(0,)]
