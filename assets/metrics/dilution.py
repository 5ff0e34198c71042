"""Does posting more cost value per post? An elasticity, by Poisson regression with fixed effects.

`dilution` derives the mart; `fixed_effects_poisson` is the estimator, usable for any counts. An
association within calendar months, not a cause: who has more to say may also say it better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from assets.metrics.visible import end_of

MINIMUM_POSTS = 100
MINIMUM_RATIO = 2.0

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_TOLERANCE = 1e-10
_VANISHING = 1e-9
_ROUNDS = 100
_PROJECTIONS = 10_000


@dataclass(frozen=True)
class PoissonFit:
    """A fitted Poisson pseudo-maximum-likelihood model.

    One element a column of `x` in `coefficients`, `low` and `high` (95 %), in `covariance` one row
    and column. `observations` are those that carry information: the members of an effect whose
    counts are all zero do not.
    """

    coefficients: Floats
    covariance: Floats
    low: Floats
    high: Floats
    log_likelihood: float
    observations: int
    is_converged: bool


def fixed_effects_poisson(
    y: ArrayLike,
    x: ArrayLike,
    *,
    effects: Sequence[ArrayLike] = (),
    clusters: ArrayLike | None = None,
    covariance: Literal["CR1", "CR2"] = "CR1",
) -> PoissonFit:
    """How expected counts move with `x`, among observations that share every effect.

    `y` (n) are counts, `x` (n or n x k) regressors, each of `effects` (n) labels whose parameters get a
    constant of their own (months, accounts); without effects give `x` a column of ones. Only the mean
    E[y] = exp(x b + effects) is assumed, not that the counts are Poisson.

    Iteratively reweighted least squares in which the effects are projected out by turns (Correia,
    Guimaraes & Zylkin 2020, Stata Journal 20, 95-115). `clusters` (n labels) gives the cluster-robust
    covariance with factor G/(G-1) (n-1)/(n-k), where effects nested in clusters do not count in k, and
    Student's t intervals with G - 1 degrees of freedom (infinite for one cluster); without clusters, the
    inverse information and normal intervals. `covariance="CR2"` corrects it, and the degrees of freedom, for clusters
    that are few or of which few weigh most, where the other is far too sure (Bell & McCaffrey 2002, Survey Methodology
    28, 169-181; Pustejovsky & Tipton 2018, JBES 36, 672-683). Every effect must then be nested in clusters. What `x` cannot tell from the effects is NaN, as is all
    where every count is zero.

    >>> fit = fixed_effects_poisson([1, 2, 4, 3, 6, 12], [0, 1, 2, 0, 1, 2], effects=["aaabbb"])
    >>> round(float(np.exp(fit.coefficients[0])), 6)
    2.0
    """
    y, x = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if (y < 0).any() or not np.isfinite(y).all() or not np.isfinite(x).all():
        raise ValueError("counts must be finite and not negative, regressors finite")
    codes = [_codes(effect) for effect in effects]
    keep = _informative(y, codes)
    y, x, codes = y[keep], x[keep], [_codes(code[keep]) for code in codes]
    n, k = x.shape
    nothing = np.full(k, np.nan)
    if not y.any():
        return PoissonFit(nothing, np.full((k, k), np.nan), nothing, nothing, np.nan, n, is_converged=False)
    coefficients, fitted, within, is_converged = _reweighted(y, x, codes)
    likelihood = float(np.sum(special.xlogy(y, fitted) - fitted - special.gammaln(y + 1)))
    bread = np.linalg.pinv(np.einsum("ni,n,nj->ij", within, fitted, within), hermitian=True)
    if clusters is None:
        matrix, quantile = bread, np.full(k, stats.norm.ppf(0.975))
    else:
        cluster = _codes(np.asarray(clusters)[keep])
        scores = within * (y - fitted)[:, None]
        if covariance == "CR2":
            matrix, quantile = _reduced(scores, _outer(within, fitted, cluster), cluster, codes)
        else:
            matrix, quantile = _clustered(scores, bread, cluster, codes)
    with np.errstate(invalid="ignore"):
        half = quantile * np.sqrt(np.diag(matrix))
    return PoissonFit(coefficients, matrix, coefficients - half, coefficients + half, likelihood, n, is_converged)


def _codes(labels: ArrayLike) -> Codes:
    """The labels numbered from 0; a string is its characters."""
    values = np.array(list(labels)) if isinstance(labels, str) else np.asarray(labels)
    return np.unique(values, return_inverse=True)[1].astype(np.intp)


def _informative(y: Floats, codes: Sequence[Codes]) -> NDArray[np.bool_]:
    """Observations left when effects whose counts are all zero are dropped (their constant is minus infinity)."""
    keep = np.ones(len(y), dtype=bool)
    while True:
        before = keep.sum()
        for code in codes:
            keep &= np.bincount(code, y * keep)[code] > 0
        if keep.sum() == before:
            return keep


def _reweighted(y: Floats, x: Floats, codes: Sequence[Codes]) -> tuple[Floats, Floats, Floats, bool]:
    """Coefficients, fitted counts, the regressors within effects, and whether the deviance settled."""
    fitted = (y + y.mean()) / 2
    predictor = np.log(fitted)
    last = np.inf
    for _ in range(_ROUNDS):
        working = predictor + (y - fitted) / fitted
        within = _project(np.column_stack([working, x]), fitted, codes)
        response, regressors = within[:, 0], within[:, 1:]
        regressors = np.where(_is_identified(x, regressors, fitted), regressors, 0.0)
        root = np.sqrt(fitted)[:, None]
        coefficients = np.linalg.lstsq(regressors * root, response * root[:, 0], rcond=1e-10)[0]
        # Bounded, so that a first step far off does not overflow; a converged predictor is inside.
        predictor = np.clip(working - (response - regressors @ coefficients), -300, 300)
        fitted = np.exp(predictor)
        deviance = 2 * float(np.sum(special.xlogy(y, y / fitted) - (y - fitted)))
        is_converged = abs(deviance - last) <= _TOLERANCE * (0.1 + abs(deviance))
        if is_converged:
            break
        last = deviance
    within = _project(x, fitted, codes)
    identified = _is_identified(x, within, fitted)
    # Counts that x separates from zero have no finite estimate; their fitted counts run off to zero.
    is_finite = bool(fitted.min() > _VANISHING)
    return (
        np.where(identified, coefficients, np.nan),
        fitted,
        np.where(identified, within, 0.0),
        is_converged and is_finite,
    )


def _is_identified(x: Floats, within: Floats, weights: Floats) -> NDArray[np.bool_]:
    """Which regressors vary within the effects, beyond rounding."""
    total = np.einsum("n,nk->k", weights, x**2)
    return np.einsum("n,nk->k", weights, within**2) > 1e-12 * total


def _project(columns: Floats, weights: Floats, codes: Sequence[Codes]) -> Floats:
    """The columns less their weighted means by each effect; exact at once for one, by turns for more."""
    totals = [np.bincount(code, weights) for code in codes]
    columns = columns.copy()
    for _ in range(_PROJECTIONS if len(codes) > 1 else 1):
        before = columns.copy() if len(codes) > 1 else columns
        for code, total in zip(codes, totals, strict=True):
            for index in range(columns.shape[1]):
                columns[:, index] -= (np.bincount(code, weights * columns[:, index]) / total)[code]
        if len(codes) < 2 or np.abs(columns - before).max() <= 1e-12 * max(1.0, np.abs(columns).max()):
            break
    return columns


def _clustered(scores: Floats, bread: Floats, cluster: Codes, codes: Sequence[Codes]) -> tuple[Floats, Floats]:
    """Cluster-robust covariance and the t quantiles of its intervals."""
    n, k = scores.shape
    size = int(cluster.max()) + 1
    if size < 2:
        return np.full((k, k), np.inf), np.ones(k)
    parameters = int(scores.any(axis=0).sum())
    for code in codes:
        parameters += 0 if _is_nested(code, cluster) else int(code.max()) + 1
    sums = _sums(scores, cluster)
    factor = size / (size - 1) * (n - 1) / max(n - parameters, 1)
    quantile = np.full(k, stats.t.ppf(0.975, size - 1))
    return factor * bread @ np.einsum("gi,gj->ij", sums, sums) @ bread, quantile


def _reduced(scores: Floats, information: Floats, cluster: Codes, codes: Sequence[Codes]) -> tuple[Floats, Floats]:
    """Bias-reduced cluster-robust covariance, and the t quantiles of its intervals.

    `information` holds each cluster's own (clusters x k x k); with effects nested in clusters they sum to the whole A.
    With S = A^-1/2 (own) A^-1/2, a score's variance is too small by 1 - S, because the estimate followed it.
    """
    if not all(_is_nested(code, cluster) for code in codes):
        raise ValueError("CR2 needs effects that are nested in clusters")
    size, k = len(information), scores.shape[1]
    if size < 2:
        return np.full((k, k), np.inf), np.ones(k)
    root = _power(information.sum(axis=0))
    own = root @ information @ root
    if np.linalg.eigvalsh(own).max() > 1 - 1e-9:  # one cluster alone decides: nothing says how clusters differ
        return np.full((k, k), np.inf), np.ones(k)
    spread = root @ np.stack([_power(np.eye(k) - share) for share in own])
    moves = np.einsum("gij,gj->gi", spread @ root, _sums(scores, cluster))
    # The covariance of all moves were the counts Poisson; Satterthwaite's approximation to their sum of squares.
    expected = -np.einsum("gia,gab,hbc,hic->igh", spread, own, own, spread)
    expected[:, np.arange(size), np.arange(size)] += np.einsum("gia,gab,gib->ig", spread, own, spread)
    trace, squares = np.einsum("igg->i", expected), np.einsum("igh,igh->i", expected, expected)
    freedom = np.divide(trace**2, squares, out=np.ones(k), where=squares > 0)
    return np.einsum("gi,gj->ij", moves, moves), stats.t.ppf(0.975, np.maximum(freedom, 1))


def _power(matrix: Floats) -> Floats:
    """The symmetric matrix to the power -1/2; directions of which it knows nothing stay out."""
    values, vectors = np.linalg.eigh(matrix)
    known = values > 1e-12 * max(float(values.max()), 1e-300)
    roots = np.where(known, 1 / np.sqrt(np.where(known, values, 1.0)), 0.0)
    return (vectors * roots) @ vectors.T


def _sums(columns: Floats, cluster: Codes) -> Floats:
    """Sums of the columns by cluster."""
    return np.column_stack([np.bincount(cluster, column) for column in columns.T])


def _outer(within: Floats, weights: Floats, cluster: Codes) -> Floats:
    """Each cluster's weighted sum of x x': clusters x k x k."""
    k = within.shape[1]
    products = (within[:, :, None] * within[:, None, :] * weights[:, None, None]).reshape(len(within), k * k)
    return _sums(products, cluster).reshape(-1, k, k)


def _is_nested(code: Codes, cluster: Codes) -> bool:
    """Whether each label of `code` lies within one cluster."""
    return len(np.unique(code * (int(cluster.max()) + 1) + cluster)) == int(code.max()) + 1


def dilution(mart_post_value: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Does posting more cost value per post? `mart_dilution`: one row for each account with a post.

    `dilution_elasticity` is the coefficient of ln(1 + own other posts in the 28 days before the post, on
    any platform) in a Poisson pseudo-ML regression of I7 with an effect of each calendar month (UTC), over
    all judged posts up to `as_of`: 0, posting more costs nothing; -1, attention is fixed and only divided;
    below -1, more posts get less in total. Interval: clustered by month, CR2 with Bell & McCaffrey's t, because
    months are few and those of an account's start weigh most. `rate_p90_to_p10` is the
    ninetieth over the tenth percentile of 1 + posts in 28 days.

    Null, with the reason in `dilution_elasticity_note`, with fewer than 100 judged posts, where that
    ratio is below 2 (the account never tried another rhythm), where the rhythm does not vary within
    months or within one only, and with fewer than two months that got anything.

    Source: Poisson pseudo-ML, Santos Silva & Tenreyro (2006), Review of Economics and Statistics 88, 641-658.
    """
    posts = (
        mart_post_value.filter(pl.col("published_at") < end_of(as_of))
        .select("post_id", "account_id", "published_at", "interactions_7d")
        .sort("account_id", "published_at", "post_id")
        .with_columns(pl.lit(1).alias("post"))
        .with_columns(
            pl.col("post")
            .rolling_sum_by("published_at", window_size="28d", closed="left")
            .over("account_id")
            .fill_null(0)
            .alias("before")
        )
    )
    is_judged = pl.col("interactions_7d").is_not_null()
    rate = (1 + pl.col("before")).filter(is_judged)
    accounts = (
        posts.group_by("account_id")
        .agg(
            is_judged.sum().cast(pl.Int64).alias("posts"),
            (rate.quantile(0.9, "linear") / rate.quantile(0.1, "linear")).alias("rate_p90_to_p10"),
        )
        .sort("account_id")
        .collect()
    )
    eligible = accounts.filter(pl.col("posts") >= MINIMUM_POSTS, pl.col("rate_p90_to_p10") >= MINIMUM_RATIO)
    rows = (
        posts.filter(is_judged)
        .join(eligible.lazy().select("account_id"), on="account_id", how="semi")
        .select(
            "account_id",
            "post_id",
            "published_at",
            pl.col("interactions_7d").cast(pl.Float64),
            (1 + pl.col("before")).cast(pl.Float64).log().alias("frequency"),
            pl.col("published_at").dt.truncate("1mo").dt.epoch("d").alias("month"),
        )
        .sort("account_id", "published_at", "post_id")
        .collect()
    )
    estimates = pl.DataFrame(
        [(account, *_elasticity(own)) for (account,), own in rows.group_by("account_id", maintain_order=True)],
        schema={
            "account_id": pl.String,
            "dilution_elasticity": pl.Float64,
            "dilution_elasticity_low": pl.Float64,
            "dilution_elasticity_high": pl.Float64,
            "_note": pl.String,
        },
        orient="row",
    )
    note = (
        pl.when(pl.col("posts") < MINIMUM_POSTS)
        .then(pl.format("{} judged posts: needs 100", "posts"))
        .when(pl.col("rate_p90_to_p10") < MINIMUM_RATIO)
        .then(pl.lit("posting rate hardly varies: p90/p10 below 2"))
        .otherwise("_note")
    )
    return (
        accounts.lazy()
        .join(estimates.lazy(), on="account_id", how="left", maintain_order="left")
        .select(
            pl.lit(as_of).alias("as_of"),
            "account_id",
            "dilution_elasticity",
            "dilution_elasticity_low",
            "dilution_elasticity_high",
            note.alias("dilution_elasticity_note"),
            "posts",
            "rate_p90_to_p10",
        )
    )


def _elasticity(posts: pl.DataFrame) -> tuple[float | None, float | None, float | None, str | None]:
    """The elasticity of one account with its interval, or why there is none."""
    month = posts["month"].to_numpy()
    counts = posts["interactions_7d"].to_numpy()
    if len(np.unique(month[counts > 0])) < 2:
        return None, None, None, "fewer than two months with interactions"
    fit = fixed_effects_poisson(
        counts, posts["frequency"].to_numpy(), effects=[month], clusters=month, covariance="CR2"
    )
    if np.isnan(fit.coefficients[0]):
        return None, None, None, "posting rate does not vary within months"
    if not fit.is_converged:
        return None, None, None, "the estimate did not converge"
    if not np.isfinite(fit.low[0]):
        return None, None, None, "posting rate varies within one month only"
    return float(fit.coefficients[0]), float(fit.low[0]), float(fit.high[0]), None
