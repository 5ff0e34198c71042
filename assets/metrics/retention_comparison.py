"""Do people won in a spike stay? Arms of an account's people, compared on the time to lapse.

Who came in which way is not drawn by lot: differences are associations, not effects of it.
"""

from datetime import date

import narwhals as nw
import polars as pl

from assets.metrics.coverage import ALL, spans_read
from assets.metrics.intervals import wilson
from assets.metrics.normal import Z95
from assets.metrics.people import (
    MINIMUM_COVERAGE,
    collected,
    last_complete,
    patchy_periods,
    week_of,
)
from assets.metrics.retention_curve import Followed, followed, strata
from assets.metrics.survival import curves, log_ranks, restricted_means

LEAST_PEOPLE = 30
LEAST_LAPSES = 10
RMST_DAYS = 180
"""The restricted mean counts up to so many days after the lapse threshold."""
AFTER_PEAK_WEEKS = 8

_COMPARISON = ("account_id", "comparison")
_ARM = (*_COMPARISON, "arm")
_PATCHY = "less than 90 % of the days since known first contacts were collected"
_INSUFFICIENT = f"insufficient: fewer than {LEAST_PEOPLE} people or {LEAST_LAPSES} lapses in an arm"


def newcombe(
    successes_a: pl.Expr, n_a: pl.Expr, successes_b: pl.Expr, n_b: pl.Expr
) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """How sure is a difference of two shares? a - b and its 95 % interval by Newcombe's hybrid score method.

    The Wilson intervals of both shares are put together, so the ends stay within -1 and 1. Null where an arm is empty.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10; its first example:

    >>> a = pl.DataFrame({"a": [56], "m": [70], "b": [48], "n": [80]})
    >>> a.select(x.round(4).alias(str(i)) for i, x in enumerate(newcombe(*map(pl.col, "ambn")))).row(0)
    (0.2, 0.0524, 0.3339)
    """
    a, b = successes_a / n_a, successes_b / n_b
    (a_low, a_high), (b_low, b_high) = wilson(successes_a, n_a), wilson(successes_b, n_b)
    low = (a - b) - ((a - a_low) ** 2 + (b_high - b) ** 2).sqrt()
    high = (a - b) + ((a_high - a) ** 2 + (b - b_low) ** 2).sqrt()
    return (a - b).fill_nan(None), low.clip(-1, 1).fill_nan(None), high.clip(-1, 1).fill_nan(None)


def arms(lives: pl.LazyFrame) -> pl.LazyFrame:
    """Who is compared with whom? `lives` of `strata`, once for each comparison: with `comparison` and `arm`, a or b.

    `spike vs steady` for every account; `channels:1 vs channels:2+`, and `platform:x vs platform:y` for each pair of
    platforms of first contact, a the first by name, where an account has both.
    """
    stratum = pl.col("stratum")
    spike = lives.filter(stratum.is_in(["spike", "steady"])).with_columns(
        pl.lit("spike vs steady").alias("comparison"),
        pl.when(stratum == "spike").then(pl.lit("a")).otherwise(pl.lit("b")).alias("arm"),
    )
    channels = lives.filter(stratum.str.starts_with("channels:")).with_columns(
        pl.lit("channels:1 vs channels:2+").alias("comparison"),
        pl.when(stratum == "channels:1").then(pl.lit("a")).otherwise(pl.lit("b")).alias("arm"),
    )
    platforms = lives.filter(stratum.str.starts_with("platform:"))
    names = collected(platforms.select("account_id", "stratum").unique())
    pairs = (
        names.join(names, on="account_id", suffix="_b")
        .filter(stratum < pl.col("stratum_b"))
        .with_columns(pl.format("{} vs {}", "stratum", "stratum_b").alias("comparison"))
    )
    sides = pl.concat([
        pairs.select(*_COMPARISON, "stratum", pl.lit("a").alias("arm")),
        pairs.select(*_COMPARISON, pl.col("stratum_b").alias("stratum"), pl.lit("b").alias("arm")),
    ])  # fmt: skip
    each = platforms.join(sides, on=["account_id", "stratum"], how="inner")
    both = pl.col("arm").n_unique() == 2
    has_channels = channels.group_by("account_id").agg(both.alias("_both")).filter("_both")
    columns = ("person_id", *_ARM, "duration", "is_observed", "followed", "is_back")
    return pl.concat([
        frame.select(columns) for frame in (spike, channels.join(has_channels, on="account_id", how="semi"), each)
    ])  # fmt: skip


def counts(arms: pl.LazyFrame) -> pl.LazyFrame:
    """How many people, lapses and people followed to the eighth week does each arm have? One row a comparison.

    `account_id, comparison` and, for each arm, `people_, lapsed_, seen_8w_, back_8w_` with its letter.
    """
    figures = {
        "people": pl.lit(value=True),
        "lapsed": pl.col("is_observed"),
        "seen_8w": pl.col("is_back").is_not_null(),
        "back_8w": pl.col("is_back"),
    }
    return arms.group_by(_COMPARISON).agg(
        (is_counted & (pl.col("arm") == arm)).sum().cast(pl.Int64).alias(f"{name}_{arm}")
        for arm in "ab"
        for name, is_counted in figures.items()
    )


