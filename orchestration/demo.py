"""What was planted in the simulated community, and what the marts found of it.

Each planted habit becomes a sentence with numbers, is looked up in the published marts, and agrees
or not: nothing here knows the answer in advance. The community itself is made by `sources.demo`.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from assets.metrics.intervals import wilson

Marts = Callable[[str], pl.DataFrame]

STEADINESS_WITHIN = 0.03
ANSWERED_WITHIN = 0.03
ELASTICITY_WITHIN = 0.3
WORTH_WITHIN = 1.5
SPIKE_WITHIN_DAYS = 1
STAYS_DAYS = 56
"""Somebody stays who is seen again this long after the first contact."""
JUDGED_AFTER_DAYS = 120
"""People first seen later than this before `as_of` had no time to show whether they stay."""
WIDTHS = (12, 34, 45)


@dataclass(frozen=True)
class Finding:
    """One planted fact of an account, what the marts say of it, and whether the two agree."""

    account: str
    planted: str
    found: str
    agrees: bool


def findings(marts: Marts, truth: Mapping[str, Any]) -> list[Finding]:
    """Does rapport find what was planted? One or two findings an account, then one for everybody.

    `marts` gives a published mart by name, `truth` is `sources.demo.Community.truth` (as returned,
    or read from its JSON). A mart that is empty, or null where the number should be, gives a
    finding that says "not found" and does not agree.
    """
    as_of = date.fromisoformat(truth["as_of"])
    accounts = truth["accounts"]
    cadence = _now(marts("mart_cadence"), as_of)
    value = _now(marts("mart_value"), as_of)
    dilution = _now(marts("mart_dilution"), as_of)
    relationship = marts("mart_relationship")
    spike = marts("mart_spike").filter(pl.col("platform") == "all")
    summary = _now(marts("mart_summary"), as_of)
    return [
        _steady("steady", accounts, cadence, summary),
        _bursty("bursty", accounts, cadence),
        _spikes("spike_chaser", accounts, spike),
        _spike_won("spike_chaser", accounts, relationship, as_of=as_of),
        _over_poster("over_poster", accounts, dilution, value),
        _promoter("promoter", accounts, value),
        _answers("listener", accounts, relationship),
        _answers("deaf", accounts, relationship),
        _people(accounts, relationship),
    ]


def render(findings: Sequence[Finding], where: Path) -> str:
    """The findings as a table of at most 100 columns, and where to look next; `where` is the demo's home."""
    lines = [*_row("Account", "Planted", "Found in the marts", ""), "-" * (sum(WIDTHS) + 6)]
    for finding in findings:
        lines += _row(finding.account, finding.planted, finding.found, "✓" if finding.agrees else "✗")
    agreeing = sum(finding.agrees for finding in findings)
    sql = "select account_id, metric, value, previous from marts.mart_summary"
    return "\n".join(
        [
            *lines,
            "",
            f"{agreeing} of {len(findings)} planted facts were found.",
            "",
            "Where to look next:",
            f"  the report   {where / 'published' / 'report' / 'index.html'}",
            f"  SQL          RAPPORT_HOME={where} ./rapport query \\",
            f'                 "{sql}"',
            f"  lineage      RAPPORT_HOME={where} ./rapport up",
        ]
    )


def _steady(account: str, accounts: Mapping[str, Any], cadence: pl.DataFrame, summary: pl.DataFrame) -> Finding:
    kept = accounts[account]["promise_kept_share"]
    planted = f"keeps the weekly promise: {kept:.0%} of the year, no silence over {_days(account, accounts)}"
    row = _one(cadence, account)
    if _lacks(row, "steadiness"):
        return _not_found(account, planted, row, "steadiness_note")
    restated = summary.filter(pl.col("account_id") == account, pl.col("metric") == "steadiness")
    before = restated["previous"].item() if restated.height == 1 else None
    return Finding(
        account,
        planted,
        f"steadiness {_number(row['steadiness'])}{_interval(row, 'steadiness')}"
        + (f", a quarter ago {_number(before)}" if before is not None else "")
        + f"; longest silence {_number(row['longest_silence_days'])} days",
        abs(row["steadiness"] - kept) <= STEADINESS_WITHIN,
    )


def _bursty(account: str, accounts: Mapping[str, Any], cadence: pl.DataFrame) -> Finding:
    told = accounts[account]
    planted = (
        f"posts for {told['burst_days']} days, then {told['silence_days']} days of silence: "
        f"promise kept {told['promise_kept_share']:.0%} of the year"
    )
    row = _one(cadence, account)
    if _lacks(row, "steadiness", "burstiness"):
        return _not_found(account, planted, row, "steadiness_note")
    others = cadence.filter(pl.col("account_id") != account)["burstiness"].drop_nulls().to_list()
    return Finding(
        account,
        planted,
        f"steadiness {_number(row['steadiness'])}{_interval(row, 'steadiness')}; burstiness {_number(row['burstiness'])}"
        f" (others at most {_number(max(others, default=None))}); longest silence "
        f"{_number(row['longest_silence_days'])} days",
        abs(row["steadiness"] - told["promise_kept_share"]) <= STEADINESS_WITHIN
        and all(row["burstiness"] > other for other in others),
    )


