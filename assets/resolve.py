"""Who is who and what belongs to what: pseudonyms, persons, own rows, posts. Frames in and out."""

import hmac
from collections.abc import Iterable, Sequence

import polars as pl

from assets.urls import author_key, host, match_key

SEPARATOR = b"\x1f"


def pseudonym(key: bytes, platform: str, native_id: str) -> str:
    """HMAC-SHA-256(key, platform, 0x1f, native id), its first 128 bits in hexadecimal.

    Key as bytes of any length (RFC 2104). Source: RFC 4231 for the test vectors.

    >>> pseudonym(b"k", "webmention", "example.org/ann") == pseudonym(b"k", "webmention", "example.org/ann")
    True
    >>> len(pseudonym(b"k", "webmention", "example.org/ann"))
    32
    """
    return hmac.digest(key, platform.encode() + SEPARATOR + native_id.encode(), "sha256")[:16].hex()


def published_id(*parts: pl.Expr) -> pl.Expr:
    """An id that is unique everywhere: account, platform and native id, `/` between them.

    The first two have their own slashes escaped, so no two triples share an id.

    >>> pl.select(published_id(pl.lit("a/b"), pl.lit("feed"), pl.lit("https://x/1"))).item()
    'a%2Fb/feed/https://x/1'
    """
    *leading, native = parts
    return pl.concat_str([*(part.str.replace_all("/", "%2F", literal=True) for part in leading), native], separator="/")


def identities(people: pl.LazyFrame, *, key: bytes) -> pl.LazyFrame:
    """Each distinct (platform, person) of `people` with its `identity_id`."""
    distinct = people.select("platform", "person").unique().sort("platform", "person").collect()
    ids = [pseudonym(key, platform, person) for platform, person in distinct.iter_rows()]
    return distinct.with_columns(identity_id=pl.Series(ids, dtype=pl.String)).lazy()


def persons(identity: pl.LazyFrame, *, same_person: Sequence[Sequence[str]]) -> pl.LazyFrame:
    """Each identity with its person: the smallest identity_id of the identities declared to be one.

    `same_person` lists groups of `platform:native id`; groups that share an identity are one.
    Adds `person_id` and `merged_because` (null for a person with one identity).
    """
    known = (
        {
            f"{platform}:{person}": identity_id
            for platform, person, identity_id in identity.select("platform", "person", "identity_id")
            .collect()
            .iter_rows()
        }
        if same_person
        else {}
    )
    component: dict[str, set[str]] = {}
    for group in same_person:
        members = {known[name] for name in group if name in known}
        for member in tuple(members):
            members |= component.get(member, set())
        component.update(dict.fromkeys(members, members))
    merged = [
        (member, min(members), "declared in rapport.toml") for member, members in component.items() if len(members) > 1
    ]
    table = pl.LazyFrame(
        merged, schema={"identity_id": pl.String, "person_id": pl.String, "merged_because": pl.String}, orient="row"
    )
    return identity.join(table, on="identity_id", how="left").with_columns(
        person_id=pl.coalesce("person_id", "identity_id")
    )


def one_each(rows: pl.LazyFrame, thing: str) -> pl.LazyFrame:
    """`rows` with each (account, platform, `thing`) once, where several sources bring it.

    The newest load says what it is; the earliest `observed_at` stays, and what one source knows and
    the other does not (the time it happened, that it is gone) is kept. A row that one source has twice
    is a mistake, and stays one for the contract to find.
    """
    key = ["account_id", "platform", thing]
    names = rows.collect_schema().names()
    sources = pl.col("source").n_unique()
    twice = rows.select(*key, "source").group_by(key).agg(sources).filter(pl.col("source") > 1).select(key).collect()
    if twice.is_empty():
        return rows
    filled = [n for n in ("occurred_at", "retracted_at", "deleted_at", "not_before_at", "post", "url") if n in names]
    merged = (
        rows.join(twice.lazy(), on=key, how="semi")
        .sort("loaded_at", "source")
        .group_by(key, maintain_order=True)
        .agg(
            pl.exclude(*filled, "observed_at", "is_time_known").last(),
            pl.col([n for n in filled if n not in key]).drop_nulls().last(),
            pl.col("observed_at").min(),
            *([pl.col("is_time_known").any()] if "is_time_known" in names else []),
        )
        .select(names)
    )
    return pl.concat([rows.join(twice.lazy(), on=key, how="anti"), merged])


def is_own(own: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` with `is_own_row`: the person is the account itself, one of its `own`, or on its own host.

    `own` has `account_id` and `name`: the account's name, its configured `own` entries and the
    handles and hosts of its profiles. A person who is an address is compared by host and by page.
    """
    names = own.select("account_id", "name").unique().with_columns(is_named=pl.lit(value=True))
    person = rows.select("account_id", "person", "person_url").unique()
    page = author_key(pl.col("person_url"))
    known = pl.concat([person.with_columns(name=name) for name in (pl.col("person"), page, host(pl.col("person_url")))])
    own_people = (
        known.join(names, on=["account_id", "name"], how="inner").select("account_id", "person", "is_named").unique()
    )
    return (
        rows.join(own_people, on=["account_id", "person"], how="left")
        .with_columns(is_own_row=pl.col("is_named").fill_null(value=False))
        .drop("is_named")
    )


def own_names(
    accounts: pl.LazyFrame, profiles: pl.LazyFrame, *, configured: Iterable[tuple[str, Sequence[str]]]
) -> pl.LazyFrame:
    """`account_id, name`: everything that is the account itself, for `is_own`.

    `accounts` and `profiles` as dim_account and dim_profile; `configured` are (account, its `own`
    entries), an entry that is an address being taken as a page.
    """
    entries = pl.LazyFrame(
        [(account, entry) for account, own in configured for entry in own],
        schema={"account_id": pl.String, "name": pl.String},
        orient="row",
    )
    pages = entries.select("account_id", name=author_key(pl.col("name"))).drop_nulls()
    names = (pl.col("host"), pl.col("handle"), author_key(pl.col("url")))
    profile = pl.concat([profiles.select("account_id", name=name) for name in names]).drop_nulls()
    return pl.concat([accounts.select("account_id", name="account_id"), entries, pages, profile]).unique()


def with_post(rows: pl.LazyFrame, posts: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` with `post_id`: by native post id on the same platform, else by address in the same account.

    What matches no post keeps a null: it belongs to the account. Of several posts with one
    address the one with the smallest id is taken.
    """
    native = posts.select("account_id", "platform", "post", by_id=pl.col("post_id"))
    address = (
        posts.select("account_id", page=match_key(pl.col("url")), by_page=pl.col("post_id"))
        .drop_nulls()
        .group_by("account_id", "page")
        .agg(pl.col("by_page").min())
    )
    return (
        rows.join(native, on=["account_id", "platform", "post"], how="left")
        .with_columns(page=match_key(pl.col("target_url")))
        .join(address, on=["account_id", "page"], how="left")
        .with_columns(post_id=pl.coalesce("by_id", "by_page"))
        .drop("by_id", "by_page", "page")
    )
