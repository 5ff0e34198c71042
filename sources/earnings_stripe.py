"""Stripe's export of payments (CSV of the dashboard), as columns of a ledger of earnings.

The dashboard lets people choose columns, and their names have changed over the years; only those
that every export has tell that it is one. What a status means is staging's to judge.
"""

from collections.abc import Iterable, Mapping

COLUMNS: dict[str, str] = {
    "id": "earning",
    "created_(utc)": "earned_at",
    "created_date_(utc)": "earned_at",
    "amount": "amount",
    "amount_refunded": "refunded",
    "refunded_date_(utc)": "refunded_at",
    "currency": "currency",
    "status": "stripe_status",
    "captured": "stripe_captured",
    "mode": "stripe_mode",
    "customer_id": "person",
    "customer_email": "email",
}
"""Normalised name in the export -> column of the ledger."""

PAID = ("paid", "succeeded", "refunded", "partially refunded", "partially_refunded")
"""Statuses of charges that were paid, whatever was given back later."""


def is_export(names: Iterable[str]) -> bool:
    """Whether normalised column names are those of an export of payments.

    >>> is_export(["id", "created_(utc)", "amount", "amount_refunded", "currency", "status", "customer_email"])
    True
    >>> is_export(["person", "earned_at", "amount", "currency"])
    False
    """
    return {"id", "amount", "amount_refunded", "currency", "status"} <= set(names)


def as_ledger(names: Mapping[str, str]) -> dict[str, str]:
    """The columns that a ledger knows, by its names, each with the name that the file gives."""
    return {COLUMNS[name]: given for name, given in names.items() if name in COLUMNS}
