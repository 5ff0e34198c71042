"""What do relationships earn, by how long they last? A ledger of payments beside the people it comes from.

Descriptive only: who pays more after two years may have stayed because of what they paid for. A ledger is small beside
the interactions, so everything here is Polars. Amounts are decimals until they are divided; currencies are never added.
"""

from collections.abc import Iterator
from datetime import date
from math import isfinite
from typing import Any

import polars as pl

from assets.metrics import gamma_gamma
from assets.metrics.people import collected, day_number
from assets.metrics.survival import curves, quantile
from assets.metrics.visible import cutoff, end_of

ALL = "all"
BANDS = {"< 90 d": 0, "< 1 y": 90, "< 2 y": 365, "longer": 730}
"""Bands of tenure, each with the days since first contact at which it begins."""
BEFORE, UNKNOWN_START, NO_CONTACT = "before contact", "unknown start", "no contact"
UNKNOWN = "unknown"
"""Stratum of people of whom it cannot be said whether a spike won them."""

MONEY = pl.Decimal(38, 4)
MINIMUM_PEOPLE = 30
MINIMUM_REPEATERS = 10
_YEAR = 365
_TIE = ("account_id", "person_id")
_CELL = ("account_id", "tenure_band", "stratum", "currency")
_GROUP = ("account_id", "stratum", "currency")
_OF_ALL = "told of all bands together"
_PAYERS_ONLY = "of these people only those who paid are known"


