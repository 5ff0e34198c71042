"""The command line: mistakes are a message and an exit code, never a traceback."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from orchestration import cli
from orchestration.settings import CHECKOUT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def today() -> str:
    """The running UTC day."""
    return datetime.now(UTC).date().isoformat()  # noqa: TID251 - the command line asks the clock, so its test must


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "there is nothing to collect"),
        (["query", "select 1"], "nothing is published yet"),
        (["check"], "does not exist yet"),
        (["report"], "Nothing was published yet"),
        (["run", "--as-of", "1999-12-31"], "nights start at 2000-01-01"),
        (["backfill", "2024-01-02", "2024-01-01"], "is after the last day"),
        (["backfill", "2024-01-01", "2024-01-02"], "no night to derive again"),
        (["add", "https://127.0.0.1:9/feed"], "--allow-private"),
        (["add", "https://blog.example", "--source", "myspace"], "There is no source 'myspace'"),
        (["add", "http://[bad"], "This is no address"),
        (["add", "https://blog.example", "--account", " "], "--account names no account"),
        (["import"], "nothing to import"),
        (["import", "--interactions", "i.csv", "--account", "a", "--platform", "feed"], "filled by a connector"),
        (["import", "--interactions", "no/such/file.csv", "--account", "a"], "no/such/file.csv"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err + captured.out


HEADER = "person,kind,occurred_at\n"
GOOD = "ann,like,2024-03-01\nbob,reply,2024-03-02\n"


def imported(folder: Path, name: str, content: str | bytes) -> int:
    """The exit code of importing a file of that content for the account `acc`."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return cli.main(["import", str(path), "--account", "acc"])


def test_a_file_of_which_no_row_can_be_used_is_a_failure_that_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(tmp_path, "good.csv", HEADER + GOOD) == 0
    bad = HEADER + "ann,like,yesterday\nbob,like,32/13/2024\n"
    capsys.readouterr()
    for _ in range(2):
        assert imported(tmp_path, "bad.csv", bad) == 1
        said = capsys.readouterr().out
        assert "set aside: 2 x occurred_at is no usable time (first: bad.csv:1)" in said
        assert "No row of bad.csv can be used" in said
    assert imported(tmp_path, "bad.csv", HEADER + GOOD + "cy,like,2024-03-03\n") == 0
    said = capsys.readouterr().out
    assert "1 new interactions (5 in all)" in said
    assert "2 rows are in quarantine from earlier imports of a file of this name" in said
    assert imported(tmp_path, "some.csv", HEADER + GOOD + "cy,like,soon\n") == 0
    assert "1 row is in quarantine with the reason" in capsys.readouterr().out


def test_a_file_that_turns_out_damaged_while_it_is_read_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "whole.parquet"
    pl.DataFrame({"person": ["a"] * 100, "kind": ["like"] * 100, "occurred_at": ["2024-03-01"] * 100}).write_parquet(
        path
    )
    whole = path.read_bytes()
    assert imported(tmp_path, "damaged.parquet", whole[:20] + bytes(80) + whole[100:]) == 1
    said = capsys.readouterr()
    assert said.err == "rapport import: It is a damaged Parquet file: damaged.parquet. Copy or export it again.\n"
    assert imported(tmp_path, "whole.parquet", whole) == 0
    assert "100 new interactions (100 in all)" in capsys.readouterr().out


def test_a_day_that_has_not_ended_cannot_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--as-of", today()]) == 1
    yesterday = (datetime.fromisoformat(today()) - timedelta(days=1)).date().isoformat()
    assert f"the last day that can be counted is {yesterday}" in capsys.readouterr().err


def test_a_date_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "--as-of", "soon"])
    assert stopped.value.code == 2
    assert "write it as 2026-01-31" in capsys.readouterr().err


def test_a_broken_rapport_toml_is_a_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    (home / "rapport.toml").write_text("account = [")
    assert cli.main(["status"]) == 1
    assert "is not valid TOML" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_is_a_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.write_text("a file where the folder should be")
    assert cli.main(["status"]) == 1
    said = capsys.readouterr().err
    assert str(home) in said
    assert "must be a folder that you can write to" in said


def test_a_home_with_an_apostrophe_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "ann's home"))
    assert cli.main(["status"]) == 1
    assert "has an apostrophe in its path" in capsys.readouterr().err
    assert not (tmp_path / "ann's home").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["selec 1"], "syntax error"),
        (["create table x as select 1"], "read-only"),
        (["from nosuch"], "Tables: mart_summary"),
        ([" ; "], "no question was asked"),
        (["select [1, 2] as pair", "--format", "csv"], "cannot be written as csv"),
    ],
)
def test_a_question_that_has_no_answer_is_a_message(
    home: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "published").mkdir(parents=True)
    with duckdb.connect(str(home / "published" / "rapport.duckdb")) as connection:
        connection.execute("create schema marts; create table marts.mart_summary (account_id varchar)")
    assert cli.main(["query", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_published_file_that_is_damaged_is_a_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "published").mkdir(parents=True)
    (home / "published" / "rapport.duckdb").write_text("no database")
    assert cli.main(["query", "from mart_summary"]) == 1
    assert "`rapport run` writes it again" in capsys.readouterr().err


def test_status_of_an_empty_home_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    assert "`rapport run` makes the first night" in capsys.readouterr().out


def test_ctrl_c_is_no_failed_check(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestration import night  # noqa: PLC0415 - seconds

    progress = night.Progress({}, was_stopped=True)
    monkeypatch.setattr(night, "_run", lambda as_of, _used, collects: night.Night(as_of, "run", False, progress, 1.0))
    home.mkdir()
    (home / "rapport.toml").write_text("[[account]]\nname = 'a'\n")
    assert cli.main(["run"]) == 130
    assert "Stopped. What was collected and published before is kept." in capsys.readouterr().err


def test_the_doctor_finds_an_empty_home_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    assert "✗" not in capsys.readouterr().out


def test_the_generated_documentation_is_up_to_date() -> None:
    assert cli.main(["docs", "--check"]) == 0


def test_every_verb_has_a_help_line() -> None:
    text = cli.parser().format_help()
    for verb in (
        "demo",
        "add",
        "import",
        "run",
        "up",
        "query",
        "status",
        "check",
        "report",
        "backfill",
        "docs",
        "doctor",
        "bench",
        "test",
    ):
        assert f"\n    {verb} " in text


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, orchestration.cli as c; c.parser(); print([m for m in ('dagster', 'polars', 'dlt', 'duckdb', 'great_expectations') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
