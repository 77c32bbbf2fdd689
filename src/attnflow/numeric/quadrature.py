"""Time along an orbit as one quadrature, and its inverse: Gauss panels in the clock.

A trajectory is monotone in a clock c (mu; x = logit alpha where the classifier is frozen), so time
is t(c) = integral of the pace dt/dc, computed in panels of 20 Gauss points. On an orbit the pace
also depends on x, which follows from the first integral: x + e^x = z, where z moves by the integral
of the drive rho Phi'. ``Track`` says what is integrated; three ways lay panels:

``march``, quick: one time for each of many tracks side by side, in few wide panels (the width
follows from where x(z) branches, z = -1 +- i pi), the last of which is laid again to end at the
time. ``march``, careful: panels as wide as the coefficients of pace and drive allow; for what the
width rule does not know (equilibria, singular ends, frozen parts, any other loss).
``plan``: the same rule along one track, by scalars, for many times: all panels are then evaluated
and inverted together (``tabulate``) and read as polynomials (``read``).

Arrays have points on the first axis and tracks or panels on the last, in NumPy or JAX.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from attnflow.numeric.namespace import namespace, while_loop
from attnflow.numeric.special import increment, log_omega_pair

POINTS = 20  # Gauss points a panel
PANELS = 160  # most panels of a careful march; about 10 to 60 are used
QUICK = (
    48  # most panels tried in a quick march; 2 to 4 are usual, some dozens where the drive bends
)
NOISE = 4e-15  # coefficients below may be rounding (that of e^35 is 35 half-ulps)
ENDS = 0.01  # pace, relative to its mean so far, below which the velocity is taken to diverge
TOLERANCE = 1e-15  # size of the last coefficients of the pace in a careful march, over its mean

# A quick march. A Gauss rule of N points errs by the square of the last coefficients of N points,
# so the pace need be resolved to half its digits only; the drive is interpolated, not only summed.
ROUGH = 3e-8
FINE = 2e-14
WIDE = 2.25  # parameter of the Bernstein ellipse that keeps clear of the branch point
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


_NODES, _INTEGRALS, _VALUES, _RUNNING, _POWERS, _END = _tables()
# never multiply _POWERS and _RUNNING or _VALUES beforehand: the product cancels to 3e-10
_COLUMN = _NODES[:, None]
_WEIGHTS = _INTEGRALS[:1]
_SPAN = float(_NODES[-1] - _NODES[0])
_TAIL = _VALUES[-2:]
_DEGREES = np.array([POINTS // 2, 3 * POINTS // 4, POINTS - 2])
_TELLING = _VALUES[np.concatenate([_DEGREES, _DEGREES + 1])]  # neighbours: one may vanish


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
    at = clock + width * _COLUMN
    drive = track.drive(at)
    force = width * (_INTEGRALS @ drive)
    # e^x by its absolute error of x is relatively right, which is all that the pace asks for
    weight = log_omega_pair(z + force[1:])[1]
    return Panels(drive, track.pace(at, weight), force)


def _branch(z: Any, slope: Any, bend: Any) -> tuple[Any, Any]:
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
    p, q = _branch(z, slope, bend)
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
    good = sound & (tail <= ROUGH * xp.abs(_VALUES[:1] @ pace))
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


def _horner(coefficients: Any, at: Any) -> Any:
    value = coefficients[-1:]
    for row in range(coefficients.shape[0] - 2, -1, -1):
        value = value * at + coefficients[row : row + 1]
    return value


def _derivative(coefficients: Any) -> Any:
    """By u of powers of 2 u - 1."""
    return coefficients[1:] * (2.0 * np.arange(1, coefficients.shape[0]))[:, None]


def _steepness(pace: Any, least: float) -> Any:
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
    powers = _POWERS @ (_RUNNING @ end.pace)
    slopes = _derivative(powers)
    target = (times - end.time) / end.width
    share = xp.clip((times - end.time) / end.gain, 0.0, 1.0)
    steep = _steepness(end.pace, 1e-4)
    at = 2 * xp.log1p(share * xp.expm1(steep)) / steep - 1
    for _ in range(4):
        at = xp.clip(at - 2 * (_horner(powers, at) - target) / _horner(slopes, at), -1.0, 1.0)
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


# Many times along one track

DENSE = 6.0  # parameter of the ellipse: the inverse is read as a polynomial, at full precision
DENSEST = 1.9  # widest panel then
BENT = 0.7  # widest panel in units of the curvature radius of the pace's logarithm
GROWTH = 4.0  # how much further than it begins a panel may reach: relative accuracy near the start
ROOMS = (20, 64)  # numbers of panels for which tables are compiled
RESOLVED = 2e-13  # last coefficients of pace, drive and the inverse, relative
BLOCK = 64  # sorted times that share one row of coefficients


def _grid() -> np.ndarray:
    """Clocks at which a plan looks: from 0.5 on by steps; below, shares of a logarithmic scale."""
    return np.concatenate([np.arange(0.5, 16, 0.125), np.arange(16, 44, 0.25)])


_GRID, _SHARES = _grid(), np.arange(64) / 64


def plan(track: Track, first: Any, last: Any) -> tuple[Any, Any]:
    """Where panels are to end, and how many they are, by the rule of ``_width`` in the small.

    A panel may span a clock of 2 |s|/A where the branch point is a complex s away, so 1/width is a
    density: edges lie at its equal parts. z and time are sums of trapezoids, good to some per cent.

    Args:
        track: one track, entries of shape (1, 1).
        first: the first time above 0, shape (1, 1).
        last: the last time, shape (1, 1).

    Returns:
        A function from a number of panels to their edges (that many + 1), and how many are needed,
        NaN where the grid does not reach the last time.
    """
    xp = namespace(track.x, last)
    zero = xp.zeros((1, 1))
    pace = track.pace(zero, track.weight)
    sign = xp.sign(pace)
    opening = xp.minimum(xp.abs(first / pace), 0.5)
    low = xp.exp(xp.log(opening / 2) * (1 - _SHARES)[None] + math.log(0.5) * _SHARES[None])
    clock = xp.concatenate([zero, low, _GRID[None]], axis=1)
    steps = clock[:, 1:] - clock[:, :-1]

    def running(values: Any) -> Any:
        sums = xp.cumsum((values[:, 1:] + values[:, :-1]) * steps / 2, axis=1)
        return xp.concatenate([zero, sums], axis=1)

    drive = sign * track.drive(sign * clock)
    z = track.x + track.weight + running(drive)
    weight = log_omega_pair(z)[1]
    pace = xp.abs(track.pace(sign * clock, weight))
    time = running(pace)
    bend = (drive[:, 1:] - drive[:, :-1]) / steps
    bend = xp.concatenate([bend, bend[:, -1:]], axis=1)
    near = xp.hypot(*_branch(z, drive, bend))
    ratio = (DENSE + 1 / DENSE) / 2
    fewest = xp.maximum(1 / DENSEST, 1 / (math.log(GROWTH) * xp.maximum(clock, opening / 2)))
    # a panel reads its inverse in a variable that makes an exponential pace straight; how far from
    # one it may be follows from the curvature of the logarithm
    slopes = xp.diff(xp.log(pace), axis=1) / steps
    bent = xp.abs(xp.diff(slopes, axis=1)) / ((steps[:, 1:] + steps[:, :-1]) / 2)
    bent = xp.sqrt(xp.concatenate([bent[:, :1], bent, bent[:, -1:]], axis=1)) / BENT
    density = xp.maximum(xp.maximum(ratio / (2 * near), fewest), bent)
    number = running(density)[0]
    # a margin for what trapezoids err
    reach = xp.interp(1.05 * last[0], time[0], number, right=np.nan)
    clocks = sign[0] * clock[0]

    def edges(count: int) -> Any:
        return xp.interp(np.arange(count + 1) / count * reach, number, clocks)

    return edges, xp.ceil(reach[0])


class Table(NamedTuple):
    """Panels made ready to be read: clock and change of x as polynomials in a bent share of time.

    In a panel the variable is u = log1p(share * growth)/steepness, the share of the width gone
    if the pace were exponential, so that clock and companion are nearly straight in it.
    """

    begin: Any  # time, (1, panels)
    scale: Any  # growth over the length in time
    steepness: Any  # 2/steepness
    values: Any  # coefficients of powers of 2 u - 1: clock, change of x; (2, POINTS, panels)
    ends: Any  # time, (panels,); panels of no width have that of the last
    good: Any  # whether every panel resolves what is read from it


def tabulate(track: Track, edges: Any) -> Table:
    """Lay panels between given edges of the clock, all at once, and invert time in each."""
    xp = namespace(track.x, edges)
    clock, width = edges[None, :-1], edges[None, 1:] - edges[None, :-1]
    live = width != 0
    width = xp.where(live, width, 1e-3)
    drive = track.drive(clock + width * _COLUMN)
    force = width * (_INTEGRALS @ drive)
    whole = xp.where(live, force[:1], 0.0)
    begin = xp.cumsum(whole, axis=1) - whole
    weight = log_omega_pair(track.x + track.weight + begin + force[1:])[1]
    pace = track.pace(clock + width * _COLUMN, weight)
    length = width * (_WEIGHTS @ pace)
    ends = xp.cumsum(xp.where(live, length, 0.0), axis=1)

    in_time, in_drive = (_POWERS @ (_RUNNING @ values) for values in (pace, drive))
    steep = _steepness(pace, 0.01)
    growth = xp.expm1(steep)
    target = xp.expm1(steep * _COLUMN) / growth * (length / width)
    at = 2 * _COLUMN - 1 + xp.zeros_like(width)
    slopes = _derivative(in_time)
    for _ in range(3):
        at = at - 2 * (_horner(in_time, at) - target) / _horner(slopes, at)
    moved = width * (at + 1) / 2
    changed = increment(begin + width * _horner(in_drive, at), track.weight)
    series = [_VALUES @ values for values in (moved, changed)]
    checked = [
        (_VALUES @ pace, xp.abs(pace[:1])),
        (_VALUES @ drive, xp.max(xp.abs(drive), 0, keepdims=True)),
        (series[0], xp.abs(clock + width)),
        (series[1], xp.abs(changed[-1:])),
    ]
    good = [xp.max(xp.abs(c[-2:]), 0) <= RESOLVED * size[0] + 1e-300 for c, size in checked]
    good = good[0] & good[1] & good[2] & good[3] & (xp.min(pace * width, 0) > 0)
    good = xp.all(good | ~live[0])
    powers = [_POWERS[:POINTS, :POINTS] @ coefficients for coefficients in series]
    first = np.eye(POINTS)[:, :1]
    return Table(
        begin=ends - xp.where(live, length, 0.0),
        scale=growth / length,
        steepness=2 / steep,
        values=xp.stack([powers[0] + first * clock, powers[1]]),
        ends=ends[0],
        good=good,
    )


def read(table: Table, times: Any) -> tuple[Any, Any]:
    """Clock and change of x at ascending times within the panels."""
    if namespace(times) is np:
        return _read(table, times)
    return _read_blocks(table, times)


def _read(table: Table, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Powers of all variables at once, then a product with the coefficients of each panel."""
    ends = np.searchsorted(times, table.ends, side="right")
    ends[-1] = times.size
    sizes = np.diff(ends, prepend=0)
    rows = (np.repeat(row[0], sizes) for row in (table.begin, table.scale, table.steepness))
    begin, scale, steepness = rows
    at = np.log1p((times - begin) * scale) * steepness - 1
    powers = np.empty((POINTS, times.size))
    powers[0] = 1.0
    powers[1] = at
    for d in range(2, POINTS):
        np.multiply(powers[d // 2], powers[d - d // 2], out=powers[d])
    result = np.empty((2, times.size))
    begins = ends - sizes
    for panel in np.flatnonzero(sizes):
        here = slice(begins[panel], ends[panel])
        np.matmul(table.values[:, :, panel], powers[:, here], out=result[:, here])
    return result[0], result[1]


def _read_blocks(table: Table, times: Any) -> tuple[Any, Any]:
    """Times in blocks that share a row of coefficients; no gather for each.

    Blocks are read with the panel that holds their first time; then, panel by panel, the rest of
    the block in which it ends is read again with the next.
    """
    import jax.numpy as jnp
    from jax import lax

    count, panels = times.shape[0], table.ends.shape[0]
    blocks = -(-count // BLOCK)
    at = jnp.concatenate([times, jnp.full(blocks * BLOCK - count, times[-1])]).reshape(-1, BLOCK)
    rows = jnp.concatenate([table.begin, table.scale, table.steepness, *table.values]).T
    ends = jnp.where(jnp.arange(panels) < panels - 1, table.ends, jnp.inf)
    last = table.ends[-1]

    def polynomials(row: Any, t: Any) -> tuple[Any, Any]:
        u = jnp.log1p((t - row[:, :1]) * row[:, 1:2]) * row[:, 2:3] - 1
        one, two = row[:, 2 + POINTS, None], row[:, 2 + 2 * POINTS, None]
        for k in range(POINTS - 2, -1, -1):
            one, two = one * u + row[:, 3 + k, None], two * u + row[:, 3 + POINTS + k, None]
        return one, two

    begins = at[:, 0]
    holder = jnp.sum(begins[:, None] > ends[None, :], axis=1)  # of each block's first time
    ending = jnp.sum(begins[None, :] <= ends[:, None], axis=1) - 1  # block in which a panel ends

    def again(carry: Any) -> Any:
        panel, kept = carry
        block = (ending[panel], 0)
        t = lax.dynamic_slice(at, block, (1, BLOCK))
        new = polynomials(lax.dynamic_slice(rows, (panel + 1, 0), (1, rows.shape[1])), t)
        old = [lax.dynamic_slice(values, block, (1, BLOCK)) for values in kept]
        update = [jnp.where(t > ends[panel], a, b) for a, b in zip(new, old, strict=True)]
        return panel + 1, tuple(
            lax.dynamic_update_slice(values, a, block)
            for values, a in zip(kept, update, strict=True)
        )

    def left(carry: Any) -> Any:
        return (carry[0] < panels - 1) & (table.ends[jnp.minimum(carry[0], panels - 1)] < last)

    found = lax.while_loop(left, again, (holder[0], polynomials(rows[holder], at)))[1]
    return tuple(values.ravel()[:count] for values in found)


def along(track: Track, edges: Any, clock: Any) -> tuple[Any, Any]:
    """Time and change of x when the clock of one track shows given values; differentiable in it.

    Args:
        track: pace, drive and start, entries of shape (1, 1).
        edges: of the panels, from 0 on, shape (panels + 1,); a careful march finds them.
        clock: values of the clock, shape (n,), within the panels.

    Returns:
        Time and change of x, shape (n,).
    """
    import jax.numpy as jnp

    begin, width = edges[None, :-1], edges[None, 1:] - edges[None, :-1]
    drive = track.drive(begin + width * _COLUMN)
    force = width * (_INTEGRALS @ drive)
    before = jnp.cumsum(force[:1], axis=1) - force[:1]
    weight = log_omega_pair(track.x + track.weight + before + force[1:])[1]
    pace = track.pace(begin + width * _COLUMN, weight)
    length = width * (_WEIGHTS @ pace)
    time = jnp.cumsum(length, axis=1) - length
    forward = jnp.sign(edges[-1])
    index = jnp.searchsorted(forward * edges[1:], forward * clock, method="scan_unrolled")
    index = jnp.minimum(index, width.shape[1] - 1)
    begin, width, before, time = (a[0, index][None] for a in (begin, width, before, time))
    # a panel of no width (none was needed there) has its clock at its start
    at = 2 * (clock[None] - begin) / jnp.where(width == 0, 1.0, width) - 1
    drive, pace = ((_POWERS @ (_RUNNING @ values))[:, index] for values in (drive, pace))
    changed = increment(before + width * _horner(drive, at), track.weight)
    return (time + width * _horner(pace, at))[0], changed[0]
