"""Is a relationship alive? The models of each account's people, and whether they would have been right.

Histories (x, t_x, n) are counted here; fitted and judged they are by `assets.metrics.retention_fit`. What follows for a single person is `assets.metrics.expectation`'s business.
"""

from collections.abc import Iterator
from datetime import date

import narwhals as nw
import numpy as np
import polars as pl

from assets.metrics.calibration import hiatus_heuristic
from assets.metrics.coverage import ALL, spans_read
from assets.metrics.engines import beside
from assets.metrics.opportunity_weeks import opportunity_weeks, weeks_of
from assets.metrics.people import (
    beginnings,
    collected,
    days_together_once,
    known_contacts,
    known_people,
    period_number,
)
from assets.metrics.processes import helpers, on_all_cores
from assets.metrics.retention_fit import (
    HIDDEN_WEEKS,
    MEASURES,
    MINIMUM_PEOPLE,
    MINIMUM_REPEATERS,
    MODELS,
    PARAMETERS,
    POOLED,
    Histories,
    Holdout,
    Job,
    row_of,
)

_TIE = ("account_id", "person_id")
_HISTORY = ("repeat_weeks", "last_week", "opportunity_weeks")
_STRETCH = ("is_repeat", "gap", "length")
_ACCOUNT, _NOW, _BEFORE, _SILENCE = "account", "now", "before", "silence"
_SCHEMA: dict[str, pl.DataType] = {
    "fit": pl.Int64(),
    "model": pl.String(),
    "is_pooled": pl.Boolean(),
    "people": pl.Int64(),
    "repeat_people": pl.Int64(),
    "log_likelihood": pl.Float64(),
    **{f"{name}{end}": pl.Float64() for name in PARAMETERS for end in ("", "_low", "_high")},
    "log_covariance": pl.String(),
    "at_bound": pl.String(),
    "brier_n": pl.Int64(),
    **{name: pl.Float64() for name in MEASURES},
    "is_withdrawn": pl.Boolean(),
    "note": pl.String(),
}


def retention_model(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """What do the models say, and are they calibrated? `mart_retention_model`: three rows an account with inbound.

    BG/BB on opportunity weeks is the one whose probabilities are published; BG/NBD and MBG/NBD, on the same weeks, are
    its check. People of unknown start are out. An account with fewer than 200 people, or fewer than 30 who came in a
    second week, has the fit over all accounts together (`is_pooled`), which must pass the same guards; else nothing.

    Calibration: the account's last 4 opportunity weeks are hidden, the model is fitted to what was before, and its
    forecast of coming back within them is held against the share who did and against the hiatus heuristic, counted on
    every earlier week whose next 4 were seen. Of a pooled fit it is that of all accounts, with intervals by account.
    A model whose Brier score is worse than the heuristic's, with the whole 95 % interval of the difference, is
    withdrawn: its parameters are null. Where what was before the hidden weeks fails the guards, it is not judged.

    Source: Fader, Hardie & Shang (2010), Marketing Science 29, 1086-1108.
    """
    counts = histories(fold_relationship_day, dim_identity, dim_post, dim_profile, fct_collection_span, as_of=as_of)
    return models(counts, as_of=as_of)


def histories(
    fold_relationship_day: pl.LazyFrame,
    dim_identity: pl.LazyFrame,
    dim_post: pl.LazyFrame,
    dim_profile: pl.LazyFrame,
    fct_collection_span: pl.LazyFrame,
    *,
    as_of: date,
) -> pl.LazyFrame:
    """What the models need to know of each account's people, counted: `counted`, of people of known start.

    An account's counts follow from its own people alone, so that accounts may be counted apart (`models` takes all).
    """
    fct_collection_span = spans_read(fct_collection_span)
    people, names = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    begun = collected(
        beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of).filter(pl.col("platform") == ALL)
    )
    every = days_together_once(people)
    known = known_contacts(every, beside(names.numbered(begun), every)).select(*_TIE)
    days = collected(every.join(known, on=list(_TIE), how="semi"))
    opportunities = opportunity_weeks(people, dim_post, fct_collection_span, as_of=as_of, names=names)
    counts = names.named(counted(names.numbered(begun.select("account_id")), days, names.numbered(opportunities)))
    nobody = begun.select("account_id", pl.lit(_ACCOUNT).alias("of")).join(counts, on="account_id", how="anti")
    return pl.concat([counts, nobody], how="diagonal_relaxed")


