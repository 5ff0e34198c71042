"""`rapport run --dry-run` says what a night would cost, and asks nobody."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dlt
import pytest
from serve_youtube import KEY, YouTube, community, serving

from orchestration import cli, dry_run
from orchestration import settings as settings_module
from sources import youtube
from sources.collection import Collection
from sources.model import AccountSource

READ_AT = datetime(2024, 5, 6, 12, tzinfo=UTC)

TOML = """
[budgets]
youtube = 500

[[account]]
name = "blog"
[[account.source]]
source = "feed"
url = "https://blog.example/feed?token=abc"
[[account.source]]
source = "youtube"
url = "https://www.youtube.com/@me"
[[account.source]]
source = "x"
url = "https://x.com/me"
price_per_1000 = "5"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rapport.toml").write_text(TOML)
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))
    monkeypatch.setenv("RAPPORT_YOUTUBE_TOKEN", KEY)
    return tmp_path


def load(home: Path, site: YouTube, read_at: datetime) -> int:
    """Collect the channel into the warehouse of the home; what it cost."""
    site.requests.clear()
    account = AccountSource(
        account_id="blog", source="youtube", url="https://www.youtube.com/@me", endpoint=site.address,
        allow_private=True, options={"token": KEY},
    )  # fmt: skip
    pipeline = dlt.pipeline(
        "raw_youtube", pipelines_dir=str(home / "pipelines"), dataset_name="raw_youtube",
        destination=dlt.destinations.duckdb(str(home / "warehouse.duckdb")),
    )  # fmt: skip
    pipeline.run(youtube.source([account], read_at=read_at, collection=Collection()), loader_file_format="parquet")
    return len(site.requests)


def test_before_the_first_night_the_budget_is_all_that_is_known(home: Path) -> None:
    said = dry_run.plan(settings_module.load(home), read_at=READ_AT).splitlines()
    assert said == [
        "Would be read:",
        "  blog  feed  https://blog.example/feed?token=***: reads, without charge",
        "  blog  youtube  https://www.youtube.com/@me: not read before, so its cost is not known; the budget ends it (quota units)",
        "  blog  x  https://x.com/me: cannot be read, since there is no key: put it into RAPPORT_X_TOKEN",
        "Budgets:",
        "  x: 300 posts and users read a day for all accounts, 0 spent today, 300 left",
        "  youtube: 500 quota units a day for all accounts, 0 spent today, 500 left",
    ]


def test_afterwards_it_rests_on_what_was_seen_and_spent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_X_TOKEN", "t")
    with serving(community()) as site:
        spent = load(home, site, READ_AT)
    said = dry_run.plan(settings_module.load(home), read_at=READ_AT + timedelta(hours=1))
    assert "@me: about 9 quota units, by what was seen last" in said
    assert f"{spent} spent today, {500 - spent} left" in said
    assert "0 spent today, 500 left" in dry_run.plan(settings_module.load(home), read_at=READ_AT + timedelta(days=1))


def test_a_price_given_by_the_user_says_what_it_comes_to() -> None:
    entry = AccountSource(account_id="a", source="x", url="", options={"price_per_1000": "5"})
    assert dry_run._money(entry, 200) == " (1.00 at 5 per 1,000)"
    assert not dry_run._money(AccountSource(account_id="a", source="x", url=""), 200)


def test_many_accounts_without_charge_are_one_line(home: Path) -> None:
    feeds = "".join(
        f'[[account]]\nname = "a{n}"\n[[account.source]]\nsource = "feed"\nurl = "https://a.example/{n}"\n'
        for n in range(2_000)
    )
    (home / "rapport.toml").write_text(TOML + feeds)
    said = dry_run.plan(settings_module.load(home), read_at=READ_AT).splitlines()
    assert "  2,001 accounts  feed: read, without charge" in said
    assert len(said) == 7


def test_the_verb_prints_it_and_collects_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--dry-run", "--as-of", date(2024, 5, 5).isoformat()]) == 0
    assert "Would be read:" in capsys.readouterr().out
    assert not (home / "warehouse.duckdb").exists()
