"""rapport.toml: read with clear messages, written without losing what the user wrote."""

import tomllib
from pathlib import Path

import pytest

from orchestration import config_file, settings
from orchestration.settings import SettingsError


def load(folder: Path, text: str) -> settings.Settings:
    """Settings from that text."""
    (folder / "rapport.toml").write_text(text, encoding="utf-8")
    return settings.load(folder)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    found = settings.load(tmp_path)
    assert (found.accounts, found.weights["like"], found.report_names) == ((), 0.1, True)


def test_added_sources_are_read_back_and_comments_survive(tmp_path: Path) -> None:
    path = tmp_path / "rapport.toml"
    assert config_file.add_source(path, account="blog", source="feed", url="https://blog.example/feed")
    text = path.read_text(encoding="utf-8").replace("promise_days = 7", "promise_days = 3 # my own promise")
    path.write_text(text + "\n# a last word\n", encoding="utf-8")
    assert config_file.add_source(
        path,
        account="blog",
        source="webmention",
        url="https://blog.example/",
        endpoint="http://127.0.0.1:1",
        allow_private=True,
    )
    assert config_file.add_source(path, account="other", source="feed", url="https://other.example/feed")
    written = path.read_text(encoding="utf-8")
    assert "promise_days = 3 # my own promise" in written
    assert "# a last word" in written
    found = settings.load(tmp_path)
    assert [(a.name, a.promise_days, [s.source for s in a.sources]) for a in found.accounts] == [
        ("blog", 3.0, ["feed", "webmention"]),
        ("other", 7.0, ["feed"]),
    ]
    assert found.accounts[0].sources[1].endpoint == "http://127.0.0.1:1"
    assert found.accounts[0].sources[1].allow_private


def test_adding_again_changes_nothing_and_a_new_endpoint_follows(tmp_path: Path) -> None:
    path = tmp_path / "rapport.toml"
    config_file.add_source(path, account="blog", source="feed", url="https://blog.example/feed")
    before = path.read_text(encoding="utf-8")
    assert not config_file.add_source(path, account="blog", source="feed", url="https://blog.example/feed")
    assert path.read_text(encoding="utf-8") == before
    assert config_file.add_source(
        path, account="blog", source="feed", url="https://blog.example/feed", endpoint="https://mirror.example"
    )
    assert settings.load(tmp_path).accounts[0].sources[0].endpoint == "https://mirror.example"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("account = [", "not valid TOML"),
        ("colour = 1", "unknown key 'colour' in the top level"),
        ("[[account]]\ntimezone = 'UTC'", "has no name"),
        ("[[account]]\nname = 'a'\n[[account]]\nname = 'a'", "'a' is there twice"),
        ("[[account]]\nname = 'a'\ntimezone = 'Mars/Olympus'", "unknown time zone 'Mars/Olympus'"),
        ("[[account]]\nname = 'a'\npromise_days = 0", "above 0"),
        ("[[account]]\nname = 'a'\npromis_days = 3", "unknown key 'promis_days' in account 'a'"),
        ("[weights]\nclap = 1", r"\[weights\] clap"),
        ("[[account]]\nname = 'a'\n[[account.source]]\nsource = 'feed'", "has no `url`"),
        (
            "[[account]]\nname = 'a'\n[[account.source]]\nsource = 'myspace'\nurl = 'x'",
            "expected one of bluesky, feed, ghost, mastodon, webmention, wordpress, x, youtube",
        ),
        (
            "[[account]]\nname = 'a'\n[[account.source]]\nsource = 'activity'\nurl = 'x'",
            "expected one of bluesky, feed, ghost, mastodon, webmention, wordpress, x, youtube",
        ),
        ("account = 'a'", r"expected tables, each with the header \[\[account\]\]"),
        ("[account]\nname = 'a'", r"expected tables, each with the header \[\[account\]\]"),
        ("[[account]]\nname = 'a'\nsource = ['feed']", r"expected tables, each with the header \[\[account.source\]\]"),
        ("[[account]]\nname = ['a']", "expected a text in quotes"),
        (
            "[[account]]\nname = 'a'\nown = 'https://a.example'",
            "own = 'https://a.example' in account 'a': expected a list",
        ),
        ("[[account]]\nname = 'a'\nis_own = 'no'", "expected true or false, without quotes"),
        ("[[account]]\nname = 'a'\npromise_days = nan", "above 0"),
        ("[[account]]\nname = 'a'\npromise_days = inf", "above 0"),
        ("collection = 16", r"the header \[collection\]"),
        ("[collection]\nhosts = 0", "expected a whole number from 1 to 256"),
        ("[collection]\nhosts = 2.5", "expected a whole number from 1 to 256"),
        ("[collection]\nhost = 2", r"unknown key 'host' in \[collection\]"),
        ("weights = 1", r"the header \[weights\]"),
        ("[weights]\nlike = nan", "at least 0"),
        ("bots = 'webmention:bot'", "expected a list of texts"),
        ("same_person = ['a', 'b']", "expected a list of groups"),
        ("store_text = 'no'", "expected true or false, without quotes"),
    ],
)
def test_a_mistake_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "rapport.toml") in str(caught.value)


