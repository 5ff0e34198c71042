"""Who paid: earnings to the identities that their account already knows. Frames in and out.

A wrong link is worse than none: what a ledger calls somebody has to mean one person of the account,
else the payer stays a person of its own, under a pseudonym that nothing else has.
"""

from collections.abc import Callable
from functools import partial

import polars as pl

from assets.resolve import pseudonym, published_id
from assets.urls import author_key
from quality.catalog.tables import TABLES
from sources.earnings import email_of

_HASHES = ("email_hash", "email_md5_hash", "email_sha256_hash")
_GRAVATAR = "gravatar:"


def hashed(key: bytes) -> Callable[[str], str]:
    """The keyed hash of e-mail addresses (and of their digests) of this installation.

    >>> hashed(b"k")("ann@example.org") == hashed(b"k")("ann@example.org") != hashed(b"other")("ann@example.org")
    True
    """
    return partial(pseudonym, key, "email")


def earning(
    earnings: pl.LazyFrame,
    fct_interaction: pl.LazyFrame,
    identity_name: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    *,
    key: bytes,
) -> pl.LazyFrame:
    """`fct_earning`: each earning with who paid it.

    `person` of the ledger is compared with the native ids and addresses of the people who interacted with the same
    account on any platform, also as `platform:native id`; then the e-mail address with theirs, where they have one: an
    id that is an address, or that of a Gravatar. A name that two persons share links nobody.
    """
    table = TABLES["fct_earning"]
    rows = earnings.collect()
    if rows.is_empty():  # nearly every home: nobody's names are looked at
        return pl.LazyFrame(schema={column.name: column.dtype.polars for column in table.columns})
    known = _known(fct_interaction, identity_name, dim_identity)
    said = pl.col("person").str.strip_chars_start("@")
    by_name = _lookup(known, _names())
    by_email = _lookup(known, [_email_hash(hashed(key))])
    linked = rows.lazy()
    candidates = [(pl.col("person"), by_name), (said, by_name), (author_key(pl.col("person")), by_name)]
    candidates += [(pl.col(name), by_email) for name in _HASHES]
    for place, (name, lookup) in enumerate(candidates):
        linked = linked.with_columns(name=name).join(
            lookup.rename({"identity_id": f"_{place}"}), on=["account_id", "name"], how="left"
        )
    found = linked.with_columns(linked_id=pl.coalesce(f"_{place}" for place in range(len(candidates)))).collect()
    earning_id = published_id(pl.col("account_id"), pl.lit("earnings"), pl.col("earning"))
    whoever = pl.coalesce(
        pl.lit("email:") + pl.col("email_hash"), pl.lit("person:") + pl.col("person"), pl.lit("guest:") + earning_id
    )
    names = found.select(whoever.alias("whoever")).to_series().to_list()
    own = pl.Series("own_id", [pseudonym(key, "earnings", name) for name in names], dtype=pl.String)
    return (
        found.with_columns(own)
        .lazy()
        .with_columns(
            earning_id=earning_id,
            identity_id=pl.coalesce("linked_id", "own_id"),
            is_linked=pl.col("linked_id").is_not_null(),
        )
        .select(table.column_names)
    )


def _known(fct_interaction: pl.LazyFrame, identity_name: pl.LazyFrame, dim_identity: pl.LazyFrame) -> pl.DataFrame:
    """Who interacted with each account, with what they are called."""
    return (
        fct_interaction.select("account_id", "identity_id")
        .unique()
        .join(identity_name.select("identity_id", "platform", "person", "person_url"), on="identity_id")
        .join(dim_identity.select("identity_id", "person_id"), on="identity_id")
        .collect()
    )


def _names() -> list[pl.Expr]:
    person, url = pl.col("person"), pl.col("person_url")
    return [person, pl.concat_str("platform", person, separator=":"), url, author_key(url), author_key(person)]


def _email_hash(hash_of: Callable[[str], str]) -> pl.Expr:
    """The keyed hash of an identity's address, or of the digest of it that names a Gravatar; null where there is neither."""

    def one(person: str | None) -> str | None:
        if person is None:
            return None
        if person.startswith(_GRAVATAR):
            return hash_of(person.removeprefix(_GRAVATAR).lower())
        email = email_of(person)
        return hash_of(email) if email else None

    return pl.coalesce(
        pl.col(name).map_elements(one, return_dtype=pl.String, skip_nulls=True) for name in ("person", "person_url")
    )


def _lookup(known: pl.DataFrame, names: list[pl.Expr]) -> pl.LazyFrame:
    """`account_id, name, identity_id` for each name that means one person: the smallest identity of that person."""
    return (
        pl.concat([known.select("account_id", "identity_id", "person_id", name=name) for name in names])
        .lazy()
        .filter(pl.col("name").is_not_null())
        .group_by("account_id", "name")
        .agg(pl.col("identity_id").min(), persons=pl.col("person_id").n_unique())
        .filter(pl.col("persons") == 1)
        .select("account_id", "name", "identity_id")
    )
