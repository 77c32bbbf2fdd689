"""``crossings``: the times at which the curves of two paradigms cross.

Curves are compared in a coordinate that keeps its digits everywhere: focus by the score nu (its
difference is that of the log-odds of alpha), classification by the margin mu. A sign of a
difference counts only where it stands above rounding.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, minimize_scalar

from attnflow.errors import SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.precision import traced
from attnflow.numeric.problem import normalise
from attnflow.settings import Schedule, Setting, check, positive
from attnflow.symbolic.paradigm import Paradigm

COORDINATES = {"alpha": "nu", "nu": "nu", "mu": "mu", "beta": "mu"}
"""Quantity -> the coordinate of which it is an increasing function, in which curves are compared."""

GRID = 2048  # times looked at, 50 to 70 a decade
SIGNIFICANT = 1e-12  # difference relative to how far the curves have moved; solve errs by less


def _difference(curves: tuple[Any, Any], setting: Setting, initial: Any, name: str, logs: Any) -> Any:
    """(a - b)/(|a - start| + |b - start|) at the times e^logs, 0 where rounding hides it."""
    times = np.exp(np.asarray(logs, np.float64))
    a, b = (np.asarray(getattr(solve(curve, setting, times, initial), name)) for curve in curves)
    start = float(initial[0] if name == "mu" else initial[1])
    size = np.abs(a - start) + np.abs(b - start)
    # nu and mu carry the rounding of the start they grew from
    known = np.abs(a - b) > SIGNIFICANT * size + 8 * np.finfo(float).eps * abs(start)
    return np.where(known, (a - b) / np.maximum(size, np.finfo(float).tiny), 0.0)


def crossings(
    paradigm_a: "str | Paradigm | Schedule",
    paradigm_b: "str | Paradigm | Schedule",
    setting: Setting,
    initial: tuple[float, float] = (0.0, 0.0),
    quantity: str = "alpha",
    until: float = 1e15,
) -> Float[np.ndarray, " crossings"]:
    """Times at which two curves cross: where the sign of their difference changes.

    The common start is not a crossing, nor is a touch without change of sign. Two crossings
    closer than the grid (1/60 of a decade) are found by following the difference to its extremum
    between them. Runs from plain Python, one setting at a time.

    Args:
        paradigm_a, paradigm_b: names, Paradigms or Schedules.
        setting: Setting, its entries plain numbers.
        initial: (mu0, nu0), common to both.
        quantity: "alpha" (or "nu", the same crossings), "mu" or "beta" (likewise).
        until: latest time looked at (t = step x learning rate).

    Returns:
        Increasing times, shape (crossings,), each to about 1e-12 of itself (less where the curves
        cross at a small angle).

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        NoFirstIntegral: a paradigm has none.
    """
    if traced(setting, initial, until):
        raise SettingError(
            "crossings runs from plain Python, got a tracer: call it outside jit, vmap and grad"
        )
    if quantity not in COORDINATES:
        raise SettingError(f"quantity must be one of {', '.join(COORDINATES)}, got {quantity!r}")
    check("until", until, "a finite time above 0", positive)
    problems = [normalise(curve, setting, 0.0, initial) for curve in (paradigm_a, paradigm_b)]
    if problems[0].batch_shape:
        raise SettingError(
            f"crossings takes one setting and one start at a time, got arrays of shape "
            f"{problems[0].batch_shape}"
        )
    if problems[0].paradigms == problems[1].paradigms and np.array_equal(*(p.ends for p in problems)):
        raise SettingError(f"crossings needs two different curves, got {problems[0].name!r} twice")

    def difference(logs: Any) -> Any:
        return _difference((paradigm_a, paradigm_b), setting, initial, COORDINATES[quantity], logs)

    logs = np.linspace(math.log(float(until)) - math.log(1e36), math.log(float(until)), GRID)
    values = difference(logs)
    logs, values = logs[values != 0], values[values != 0]
    brackets = []
    for index in range(len(logs) - 1):
        if values[index] * values[index + 1] < 0:
            brackets.append((logs[index], logs[index + 1]))
    for index in range(1, len(logs) - 1):
        near, here = values[[index - 1, index + 1]], values[index]
        if np.all(near * here > 0) and np.all(np.abs(near) >= abs(here)):
            low = _dip(difference, logs[index - 1], logs[index + 1], math.copysign(1.0, here))
            if low is not None:
                brackets += [(logs[index - 1], low), (low, logs[index + 1])]
    roots = [
        brentq(lambda log: float(difference(log)), low, high, xtol=1e-15, rtol=1e-14)
        for low, high in sorted(brackets)
    ]
    return np.exp(np.asarray(roots, np.float64))


def _dip(difference: Any, low: float, high: float, sign: float) -> float | None:
    """Where a difference of that sign at both ends changes it in between, if it does."""
    found = minimize_scalar(
        lambda log: sign * float(difference(log)), bounds=(low, high), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) if found.fun < 0 else None
