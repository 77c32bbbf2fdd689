"""Parts of a schedule run until a focus level, a margin or a time is reached.

``solve`` answers where a trajectory is at given times; here the question is when it is at a given
place. A leg is one paradigm from one state, with mu as the clock, in panels of Gauss points; it
stops at the first of three events and also returns what the conditions for a best switch need
(symbolic/switching.py). Everything runs from plain Python, one setting at a time.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from attnflow.errors import SettingError
from attnflow.numeric.lower import lower
from attnflow.numeric.precision import traced
from attnflow.numeric.problem import normalise
from attnflow.numeric.quadrature import INTEGRALS, NODES, POINTS, VALUES
from attnflow.numeric.simulate import simulate
from attnflow.numeric.times import default_horizon
from attnflow.numeric.trajectory import STATE, Reduced, reduce_setting
from attnflow.numeric.wright import increment
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check
from attnflow.symbolic.first_integral import separates
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.switch_condition import derive_switch_terms
from attnflow.symbols import C, mu, rho, tau

PANELS = 600  # panels tried at most; 20 to 60 are usual
RESOLVED = 3e-14  # size of the last two Chebyshev coefficients, relative to the largest value
LANES = 32  # legs computed side by side: one shape, so that each paradigm compiles once
GRID = 512  # times of a simulated flow that are looked at
WIDER = 16.0  # how much further is looked where a level was not reached
LATEST = 1e15
FINEST = 1e-13  # relative error of a step there
NOTHING, MARGIN, FOCUS, TIME = range(4)  # which event ended a leg


_NODES = np.append(NODES, 1.0)
_RUNNING = np.roll(INTEGRALS, -1, axis=0)  # the integral over the whole panel last


class Leg(NamedTuple):
    """One part of a schedule, each entry of shape (legs,).

    ``time`` is infinite where no event was reached. Pace and slope (dz/d mu) are those of the
    leg's paradigm at both ends; ``sensitivity`` is the integral of g_z along it.
    """

    mu: Any
    x: Any
    moved: Any  # change of mu
    time: Any
    sensitivity: Any
    pace: Any  # at the start
    slope: Any
    last_pace: Any  # at the end
    last_slope: Any
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
    """Where a leg is: motion since its start, time, integral of g_z, and pace and slope there."""

    moved: Any
    climbed: Any  # change of x
    time: Any
    sensitivity: Any
    pace: Any
    slope: Any


class _Search(NamedTuple):
    """The loop of a leg: panels forward, then ever better widths of the last one."""

    state: _State
    width: Any  # signed
    low: Any  # widths of the last panel known to be too small and too large
    high: Any
    closing: Any
    event: Any
    tries: Any


def _leg(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any, limits: Any) -> Leg:
    """One leg; limits are the distance of mu, the rise of x, and the time at which it ends."""
    pace_of, slope_of, sensitivity_of = _formulas(paradigm)

    def rates(moved: Any, climbed: Any) -> tuple[Any, Any, Any]:
        """Pace, slope and sensitivity at states given by the motion since the start."""
        weight = jnp.exp(x0 + climbed)
        state = (weight / (1 + weight), 1 / (1 + weight), mu0 + moved, reduced.classes)
        speeds = (reduced.focus, reduced.speed)
        pace, sensitivity = pace_of(*state, *speeds), sensitivity_of(*state, *speeds)
        return pace, slope_of(mu0 + moved, reduced.classes, reduced.focus), sensitivity

    def panel(state: _State, width: Any) -> tuple[_State, Any]:
        """The state at the end of a panel, and how far from resolved it is (1 is good)."""
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
        end = _State(
            moved=state.moved + width,
            climbed=climbed[-1],
            time=state.time + gained[0],
            sensitivity=state.sensitivity + gained[2],
            pace=values[0, -1],
            slope=values[1, -1],
        )
        return end, jnp.where(sound, jnp.max(unresolved) / RESOLVED, jnp.inf)

    def excess(state: _State) -> Any:
        return jnp.stack([jnp.abs(state.moved), state.climbed, state.time]) - limits

    def step(carry: _Search) -> _Search:
        """Go on by a panel; once a limit lies inside it, improve its width by Newton's method."""
        end, unresolved = panel(carry.state, carry.width)
        over = excess(end)
        past = jnp.any(over >= 0)
        good = unresolved <= 1
        closing = carry.closing | (good & past)
        low = jnp.where(closing & ~past, carry.width, carry.low)
        high = jnp.where(closing & past, carry.width, carry.high)
        climbing = end.slope / (1 + jnp.exp(x0 + end.climbed))
        growth = jnp.stack(jnp.broadcast_arrays(sign, climbing, end.pace)) * sign
        steps = jnp.where((growth > 0) & jnp.isfinite(over), -over / growth, jnp.inf)
        nearest = jnp.argmin(steps)
        width = carry.width + sign * steps[nearest]
        close = jnp.abs(steps[nearest]) <= 4e-16 * jnp.abs(carry.width)
        close = close | (jnp.abs(high - low) <= 4e-16 * jnp.abs(high))
        inside = (sign * width > sign * low) & (sign * width < sign * high)
        width = jnp.where(inside, width, (low + high) / 2)
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
        return (carry.event == NOTHING) & (carry.tries < PANELS) & (jnp.abs(carry.width) > 1e-250)

    zero = jnp.zeros_like(mu0)
    pace, slope, _ = (value + zero for value in rates(zero, zero))
    sign = jnp.sign(pace)
    start = _State(zero, zero, zero, zero, pace, slope)
    met = excess(start)
    at_once = jnp.where(jnp.any(met >= 0), 1 + jnp.argmax(met >= 0), NOTHING)
    width = jnp.where(jnp.isfinite(pace), 0.5 * sign, 0.0)
    begin = _Search(start, width, zero, width, jnp.zeros((), bool), at_once, 0)
    final = lax.while_loop(going, step, begin)
    end = final.state
    return Leg(
        mu=mu0 + end.moved,
        x=x0 + end.climbed,
        moved=end.moved,
        time=jnp.where(final.event == NOTHING, jnp.inf, end.time),
        sensitivity=end.sensitivity,
        pace=pace,
        slope=slope,
        last_pace=end.pace,
        last_slope=end.slope,
        event=final.event,
    )


