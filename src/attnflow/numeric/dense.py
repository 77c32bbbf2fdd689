"""Many times along one track: panels planned, laid and inverted together, read as polynomials.

A plan lays edges by where x(z) branches (the rule of quadrature.py in the small, as a density), all
panels are evaluated at once, time in each is inverted at its points, and clock and change of x are
read as polynomials of a bent share of time, with no search or gather for each time.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from attnflow.numeric.namespace import namespace
from attnflow.numeric.quadrature import (
    COLUMN,
    INTEGRALS,
    POINTS,
    POWERS,
    RUNNING,
    VALUES,
    Track,
    branch_point,
    derivative,
    horner,
    steepness,
)
from attnflow.numeric.special import quick_log1p
from attnflow.numeric.wright import increment, log_omega_pair

DENSE = 6.0  # parameter of the ellipse: the inverse is read as a polynomial, at full precision
DENSEST = 1.9  # widest panel then
BENT = 0.7  # widest panel in units of the curvature radius of the pace's logarithm
GROWTH = 4.0  # how much further than it begins a panel may reach: relative accuracy near the start
ROOMS = (20, 64)  # numbers of panels for which tables are compiled
MARGIN = 1.1  # of the last time, for what a plan errs
RESOLVED = 2e-13  # last coefficients of pace, drive and the inverse, relative
BLOCK = 64  # sorted times that share one row of coefficients


def _grid() -> np.ndarray:
    """Clocks at which a plan looks: from 0.5 on by steps; below, shares of a logarithmic scale."""
    return np.concatenate([np.arange(0.5, 8, 0.125), np.arange(8, 40, 0.25), [40, 44, 48]])


_GRID, _SHARES = _grid(), np.arange(64) / 64
_ROW = 16  # of the grid's intervals, in which they are summed


def _running(values: Any) -> Any:
    """Sums from the start to each of a grid's points, shape (1, points)."""
    xp = namespace(values)
    if xp is np:
        sums = np.cumsum(values, axis=1)
    else:  # XLA takes time that grows with the square: by rows, then over rows
        rows = xp.pad(values[0], (0, -values.shape[1] % _ROW)).reshape(-1, _ROW)
        within = rows @ np.triu(np.ones((_ROW, _ROW)))
        before = np.tri(rows.shape[0], k=-1) @ within[:, -1:]
        sums = (within + before).reshape(1, -1)[:, : values.shape[1]]
    return xp.concatenate([xp.zeros((1, 1)), sums], axis=1)


def _interpolate(at: Any, x: Any, y: Any) -> Any:
    """Of ascending x, shape (points,), at a few places within."""
    xp = namespace(x)
    if xp is np:
        return np.interp(at, x, y)
    # a search by halves is a loop, dear for so little
    place = xp.clip(xp.sum(x[None] <= at[:, None], axis=1), 1, x.shape[0] - 1)
    low, high = x[place - 1], x[place]
    return y[place - 1] + (at - low) / (high - low) * (y[place] - y[place - 1])


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
        return _running((values[:, 1:] + values[:, :-1]) * steps / 2)

    drive = sign * track.drive(sign * clock)
    z = track.x + track.weight + running(drive)
    weight = log_omega_pair(z)[1]
    pace = xp.abs(track.pace(sign * clock, weight))
    time = running(pace)
    bend = (drive[:, 1:] - drive[:, :-1]) / steps
    bend = xp.concatenate([bend, bend[:, -1:]], axis=1)
    near = xp.hypot(*branch_point(z, drive, bend))
    ratio = (DENSE + 1 / DENSE) / 2
    fewest = xp.maximum(1 / DENSEST, 1 / (math.log(GROWTH) * xp.maximum(clock, opening / 2)))
    # a panel reads its inverse in a variable that makes an exponential pace straight; how far from
    # one it may be follows from the curvature of the logarithm
    slopes = xp.diff(xp.log(pace), axis=1) / steps
    bent = xp.abs(xp.diff(slopes, axis=1)) / ((steps[:, 1:] + steps[:, :-1]) / 2)
    bent = xp.sqrt(xp.concatenate([bent[:, :1], bent, bent[:, -1:]], axis=1)) / BENT
    density = xp.maximum(xp.maximum(ratio / (2 * near), fewest), bent)
    number = running(density)[0]
    reach = _interpolate(MARGIN * last[0], time[0], number)
    reach = xp.where(MARGIN * last[0] <= time[0, -1:], reach, np.nan)
    clocks = sign[0] * clock[0]

    def edges(count: int) -> Any:
        return _interpolate(np.arange(count + 1) / count * reach, number, clocks)

    return edges, xp.ceil(reach[0])


class Table(NamedTuple):
    """Panels made ready to be read: clock and change of x as polynomials in a bent share of time.

    In a panel the variable is u = log1p(share * growth)/steepness, the share of the width gone
    if the pace were exponential, so that clock and companion are nearly straight in it.
    """

    begin: Any  # time, (1, panels)
    scale: Any  # growth over the length in time
    steepness: Any  # 2/steepness
    values: Any  # coefficients of powers of 2 u - 1: clock, change of x; (POINTS, 2, panels)
    ends: Any  # time, (panels,); panels of no width have that of the last
    good: Any  # whether every panel resolves what is read from it


