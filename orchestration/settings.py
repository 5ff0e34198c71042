"""Where everything is and what the user decided: the environment and `rapport.toml`, read once.

The only module that reads the environment. Everything a user owns is below one folder,
`RAPPORT_HOME` (default `.rapport/` in the checkout). Secrets are not settings: they come from the
environment (`RAPPORT_<SOURCE>_TOKEN`, `RAPPORT_<SOURCE>_TOKEN_<ACCOUNT>`) and are never written.
"""

import os
import re
import secrets
import tomllib
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sources.model import HOSTS_AT_ONCE, AccountSource

CHECKOUT = Path(__file__).resolve().parent.parent
WEIGHTS: Mapping[str, float] = {
    "reply": 1.0,
    "mention": 1.0,
    "message": 1.0,
    "quote": 0.5,
    "repost": 0.5,
    "bookmark": 0.5,
    "like": 0.1,
    "follow": 0.0,
    "rsvp": 0.0,
}


ENGINES = ("auto", "polars", "duckdb", "spark")


class SettingsError(ValueError):
    """`rapport.toml` says something that cannot be: the message says what, where and what to do."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """One `[[account]]` of rapport.toml."""

    name: str
    timezone: str = "UTC"
    promise_days: float = 7.0
    is_own: bool = True
    own: tuple[str, ...] = ()
    sources: tuple[AccountSource, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a night needs to know. `weights` says what an interaction of each kind is worth."""

    home: Path
    accounts: tuple[Account, ...] = ()
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    report_names: bool = True
    store_text: bool = False
    bots: tuple[str, ...] = ()
    same_person: tuple[tuple[str, ...], ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    hosts: int = HOSTS_AT_ONCE
    engine: str = "auto"
    memory: str | None = None
    spark_master: str = "local[2]"
    spark_store: str | None = None
    spark: Mapping[str, str] = field(default_factory=dict)

    @property
    def duckdb_memory(self) -> str | None:
        """What DuckDB may take of `memory`: half of it where Polars computes beside it."""
        if self.memory is None or self.engine not in ("auto", "polars"):
            return self.memory
        return f"{bytes_of(self.memory) / 2e6:.0f}MB"

    @property
    def config_path(self) -> Path:
        """The user's file."""
        return self.home / "rapport.toml"

    @property
    def warehouse_path(self) -> Path:
        """The one DuckDB file that is written."""
        return self.home / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The folder others read."""
        return self.home / "published"

    @property
    def dagster_home(self) -> Path:
        """Dagster's runs and events."""
        return self.home / "dagster"

    @property
    def dlt_home(self) -> Path:
        """Dlt's working folders."""
        return self.home / "dlt"

    def sources(self, source: str) -> list[AccountSource]:
        """The configured sources of one connector, over all accounts."""
        return [entry for account in self.accounts for entry in account.sources if entry.source == source]

    def identity_key(self) -> bytes:
        """The installation's key for pseudonyms; made on first use, readable by the owner only."""
        path = self.home / "keys" / "identity.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
        return bytes.fromhex(path.read_text().strip())


def home() -> Path:
    """`RAPPORT_HOME`, or `.rapport/` in the checkout.

    Raises `SettingsError` for a path with an apostrophe: dlt writes it into SQL as it is.
    """
    folder = Path(os.environ.get("RAPPORT_HOME") or CHECKOUT / ".rapport").resolve()
    if "'" in str(folder):
        raise SettingsError(f"{folder} has an apostrophe in its path: choose another folder with RAPPORT_HOME.")
    return folder


def token(source: str, account_id: str) -> str | None:
    """The secret of a source for an account, from the environment; the account's own goes first."""
    suffix = re.sub(r"\W", "_", account_id).upper()
    prefix = f"RAPPORT_{source.upper()}_TOKEN"
    return os.environ.get(f"{prefix}_{suffix}") or os.environ.get(prefix)


def prepare_environment(folder: Path) -> None:
    """Switch telemetry off and point the libraries at `folder`, before any of them is imported."""
    # Great Expectations imports PySpark where it is installed; no step uses pandas with it.
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    (folder / "dagster").mkdir(parents=True, exist_ok=True)
    instance = folder / "dagster" / "dagster.yaml"
    if not instance.exists():
        instance.write_text(
            "# Dagster's own settings of this installation.\ntelemetry:\n  enabled: false\nnux:\n  enabled: false\n"
            "run_monitoring:\n  enabled: false\n"
        )
    os.environ.update(
        RAPPORT_HOME=str(folder),
        DAGSTER_HOME=str(folder / "dagster"),
        DAGSTER_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="1",
        DLT_DATA_DIR=str(folder / "dlt"),
        DLT_TELEMETRY="false",
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        NORMALIZE__LOADER_FILE_FORMAT="parquet",
        EXTRACT__NEXT_ITEM_MODE="fifo",  # what was read is loaded before more is read, else memory grows with it
        GX_ANALYTICS_ENABLED="false",
    )


def load(folder: Path | None = None) -> Settings:
    """Settings from `rapport.toml` in `folder` (default: `home()`); the defaults where there is none.

    Raises `SettingsError` for a file that is no TOML, an unknown key, time zone, kind or source, a value
    of another type than it must be, a promise that is not positive, or an account named twice.
    """
    folder = folder or home()
    path = folder / "rapport.toml"
    if not path.exists():
        return Settings(home=folder)
    try:
        # utf-8-sig: editors on Windows put a mark before the first character.
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}. Correct that line and run again.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 (byte {error.start + 1}). Save it as UTF-8 and run again.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. It must be a file of yours.") from error
    top = _Part(path, "the top level", content)
    top.only(
        "account", "weights", "report_names", "store_text", "bots", "same_person", "budgets", "collection",
        "engine", "memory", "spark_master", "spark_store", "spark",
    )  # fmt: skip
    accounts = tuple(_account(part) for part in top.tables("account"))
    twice = sorted(name for name, times in Counter(a.name for a in accounts).items() if times > 1)
    if twice:
        raise SettingsError(f"{path}: account {twice[0]!r} is there twice. Merge the two [[account]] entries.")
    return Settings(
        home=folder,
        accounts=accounts,
        weights=_weights(path, top),
        report_names=top.flag("report_names", default=True),
        store_text=top.flag("store_text", default=False),
        bots=top.texts("bots"),
        same_person=top.groups("same_person"),
        budgets=_budgets(path, top),
        hosts=_hosts(path, top),
        engine=_engine(top),
        memory=_memory(top),
        spark_master=_spark_master(top),
        spark_store=top.text("spark_store") or None,
        spark=_spark(top),
    )


