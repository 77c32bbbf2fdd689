"""Time along an orbit as one quadrature, and its inverse: Gauss panels in the clock.

A trajectory is monotone in a clock c (mu; x = logit alpha where the classifier is frozen), so time
is t(c) = integral of the pace dt/dc, computed in panels of 20 Gauss points. On an orbit the pace
also depends on x, which follows from the first integral: x + e^x = z, where z moves by the integral
of the drive rho Phi'. ``Track`` says what is integrated; two ways lay panels
one after the other:

``march``, quick: one time for each of many tracks side by side, in few wide panels (the width
follows from where x(z) branches, z = -1 +- i pi), the last of which is laid again to end at the
time. ``march``, careful: panels as wide as the coefficients of pace and drive allow; for what the
width rule does not know (equilibria, singular ends, frozen parts, any other loss). Panels for many
times along one track are planned, laid and read together by numeric/dense.py.

Arrays have points on the first axis and tracks or panels on the last, in NumPy or JAX.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from attnflow.numeric.namespace import namespace, while_loop
from attnflow.numeric.wright import increment, log_omega_pair

POINTS = 20  # Gauss points a panel
PANELS = 160  # most panels of a careful march; about 10 to 60 are used
QUICK = (
    48  # most panels tried in a quick march; 2 to 4 are usual, some dozens where the drive bends
)
NOISE = 4e-15  # coefficients below may be rounding (that of e^35 is 35 half-ulps)
ENDS = 0.01  # pace, relative to its mean so far, below which the velocity is taken to diverge
TOLERANCE = 1e-15  # size of the last coefficients of the pace in a careful march, over its mean

# A quick march. A Gauss rule of N points errs by the square of the last coefficients of N points,
# so the pace need be resolved to little more than half its digits; the drive is interpolated too.
ROUGH = 2e-9
FINE = 2e-14
WIDE = 2.5  # parameter of the Bernstein ellipse that keeps clear of the branch point
WIDEST = 7.0


def _tables() -> tuple[np.ndarray, ...]:
    """Points and matrices of a panel of width 1, from values at the points.

    Integrals to the end and to each point; Chebyshev coefficients; those of the running integral;
    from these to powers of 2 u - 1; value and two derivatives at the end.
    """
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    vander = np.polynomial.legendre.legvander(nodes, POINTS)
    degrees = np.arange(POINTS)
    to_legendre = (degrees[:, None] + 0.5) * (vander[:, :POINTS].T * weights)
    # integral of P_k from -1: (P_{k+1} - P_{k-1})/(2k + 1)
    integral = np.empty((POINTS, POINTS))
    integral[:, 0] = nodes + 1
    for d in range(1, POINTS):
        integral[:, d] = (vander[:, d + 1] - vander[:, d - 1]) / (2 * d + 1)
    integrals = np.concatenate([weights[None] / 2, integral @ to_legendre / 2])
    chebyshev = np.polynomial.chebyshev
    values = np.linalg.inv(chebyshev.chebvander(nodes, POINTS - 1))
    running = np.stack([chebyshev.chebint(c, lbnd=-1) / 2 for c in values.T], axis=1)
    powers = np.zeros((POINTS + 1, POINTS + 1))
    for d in range(POINTS + 1):
        row = chebyshev.cheb2poly(np.eye(POINTS + 1)[d])
        powers[: len(row), d] = row
    ends = [np.ones(POINTS), 2.0 * degrees**2, 4.0 * degrees**2 * (degrees**2 - 1) / 3]
    return (nodes + 1) / 2, integrals, values, running, powers, np.stack(ends) @ values


NODES, INTEGRALS, VALUES, RUNNING, POWERS, _END = _tables()
# never multiply POWERS and RUNNING or VALUES beforehand: the product cancels to 3e-10
COLUMN = NODES[:, None]
_WEIGHTS = INTEGRALS[:1]
_SPAN = float(NODES[-1] - NODES[0])
_TAIL = VALUES[-2:]
_DEGREES = np.array([POINTS // 2, 3 * POINTS // 4, POINTS - 2])
_TELLING = VALUES[np.concatenate([_DEGREES, _DEGREES + 1])]  # neighbours: one may vanish


class Track(NamedTuple):
    """What is marched along: a clock with its pace, and the companion x that the clock carries.

    Attributes:
        drive: (clock) -> dz/d clock, what moves the companion (0 where it is frozen). The clock
            starts at 0, so that a small motion keeps its digits.
        pace: (clock, e^x) -> dt/d clock.
        x: the companion at the start, shape (1, tracks).
    """

    drive: Callable[[Any], Any]
    pace: Callable[[Any, Any], Any]
    x: Any

    @property
    def weight(self) -> Any:
        """e^x at the start."""
        return namespace(self.x).exp(self.x)


class Panels(NamedTuple):
    """Panels laid: drive and pace at their points, shape (POINTS, panels), and what they add to z.

    ``force`` is z minus its value at a panel's start: at the panel's end, then at each point.
    """

    drive: Any
    pace: Any
    force: Any


def _lay(track: Track, clock: Any, z: Any, width: Any) -> Panels:
    at = clock + width * COLUMN
    drive = track.drive(at)
    force = width * (INTEGRALS @ drive)
    # e^x by its absolute error of x is relatively right, which is all that the pace asks for
    weight = log_omega_pair(z + force[1:])[1]
    return Panels(drive, track.pace(at, weight), force)


def branch_point(z: Any, slope: Any, bend: Any) -> tuple[Any, Any]:
    """Real and imaginary part of the s with z + slope s + bend s^2/2 = -1 + i pi, where x branches.

    s = 2 w/(slope + sqrt(slope^2 + 2 bend w)) with w = -1 - z + i pi, by real numbers.
    """
    xp = namespace(z)
    gap = -1 - z
    re, im = slope * slope + 2 * bend * gap, 2 * math.pi * bend
    larger = xp.sqrt((xp.sqrt(re * re + im * im) + xp.abs(re)) / 2)
    other = xp.abs(im) / (2 * larger + 1e-300)
    low = slope + xp.where(re > 0, larger, other) + 1e-150  # no drive: it is never reached
    side = xp.where(re > 0, other, larger)
    twice = 2 / (low * low + side * side)
    return (gap * low + math.pi * side) * twice, (math.pi * low - gap * side) * twice


def _width(z: Any, slope: Any, bend: Any) -> Any:
    """The widest panel from here whose Bernstein ellipse excludes the branch point.

    A panel from 0 to h has s on its ellipse of parameter r where |s| + |s - h| = A h with
    A = (r + 1/r)/2.
    """
    p, q = branch_point(z, slope, bend)
    ratio = (WIDE + 1 / WIDE) / 2
    return 2 * (ratio * namespace(z).sqrt(p * p + q * q) - p) / (ratio * ratio - 1)


class March(NamedTuple):
    """Tracks side by side, each at its present panel; every entry of shape (1, tracks) or more."""

    clock: Any  # where the panel starts
    force: Any  # z minus its value at the very start
    time: Any
    width: Any  # signed
    arrived: Any  # whether the panel holds the track's time
    stuck: Any  # whether the clock stands still: an equilibrium; its clock is NaN at a singularity
    count: Any
    pace: Any  # of the panel, (POINTS, tracks)
    gain: Any  # time that the panel takes
    edges: Any  # ends of the panels gone by, (PANELS, tracks), if asked for


def march(track: Track, first: Any, last: Any, *, careful: bool, edges: bool = False) -> March:
    """Lay panels until each track's time ``last`` lies in its present one.

    Args:
        track: pace, drive and start.
        first: for a careful march the shortest time asked for; the first panel does not reach much
            further.
        last: the time to be reached, above 0, shape (1, tracks).
        careful: whether widths follow from the coefficients of pace and drive, and equilibria and
            singular ends are looked for; else from the width rule.
        edges: whether to keep the ends of panels; also resolves the inverse, so that the clock is a
            polynomial of time in each panel.
    """
    xp = namespace(track.x, last)
    zero = xp.zeros_like(last)
    z = track.x + track.weight
    pace = track.pace(zero, track.weight + zero)
    sign = xp.sign(pace)
    moving = xp.isfinite(pace) & (pace != 0)
    ahead = xp.where(moving, xp.abs(first / xp.where(moving, pace, 1.0)), 0.0)
    if careful:
        width = sign * xp.clip(ahead, 1e-280, 1.0)  # below, it would underflow
    else:
        step = 1e-3
        slope, later = track.drive(zero), track.drive(sign * step)
        rule = _width(z, sign * slope, sign * (later - slope) / step)
        # the pace falls or grows from here on: a panel too long is wasted, one too short repeated
        width = sign * xp.minimum(xp.minimum(rule, 3.0), ahead * xp.where(ahead < 0.3, 1.1, 2.0))
    # an infinite pace is rest; none, or no number, is a singularity
    start = March(
        clock=xp.where(moving | xp.isinf(pace), zero, np.nan),
        force=zero,
        time=zero,
        width=xp.where(moving, width, 0.0),
        arrived=zero > 0,
        stuck=~moving,
        count=xp.zeros(last.shape, int),
        pace=xp.ones((POINTS, 1)) + zero,
        gain=zero,
        edges=xp.zeros((PANELS, 1)) + zero if edges else zero,
    )

    def going(carry: tuple[March, Any]) -> Any:
        state, tries = carry
        left = ~(state.arrived | state.stuck) & (state.count < PANELS)
        return xp.any(left) & (tries < (4 * PANELS if careful else QUICK))

    def step_(carry: tuple[March, Any]) -> tuple[March, Any]:
        state, tries = carry
        panels = _lay(track, state.clock, z + state.force, state.width)
        gain = state.width * (_WEIGHTS @ panels.pace)
        moved = state._replace(
            clock=state.clock + state.width,
            force=state.force + panels.force[:1],
            time=state.time + gain,
            count=state.count + 1,
        )
        if careful:
            good, width, stuck, ends = _careful(track, state, moved, panels, z, sign, edges)
        else:
            good, width = _quick(state, moved, panels, z, sign)
            stuck = ends = zero > 0
        active = ~(state.arrived | state.stuck)
        arrived = active & good & (moved.time >= last)
        on = active & good & ~arrived
        kept = [
            xp.where(on, new, old)
            for new, old in zip(
                (moved.clock, moved.force, moved.time, moved.count),
                (state.clock, state.force, state.time, state.count),
                strict=True,
            )
        ]
        keep_edges = state.edges
        if edges:
            beyond = np.arange(PANELS)[:, None] >= state.count
            keep_edges = xp.where((on | arrived) & beyond, moved.clock, state.edges)
        kept[0] = xp.where(active & ends & ~arrived, np.nan, kept[0])
        return March(
            *kept[:3],
            width=xp.where(active & ~arrived, width, state.width),
            arrived=state.arrived | arrived,
            stuck=state.stuck | (active & stuck & ~arrived),
            count=kept[3],
            pace=panels.pace,
            gain=gain,
            edges=keep_edges,
        ), tries + 1

    return while_loop(xp, going, step_, (start, 0))[0]


def _quick(state: March, moved: March, panels: Panels, z: Any, sign: Any) -> tuple[Any, Any]:
    """Whether panels are good, and how wide the next are to be."""
    xp = namespace(state.clock)
    pace, drive = panels.pace, panels.drive
    tail = xp.max(xp.abs(_TAIL @ pace), 0, keepdims=True)
    smooth = xp.max(xp.abs(_TAIL @ drive), 0, keepdims=True)
    sound = xp.min(pace * sign, 0, keepdims=True) > 0  # no singular end lies within
    good = sound & (tail <= ROUGH * xp.abs(VALUES[:1] @ pace))
    good = good & (smooth <= FINE * xp.max(xp.abs(drive), 0, keepdims=True))
    slope, bend = _END[:1] @ drive, _END[1:2] @ drive / state.width
    rule = _width(z + moved.force, sign * slope, bend)
    return good, xp.where(good, sign * xp.minimum(rule, WIDEST), 0.6 * state.width)


def _careful(
    track: Track, state: March, moved: March, panels: Panels, z: Any, sign: Any, inverse: bool
) -> tuple[Any, Any, Any, Any]:
    """Whether panels are good, how wide the next are to be, and which tracks rest or end there."""
    xp = namespace(state.clock)
    pace, drive = panels.pace, panels.drive
    noise = _noise(track, moved.clock, log_omega_pair(z + moved.force)[1])
    size = xp.abs(pace)
    good, factor = _growth(pace, xp.min(size, 0, keepdims=True), noise)
    smooth, other = _growth(drive, xp.max(xp.abs(drive), 0, keepdims=True), NOISE)
    good, factor = good & smooth, xp.minimum(factor, other)
    if inverse:
        # a zero of the pace, near in the complex plane, is a pole of the inverse
        least = 1 / xp.max(size, 0, keepdims=True)
        smooth, other = _growth(1 / pace, least, noise, TOLERANCE * 1e-6)
        good, factor = good & smooth, xp.minimum(factor, other)
    sound = xp.all(xp.isfinite(pace) & (pace * sign > 0), axis=0, keepdims=True)
    good = good & sound
    factor = xp.where(sound, factor, 0.25)
    factor = xp.where(good, xp.clip(factor, 0.5, 8.0), xp.clip(factor, 0.1, 0.7))
    width = state.width * factor
    tiny = xp.abs(width) < 4e-16 * xp.abs(state.clock) + 1e-300
    stuck = xp.where(good, moved.clock == state.clock, tiny)
    # towards an equilibrium the pace grows; where it falls, the flow ends in a singularity
    ends = stuck & ~(xp.abs(pace[:1] * state.clock) >= ENDS * state.time)
    return good, width, stuck, ends


def _noise(track: Track, clock: Any, weight: Any) -> Any:
    """By how much rounding of clock and weight may change the pace, relatively.

    Large near an equilibrium, where velocity is a difference: no narrower panel is better there.
    """
    xp = namespace(clock, weight)
    pace, step = track.pace(clock, weight), 1e-13  # an equilibrium may be as near
    by_clock = track.pace(clock + step * (1 + xp.abs(clock)), weight) - pace
    by_weight = track.pace(clock, weight * (1 + step)) - pace
    return NOISE * (1 + (xp.abs(by_clock) + xp.abs(by_weight)) / xp.abs(step * pace))


def _growth(values: Any, scale: Any, noise: Any, tolerance: float = TOLERANCE) -> tuple[Any, Any]:
    """Whether panels resolve a function, and by what factor their widths may change.

    The d-th Chebyshev coefficient grows as the d-th power of the width. The highest one that
    stands above rounding says how wide a panel may be for the last to fall to the tolerance.
    """
    xp = namespace(values)
    size = xp.abs(_TELLING @ values) / (scale + 1e-300)
    pairs = xp.maximum(size[:3], size[3:])
    exponents = [(tolerance ** (d / POINTS), 1 / d) for d in _DEGREES.tolist()]
    low, middle, high = (
        (allowed / (pair + 1e-17)) ** power
        for (allowed, power), pair in zip(exponents, pairs, strict=True)
    )
    seen = pairs > NOISE
    factor = 0.93 * xp.where(seen[2], high, xp.where(seen[1], middle, low))[None]
    last = pairs[2:]
    fine = last < max(4 * exponents[2][0], 10 * NOISE)
    # coefficients that do not fall any more are rounding, if that can be so large
    rough = seen[2:] & (last < noise) & (last > 0.1 * pairs[:1])
    return fine | rough, xp.where(rough, 2.0, factor)


def horner(coefficients: Any, at: Any) -> Any:
    """Polynomials with their coefficients on the first axis, the constant first."""
    value = coefficients[-1:]
    for row in range(coefficients.shape[0] - 2, -1, -1):
        value = value * at + coefficients[row : row + 1]
    return value


def derivative(coefficients: Any) -> Any:
    """By u of powers of 2 u - 1."""
    return coefficients[1:] * (2.0 * np.arange(1, coefficients.shape[0]))[:, None]


def steepness(pace: Any, least: float) -> Any:
    """Logarithm of the pace at a panel's end over that at its start, at least so far from 0."""
    xp = namespace(pace)
    value = xp.log(pace[-1:] / pace[:1]) / _SPAN
    return xp.where(xp.abs(value) < least, least, value)


