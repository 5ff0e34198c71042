"""`rapport run --dry-run`: what a night would read, and what it would cost, without asking anybody.

It rests on what was collected before: nothing here talks to a network.
"""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from assets.history import RawHistory
from orchestration.settings import Settings
from orchestration.sole_use import sole_use
from sources.budget import spent_on
from sources.http import mask
from sources.memory import Memory
from sources.model import AccountSource
from sources.registry import REGISTRY, Connector

FEW = 100
"""Accounts of a source without charge that get a line each."""


def plan(settings: Settings, *, read_at: datetime) -> str:
    """Each account's sources, a line each (many without charge: one for all), then the budgets that their accounts share.

    Raises `WarehouseError` where another process is at work in the home.
    """
    lines, budgets = list[str](), dict[str, str]()
    entries = [(account.name, entry) for account in settings.accounts for entry in account.sources]
    free = Counter(entry.source for _, entry in entries if REGISTRY[entry.source].estimate is None)
    histories = {name: RawHistory(str(settings.warehouse_path), name) for name in REGISTRY}
    with sole_use(settings.home):
        for name, history in histories.items():
            mine = [account for account, entry in entries if entry.source == name]
            if mine and (connector := REGISTRY[name]).unit:
                history.expect(mine)
                spent = spent_on(history(mine[0]), connector.platform, read_at, day=connector.day)
                budgets[name] = _budget(connector, settings, spent)
        for account, entry in entries:
            if free[entry.source] <= FEW:
                cost = _cost(REGISTRY[entry.source], entry, histories[entry.source](account), read_at)
                lines.append(f"  {account}  {entry.source}  {mask(entry.url)}: {cost}")
    lines += [f"  {n:,} accounts  {name}: read, without charge" for name, n in sorted(free.items()) if n > FEW]
    if not lines:
        return f"Nothing would be read: {settings.config_path} names no source."
    shared = [f"  {name}: {text}" for name, text in sorted(budgets.items())]
    return "\n".join(["Would be read:", *lines, *(["Budgets:", *shared] if shared else [])])


def _cost(connector: Connector, entry: AccountSource, history: Mapping[str, pa.Table], read_at: datetime) -> str:
    if connector.estimate is None:
        return "reads, without charge"
    if not entry.options.get("token"):
        return f"cannot be read, since there is no key: put it into RAPPORT_{connector.name.upper()}_TOKEN"
    cost = connector.estimate(entry, Memory.of(history, platform=connector.platform), read_at)
    if math.isinf(cost):
        return f"not read before, so its cost is not known; the budget ends it ({connector.unit})"
    return f"about {cost:,.0f} {connector.unit}{_money(entry, cost)}, by what was seen last"


def _money(entry: AccountSource, amount: float) -> str:
    """What it comes to at the price that the user gave: prices change, so none is built in."""
    try:
        price = float(entry.options.get("price_per_1000", ""))
    except ValueError:
        return ""
    return f" ({amount * price / 1000:,.2f} at {price:g} per 1,000)"


def _budget(connector: Connector, settings: Settings, spent: int) -> str:
    limit = settings.budgets.get(connector.name, connector.budget or 0)
    left = max(limit - spent, 0)
    return f"{limit:,.0f} {connector.unit} a day for all accounts, {spent:,} spent today, {left:,.0f} left"
