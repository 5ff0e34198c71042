"""What a ledger's rows say once judged, what is set aside, and what Stripe's charges come to."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from assets.staging import earnings

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def ledger(*rows: dict) -> pl.DataFrame:
    filled = [
        {
            "account_id": "me", "person": "ann", "earned_at": "2024-01-02", "amount": "12.50", "currency": "eur",
            "is_stripe": False, "file": "l.csv", "row_number": n, "row_hash": f"h{n}", "loaded_at": NOW,
        } | row
        for n, row in enumerate(rows, 1)
    ]  # fmt: skip
    return pl.DataFrame(filled, schema=earnings.RAW["ledger"])


def staged(*rows: dict) -> list[dict]:
    return earnings.earnings(ledger(*rows)).collect().to_dicts()


def reasons(*rows: dict) -> list[str]:
    return earnings.quarantine(ledger(*rows)).collect()["reason"].to_list()


def test_a_row_is_typed_and_named_by_what_it_says():
    (row,) = staged({})
    assert row == {
        "account_id": "me", "earning": "h1", "person": "ann", "email_hash": None, "email_md5_hash": None,
        "email_sha256_hash": None, "earned_at": datetime(2024, 1, 2, tzinfo=UTC), "amount": Decimal("12.5000"),
        "refunded_amount": Decimal("0.0000"), "refunded_at": None, "currency": "EUR", "loaded_at": NOW,
    }  # fmt: skip


def test_amounts_are_exact():
    rows = staged(*({"amount": "0.10"} for _ in range(3)), {"amount": "999999999999.9999"})
    assert sum(row["amount"] for row in rows) == Decimal("1000000000000.2999")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"account_id": "(no account)"}, "no account"),
        ({"person": " "}, "neither person nor email"),
        ({"earned_at": None}, "no earned_at"),
        ({"earned_at": "20240102"}, "earned_at is no usable time"),
        ({"earned_at": "2024-06-03"}, "earned_at is in the future"),
        ({"amount": ""}, "no amount"),
        ({"amount": "-5"}, "amount is negative"),
        ({"amount": "5 EUR"}, "amount is no number of at most 12 digits and 4 decimals"),
        ({"amount": "0.12345"}, "amount is no number of at most 12 digits and 4 decimals"),
        ({"amount": "1000000000000"}, "amount is no number of at most 12 digits and 4 decimals"),
        ({"currency": None}, "no currency"),
        ({"currency": "euro"}, "currency is no ISO 4217 code"),
        ({"refunded": "x"}, "refunded is no number of at most 12 digits and 4 decimals"),
        ({"refunded": "-1"}, "refunded is negative"),
        ({"refunded": "12.51"}, "refunded is more than amount"),
        ({"refunded": "1", "refunded_at": "soon"}, "refunded_at is no usable time"),
        ({"refunded": "1", "refunded_at": "2024-07-01"}, "refunded_at is in the future"),
        ({"problem": "more fields than the file has columns", "amount": None}, "more fields than the file has columns"),
        ({"amount": "-5", "currency": "€"}, "amount is negative; currency is no ISO 4217 code"),
    ],
)
def test_what_cannot_be_used_is_set_aside_with_the_reason(row, reason):
    good = {"earning": "e1", "person": "bob"}
    assert reasons(row, good) == [reason]
    assert [kept["person"] for kept in staged(row, good)] == ["bob"]


def test_the_newest_good_observation_counts_and_quiets_what_was_bad_before():
    bad = {"earning": "e1", "amount": "?"}
    first = {"earning": "e1", "loaded_at": NOW + timedelta(days=1)}
    refunded = first | {"refunded": "2.50", "refunded_at": "2024-02-01", "loaded_at": NOW + timedelta(days=2)}
    (row,) = staged(bad, first, refunded)
    assert (row["refunded_amount"], row["refunded_at"]) == (Decimal("2.5"), datetime(2024, 2, 1, tzinfo=UTC))
    assert reasons(bad, first, refunded) == []


def test_of_stripe_only_what_was_paid_and_guests_too():
    def charge(name: str, **more: object) -> dict:
        return {"is_stripe": True, "earning": name, "stripe_status": "Paid", "stripe_captured": "true"} | more

    rows = [
        charge("paid"),
        charge("guest", person=None),
        charge("refunded", stripe_status="Refunded", refunded="12.50"),
        charge("failed", stripe_status="Failed", amount="?"),
        charge("reserved", stripe_captured="false"),
        charge("test", stripe_mode="Test"),
    ]
    assert [row["earning"] for row in staged(*rows)] == ["guest", "paid", "refunded"]
    assert reasons(*rows) == []


def test_a_refund_of_nothing_has_no_time():
    (row,) = staged({"refunded": "0.00", "refunded_at": "2024-02-01"})
    assert row["refunded_at"] is None


def test_times_are_taken_as_the_file_gives_them():
    moment = datetime(2024, 1, 2, 3, tzinfo=UTC)
    assert staged({"earned_at": None, "at_utc": moment})[0]["earned_at"] == moment
    assert reasons({"earned_at": None, "at_utc": datetime(1970, 1, 1, tzinfo=UTC)}) == ["earned_at is no usable time"]


def test_nothing_gives_nothing():
    empty = pl.DataFrame(schema=earnings.RAW["ledger"])
    assert earnings.earnings(empty).collect().is_empty()
    assert earnings.quarantine(empty).collect().is_empty()
