"""``crossings``: the times at which the curves of two paradigms cross.

Curves are compared in a coordinate that keeps its digits everywhere: focus by the score nu (its
difference is that of the log-odds of alpha), classification by the margin mu. A sign of a
difference counts only where it stands above rounding.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.closed_form import evaluate
from attnflow.numeric.namespace import traced
from attnflow.numeric.problem import normalise
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check_number, positive
from attnflow.symbolic.first_integral import separates
from attnflow.symbolic.paradigm import Paradigm

COORDINATES = {"alpha": "nu", "nu": "nu", "mu": "mu", "beta": "mu"}
"""Quantity -> the coordinate in which curves are compared; it is an increasing function of it."""

GRID = 2048  # times looked at, 57 a decade
SPAN = math.log(1e36)  # how far back from the latest time the first one lies
LEVELS = 6  # times that the surroundings of a dip are divided into a grid again
SIGNIFICANT = 1e-12  # difference relative to how far the curves have moved; solve errs by less
FINEST = 1e-13  # relative error of a step where a curve has to be simulated
SIMULATED = 1e-10  # then the difference that counts, and a hundredth of it absolutely


@dataclass(frozen=True)
class _Comparison:
    """Two curves from one start, compared in one coordinate."""

    curves: tuple[Any, Any]
    setting: Setting
    initial: tuple[float, float]
    coordinate: str
    exact: bool = True

    def _path(self, curve: Any, times: np.ndarray) -> np.ndarray:
        """The coordinate along a curve, in closed form if it has one, else simulated."""
        try:
            path = evaluate(normalise(curve, self.setting, times, self.initial))
        except NoFirstIntegral:
            from attnflow.numeric.simulate import simulate  # with JAX, which takes a while

            path = simulate(curve, self.setting, times, self.initial, rtol=FINEST)
        return np.asarray(getattr(path, self.coordinate))

    def between(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At GRID times from e^low to e^high: their logarithms, a - b, and the same to be trusted.

        The latter is relative to how far the curves have moved, and 0 where rounding hides it.
        """
        logs = np.linspace(low, high, GRID)
        a, b = (self._path(curve, np.exp(logs)) for curve in self.curves)
        start = float(self.initial[0] if self.coordinate == "mu" else self.initial[1])
        size = np.abs(a - start) + np.abs(b - start)
        # nu and mu carry the rounding of the start they grew from
        known = np.abs(a - b) > SIGNIFICANT * size + 8 * np.finfo(float).eps * abs(start)
        if not self.exact:
            known &= np.abs(a - b) > SIMULATED * size + 1e-2 * SIMULATED
        relative = (a - b) / np.maximum(size, np.finfo(float).tiny)
        return logs, a - b, np.where(known, relative, 0.0)

    def root(self, low: float, high: float) -> float:
        """The logarithm of the time at which the difference changes its sign between two others."""
        while True:  # the interval shrinks GRID times at a time
            logs, apart, _ = self.between(low, high)
            changes = np.flatnonzero(np.sign(apart) != np.sign(apart[0]))
            if not changes.size:  # it was rounding that changed it
                return (low + high) / 2
            place = int(changes[0])
            low, high = logs[place - 1], logs[place]
            if apart[place] == 0 or high - low <= 2 * np.finfo(float).eps * max(1.0, abs(high)):
                left, right = abs(apart[place - 1]), abs(apart[place])
                return float(low + (high - low) * left / (left + right))

    def dip(self, low: float, high: float) -> float | None:
        """Where a difference of one sign at both ends has the other in between, if it has."""
        for _ in range(LEVELS):
            logs, _, values = self.between(low, high)
            values = values * np.sign(values[0])
            place = int(np.argmin(values))
            if values[place] < 0:
                return float(logs[place])
            if place in (0, GRID - 1) or values[place] == 0:
                return None
            low, high = logs[place - 1], logs[place + 1]
        return None

    def crossings(self, last: float) -> np.ndarray:
        """The times of all crossings, the logarithm of the latest time looked at being given."""
        logs, _, values = self.between(last - SPAN, last)
        logs, values = logs[values != 0], values[values != 0]
        changes = np.flatnonzero(values[:-1] * values[1:] < 0)
        brackets = [(logs[index], logs[index + 1]) for index in changes]
        for index in range(1, len(logs) - 1):
            near, here = values[[index - 1, index + 1]], values[index]
            if np.all(near * here > 0) and np.all(np.abs(near) >= abs(here)):
                low = self.dip(logs[index - 1], logs[index + 1])
                if low is not None:
                    brackets += [(logs[index - 1], low), (low, logs[index + 1])]
        return np.exp(np.array([self.root(low, high) for low, high in sorted(brackets)], float))


def crossings(
    paradigm_a: "str | Paradigm | Schedule",
    paradigm_b: "str | Paradigm | Schedule",
    setting: Setting,
    initial: Any = (0.0, 0.0),
    quantity: str = "alpha",
    until: float = 1e15,
) -> Float[np.ndarray, "*sweep crossings"]:
    """Times at which two curves cross: where the sign of their difference changes.

    The common start is not a crossing, nor is a touch without change of sign. Two crossings
    closer than the grid (1/57 of a decade) are found by following the difference to its extremum
    between them. Runs from plain Python.

    Args:
        paradigm_a: name, Paradigm or Schedule of one curve.
        paradigm_b: the same of the other.
        setting: Setting; entries may be arrays, a sweep.
        initial: (mu0, nu0), common to both, numbers or arrays from -300 to 300.
        quantity: "alpha" (or "nu", the same crossings), "mu" or "beta" (likewise).
        until: latest time looked at (t = step x learning rate).

    Returns:
        Increasing times, shape (crossings,), of a sweep (*sweep, most crossings) filled up with
        NaN; each to about 1e-12 of itself (less where the curves cross at a small angle; about
        1e-10 where one had to be simulated).

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a curve without a first integral could not be simulated that far.
    """
    if traced(setting, initial, until):
        raise SettingError(
            "crossings runs from plain Python, got a tracer: call it outside jit, vmap and grad"
        )
    if not isinstance(quantity, str) or quantity not in COORDINATES:
        raise SettingError(f"quantity must be one of {', '.join(COORDINATES)}, got {quantity!r}")
    until = check_number("until", until, "a finite time above 0", positive)
    problems = [normalise(curve, setting, 0.0, initial) for curve in (paradigm_a, paradigm_b)]
    if problems[0].paradigms == problems[1].paradigms and np.array_equal(
        *(p.ends for p in problems)
    ):
        raise SettingError(f"crossings needs two different curves, got {problems[0].name!r} twice")

    comparisons = []
    for first, second in zip(*(problem.singles() for problem in problems), strict=True):
        curves = first.paradigms + second.paradigms
        exact = not setting.decays and all(map(separates, curves))
        start = (first.mu0, first.nu0)
        pair = (paradigm_a, paradigm_b)
        comparisons.append(_Comparison(pair, first.setting, start, COORDINATES[quantity], exact))
    rows = [comparison.crossings(math.log(until)) for comparison in comparisons]
    most = max((row.size for row in rows), default=0)
    padded = [np.pad(row, (0, most - row.size), constant_values=np.nan) for row in rows]
    return np.reshape(padded, (*problems[0].batch_shape, most))
