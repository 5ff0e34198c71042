"""Ledgers of earnings: raw rows to `stg_earnings__*`. Frames in and out; no assets here.

Written by hand or exported, so everything is judged: what cannot be used is set aside with the
reason. Of several observations of one earning the newest good one counts. Charges of Stripe that
were not paid are neither earnings nor mistakes: they stay in raw.
"""

import polars as pl

from assets.staging import shapes
from assets.staging.shapes import Frame
from assets.staging.times import parsed, unreadable
from quality.catalog.tables import TABLES
from sources import earnings as raw
from sources.earnings_stripe import PAID
from sources.timestamps import EARLIEST

RAW = shapes.raw_schemas(raw.TABLES)
"""Schemas of the raw tables, by name, to stand in for those that nothing was loaded into yet."""

MONEY = pl.Decimal(38, 4)
_DAY = pl.duration(days=1)
_KEY = ["account_id", "earning"]
_TEXTS = ("account_id", "person", "earning", "earned_at", "amount", "currency", "refunded", "refunded_at")
_HASHES = ("email_hash", "email_md5_hash", "email_sha256_hash")


def earnings(ledger: Frame) -> pl.LazyFrame:
    """`stg_earnings__earnings`: each earning once, its newest good observation.

    An earning without an id of its own is identified by what its row says.
    """
    table = TABLES["stg_earnings__earnings"]
    return (
        _judged(ledger)
        .filter(pl.col("reason").is_null())
        .with_columns(earning=pl.coalesce("earning", "row_hash"))
        .sort("loaded_at", "row_number", "row_hash")
        .unique(_KEY, keep="last", maintain_order=True)
        .filter("is_paid")
        .sort(_KEY)
        .select(
            *_KEY, "person", *_HASHES, "loaded_at",
            earned_at="earned_at_read",
            amount="amount_read",
            refunded_amount=pl.col("refunded_read").fill_null(0),
            refunded_at=pl.when(pl.col("refunded_read") > 0).then("refunded_at_read"),
            currency=pl.col("currency").str.to_uppercase(),
        )
        .select(table.column_names)
    )  # fmt: skip


def quarantine(ledger: Frame) -> pl.LazyFrame:
    """`stg_earnings__quarantine`: rows that cannot be used, each with its reasons, `; ` between them."""
    judged = _judged(ledger).with_columns(
        pl.col("at_utc", "is_stripe").cast(pl.String), row_ref=pl.concat_str("file", pl.lit(":"), "row_number")
    )
    said = (*_TEXTS[1:], *_HASHES, "at_utc", "stripe_status", "stripe_captured", "stripe_mode")
    return shapes.quarantined(judged, source=raw.NAME, shape="earnings", thing="earning", said=said)


def _judged(ledger: Frame) -> pl.LazyFrame:
    """Every row, with what was read from it in `<column>_read`, `is_paid`, and the `reason` not to use it."""
    texts = [pl.col(name).str.strip_chars() for name in _TEXTS]
    rows = ledger.lazy().with_columns(
        pl.col("at_utc", "loaded_at").dt.convert_time_zone("UTC"),  # whatever zone the reader's session is in
        *(pl.when(text != "").then(text) for text in texts),
        is_paid=_is_paid(),
    )
    given = pl.when(pl.col("at_utc") >= pl.lit(EARLIEST)).then("at_utc")
    read = rows.with_columns(
        earned_at_read=pl.coalesce(given, parsed(pl.col("earned_at"))),
        refunded_at_read=parsed(pl.col("refunded_at")),
        amount_read=money(pl.col("amount")),
        refunded_read=money(pl.col("refunded")),
    )
    latest = pl.col("loaded_at") + _DAY
    unreadable_time = unreadable(pl.col("earned_at"), pl.col("earned_at_read")) | (
        pl.col("at_utc").is_not_null() & pl.col("earned_at_read").is_null()
    )
    is_nobody = pl.all_horizontal(pl.col("person", "email_hash").is_null())
    reasons = {
        "no account": pl.col("account_id").is_null() | (pl.col("account_id") == raw.NO_ACCOUNT),
        # People may pay through Stripe as guests, without an address.
        "neither person nor email": is_nobody & ~pl.col("is_stripe"),
        "no earned_at": pl.all_horizontal(pl.col("earned_at", "at_utc").is_null()),
        "earned_at is no usable time": unreadable_time,
        "earned_at is in the future": pl.col("earned_at_read") > latest,
        "no amount": pl.col("amount").is_null(),
        "amount is negative": pl.col("amount").str.starts_with("-"),
        "amount is no number of at most 12 digits and 4 decimals": _unreadable_money("amount"),
        "no currency": pl.col("currency").is_null(),
        "currency is no ISO 4217 code": ~pl.col("currency").str.contains(r"^[A-Za-z]{3}$"),
        "refunded is negative": pl.col("refunded").str.starts_with("-"),
        "refunded is no number of at most 12 digits and 4 decimals": _unreadable_money("refunded"),
        "refunded is more than amount": pl.col("refunded_read") > pl.col("amount_read"),
        "refunded_at is no usable time": unreadable(pl.col("refunded_at"), pl.col("refunded_at_read")),
        "refunded_at is in the future": pl.col("refunded_at_read") > latest,
    }
    # A line that is no row lacks everything else too; that needs no saying.
    because = pl.when("is_paid").then(pl.coalesce("problem", shapes.because(reasons)))
    return read.with_columns(
        account_id=pl.col("account_id").fill_null(raw.NO_ACCOUNT), reason=because, platform=pl.lit(raw.PLATFORM)
    )


def money(text: pl.Expr) -> pl.Expr:
    """The amounts that texts write, exactly; null where it is none, is negative, or could be two things.

    A point or a comma before the decimals, thousands apart where the other sign says that they are: `1,234` alone is
    a thousand in one country and a little more than one in another.

    >>> frame = pl.DataFrame({"said": ["12.5", "1,234.50", "1.234,50", "0,25", "5.000000", "1,234", "-1", "9" * 13]})
    >>> frame.select(money(pl.col("said")).cast(pl.String)).to_series().to_list()
    ['12.5000', '1234.5000', '1234.5000', '0.2500', '5.0000', None, None, None]
    """
    point = pl.coalesce(text.str.extract(r"^(\d{1,12})$", 1), text.str.extract(r"^(\d{1,12}\.\d{1,4})0*$", 1))
    thousands = text.str.extract(r"^(\d{1,3}(?:,\d{3}){1,3}\.\d{1,4})0*$", 1).str.replace_all(",", "", literal=True)
    comma = text.str.extract(r"^(\d{1,12},\d{1,2}|\d{1,3}(?:\.\d{3}){1,3},\d{1,4})$", 1)
    comma = comma.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.coalesce(point, thousands, comma).str.to_decimal(scale=4).cast(MONEY)


def _unreadable_money(name: str) -> pl.Expr:
    said = pl.col(name)
    return said.is_not_null() & ~said.str.starts_with("-") & pl.col(f"{name}_read").is_null()


def _is_paid() -> pl.Expr:
    """Stripe's charges that somebody paid, in earnest; every row of a file of one's own."""
    status = pl.col("stripe_status").str.strip_chars().str.to_lowercase().is_in(PAID)
    captured = pl.col("stripe_captured").str.to_lowercase() != "false"
    live = pl.col("stripe_mode").str.to_lowercase() != "test"
    paid = pl.all_horizontal(expr.fill_null(value=True) for expr in (status, captured, live))
    return ~pl.col("is_stripe") | paid
