"""Is a relationship alive? The models of each account's people, and whether they would have been right.

Histories (x, t_x, n) are counted, the fits are `assets.metrics.bgbb` and `assets.metrics.bgnbd`, the judgement is
`assets.metrics.calibration`. What follows for a single person is `assets.metrics.expectation`'s business.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.metrics.bgbb import fit_bgbb
from assets.metrics.bgnbd import fit_bgnbd, fit_mbgnbd
from assets.metrics.calibration import Calibration, calibrate, hiatus_heuristic
from assets.metrics.coverage import ALL
from assets.metrics.engines import beside, kept
from assets.metrics.intervals import Z95
from assets.metrics.maximum_likelihood import RetentionModel
from assets.metrics.opportunity_weeks import opportunity_weeks, weeks_of
from assets.metrics.people import (
    active_days_together,
    beginnings,
    collected,
    known_contacts,
    known_people,
    period_number,
)
from assets.metrics.processes import helpers, on_all_cores

HIDDEN_WEEKS = 4
MINIMUM_PEOPLE = 200
MINIMUM_REPEATERS = 30
MODELS: dict[str, Callable[..., RetentionModel]] = {"bgbb": fit_bgbb, "bgnbd": fit_bgnbd, "mbgnbd": fit_mbgnbd}
PARAMETERS = ("alpha", "beta", "gamma", "delta", "r", "a", "b")
POOLED = 0
"""The number of the fit over all accounts; the accounts' own are numbered from 1."""

_WIDEST = 50.0
"""Of the logarithm of a parameter: wider than this, an interval says nothing but its own width."""

_TIE = ("account_id", "person_id")
_HISTORY = ("repeat_weeks", "last_week", "opportunity_weeks")
_TOO_FEW = f"fewer than {MINIMUM_PEOPLE} people, or fewer than {MINIMUM_REPEATERS} who came back"
_POOLED = f"from all accounts together: the account alone has {_TOO_FEW}"
_NONE = f"{_TOO_FEW}, also over all accounts together"
_NOT_JUDGED = f"not calibrated: {_TOO_FEW} before the last {HIDDEN_WEEKS} weeks"
_WITHDRAWN = "withdrawn: the rule of thumb (how many with such a silence came back) forecasts better"
_NO_MAXIMUM = "the likelihood has no maximum"
_AT_BOUND = "at a bound of the search, so known only as an end: "


_MEASURES = (
    "brier",
    "brier_base",
    "brier_heuristic",
    "brier_difference",
    "brier_difference_low",
    "brier_difference_high",
    "calibration_error",
)
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
    **{name: pl.Float64() for name in _MEASURES},
    "is_withdrawn": pl.Boolean(),
    "note": pl.String(),
}


@dataclass(frozen=True)
class Histories:
    """Distinct histories of the people of one fit: x, t_x, n, and how many people have each."""

    x: NDArray[np.int64]
    t_x: NDArray[np.int64]
    n: NDArray[np.int64]
    people: NDArray[np.int64]

    @property
    def is_enough(self) -> bool:
        """Whether a fit may rest on them: 200 people, 30 of whom came back."""
        return bool(self.people.sum() >= MINIMUM_PEOPLE and self.people[self.x > 0].sum() >= MINIMUM_REPEATERS)


@dataclass(frozen=True)
class Holdout:
    """People before the hidden weeks, whether they came back within them, and what was seen of silences until then."""

    before: Histories
    returned: NDArray[np.int64]
    cluster: NDArray[np.intp] | None
    heuristic: NDArray[np.float64]


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
    fct_collection_span = collected(fct_collection_span)
    people = known_people(fold_relationship_day, dim_identity, as_of=as_of)
    begun = collected(
        beginnings(dim_post, dim_profile, fct_collection_span, as_of=as_of).filter(pl.col("platform") == ALL)
    )
    every = kept(active_days_together(people))
    known = known_contacts(every, beside(begun, every)).select(*_TIE)
    days = collected(every.join(known, on=list(_TIE), how="semi"))
    opportunities = collected(opportunity_weeks(people, dim_post, fct_collection_span, as_of=as_of))
    return models(begun.select("account_id"), days, opportunities, as_of=as_of)