def _spikes(account: str, accounts: Mapping[str, Any], spike: pl.DataFrame) -> Finding:
    days = [date.fromisoformat(day) for day in accounts[account]["spikes"]]
    planted = f"{len(days)} spikes of new people: {_dates(days)}"
    mine = spike.filter(pl.col("account_id") == account).sort("started_on")
    elsewhere = spike.height - mine.height
    if mine.is_empty():
        return Finding(account, planted, "not found: no spike", agrees=False)
    started = mine["started_on"].to_list()
    return Finding(
        account,
        planted,
        f"{len(started)} spikes: {_dates(started)} with {' and '.join(map(str, mine['new_people']))} new people; "
        f"{elsewhere} at the other accounts",
        len(started) == len(days)
        and all(abs(a - b) <= timedelta(days=SPIKE_WITHIN_DAYS) for a, b in zip(started, days, strict=True)),
    )


def _spike_won(account: str, accounts: Mapping[str, Any], relationship: pl.DataFrame, *, as_of: date) -> Finding:
    weekly = accounts[account]["weekly_survival"]
    planted = (
        f"people won in a spike leave sooner: {weekly['spike']:.0%} of them stay a further week, "
        f"{weekly['steady']:.0%} of the others"
    )
    arms = (
        relationship.filter(
            pl.col("account_id") == account,
            pl.col("is_spike_won").is_not_null(),
            pl.col("first_at").dt.date() <= as_of - timedelta(days=JUDGED_AFTER_DAYS),
        )
        .group_by("is_spike_won")
        .agg(
            people=pl.len(),
            stayed=(pl.col("last_at") - pl.col("first_at") >= timedelta(days=STAYS_DAYS)).sum(),
            days=((pl.col("last_at") - pl.col("first_at")).dt.total_seconds() / 86_400).median(),
        )
        .with_columns(pl.col("people", "stayed").cast(pl.Int64))
        .with_columns(
            low=wilson(pl.col("stayed"), pl.col("people"))[0], high=wilson(pl.col("stayed"), pl.col("people"))[1]
        )
    )
    by_arm = {row["is_spike_won"]: row for row in arms.iter_rows(named=True)}
    if set(by_arm) != {True, False}:
        return Finding(account, planted, "not found: no two groups of people to compare", agrees=False)
    won, other = by_arm[True], by_arm[False]
    return Finding(
        account,
        planted,
        f"seen again after 8 weeks: {_share(won)} of {won['people']} spike-won, {_share(other)} of the other "
        f"{other['people']}; median time known {won['days']:.0f} against {other['days']:.0f} days",
        won["high"] < other["low"],
    )


def _over_poster(account: str, accounts: Mapping[str, Any], dilution: pl.DataFrame, value: pl.DataFrame) -> Finding:
    told = accounts[account]["elasticity"]
    planted = f"posts more and more; the attention in total stays (elasticity {_number(told)})"
    row = _one(dilution, account)
    if _lacks(row, "dilution_elasticity", "dilution_elasticity_low", "dilution_elasticity_high"):
        return _not_found(account, planted, row, "dilution_elasticity_note")
    mine, others = _values(value, account)
    return Finding(
        account,
        planted,
        f"elasticity {_number(row['dilution_elasticity'])}{_interval(row, 'dilution_elasticity')}; value per post "
        f"{_number(mine)} (others' median {_number(others)})",
        row["dilution_elasticity_high"] < 0 and abs(row["dilution_elasticity"] - told) <= ELASTICITY_WITHIN,
    )


def _promoter(account: str, accounts: Mapping[str, Any], value: pl.DataFrame) -> Finding:
    told = accounts[account]
    planted = (
        f"{told['promotional_share']:.0%} promotional posts ({_percent(told['promotional_share_28d'])} of the last "
        f"28 days), worth {_number(told['promotional_worth'])} of the others"
    )
    row = _one(value, account)
    if _lacks(row, "promotional_share_28d", "promotion_penalty", "promotion_penalty_low", "promotion_penalty_high"):
        return _not_found(account, planted, row, "promotion_penalty_note")
    return Finding(
        account,
        planted,
        f"{_percent(row['promotional_share_28d'])} of the last 28 days; worth {_number(row['promotion_penalty'])}"
        f"{_interval(row, 'promotion_penalty')} of the others",
        told["promotional_share_28d"] is not None
        and abs(row["promotional_share_28d"] - told["promotional_share_28d"]) <= 0.02
        and row["promotion_penalty_high"] < 1
        and abs(math.log(max(row["promotion_penalty"], 1e-9) / told["promotional_worth"])) <= math.log(WORTH_WITHIN),
    )


