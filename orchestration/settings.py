"""Where everything is and what the user decided: the environment and `rapport.toml`, read once.

The only module that reads the environment. Everything a user owns is below one folder,
`RAPPORT_HOME` (default `.rapport/` in the checkout). Secrets are not settings: they come from the
environment (`RAPPORT_<SOURCE>_TOKEN`, `RAPPORT_<SOURCE>_TOKEN_<ACCOUNT>`) and are never written.
"""

import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sources.model import AccountSource

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
    """`RAPPORT_HOME`, or `.rapport/` in the checkout."""
    return Path(os.environ.get("RAPPORT_HOME") or CHECKOUT / ".rapport").resolve()


def token(source: str, account_id: str) -> str | None:
    """The secret of a source for an account, from the environment; the account's own goes first."""
    suffix = re.sub(r"\W", "_", account_id).upper()
    prefix = f"RAPPORT_{source.upper()}_TOKEN"
    return os.environ.get(f"{prefix}_{suffix}") or os.environ.get(prefix)


def prepare_environment(folder: Path) -> None:
    """Switch telemetry off and point the libraries at `folder`, before any of them is imported."""
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
        GX_ANALYTICS_ENABLED="false",
        # Fits are small: more BLAS threads than one cost more than they bring.
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )


def load(folder: Path | None = None) -> Settings:
    """Settings from `rapport.toml` in `folder` (default: `home()`); the defaults where there is none.

    Raises `SettingsError` for a file that is no TOML, an unknown key, time zone or kind, a promise
    that is not positive, or an account named twice.
    """
    folder = folder or home()
    path = folder / "rapport.toml"
    if not path.exists():
        return Settings(home=folder)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}. Correct that line and run again.") from error
    known = {"account", "weights", "report_names", "store_text", "bots", "same_person"}
    _no_unknown(path, "the top level", content, known)
    accounts = tuple(_account(path, entry) for entry in content.get("account", []))
    twice = sorted({a.name for a in accounts if sum(b.name == a.name for b in accounts) > 1})
    if twice:
        raise SettingsError(f"{path}: account {twice[0]!r} is there twice. Merge the two [[account]] entries.")
    weights = dict(WEIGHTS)
    for kind, weight in content.get("weights", {}).items():
        if kind not in WEIGHTS or not isinstance(weight, int | float) or weight < 0:
            raise SettingsError(
                f"{path}: [weights] {kind} = {weight!r}: expected one of {', '.join(WEIGHTS)}, at least 0."
            )
        weights[kind] = float(weight)
    return Settings(
        home=folder,
        accounts=accounts,
        weights=weights,
        report_names=bool(content.get("report_names", True)),
        store_text=bool(content.get("store_text", False)),
        bots=tuple(content.get("bots", ())),
        same_person=tuple(tuple(group) for group in content.get("same_person", ())),
    )


def _no_unknown(path: Path, where: str, entry: Mapping[str, object], known: set[str]) -> None:
    if unknown := sorted(set(entry) - known):
        raise SettingsError(f"{path}: unknown key {unknown[0]!r} in {where}. Known are {', '.join(sorted(known))}.")


def _account(path: Path, entry: Mapping[str, object]) -> Account:
    known = {"name", "timezone", "promise_days", "is_own", "own", "source"}
    name = str(entry.get("name") or "")
    if not name:
        raise SettingsError(f'{path}: an [[account]] has no name. Add `name = "..."`.')
    _no_unknown(path, f"account {name!r}", entry, known)
    timezone = str(entry.get("timezone", "UTC"))
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"{path}: account {name!r}: unknown time zone {timezone!r}. Use an IANA name, such as Europe/Paris."
        ) from error
    promise = entry.get("promise_days", 7)
    if not isinstance(promise, int | float) or isinstance(promise, bool) or promise <= 0:
        raise SettingsError(f"{path}: account {name!r}: promise_days = {promise!r} must be a number of days above 0.")
    sources = entry.get("source", [])
    return Account(
        name=name,
        timezone=timezone,
        promise_days=float(promise),
        is_own=bool(entry.get("is_own", True)),
        own=tuple(str(x) for x in entry.get("own", ())),  # type: ignore[attr-defined]
        sources=tuple(_source(path, name, item) for item in sources),  # type: ignore[attr-defined]
    )


def _source(path: Path, account: str, entry: Mapping[str, object]) -> AccountSource:
    where = f"a source of account {account!r}"
    _no_unknown(path, where, entry, {"source", "url", "endpoint", "allow_private"})
    for key in ("source", "url"):
        if not entry.get(key):
            raise SettingsError(f"{path}: {where} has no `{key}`. `rapport add URL --account {account}` writes one.")
    source = str(entry["source"])
    secret = token(source, account)
    endpoint = entry.get("endpoint")
    return AccountSource(
        account_id=account,
        source=source,
        url=str(entry["url"]),
        endpoint=str(endpoint) if endpoint else None,
        allow_private=bool(entry.get("allow_private", False)),
        options={"token": secret} if secret else {},
    )
