"""What every exported Python module brings along: orbits in closed form, from NumPy alone.

The text of this module below the mark is copied in front of the printed formulas, for JAX with
``jax.numpy`` as ``np``; so it knows nothing of attnflow. Panels of Gauss points are laid along the
margin, as wide as a polynomial resolves; the focus follows from the first integral relative to the
start of each panel, so that no digit is lost however small the motion.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
import numpy as np

# --- copied from here -----------------------------------------------------------------------------

POINTS = 20  # Gauss points a panel
PANELS = 400  # most attempts to lay a panel
RESOLVED = 1e-13  # size of the last two Legendre coefficients, relative to the mean


def _tables() -> Any:
    """Gauss points and weights on [0, 1]; integrals up to each point; the last coefficients."""
    nodes, weights = numpy.polynomial.legendre.leggauss(POINTS)
    values = numpy.polynomial.legendre.legvander(nodes, POINTS)
    degrees = numpy.arange(POINTS)[:, None]
    coefficients = (degrees + 0.5) * values[:, :POINTS].T * weights
    running = [nodes + 1]
    running += [(values[:, d + 1] - values[:, d - 1]) / (2 * d + 1) for d in range(1, POINTS)]
    return (nodes + 1) / 2, weights / 2, numpy.stack(running, 1) @ coefficients / 2, coefficients


NODES, WEIGHTS, RUNNING, COEFFICIENTS = _tables()


def repeated(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    """The state after ``count`` steps."""
    for _ in range(count):
        state = step(state)
    return state


def recorded(step: Callable[[Any], Any], state: Any, done: Callable[[Any], Any]) -> Any:
    """What each step notes, one array a quantity, until the state is done."""
    rows = []
    while len(rows) < PANELS and not (rows and done(state)):
        state, row = step(state)
        rows.append(row)
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def _log_quotient(n: Any, d: Any, gap: Any) -> Any:
    """log(n/d) with gap = n - d."""
    near = np.abs(gap) < 0.5 * np.abs(d)
    small = np.log1p(np.where(near, gap, 0.0) / d)
    return np.where(near, small, np.log(np.where(near, 1.0, n / d)))


def increment(force: Any, odds: Any) -> Any:
    """delta with delta + odds expm1(delta) = force: how far the focus score moves, to all digits.

    This is the first integral between two points: odds = e^nu/B at the first, force = rho times
    the change of the potential. Householder's method from the nearer of two bounds.
    """
    rising = np.minimum(force, np.log1p(np.maximum(force, 0.0) / odds))
    falling = np.minimum(force / (1 + odds), force + odds)
    delta = np.where(force > 0, rising, falling)
    for _ in range(4):
        residual = delta + odds * np.expm1(delta) - force
        bend = odds * np.exp(delta)
        slope = 1 + bend
        delta = delta - residual * (slope**2 - residual * bend / 2) / (
            slope * (slope**2 - residual * bend) + residual**2 * bend / 6
        )
    return delta


def integral(function: Callable[[Any, Any], Any], low: Any, high: Any, parameter: Any) -> Any:
    """The integral of a function, by 64 panels of Gauss points; limits may be arrays."""
    parameter = np.asarray(parameter, float)[..., None, None]
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    share = (np.arange(64)[:, None] + NODES) / 64
    values = function(low[..., None, None] + (high - low)[..., None, None] * share, parameter)
    return (high - low) / 64 * np.sum(values * WEIGHTS, axis=(-2, -1))


class Orbit(NamedTuple):
    """One orbit, as functions of the margin gained since the start and of the score gained."""

    drive: Callable[[Any], Any]  # (clock) -> rho Phi'
    pace: Callable[[Any, Any], Any]  # (clock, companion) -> dt/dmu
    odds: Any  # e^nu/B at the start


class Part(NamedTuple):
    """What is gained from the start of a panel to a share of it."""

    companion: Any
    time: Any
    pace: Any
    at_points: Any


def _part(orbit: Orbit, clock: Any, companion: Any, width: Any) -> Part:
    """From (clock, companion) over a width; all may be arrays of one shape."""
    clock, companion, width = (np.asarray(v)[..., None] for v in (clock, companion, width))
    drive = orbit.drive(clock + width * NODES)
    odds = orbit.odds * np.exp(companion)
    inside = companion + increment(width * (drive @ RUNNING.T), odds)
    pace = orbit.pace(clock + width * NODES, inside)
    gained = increment(width * (drive @ WEIGHTS)[..., None], odds)
    end = orbit.pace(clock + width, companion + gained)
    return Part(gained[..., 0], width[..., 0] * (pace @ WEIGHTS), end[..., 0], (drive, pace))


def _march(orbit: Orbit, done: Callable[[Any], Any]) -> Any:
    """Panels from the start until one is done: clock, companion and time at starts and ends."""
    sign = np.sign(orbit.pace(np.asarray(0.0), np.asarray(0.0)))

    def step(state: Any) -> Any:
        clock, companion, time, width = state
        used = np.where(done(state), 0.0, width)
        part = _part(orbit, clock, companion, sign * used)
        rough = [np.abs(v @ COEFFICIENTS[-2:].T).max() / np.abs(v).mean() for v in part.at_points]
        error = np.maximum(*rough)
        sound = (error < RESOLVED) & (part.time >= 0) & np.isfinite(part.time)
        factor = np.where(sound, (0.1 * RESOLVED / (error + 1e-17)) ** (1 / POINTS), 0.4)
        gained = [np.where(sound, v, 0.0) for v in (sign * used, part.companion, part.time)]
        new = (clock + gained[0], companion + gained[1], time + gained[2])
        return (*new, width * np.clip(factor, 0.4, 4.0)), (clock, companion, time, *new)

    start = np.asarray(0.0)
    return recorded(step, (start, start, start, np.asarray(0.25)), done)


def time_at(orbit: Orbit, clock: Any) -> Any:
    """The time at which a margin is gained; nan where the orbit does not lead there."""
    clock = np.asarray(clock, float)
    far = np.max(np.abs(clock), initial=0.0)
    panels = _march(orbit, lambda state: np.abs(state[0]) >= far)
    ends = np.abs(panels[3])
    place = np.minimum(np.searchsorted(ends, np.abs(clock)), len(ends) - 1)
    start, companion, time = (column[place] for column in panels[:3])
    ahead = (clock * np.sign(panels[3][-1]) >= 0) & (np.abs(clock) <= ends[place])
    return np.where(ahead, time + _part(orbit, start, companion, clock - start).time, np.nan)


def state_at(orbit: Orbit, time: Any) -> Any:
    """Margin and score gained at times; nan where the panels do not reach."""
    time = np.asarray(time, float)
    last = np.max(time, initial=0.0)
    panels = _march(orbit, lambda state: state[2] >= last)
    place = np.minimum(np.searchsorted(panels[5], time), len(panels[5]) - 1)
    clock, companion, begun, end, _, ended = (column[place] for column in panels)
    passed, whole = time - begun, end - clock

    def step(state: Any) -> Any:
        """Newton's method between two bounds, by bisection where it would leave them."""
        low, high, width = state
        part = _part(orbit, clock, companion, width)
        late = part.time > passed
        low, high = np.where(late, low, width), np.where(late, width, high)
        new = width - (part.time - passed) / part.pace
        # a last correction may leave the bounds by its rounding
        outside = ((new - low) * (new - high) > 0) & (np.abs(new - width) > 1e-9 * np.abs(width))
        return low, high, np.where(outside, (low + high) / 2, new)

    share = np.where(ended > begun, passed / np.where(ended > begun, ended - begun, 1.0), 0.0)
    width = repeated(step, (0.0 * whole, whole, whole * share), 20)[2]
    known = (time >= 0) & (time <= ended)
    gained = _part(orbit, clock, companion, width).companion
    return (
        np.where(known, clock + width, np.nan),
        np.where(known, companion + gained, np.nan),
    )