def hockey_stick(first_days: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """How much of the peak was left? New people in the best week / median of the next 8.

    `first_days` has `account_id, first_day`, one row a person. One row for each account with a complete week that had
    somebody new: `account_id, hockey_stick_index, hockey_stick_index_note`. Weeks are complete UTC Monday weeks, the
    earliest of equally good ones is the peak; weeks without anybody new count as 0. Null, with a note, where the eight
    weeks are not over, one of the nine was not collected (90 % of its days), or the median is 0.
    """
    last = last_complete(as_of, "week")
    weeks = collected(
        first_days.select("account_id", week_of(pl.col("first_day")).alias("week"))
        .filter(pl.col("week") <= last)
        .group_by("account_id", "week")
        .agg(pl.len().cast(pl.Int64).alias("new"))
    )
    peaks = (
        weeks.sort("account_id", pl.col("new"), "week", descending=[False, True, False])
        .group_by("account_id", maintain_order=True)
        .agg(pl.col("week").first().alias("peak"), pl.col("new").first().alias("most"))
    )
    unknown = patchy_periods(fct_collection_span, as_of=as_of, period="week").filter(
        pl.col("platform") == ALL, pl.col("coverage_share") < MINIMUM_COVERAGE
    )
    offset = pl.lit(list(range(AFTER_PEAK_WEEKS + 1)), dtype=pl.List(pl.Int64)).alias("offset")
    around = (
        peaks.with_columns(offset)
        .explode("offset")
        .with_columns((pl.col("peak") + pl.col("offset")).alias("week"))
        .join(weeks, on=["account_id", "week"], how="left")
        .join(
            unknown.select("account_id", pl.col("period").alias("week"), pl.lit(value=True).alias("is_unknown")),
            on=["account_id", "week"],
            how="left",
        )
        .group_by("account_id")
        .agg(
            pl.col("peak").first(),
            pl.col("most").first(),
            pl.col("new").fill_null(0).filter(pl.col("offset") > 0).median().alias("usual"),
            pl.col("is_unknown").is_not_null().any(),
        )
    )
    note = (
        pl.when(pl.col("peak") + AFTER_PEAK_WEEKS > last)
        .then(pl.lit(f"the {AFTER_PEAK_WEEKS} weeks after the peak are not over"))
        .when("is_unknown")
        .then(pl.lit("one of the weeks was not collected"))
        .when(pl.col("usual") <= 0)
        .then(pl.lit(f"nobody new in most of the {AFTER_PEAK_WEEKS} weeks after the peak"))
        .alias("hockey_stick_index_note")
    )
    return around.with_columns(note).select(
        "account_id",
        pl.when(pl.col("hockey_stick_index_note").is_null())
        .then(pl.col("most") / pl.col("usual"))
        .alias("hockey_stick_index"),
        "hockey_stick_index_note",
    )


def comparison(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    mart_spike: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """Do people won in a spike stay as long? `mart_retention_test`: arms (`arms`) by log-rank, RMST and return.

    `spike vs steady` is there for every account with inbound collected. `chi2` and `p_value` are of the log-rank test;
    `rmst_difference_days` is the difference (a - b) of the mean days to lapse, counted up to `lapse_days` + 180, null
    where an arm was not followed so far; `retained_8w_difference` that of the shares active in weeks 5 to 8 after first
    contact (channels: after its 90th day, when the arm is known) among those followed for 8 weeks, with Newcombe's
    interval. Null with fewer than 30 people or 10 lapses in an arm, for the last also with fewer than 30 so followed.
    `hockey_stick_index` (`hockey_stick`), `lapse_days` and `lapse_risk` (`lapse.thresholds`) are the account's, on each
    of its rows. Below 90 % of the days collected everything measured is null.
    """
    seen = followed(
        fold_relationship_day, dim_identity, dim_post, dim_profile, mart_spike, fct_collection_span, as_of=as_of
    )
    fct_collection_span = spans_read(fct_collection_span)
    people = collected(seen.names.named(seen.people))
    lives = collected(arms(strata(nw.from_native(people)).to_native()))
    sizes = _sized(seen, counts(lives))
    enough = sizes.filter(pl.col("is_enough")).select(*_COMPARISON, "lapse_days")
    compared = collected(lives.join(enough, on=_COMPARISON, how="inner"))
    rows = (
        sizes.join(
            log_ranks(compared.with_columns(pl.col("arm") == "a"), by=_COMPARISON, arm="arm"),
            on=_COMPARISON,
            how="left",
        )
        .join(_rmst_differences(compared), on=_COMPARISON, how="left")
        .join(
            hockey_stick(people.select("account_id", "first_day"), fct_collection_span, as_of=as_of),
            on="account_id",
            how="left",
        )
    )
    return _published(rows, as_of=as_of)


def _sized(seen: Followed, sizes: pl.LazyFrame) -> pl.LazyFrame:
    """One row a comparison, `spike vs steady` for every account: counts, threshold and whether it can be judged."""
    always = seen.accounts.select("account_id", pl.lit("spike vs steady").alias("comparison"))
    least_people = pl.min_horizontal("people_a", "people_b") >= LEAST_PEOPLE
    least_lapses = pl.min_horizontal("lapsed_a", "lapsed_b") >= LEAST_LAPSES
    is_covered = (pl.col("coverage_share") >= MINIMUM_COVERAGE).fill_null(value=False)
    return collected(
        sizes.join(always, on=_COMPARISON, how="full", coalesce=True)
        .with_columns(pl.exclude(_COMPARISON).fill_null(0))
        .join(seen.accounts, on="account_id", how="inner")
        .with_columns(is_covered.alias("is_covered"))
        .with_columns((least_people & least_lapses & pl.col("is_covered")).alias("is_enough"))
    )


def _rmst_differences(compared: pl.LazyFrame) -> pl.LazyFrame:
    """The difference of the arms' restricted means, a - b: `account_id, comparison, rmst_difference_days, rmst_error`.

    Without rows for comparisons with an arm in which nobody's first contact is as long ago as the limit: that everybody
    has lapsed since would be known, but it is a short history that speaks.
    """
    limit = pl.col("lapse_days").first().cast(pl.Float64) + RMST_DAYS
    limits = compared.group_by(_ARM).agg(limit.alias("limit"), pl.col("followed").max())
    steps = curves(compared, by=_ARM).join(limits.filter(pl.col("followed") >= pl.col("limit")), on=_ARM, how="inner")
    means = collected(restricted_means(steps, by=_ARM).select(*_ARM, "rmst", "standard_error"))
    a, b = (means.filter(pl.col("arm") == arm) for arm in "ab")
    variance = (pl.col("standard_error") ** 2 + pl.col("standard_error_b") ** 2).round(12)
    return a.join(b, on=_COMPARISON, how="inner", suffix="_b").select(
        *_COMPARISON,
        (pl.col("rmst") - pl.col("rmst_b")).round(9).alias("rmst_difference_days"),
        # Without any spread (everybody gone on one day) the error is unknown, not nothing.
        pl.when(variance > 0).then(variance.sqrt()).alias("rmst_error"),
    )


def _published(rows: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    is_enough, is_covered = pl.col("is_enough"), pl.col("is_covered")
    least_seen = pl.min_horizontal("seen_8w_a", "seen_8w_b") >= LEAST_PEOPLE
    retained = newcombe(*(pl.col(name) for name in ("back_8w_a", "seen_8w_a", "back_8w_b", "seen_8w_b")))
    retained_8w = [pl.when(is_enough & least_seen).then(value) for value in retained]
    difference, half = pl.col("rmst_difference_days"), Z95 * pl.col("rmst_error")
    insufficient = pl.when(~is_covered).then(pl.lit(_PATCHY)).when(~is_enough).then(pl.lit(_INSUFFICIENT))
    patchy_or = pl.when(~is_covered).then(pl.lit(_PATCHY))
    return rows.select(
        pl.lit(as_of).alias("as_of"),
        *_COMPARISON,
        "people_a",
        "people_b",
        *(pl.when(is_covered).then(name).alias(name) for name in ("lapsed_a", "lapsed_b")),
        "chi2",
        "p_value",
        insufficient.when(pl.col("chi2").is_null())
        .then(pl.lit("no lapse while people of both arms were there"))
        .alias("chi2_note"),
        difference,
        (difference - half).alias("rmst_difference_days_low"),
        (difference + half).alias("rmst_difference_days_high"),
        insufficient.when(difference.is_null())
        .then(pl.lit(f"an arm was not followed for lapse_days + {RMST_DAYS} days"))
        .alias("rmst_difference_days_note"),
        retained_8w[0].alias("retained_8w_difference"),
        retained_8w[1].alias("retained_8w_difference_low"),
        retained_8w[2].alias("retained_8w_difference_high"),
        insufficient.when(~least_seen)
        .then(pl.lit(f"insufficient: fewer than {LEAST_PEOPLE} people of an arm were followed to the end of week 8"))
        .alias("retained_8w_difference_note"),
        *(pl.when(is_covered).then(name).alias(name) for name in ("lapse_days", "lapse_risk")),
        patchy_or.when(pl.col("lapse_days").is_null())
        .then(pl.lit("nobody whose first contact is known"))
        .otherwise("lapse_risk_note")
        .alias("lapse_risk_note"),
        pl.when(is_covered).then("hockey_stick_index").alias("hockey_stick_index"),
        patchy_or.when(pl.col("hockey_stick_index").is_null() & pl.col("hockey_stick_index_note").is_null())
        .then(pl.lit("no complete week with new people"))
        .otherwise("hockey_stick_index_note")
        .alias("hockey_stick_index_note"),
        "coverage_share",
    ).sort(_COMPARISON)
