"""Time along an orbit as one quadrature, and its inverse: panels of Gauss points in the clock.

A trajectory is monotone in a clock c (mu; x = logit alpha where the classifier is frozen), so time
is t(c) = integral of the pace dt/dc. ``march`` lays panels end to end, each as wide as a polynomial
of the pace allows (coefficients fall geometrically; the width follows from how fast), so the number of panels
grows with the logarithm of the horizon at most. ``Track`` says what the pace is. On an orbit the companion x follows
from the first integral, x + e^x = z, solved relative to the start of the panel:
delta + e^x expm1(delta) = rho (Phi - Phi_panel), which loses no digit however small the motion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

POINTS = 16  # Gauss points a panel
PANELS = 160  # room for panels of one trajectory; about 20 to 60 are used
TOLERANCE = 2e-15  # size of the last coefficients of the pace, relative to its mean


def _tables() -> tuple[np.ndarray, ...]:
    """Gauss points and weights on [0, 1], and matrices from values there to Chebyshev coefficients."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    vander = np.polynomial.legendre.legvander(nodes, POINTS)
    degrees = np.arange(POINTS)
    to_legendre = (degrees[:, None] + 0.5) * (vander[:, :POINTS].T * weights)
    # integral of P_k from -1: (P_{k+1} - P_{k-1})/(2k + 1)
    integral = np.empty((POINTS, POINTS))
    integral[:, 0] = nodes + 1
    for d in range(1, POINTS):
        integral[:, d] = (vander[:, d + 1] - vander[:, d - 1]) / (2 * d + 1)
    cumulative = integral @ to_legendre / 2
    points = (nodes + 1) / 2
    chebyshev = np.polynomial.chebyshev.chebvander(nodes, POINTS - 1)
    mean = np.linalg.solve(chebyshev, cumulative / points[:, None])
    values = np.linalg.solve(chebyshev, np.eye(POINTS))
    return points, weights / 2, cumulative, mean, values


_POINTS, _WEIGHTS, _CUMULATIVE, _MEAN, _VALUES = _tables()


@jax.custom_jvp
def increment(force: Any, weight: Any) -> Any:
    """delta with delta + weight * expm1(delta) = force, relatively accurate however small.

    This is the first integral x + e^x = z between two points of an orbit: weight = e^x at the
    first, delta the change of x, force the change of z.
    """
    # the residual is convex and increasing: start above the root, on the nearer of two bounds
    rising = jnp.minimum(force, jnp.log1p(jnp.maximum(force, 0.0) / weight))
    falling = jnp.minimum(force / (1 + weight), force + weight)
    delta = jnp.where(force > 0, rising, falling)
    for _ in range(4):
        grown = weight * jnp.expm1(delta)
        residual = delta + grown - force
        slope = 1 + weight + grown
        bend = weight + grown
        delta = delta - residual * (slope**2 - residual * bend / 2) / (
            slope * (slope**2 - residual * bend) + residual**2 * bend / 6
        )
    return delta


@increment.defjvp
def _increment_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    force, weight = primals
    delta = increment(force, weight)
    grown = jnp.expm1(delta)
    tangent = (tangents[0] - grown * tangents[1]) / (1 + weight + weight * grown)
    return delta, tangent


class Track(NamedTuple):
    """What is marched along: a clock with its pace, and the companion that the clock carries.

    Attributes:
        drive: (clock) -> d z/d clock, what moves the companion (0 where it is frozen).
        pace: (clock, companion's weight e^x) -> dt/d clock.
        clock: start of the clock.
        weight: e^x at the start; the companion is carried as the change of x since then.
    """

    drive: Callable[[Any], Any]
    pace: Callable[[Any, Any], Any]
    clock: Any
    weight: Any


class Panel(NamedTuple):
    """One panel: where it starts, how wide, and the mean pace and drive from its start to any point."""

    clock: Any
    companion: Any
    time: Any
    width: Any
    pace: Any  # Chebyshev coefficients of the mean of dt/dclock from the panel's start, (..., POINTS)
    drive: Any  # the same of the drive