def tabulate(track: Track, edges: Any) -> Table:
    """Lay panels between given edges of the clock, all at once, and invert time in each."""
    xp = namespace(track.x, edges)
    clock, width = edges[None, :-1], edges[None, 1:] - edges[None, :-1]
    live = width != 0
    width = xp.where(live, width, 1e-3)
    drive = track.drive(clock + width * COLUMN)
    force = width * (INTEGRALS @ drive)
    whole = xp.where(live, force[:1], 0.0)
    force = xp.cumsum(whole, axis=1) - whole + force[1:]
    x, weight = log_omega_pair(track.x + track.weight + force)
    pace = track.pace(clock + width * COLUMN, weight)
    change = _relative(x - track.x, force, track.weight)
    gained = width * (INTEGRALS @ pace)
    length = gained[:1]
    ends = xp.cumsum(xp.where(live, length, 0.0), axis=1)

    # Time in a panel as a polynomial, inverted at points that an exponential pace would make equal:
    # there the first of three steps of Newton's method starts, from what is known at the points.
    steep = steepness(pace, 0.01)
    growth = xp.expm1(steep)
    target = xp.expm1(steep * COLUMN) / growth * length
    at = 2 * (COLUMN - (gained[1:] - target) / (width * pace)) - 1
    in_time = POWERS @ (RUNNING @ pace)
    in_change = POWERS[:POINTS, :POINTS] @ (VALUES @ change)
    slopes = derivative(in_time)
    for _ in range(2):
        value, slope = _polynomials(at, in_time, slopes)
        at = at - 2 * (value - target / width) / slope
    (change,) = _polynomials(at, in_change)
    moved = clock + width * (at + 1) / 2
    values = VALUES @ xp.concatenate([moved, change, pace, drive], axis=1)
    values = values.reshape(POINTS, 4, -1)
    size = [moved[-1:], change[-1:], pace[:1], xp.max(xp.abs(drive), 0, keepdims=True)]
    tails = xp.max(xp.abs(values[-2:]), 0) <= RESOLVED * xp.abs(xp.concatenate(size)) + 1e-300
    good = xp.all(tails, 0) & (xp.min(pace * width, 0) > 0)
    powers = POWERS[:POINTS, :POINTS] @ values[:, :2].reshape(POINTS, -1)
    return Table(
        begin=ends - xp.where(live, length, 0.0),
        scale=growth / length,
        steepness=2 / steep,
        values=powers.reshape(POINTS, 2, -1),
        ends=ends[0],
        good=xp.all(good | ~live[0]),
    )


def _relative(change: Any, force: Any, weight: Any) -> Any:
    """The change of x as ``increment``, from its absolute value: one step of Newton's method."""
    xp = namespace(change)
    small = force / (1 + weight)
    change = xp.where(
        xp.abs(small) < 1e-3, small * (1 - small * weight / (2 * (1 + weight))), change
    )
    grown = weight * xp.expm1(change)
    return change - (change + grown - force) / (1 + weight + grown)


def _polynomials(at: Any, *coefficients: Any) -> list[Any]:
    """Polynomials in each panel at points of its own, (points, panels)."""
    if namespace(at) is not np:
        return [horner(c, at) for c in coefficients]
    powers = _powers(at, POINTS + 1)  # few calls: quicker here
    return [np.einsum("dp,dnp->np", c, powers[: len(c)]) for c in coefficients]


def _powers(at: np.ndarray, count: int) -> np.ndarray:
    """1, at, at^2, ... on a new first axis: the next as many at once as there are."""
    powers = np.empty((count, *at.shape))
    powers[0], powers[1], have = 1.0, at, 2
    while have < count:
        more = min(have - 1, count - have)
        np.multiply(powers[1 : more + 1], powers[have - 1], out=powers[have : have + more])
        have += more
    return powers


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
    begin, scale, steepness = (
        np.repeat(row[0], sizes) for row in (table.begin, table.scale, table.steepness)
    )
    at = np.log1p((times - begin) * scale) * steepness - 1
    powers = _powers(at, POINTS)
    result, begins = np.empty((2, times.size)), ends - sizes
    rows = np.ascontiguousarray(table.values.T)  # (panels, 2, POINTS)
    for panel in np.flatnonzero(sizes):
        here = slice(begins[panel], ends[panel])
        np.matmul(rows[panel], powers[:, here], out=result[:, here])
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
    values = table.values.reshape(-1, panels)
    rows = jnp.concatenate([table.begin, table.scale, table.steepness, values]).T
    ends = jnp.where(jnp.arange(panels) < panels - 1, table.ends, jnp.inf)
    last = table.ends[-1]

    def polynomials(row: Any, t: Any) -> tuple[Any, Any]:
        u = quick_log1p((t - row[:, :1]) * row[:, 1:2]) * row[:, 2:3] - 1
        one, two = row[:, -2:-1], row[:, -1:]
        for k in range(2 * POINTS - 1, 2, -2):
            one, two = one * u + row[:, k : k + 1], two * u + row[:, k + 1 : k + 2]
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
    drive = track.drive(begin + width * COLUMN)
    force = width * (INTEGRALS @ drive)
    before = jnp.cumsum(force[:1], axis=1) - force[:1]
    weight = log_omega_pair(track.x + track.weight + before + force[1:])[1]
    pace = track.pace(begin + width * COLUMN, weight)
    length = width * (INTEGRALS[:1] @ pace)
    time = jnp.cumsum(length, axis=1) - length
    forward = jnp.sign(edges[-1])
    index = jnp.searchsorted(forward * edges[1:], forward * clock, method="scan_unrolled")
    index = jnp.minimum(index, width.shape[1] - 1)
    begin, width, before, time = (a[0, index][None] for a in (begin, width, before, time))
    # a panel of no width (none was needed there) has its clock at its start
    at = 2 * (clock[None] - begin) / jnp.where(width == 0, 1.0, width) - 1
    drive, pace = ((POWERS @ (RUNNING @ values))[:, index] for values in (drive, pace))
    changed = increment(before + width * horner(drive, at), track.weight)
    return (time + width * horner(pace, at))[0], changed[0]