@partial(jax.jit, static_argnums=0)
def _legs(paradigm: Paradigm, reduced: Reduced, mu0: Any, x0: Any, limits: Any) -> Leg:
    return jax.vmap(partial(_leg, paradigm, reduced))(mu0, x0, limits)


@dataclass(frozen=True)
class Course:
    """A setting, a start and a goal: what all parts of a race to a focus level share.

    Attributes:
        reduced: B, C, rho and tau as NumPy float64 numbers.
        mu, x: the start, with x = logit(alpha).
        goal: logit of the target.
    """

    reduced: Reduced
    mu: float
    x: float
    goal: float

    def run(
        self,
        paradigm: Paradigm,
        mu: Any,
        x: Any,
        length: Any = math.inf,
        duration: Any = math.inf,
        goal: Any = None,
    ) -> Leg:
        """Legs of one paradigm from states that broadcast to shape (legs,), as NumPy arrays.

        Each ends where |mu - start| = length, x = goal or time = duration, whichever is first.
        """
        goal = self.goal if goal is None else goal
        given = np.broadcast_arrays(
            *(np.asarray(v, np.float64).ravel() for v in (mu, x, length, duration, goal))
        )
        count = given[0].size
        parts = []
        for begin in range(0, count, LANES):
            chunk = [
                np.pad(v[begin : begin + LANES], (0, max(0, begin + LANES - count)), "edge")
                for v in given
            ]
            limits = np.stack([chunk[2], chunk[4] - chunk[1], chunk[3]], axis=1)
            with jax.enable_x64(True):
                leg = _legs(paradigm, self.reduced, chunk[0], chunk[1], limits)
                parts.append([np.asarray(v) for v in leg])
        return Leg(*(np.concatenate(vs)[:count] for vs in zip(*parts, strict=True)))