@dataclass(frozen=True)
class _Part:
    """A table of the file: its values, each of the type it must have or refused with a message."""

    path: Path
    where: str
    entry: Mapping[str, Any]

    def refuse(self, key: str, expected: str) -> SettingsError:
        value = self.entry.get(key)
        return SettingsError(f"{self.path}: {key} = {value!r} in {self.where}: expected {expected}.")

    def only(self, *known: str) -> None:
        if unknown := sorted(set(self.entry) - set(known)):
            raise SettingsError(
                f"{self.path}: unknown key {unknown[0]!r} in {self.where}. Known are {', '.join(sorted(known))}."
            )

    def tables(self, key: str) -> "list[_Part]":
        found = self.entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            header = f"[[{key}]]" if self.where == "the top level" else f"[[account.{key}]]"
            raise self.refuse(key, f"tables, each with the header {header}")
        return [_Part(self.path, f"{key} {number}", item) for number, item in enumerate(found, 1)]

    def text(self, key: str, default: str = "") -> str:
        found = self.entry.get(key, default)
        if not isinstance(found, str):
            raise self.refuse(key, "a text in quotes")
        return found

    def flag(self, key: str, *, default: bool) -> bool:
        found = self.entry.get(key, default)
        if not isinstance(found, bool):
            raise self.refuse(key, "true or false, without quotes")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.refuse(key, 'a list of texts, as ["...", "..."]')
        return tuple(found)

    def groups(self, key: str) -> tuple[tuple[str, ...], ...]:
        found = self.entry.get(key, [])
        is_list = isinstance(found, list) and all(isinstance(group, list) for group in found)
        if not is_list or not all(isinstance(item, str) for group in found for item in group):
            raise self.refuse(key, 'a list of groups, as [["...", "..."], ["...", "..."]]')
        return tuple(tuple(group) for group in found)


def _weights(path: Path, top: _Part) -> dict[str, float]:
    given = top.entry.get("weights", {})
    if not isinstance(given, dict):
        raise top.refuse("weights", "a table: the header [weights], and below it for example like = 0.1")
    weights = dict(WEIGHTS)
    for kind, weight in given.items():
        if kind not in WEIGHTS or not _is_amount(weight):
            raise SettingsError(
                f"{path}: [weights] {kind} = {weight!r}: expected one of {', '.join(WEIGHTS)}, at least 0."
            )
        weights[kind] = float(weight)
    return weights


def _engine(top: _Part) -> str:
    engine = top.text("engine", "auto")
    if engine not in ENGINES:
        raise top.refuse("engine", f"one of {', '.join(ENGINES)}")
    return engine


def bytes_of(memory: str) -> float:
    """An amount of memory, as `memory` says it, in bytes.

    >>> bytes_of("4GB"), bytes_of("800MB")
    (4000000000.0, 800000000.0)
    """
    return float(memory[:-2]) * {"MB": 1e6, "GB": 1e9}[memory[-2:]]