def arrive(track: Track, end: March, times: Any) -> tuple[Any, Any, Any]:
    """Clock and change of x of each track at its time, and whether they are trusted.

    The time's place in the present panel is found by Newton's method on its polynomial, from the
    place that an exponential pace would give; then a panel is laid that ends there, whose Gauss sum
    is sharper than the polynomial; and the Taylor series of t there is reverted.
    """
    xp = namespace(track.x, times)
    z = track.x + track.weight + end.force
    powers = POWERS @ (RUNNING @ end.pace)
    slopes = derivative(powers)
    target = (times - end.time) / end.width
    share = xp.clip((times - end.time) / end.gain, 0.0, 1.0)
    steep = steepness(end.pace, 1e-4)
    at = 2 * xp.log1p(share * xp.expm1(steep)) / steep - 1
    for _ in range(4):
        at = xp.clip(at - 2 * (horner(powers, at) - target) / horner(slopes, at), -1.0, 1.0)
    width = end.width * (at + 1) / 2
    width = xp.where(width == 0, 1e-3 * end.width, width)  # a time at a panel's very start
    panels = _lay(track, end.clock, z, width)
    late = times - (end.time + width * (_WEIGHTS @ panels.pace))
    clock = end.clock + width
    pace = track.pace(clock, log_omega_pair(z + panels.force[:1])[1])
    first, second = (_END[1:2] @ panels.pace) / width, (_END[2:] @ panels.pace) / width**2
    step, b, c = late / pace, first / (2 * pace), second / (6 * pace)
    change = step * b
    near = xp.abs(change) + xp.abs(c) * step * step < 1e-4  # the next term is below 1e-16
    step = step * (1 - change * (1 - 2 * change) - c * step * step)
    drive, bend = _END[:1] @ panels.drive, (_END[1:2] @ panels.drive) / width
    force = end.force + panels.force[:1] + step * (drive + step * bend / 2)
    clock = clock + step
    # relative to the very start: no digit of a small motion is lost, nor of a large one
    return clock, increment(force, track.weight), end.arrived & near


def at_rest(track: Track, end: March, found: tuple[Any, Any]) -> tuple[Any, Any]:
    """For tracks that do not reach their times: the equilibrium if there is one, else NaN."""
    xp = namespace(end.clock)
    rest = xp.where(end.stuck, 1.0, np.nan)
    there = end.clock * rest, increment(end.force, track.weight) * rest
    return tuple(xp.where(end.arrived, a, b) for a, b in zip(found, there, strict=True))