def models(accounts: pl.LazyFrame, days: pl.LazyFrame, opportunities: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """The mart from active days of known people and numbered opportunity weeks: `account_id` has every account.

    `days` has `account_id, person_id, day` (and `month`), `opportunities` what `opportunity_weeks` gives.
    """
    histories = collected(weeks_of(nw.from_native(days), nw.from_native(opportunities)).to_native())
    own = (
        histories.group_by("account_id")
        .agg(pl.len().alias("people"), (pl.col("repeat_weeks") > 0).sum().alias("repeaters"))
        .filter(pl.col("people") >= MINIMUM_PEOPLE, pl.col("repeaters") >= MINIMUM_REPEATERS)
        .sort("account_id")
        .select("account_id", pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("fit"))
        .collect()
        .lazy()
    )
    workers = helpers(_row, len(MODELS) * (1 + own.select(pl.len()).collect().item()))
    fitted = dict(_histories_by_fit(histories, own))
    held = dict(holdouts(days, opportunities, own))
    of_accounts = (
        accounts.join(own, on="account_id", how="left").with_columns(pl.col("fit").fill_null(POOLED)).collect()
    )
    nobody = Histories(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    jobs = [
        _Job(model, fitted.get(fit, nobody), held.get(fit), fit)
        for fit in sorted(set(of_accounts["fit"]))
        for model in MODELS
    ]
    rows = on_all_cores(_row, jobs, workers=workers)
    judged = pl.LazyFrame(rows, schema=_SCHEMA)
    return (
        of_accounts.lazy()
        .join(judged, on="fit")
        .drop("fit")
        .with_columns(pl.lit(as_of).alias("as_of"))
        .sort("account_id", "model")
    )


class _Job(NamedTuple):
    """What one row of the mart is made of."""

    model: str
    histories: Histories
    held: Holdout | None
    fit: int


def _row(job: _Job) -> dict[str, Any]:
    """One row of the mart, without account and date: the fit, its calibration, and what to say about them."""
    model, histories, held, fit = job
    row: dict[str, Any] = {
        "fit": fit,
        "model": model,
        "is_pooled": fit == POOLED,
        "people": int(histories.people.sum()),
        "repeat_people": int(histories.people[histories.x > 0].sum()),
        "is_withdrawn": False,
    }
    if not histories.is_enough:
        return row | {"note": _NONE}
    fitted = _fit(model, histories)
    if not fitted.is_converged:
        return row | {"note": _NO_MAXIMUM}
    judged = judge(model, held, near=fitted) if held is not None and held.before.is_enough else None
    notes = [_POOLED] if fit == POOLED else []
    if judged is not None:
        row |= {
            "brier_n": judged.people,
            "brier": judged.brier,
            "brier_base": judged.brier_base,
            "brier_heuristic": judged.brier_heuristic,
            "brier_difference": judged.difference,
            "brier_difference_low": judged.difference_low,
            "brier_difference_high": judged.difference_high,
            "calibration_error": judged.calibration_error,
            "is_withdrawn": judged.is_worse,
        }
        row |= {name: None if np.isnan(row[name]) else round(row[name], 12) for name in _MEASURES}
        if judged.is_worse:
            return row | {"note": "; ".join([*notes, _WITHDRAWN])}
    else:
        notes.append(_NOT_JUDGED)
    if fitted.at_bound:
        row["at_bound"] = ", ".join(fitted.at_bound)
        notes.append(f"{_AT_BOUND}{row['at_bound']}")
    return row | row_of_fit(fitted) | {"note": "; ".join(notes) or None}


def _fit(model: str, histories: Histories, *, near: RetentionModel | None = None) -> RetentionModel:
    return MODELS[model](histories.x, histories.t_x, histories.n, weights=histories.people, near=near)


def judge(model: str, held: Holdout, *, near: RetentionModel | None = None) -> Calibration | None:
    """Would the model have been right? Fitted to what was before the hidden weeks, held against what came in them.

    `near`, the fit to all weeks, is where the search starts, not what it finds.
    """
    fitted = _fit(model, held.before, near=near)
    if not fitted.is_converged:
        return None
    back = 1 - fitted.p_silent(held.before.x, held.before.t_x, held.before.n, HIDDEN_WEEKS)
    return calibrate(back, held.heuristic, held.returned, held.before.people, held.cluster)


def row_of_fit(fitted: RetentionModel) -> dict[str, Any]:
    """Parameters with their intervals on the log scale, and the covariance of their logarithms as text (nan: at a bound).

    A parameter at a bound has no interval, nor one that the data leave open.
    """
    found: dict[str, Any] = {"log_likelihood": fitted.log_likelihood}
    for name, value in fitted.parameters.items():
        found[name] = value
        width = Z95 * fitted.standard_errors[name] / value
        if width < _WIDEST:
            factor = np.exp(width)
            found |= {f"{name}_low": value / factor, f"{name}_high": value * factor}
    if np.isfinite(fitted.covariance).any():
        found["log_covariance"] = " ".join(f"{value:.12g}" for value in fitted.covariance.ravel())
    return found


def _histories_by_fit(histories: pl.LazyFrame, own: pl.LazyFrame) -> Iterator[tuple[int, Histories]]:
    """The histogram of each account with a fit of its own, and that of all accounts together."""
    counted = _by_fit(histories, own).group_by("fit", *_HISTORY).agg(pl.len().cast(pl.Int64).alias("people"))
    for fit, rows in _parts(counted.sort("fit", *_HISTORY)):
        yield fit, Histories(*(rows[name].to_numpy() for name in (*_HISTORY, "people")))


def _by_fit(frame: pl.LazyFrame, own: pl.LazyFrame) -> pl.LazyFrame:
    """Every row as one of all accounts, and again as one of its account where that has a fit of its own."""
    pooled = frame.with_columns(pl.lit(POOLED, dtype=pl.Int64).alias("fit"))
    return pl.concat([pooled, frame.join(own, on="account_id", how="inner")])


def _parts(frame: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    for (fit,), rows in frame.collect().partition_by("fit", as_dict=True, maintain_order=True).items():
        yield int(fit), rows


def holdouts(days: pl.LazyFrame, opportunities: pl.LazyFrame, own: pl.LazyFrame) -> Iterator[tuple[int, Holdout]]:
    """What was known before the last 4 opportunity weeks of each account, and what came within them."""
    until = pl.col("weeks") - HIDDEN_WEEKS
    seen = collected(opportunities.filter(pl.col("number") < until).with_columns(until.alias("weeks")))
    hidden = opportunities.filter(pl.col("number") >= until).select("account_id", "week")
    week = period_number("week").alias("week")
    weeks = collected(nw.from_native(days).select(*_TIE, week).unique().to_native())
    back = weeks.join(hidden, on=["account_id", "week"], how="semi").select(_TIE).unique()
    before = (
        weeks_of(nw.from_native(days), nw.from_native(seen))
        .to_native()
        .join(back.with_columns(pl.lit(1, dtype=pl.Int64).alias("returned")), on=list(_TIE), how="left")
        .with_columns(pl.col("returned").fill_null(0))
    )
    # People of one account share its weeks: only accounts are independent of each other.
    counted = (
        _by_fit(before, own)
        .group_by("fit", "account_id", *_HISTORY, "returned")
        .agg(pl.len().cast(pl.Int64).alias("people"))
        .sort("fit", "account_id", *_HISTORY, "returned")
    )
    by_silence = dict(_parts(silences(weeks, seen, own)))
    for fit, rows in _parts(counted):
        x, t_x, n, returned, people = (rows[name].to_numpy() for name in (*_HISTORY, "returned", "people"))
        known = by_silence.get(fit, _NO_SILENCES)
        since, is_repeat, at_risk, came = (known[name].to_numpy() for name in _NO_SILENCES.columns)
        forecast = hiatus_heuristic(n - t_x, x > 0, since, is_repeat, at_risk.astype(float), came.astype(float))
        account = rows["account_id"].rle_id().to_numpy().astype(np.intp)
        yield fit, Holdout(Histories(x, t_x, n, people), returned, account if fit == POOLED else None, forecast)


_NO_SILENCES = pl.DataFrame(schema={"since": pl.Int64, "is_repeat": pl.Boolean, "at_risk": pl.Int64, "came": pl.Int64})


def silences(weeks: pl.LazyFrame, seen: pl.LazyFrame, own: pl.LazyFrame) -> pl.LazyFrame:
    """How many, silent for so long, came within the next 4 weeks? `fit, since, is_repeat, at_risk, came`.

    Counted at the end of every opportunity week whose next 4 were seen. From one active week to the next nothing
    happens, so each such stretch adds one to the silences of 0, 1, 2, ... weeks: no row a person and week is made.
    """
    number, following = pl.col("number"), pl.col("number").shift(-1).over(_TIE)
    stretches = (
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
    each = (
        _by_fit(stretches, own)
        .group_by("fit", "is_repeat", "gap", "length")
        .agg(pl.len().cast(pl.Int64).alias("people"))
    )
    is_back = (pl.col("gap") - pl.col("since") <= HIDDEN_WEEKS).fill_null(value=False)
    return (
        each.with_columns(pl.int_ranges("length").alias("since"))
        .explode("since")
        .group_by("fit", "since", "is_repeat")
        .agg(pl.col("people").sum().alias("at_risk"), pl.col("people").filter(is_back).sum().alias("came"))
        .sort("fit", "is_repeat", "since")
        .select("fit", *_NO_SILENCES.columns)
    )
