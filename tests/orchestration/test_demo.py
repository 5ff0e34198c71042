"""Planted truth against what the marts say: it must agree, disagree and find nothing, each where it should."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from orchestration import demo
from quality.catalog.model import empty
from quality.catalog.tables import MARTS

AS_OF = date(2026, 3, 31)
BASELINE = {
    "posts": 260,
    "promise_kept_share": 1.0,
    "longest_silence_days": 5.3,
    "burst_days": 0,
    "silence_days": 0,
    "spikes": [],
    "weekly_survival": {"steady": 0.95, "spike": None},
    "elasticity": 0.0,
    "promotional_share": 0.0,
    "promotional_share_28d": 0.0,
    "promotional_worth": None,
    "answer_probability": 0.5,
    "answer_hours": 12.0,
    "answered_share": 0.5,
    "people": 2,
}
TRUTH = {
    "as_of": AS_OF.isoformat(),
    "accounts": {
        "steady": BASELINE,
        "bursty": BASELINE | {"promise_kept_share": 0.3, "burst_days": 12, "silence_days": 56},
        "spike_chaser": BASELINE
        | {
            "spikes": ["2025-02-01", "2025-08-11"],
            "weekly_survival": {"steady": 0.95, "spike": 0.75},
            "people": 80,
        },
        "over_poster": BASELINE | {"elasticity": -1},
        "promoter": BASELINE | {"promotional_share": 0.4, "promotional_share_28d": 0.44, "promotional_worth": 0.35},
        "listener": BASELINE | {"answer_probability": 0.95, "answer_hours": 2, "answered_share": 0.95},
        "deaf": BASELINE | {"answer_probability": 0, "answered_share": 0.0},
    },
}


def mart(name, rows):
    return pl.DataFrame(list(rows), schema=empty(MARTS[name]).schema)


def cadence(account, steadiness, burstiness):
    return {
        "as_of": AS_OF,
        "account_id": account,
        "platform": "all",
        "steadiness": steadiness,
        "steadiness_low": steadiness and steadiness - 0.05,
        "steadiness_high": steadiness,
        "steadiness_note": None if steadiness else "under 28 days",
        "burstiness": burstiness,
        "longest_silence_days": 57.0 if account == "bursty" else 5.0,
    }


def value(account):
    promoter = account == "promoter"
    return {
        "as_of": AS_OF,
        "account_id": account,
        "platform": "all",
        "value_per_post": 3.0 if account == "over_poster" else 10.0,
        "promotional_share_28d": 0.44 if promoter else 0.0,
        "promotion_penalty": 0.36 if promoter else None,
        "promotion_penalty_low": 0.3 if promoter else None,
        "promotion_penalty_high": 0.43 if promoter else None,
        "promotion_penalty_note": None if promoter else "fewer than 10 promotional posts",
    }


def person(account, number, *, days=100, is_spike_won=False, wrote=20, answered=10):
    first = datetime(2025, 2, 1, tzinfo=UTC)
    return {
        "account_id": account,
        "person_id": f"{account}-{number}",
        "first_at": first,
        "last_at": first + timedelta(days=days),
        "inbound_composed": wrote,
        "outbound_composed": answered,
        "reciprocity": 2 * min(wrote, answered) / (wrote + answered),
        "is_spike_won": is_spike_won,
    }


def marts():
    accounts = list(TRUTH["accounts"])
    answered = {"listener": 19, "deaf": 0}
    chased = [
        person("spike_chaser", i, days=5 if i < 36 else 100, is_spike_won=i < 40) for i in range(80)
    ]  # of 40 spike-won, 4 stay; of 40 others, all
    return {
        "mart_cadence": mart(
            "mart_cadence", (cadence(a, *((0.31, 0.6) if a == "bursty" else (1.0, -0.5))) for a in accounts)
        ),
        "mart_value": mart("mart_value", map(value, accounts)),
        "mart_dilution": mart(
            "mart_dilution",
            [
                {
                    "as_of": AS_OF,
                    "account_id": "over_poster",
                    "dilution_elasticity": -0.95,
                    "dilution_elasticity_low": -1.06,
                    "dilution_elasticity_high": -0.84,
                }
            ],
        ),
        "mart_relationship": mart(
            "mart_relationship",
            [
                *(
                    person(a, i, answered=answered.get(a, 10))
                    for a in accounts
                    for i in range(2)
                    if a != "spike_chaser"
                ),
                *chased,
            ],
        ),
        "mart_spike": mart(
            "mart_spike",
            [
                {"account_id": "spike_chaser", "platform": platform, "started_on": day, "new_people": 180}
                for platform in ("activity", "all")
                for day in (date(2025, 2, 1), date(2025, 8, 12))
            ],
        ),
        "mart_summary": mart(
            "mart_summary",
            [{"as_of": AS_OF, "account_id": "steady", "metric": "steadiness", "value": 1.0, "previous": 0.98}],
        ),
    }


def judge(changed=None):
    frames = marts() | (changed or {})
    return {(finding.account, i): finding for i, finding in enumerate(demo.findings(frames.__getitem__, TRUTH))}


def disagreeing(changed):
    return {account for (account, _), finding in judge(changed).items() if not finding.agrees}


def test_what_was_planted_is_found():
    found = judge()
    assert all(finding.agrees for finding in found.values()), [f for f in found.values() if not f.agrees]
    accounts = ["steady", "bursty", "spike_chaser", "spike_chaser", "over_poster", "promoter", "listener", "deaf"]
    assert [account for account, _ in found] == [*accounts, "all accounts"]


def test_sentences_carry_the_numbers():
    found = {account: finding.found for (account, _), finding in judge().items()}
    assert found["steady"] == "steadiness 1 (0.95 to 1), a quarter ago 0.98; longest silence 5 days"
    assert (
        found["bursty"]
        == "steadiness 0.31 (0.26 to 0.31); burstiness 0.60 (others at most -0.50); longest silence 57 days"
    )
    assert "10% of 40 spike-won, 100% of the other 40" in found["spike_chaser"]
    assert "elasticity -0.95 (-1.06 to -0.84); value per post 3 (others' median 10)" in found["over_poster"]
    assert found["promoter"] == "44% of the last 28 days; worth 0.36 (0.30 to 0.43) of the others"
    assert found["listener"] == "answers for 95% of the messages (others 50% to 50%); reciprocity 0.97"
    assert found["deaf"] == "answers for 0% of the messages (others 50% to 95%); reciprocity 0"
    assert found["all accounts"] == "92 relationships, at each account as many as planted"


def test_empty_marts_are_not_found():
    nothing = {name: empty(table) for name, table in MARTS.items()}
    found = judge(nothing).values()
    assert not any(finding.agrees for finding in found)
    assert all(finding.found.startswith(("not found", "0 relationships")) for finding in found)


@pytest.mark.parametrize(
    ("name", "change", "account"),
    [
        ("mart_cadence", {"steadiness": None, "steadiness_note": "under 28 days"}, {"steady", "bursty"}),
        ("mart_cadence", {"as_of": AS_OF - timedelta(days=1)}, {"steady", "bursty"}),
        ("mart_cadence", {"platform": "activity"}, {"steady", "bursty"}),
        ("mart_cadence", {"steadiness": 0.9}, {"steady", "bursty"}),
        ("mart_cadence", {"burstiness": 0.6}, {"bursty"}),
        ("mart_dilution", {"dilution_elasticity_high": 0.02}, {"over_poster"}),
        ("mart_dilution", {"dilution_elasticity": -0.4}, {"over_poster"}),
        ("mart_dilution", {"dilution_elasticity": None}, {"over_poster"}),
        ("mart_value", {"promotional_share_28d": 0.3}, {"promoter"}),
        ("mart_value", {"promotion_penalty_high": 1.2}, {"promoter"}),
        ("mart_value", {"promotion_penalty": 0.6}, {"promoter"}),
        ("mart_value", {"promotion_penalty": None}, {"promoter"}),
        ("mart_spike", {"started_on": date(2025, 3, 1)}, {"spike_chaser"}),
        ("mart_spike", {"platform": "activity"}, {"spike_chaser"}),
        ("mart_relationship", {"is_spike_won": None}, {"spike_chaser"}),
        ("mart_relationship", {"is_spike_won": True}, {"spike_chaser"}),
        ("mart_relationship", {"last_at": datetime(2025, 12, 1, tzinfo=UTC)}, {"spike_chaser"}),
        ("mart_relationship", {"first_at": datetime(2026, 2, 1, tzinfo=UTC)}, {"spike_chaser"}),
        ("mart_relationship", {"outbound_composed": None}, {"listener", "deaf"}),
        ("mart_relationship", {"outbound_composed": 10}, {"listener", "deaf"}),
    ],
)
def test_what_the_marts_do_not_say_is_not_found(name, change, account):
    frame = marts()[name]
    changed = frame.with_columns(pl.lit(new, frame.schema[column]).alias(column) for column, new in change.items())
    assert disagreeing({name: changed}) == account


def test_a_third_spike_disagrees():
    third = mart(
        "mart_spike",
        [{"account_id": "spike_chaser", "platform": "all", "started_on": date(2025, 10, 1), "new_people": 12}],
    )
    assert disagreeing({"mart_spike": pl.concat([marts()["mart_spike"], third])}) == {"spike_chaser"}


def test_a_missing_person_shows_where():
    frame = marts()["mart_relationship"].filter(pl.col("person_id") != "deaf-1")
    found = judge({"mart_relationship": frame})
    (everybody,) = (finding for (account, _), finding in found.items() if account == "all accounts")
    assert everybody.found == "91 relationships; different at deaf"
    assert not everybody.agrees


def test_reason_of_the_mart_is_repeated():
    frame = marts()["mart_cadence"].with_columns(
        steadiness=pl.lit(None, pl.Float64), steadiness_note=pl.lit("coverage below 0.9")
    )
    assert judge({"mart_cadence": frame})["steady", 0].found == "not found: coverage below 0.9"


def test_table_fits_a_terminal_and_says_where_to_look():
    text = demo.render(list(judge().values()), Path("home"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert text.count("✓") == 9
    assert "✗" not in text
    assert "9 of 9 planted facts were found." in lines
    assert any("home/published/report/index.html" in line for line in lines)
    assert any("./rapport query" in line for line in lines)
    assert any("./rapport up" in line for line in lines)


def test_table_marks_what_was_not_found():
    nothing = {name: empty(table) for name, table in MARTS.items()}
    text = demo.render(list(judge(nothing).values()), Path("home"))
    assert text.count("✗") == 9
    assert "0 of 9 planted facts were found." in text