def _answers(account: str, accounts: Mapping[str, Any], relationship: pl.DataFrame) -> Finding:
    told = accounts[account]
    probability = told["answer_probability"]
    planted = f"answers {probability:.0%} of those who write" if probability else "never answers anybody"
    answered = {
        name: (out / wrote, mutual)
        for name, wrote, out, mutual in relationship.group_by("account_id")
        .agg(
            wrote=pl.col("inbound_composed").sum(),
            out=_sum_or_null("outbound_composed"),
            mutual=(pl.col("reciprocity") * pl.col("inbound_composed")).sum()
            / pl.col("inbound_composed").filter(pl.col("reciprocity").is_not_null()).sum(),
        )
        .iter_rows()
        if wrote and out is not None
    }
    if account not in answered:
        return Finding(account, planted, "not found: no answers are known", agrees=False)
    share, mutual = answered[account]
    others = {
        name: found
        for name, (found, _) in answered.items()
        if name in accounts and accounts[name]["answer_probability"] not in {0, probability}
    }
    low, high = min(others.values(), default=None), max(others.values(), default=None)
    apart = low is not None and high is not None and (share < low or share > high)
    return Finding(
        account,
        planted,
        f"answers for {_percent(share)} of the messages (others {_percent(low)} to {_percent(high)}); "
        f"reciprocity {_number(mutual)}",
        apart and abs(share - told["answered_share"]) <= ANSWERED_WITHIN,
    )


def _people(accounts: Mapping[str, Any], relationship: pl.DataFrame) -> Finding:
    told = {account: planted["people"] for account, planted in accounts.items()}
    found = dict(relationship.group_by("account_id").len().iter_rows())
    wrong = sorted(account for account in told if found.get(account, 0) != told[account])
    return Finding(
        "all accounts",
        f"{sum(told.values()):,} people who reacted at least once",
        f"{sum(found.values()):,} relationships"
        + (f"; different at {', '.join(wrong)}" if wrong else ", at each account as many as planted"),
        not wrong and set(found) == set(told),
    )


def _now(mart: pl.DataFrame, as_of: date) -> pl.DataFrame:
    now = mart.filter(pl.col("as_of") == as_of)
    return now.filter(pl.col("platform") == "all") if "platform" in now.columns else now


def _one(mart: pl.DataFrame, account: str) -> dict[str, Any]:
    rows = mart.filter(pl.col("account_id") == account).to_dicts()
    return rows[0] if len(rows) == 1 else {}


def _lacks(row: Mapping[str, Any], *names: str) -> bool:
    return any(row.get(name) is None for name in names)


def _not_found(account: str, planted: str, row: Mapping[str, Any], note: str) -> Finding:
    return Finding(account, planted, f"not found: {row.get(note) or ('no number' if row else 'no row')}", agrees=False)


def _sum_or_null(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())


def _values(value: pl.DataFrame, account: str) -> tuple[float | None, float | None]:
    mine = _one(value, account).get("value_per_post")
    others = value.filter(pl.col("account_id") != account)["value_per_post"].median()
    return mine, others if isinstance(others, float) else None


def _interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None or high is None else f" ({_number(low)} to {_number(high)})"


def _number(value: float | None) -> str:
    """A number as a sentence needs it: whole where it is large, two decimals where it is not.

    >>> _number(-0.954), _number(56.0), _number(None)
    ('-0.95', '56', 'unknown')
    """
    if value is None or math.isnan(value):
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _share(arm: Mapping[str, Any]) -> str:
    return f"{arm['stayed'] / arm['people']:.0%}"


def _days(account: str, accounts: Mapping[str, Any]) -> str:
    return f"{accounts[account]['longest_silence_days']:.1f} days"


def _dates(days: Iterable[date]) -> str:
    return " and ".join(day.isoformat() for day in days)


def _row(account: str, planted: str, found: str, mark: str) -> list[str]:
    cells = [textwrap.wrap(text, width) or [""] for text, width in zip((account, planted, found), WIDTHS, strict=True)]
    height = max(map(len, cells))
    lines = [[cell[i] if i < len(cell) else "" for cell in cells] for i in range(height)]
    return [
        "  ".join(
            [*(text.ljust(width) for text, width in zip(line, WIDTHS, strict=True)), mark if i == 0 else ""]
        ).rstrip()
        for i, line in enumerate(lines)
    ]
