"""Legs: one paradigm from one state until a focus level, a length or a time is reached.

A leg is laid in panels of Gauss points and also returns what the conditions for a best switch need
(symbolic/switch_condition.py). Only the panel depends on the paradigm. With a first integral its
clock is mu, and the state follows from it. Without one the clock is the length of the orbit in the
plane (mu, x), in which every flow goes on at speed 1, and the state and its derivative by x at the
start are integrated by collocation at the Gauss points.

Along a leg of a given length, H = dt + V_mu d mu + V_z dz per length is constant, as nothing but
the state decides: it is the derivative of the time by the length of the leg.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from attnflow.numeric.lower import lower
from attnflow.numeric.quadrature import INTEGRALS, NODES, POINTS, VALUES
from attnflow.numeric.steps import jacobian
from attnflow.numeric.trajectory import STATE, Reduced, velocity
from attnflow.numeric.wright import increment
from attnflow.symbolic.first_integral import separates
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.switch_condition import derive_switch_terms
from attnflow.symbols import C, mu, rho, tau

PANELS = 600  # panels tried at most; 20 to 60 are usual
RESOLVED = 3e-14  # size of the last two Chebyshev coefficients, relative to the largest value
ROUNDING = 4e-15  # error of a state, relative to 1 + |mu|
SWEEPS = 40  # of the collocation's iteration at most; each gains a power of the width
NEAR = 1e-6  # distance of an equilibrium, as a step of Newton's method tells it, that is none
LATEST = 1e250  # what takes longer takes for ever
NOTHING, _, FOCUS, _ = range(4)  # which event ended a leg

_NODES = np.append(NODES, 1.0)
_RUNNING = np.roll(INTEGRALS, -1, axis=0)  # the integral over the whole panel last


class Leg(NamedTuple):
    """One part of a schedule, each entry of shape (legs,).

    ``time`` is infinite where no event is ever reached, NaN where panels got no further. Pace
    (dt/d mu), slope (dz/d mu) and heading (change of mu for a length) are those of the leg's
    paradigm at both ends. V_z, the derivative of the time still needed by z with all lengths held,
    is at the start ``sensitivity`` + ``transport`` x V_z at the end + ``drift`` x H.
    """

    mu: Any
    x: Any
    length: Any  # of the clock: |change of mu|, or of the orbit
    time: Any
    sensitivity: Any
    transport: Any
    drift: Any
    pace: Any  # at the start
    slope: Any
    heading: Any
    last_pace: Any  # at the end
    last_slope: Any
    last_heading: Any
    event: Any


@lru_cache(maxsize=256)
def _formulas(paradigm: Paradigm) -> tuple[Any, Any, Any]:
    terms = derive_switch_terms(paradigm)
    return (
        lower(terms.pace, (*STATE, rho, tau)),
        lower(terms.slope, (mu, C, rho)),
        lower(terms.sensitivity, (*STATE, rho, tau)),
    )


class _State(NamedTuple):
    """Where a leg is: motion since its start, and pace, slope and heading there."""

    length: Any
    moved: Any  # change of mu
    climbed: Any  # change of x
    time: Any
    back: Any  # sensitivity, transport, drift; or derivatives of mu, x and length by x at the start
    pace: Any
    slope: Any
    heading: Any
    growth: Any  # derivatives of length, climbed and time by the length
    highest: Any  # largest change of x at a point of the last panel

    @property
    def reached(self) -> Any:
        """What limits are set to."""
        return jnp.stack([self.length, self.climbed, self.time])


class _Search(NamedTuple):
    """The loop of a leg: panels forward, then ever better widths of the last one."""

    state: _State
    width: Any
    low: Any  # widths of the last panel known to be too small and too large
    high: Any
    closing: Any
    event: Any
    tries: Any


Panel = Callable[[_State, Any], tuple[_State, Any]]
"""(state, width) -> the state at the end, and how far from resolved the panel is (1 is good)."""


def _separated(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any) -> tuple[_State, Panel]:
    """The start of a leg of a paradigm with a first integral, and its panels."""
    pace_of, slope_of, sensitivity_of = _formulas(paradigm)

    def rates(moved: Any, climbed: Any) -> tuple[Any, Any, Any]:
        """Pace, slope and sensitivity at states given by the motion since the start."""
        weight = jnp.exp(x0 + climbed)
        state = (weight / (1 + weight), 1 / (1 + weight), mu0 + moved, reduced.classes)
        speeds = (reduced.focus, reduced.speed)
        pace, sensitivity = pace_of(*state, *speeds), sensitivity_of(*state, *speeds)
        return pace, slope_of(mu0 + moved, reduced.classes, reduced.focus), sensitivity

    zero = jnp.zeros_like(mu0)
    pace, slope, _ = (value + zero for value in rates(zero, zero))
    heading = jnp.sign(pace)

    def state_at(state: _State, pace: Any, slope: Any) -> _State:
        climbing = heading * slope / (1 + jnp.exp(x0 + state.climbed))
        growth = jnp.stack([jnp.ones_like(pace), climbing, heading * pace])
        return state._replace(pace=pace, slope=slope, growth=growth)

    def panel(state: _State, length: Any) -> tuple[_State, Any]:
        width = heading * length
        points = state.moved + width * _NODES
        slopes = slope_of(mu0 + points[:-1], reduced.classes, reduced.focus)
        slopes = jnp.broadcast_to(slopes, (POINTS,))  # one of psi = e^mu is constant
        weight = jnp.exp(x0 + state.climbed)
        climbed = state.climbed + increment(width * (_RUNNING @ slopes), weight)
        values = jnp.stack(jnp.broadcast_arrays(*rates(points, climbed)))
        inner = values[:, :-1]
        sizes = jnp.max(jnp.abs(inner), axis=1) + 1e-300
        unresolved = jnp.max(jnp.abs(inner @ VALUES[-2:].T), axis=1) / sizes
        sound = jnp.all(jnp.isfinite(inner)) & jnp.all(inner[0] * width > 0)
        gained = width * (inner @ INTEGRALS[0])
        end = state._replace(
            length=state.length + length,
            moved=state.moved + width,
            climbed=climbed[-1],
            time=state.time + gained[0],
            back=state.back.at[0].add(gained[2]),
            highest=jnp.max(climbed),
        )
        end = state_at(end, values[0, -1], values[1, -1])
        return end, jnp.where(sound, jnp.max(unresolved) / RESOLVED, jnp.inf)

    back = jnp.stack([zero, zero + 1, zero])
    start = _State(zero, zero, zero, zero, back, pace, slope, heading, back, zero)
    return state_at(start, pace, slope), panel


def _integrated(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any) -> tuple[_State, Panel]:
    """The start of a leg of any paradigm, and its panels."""
    shift = jnp.log(reduced.ratio)

    def rates(y: Any) -> tuple[Any, Any, Any, Any]:
        """dy/d length of y: moved, climbed, their and the length's derivatives by x0, time.

        Besides mu' and x', and how a change of the state changes their direction.
        """
        weight = jnp.exp(x0 + y[1])
        weights = (weight / (1 + weight), 1 / (1 + weight))
        state = (paradigm, reduced, mu0 + y[0], x0 + y[1] + shift, weights)
        mu_dot, x_dot = (v + jnp.zeros_like(weight) for v in velocity(*state))
        by_mu, by_x, turn_mu, turn_x = jacobian(*state)
        change = [by_mu * y[2] + by_x * y[3], turn_mu * y[2] + turn_x * y[3]]
        speed = jnp.hypot(mu_dot, x_dot)
        longer = (mu_dot * change[0] + x_dot * change[1]) / speed
        one = jnp.ones_like(speed)
        change = [v / speed for v in (mu_dot, x_dot, *change, longer, one)]
        sizes = (jnp.abs(v) for v in (by_mu, by_x, turn_mu, turn_x))
        return jnp.stack(change), mu_dot, x_dot, sum(sizes) / speed

    def state_at(y: Any, length: Any, highest: Any) -> _State:
        slopes, mu_dot, x_dot, _ = rates(y)
        slope = (1 + jnp.exp(x0 + y[1])) * x_dot / mu_dot
        growth = jnp.stack([jnp.ones_like(slope), slopes[1], slopes[5]])
        return _State(
            *(length, y[0], y[1], y[5], y[2:5]),
            *(1 / mu_dot, slope, slopes[0], growth, highest),
        )

    def panel(state: _State, width: Any) -> tuple[_State, Any]:
        begin = jnp.stack([state.moved, state.climbed, *state.back, state.time])[:, None]
        # motion and orbit are of the size of 1, a time is what it is
        least = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])[:, None]

        def sweep(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            inner, _, count = carry
            better = width * (rates(begin + inner)[0] @ INTEGRALS[1:].T)
            size = jnp.max(jnp.abs(better), axis=1, keepdims=True) + width * least + 1e-300
            return better, jnp.max(jnp.abs(better - inner) / size), count + 1

        def going(carry: tuple[Any, Any, Any]) -> Any:
            return (carry[1] > 1e-15) & (carry[2] < SWEEPS)

        first, _, _, shake = rates(begin)
        inner = width * first * NODES[None, :]
        inner, left, _ = lax.while_loop(going, sweep, (inner, jnp.asarray(jnp.inf), 0))
        slopes = rates(begin + inner)[0]
        sizes = jnp.maximum(jnp.max(jnp.abs(slopes), axis=1, keepdims=True), least) + 1e-300
        unresolved = jnp.maximum(jnp.max(jnp.abs(slopes @ VALUES[-2:].T) / sizes), left)
        # near an equilibrium velocities are differences: no narrower panel is better
        rounding = ROUNDING * (1 + jnp.abs(mu0 + state.moved)) * shake[0]
        gained = width * (slopes @ INTEGRALS[0])
        highest = state.climbed + jnp.max(inner[1])
        end = state_at(begin[:, 0] + gained, state.length + width, highest)
        sound = jnp.all(jnp.isfinite(slopes)) & jnp.isfinite(end.heading)
        return end, jnp.where(sound, unresolved / (RESOLVED + rounding), jnp.inf)

    zero = jnp.zeros_like(mu0)
    return state_at(jnp.stack([zero, zero, zero, zero + 1, zero, zero]), zero, zero), panel


def _costate(end: _State, x0: Any) -> tuple[Any, Any, Any]:
    """Sensitivity, transport and drift of an integrated leg.

    V_x at the start is (V_mu, V_x) at the end times the derivative of the state there by x at the
    start, in a given time, less H times that of the length. V_mu at the end follows from V_z and H.
    """
    by_mu, by_x, longer = end.back
    weight = 1 + jnp.exp(x0)
    last = 1 + jnp.exp(x0 + end.climbed)
    return (
        -by_mu * end.pace / weight,
        (by_x * last - by_mu * end.slope) / weight,
        (by_mu / end.heading - longer) / weight,
    )


def _rests(paradigm: Paradigm, reduced: Reduced, mu: Any, x: Any) -> Any:
    """Whether an equilibrium is where the flow has come to, by a step of Newton's method to it."""
    state = (paradigm, reduced, mu, x + jnp.log(reduced.ratio))
    (a, b, c, d), (f, g) = jacobian(*state), velocity(*state)
    step = jnp.hypot(d * f - b * g, a * g - c * f) / jnp.abs(a * d - b * c)
    return step < NEAR * (1 + jnp.abs(mu) + jnp.abs(x))


