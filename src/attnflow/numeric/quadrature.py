"""Time along an orbit as one quadrature, and its inverse: panels of Gauss points in the clock.

A trajectory is monotone in a clock c (mu; x = logit alpha where the classifier is frozen), so time
is t(c) = integral of the pace dt/dc. ``march`` lays panels end to end, each as wide as a polynomial
of the pace allows (its coefficients fall geometrically; the width follows from how fast), so that
their number grows with the logarithm of the horizon at most. ``Track`` says what the pace is. On an
orbit the companion x follows from the first integral, x + e^x = z, solved relative to the start of
the panel: delta + e^x expm1(delta) = rho (Phi - Phi_panel), which loses no digit however small the
motion.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from attnflow.numeric.special import increment

POINTS = 20  # Gauss points a panel
PANELS = 160  # room for panels of one trajectory; about 10 to 60 are used
CHUNK = 20  # panels inverted at once; divides PANELS
NOISE = 4e-15  # coefficients below may be rounding (that of e^35 is 35 half-ulps)
ENDS = 0.01  # pace, relative to its mean so far, below which the velocity is taken to diverge
TOLERANCE = 1e-15  # size of the last coefficients of the pace, relative to its mean


def _tables() -> tuple[np.ndarray, ...]:
    """Gauss points and weights on [0, 1], and matrices from values to coefficients."""
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
    # monomials in 2 u - 1, stable here because the coefficients fall fast
    monomial = np.zeros((POINTS, POINTS))
    for d in range(POINTS):
        row = np.polynomial.chebyshev.cheb2poly(np.eye(POINTS)[d])
        monomial[: len(row), d] = row
    return points, weights / 2, cumulative, mean, values, monomial


_POINTS, _WEIGHTS, _CUMULATIVE, _MEAN, _VALUES, _POWERS = _tables()
_DEGREES = np.array([POINTS // 2, 3 * POINTS // 4, POINTS - 2])
_TELLING = _VALUES[np.stack([_DEGREES, _DEGREES + 1], axis=1).ravel()]
_FUNCTIONALS = np.concatenate(
    [_TELLING, _WEIGHTS[None], _CUMULATIVE]
)  # all that a panel needs at once
_TOLD = len(_TELLING)


class Track(NamedTuple):
    """What is marched along: a clock with its pace, and the companion that the clock carries.

    Attributes:
        drive: (clock) -> d z/d clock, what moves the companion (0 where it is frozen). The clock
            starts at 0, so that a small motion keeps its digits.
        pace: (clock, companion's weight e^x) -> dt/d clock.
        weight: e^x at the start; the companion is carried as the change of x since then.
    """

    drive: Callable[[Any], Any]
    pace: Callable[[Any, Any], Any]
    weight: Any


class Panel(NamedTuple):
    """One panel: where it starts, how wide, and pace and drive at its Gauss points."""

    clock: Any
    companion: Any
    time: Any
    width: Any
    pace: Any  # dt/d clock, (..., POINTS)
    drive: Any  # dz/d clock, (..., POINTS)


class Made(NamedTuple):
    """A panel as it was made: its end, and the coefficients that say whether it is resolved."""

    panel: Panel
    clock: Any
    companion: Any
    time: Any
    pace: Any
    drive: Any
    velocity: Any


def _make(track: Track, clock: Any, companion: Any, time: Any, width: Any) -> Made:
    """The panel of that width from that start."""
    at = clock + width * _POINTS
    drive = track.drive(at)
    weight = track.weight * jnp.exp(companion)
    of_drive = _FUNCTIONALS @ drive
    moved = increment(width * of_drive[_TOLD:], weight)  # at the end, then at the points
    pace = track.pace(at, weight * jnp.exp(moved[1:]))
    of_pace = _FUNCTIONALS[: _TOLD + 1] @ pace
    return Made(
        panel=Panel(clock, companion, time, width, pace, drive),
        clock=clock + width,
        companion=companion + moved[0],
        time=time + width * of_pace[_TOLD],
        pace=of_pace[:_TOLD],
        drive=of_drive[:_TOLD],
        velocity=_FUNCTIONALS[:_TOLD] @ (1 / pace),
    )


def _noise(track: Track, clock: Any, weight: Any) -> Any:
    """By how much rounding of clock and weight may change the pace, relatively.

    Large near an equilibrium, where velocity is a difference: no narrower panel is better there.
    """
    pace, slopes = jax.value_and_grad(track.pace, argnums=(0, 1))(clock, weight)
    change = jnp.abs(slopes[0]) * (1 + jnp.abs(clock)) + jnp.abs(slopes[1]) * weight
    return NOISE * (1 + change / jnp.abs(pace))


def _growth(coefficients: Any, scale: Any, tolerance: float, noise: Any) -> tuple[Any, Any]:
    """Whether a panel resolves a function, and by what factor its width may change.

    The d-th Chebyshev coefficient grows as the d-th power of the width. The highest one that
    stands above rounding says how wide a panel may be for the last to fall to the tolerance.
    """
    size = jnp.abs(coefficients) / (scale + 1e-300)
    pairs = jnp.maximum(size[::2], size[1::2])  # neighbours: one may vanish by symmetry
    factors = (tolerance ** (_DEGREES / POINTS) / (pairs + 1e-17)) ** (1 / _DEGREES)
    low, middle, high = factors
    seen = pairs > NOISE
    factor = 0.93 * jnp.where(seen[2], high, jnp.where(seen[1], middle, low))
    fine = pairs[2] < jnp.maximum(4 * tolerance ** (_DEGREES[2] / POINTS), 10 * NOISE)
    # coefficients that do not fall any more are rounding, if that can be so large
    rough = seen[2] & (pairs[2] < noise) & (pairs[2] > 0.1 * pairs[0])
    return fine | rough, jnp.where(rough, 2.0, factor)


class March(NamedTuple):
    """State of a march: the next panel's start, its width, and the count."""

    clock: Any
    companion: Any
    time: Any
    width: Any
    count: Any
    tries: Any
    stuck: Any


def march(
    track: Track,
    first: Any,
    last: Any,
    visit: Callable[..., Any],
    kept: Any,
    tolerance: float = TOLERANCE,
    inverse: bool = False,
) -> tuple[March, Any]:
    """Lay panels until the time ``last`` is covered.

    Args:
        track: pace, drive and start.
        first: shortest time asked for; the first panel does not reach much further.
        last: longest time asked for.
        visit: (kept, panel, end_time, count, accepted) -> kept, called for each tried panel.
        kept: what visit accumulates.
        tolerance: what the coefficients of degree POINTS of pace and drive are to fall to.
        inverse: whether the clock is to be a polynomial of time too, so that no zero of the pace,
            near in the complex plane, may be closer than the coefficients of its inverse allow.

    Returns:
        The final march (``stuck`` where the clock stands still: an equilibrium; its clock NaN
        where the flow ends in a singularity) and ``kept``.
    """
    zero = jnp.zeros_like(track.weight)
    start_pace = track.pace(zero, track.weight)
    sign = jnp.sign(start_pace)
    moving = jnp.isfinite(start_pace) & (start_pace != 0)
    width = jnp.clip(first / jnp.abs(start_pace), 1e-280, 1.0)  # below, it would underflow
    width = jnp.where(moving, sign * width, 0.0)
    # an infinite pace is rest; none, or no number, is a singularity
    clock = jnp.where(moving | jnp.isinf(start_pace), zero, jnp.nan)
    start = March(clock, zero, zero, width, 0, 0, ~moving | (last <= 0))

    def going(carry: tuple[March, Any]) -> Any:
        state, _ = carry
        return (
            (state.time < last) & ~state.stuck & (state.count < PANELS) & (state.tries < 4 * PANELS)
        )

    def step(carry: tuple[March, Any]) -> tuple[March, Any]:
        state, kept = carry
        made = _make(track, state.clock, state.companion, state.time, state.width)
        panel, clock, companion, time = made[:4]
        noise = _noise(track, clock, track.weight * jnp.exp(companion))
        resolved, factor = _growth(made.pace, jnp.min(jnp.abs(panel.pace)), tolerance, noise)
        smooth, factor_drive = _growth(made.drive, jnp.max(jnp.abs(panel.drive)), tolerance, NOISE)
        if inverse:
            least = 1 / jnp.max(jnp.abs(panel.pace))
            read, factor_inverse = _growth(made.velocity, least, tolerance, noise)
            resolved, factor = resolved & read, jnp.minimum(factor, factor_inverse)
        sound = jnp.all(jnp.isfinite(panel.pace) & (panel.pace * sign > 0))
        good = resolved & smooth & sound
        factor = jnp.where(sound, jnp.minimum(factor, factor_drive), 0.25)
        factor = jnp.where(good, jnp.clip(factor, 0.5, 8.0), jnp.clip(factor, 0.1, 0.7))
        kept = visit(kept, panel, time, state.count, good)
        width = state.width * factor
        tiny = jnp.abs(width) < 4e-16 * jnp.abs(state.clock) + 1e-300
        stuck = jnp.where(good, clock == state.clock, tiny)
        # towards an equilibrium the pace grows; where it falls, the flow ends in a singularity
        ends = stuck & ~(jnp.abs(panel.pace[0] * state.clock) >= ENDS * state.time)
        moved = (clock, companion, time, state.count + 1)
        held = (state.clock, state.companion, state.time, state.count)
        clock, companion, time, count = jax.tree.map(partial(jnp.where, good), moved, held)
        clock, stuck = jnp.where(ends, jnp.nan, clock), state.stuck | stuck
        return March(clock, companion, time, width, count, state.tries + 1, stuck), kept

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


def _steepness(pace: Any) -> Any:
    """Logarithm of the pace at the last point of a panel over that at the first."""
    return jnp.log(pace[..., -1] / pace[..., 0]) / (_POINTS[-1] - _POINTS[0])


def _bend(share: Any, steepness: Any) -> Any:
    """Share of the panel's width gone at a share of its time, were the pace exponential."""
    level = jnp.abs(steepness) < 1e-6
    safe = jnp.where(level, 1.0, steepness)
    return jnp.where(level, share, jnp.log1p(share * jnp.expm1(safe)) / safe)


def locate(track: Track, panel: Panel, time: Any, end: Any) -> tuple[Any, Any]:
    """Clock and companion at a time inside a panel that ends at time ``end``.

    Newton's method on the mean pace, from the time that an exponential pace would take.
    """
    share = jnp.clip((time - panel.time) / (end - panel.time), 0.0, 1.0)
    target = (time - panel.time) / panel.width
    pace, drive = (values @ _MEAN.T for values in (panel.pace, panel.drive))
    at = _bend(share, _steepness(panel.pace))

    def newton(_: Any, at: Any) -> Any:
        mean, slope = _clenshaw(pace, at)
        return jnp.clip(at - (at * mean - target) / (mean + at * slope), 0.0, 1.0)

    at = lax.fori_loop(0, 5, newton, at)
    force, _ = _clenshaw(drive, at)
    companion = panel.companion + increment(
        panel.width * at * force, track.weight * jnp.exp(panel.companion)
    )
    return panel.clock + panel.width * at, companion


class Table(NamedTuple):
    """Panels made ready to be read: clock and companion as polynomials in a bent share of time.

    In a panel the variable is u = log1p(share * growth)/steepness, the share of the width gone
    if the pace were exponential, so that clock and companion are nearly straight in it.
    """

    begin: Any  # time, (panels,)
    scale: Any  # growth over the length in time
    steepness: Any  # 2/steepness
    clock: Any  # coefficients of powers of 2 u - 1, (POINTS, panels)
    companion: Any


def tabulate(track: Track, panels: Panel, ends: Any, count: Any) -> Table:
    """Invert time in each of the ``count`` panels once, at Gauss points, and fit polynomials."""
    room = ends.shape[0]
    row, block = jnp.zeros(room), jnp.zeros((POINTS, room))
    blank = Table(row, row, row, block, block)

    def fill(state: tuple[Any, Table]) -> tuple[Any, Table]:
        start, table = state
        some, some_ends = jax.tree.map(
            lambda a: lax.dynamic_slice_in_dim(a, start, CHUNK), (panels, ends)
        )
        part = _invert(track, some, some_ends)
        update = partial(lax.dynamic_update_slice_in_dim, start_index=start, axis=-1)
        return start + CHUNK, jax.tree.map(update, table, part)

    return lax.while_loop(lambda state: state[0] < count, fill, (jnp.zeros_like(count), blank))[1]


def _invert(track: Track, panels: Panel, ends: Any) -> Table:
    steepness = _steepness(panels.pace)
    steepness = jnp.where(jnp.abs(steepness) < 0.01, 0.01, steepness)
    growth = jnp.expm1(steepness)
    length = ends - panels.time
    share = jnp.expm1(steepness[:, None] * _POINTS[None, :]) / growth[:, None]
    target = share * (length / panels.width)[:, None]
    mean = (panels.pace @ _MEAN.T)[:, None, :]

    def newton(_: Any, at: Any) -> Any:
        value, slope = _clenshaw(mean, at)
        return at - (at * value - target) / (value + at * slope)

    at = lax.fori_loop(0, 5, newton, jnp.broadcast_to(_POINTS, share.shape))
    moved = panels.width[:, None] * at
    force, _ = _clenshaw((panels.drive @ _MEAN.T)[:, None, :], at)
    weight = track.weight * jnp.exp(panels.companion)
    changed = increment(moved * force, weight[:, None])

    def powers(values: Any, start: Any) -> Any:
        return (_POWERS @ (_VALUES @ values.T)).at[0].add(start)

    return Table(
        begin=panels.time,
        scale=growth / length,
        steepness=2 / steepness,
        clock=powers(moved, panels.clock),
        companion=powers(changed, panels.companion),
    )


def read(table: Table, index: Any, time: Any) -> tuple[Any, Any]:
    """Clock and companion at times, each in the panel of that index."""

    def take(row: Any) -> Any:
        return row.at[index].get(mode="promise_in_bounds")

    at = jnp.log1p((time - take(table.begin)) * take(table.scale)) * take(table.steepness) - 1

    def polynomial(coefficients: Any) -> Any:
        value = take(coefficients[-1])
        for row in coefficients[-2::-1]:
            value = value * at + take(row)
        return value

    return polynomial(table.clock), polynomial(table.companion)


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
        made = _make(track, *state, edge - state[0])
        return (edge, made.companion, made.time), made.panel

    zero = jnp.zeros_like(track.weight)
    _, table = lax.scan(step, (zero, zero, zero), edges)
    forward = jnp.sign(edges[-1])
    index = jnp.searchsorted(forward * edges, forward * clock, method="scan_unrolled")
    index = jnp.minimum(index, edges.shape[0] - 1)
    panel = jax.tree.map(lambda a: a[index], table)
    # a panel of no width (none was needed there) has its clock at its start
    at = (clock - panel.clock) / jnp.where(panel.width == 0, 1.0, panel.width)
    force, _ = _clenshaw(panel.drive @ _MEAN.T, at)
    mean, _ = _clenshaw(panel.pace @ _MEAN.T, at)
    moved = clock - panel.clock
    companion = panel.companion + increment(moved * force, track.weight * jnp.exp(panel.companion))
    return panel.time + moved * mean, companion
