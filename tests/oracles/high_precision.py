"""Trajectories of the attention flows to 25 digits and more, by two unrelated methods in mpmath.

`trajectory` uses that mu is a clock: the first integral gives the focus at each mu, the time is a
quadrature over mu, and the mu of a given time is its root. `taylor_trajectory` knows no first
integral: it sums the Taylor series of the differential equations in time, step by step.
Conventions: psi is what attention averages, delta = nu - nu0, w = e^nu/(m - 1), Phi' without the
factor `ratio` (focus rate over classifier rate). Nothing comes from attnflow.

Precision replaces cleverness: everything is computed with enough spare digits that no cancellation
matters, whatever the setting. A float64 input means exactly that binary number.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from mpmath import mp, mpf

Real = Any  # an mpmath number: mpmath has no types
Result = dict[str, Real]
PARADIGMS = ("soft", "hard", "lvml", "power")
GUARD = 18  # digits by which the quadrature is better than what is asked for


def _exact(value: Any) -> Real:
    """Turn int, float, Fraction, decimal string or mpf into an mpf (floats exactly)."""
    if isinstance(value, Fraction):
        return mpf(value.numerator) / value.denominator
    return mpf(value)


@lru_cache(maxsize=8)
def _gauss(
    count: int, dps: int
) -> tuple[list[Real], list[Real], list[list[Real]], list[list[Real]]]:
    """Return Gauss-Legendre nodes and weights, the matrix of running integrals, and two probes.

    Row i of the matrix integrates the interpolant from -1 to node i; the probes give its last two
    Legendre coefficients, whose size tells how well it is resolved.
    """
    with mp.workdps(dps + 15):
        nodes, weights, tables = [], [], []
        for guess in np.polynomial.legendre.leggauss(count)[0]:
            x = mpf(float(guess))
            for _ in range(math.ceil(math.log2(dps)) + 1):
                p = _legendre(x, count)
                slope = count * (x * p[count] - p[count - 1]) / (x * x - 1)
                x -= p[count] / slope
            p = _legendre(x, count)
            slope = count * (x * p[count] - p[count - 1]) / (x * x - 1)
            nodes.append(x)
            weights.append(2 / ((1 - x * x) * slope**2))
            tables.append(p)
        running = []
        for i in range(count):
            p = tables[i]
            integral = [(p[k + 1] - p[k - 1]) / 2 for k in range(1, count)]
            integral.insert(0, (nodes[i] + 1) / 2)
            running.append(
                [w * mp.fdot(integral, q[:count]) for w, q in zip(weights, tables, strict=True)]
            )
        probes = [
            [w * q[k] * (2 * k + 1) / 2 for w, q in zip(weights, tables, strict=True)]
            for k in (count - 1, count - 2)
        ]
    return nodes, weights, running, probes


def _legendre(x: Real, count: int) -> list[Real]:
    values = [mpf(1), x]
    for k in range(1, count):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    return values


class _Clock:
    """Time as a function of mu for one setting and start, in Gauss panels kept for reuse."""

    def __init__(self, paradigm, m, C, mu0, nu0, ratio, s, digits, dps):
        self.paradigm, self.m, self.C = paradigm, m, C
        self.digits, self.dps = digits, dps
        with mp.workdps(dps):
            self.mu0, self.nu0 = _exact(mu0), _exact(nu0)
            self.ratio, self.s = _exact(ratio), _exact(s)
            self.logC = mp.log(C)
            self.w0 = mp.exp(self.nu0) / (m - 1)
            self.count = digits + 15
            self.phi0 = self.potential(self.mu0)
            slope = self.potential_slope(self.mu0)
            self.width = min(mpf(1) / 2, 1 / (1 + abs(self.ratio * slope)))
        # Each edge: mu, difference of the potential from the start, time.
        self.edges = [(self.mu0, mpf(0), mpf(0))]

    def potential(self, mu):
        """Phi in closed form, or None where it is integrated panel by panel."""
        C = self.C
        if self.paradigm == "soft":
            return (C - 1) * mu**2 / (2 * C)
        if self.paradigm == "lvml":
            e = mp.exp(mu)
            return mpf(C - 1) / C**2 * (e - 1 - mu + (C - 1) * (1 / e - 1 + mu))
        return None

    def potential_slope(self, mu):
        """Phi' = ((C - 1)/C) psi/psi' for every paradigm."""
        C = self.C
        if self.paradigm == "soft":
            return (C - 1) * mu / C
        e = mp.exp(mu)
        total = e + C - 1
        if self.paradigm == "lvml":
            return total * (1 - total / (C * e)) / C
        gain = mu + self.logC - mp.log(total)
        if self.paradigm == "hard":
            return total * gain / C
        return total * (1 - mp.exp(-self.s * gain)) / (self.s * C)

    def focus(self, rise):
        """Solve delta + w0 (e^delta - 1) = rise; return delta and w = w0 e^delta."""
        w0, p, target = float(self.w0), float(rise), rise
        guess = p / (1 + w0)
        if p > 0:
            guess = min(guess, math.log1p(p / w0))
        for _ in range(100):  # convex and increasing, from the right: monotone in exact arithmetic
            grown = w0 * math.expm1(guess)
            step = (guess + grown - p) / (1 + w0 + grown)
            guess -= step
            if abs(step) <= 4e-16 * abs(guess):
                break
        delta, w, step = mpf(guess), self.w0, mpf(0)
        for _ in range(20):  # fourth-order steps
            w = self.w0 * mp.exp(delta)
            f = delta + (w - self.w0) - target
            f1 = 1 + w
            step = -f * (f1 * f1 - f * w / 2) / (f1**3 - f * f1 * w + f * f * w / 6)
            delta += step
            if abs(step) <= mpf(10) ** (-(self.digits + GUARD + 10) // 4) * abs(delta):
                break
        # exp(step) by its series: the step is below 1e-11 here, and the next term below 1e-70.
        term, growth = mpf(1), mpf(1)
        for k in range(1, 8):
            term = term * step / k
            growth += term
        return delta, w * growth

    def pace(self, mu, w):
        """dt/dmu."""
        C = self.C
        if self.paradigm == "soft":
            return (mp.exp(mu * w / (1 + w)) + C - 1) * (1 + 1 / w)
        e = mp.exp(mu)
        total = e + C - 1
        if self.paradigm == "hard":
            return total * (1 + 1 / w)
        if self.paradigm == "lvml":
            return total * (1 + total / (e * C * w))
        gain = mu + self.logC - mp.log(total)
        return total * (1 + mp.exp(-self.s * gain) / w)

    def span(self, edge, width):
        """Integrate from an edge over a width; return mu, rise, time at its end, and the residue.

        The residue is how large the last Legendre coefficients are beside the largest value: of
        dt/dmu (where the square of it bounds the Gauss rule's error) and of Phi'.
        """
        start, rise0, time0 = edge
        nodes, weights, running, probes = _gauss(self.count, self.dps)
        half = width / 2
        mus = [start + half * (1 + x) for x in nodes]
        end = start + width
        residue_slope = mpf(0)
        if self.phi0 is not None:
            rises = [self.ratio * (self.potential(mu) - self.phi0) for mu in mus]
            rise1 = self.ratio * (self.potential(end) - self.phi0)
        else:
            slopes = [self.potential_slope(mu) for mu in mus]
            scale = self.ratio * half
            rises = [rise0 + scale * mp.fdot(row, slopes) for row in running]
            rise1 = rise0 + scale * mp.fdot(weights, slopes)
            size = max(abs(v) for v in slopes) or mpf(1)
            residue_slope = max(abs(mp.fdot(q, slopes)) for q in probes) / size
        paces = [self.pace(mu, self.focus(r)[1]) for mu, r in zip(mus, rises, strict=True)]
        time1 = time0 + half * mp.fdot(weights, paces)
        residue = max(abs(mp.fdot(q, paces)) for q in probes) / max(paces)
        return (end, rise1, time1), residue, residue_slope

    def extend(self):
        """Add one panel, narrowed until both integrands are resolved."""
        wanted = self.digits + GUARD
        width = self.width
        while True:
            edge, residue, residue_slope = self.span(self.edges[-1], width)
            # Digits held against digits wanted: half as many suffice for the Gauss rule.
            tiny = mpf(10) ** (-3 * wanted)
            spare = min(
                float(-mp.log10(residue + tiny)) - (wanted + 4) / 2,
                float(-mp.log10(residue_slope + tiny)) - wanted,
            )
            factor = 0.9 * 10 ** (spare / self.count)
            if spare >= 0:
                self.edges.append(edge)
                self.width = min(mpf(2), width * mpf(min(3.0, max(0.5, factor))))
                return
            width *= mpf(max(0.1, min(0.9, factor)))

    def locate(self, t):
        """Return mu and rise at time t by safeguarded Newton in the panel that holds t."""
        while self.edges[-1][2] <= t:
            self.extend()
        index = next(k for k in range(1, len(self.edges)) if self.edges[k][2] > t)
        left, right = self.edges[index - 1], self.edges[index]
        low, high = mpf(0), right[0] - left[0]
        step = (t - left[2]) / self.pace(left[0], self.focus(left[1])[1])
        if not step < high:
            step = high * (t - left[2]) / (right[2] - left[2])
        half_of_digits = mpf(10) ** -((self.digits + GUARD) // 2 + 2)
        for _ in range(200):
            point, _, _ = self.span(left, step)
            change = (t - point[2]) / self.pace(point[0], self.focus(point[1])[1])
            low, high = (low, step) if change < 0 else (step, high)
            # Newton doubles the digits: once half of them stand, this step makes all of them.
            done = abs(change) <= half_of_digits * step
            step += change
            if done:
                return self.span(left, step)[0][:2]
            if not low < step < high:
                step = (low + high) / 2
        raise RuntimeError(f"no mu found for t = {t}")


@lru_cache(maxsize=64)
def _clock(paradigm, m, C, mu0, nu0, ratio, s, digits, dps):
    return _Clock(paradigm, m, C, mu0, nu0, ratio, s, digits, dps)


def _observe(paradigm: str, m: int, C: int, s: Real, mu: Real, nu: Real, w: Real) -> Result:
    """Everything that follows from mu, nu and w = e^nu/(m - 1)."""
    alpha, complement = w / (1 + w), 1 / (1 + w)
    e = mp.exp(mu)
    beta, miss = e / (e + C - 1), (C - 1) / (e + C - 1)
    if paradigm == "soft":
        loss = mp.log(1 + (C - 1) * mp.exp(-alpha * mu))
    elif paradigm == "hard":
        loss = -alpha * mp.log(1 - miss) + complement * mp.log(C)
    elif paradigm == "lvml":
        loss = -mp.log(1 - alpha * miss - complement * mpf(C - 1) / C)
    else:
        loss = mp.log(C) - mp.log(1 + alpha * ((C * beta) ** s - 1)) / s
    names = ("mu", "nu", "alpha", "complement", "beta", "loss")
    return dict(zip(names, (mu, nu, alpha, complement, beta, loss), strict=True))


def _check(paradigm: str, m: int, C: int) -> None:
    if paradigm not in PARADIGMS:
        raise ValueError(f"paradigm is {paradigm!r}, allowed are {', '.join(PARADIGMS)}")
    if m < 2 or C < 2:
        raise ValueError(f"m is {m} and C is {C}, both must be at least 2")


def trajectory(
    paradigm: str,
    m: int,
    C: int,
    t: Any,
    mu0: Any = 0,
    nu0: Any = 0,
    ratio: Any = 1,
    digits: int = 25,
    s: Any = 0.5,
) -> Result:
    """Return mu, nu, alpha, complement (1 - alpha), beta and loss at time t, as mpmath numbers.

    Right to at least `digits` digits for 2 <= m, C <= 1e6, 1e-6 <= t <= 1e15 and starts within
    [-5, 20]; relative, save where a value passes through 0 (then of its terms). `ratio` is the
    focus learning rate over the classifier's; `s` is the exponent of paradigm "power". Numbers
    are taken exactly (floats as binary), strings as decimals. Repeated calls with one setting and
    start share their panels.
    """
    _check(paradigm, m, C)
    with mp.workdps(50):
        w0 = mp.exp(_exact(nu0)) / (m - 1)
        time = _exact(t)
        if time < 0:
            raise ValueError(f"t is {t}, must be at least 0")
        # Digits lost where mu - mu0 is small: its square is the size of nu - nu0.
        motion = time * w0 / (1 + w0) / (mp.exp(_exact(mu0)) + C - 1)
        lost = max(0, int(-2 * mp.log10(motion))) if time > 0 else 0
    dps = digits + GUARD + 40 + 20 * math.ceil(lost / 20)
    key = (paradigm, m, C, mu0, nu0, ratio, s if paradigm == "power" else 0, digits, dps)
    clock = _clock(*key)
    with mp.workdps(dps):
        mu, rise = clock.locate(_exact(t))
        delta, w = clock.focus(rise)
        return _observe(paradigm, m, C, clock.s, mu, clock.nu0 + delta, w)


def taylor_trajectory(
    paradigm: str,
    m: int,
    C: int,
    t: Any,
    mu0: Any = 0,
    nu0: Any = 0,
    ratio: Any = 1,
    digits: int = 25,
    s: Any = 0.5,
) -> Result:
    """Return what `trajectory` returns, by Taylor series in time with steps that fit their decay.

    No first integral, no quadrature, no clock: the check on the other method. For modest settings,
    its cost grows with the number of steps.
    """
    _check(paradigm, m, C)
    dps = digits + 25
    order = dps
    with mp.workdps(dps + 10):
        mu, nu, end = _exact(mu0), _exact(nu0), _exact(t)
        rho, power = _exact(ratio), _exact({"lvml": 1}.get(paradigm, s))
        now = mpf(0)
        while now < end:
            mus, nus = _taylor(paradigm, m, C, mu, nu, rho, power, order)
            tolerance = mpf(10) ** -dps
            step = end - now
            for series in (mus, nus):
                scale = max(abs(series[0]), mpf(10) ** -10)
                for k in (order, order - 1):
                    if series[k]:
                        step = min(step, mp.root(tolerance * scale / abs(series[k]), k))
            mu, nu = mp.polyval(mus[::-1], step), mp.polyval(nus[::-1], step)
            now = end if step == end - now else now + step
        return _observe(paradigm, m, C, power, mu, nu, mp.exp(nu) / (m - 1))


def _product(x: list[Real], y: list[Real], k: int) -> Real:
    """Coefficient k of x y."""
    return mp.fdot(x[: k + 1], y[k::-1])


def _slope_product(x: list[Real], y: list[Real], k: int) -> Real:
    """Coefficient k of x dy/dt."""
    return mp.fdot(x[: k + 1], [(j + 1) * y[j + 1] for j in range(k, -1, -1)])


def _append_inverse(inverse: list[Real], divisor: list[Real]) -> None:
    """Append the next coefficient of 1/divisor."""
    rest = mp.fdot(divisor[1:], inverse[::-1]) if inverse else mpf(-1)
    inverse.append(-rest / divisor[0])


def _taylor(paradigm, m, C, mu, nu, rho, s, order):
    """Taylor coefficients of mu and nu in time, by recurrences for each product and quotient."""
    e, f = mp.exp(nu), mp.exp(mu)
    mus, nus = [mu], [nu]
    a, b = [e / (e + m - 1)], [(m - 1) / (e + m - 1)]  # alpha and 1 - alpha
    hit, miss = [f / (f + C - 1)], [(C - 1) / (f + C - 1)]  # beta and 1 - beta
    gain = [mp.log(C * hit[0])]  # log(C beta)
    up = [(C * hit[0]) ** s]  # (C beta)^s
    y, grown = [a[0] * mu], [mp.exp(a[0] * mu)]  # alpha mu and its exponential
    ab, hit_miss, inverse, helper, helper2, mixed = [], [], [], [], [], []
    for k in range(order):
        ab.append(_product(a, b, k))
        if paradigm == "soft":  # inverse = 1/(e^y + C - 1)
            _append_inverse(inverse, [grown[0] + C - 1, *grown[1:]])
            helper.append(_product(mus, inverse, k))
            mu_rate = _product(a, inverse, k)
            nu_rate = rho * (C - 1) * _product(ab, helper, k) / C
        elif paradigm == "hard":
            mu_rate = _product(a, miss, k) / (C - 1)
            nu_rate = rho * _product(ab, gain, k) / C
        else:  # inverse = 1/(alpha (C beta)^s + 1 - alpha)
            mixed.append(_product(a, up, k))
            _append_inverse(inverse, [x + z for x, z in zip(mixed, b, strict=True)])
            helper.append(_product(mixed, inverse, k))
            helper2.append(_product(ab, inverse, k))
            mu_rate = _product(helper, miss, k) / (C - 1)
            nu_rate = rho * _product(helper2, [up[0] - 1, *up[1:]], k) / (s * C)
        mus.append(mu_rate / (k + 1))
        nus.append(nu_rate / (k + 1))
        a_rate = _slope_product(ab, nus, k)
        a.append(a_rate / (k + 1))
        b.append(-a_rate / (k + 1))
        if paradigm == "soft":
            y.append(_product(a, mus, k + 1))
            grown.append(_slope_product(grown, y, k) / (k + 1))
        else:
            hit_miss.append(_product(hit, miss, k))
            rate = _slope_product(hit_miss, mus, k)
            hit.append(rate / (k + 1))
            miss.append(-rate / (k + 1))
            gain.append(_slope_product(miss, mus, k) / (k + 1))
            up.append(s * _slope_product(up, gain, k) / (k + 1))
    return mus, nus
