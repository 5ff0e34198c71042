"""Earnings by band and stratum, with hand-computed answers; what must hold of any ledger; models against their own functions."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics import earnings, gamma_gamma
from assets.metrics.survival import kaplan_meier
from quality.catalog.model import empty, enforce
from quality.catalog.tables import TABLES

AS_OF = date(2024, 12, 31)
FIRST = date(2022, 1, 1)
BANDS = ("< 90 d", "< 1 y", "< 2 y", "longer", "before contact", "unknown start", "no contact")


def table(name: str, rows: list[dict[str, Any]]) -> pl.LazyFrame:
    schema = empty(TABLES[name]).schema
    return pl.LazyFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def at(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def person(name: str, first: date = FIRST, **more: Any) -> dict[str, Any]:
    return {
        "account_id": "a",
        "person_id": name,
        "first_at": at(first),
        "cohort_month": first.replace(day=1),
        "is_spike_won": False,
    } | more


def paid(who: str, day: date, amount: str = "10", **more: Any) -> dict[str, Any]:
    return {
        "account_id": "a", "identity_id": who, "earned_at": at(day), "amount": Decimal(amount), "refunded_amount": Decimal(0),
        "currency": "EUR",
    } | more  # fmt: skip


def mart(
    ledger: list[dict], people: list[dict], *, as_of: date = AS_OF, same: dict[str, str] | None = None
) -> pl.DataFrame:
    ids = [{"identity_id": p["person_id"], "person_id": p["person_id"]} for p in people]
    ids += [{"identity_id": i, "person_id": p} for i, p in (same or {}).items()]
    ids = list({row["identity_id"]: row for row in ids}.values())
    ledger = [{"earning_id": str(n)} | row for n, row in enumerate(ledger)]
    found = earnings.earnings(
        table("fct_earning", ledger), table("dim_identity", ids), table("mart_relationship", people), as_of=as_of
    )
    return enforce(TABLES["mart_earnings"], found)


def cells(found: pl.DataFrame, *columns: str, stratum: str = "all", currency: str = "EUR") -> dict[str, tuple]:
    rows = found.filter(pl.col("stratum") == stratum, pl.col("currency") == currency)
    return {band: tuple(rest) for band, *rest in rows.select("tenure_band", *columns).iter_rows()}


def test_the_example_of_the_docs():
    found = mart(
        [
            paid("ann", date(2022, 2, 1), "10.00"),
            paid("ann", date(2024, 6, 1), "30.00", refunded_amount=Decimal("5.50")),
            paid("bob", date(2024, 3, 1), "20.00"),
            paid("cid", date(2021, 12, 1), "8.00"),
            paid("eve", date(2024, 5, 1), "7.00"),
        ],
        [
            person("ann"),
            person("bob", date(2023, 3, 1), is_spike_won=True),
            person("cid"),
            person("dan", date(2024, 11, 1), is_spike_won=True),
        ],
    )
    columns = ("people", "earners", "amount", "amount_per_person")
    assert cells(found, *columns) == {
        "< 90 d": (4, 1, Decimal(10), 2.5),
        "< 1 y": (3, 0, Decimal(0), 0.0),
        "< 2 y": (3, 1, Decimal(20), pytest.approx(20 / 3)),
        "longer": (2, 1, Decimal("24.5"), 12.25),
        "before contact": (1, 1, Decimal(8), None),
        "no contact": (1, 1, Decimal(7), None),
        "all": (5, 4, Decimal("69.5"), 13.9),
    }
    assert cells(found, *columns, stratum="spike") == {
        "< 90 d": (2, 0, Decimal(0), 0.0),
        "< 1 y": (1, 0, Decimal(0), 0.0),
        "< 2 y": (1, 1, Decimal(20), 20.0),
        "all": (2, 1, Decimal(20), 10.0),
    }
    assert cells(found, "people", "amount", stratum="unknown") == {
        "no contact": (1, Decimal(7)),
        "all": (1, Decimal(7)),
    }


@pytest.mark.parametrize(
    ("days", "band"),
    [(-1, "before contact"), (0, "< 90 d"), (89, "< 90 d"), (90, "< 1 y"), (364, "< 1 y"), (365, "< 2 y"), (729, "< 2 y"), (730, "longer")],
)  # fmt: skip
def test_bands_by_whole_days(days, band):
    found = mart([paid("ann", FIRST + timedelta(days=days))], [person("ann")])
    assert {name: earners for name, (earners,) in cells(found, "earners").items() if earners} == {band: 1, "all": 1}


def test_paid_an_hour_before_the_first_contact_of_the_day_is_the_same_day():
    found = mart([paid("ann", FIRST, earned_at=datetime(2022, 1, 1, 1, tzinfo=UTC))], [person("ann")])
    assert cells(found, "earners")["< 90 d"] == (1,)


def test_no_ledger_no_row():
    assert mart([], [person("ann")]).is_empty()


def test_an_account_without_a_ledger_has_no_row_beside_one_that_has():
    found = mart([paid("ann", FIRST)], [person("ann"), person("bob", account_id="b")])
    assert found["account_id"].unique().to_list() == ["a"]
    assert cells(found, "people")["all"] == (1,)


def test_one_earning_of_a_stranger():
    found = mart([paid("eve", FIRST)], [])
    assert cells(found, "people", "earners", "amount", "amount_per_person", "amount_per_person_note") == {
        "no contact": (1, 1, Decimal(10), None, "of these people only those who paid are known"),
        "all": (1, 1, Decimal(10), 10.0, None),
    }


def test_two_currencies_are_never_added():
    found = mart([paid("ann", FIRST), paid("ann", FIRST, "5", currency="USD")], [person("ann"), person("bob")])
    assert cells(found, "people", "earners", "amount")["all"] == (2, 1, Decimal(10))
    assert cells(found, "people", "earners", "amount", currency="USD")["all"] == (2, 1, Decimal(5))


def test_what_was_given_back_wholly_is_no_earning():
    found = mart([paid("ann", FIRST, refunded_amount=Decimal(10)), paid("bob", FIRST)], [person("ann"), person("bob")])
    assert cells(found, "earners", "earnings", "amount")["all"] == (1, 1, Decimal(10))


def test_a_refund_counts_from_its_time():
    refund = {"refunded_amount": Decimal(4), "refunded_at": at(date(2024, 6, 1))}
    ledger, people = [paid("ann", FIRST, **refund)], [person("ann")]
    amounts = {
        as_of: cells(mart(ledger, people, as_of=as_of), "amount")["all"]
        for as_of in (date(2024, 5, 30), date(2024, 5, 31), AS_OF)
    }
    assert amounts == {date(2024, 5, 30): (Decimal(10),), date(2024, 5, 31): (Decimal(6),), AS_OF: (Decimal(6),)}, (
        "seen before the cutoff"
    )


def test_what_is_paid_after_as_of_is_not_seen():
    ledger = [paid("ann", FIRST), paid("ann", AS_OF + timedelta(days=1), "99")]
    assert cells(mart(ledger, [person("ann")]), "amount")["all"] == (Decimal(10),)


def test_people_of_unknown_start_are_kept_apart():
    found = mart(
        [paid("ann", AS_OF)], [person("ann", cohort_month=None, is_spike_won=None), person("bob", cohort_month=None)]
    )
    assert cells(found, "people", "amount", "amount_per_person") == {
        "unknown start": (2, Decimal(10), 5.0),
        "all": (2, Decimal(10), 5.0),
    }


def test_identities_of_one_person_are_one():
    found = mart([paid("ann", FIRST), paid("ann2", FIRST)], [person("ann")], same={"ann2": "ann"})
    assert cells(found, "people", "earners", "earnings")["all"] == (1, 1, 2)


def test_many_small_amounts_sum_exactly():
    found = mart([paid("ann", FIRST, "0.10") for _ in range(1000)], [person("ann")])
    assert cells(found, "amount")["all"] == (Decimal("100.0000"),)


def many(seed: int = 1, size: int = 200) -> tuple[list[dict], list[dict]]:
    """People of whom some pay, some of these often, at a price of their own."""
    random = np.random.default_rng(seed)
    people = [person(f"p{i}", FIRST + timedelta(days=int(random.integers(0, 700)))) for i in range(size)]
    ledger = []
    for one in people:
        price = 1 / random.gamma(4, 1 / 60)
        waited = random.exponential(300)
        for _ in range(random.poisson(2) if random.random() < 0.7 else 0):
            waited += random.exponential(60)
            day = one["first_at"].date() + timedelta(days=int(waited))
            if day <= AS_OF:
                ledger.append(paid(one["person_id"], day, f"{random.gamma(6, price / 6):.2f}"))
    return [row for row in ledger if row["amount"]], people


def test_time_to_first_earning_is_kaplan_meier():
    ledger, people = many()
    ledger.append(paid("p0", people[0]["first_at"].date() - timedelta(days=3)))  # paid before: not waiting for it
    (found,) = mart(ledger, people).filter(pl.col("tenure_band") == "all", pl.col("stratum") == "all").to_dicts()
    first = {p["person_id"]: p["first_at"].date() for p in people[1:]}
    payments = {
        who: min(r["earned_at"].date() for r in ledger if r["identity_id"] == who)
        for who in first
        if any(r["identity_id"] == who for r in ledger)
    }
    durations = [((payments.get(who) or AS_OF) - day).days for who, day in first.items()]
    time_, survival, _ = kaplan_meier(durations, [who in payments for who in first])
    assert found["first_earning_median_days_n"] == 199
    assert found["first_earning_median_days"] == time_[survival <= 0.5][0]
    assert found["first_earning_share_365d"] == pytest.approx(1 - survival[time_ <= 365][-1])
    assert (
        found["first_earning_share_365d_low"]
        < found["first_earning_share_365d"]
        < found["first_earning_share_365d_high"]
    )


def test_value_of_an_earning_is_gamma_gamma():
    ledger, people = many()
    (found,) = mart(ledger, people).filter(pl.col("tenure_band") == "all", pl.col("stratum") == "all").to_dicts()
    each = (
        pl.DataFrame(ledger)
        .group_by("identity_id")
        .agg(pl.len().alias("x"), pl.col("amount").cast(pl.Float64).mean().alias("m"))
    )
    model = gamma_gamma.fit(each["x"], each["m"])
    assert (found["gamma_gamma_p"], found["gamma_gamma_q"], found["gamma_gamma_v"]) == pytest.approx(
        (model.p, model.q, model.v), rel=1e-4
    )
    assert found["earning_value"] == pytest.approx(model.mean, rel=1e-6)
    assert found["earning_value_low"] < found["earning_value"] < found["earning_value_high"]
    assert found["earning_value_n"] == each.height


def test_subscriptions_at_one_price_have_no_model_and_say_so():
    people = [person(f"p{i}") for i in range(40)]
    ledger = [paid(p["person_id"], FIRST + timedelta(days=30 * k), "5") for p in people for k in range(3)]
    (found,) = mart(ledger, people).filter(pl.col("tenure_band") == "all", pl.col("stratum") == "all").to_dicts()
    assert found["earning_value"] is None
    assert "hardly vary" in found["earning_value_note"]


def test_a_few_people_have_neither_and_it_is_said():
    (found,) = (
        mart([paid("ann", FIRST)], [person("ann")])
        .filter(pl.col("tenure_band") == "all", pl.col("stratum") == "all")
        .to_dicts()
    )
    assert found["first_earning_median_days"] is None
    assert found["first_earning_median_days_note"] == "fewer than 30 people whose start is known"
    assert found["earning_value_note"].startswith("fewer than 30 people who paid")


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[list[dict], list[dict]]:
    days = st.integers(0, 1200).map(lambda d: FIRST + timedelta(days=d))
    names = st.sampled_from([f"p{i}" for i in range(6)])
    people = [
        person(name, draw(days), is_spike_won=draw(st.sampled_from([True, False, None])), cohort_month=draw(st.sampled_from([None, FIRST])))
        for name in draw(st.sets(names))
    ]  # fmt: skip
    amounts = st.decimals("0", "999.9999", places=4).map(str)
    rows = st.builds(paid, names, days, amounts, currency=st.sampled_from(["EUR", "USD"]))
    return draw(st.lists(rows, max_size=12)), people


@settings(max_examples=40, deadline=None)
@given(drawn=ledgers(), seed=st.randoms())
def test_what_must_hold_of_any_ledger(drawn, seed):
    ledger, people = drawn
    found = mart(ledger, people)
    for currency in ("EUR", "USD"):
        whole = sum(
            (r["amount"] for r in ledger if r["currency"] == currency and r["earned_at"].date() <= AS_OF), Decimal(0)
        )
        mine = found.filter(pl.col("currency") == currency)
        of = {
            (band, stratum): amount
            for band, stratum, amount in mine.select("tenure_band", "stratum", "amount").iter_rows()
        }
        assert of.get(("all", "all"), Decimal(0)) == whole
        assert sum((of.get((band, "all"), Decimal(0)) for band in BANDS), Decimal(0)) == whole
        assert (
            sum((of.get(("all", stratum), Decimal(0)) for stratum in ("spike", "steady", "unknown")), Decimal(0))
            == whole
        )
    assert found.filter(pl.col("earners") > pl.col("people")).is_empty()
    assert found.filter(pl.col("earners") > pl.col("earnings")).is_empty()
    shuffled_ledger, shuffled_people = list(ledger), list(people)
    seed.shuffle(shuffled_ledger)
    seed.shuffle(shuffled_people)
    assert mart(shuffled_ledger, shuffled_people).equals(found)
    other = [row | {"account_id": "b"} for row in ledger], [row | {"account_id": "b"} for row in people]
    both = mart(ledger + other[0], people + other[1])
    assert both.filter(pl.col("account_id") == "a").equals(found)
    assert both.filter(pl.col("account_id") == "b").drop("account_id").equals(found.drop("account_id"))