def course(setting: Setting, target: Any, initial: tuple[Any, Any]) -> Course:
    """Check what all questions of switching share, and bring it to one form.

    Raises:
        SettingError: target not between the initial focus weight and 1; arrays or tracers.
    """
    if traced(setting, target, initial):
        raise SettingError(
            "switching is computed from plain Python, got a tracer: call it outside jit and grad"
        )
    problem = normalise("soft", setting, 0.0, initial)
    if problem.batch_shape or np.ndim(target):
        raise SettingError(
            "switching takes one setting, one start and one target at a time, got arrays of shape "
            f"{problem.batch_shape or np.shape(target)}"
        )
    check("target", target, "a focus weight above 0 and below 1", lambda v: (v > 0) & (v < 1))
    with jax.enable_x64(True):
        reduced = jax.tree.map(np.asarray, reduce_setting(setting))
    goal = math.log(target) - math.log1p(-float(target))
    x = float(problem.nu0 - np.log(reduced.ratio))
    if goal <= x:
        raise SettingError(
            f"target must be above the focus weight at the start, {1 / (1 + math.exp(-x)):.6g}, "
            f"and below 1, got {target}"
        )
    return Course(reduced, float(problem.mu0), x, goal)


def time_to_focus(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    target: float,
    initial: tuple[float, float] = (0.0, 0.0),
) -> float:
    """The first time at which the focus weight alpha reaches a level.

    Runs from plain Python (not under jit or vmap). alpha may fall at first where mu0 < 0.

    Args:
        paradigm: name, Paradigm, or Schedule.
        setting: Setting, its entries plain numbers.
        target: the level, above the initial alpha and below 1.
        initial: (mu0, nu0), from -300 to 300.

    Returns:
        t = step x learning rate, to about 1e-13 (1e-10 where a loss has no first integral and its
        flow is simulated); infinite where alpha never gets there (or not within the range of
        float64, of a simulated flow not up to 1e15).

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a loss without a first integral could not be simulated that far.
    """
    problem = normalise(paradigm, setting, 0.0, initial)
    race = course(setting, target, initial)
    if not all(separates(part) for part in problem.paradigms):
        score = race.goal + float(np.log(race.reduced.ratio))
        return _simulated_time(paradigm, setting, score, initial)
    mu_now, x_now, begin = race.mu, race.x, 0.0
    for part, end in zip(problem.paradigms, problem.ends, strict=True):
        leg = race.run(part, mu_now, x_now, duration=end - begin)
        if leg.event[0] == FOCUS:
            return begin + float(leg.time[0])
        mu_now, x_now, begin = leg.mu[0], leg.x[0], float(end)
    return math.inf


def _simulated_time(paradigm: Any, setting: Setting, score: float, initial: Any) -> float:
    """The first time at which nu reaches a score, by ever finer times of the simulated flow."""

    def above(times: np.ndarray) -> np.ndarray:
        path = simulate(paradigm, setting, times, initial, rtol=FINEST)
        return np.asarray(path.nu) - score

    low, high = 0.0, default_horizon(setting)
    while not np.any(above(np.linspace(low, high, GRID)) >= 0):
        low, high = high, high * WIDER
        if low > LATEST:
            return math.inf
    while True:  # the interval shrinks by the grid's size at a time
        times = np.linspace(low, high, GRID)
        over = above(times)
        place = max(int(np.flatnonzero(over >= 0)[0]), 1)
        low, high = times[place - 1], times[place]
        if high - low <= 1e-12 * high:
            share = over[place - 1] / (over[place - 1] - over[place])
            return float(low + share * (high - low))
