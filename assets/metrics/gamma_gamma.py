"""What is one earning of a person worth, when some have paid once and some often? The Gamma-Gamma model.

A person's payments are Gamma distributed around a mean of their own, and those means differ from
person to person as another Gamma says: the mean of few payments is drawn towards everybody's.
Arrays in, a frozen fit out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from assets.metrics.normal import Z95

Floats = NDArray[np.float64]

_PARAMETERS = ("p", "q", "v")
_START = (1.0, 3.0, 2.0)
_FARTHEST = 12.0
"""A parameter whose logarithm (amounts in units of their mean) went beyond this has no finite best value."""


@dataclass(frozen=True)
class GammaGamma:
    """A fitted Gamma-Gamma model: `v` in units of the amounts, `standard_errors` by name of parameter.

    `is_interior` is false where the likelihood has no largest value at finite parameters (payments of a person that
    never vary, or people who do not differ): then the standard errors are NaN and no parameter means anything.
    """

    p: float
    q: float
    v: float
    log_likelihood: float
    standard_errors: Mapping[str, float]
    covariance: tuple[tuple[float, ...], ...]
    is_interior: bool

    @property
    def mean(self) -> float:
        """Expected mean payment of a person drawn at random, p v / (q - 1); NaN where q <= 1 (it is infinite)."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("nan")

    @property
    def mean_interval(self) -> tuple[float, float]:
        """The 95 % interval of `mean`, by the delta method on the log scale; NaN where there is none."""
        if not (self.q > 1 and self.is_interior):
            return float("nan"), float("nan")
        gradient = np.array([1 / self.p, -1 / (self.q - 1), 1 / self.v])
        half = Z95 * float(np.sqrt(gradient @ np.array(self.covariance) @ gradient))
        return self.mean * np.exp(-half).item(), self.mean * np.exp(half).item()

    def expected_value(self, x: ArrayLike, m: ArrayLike) -> Floats:
        """What is the next payment of a person expected to be, after `x` payments of mean `m`?

        Fader, Hardie & Lee (2005), equation 5: p (v + m x) / (p x + q - 1), between the person's own mean and
        everybody's; x = 0 gives everybody's. NaN where p x + q <= 1.

        >>> fit = GammaGamma(6.25, 3.74, 15.44, 0.0, {}, (), True)
        >>> fit.expected_value([0, 2, 50], [0.0, 22.35, 22.35]).round(2).tolist()
        [35.22, 24.66, 22.46]
        """
        times, mean = np.asarray(x, dtype=np.float64), np.asarray(m, dtype=np.float64)
        below = self.p * times + self.q - 1
        value = self.p * (self.v + np.where(times > 0, mean, 0.0) * times) / np.where(below > 0, below, np.nan)
        return np.asarray(value, dtype=np.float64)


def fit(frequency: ArrayLike, mean_value: ArrayLike, weights: ArrayLike | None = None) -> GammaGamma:
    """How do payments vary within people and between them? Maximum likelihood of the Gamma-Gamma model.

    One element for each person: `frequency` x >= 1 payments, `mean_value` m > 0 their mean, `weights` how many people
    share that pair (default 1). With z_i the mean of x Gamma(p, nu) payments and nu ~ Gamma(q, v), the likelihood of
    (x, m) is Gamma(px + q) / (Gamma(px) Gamma(q)) v^q m^(px - 1) x^(px) / (xm + v)^(px + q). Newton steps on log
    parameters, with analytic gradient and Hessian; standard errors from the observed information. The model takes
    how often people pay and how much as independent. Rows in any order give the same.

    Raises `ValueError` for arrays of different lengths, no people, x < 1 or m <= 0.

    Source: Fader, Hardie & Lee (2005), Journal of Marketing Research 42, 415-430; Fader & Hardie (2013), "The
    Gamma-Gamma Model of Monetary Value", brucehardie.com/notes/025.

    >>> x, m = [1, 2, 3, 1, 4, 2, 1, 3], [9.0, 15.0, 5.0, 2.0, 7.0, 90.0, 30.0, 6.0]
    >>> fit(x, m).is_interior, fit([1, 2, 3], [10.0, 10.0, 10.0]).is_interior  # the second: nothing varies
    (True, False)
    """
    x, m = (np.asarray(values, dtype=np.float64) for values in (frequency, mean_value))
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (x.ndim == 1 and x.shape == m.shape == w.shape):
        raise ValueError("frequency, mean_value and weights must be one-dimensional and of one length")
    if not (x.size and w.sum() > 0 and (w >= 0).all()):
        raise ValueError("there is nobody to fit to")
    if not ((x >= 1).all() and (m > 0).all() and np.isfinite(x).all() and np.isfinite(m).all()):
        raise ValueError("frequency must be at least 1, mean_value positive")
    order = np.lexsort((w, m, x))  # sums of floats depend on the order; people have none
    x, m, w = x[order], m[order], w[order]
    unit = float(np.exp((w * np.log(m)).sum() / w.sum()))
    data = _Data(x, m / unit, w)
    found = optimize.minimize(
        lambda logs: data.objective(np.exp(np.clip(logs, -30, 30))),
        np.log(_START),
        jac=True,
        hess=lambda logs: data.hessian_of_logs(np.exp(np.clip(logs, -30, 30))),
        method="trust-exact",
        options={"gtol": 1e-9, "maxiter": 500},
    )
    theta = np.exp(np.clip(found.x, -30, 30))
    covariance, is_interior = _covariance(data.information(theta), found.x)
    scale = np.array([1.0, 1.0, unit])
    covariance = covariance * np.outer(scale, scale)
    p, q, v = (theta * scale).tolist()
    return GammaGamma(
        p,
        q,
        v,
        log_likelihood=-float(found.fun) * data.total - float((w * np.log(unit)).sum()),
        standard_errors=dict(zip(_PARAMETERS, np.sqrt(np.diag(covariance)).tolist(), strict=True)),
        covariance=tuple(map(tuple, covariance.tolist())),
        is_interior=is_interior,
    )


