"""Is this person still there, and will they come back soon? A fitted model's answer for each history.

The fits, and whether they may be believed, are `mart_retention_model`'s; what is asked here is computed on distinct
histories only, however many people there are.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.metrics.bgbb import NAMES, BetaGeometricBetaBinomial
from assets.metrics.people import collected

PUBLISHED_MODEL = "bgbb"
HORIZONS = {"p_active_4w": 4, "p_active_13w": 13}
"""No longer horizon is published: the calibration is of 4 weeks."""

PROBABILITIES = tuple(f"{name}{end}" for name in ("p_alive", *HORIZONS) for end in ("", "_low", "_high"))
HISTORY = ("repeat_weeks", "last_week", "opportunity_weeks")
Whole = NDArray[np.int64]
_FIT = ("model", *NAMES, "log_covariance")
_NO_START = "start unknown, or first active in the running week"
_NO_MODEL = "inbound not collected, so no retention model"


def with_expectations(people: pl.LazyFrame, mart_retention_model: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """How probable is it that each relationship is alive? The rows of `people` with probabilities beside them.

    `people` has `account_id` and `repeat_weeks, last_week, opportunity_weeks` (x, t_x, n). Added are `p_alive`, the
    probability of still being there in the opportunity week after the last one, `p_active_4w` and `p_active_13w`, that
    of coming at least once in the next 4 and 13 of them (1 - L(x, t_x, n + h) / L(x, t_x, n)), each with the 95 %
    interval that follows from the uncertainty of the parameters, and `p_alive_note`. All from the BG/BB row of the
    account in `mart_retention_model` at `as_of`; null where that was withdrawn or could not be fitted, or the history
    is unknown. A parameter at a bound counts as known in the intervals.

    Source: Fader, Hardie & Shang (2010), Marketing Science 29, 1086-1108, equations (5) and (11).
    """
    fits = collected(
        mart_retention_model.filter(pl.col("model") == PUBLISHED_MODEL, pl.col("as_of") == as_of).select(
            "account_id", *_FIT, "at_bound", "note", fit=pl.struct(_FIT).rank("dense").cast(pl.Int64)
        )
    )
    known = fits.filter(pl.col(NAMES[0]).is_not_null())
    of_account = known.select("account_id", "fit")
    asked = (
        people.select("account_id", *HISTORY)
        .drop_nulls()
        .join(of_account, on="account_id")
        .select("fit", *HISTORY)
        .unique()
        .sort("fit", *HISTORY)
        .collect()
    )
    models = {row["fit"]: _model(row) for row in known.unique("fit").collect().iter_rows(named=True)}
    parts = [_probabilities(models[fit], *(rows[name].to_numpy() for name in HISTORY)) for fit, rows in _by_fit(asked)]
    found = np.concatenate([np.empty((len(PROBABILITIES), 0)), *parts], axis=1)
    # In order of the fits, as the histories are. NaN is no interval.
    answered = (
        asked.with_columns(pl.Series(name, values) for name, values in zip(PROBABILITIES, found, strict=True))
        .lazy()
        .with_columns(pl.col(PROBABILITIES).fill_nan(None))
    )
    is_unknown = pl.col("opportunity_weeks").is_null()
    is_fitted = pl.col("fit").is_not_null()
    return (
        people.join(of_account, on="account_id", how="left")
        .join(answered, on=["fit", *HISTORY], how="left")
        .join(fits.select("account_id", pl.col("note").fill_null("").alias("model_note")), on="account_id", how="left")
        .with_columns(
            pl.when(is_unknown)
            .then(pl.lit(_NO_START))
            .when(is_fitted)
            .then(pl.col("model_note").replace("", None))
            .otherwise(pl.col("model_note").fill_null(_NO_MODEL))
            .alias("p_alive_note")
        )
        .drop("fit", "model_note")
    )


def _model(row: dict[str, object]) -> BetaGeometricBetaBinomial:
    """The fitted model from its row: what is needed for predictions and their intervals."""
    size = len(NAMES)
    text, at_bound = row["log_covariance"], row["at_bound"]
    covariance = np.array(str(text).split(), dtype=float).reshape(size, size) if text else np.full((size, size), np.nan)
    return BetaGeometricBetaBinomial(
        parameters={name: float(str(row[name])) for name in NAMES},
        log_likelihood=float("nan"),
        standard_errors=dict.fromkeys(NAMES, float("nan")),
        covariance=covariance,
        people=float("nan"),
        at_bound=tuple(str(at_bound).split(", ")) if at_bound else (),
        is_converged=True,
    )


def _by_fit(asked: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    for (fit,), rows in asked.partition_by("fit", as_dict=True, maintain_order=True).items():
        yield int(fit), rows


def _probabilities(model: BetaGeometricBetaBinomial, x: Whole, t_x: Whole, n: Whole) -> NDArray[np.float64]:
    """A row for each of `PROBABILITIES`, a column for each of these distinct histories; NaN where there is no interval."""
    value, low, high = model.outlook(x, t_x, n, tuple(HORIZONS.values()))
    found = [value[0], low[0], high[0]]
    for i in range(1, len(value)):
        found += [1 - value[i], 1 - high[i], 1 - low[i]]
    # Rounded: what is left of the last digits depends on the machine.
    return np.round(np.clip(np.stack(found), 0.0, 1.0), 12)