def _leg(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any, limits: Any) -> Leg:
    """One leg; limits are its length, the rise of x, and the time at which it ends."""
    exact = separates(paradigm) and reduced.decay_mu is None
    start, panel = (_separated if exact else _integrated)(paradigm, reduced, mu0, x0)

    def step(carry: _Search) -> _Search:
        """Go on by a panel; once a limit lies inside it, improve its width by Newton's method."""
        end, unresolved = panel(carry.state, carry.width)
        over = end.reached - limits
        past = jnp.any(over >= 0) | (end.highest >= limits[1])
        good = unresolved <= 1
        closing = carry.closing | (good & past)
        low = jnp.where(closing & ~past, carry.width, carry.low)
        high = jnp.where(closing & past, carry.width, carry.high)
        rising = (end.growth > 0) & jnp.isfinite(over)
        steps = jnp.where(rising, -over / end.growth, jnp.inf)
        nearest = jnp.argmin(steps)
        width = carry.width + steps[nearest]
        close = jnp.abs(steps[nearest]) <= 4e-16 * carry.width
        close = close | (jnp.abs(high - low) <= 4e-16 * high)
        width = jnp.where((width > low) & (width < high), width, (low + high) / 2)
        factor = jnp.clip(0.9 * (unresolved + 1e-12) ** (-1 / POINTS), 0.15, 4.0)
        take = jnp.where(closing, close, good)
        return _Search(
            state=jax.tree.map(partial(jnp.where, take), end, carry.state),
            width=jnp.where(closing, width, carry.width * factor),
            low=low,
            high=high,
            closing=closing,
            event=jnp.where(closing & close, 1 + nearest, NOTHING),
            tries=carry.tries + 1,
        )

    def going(carry: _Search) -> Any:
        wide = (carry.width > 1e-250) & (carry.width > 1e-17 * carry.state.length)
        return (carry.event == NOTHING) & (carry.tries < PANELS) & wide

    zero = jnp.zeros_like(mu0)
    met = start.reached - limits
    at_once = jnp.where(jnp.any(met >= 0), 1 + jnp.argmax(met >= 0), NOTHING)
    width = jnp.where(jnp.all(jnp.isfinite(start.growth)), 0.5, 0.0)
    begin = _Search(start, width, zero, width, jnp.zeros((), bool), at_once, 0)
    final = lax.while_loop(going, step, begin)
    end = final.state
    sensitivity, transport, drift = end.back if exact else _costate(end, x0)
    never = jnp.inf
    if not exact:
        rests = _rests(paradigm, reduced, mu0 + end.moved, x0 + end.climbed)
        never = jnp.where(rests | (end.time > LATEST), jnp.inf, jnp.nan)
    return Leg(
        mu=mu0 + end.moved,
        x=x0 + end.climbed,
        length=end.length,
        time=jnp.where(final.event == NOTHING, never, end.time),
        sensitivity=sensitivity,
        transport=transport,
        drift=drift,
        pace=start.pace,
        slope=start.slope,
        heading=start.heading,
        last_pace=end.pace,
        last_slope=end.slope,
        last_heading=end.heading,
        event=final.event,
    )


@partial(jax.jit, static_argnums=0)
def lay_legs(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any, limits: Any) -> Leg:
    """Legs side by side.

    Args:
        paradigm: whose flow is followed.
        reduced: the setting's numbers.
        mu0: margin at which each leg starts, shape (legs,).
        x0: logit of alpha there.
        limits: length, rise of x and time at which a leg ends, shape (legs, 3).
    """
    return jax.vmap(partial(_leg, paradigm, reduced))(mu0, x0, limits)
