"""Ledger names to people: by id, address, e-mail and Gravatar; never by guessing."""

from datetime import UTC, datetime
from hashlib import sha256

import polars as pl
import pytest

from assets import payers
from quality.catalog.model import empty
from quality.catalog.tables import TABLES

KEY = b"key"
AT = datetime(2024, 1, 2, tzinfo=UTC)
PEOPLE = [  # identity, person, platform, native id, address
    ("i1", "i1", "blog", "ann", "https://ann.example/"),
    ("i2", "i2", "mastodon", "bob@social.example", "https://social.example/@bob"),
    ("i3", "i3", "activity", "carol@mail.example", None),
    ("i4", "i4", "wordpress", "gravatar:" + sha256(b"dave@mail.example").hexdigest(), None),
    ("i5", "i5", "blog", "twin", None),
    ("i6", "i6", "mastodon", "twin", None),
    ("i7", "i7", "blog", "same", None),
    ("i8", "i7", "mastodon", "same", None),
]


def table(name: str, rows: list[dict]) -> pl.LazyFrame:
    schema = empty(TABLES[name]).schema
    return pl.LazyFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def linked(*rows: dict, account: str = "me") -> list[tuple[str, bool]]:
    hashed = payers.hashed(KEY)
    said = [
        {"account_id": account, "earning": f"e{n}", "earned_at": AT, "amount": 1, "refunded_amount": 0, "currency": "EUR", "loaded_at": AT}
        | {name: value if name == "person" else hashed(value) for name, value in row.items()}
        for n, row in enumerate(rows)
    ]  # fmt: skip
    found = payers.earning(
        table("stg_earnings__earnings", said),
        table("fct_interaction", [{"account_id": "me", "identity_id": i} for i, *_ in PEOPLE for _ in range(2)]),
        table("identity_name", [{"identity_id": i, "platform": f, "person": n, "person_url": u} for i, _, f, n, u in PEOPLE]),
        table("dim_identity", [{"identity_id": i, "person_id": p} for i, p, *_ in PEOPLE]),
        key=KEY,
    )  # fmt: skip
    return found.sort("earning_id").select("identity_id", "is_linked").collect().rows()


@pytest.mark.parametrize(
    ("row", "identity"),
    [
        ({"person": "ann"}, "i1"),
        ({"person": "blog:ann"}, "i1"),
        ({"person": "https://ann.example"}, "i1"),
        ({"person": "http://www.ann.example/#me"}, "i1"),
        ({"person": "@bob@social.example"}, "i2"),
        ({"email_hash": "bob@social.example"}, "i2"),
        ({"email_hash": "carol@mail.example"}, "i3"),
        ({"email_hash": "dave@mail.example", "email_sha256_hash": sha256(b"dave@mail.example").hexdigest()}, "i4"),
        ({"person": "cus_1", "email_hash": "carol@mail.example"}, "i3"),
        ({"person": "mastodon:twin"}, "i6"),
        ({"person": "same"}, "i7"),
    ],
)
def test_a_known_person_is_found(row, identity):
    assert linked(row) == [(identity, True)]


@pytest.mark.parametrize("row", [{"person": "twin"}, {"person": "nobody"}, {"email_hash": "eve@mail.example"}, {}])
def test_an_unknown_person_is_one_of_its_own(row):
    ((identity, is_linked),) = linked(row)
    assert not is_linked
    assert len(identity) == 32


def test_the_same_stranger_is_one_person_and_guests_are_not():
    email, again, person, guest, other = [
        i for i, _ in linked({"email_hash": "e@x.example"}, {"email_hash": "e@x.example", "person": "cus_1"}, {"person": "cus_1"}, {}, {})
    ]  # fmt: skip
    assert email == again
    assert len({email, person, guest, other}) == 4


def test_who_interacted_with_another_account_only_is_a_stranger_here():
    assert not linked({"person": "ann"}, account="other")[0][1]


def test_no_ledger_is_an_empty_table():
    assert linked() == []