def _covariance(information: Floats, logs: Floats) -> tuple[Floats, bool]:
    """The inverse of the information, and whether the optimum is one: finite, and curved in every direction."""
    if np.abs(logs).max() < _FARTHEST and np.linalg.eigvalsh(information)[0] > 0:
        return np.asarray(np.linalg.inv(information), dtype=np.float64), True
    return np.full((3, 3), np.nan), False


class _Data:
    """The likelihood and its derivatives; the special functions are computed once for each distinct x."""

    def __init__(self, x: Floats, m: Floats, w: Floats) -> None:
        self.w, self.total, self.spent = w, float(w.sum()), x * m
        self.log_spent = np.log(self.spent)
        self.x, self.place = np.unique(x, return_inverse=True)
        self.people = np.bincount(self.place, weights=w)
        self.constant = float((w * np.log(m)).sum())

    def objective(self, theta: Floats) -> tuple[float, Floats]:
        """Minus the mean log-likelihood, and its gradient by the logarithms of p, q, v."""
        value, gradient, _ = self._at(theta)
        return -value / self.total, -gradient * theta / self.total

    def hessian_of_logs(self, theta: Floats) -> Floats:
        _, gradient, hessian = self._at(theta)
        return np.asarray(-(hessian * np.outer(theta, theta) + np.diag(gradient * theta)) / self.total)

    def information(self, theta: Floats) -> Floats:
        """Minus the Hessian by p, q, v."""
        return np.asarray(-self._at(theta)[2])

    def _at(self, theta: Floats) -> tuple[float, Floats, Floats]:
        p, q, v = theta
        px = p * self.x
        reach = self.spent + v  # xm + v
        log_reach = np.log(reach)
        shape = px + q
        each: Any = special.gammaln(shape) - special.gammaln(px) - special.gammaln(q) + q * np.log(v)
        exponent = px[self.place]
        value = (
            (self.people * each).sum()
            + (self.w * (exponent * self.log_spent - (exponent + q) * log_reach)).sum()
            - self.constant
        )
        x_of = self.x[self.place]
        digamma, trigamma = special.digamma(shape), special.polygamma(1, shape)
        gradient = np.array(
            [
                (self.people * self.x * (digamma - special.digamma(px))).sum()
                + (self.w * x_of * (self.log_spent - log_reach)).sum(),
                (self.people * (digamma - special.digamma(q) + np.log(v))).sum() - (self.w * log_reach).sum(),
                self.total * q / v - (self.w * (exponent + q) / reach).sum(),
            ]
        )
        pp = (self.people * self.x**2 * (trigamma - special.polygamma(1, px))).sum()
        pq = (self.people * self.x * trigamma).sum()
        pv = -(self.w * x_of / reach).sum()
        qq = (self.people * (trigamma - special.polygamma(1, q))).sum()
        qv = self.total / v - (self.w / reach).sum()
        vv = -self.total * q / v**2 + (self.w * (exponent + q) / reach**2).sum()
        return float(value), gradient, np.array([[pp, pq, pv], [pq, qq, qv], [pv, qv, vv]])