def _memory(top: _Part) -> str | None:
    memory = top.text("memory").replace(" ", "")
    if memory and not re.fullmatch(r"[1-9]\d*(\.\d+)?[MG]B", memory):
        raise top.refuse("memory", 'an amount such as "800MB" or "4GB"')
    return memory or None


def _spark_master(top: _Part) -> str:
    master = top.text("spark_master", "local[2]")
    if not re.match(r"local(\[[\w*,]+\])?$|(spark|k8s)://|yarn$", master):
        raise top.refuse(
            "spark_master", 'a master\'s address, as "local[2]", "spark://host:7077" or "k8s://https://host"'
        )
    return master


def _spark(top: _Part) -> dict[str, str]:
    """Spark's own settings, by their own names."""
    given = top.entry.get("spark", {})
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise top.refuse("spark", 'a table of texts: the header [spark], and below it "spark.executor.cores" = "4"')
    return dict(given)


def _budgets(path: Path, top: _Part) -> dict[str, float]:
    """What each connector that costs something may spend in a night, in its own unit."""
    from sources.registry import REGISTRY  # noqa: PLC0415 - most of a second

    given = top.entry.get("budgets", {})
    if not isinstance(given, dict):
        raise top.refuse("budgets", "a table: the header [budgets], and below it for example youtube = 5000")
    counted = [name for name, connector in REGISTRY.items() if connector.unit] if given else []
    for source, amount in given.items():
        if source not in counted or not _is_amount(amount):
            raise SettingsError(
                f"{path}: [budgets] {source} = {amount!r}: expected one of {', '.join(counted)}, at least 0."
            )
    return {source: float(amount) for source, amount in given.items()}


def _hosts(path: Path, top: _Part) -> int:
    """How many hosts a night asks at once."""
    given = top.entry.get("collection", {})
    if not isinstance(given, dict):
        raise top.refuse("collection", "a table: the header [collection], and below it for example hosts = 16")
    part = _Part(path, "[collection]", given)
    part.only("hosts")
    hosts = given.get("hosts", HOSTS_AT_ONCE)
    if not isinstance(hosts, int) or isinstance(hosts, bool) or not 1 <= hosts <= 256:
        raise part.refuse("hosts", "a whole number from 1 to 256")
    return hosts


def _is_amount(value: object) -> bool:
    """A number, not a truth value; neither infinite nor `nan` (both are numbers in TOML)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _account(part: _Part) -> Account:
    name = part.text("name")
    if not name.strip():
        raise SettingsError(f'{part.path}: an [[account]] has no name. Add `name = "..."`.')
    part = _Part(part.path, f"account {name!r}", part.entry)
    part.only("name", "timezone", "promise_days", "is_own", "own", "source")
    timezone = part.text("timezone", "UTC")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(
            f"{part.path}: account {name!r}: unknown time zone {timezone!r}. Use an IANA name, such as Europe/Paris."
        ) from error
    promise = part.entry.get("promise_days", 7)
    if not _is_amount(promise) or promise == 0:
        raise SettingsError(
            f"{part.path}: account {name!r}: promise_days = {promise!r} must be a number of days above 0."
        )
    return Account(
        name=name,
        timezone=timezone,
        promise_days=float(promise),
        is_own=part.flag("is_own", default=True),
        own=part.texts("own"),
        sources=tuple(_source(name, item) for item in part.tables("source")),
    )


def _source(account: str, part: _Part) -> AccountSource:
    from sources.registry import REGISTRY  # noqa: PLC0415 - most of a second, and only where there are sources

    part = _Part(part.path, f"a source of account {account!r}", part.entry)
    for key in ("source", "url"):
        if not part.text(key):
            raise SettingsError(
                f"{part.path}: {part.where} has no `{key}`. `rapport add URL --account {account}` writes one."
            )
    source = part.text("source")
    if source not in REGISTRY or not REGISTRY[source].is_nightly:
        known = sorted(name for name, connector in REGISTRY.items() if connector.is_nightly)
        raise part.refuse("source", f"one of {', '.join(known)}")
    extra = REGISTRY[source].options
    part.only("source", "url", "endpoint", "allow_private", *extra)
    for key in ("url", "endpoint", *extra):
        try:
            _ = urlsplit(part.text(key)).port  # asking checks it
        except ValueError as error:
            raise part.refuse(key, "an address, as https://blog.example/feed") from error
    secret = token(source, account)
    return AccountSource(
        account_id=account,
        source=source,
        url=part.text("url"),
        endpoint=part.text("endpoint") or None,
        allow_private=part.flag("allow_private", default=False),
        options={**{key: part.text(key) for key in extra if part.text(key)}, **({"token": secret} if secret else {})},
    )
