"""Writing `rapport.toml`: with comments for who opens it, and without losing what they wrote."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import tomlkit
from tomlkit.items import AoT

from orchestration.settings import SettingsError

TEMPLATE = """\
# rapport.toml: the accounts that are measured, and what was decided about them.
# `rapport add URL` writes entries here; edit freely, comments and order are kept.

# Show names in the private report (published/report/). Published tables never hold names.
report_names = true

# Keep the text of other people's replies and mentions. Off: only who, what kind and when.
store_text = false

# People who are programs: kept, but out of every measure. As "platform:native id".
# bots = ["webmention:bot.example/feed"]

# Identities that are one person, each group a list of "platform:native id".
# same_person = [["webmention:ann.example", "activity:ann"]]

# What an interaction of each kind is worth (docs/metrics/value.md); what is not named keeps its default.
# [weights]
# like = 0.1
"""


class ConfigFile:
    """The file, read once: `add` as much as there is, then `save`. Nothing is written before.

    Parsing with comments takes a second for some thousands of accounts, so it is not done for each address.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, or begin a new one. Raises `SettingsError` where accounts are a list on one line."""
        self.path, self._is_changed = path, False
        self._document = tomlkit.parse(path.read_text(encoding="utf-8-sig") if path.exists() else TEMPLATE)
        self._accounts = _tables(self._document, "account", path)
        self._by_name = {str(entry.get("name")): entry for entry in reversed(self._accounts)}

    def add(
        self,
        *,
        account: str,
        source: str,
        url: str,
        endpoint: str | None = None,
        allow_private: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> bool:
        """Note a source of an account, and return whether anything changed.

        The account is made where there is none of that name. A source that is there already (same
        connector and address) is left alone, except that its endpoint follows. Raises `SettingsError`
        where the account's sources are written as a list on one line.
        """
        entry = self._by_name.get(account)
        if entry is None:
            self._accounts.append(_account(account))
            entry = self._by_name[account] = self._accounts[-1]
        sources = _tables(entry, "source", self.path)
        wanted: dict[str, Any] = {"source": source, "url": url, **(options or {})}
        if endpoint:
            wanted["endpoint"] = endpoint
        if allow_private:
            wanted["allow_private"] = True
        present = next((s for s in sources if (s.get("source"), s.get("url")) == (source, url)), None)
        if present is None:
            table = tomlkit.table()
            table.trivia.indent = "\n"
            table.update(wanted)
            sources.append(table)
        elif all(present.get(k) == v for k, v in wanted.items()) and ("endpoint" in present) == bool(endpoint):
            return False
        else:
            present.pop("endpoint", None)
            present.update(wanted)
        self._is_changed = True
        return True

    def save(self) -> None:
        """Write what was added, if anything was."""
        if self._is_changed:
            _write(self.path, tomlkit.dumps(self._document))
            self._is_changed = False


def add_source(path: Path, *, account: str, source: str, url: str, **more: Any) -> bool:
    """Write one source of an account into the file: `ConfigFile.add` and `save`."""
    file = ConfigFile(path)
    is_new = file.add(account=account, source=source, url=url, **more)
    file.save()
    return is_new


def account_name(url: str) -> str:
    """A name for an account, from its address: the handle, or the host without `www.`.

    >>> account_name("@ann@social.example")
    'ann@social.example'

    >>> account_name("https://www.example.org/blog/")
    'example.org'
    """
    if url.startswith("@"):
        return url[1:]
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or url
    except ValueError:
        return url  # no address: reading it says so
    return re.sub(r"^www\.", "", host)


def _tables(parent: Any, key: str, path: Path) -> AoT:
    """The tables below `parent`; a list in square brackets cannot be added to, unless it is empty."""
    present = parent.get(key)
    if isinstance(present, AoT):
        return present
    if present:
        header = "[[account]]" if key == "account" else f"[[account.{key}]]"
        raise SettingsError(
            f"{path}: {key} = [...] is written on one line. Write its entries as {header} tables, and add again."
        )
    if present is not None:
        del parent[key]
    parent[key] = tomlkit.aot()
    return cast("AoT", parent[key])


def _account(name: str) -> Any:
    table = tomlkit.table()
    table.trivia.indent = "\n"
    table.add("name", name)
    table.add("timezone", tomlkit.string("UTC").comment("IANA name: days and weeks are judged in it"))
    table.add("promise_days", tomlkit.integer(7).comment("the posting promise: at least one post in so many days"))
    table.add("is_own", tomlkit.boolean("true").comment("false: merely analysed, not yours"))
    table.add(
        tomlkit.comment(
            'own = ["https://social.example/@me"]  # your other addresses: their interactions are not an audience'
        )
    )
    return table


def _write(path: Path, text: str) -> None:
    """Replace the file at once, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
