"""Each kind of expectation, and each rule of the catalogue, is seen failing; empty tables keep them all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pytest

from quality.catalog.model import Rule, Table
from quality.catalog.tables import TABLES
from quality.expectations import rules, suite, validate, validate_both

PREVIOUS = "previous"
COUNTER = TABLES["fct_counter"]


def at(day: int) -> datetime:
    return datetime(2020, 1, day, tzinfo=UTC)


def at_least_one_row(store: Any) -> Table:
    return replace(COUNTER, may_be_empty=False)


def corrupt(sql: str) -> Callable[[Any], Table]:
    def corrupted(store: Any) -> Table:
        store.execute(sql)
        return COUNTER

    return corrupted


def twice(store: Any) -> Table:
    store.add("dim_account")
    store.add("dim_account")
    return TABLES["dim_account"]


CORRUPTIONS = {
    "columns missing": (
        corrupt("alter table core.fct_counter drop column loaded_at"),
        ("expect_table_columns_to_match_ordered_list", None),
        "fct_counter: columns differ from the catalogue: missing loaded_at",
    ),
    "columns unknown": (
        corrupt("alter table core.fct_counter add column extra int"),
        ("expect_table_columns_to_match_ordered_list", None),
        "fct_counter: columns differ from the catalogue: not in the catalogue: extra",
    ),
    "columns in another order": (
        corrupt(
            "create or replace table core.fct_counter as select platform, * exclude platform from core.fct_counter"
        ),
        ("expect_table_columns_to_match_ordered_list", None),
        "fct_counter: columns differ from the catalogue: their order",
    ),
    "key of several columns": (
        corrupt("insert into core.fct_counter from core.fct_counter"),
        ("unique_key", None),
        "fct_counter: 2 rows not alone with its key (account_id, platform, subject, subject_id, counter, observed_at), e.g. account_id='x'",
    ),
    "key of one column": (
        twice,
        ("unique_key", None),
        "dim_account: 2 rows not alone with its key (account_id), e.g. account_id='x'",
    ),
    "null": (
        corrupt("update core.fct_counter set value = null"),
        ("expect_column_values_to_not_be_null", "value"),
        "fct_counter.value: 1 null where none is allowed, e.g. account_id='x'",
    ),
    "closed set": (
        corrupt("update core.fct_counter set subject = 'reaction'"),
        ("expect_column_values_to_be_in_set", "subject"),
        "fct_counter.subject: 1 value not in (post, profile), e.g. 'reaction'",
    ),
    "number out of limits": (
        corrupt("update core.fct_counter set value = -1"),
        ("expect_column_values_to_be_between", "value"),
        "fct_counter.value: 1 value not at least 0, e.g. -1",
    ),
    "time too early, by half an hour": (
        corrupt("update core.fct_counter set observed_at = '1989-12-31 23:30:00+00'"),
        ("expect_column_values_to_be_between", "observed_at"),
        "fct_counter.observed_at: 1 value not at least 1990-01-01, e.g. '1989-12-31T23:30:00+00:00'",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_seen_and_said(store, name):
    store.add(COUNTER)
    before = validate(COUNTER, warehouse_path=store.path, severity="contract")
    assert before.passed, before.failures
    corruption, expected, message = CORRUPTIONS[name]

    verdict = validate(corruption(store), warehouse_path=store.path, severity="contract")

    assert not verdict.passed
    assert [(f.expectation, f.column) for f in verdict.failures] == [expected]
    assert verdict.failures[0].message.startswith(message)


def test_promised_rows_are_missed(store):
    table = replace(TABLES["dim_account"], may_be_empty=False)
    (failure,) = validate(table, warehouse_path=store.path, severity="watch").failures
    assert failure.expectation == "expect_table_row_count_to_be_between"
    assert failure.message == "dim_account: 0 rows, where at least one is promised"
    store.add("dim_account")
    assert validate(table, warehouse_path=store.path, severity="watch").passed


def test_a_date_out_of_limits(store):
    store.add("fct_collection_span", from_date=date(1880, 1, 1))
    verdict = validate(TABLES["fct_collection_span"], warehouse_path=store.path, severity="contract")
    assert [(f.expectation, f.column) for f in verdict.failures] == [
        ("expect_column_values_to_be_between", "from_date")
    ]


def test_every_kind_of_expectation_is_seen_failing():
    used = {
        expectation.expectation_type
        for table in (*TABLES.values(), replace(COUNTER, may_be_empty=False))
        for severity in ("contract", "watch")
        for expectation in suite(table, severity, previous=PREVIOUS).expectations
    }
    seen = {expected[0] for _, expected, _ in CORRUPTIONS.values()} - {"unique_key"}
    assert used == seen | {"expect_table_row_count_to_be_between", "unexpected_rows_expectation"}


# Rows that break a rule of a table (of a staging shape, for all its sources), beside which nothing else need be wrong.
BREAKERS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("interactions", "occurred_before_seen"): [{"occurred_at": at(8)}],
    ("quarantine", "nothing_quarantined"): [{}],
    ("dim_post", "known_account"): [{}],
    ("fct_interaction", "known_account"): [{}],
    ("fct_interaction", "known_person"): [{}],
    ("fct_interaction", "known_post"): [{"post_id": "nowhere"}],
    ("fct_interaction", "occurred_before_seen"): [{"occurred_at": at(8), "active_at": at(8)}],
    ("fct_interaction", "active_at_follows"): [{"active_at": at(7)}],
    ("mart_earnings", "earners_within_people"): [{"earners": 1}],
    ("mart_earnings", "bands_sum_to_all"): [
        {"tenure_band": "all", "amount": 2},
        {"tenure_band": "longer", "amount": 1},
    ],
    ("mart_earnings", "strata_sum_to_all"): [{"stratum": "all", "amount": 2}, {"stratum": "spike", "amount": 1}],
    ("fct_earning", "known_account"): [{}],
    ("fct_earning", "linked_to_known_person"): [{"is_linked": True}],
    ("fct_earning", "refund_within_amount"): [{"amount": 5, "refunded_amount": 6}],
    ("fct_earning", "currency_has_three_letters"): [{"currency": "euro"}],
    ("fct_counter", "counters_do_not_go_backwards"): [
        {"counter": "views", "value": 5, "observed_at": at(6)},
        {"counter": "views", "value": 4, "observed_at": at(7)},
    ],
    ("fct_collection_span", "spans_are_ordered"): [{"from_date": date(2020, 1, 7)}],
    ("fct_collection_span", "spans_do_not_overlap"): [
        {"from_date": date(2020, 1, 1), "to_date": date(2020, 1, 7)},
        {"from_date": date(2020, 1, 7), "to_date": date(2020, 1, 9)},
    ],
    ("fold_relationship_day", "composed_within_active"): [{"inbound": 1, "inbound_composed": 1}],
    ("fold_post_value", "parts_within_whole"): [{"interactions": 1, "replies": 1, "likes": 1}],
    ("mart_cadence_week", "platforms_sum_to_all"): [{"platform": "all", "posts": 2}, {"platform": "feed", "posts": 1}],
    ("mart_listening", "older_within_all"): [{"opportunities": 2, "response_rate_24h_n": 1, "response_rate_7d_n": 2}],
    ("mart_waiting", "known_account_and_person"): [{}],
    ("mart_post_value", "parts_sum_within_whole"): [
        {"interactions_7d": 1, "conversation_7d": 1, "amplification_7d": 1, "applause_7d": 0}
    ],
    ("mart_post_value", "people_within_interactions"): [{"interactions_7d": 1, "people_7d": 2}],
    ("mart_post_value", "one_row_a_post"): [{}],
    ("mart_relationship", "weeks_in_order"): [{"repeat_weeks": 2, "last_week": 1, "opportunity_weeks": 3}],
    ("mart_relationship", "known_account_and_person"): [{}],
    ("mart_relationship", "first_before_last"): [{"first_at": at(7)}],
    ("mart_relationship", "probabilities_in_order"): [{"p_active_4w": 0.5, "p_active_13w": 0.4}],
    ("mart_losing_touch", "ranks_are_places"): [{"rank": 2}],
    ("mart_retention_model", "withdrawn_or_told"): [{"is_withdrawn": True, "log_likelihood": -1.0}],
    **{
        (f"mart_growth_{period}", rule): rows
        for period in ("week", "month")
        for rule, rows in {
            "lifecycle_identity": [
                {"active": 3, "new": 3, "returning": 0, "resurrecting": 0, "dormant": 0, period: date(2020, 1, 1)},
                {"active": 2, "new": 1, "returning": 1, "resurrecting": 0, "dormant": 1, period: date(2020, 2, 1)},
            ],
            "parts_sum_to_whole": [{"active": 3, "new": 1, "returning": 1, "resurrecting": 0, "dormant": 0}],
        }.items()
    },
    ("mart_retention_cohort", "retained_within_cohort"): [
        {"people": 2, "retained": 3, "retained_or_later": 3, "period": 1}
    ],
    ("mart_retention_cohort", "everyone_starts"): [{"people": 2, "retained": 1, "retained_or_later": 2, "period": 0}],
    ("mart_retention_curve", "lapsed_were_at_risk"): [{"at_risk": 1, "lapsed": 2}],
    ("mart_retention_curve", "survival_never_rises"): [
        {"day": 0, "at_risk": 2, "survival": 1.0},
        {"day": 28, "at_risk": 2, "survival": 0.5},
        {"day": 30, "at_risk": 1, "survival": 0.6},
    ],
    ("mart_retention_test", "lapsed_within_people"): [{"people_a": 1, "lapsed_a": 2}],
    ("mart_retention_test", "only_with_enough_people"): [
        {"people_a": 30, "people_b": 29, "lapsed_a": 10, "lapsed_b": 10, "chi2": 1.0}
    ],
    ("mart_retention_test", "lapse_days_within_bounds"): [{"lapse_days": 27}],
}
RULES = [(table.name, rule.name) for table in TABLES.values() for rule in table.rules]


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_each_rule_of_the_catalogue_is_seen_failing(store, name, rule):
    table = TABLES[name]
    broken = next(r for r in table.rules if r.name == rule)
    shape = name.split("__")[-1]
    assert (shape, rule) in BREAKERS, "a rule of the catalogue needs rows here that break it"
    for row in BREAKERS[shape, rule]:
        store.add(table, **row)

    severity = "contract" if broken.severity == "stop" else "watch"
    # The other rules stand aside: the rows are made for this one.
    verdict = validate(replace(table, rules=(broken,)), warehouse_path=store.path, severity=severity)

    assert [failure.expectation for failure in verdict.failures] == [rule]
    (failure,) = verdict.failures
    assert failure.unexpected_count > 0
    assert failure.rows
    assert broken.doc in failure.message


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_keeps_both_suites_and_all_sql_is_valid(store, name):
    contract, watch = validate_both(TABLES[name], warehouse_path=store.path, previous=TABLES[name].qualified)
    assert contract.failures == watch.failures == ()
    assert contract.passed
    assert watch.passed
    assert contract.expectations >= 2 + len(TABLES[name].key)
    assert watch.expectations == len(rules(TABLES[name], "watch")) > 0


def test_rows_that_collapse_ring_against_the_night_before(store):
    for post in "abcde":
        store.add("dim_post", post_id=post)
    store.replace("dim_post")
    for post in "ab":
        store.add("dim_post", post_id=post)
    previous = store.previous("dim_post")

    (failure,) = validate(TABLES["dim_post"], warehouse_path=store.path, severity="watch", previous=previous).failures
    assert failure.expectation == "rows_do_not_collapse"
    assert failure.rows == ({"before": 5, "now": 2},)
    assert "e.g. before=5, now=2" in failure.message
    store.add("dim_post", post_id="c")
    assert validate(TABLES["dim_post"], warehouse_path=store.path, severity="watch", previous=previous).passed


@pytest.mark.parametrize(
    ("violations", "reason"),
    [
        ("select * from core.nowhere", "nowhere does not exist"),
        ("selec * from {table}", "syntax error"),
        ("select 1 / 0 from {table} where no_such_column > 1", "no_such_column"),
    ],
)
def test_a_broken_rule_fails_and_says_why(store, violations, reason):
    store.add(COUNTER)
    table = replace(COUNTER, rules=(Rule(name="broken", doc="Broken.", violations=violations),))
    verdict = validate(table, warehouse_path=store.path, severity="contract")
    assert not verdict.passed
    (failure,) = verdict.failures
    assert failure.unexpected_count is None
    assert failure.message.startswith("fct_counter: broken could not be checked: ")
    assert reason in failure.message


def test_a_table_that_is_not_there_fails(store):
    store.execute("drop table core.fct_counter")
    contract, watch = validate_both(COUNTER, warehouse_path=store.path, previous="core.dim_post")
    assert not contract.passed
    assert not watch.passed
    assert "fct_counter does not exist" in contract.failures[0].message


def test_a_rule_may_hold_braces_and_its_own_with(store):
    store.add(COUNTER)
    rule = Rule(name="odd", doc="Odd.", violations="with t as (select * from {table}) select {{'a': 1}} as s from t")
    table = replace(COUNTER, rules=(replace(rule, violations=rule.violations.replace("{{", "{").replace("}}", "}")),))
    (failure,) = validate(table, warehouse_path=store.path, severity="contract").failures
    assert failure.expectation == "odd"
    assert failure.unexpected_count == 1


def test_names_of_people_stay_in_the_warehouse(store):
    store.add("identity_name", person="https://lovelace.example/", person_name="Ada Lovelace", platform=None)
    store.add("stg_webmention__quarantine", row='{"author": "Ada Lovelace"}')
    store.add("stg_webmention__interactions", person="https://lovelace.example/", occurred_at=at(8))
    verdicts = [
        verdict
        for name in ("identity_name", "stg_webmention__quarantine", "stg_webmention__interactions")
        for verdict in validate_both(TABLES[name], warehouse_path=store.path)
    ]
    assert [verdict.passed for verdict in verdicts] == [False, True, True, False, False, True]
    assert "(not shown)" in str(verdicts)
    assert "lovelace" not in str(verdicts).lower()


def test_many_failures_come_in_the_order_of_the_columns_with_a_short_sample(store):
    for i in range(20):
        store.add(COUNTER, subject_id=f"p{i}", value=-1, subject="reaction", platform=None)
    verdict = validate(COUNTER, warehouse_path=store.path, severity="contract")
    assert [f.column for f in verdict.failures] == ["platform", "subject", "value"]
    assert {(f.unexpected_count, len(f.rows)) for f in verdict.failures} == {(20, 5)}
    assert "20 values not in (post, profile)" in verdict.failures[1].message


def test_the_file_is_open_for_writing_afterwards_and_the_path_may_be_odd(store, tmp_path):
    odd = tmp_path / "a folder @ 100% # $HOME" / "ware house.duckdb"
    odd.parent.mkdir()
    duckdb.connect(odd).execute("create schema core; create table core.dim_account (account_id varchar)").close()
    verdict = validate(TABLES["dim_account"], warehouse_path=odd, severity="contract")
    assert verdict.failures[0].message.startswith("dim_account: columns differ from the catalogue: missing name, ")
    with duckdb.connect(odd) as connection:
        connection.execute("create table core.more (a int)")


def test_without_a_previous_night_nothing_is_compared():
    assert suite(COUNTER, "watch").expectations[0].meta["rule"] == "counters_do_not_go_backwards"
    assert len(suite(COUNTER, "watch").expectations) == 1
    assert len(suite(COUNTER, "watch", previous=PREVIOUS).expectations) == 2