def earnings(
    fct_earning: pl.LazyFrame, dim_identity: pl.LazyFrame, mart_relationship: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """What do relationships earn, and when? `mart_earnings`: a row for each account, band, stratum and currency.

    An earning counts from the day it was paid, at what is left of it after refunds given by the cutoff (a refund of
    unknown time counts from the start). Its band is the time since the person's first contact in whole days: `< 90 d`,
    `< 1 y` (365 days), `< 2 y` (730), `longer`; `before contact`; `unknown start` where history is left-truncated; `no
    contact` for payers without a relationship; `all` is the sum of them. Strata: `spike` and `steady` as of
    `is_spike_won`, `unknown` where that is null; `all` is the sum of the three.

    `people` are everybody of the stratum who has been in the band by `as_of`, payers or not, whatever the currency;
    before or without contact only payers are known, so there `amount_per_person` is null. In the rows of band `all`:
    `first_earning_*` are Kaplan-Meier estimates of the days from first contact to the first earning in that currency,
    over people whose start is known and who paid nothing before it, those who have not paid censored at `as_of`;
    `earning_value_*` is the expected mean payment of a payer (Gamma-Gamma). Both need 30 people, the latter also 10 who
    paid twice. Without a ledger there is no row.
    """
    paid = collected(visible_earnings(fct_earning, dim_identity, as_of=as_of))
    relations = collected(_relations(mart_relationship.join(paid, on="account_id", how="semi")))
    placed = collected(_with_all(_placed(paid, relations)))
    sums = placed.group_by(_CELL).agg(
        pl.col("amount").sum(),
        pl.len().cast(pl.Int64).alias("earnings"),
        pl.col("person_id").n_unique().cast(pl.Int64).alias("earners"),
    )
    counted = _people(relations, sums, as_of=as_of)
    is_payers_only = pl.col("tenure_band").is_in([BEFORE, NO_CONTACT])
    is_all = pl.col("tenure_band") == ALL
    of_all = (
        pl.when(is_all).then(f"{measure}_note").otherwise(pl.lit(_OF_ALL)).alias(f"{measure}_note")
        for measure in ("first_earning_median_days", "earning_value")
    )
    return (
        counted.join(sums, on=_CELL, how="left")
        .with_columns(
            pl.col("amount").fill_null(0).cast(MONEY),
            pl.col("earners", "earnings").fill_null(0),
            pl.when(is_payers_only).then(pl.lit(_PAYERS_ONLY)).alias("amount_per_person_note"),
        )
        .with_columns(
            pl.when(~is_payers_only)
            .then(pl.col("amount").cast(pl.Float64) / pl.col("people"))
            .alias("amount_per_person"),
        )
        .join(_first_earnings(paid, relations, as_of=as_of), on=_CELL, how="left")
        .join(_values(placed), on=_CELL, how="left")
        .with_columns(of_all)
        .select(
            pl.lit(as_of).alias("as_of"), *_CELL, "people", "earners", "earnings", "amount", "amount_per_person",
            "amount_per_person_note",
            *(f"first_earning_median_days{end}" for end in ("", "_low", "_high", "_n", "_note")),
            *(f"first_earning_share_365d{end}" for end in ("", "_low", "_high")),
            *(f"earning_value{end}" for end in ("", "_low", "_high", "_n", "_note")),
            *(f"gamma_gamma_{name}" for name in "pqv"),
        )
        .sort(_CELL)
    )  # fmt: skip


def visible_earnings(fct_earning: pl.LazyFrame, dim_identity: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """What was paid by the end of `as_of` and is left after refunds: `account_id, person_id, currency, day, amount`.

    Whoever paid without being an identity is a person of their own. What was given back wholly is no earning.
    """
    is_back = pl.col("refunded_at").is_null() | (pl.col("refunded_at") < cutoff(as_of))
    refunded = pl.when(is_back).then("refunded_amount").otherwise(pl.lit(0, MONEY))
    identities = dim_identity.select("identity_id", "person_id")
    return (
        fct_earning.filter(pl.col("earned_at") < end_of(as_of))
        .join(identities, on="identity_id", how="left")
        .select(
            "account_id",
            pl.coalesce("person_id", "identity_id").alias("person_id"),
            "currency",
            pl.col("earned_at").dt.date().cast(pl.Int64).alias("day"),
            (pl.col("amount") - refunded).alias("amount"),
        )
        .filter(pl.col("amount") > 0)
    )


def _relations(mart_relationship: pl.LazyFrame) -> pl.LazyFrame:
    """Everybody with a relationship: `first_day` (null where the start is unknown) and `stratum`."""
    first_day = pl.col("first_at").dt.date().cast(pl.Int64)
    return mart_relationship.select(
        *_TIE,
        pl.when(pl.col("cohort_month").is_not_null()).then(first_day).alias("first_day"),
        pl.when("is_spike_won")
        .then(pl.lit("spike"))
        .when(~pl.col("is_spike_won"))
        .then(pl.lit("steady"))
        .otherwise(pl.lit(UNKNOWN))
        .alias("stratum"),
        pl.lit(value=True).alias("is_related"),
    )


def _placed(paid: pl.LazyFrame, relations: pl.LazyFrame) -> pl.LazyFrame:
    """Each earning with the band and stratum of who paid it."""
    tenure = pl.col("day") - pl.col("first_day")
    band = pl.coalesce(
        pl.when(tenure < 0).then(pl.lit(BEFORE)),
        *(pl.when(tenure >= start).then(pl.lit(name)) for name, start in reversed(BANDS.items())),
        pl.when("is_related").then(pl.lit(UNKNOWN_START)),
        pl.lit(NO_CONTACT),
    )
    return paid.join(relations, on=_TIE, how="left").select(
        *_TIE, "currency", "amount", band.alias("tenure_band"), pl.col("stratum").fill_null(UNKNOWN)
    )


def _with_all(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The rows once more in band `all`, and all of these once more in stratum `all`."""
    banded = pl.concat([frame, frame.with_columns(pl.lit(ALL).alias("tenure_band"))])
    return pl.concat([banded, banded.with_columns(pl.lit(ALL).alias("stratum"))])


def _people(relations: pl.LazyFrame, sums: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """How many people have been in each cell: `_CELL` and `people`, for every currency of the account."""
    tenure = day_number(as_of) - pl.col("first_day")
    held = pl.concat(
        [
            *(
                relations.filter(tenure >= start).with_columns(tenure_band=pl.lit(band))
                for band, start in BANDS.items()
            ),
            relations.filter(pl.col("first_day").is_null()).with_columns(tenure_band=pl.lit(UNKNOWN_START)),
            relations.with_columns(tenure_band=pl.lit(ALL)),
        ]
    )
    both = pl.concat([held, held.with_columns(pl.lit(ALL).alias("stratum"))])
    counts = both.group_by("account_id", "tenure_band", "stratum").agg(pl.len().cast(pl.Int64).alias("related"))
    currencies = sums.select("account_id", "currency").unique()
    alone = sums.filter(pl.col("tenure_band").is_in([BEFORE, NO_CONTACT])).select(
        *_CELL, pl.col("earners").alias("people")
    )
    strangers = sums.filter(pl.col("tenure_band") == NO_CONTACT).select(
        *_GROUP, pl.lit(ALL).alias("tenure_band"), pl.col("earners").alias("strangers")
    )
    return pl.concat(
        [
            counts.join(currencies, on="account_id", how="inner")
            .join(strangers, on=_CELL, how="full", coalesce=True)
            .select(*_CELL, (pl.col("related").fill_null(0) + pl.col("strangers").fill_null(0)).alias("people")),
            alone,
        ]
    )


def _first_earnings(paid: pl.LazyFrame, relations: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """After how many days did people first pay? Of band `all`: the median, and the share within a year."""
    first = paid.group_by(*_TIE, "currency").agg(pl.col("day").min().alias("paid_day"))
    currencies = paid.select("account_id", "currency").unique()
    waited = pl.coalesce("paid_day", pl.lit(day_number(as_of))) - pl.col("first_day")
    each = (
        relations.filter(pl.col("first_day").is_not_null())
        .join(currencies, on="account_id", how="inner")
        .join(first, on=[*_TIE, "currency"], how="left")
        .select(*_GROUP, waited.alias("duration"), pl.col("paid_day").is_not_null().alias("is_observed"))
        .filter(pl.col("duration") >= 0)
    )
    lifetimes = collected(
        pl.concat([each, each.with_columns(pl.lit(ALL).alias("stratum"))]).select(each.collect_schema().names())
    )
    groups = lifetimes.group_by(_GROUP).agg(
        pl.len().cast(pl.Int64).alias("first_earning_median_days_n"), pl.col("duration").max().alias("longest")
    )
    curve = collected(curves(lifetimes, by=_GROUP))
    median = quantile(curve, by=_GROUP, share=0.5, name="first_earning_median_days")
    within = (
        curve.filter(pl.col("time") <= _YEAR)
        .sort("time")
        .group_by(_GROUP, maintain_order=True)
        .agg(pl.col("survival", "survival_low", "survival_high").last())
    )
    enough = pl.col("first_earning_median_days_n") >= MINIMUM_PEOPLE
    is_year = enough & ((pl.col("longest") >= _YEAR) | (pl.col("survival") == 0))
    note = (
        pl.when(~enough)
        .then(pl.lit(f"fewer than {MINIMUM_PEOPLE} people whose start is known"))
        .when(pl.col("first_earning_median_days").is_null())
        .then(pl.lit("fewer than half have paid so far"))
    )
    return (
        groups.join(median, on=_GROUP, how="left")
        .join(within, on=_GROUP, how="left")
        .select(
            *_GROUP,
            pl.lit(ALL).alias("tenure_band"),
            *(
                pl.when(enough).then(f"first_earning_median_days{end}").cast(pl.Float64).alias(f"first_earning_median_days{end}")
                for end in ("", "_low", "_high")
            ),
            "first_earning_median_days_n",
            note.alias("first_earning_median_days_note"),
            *(
                pl.when(is_year).then(1 - pl.col(column)).alias(f"first_earning_share_365d{end}")
                for end, column in (("", "survival"), ("_low", "survival_high"), ("_high", "survival_low"))
            ),
        )
    )  # fmt: skip


def _values(placed: pl.LazyFrame) -> pl.LazyFrame:
    """What is a payment worth? Of band `all`: the Gamma-Gamma model of each account, stratum and currency."""
    mean = (pl.col("amount").cast(pl.Float64) / pl.col("x")).alias("m")
    payers = (
        placed.filter(pl.col("tenure_band") == ALL)
        .group_by(*_GROUP, "person_id")
        .agg(pl.col("amount").sum(), pl.len().cast(pl.Int64).alias("x"))
        .group_by(*_GROUP, "x", "amount")
        .agg(pl.len().cast(pl.Int64).alias("people"))
        .with_columns(mean)
        .sort(*_GROUP, "x", "amount")
        .collect()
    )
    return pl.LazyFrame(list(_fits(payers)), schema=_FITTED, orient="row")


_FITTED = (
    dict.fromkeys(_CELL, pl.String)
    | dict.fromkeys(("earning_value", "earning_value_low", "earning_value_high"), pl.Float64)
    | {"earning_value_n": pl.Int64, "earning_value_note": pl.String}
    | {f"gamma_gamma_{name}": pl.Float64 for name in "pqv"}
)


def _fits(payers: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """One row of `_FITTED` for each group of payers."""
    for key, group in payers.group_by(_GROUP, maintain_order=True):
        account, stratum, currency = key
        people = int(group["people"].sum())
        repeaters = int(group.filter(pl.col("x") > 1)["people"].sum())
        cell = (account, ALL, stratum, currency)
        if people < MINIMUM_PEOPLE or repeaters < MINIMUM_REPEATERS:
            why = f"fewer than {MINIMUM_PEOPLE} people who paid, or than {MINIMUM_REPEATERS} who paid twice"
            yield (*cell, None, None, None, people, why, None, None, None)
            continue
        model = gamma_gamma.fit(group["x"].to_numpy(), group["m"].to_numpy(), group["people"].to_numpy())
        if not (model.is_interior and isfinite(model.mean)):
            why = "payments of a person hardly vary, or people hardly differ, or a few differ without bound: no finite fit"
            yield (*cell, None, None, None, people, why, None, None, None)
            continue
        yield (*cell, model.mean, *model.mean_interval, people, None, model.p, model.q, model.v)