def counted(accounts: pl.LazyFrame, days: pl.LazyFrame, opportunities: pl.LazyFrame) -> pl.LazyFrame:
    """Histories, and what was known of them before the hidden weeks, as counts of people.

    `account_id, of, repeat_weeks, last_week, opportunity_weeks, flag, people`, the middle three x, t_x and n below. `days` has `account_id, person_id, day` (and `month`), `opportunities` what `opportunity_weeks` gives. By `of`:

    - `account`: a row for each of `accounts`, with nothing else;
    - `now`: (x, t_x, n) of people today;
    - `before`: the same before the account's last 4 opportunity weeks; `flag`: whether they came back within these;
    - `silence`: stretches from one active week to the next, `x` weeks long, of which `t_x` were seen (`stretches`); `flag`:
      whether the person had come back before.
    """
    now = _counts(weeks_of(nw.from_native(days), nw.from_native(opportunities)).to_native(), _NOW)
    until = pl.col("weeks") - HIDDEN_WEEKS
    seen = collected(opportunities.filter(pl.col("number") < until).with_columns(until.alias("weeks")))
    hidden = opportunities.filter(pl.col("number") >= until).select("account_id", "week")
    week = period_number("week").alias("week")
    weeks = collected(nw.from_native(days).select(*_TIE, week).unique().to_native())
    back = weeks.join(hidden, on=["account_id", "week"], how="semi").select(_TIE).unique()
    before = (
        weeks_of(nw.from_native(days), nw.from_native(seen))
        .to_native()
        .join(back.with_columns(pl.lit(value=True).alias("flag")), on=list(_TIE), how="left")
        .with_columns(pl.col("flag").fill_null(value=False))
    )
    silent = stretches(weeks, seen).rename({"gap": _HISTORY[0], "length": _HISTORY[1], "is_repeat": "flag"})
    every = accounts.select("account_id", pl.lit(_ACCOUNT).alias("of"))
    parts = [every, now, _counts(before, _BEFORE), _counts(silent, _SILENCE)]
    return collected(pl.concat(parts, how="diagonal_relaxed"))


def _counts(rows: pl.LazyFrame, of: str) -> pl.LazyFrame:
    by = [name for name in ("account_id", *_HISTORY, "flag") if name in rows.collect_schema()]
    return rows.group_by(by).agg(pl.len().cast(pl.Int64).alias("people")).with_columns(pl.lit(of).alias("of"))


