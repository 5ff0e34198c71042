"""The command line: mistakes are a message and an exit code, never a traceback."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
        (["add", "https://127.0.0.1:9/feed"], "--allow-private"),
        (["add", "https://blog.example", "--source", "myspace"], "There is no source 'myspace'"),
        (["add", "http://[bad"], "This is no address"),
        (["add", "https://blog.example", "--account", " "], "--account names no account"),
        (["import"], "nothing to import"),
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


def test_status_of_an_empty_home_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    assert "`rapport run` makes the first night" in capsys.readouterr().out


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
