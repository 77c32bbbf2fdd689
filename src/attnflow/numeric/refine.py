"""More than float64 where float64 is not enough: times at which mu is sensitive to t.

Just after the onset of a large setting (m = 1e6) mu changes by 1e6 times the relative change of
t, so a quadrature right to one part in 1e16 leaves 1e-10 in mu. For such points the same panels
are evaluated once more with 34 digits (mpmath) and the clock moves by (t - t(clock))/pace. There
are few of them: the window is 1/m wide in t.
"""

from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath import mpf

from attnflow.settings import Setting
from attnflow.symbolic.algebra.float_form import textbook
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import background_ratio, derive_flow, overall_speed, relative_speed
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, eta_classifier, eta_focus, k, m, mu, r, s, tau

Number = Any  # an mpmath real

DIGITS = 34
SENSITIVE = 1000.0  # |d mu/d log t| or |d nu/d log t| from which float64 leaves more than 1e-13
POINTS = 20


@lru_cache
def _tables() -> tuple[list[Number], list[Number], list[list[Number]]]:
    """Gauss points and weights on [0, 1], and the matrix of integrals from 0 to each point."""
    with mpmath.workdps(DIGITS + 6):
        start = np.polynomial.legendre.leggauss(POINTS)[0]
        nodes = [
            mpmath.findroot(lambda x: mpmath.legendre(POINTS, x), mpf(float(x))) for x in start
        ]
        values = [[mpmath.legendre(d, x) for d in range(POINTS + 1)] for x in nodes]
        weights = [
            2 * (1 - x**2) / ((POINTS) * v[POINTS - 1]) ** 2
            for x, v in zip(nodes, values, strict=True)
        ]
        integrals = [
            [x + 1] + [(v[d + 1] - v[d - 1]) / (2 * d + 1) for d in range(1, POINTS)]
            for x, v in zip(nodes, values, strict=True)
        ]
        cumulative = [
            [
                w * mpmath.fsum((d + mpf(1) / 2) * row[d] * v[d] for d in range(POINTS)) / 2
                for w, v in zip(weights, values, strict=True)
            ]
            for row in integrals
        ]
        return [(x + 1) / 2 for x in nodes], [w / 2 for w in weights], cumulative


@lru_cache(maxsize=64)
def _formulas(paradigm: Paradigm) -> tuple[Any, Any]:
    """Drive and pace of an orbit as mpmath functions."""
    slope = textbook(derive_first_integral(paradigm).slope)
    pace = 1 / derive_flow(paradigm).mu_dot
    return (
        sp.lambdify((mu, C), slope, "mpmath"),
        sp.lambdify((alpha, mu, C, tau), pace, "mpmath"),
    )


class Orbit:
    """One orbit with 34 digits, in panels between given edges of the clock (the change of mu)."""

    def __init__(
        self, paradigm: Paradigm, setting: Setting, start: tuple[float, float], edges: list[float]
    ) -> None:
        symbols = (m, C, k, r, s, eta_focus, eta_classifier)
        exact = [mpf(float(v)) for v in setting.numbers().values()]
        formulas = (
            background_ratio,
            C,
            relative_speed(setting.background),
            overall_speed,
        )
        ratio, self.classes, self.focus, self.speed = (
            sp.lambdify(symbols, formula, "mpmath")(*exact) for formula in formulas
        )
        self.slope, self.rate = _formulas(paradigm)
        self.mu0, self.nu0 = (mpf(float(v)) for v in start)
        self.weight = mpmath.exp(self.nu0) / ratio
        self.ends = [(mpf(0), mpf(0), mpf(0))]  # clock, change of nu, time at each edge
        for edge in edges:
            middle = (self.ends[-1][0] + mpf(edge)) / 2  # halves: interpolation needs 19 digits
            for end in (middle, mpf(edge)):
                self.ends.append((end, *self._panel(self.ends[-1], end)))

    def _change(self, force: Number, weight: Number) -> Number:
        """delta with delta + weight expm1(delta) = force."""
        small = mpmath.mp.make_mpf(force._mpf_)
        delta = small / (1 + weight) if force <= 0 else min(small, mpmath.log1p(small / weight))
        for _ in range(60):
            grown = weight * mpmath.expm1(delta)
            step = (delta + grown - force) / (1 + weight + grown)
            delta -= step
            if abs(step) < mpf(10) ** (3 - DIGITS) * abs(delta):
                break
        return delta

    def _pace(self, clock: Number, weight: Number) -> Number:
        return self.rate(weight / (1 + weight), self.mu0 + clock, self.classes, self.speed)

    def _drive(self, clock: Number) -> Number:
        return self.focus * self.slope(self.mu0 + clock, self.classes)

    def _panel(self, begin: tuple[Number, Number, Number], end: Number) -> tuple[Number, Number]:
        """Change of nu, and time, at the end of a panel."""
        nodes, weights, cumulative = _tables()
        clock, moved, time = begin
        width, weight = end - clock, self.weight * mpmath.exp(moved)
        drive = [self._drive(clock + width * x) for x in nodes]
        pace = [
            self._pace(
                clock + width * x,
                weight * mpmath.exp(self._change(width * mpmath.fdot(row, drive), weight)),
            )
            for x, row in zip(nodes, cumulative, strict=True)
        ]
        force = width * mpmath.fdot(weights, drive)
        return moved + self._change(force, weight), time + width * mpmath.fdot(weights, pace)

    def at(self, time: float, clock: float) -> tuple[float, float]:
        """mu and nu at a time, from a clock that is right to about ten digits."""
        guess = mpf(clock)
        before = [e for e in self.ends if (e[0] - guess) * mpmath.sign(guess) <= 0]
        moved, reached = self._panel(before[-1], guess)
        weight = self.weight * mpmath.exp(moved)
        step = (mpf(time) - reached) / self._pace(guess, weight)
        moved += step * self._drive(guess) / (1 + weight)
        return float(self.mu0 + guess + step), float(self.nu0 + moved)


def refine(
    paradigm: Paradigm,
    setting: Setting,
    start: tuple[float, float],
    times: np.ndarray,
    clock: np.ndarray,
    edges: np.ndarray,
) -> list[tuple[float, float]]:
    """mu and nu to all digits of float64 at sensitive times of one trajectory.

    Args:
        paradigm: one with a first integral.
        setting: a Setting of plain numbers.
        start: (mu0, nu0).
        times: times, shape (n,).
        clock: mu - mu0 there to about ten digits, shape (n,).
        edges: clock at the end of each panel of a march over these times.

    Returns:
        (mu, nu) at each time.
    """
    with mpmath.workdps(DIGITS):
        furthest = max(abs(c) for c in clock)
        needed = [
            float(e)
            for e in np.unique(edges)[:: 1 if edges[-1] > 0 else -1]
            if 0 < abs(e) < furthest
        ]
        orbit = Orbit(paradigm, setting, start, needed)
        return [orbit.at(float(t), float(c)) for t, c in zip(times, clock, strict=True)]