def models(counts: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The mart from `counted` of all accounts: those with enough people have fits of their own, all together the pooled one."""
    counts = collected(counts)
    histories = counts.filter(pl.col("of") == _NOW).select("account_id", *_HISTORY, "people")
    own = (
        histories.group_by("account_id")
        .agg(pl.col("people").sum(), pl.col("people").filter(pl.col("repeat_weeks") > 0).sum().alias("repeaters"))
        .filter(pl.col("people") >= MINIMUM_PEOPLE, pl.col("repeaters") >= MINIMUM_REPEATERS)
        .sort("account_id")
        .select("account_id", pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("fit"))
        .collect()
        .lazy()
    )
    workers = helpers(row_of, len(MODELS) * (1 + own.select(pl.len()).collect().item()))
    fitted = dict(_histories_by_fit(histories, own))
    held = dict(holdouts(counts, own))
    of_accounts = (
        counts.filter(pl.col("of") == _ACCOUNT)
        .select("account_id")
        .join(own, on="account_id", how="left")
        .with_columns(pl.col("fit").fill_null(POOLED))
        .collect()
    )
    nobody = Histories(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    jobs = [
        Job(model, fitted.get(fit, nobody), held.get(fit), fit)
        for fit in sorted(set(of_accounts["fit"]))
        for model in MODELS
    ]
    rows = on_all_cores(row_of, jobs, workers=workers)
    judged = pl.LazyFrame(rows, schema=_SCHEMA)
    return (
        of_accounts.lazy()
        .join(judged, on="fit")
        .drop("fit")
        .with_columns(pl.lit(as_of).alias("as_of"))
        .sort("account_id", "model")
    )


def _histories_by_fit(histories: pl.LazyFrame, own: pl.LazyFrame) -> Iterator[tuple[int, Histories]]:
    """The histogram of each account with a fit of its own, and that of all accounts together."""
    together = _by_fit(histories, own).group_by("fit", *_HISTORY).agg(pl.col("people").sum())
    for fit, rows in _parts(together.sort("fit", *_HISTORY)):
        yield fit, Histories(*(rows[name].to_numpy() for name in (*_HISTORY, "people")))


def _by_fit(frame: pl.LazyFrame, own: pl.LazyFrame) -> pl.LazyFrame:
    """Every row as one of all accounts, and again as one of its account where that has a fit of its own."""
    pooled = frame.with_columns(pl.lit(POOLED, dtype=pl.Int64).alias("fit"))
    return pl.concat([pooled, frame.join(own, on="account_id", how="inner")])


def _parts(frame: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    for (fit,), rows in frame.collect().partition_by("fit", as_dict=True, maintain_order=True).items():
        yield int(fit), rows


def holdouts(counts: pl.LazyFrame, own: pl.LazyFrame) -> Iterator[tuple[int, Holdout]]:
    """What was known before the last 4 opportunity weeks of each account, and what came within them, from `counted`."""
    # People of one account share its weeks: only accounts are independent of each other.
    before = counts.filter(pl.col("of") == _BEFORE).select(
        "account_id", *_HISTORY, pl.col("flag").cast(pl.Int64).alias("returned"), "people"
    )
    by_silence = dict(_parts(silences(counts, own)))
    for fit, rows in _parts(_by_fit(before, own).sort("fit", "account_id", *_HISTORY, "returned")):
        x, t_x, n, returned, people = (rows[name].to_numpy() for name in (*_HISTORY, "returned", "people"))
        known = by_silence.get(fit, _NO_SILENCES)
        since, is_repeat, at_risk, came = (known[name].to_numpy() for name in _NO_SILENCES.columns)
        forecast = hiatus_heuristic(n - t_x, x > 0, since, is_repeat, at_risk.astype(float), came.astype(float))
        account = rows["account_id"].rle_id().to_numpy().astype(np.intp)
        yield fit, Holdout(Histories(x, t_x, n, people), returned, account if fit == POOLED else None, forecast)


_NO_SILENCES = pl.DataFrame(schema={"since": pl.Int64, "is_repeat": pl.Boolean, "at_risk": pl.Int64, "came": pl.Int64})


def stretches(weeks: pl.LazyFrame, seen: pl.LazyFrame) -> pl.LazyFrame:
    """From one active week of a person to the next nothing happens: `account_id, is_repeat, gap, length`.

    `gap` weeks to the next one (null: none yet), of which `length` were followed by 4 weeks that were `seen`.
    """
    number, following = pl.col("number"), pl.col("number").shift(-1).over(_TIE)
    return (
        weeks.join(seen, on=["account_id", "week"], how="inner")
        .sort(*_TIE, "number")
        .select(
            "account_id",
            (number > number.min().over(_TIE)).alias("is_repeat"),
            (following - number).alias("gap"),
            (pl.min_horizontal(following, pl.col("weeks") - HIDDEN_WEEKS) - number).alias("length"),
        )
        .filter(pl.col("length") > 0)
    )


def silences(counts: pl.LazyFrame, own: pl.LazyFrame) -> pl.LazyFrame:
    """How many, silent for so long, came within the next 4 weeks? `fit, since, is_repeat, at_risk, came`, from `counted`.

    Counted at the end of every opportunity week whose next 4 were seen. Each stretch adds one to the silences of 0, 1, 2,
    ... weeks: no row a person and week is made.
    """
    of_accounts = counts.filter(pl.col("of") == _SILENCE).select(
        "account_id",
        "people",
        *(pl.col(name).alias(meant) for name, meant in zip(("flag", *_HISTORY), _STRETCH, strict=False)),
    )
    each = _by_fit(of_accounts, own).group_by("fit", *_STRETCH).agg(pl.col("people").sum())
    is_back = (pl.col("gap") - pl.col("since") <= HIDDEN_WEEKS).fill_null(value=False)
    return (
        each.with_columns(pl.int_ranges("length").alias("since"))
        .explode("since")
        .group_by("fit", "since", "is_repeat")
        .agg(pl.col("people").sum().alias("at_risk"), pl.col("people").filter(is_back).sum().alias("came"))
        .sort("fit", "is_repeat", "since")
        .select("fit", *_NO_SILENCES.columns)
    )