def _panel(track: Track, clock: Any, companion: Any, time: Any, width: Any) -> tuple[Panel, Any, Any]:
    """The panel of that width, the pace and the drive at its points."""
    at = clock + width * _POINTS
    drive = track.drive(at)
    weight = track.weight * jnp.exp(companion)
    moved = increment(width * (_CUMULATIVE @ drive), weight)
    pace = track.pace(at, weight * jnp.exp(moved))
    return Panel(clock, companion, time, width, _MEAN @ pace, _MEAN @ drive), pace, drive


def _finish(track: Track, panel: Panel, pace: Any, drive: Any) -> tuple[Any, Any, Any]:
    """Clock, companion and time at the end of a panel."""
    force = panel.width * jnp.dot(_WEIGHTS, drive)
    companion = panel.companion + increment(force, track.weight * jnp.exp(panel.companion))
    return panel.clock + panel.width, companion, panel.time + panel.width * jnp.dot(_WEIGHTS, pace)


def _growth(values: Any, floor: Any) -> tuple[Any, Any]:
    """Whether a panel resolves these values, and by what factor its width may change.

    Chebyshev coefficients fall as a power of the width: the middle ones, well above rounding,
    say how wide a panel may be for the last ones to fall below the tolerance.
    """
    coefficients = jnp.abs(_VALUES @ values)
    scale = floor + 1e-300
    middle = jnp.max(coefficients[POINTS // 2 : POINTS // 2 + 2]) / scale
    tail = jnp.max(coefficients[-2:]) / scale
    factor = (TOLERANCE ** (0.5) / (middle + 1e-16)) ** (2.0 / POINTS)
    return tail < 20 * TOLERANCE, factor


class March(NamedTuple):
    """State of a march: the next panel's start, its width, and the count."""

    clock: Any
    companion: Any
    time: Any
    width: Any
    count: Any
    tries: Any
    stuck: Any


def march(track: Track, first: Any, last: Any, visit: Callable[..., Any], kept: Any) -> tuple[March, Any]:
    """Lay panels until the time ``last`` is covered.

    Args:
        track: pace, drive and start.
        first: shortest time asked for; the first panel does not reach much further.
        last: longest time asked for.
        visit: (kept, panel, end_time, count, accepted) -> kept, called for each tried panel.
        kept: what visit accumulates.

    Returns:
        The final march (``stuck`` where the clock stands still: an equilibrium) and ``kept``.
    """
    start_pace = track.pace(track.clock, track.weight)
    sign = jnp.sign(start_pace)
    still = ~jnp.isfinite(start_pace)
    width = jnp.where(still, 0.0, sign * jnp.minimum(first / jnp.abs(start_pace), 1.0))
    start = March(
        track.clock, 0.0 * track.clock, 0.0 * track.clock, width, 0, 0, still | (last <= 0)
    )

    def going(carry: tuple[March, Any]) -> Any:
        state, _ = carry
        return (state.time < last) & ~state.stuck & (state.count < PANELS) & (state.tries < 4 * PANELS)

    def step(carry: tuple[March, Any]) -> tuple[March, Any]:
        state, kept = carry
        panel, pace, drive = _panel(track, state.clock, state.companion, state.time, state.width)
        clock, companion, time = _finish(track, panel, pace, drive)
        resolved, factor = _growth(pace, jnp.min(jnp.abs(pace)))
        smooth, factor_drive = _growth(drive, jnp.max(jnp.abs(drive)))
        sound = jnp.all(jnp.isfinite(pace) & (pace * sign > 0))
        good = resolved & smooth & sound
        factor = jnp.where(sound, jnp.minimum(factor, factor_drive), 0.25)
        factor = jnp.where(good, jnp.clip(factor, 0.5, 8.0), jnp.clip(0.9 * factor, 0.1, 0.7))
        kept = visit(kept, panel, time, state.count, good)
        width = state.width * factor
        tiny = jnp.abs(width) < 4e-16 * jnp.abs(state.clock) + 1e-300
        moved = March(clock, companion, time, width, state.count + 1, state.tries + 1, state.stuck | (clock == state.clock))
        held = state._replace(width=width, tries=state.tries + 1, stuck=state.stuck | tiny)
        return jax.tree.map(partial(jnp.where, good), moved, held), kept

    return lax.while_loop(going, step, (start, kept))


def _clenshaw(coefficients: Any, at: Any) -> tuple[Any, Any]:
    """A Chebyshev series on [0, 1] and its derivative, coefficients on the last axis."""
    argument = 2 * (2 * at - 1)
    one = two = d_one = d_two = jnp.zeros_like(at)
    for d in range(POINTS - 1, 0, -1):
        d_one, d_two = 2 * one + argument * d_one - d_two, d_one
        one, two = coefficients[..., d] + argument * one - two, one
    value = coefficients[..., 0] + argument / 2 * one - two
    return value, 2 * (one + argument / 2 * d_one - d_two)


def locate(track: Track, panel: Panel, time: Any, end: Any) -> tuple[Any, Any]:
    """Clock and companion at a time inside a panel that ends at time ``end``.

    Newton's method on the mean pace, from the time that an exponential pace would take.
    """
    share = jnp.clip((time - panel.time) / (end - panel.time), 0.0, 1.0)
    target = (time - panel.time) / panel.width
    left, _ = _clenshaw(panel.pace, 0.0 * share)
    mean, slope = _clenshaw(panel.pace, 1.0 + 0.0 * share)
    ratio = jnp.log((mean + slope) / left)
    at = jnp.where(jnp.abs(ratio) < 1e-3, share, jnp.log1p(share * jnp.expm1(ratio)) / jnp.where(ratio == 0, 1.0, ratio))
    for _ in range(4):
        mean, slope = _clenshaw(panel.pace, at)
        at = jnp.clip(at - (at * mean - target) / (mean + at * slope), 0.0, 1.0)
    force, _ = _clenshaw(panel.drive, at)
    companion = panel.companion + increment(
        panel.width * at * force, track.weight * jnp.exp(panel.companion)
    )
    return panel.clock + panel.width * at, companion


def along(track: Track, edges: Any, clock: Any) -> tuple[Any, Any]:
    """Time and companion when the clock shows given values, by panels between fixed edges.

    Differentiable in the track; ``march`` finds the edges.

    Args:
        track: pace, drive and start.
        edges: end of each panel, shape (panels,).
        clock: values of the clock, shape (n,), within the panels.

    Returns:
        Time and companion, shape (n,).
    """

    def step(state: tuple[Any, Any, Any], edge: Any) -> tuple[Any, Panel]:
        panel, pace, drive = _panel(track, *state, edge - state[0])
        _, companion, time = _finish(track, panel, pace, drive)
        return (edge, companion, time), panel

    zero = jnp.zeros_like(track.clock)
    _, table = lax.scan(step, (track.clock, zero, zero), edges)
    forward = jnp.sign(edges[-1] - edges[0] + jnp.where(edges[-1] == edges[0], edges[0] - track.clock, 0.0))
    index = jnp.searchsorted(forward * edges, forward * clock, method="scan_unrolled")
    index = jnp.minimum(index, edges.shape[0] - 1)
    panel = jax.tree.map(lambda a: a[index], table)
    # a panel of no width (none was needed there) has its clock at its start
    at = (clock - panel.clock) / jnp.where(panel.width == 0, 1.0, panel.width)
    force, _ = _clenshaw(panel.drive, at)
    mean, _ = _clenshaw(panel.pace, at)
    moved = clock - panel.clock
    companion = panel.companion + increment(moved * force, track.weight * jnp.exp(panel.companion))
    return panel.time + moved * mean, companion
