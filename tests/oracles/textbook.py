"""Losses and gradient flows of soft, hard and LVML attention, spelt as the paper prints them.

Source: Vashisht and Ramaswamy, "On the Learning Dynamics of Attention Networks" (ECAI 2023).
Nothing here is stable or clever, and nothing comes from attnflow: this is the second spelling that
the library is tested against. Every function takes Python numbers, NumPy arrays or mpmath numbers,
and answers in kind (mpmath as soon as mu or nu is an mpmath number, at its current precision).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

Number = Any  # float, numpy.ndarray or mpmath.mpf


def _functions(*values: Number) -> tuple[Callable, Callable]:
    """Return exp and log for the kind of number met."""
    if any(isinstance(value, mpmath.mpf) for value in values):
        return mpmath.exp, mpmath.log
    return np.exp, np.log


def _chance(C: int, like: Number) -> Number:
    """Probability of a class on a background segment, in the precision of `like`."""
    return mpmath.mpf(1) / C if isinstance(like, mpmath.mpf) else 1.0 / C


def alpha(nu: Number, m: int) -> Number:
    """Focus weight on the true segment."""
    exp, _ = _functions(nu)
    return exp(nu) / (exp(nu) + m - 1)


def beta(mu: Number, C: int) -> Number:
    """Probability of the true class on the foreground segment alone."""
    exp, _ = _functions(mu)
    return exp(mu) / (exp(mu) + C - 1)


def loss_soft(mu: Number, nu: Number, m: int, C: int) -> Number:
    """Cross entropy of the classifier on the averaged segment."""
    exp, log = _functions(mu, nu)
    a = alpha(nu, m)
    return -log(exp(a * mu) / (exp(a * mu) + C - 1))


def loss_hard(mu: Number, nu: Number, m: int, C: int) -> Number:
    """Expected cross entropy of a segment sampled by the focus."""
    _, log = _functions(mu, nu)
    a = alpha(nu, m)
    return -a * log(beta(mu, C)) - (1 - a) * log(_chance(C, mu))


def loss_lvml(mu: Number, nu: Number, m: int, C: int) -> Number:
    """Negative logarithm of the marginal likelihood over segments."""
    _, log = _functions(mu, nu)
    a = alpha(nu, m)
    return -log(a * beta(mu, C) + (1 - a) / C)


def loss_power(mu: Number, nu: Number, m: int, C: int, s: Number = 0.5) -> Number:
    """Power mean of the likelihoods with exponent s: hard as s -> 0, LVML at s = 1."""
    _, log = _functions(mu, nu)
    a = alpha(nu, m)
    return -log(a * beta(mu, C) ** s + (1 - a) * _chance(C, mu) ** s) / s


def field_soft(mu: Number, nu: Number, m: int, C: int, ratio: Number = 1) -> tuple[Number, Number]:
    """Return (mu', nu') of soft attention; `ratio` is the focus rate over the classifier rate."""
    exp, _ = _functions(mu, nu)
    a = alpha(nu, m)
    d = exp(a * mu) + C - 1
    return a / d, ratio * a * (1 - a) * (C - 1) * mu / (C * d)


def field_hard(mu: Number, nu: Number, m: int, C: int, ratio: Number = 1) -> tuple[Number, Number]:
    """Return (mu', nu') of hard attention; `ratio` is the focus rate over the classifier rate."""
    exp, log = _functions(mu, nu)
    a = alpha(nu, m)
    return a / (exp(mu) + C - 1), ratio * a * (1 - a) * log(C * beta(mu, C)) / C


def field_lvml(mu: Number, nu: Number, m: int, C: int, ratio: Number = 1) -> tuple[Number, Number]:
    """Return (mu', nu') of LVML attention; `ratio` is the focus rate over the classifier rate."""
    exp, _ = _functions(mu, nu)
    a, b = alpha(nu, m), beta(mu, C)
    z = a * b + (1 - a) / C
    return a * b / (z * (exp(mu) + C - 1)), ratio * a * (1 - a) * (b - _chance(C, mu)) / (C * z)


def field_power(
    mu: Number, nu: Number, m: int, C: int, ratio: Number = 1, s: Number = 0.5
) -> tuple[Number, Number]:
    """Return (mu', nu') of the power mean with exponent s."""
    exp, _ = _functions(mu, nu)
    a, b = alpha(nu, m), beta(mu, C)
    p, q = b**s, _chance(C, mu) ** s
    z = a * p + (1 - a) * q
    return a * p / (z * (exp(mu) + C - 1)), ratio * a * (1 - a) * (p - q) / (s * C * z)


LOSSES: dict[str, Callable] = {
    "soft": loss_soft,
    "hard": loss_hard,
    "lvml": loss_lvml,
    "power": loss_power,
}
FIELDS: dict[str, Callable] = {
    "soft": field_soft,
    "hard": field_hard,
    "lvml": field_lvml,
    "power": field_power,
}


def euler(
    paradigm: str,
    m: int,
    C: int,
    dt: float,
    steps: int,
    mu0: float = 0.0,
    nu0: float = 0.0,
    ratio: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate by explicit Euler as the authors' script does: NumPy scalars in a Python loop.

    Returns times, mu and nu, each of shape (steps + 1,), the start included. First order in dt.
    """
    field = FIELDS[paradigm]
    times = dt * np.arange(steps + 1)
    mu, nu = np.empty(steps + 1), np.empty(steps + 1)
    mu[0], nu[0] = mu0, nu0
    for k in range(steps):
        mu_rate, nu_rate = field(mu[k], nu[k], m, C, ratio)
        mu[k + 1] = mu[k] + dt * mu_rate
        nu[k + 1] = nu[k] + dt * nu_rate
    return times, mu, nu