def test_how_many_hosts_a_night_asks_at_once(tmp_path: Path) -> None:
    assert load(tmp_path, "").hosts == 16
    assert load(tmp_path, "[collection]\nhosts = 40").hosts == 40


def test_many_addresses_are_written_at_once_and_as_one_by_one(tmp_path: Path) -> None:
    added = [
        {"account": f"a{n % 7}", "source": "feed", "url": f"https://a.example/{n}", "allow_private": n % 2 == 0}
        for n in range(20)
    ]
    together = config_file.ConfigFile(tmp_path / "together.toml")
    for one in added:
        config_file.add_source(tmp_path / "single.toml", **one)
        assert together.add(**one)
        assert not together.add(**one)
    assert not (tmp_path / "together.toml").exists()
    together.save()
    said = [tomllib.loads((tmp_path / name).read_text()) for name in ("together.toml", "single.toml")]
    assert said[0] == said[1]
    assert [len(account["source"]) for account in said[0]["account"]] == [3] * 6 + [2]


def test_a_file_of_another_encoding_is_a_message_and_a_byte_order_mark_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rapport.toml"
    path.write_bytes("[[account]]\nname = 'é'\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"is not UTF-8 \(byte 21\)"):
        settings.load(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf[[account]]\nname = 'a'\n")
    assert config_file.add_source(path, account="a", source="feed", url="https://a.example/feed")
    assert [a.sources[0].url for a in settings.load(tmp_path).accounts] == ["https://a.example/feed"]
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.load(tmp_path)


@pytest.mark.parametrize("text", ["[[account]]\nname = 'a'\nsource = []\n", "account = []\n"])
def test_an_empty_list_is_no_obstacle_to_adding(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rapport.toml"
    path.write_text(text, encoding="utf-8")
    assert config_file.add_source(path, account="a", source="feed", url="https://a.example/feed")
    (account,) = settings.load(tmp_path).accounts
    assert [source.url for source in account.sources] == ["https://a.example/feed"]


def test_accounts_on_one_line_are_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "rapport.toml"
    path.write_text("account = [{name = 'a'}]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is written on one line"):
        config_file.add_source(path, account="a", source="feed", url="https://a.example/feed")
    assert path.read_text(encoding="utf-8") == "account = [{name = 'a'}]\n"


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    found = settings.load(tmp_path)
    key = found.identity_key()
    assert len(key) == 32
    assert found.identity_key() == key
    assert (tmp_path / "keys" / "identity.key").stat().st_mode & 0o777 == 0o600


def test_an_accounts_own_token_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_WEBMENTION_TOKEN", "everyones")
    monkeypatch.setenv("RAPPORT_WEBMENTION_TOKEN_MY_BLOG", "mine")
    assert settings.token("webmention", "my.blog") == "mine"
    assert settings.token("webmention", "other") == "everyones"


def test_secrets_are_not_in_the_representation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_WEBMENTION_TOKEN", "do-not-show")
    found = load(
        tmp_path, "[[account]]\nname = 'a'\n[[account.source]]\nsource = 'webmention'\nurl = 'https://a.example'"
    )
    assert found.accounts[0].sources[0].options["token"] == "do-not-show"
    assert "do-not-show" not in repr(found)


def test_engine_and_memory_are_read_and_refused_with_what_is_expected(tmp_path: Path) -> None:
    text = (
        'engine = "spark"\nmemory = "4 GB"\nspark_master = "spark://host:7077"\n[spark]\n"spark.executor.cores" = "4"\n'
    )
    found = load(tmp_path, text)
    assert (found.engine, found.memory, found.spark_master) == ("spark", "4GB", "spark://host:7077")
    assert found.spark == {"spark.executor.cores": "4"}
    for wrong, expected in (
        ('engine = "pandas"', "one of auto, polars, duckdb, spark"),
        ('memory = "much"', 'an amount such as "800MB"'),
        ('spark_master = "host:7077"', "a master's address"),
        ("[spark]\ncores = 4", "a table of texts"),
    ):
        with pytest.raises(SettingsError, match=expected):
            load(tmp_path, wrong)
