"""Whole small worlds for tests of every mart: core tables from a seed, and the marts as the asset graph makes them.

`marts` takes the functions behind `assets.folds` and `assets.marts`, so a test of "every mart" holds for the wrappers
too; nothing here knows what a mart means. A world has accounts that differ in what they offer, in time zone, in how
their history begins and in where it has holes.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from assets import folds, marts
from assets.metrics.visible import cutoff, end_of
from orchestration.settings import WEIGHTS
from quality.catalog.columns import COMPOSED
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES

World = dict[str, pl.DataFrame]
CORE = (
    "dim_account", "dim_profile", "dim_identity", "dim_post", "fct_interaction", "fct_counter", "fct_collection_span",
)  # fmt: skip
MARTS = (
    "mart_cadence", "mart_cadence_week", "mart_listening", "mart_waiting", "mart_followers", "mart_post_value",
    "mart_value", "mart_dilution", "mart_spike", "mart_relationship", "mart_growth_week", "mart_growth_month",
    "mart_retention_cohort", "mart_collection", "mart_summary",
)  # fmt: skip
"""The marts whose numbers are complete counts and measures of an account."""
AS_OF = date(2024, 9, 15)
"""A Sunday: its week is complete, its month is not."""
DAY = timedelta(days=1)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata")
_KINDS = ("reply", "mention", "quote", "message", "repost", "bookmark", "like", "follow", "rsvp")
_FLOOR = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def functions() -> dict[str, Callable[..., pl.LazyFrame]]:
    """The plain function of each fold and mart, by name."""
    return {
        asset.key.to_user_string(): inspect.getclosurevars(asset.op.compute_fn.decorated_fn).nonlocals["function"]
        for asset in (*folds.ASSETS, *marts.ASSETS)
    }


def derived(world: World, *, as_of: date = AS_OF, names: Iterable[str] = MARTS) -> World:
    """The marts of a world: each with what it is computed from, typed by the catalogue, sorted by key.

    They are kept in `world`, beside the core tables: what two marts need is computed once.
    """
    done = world

    def table(name: str) -> pl.DataFrame:
        if name not in done:
            function = functions()[name]
            arguments: dict[str, Any] = {}
            for parameter in inspect.signature(function).parameters:
                if parameter == "as_of":
                    arguments[parameter] = as_of
                elif parameter == "settings":
                    arguments[parameter] = SimpleNamespace(weights=dict(WEIGHTS))
                else:
                    arguments[parameter] = table(parameter).lazy()
            frame = enforce(TABLES[name], function(**arguments))
            done[name] = frame.sort(TABLES[name].key, maintain_order=True)
        return done[name]

    return {name: table(name) for name in names}


def core(**rows: Iterable[Mapping[str, Any]]) -> World:
    """The core tables from rows; columns that a row does not name are null, tables without rows are empty."""
    world = {}
    for name in CORE:
        schema = empty(TABLES[name]).schema
        full = [{column: row.get(column) for column in schema} for row in rows.get(name, ())]
        world[name] = pl.DataFrame(full, schema=schema)
    return world


def account(name: str, *, timezone: str = "UTC", promise_days: float = 7.0) -> dict[str, Any]:
    return {"account_id": name, "name": name, "timezone": timezone, "promise_days": promise_days, "is_own": True}


def post(account_id: str, platform: str, ident: str, published_at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "post_id": f"{account_id}/{platform}/{ident}", "account_id": account_id, "platform": platform, "post": ident,
        "published_at": published_at, "kind": "post", "observed_at": published_at, "loaded_at": published_at,
    } | more  # fmt: skip


def interaction(
    account_id: str, platform: str, ident: str, identity_id: str, kind: str, at: datetime, **more: Any
) -> dict[str, Any]:
    return {
        "interaction_id": f"{account_id}/{platform}/{ident}", "account_id": account_id, "platform": platform,
        "identity_id": identity_id, "direction": "inbound", "kind": kind, "is_composed": kind in COMPOSED,
        "occurred_at": at, "observed_at": at, "active_at": at, "is_time_known": True, "is_own_row": False,
        "is_site_wide": False, "is_audience": True, "loaded_at": at,
    } | more  # fmt: skip


def identity(identity_id: str, platform: str, **more: Any) -> dict[str, Any]:
    return {
        "identity_id": identity_id, "person_id": identity_id, "platform": platform, "is_bot": False,
        "first_seen_at": _FLOOR,
    } | more  # fmt: skip


def covered(account_id: str, platform: str, stream: str, first: date, last: date, **more: Any) -> dict[str, Any]:
    return {
        "account_id": account_id, "platform": platform, "stream": stream, "from_date": first, "to_date": last,
        "status": "ok", "last_ok_at": datetime(last.year, last.month, last.day, 6, tzinfo=UTC) + DAY,
    } | more  # fmt: skip


def followers(account_id: str, platform: str, value: int, at: datetime) -> dict[str, Any]:
    return {
        "account_id": account_id, "platform": platform, "subject": "profile", "subject_id": account_id,
        "counter": "followers", "value": value, "observed_at": at, "loaded_at": at,
    }  # fmt: skip


def known(world: World, *, as_of: date = AS_OF) -> World:
    """What a world had shown by the cutoff of `as_of`: rows seen later are gone, and so is what happened to rows later."""
    end, seen_by = end_of(as_of), cutoff(as_of)
    row, seen = pl.col("active_at") < end, pl.col("observed_at") < seen_by
    undone = pl.when(pl.col("retracted_at") < seen_by).then("retracted_at")
    spans = world["fct_collection_span"].filter(pl.col("from_date") <= as_of)
    return {name: world[name] for name in CORE} | {
        "dim_profile": world["dim_profile"].filter((pl.col("born_at") < end) | pl.col("born_at").is_null()),
        "dim_post": world["dim_post"].filter(pl.col("published_at") < end, seen),
        "fct_interaction": world["fct_interaction"].filter(row, seen).with_columns(undone),
        "fct_counter": world["fct_counter"].filter(seen),
        "fct_collection_span": spans.with_columns(pl.min_horizontal("to_date", pl.lit(as_of)).alias("to_date")),
    }


def moved(frame: pl.DataFrame, by: timedelta) -> pl.DataFrame:
    """The frame with every date and time later by so much."""
    return frame.with_columns(cs.temporal() + by)


def random_world(seed: int, *, accounts: int = 5, until: date = AS_OF + 30 * DAY) -> World:
    """Accounts over two years, with history up to `until`, so that a metric of `AS_OF` could look ahead."""
    generator = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in CORE}
    for number in range(accounts):
        _add_account(rows, f"a{number}", number, generator, until)
    return core(**rows)


def _add_account(
    rows: dict[str, list[dict[str, Any]]], name: str, number: int, generator: np.random.Generator, until: date
) -> None:
    start = date(2022, 6, 1) + int(generator.integers(0, 200)) * DAY
    days = (until - start).days
    zero = datetime(start.year, start.month, start.day, tzinfo=UTC)
    rows["dim_account"].append(
        account(name, timezone=ZONES[number % len(ZONES)], promise_days=float(generator.choice([3, 7, 14])))
    )
    platforms = ["blog", "x"][: 1 + number % 2] if number % 3 else ["blog", "x"]
    people = int(generator.integers(8, 40))
    joins = generator.integers(0, days - 20, size=people)
    for platform in platforms:
        rows["dim_profile"].append({
            "account_id": name, "platform": platform, "source": "s",
            "born_at": zero if generator.random() < 0.7 else None,
        })  # fmt: skip
        is_truncated = generator.random() < 0.3
        for stream in ("posts", "inbound", "outbound"):
            if stream == "outbound" and platform == "blog" and number % 2:
                more = {"status": "not_offered", "last_ok_at": None}
                rows["fct_collection_span"].append(covered(name, platform, stream, start, start, **more))
                continue
            rows["fct_collection_span"] += _ledger(name, platform, stream, start, until, is_truncated, generator)
        moments = zero + np.sort(generator.integers(0, days * 1440, size=int(generator.integers(60, 160)))) * timedelta(
            minutes=1
        )
        own = []
        for i, at in enumerate(moments):
            is_promotional = bool(generator.random() < 0.3) if generator.random() < 0.9 else None
            late = timedelta(hours=int(generator.integers(0, 90)))
            row = post(name, platform, f"p{i}", at, is_promotional=is_promotional, observed_at=at + late)
            row["deleted_at"] = at + 20 * DAY if generator.random() < 0.05 else None
            row["promotion_reason"] = "campaign link" if is_promotional else None
            own.append(row)
        rows["dim_post"] += own
        for p in range(people):
            ident = f"{name}-{platform}-{p}"
            merged = f"{name}-blog-{p}" if p % 3 == 0 else ident
            rows["dim_identity"].append(identity(ident, platform, person_id=merged, is_bot=p == 5))
            rows["fct_interaction"] += _life(name, platform, ident, zero + int(joins[p]) * DAY, until, own, generator)
        burst = zero + int(generator.integers(250, 400)) * DAY
        for p in range(int(generator.integers(0, 45))):
            ident = f"{name}-{platform}-s{p}"
            rows["dim_identity"].append(identity(ident, platform))
            at = burst + timedelta(minutes=int(generator.integers(0, 1440)))
            rows["fct_interaction"].append(interaction(name, platform, f"s{p}", ident, "like", at))
        level = 100
        for d in range(0, days, 9):
            level += int(generator.integers(-3, 8))
            rows["fct_counter"].append(followers(name, platform, level, zero + d * DAY + timedelta(hours=5)))


def _ledger(
    name: str, platform: str, stream: str, start: date, until: date, is_truncated: bool, generator: np.random.Generator
) -> list[dict[str, Any]]:
    first = start + 40 * DAY if is_truncated and stream == "inbound" else start
    early = [covered(name, platform, stream, start, first - DAY, status="not_started")] if first > start else []
    if generator.random() < 0.4:
        hole = first + int(generator.integers(100, 700)) * DAY
        length = int(generator.integers(1, 25))
        return [
            *early,
            covered(name, platform, stream, first, hole - DAY),
            covered(name, platform, stream, hole, hole + length * DAY, status="down", reason="HTTP 503"),
            covered(name, platform, stream, hole + (length + 1) * DAY, until),
        ]
    return [*early, covered(name, platform, stream, first, until)]


def _life(
    name: str, platform: str, ident: str, joined: datetime, until: date, own: list[dict[str, Any]],
    generator: np.random.Generator,
) -> list[dict[str, Any]]:  # fmt: skip
    """What passes between one person and the account, at a pace of their own."""
    end = datetime(until.year, until.month, until.day, tzinfo=UTC)
    pace = float(generator.choice([2, 7, 20, 60]))
    at, found = joined, []
    number = 0
    while at < end and number < 25:
        kind = str(generator.choice(_KINDS, p=(0.3, 0.08, 0.05, 0.07, 0.1, 0.05, 0.27, 0.06, 0.02)))
        before = [row for row in own if row["published_at"] <= at]
        target = before[-1] if before and generator.random() < 0.7 else None
        row = interaction(name, platform, f"{ident}-{number}", ident, kind, at)
        row["post_id"] = target["post_id"] if target and kind in ("reply", "quote", "like", "repost") else None
        row["observed_at"] = at + timedelta(hours=int(generator.choice([0, 1, 30, 80])))
        if generator.random() < 0.1:
            row |= {"occurred_at": None, "active_at": row["observed_at"], "is_time_known": False}
        if generator.random() < 0.08:
            row["retracted_at"] = at + int(generator.integers(1, 60)) * DAY
        if generator.random() < 0.02:
            row |= {"is_own_row": True, "is_audience": False}
        found.append(row)
        if row["is_composed"] and generator.random() < 0.5 and row["is_audience"]:
            later = at + timedelta(minutes=int(generator.integers(1, 60 * 24 * 16)))
            found.append(interaction(name, platform, f"{ident}-{number}o", ident, "reply", later, direction="outbound"))
        number += 1
        at += timedelta(minutes=int(generator.exponential(pace) * 1440) + 1)
    return found


def different(found: pl.DataFrame, expected: pl.DataFrame, *, table: str) -> str:
    """Where two frames of a table differ, in words; empty where they are equal to the last digit."""
    key = list(TABLES[table].key)
    found, expected = found.sort(key), expected.sort(key)
    if found.equals(expected, null_equal=True):
        return ""
    if found.select(key).equals(expected.select(key)):
        columns = [name for name in found.columns if not found[name].equals(expected[name], null_equal=True)]
        apart = pl.any_horizontal(found[name].ne_missing(expected[name]) for name in columns)
        rows = found.select(apart.alias("is_apart"))["is_apart"]
        return (
            f"{columns} differ in {rows.sum()} rows:\n"
            f"{found.filter(rows).select(list(dict.fromkeys([*key, *columns]))).head(5).rows(named=True)}\nexpected\n"
            f"{expected.filter(rows).select(list(dict.fromkeys([*key, *columns]))).head(5).rows(named=True)}"
        )
    gained = found.join(expected, on=key, how="anti").select(key).head(5).rows()
    lost = expected.join(found, on=key, how="anti").select(key).head(5).rows()
    return f"rows gained {gained}, lost {lost}"
