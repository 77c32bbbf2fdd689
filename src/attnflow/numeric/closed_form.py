"""``solve``: trajectories in closed form, by quadrature of dt/d mu and its inverse.

Along an orbit nu is an explicit function of mu (Wright omega, symbolic/solution.py) and time is one
quadrature in mu; where a part is frozen, time is a quadrature in the other. numeric/quadrature.py
evaluates and inverts it; this module says what is integrated, joins the parts of a schedule, and
supplies derivatives by the implicit function theorem, so that results are differentiable in
everything.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from attnflow.errors import IntegrationFailed
from attnflow.numeric import quadrature, refine
from attnflow.numeric.lower import lower
from attnflow.numeric.padding import cut
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.quadrature import Panel, Track
from attnflow.numeric.trajectory import (
    STATE,
    Reduced,
    Trajectory,
    focus_weights,
    lowered_velocity,
    padded,
    per_time,
    reduce_setting,
)
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, mu, rho, tau

FEW = 6  # up to so many times each keeps its own panel; more share a table of panels
FEW_TOGETHER = 64  # the same where trajectories are computed side by side: tables cost more there
TABLE = 1e-6  # how much better panels are resolved that are read as polynomials of time
LANES = 256  # trajectories computed side by side; more in turn, so that work fits the cache


@lru_cache(maxsize=256)
def _formulas(paradigm: Paradigm, freeze: str | None) -> tuple[Any, Any]:
    """(drive, pace) as JAX functions: dz/d clock/rho of (mu, C) and dt/d clock of the state."""
    flow = derive_flow(paradigm)
    if freeze == "classifier":
        return None, lower(1 / flow.nu_dot, (*STATE, rho, tau))
    drive = None if freeze else lower(derive_first_integral(paradigm).slope, (mu, C))
    return drive, lower(1 / flow.mu_dot, (*STATE, rho, tau))


def _track(paradigm: Paradigm, freeze: str | None, inputs: tuple[Reduced, Any, Any]) -> Track:
    """The clock (change of mu; of nu where the classifier is frozen), its drive and its pace."""
    reduced, mu0, nu0 = inputs
    slope, rate = _formulas(paradigm, freeze)
    start = jnp.exp(nu0) / reduced.ratio

    def pace(weight: Any, at: Any) -> Any:
        state = (weight / (1 + weight), 1 / (1 + weight), at, reduced.classes)
        return rate(*state, reduced.focus, reduced.speed) + jnp.zeros_like(weight)

    def drive(clock: Any) -> Any:
        # a slope may be constant: psi = e^mu
        return reduced.focus * slope(mu0 + clock, reduced.classes) + jnp.zeros_like(clock)

    if freeze == "classifier":
        return Track(
            drive=jnp.zeros_like,
            pace=lambda clock, weight: pace(weight * jnp.exp(clock), mu0),
            weight=start,
        )
    return Track(
        drive=drive if slope else jnp.zeros_like,
        pace=lambda clock, weight: pace(weight, mu0 + clock),
        weight=start,
    )


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _state(
    paradigm: Paradigm, freeze: str | None, inputs: tuple[Reduced, Any, Any], times: Any
) -> tuple[Any, Any]:
    """Clock and companion at each of the times (shape (n,)), from one start."""
    return _lanes(paradigm, freeze)(inputs, times)


def _lane(
    paradigm: Paradigm,
    freeze: str | None,
    few: int,
    inputs: tuple[Reduced, Any, Any],
    times: Any,
) -> tuple[Any, Any]:
    track = _track(paradigm, freeze, inputs)
    last = jnp.max(times)
    first = jnp.min(jnp.where(times > 0, times, last))
    if times.shape[0] <= few:
        return _few(track, times, first, last)
    return _many(track, times, first, last)


@lru_cache(maxsize=256)
def _lanes(paradigm: Paradigm, freeze: str | None) -> Callable[..., tuple[Any, Any]]:
    """``_lane`` with a batching rule: lanes of like length side by side, a cacheful at a time.

    Lanes marched together take as many panels as the longest of them, so they are sorted by how
    far they go (time in units of the onset's) before they are taken in turn.
    """
    one = custom_vmap(partial(_lane, paradigm, freeze, FEW))

    @one.def_vmap
    def _batched(size: int, batched: Any, inputs: Any, times: Any) -> tuple[Any, Any]:
        args = jax.tree.map(
            lambda a, has: a if has else jnp.broadcast_to(a, (size, *jnp.shape(a))),
            (inputs, times),
            tuple(batched),
        )
        lane = partial(_lane, paradigm, freeze, FEW_TOGETHER)
        if size <= LANES:
            return jax.vmap(lane)(*args), (True, True)
        (reduced, _, nu0), spans = args
        reach = jnp.max(spans, axis=-1) * reduced.speed / (reduced.ratio * reduced.classes)
        order = jnp.argsort(reach * jnp.exp(jnp.minimum(nu0, 0.0)))
        in_order = jax.tree.map(lambda a: a[order], args)
        found = lax.map(lambda pair: lane(*pair), in_order, batch_size=LANES)
        back = jnp.argsort(order)
        return jax.tree.map(lambda a: a[back], found), (True, True)

    return one


def _settle(times: Any, end: quadrature.March, found: tuple[Any, Any]) -> tuple[Any, Any]:
    """Beyond the panels: the start at t = 0, the equilibrium if the clock is at rest, else NaN."""
    clock, companion = found
    rest = jnp.where(end.stuck, 1.0, jnp.nan)
    beyond = times > end.time
    clock = jnp.where(beyond, end.clock * rest, clock)
    companion = jnp.where(beyond, end.companion * rest, companion)
    return jnp.where(times > 0, clock, 0.0), jnp.where(times > 0, companion, 0.0)


def _few(track: Track, times: Any, first: Any, last: Any) -> tuple[Any, Any]:
    """Each time keeps the panel that holds it while the march goes by."""
    ones = jnp.ones(times.shape)
    coefficients = jnp.ones((*times.shape, quadrature.POINTS))
    blank = (Panel(ones, ones, 0 * ones, ones, coefficients, coefficients), ones)

    def visit(kept: Any, panel: Panel, end: Any, _: Any, good: Any) -> Any:
        use = good & (panel.time < times)
        new = (panel, end)
        return jax.tree.map(
            lambda old, value: jnp.where(use if jnp.ndim(value) == 0 else use[:, None], value, old),
            kept,
            new,
        )

    final, (panel, end) = quadrature.march(track, first, last, visit, blank)
    return _settle(times, final, quadrature.locate(track, panel, times, end))


def _many(track: Track, times: Any, first: Any, last: Any) -> tuple[Any, Any]:
    """All times look up one table of panels."""
    room = quadrature.PANELS
    row = jnp.ones(room)
    table = Panel(row, row, 0 * row, row, *(jnp.ones((room, quadrature.POINTS)) for _ in range(2)))

    def visit(kept: Any, panel: Panel, end: Any, count: Any, good: Any) -> Any:
        old = jax.tree.map(lambda a: a[count], kept)
        new = jax.tree.map(partial(jnp.where, good), (panel, end), old)
        return jax.tree.map(lambda a, value: a.at[count].set(value), kept, new)

    final, (table, ends) = quadrature.march(
        track,
        first,
        last,
        visit,
        (table, jnp.full(room, jnp.inf)),
        quadrature.TOLERANCE * TABLE,
        True,
    )
    # the table is short: counting the panels gone by is quicker than searching it
    index = lax.fori_loop(
        0,
        final.count - 1,
        lambda k, gone: jnp.where(times > ends[k], k + 1, gone),
        jnp.zeros(times.shape, int),
    )
    found = quadrature.read(quadrature.tabulate(track, table, ends, final.count), index, times)
    return _settle(times, final, found)


@_state.defjvp
def _state_jvp(paradigm: Paradigm, freeze: str | None, primals: Any, tangents: Any) -> Any:
    """t(clock; inputs) = time, differentiated implicitly: panels stay where they are."""
    inputs, times = primals
    inputs_dot, times_dot = tangents
    clock, companion = _state(paradigm, freeze, inputs, times)
    edges = _edges(paradigm, freeze, *lax.stop_gradient((inputs, times)))

    def at_clock(given: tuple[Reduced, Any, Any]) -> tuple[Any, Any]:
        return quadrature.along(_track(paradigm, freeze, given), edges, clock)

    _, (time_dot, companion_dot) = jax.jvp(at_clock, (inputs,), (inputs_dot,))
    track = _track(paradigm, freeze, inputs)
    weight = track.weight * jnp.exp(companion)
    velocity = 1 / track.pace(clock, weight)
    clock_dot = jnp.where(velocity == 0, 0.0, (times_dot - time_dot) * velocity)
    companion_dot = companion_dot + clock_dot * jax.vmap(track.drive)(clock) / (1 + weight)
    return (clock, companion), (clock_dot, companion_dot)


def _edges(paradigm: Paradigm, freeze: str | None, inputs: Any, times: Any) -> Any:
    """Where the panels of a march begin; the last is repeated to fill the table."""
    track = _track(paradigm, freeze, inputs)
    last = jnp.max(times)
    first = jnp.min(jnp.where(times > 0, times, last))

    def visit(kept: Any, panel: Panel, _: Any, count: Any, good: Any) -> Any:
        end = jnp.where(good, panel.clock + panel.width, kept[count])
        return jnp.where(jnp.arange(kept.shape[0]) >= count, end, kept)

    start = jnp.zeros(quadrature.PANELS)
    return quadrature.march(track, first, last, visit, start)[1]


def _trajectory(
    problem: Problem, reduced: Reduced, mu0: Any, nu0: Any, ends: Any
) -> tuple[Any, Any]:
    """mu and nu at the problem's times (flat), part by part of the schedule, for one setting."""
    times = jnp.ravel(problem.times)
    at_mu, at_nu = jnp.full(times.shape, mu0), jnp.full(times.shape, nu0)
    begin = jnp.zeros(())
    for index, paradigm in enumerate(problem.paradigms):
        # from t = 0 on every time counts, so that the derivative at 0 is the velocity there
        here = times if index == 0 else jnp.maximum(times - begin, 0.0)
        final = index == len(problem.paradigms) - 1
        if not final:
            length = ends[index] - begin
            here = jnp.append(jnp.minimum(here, length), length)
        clock, companion = _state(paradigm, problem.freeze, (reduced, mu0, nu0), here)
        if problem.freeze == "classifier":
            new_mu, new_nu = jnp.full(here.shape, mu0), nu0 + clock
        else:
            new_mu, new_nu = mu0 + clock, nu0 + companion
        later = times >= begin if index == 0 else times > begin
        if final:
            at_mu, at_nu = jnp.where(later, new_mu, at_mu), jnp.where(later, new_nu, at_nu)
        else:
            at_mu = jnp.where(later, new_mu[:-1], at_mu)
            at_nu = jnp.where(later, new_nu[:-1], at_nu)
            mu0, nu0, begin = new_mu[-1], new_nu[-1], ends[index]
    return at_mu, at_nu


@jax.jit
def _solve_compiled(problem: Problem) -> tuple[Any, Any]:
    problem = problem.cast()
    if 0 in problem.shape:
        return jnp.zeros(problem.shape), jnp.zeros(problem.shape)
    reduced = reduce_setting(problem.setting)
    lanes = (reduced, problem.mu0, problem.nu0)
    if not problem.batch_shape:
        results = _trajectory(problem, *lanes, problem.ends)
        return jax.tree.map(lambda a: a.reshape(problem.shape), results)
    lanes = jax.tree.map(lambda a: jnp.broadcast_to(a, problem.batch_shape).ravel(), lanes)
    results = jax.vmap(partial(_trajectory, problem, ends=problem.ends))(*lanes)
    return jax.tree.map(lambda a: a.reshape(problem.shape), results)


def solve(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Any,
    initial: tuple[Any, Any] = (0.0, 0.0),
    freeze: str | None = None,
) -> Trajectory:
    """The closed-form trajectory of gradient flow at the given times.

    mu and nu to a relative 1e-12 or better for 2 <= m, C <= 1e6, 1e-6 <= t <= 1e15 and starts
    within [-5, 20] (inside a JAX transformation, and after a switch: times 1 + |d mu/d log t|/1000,
    which matters only just after the onset of a setting with m above 1000; elsewhere such points
    are computed with 34 digits). The cost grows with the number of times, hardly with the horizon.
    Pure: may be jitted, vmapped and differentiated (any order, forward and reverse) in times,
    setting, start and switch times; a sweep compiles once, and neighbouring numbers of times up to
    1024 share their programs (numeric/lengths.py).

    Args:
        paradigm: name, Paradigm, or Schedule of them.
        setting: Setting; entries may be arrays of one broadcastable shape, a sweep.
        times: continuous time t = step x learning rate, at least 0, any shape and order.
        initial: (mu0, nu0), numbers from -300 to 300 or arrays that broadcast with the setting's.
        freeze: None; "focus" holds alpha at its start; "classifier" holds mu.

    Returns:
        Trajectory with arrays of shape (*sweep, *times), float64.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        NoFirstIntegral: the paradigm has none (and no part is frozen); simulate still works.
        IntegrationFailed: a trajectory could not be computed (outside JAX transformations; inside,
            its entries are NaN).
        PrecisionError: called inside a JAX transformation with 64-bit mode off.

    Source: symbolic/solution.py and symbolic/frozen.py; accuracy and cost, benchmarks/.
    """
    problem = normalise(paradigm, setting, times, initial, freeze)
    trajectory = evaluate(problem)
    if traced(trajectory.mu) or len(problem.paradigms) > 1 or problem.freeze is not None:
        return trajectory
    return _refined(problem, trajectory)


@float64(called="solve")
def evaluate(problem: Problem) -> Trajectory:
    """The trajectory of a problem in float64 alone: ``solve`` without its second look.

    Raises:
        NoFirstIntegral, IntegrationFailed, PrecisionError: as ``solve``.
    """
    for part in problem.paradigms:
        _formulas(part, problem.freeze)
    at_mu, at_nu = (cut(v, problem.shape) for v in _solve_compiled(problem.padded()))
    trajectory = Trajectory(
        times=problem.batched_times(),
        mu=at_mu,
        nu=at_nu,
        setting=problem.setting,
        stage=problem.stage(),
        paradigms=problem.paradigms,
        method="closed form",
    )
    if traced(at_mu):
        return trajectory
    if np.isnan(at_mu).any() or np.isnan(at_nu).any():
        raise IntegrationFailed(
            f"no closed-form trajectory for {problem.name} in {problem.setting.as_dict()}: "
            f"the panels do not reach every time; use simulate, or shorter times"
        )
    return trajectory


@jax.jit
def _sensitivity(trajectory: Trajectory) -> Any:
    """The larger of |d mu/d log t| and |d nu/d log t|, by which a relative error of t(mu) grows."""
    reduced = per_time(trajectory)
    state = (*focus_weights(trajectory.nu, reduced.ratio), trajectory.mu, reduced.classes)
    velocity = lowered_velocity(trajectory.paradigms[0])(*state, reduced.focus, reduced.speed)
    return trajectory.times * jnp.maximum(*(jnp.abs(v) for v in velocity))


@float64(called="solve")
def _refined(problem: Problem, trajectory: Trajectory) -> Trajectory:
    """Sensitive points once more with 34 digits; rarely any."""
    chosen = np.asarray(cut(_sensitivity(padded(trajectory)), problem.shape)) > refine.SENSITIVE
    if not chosen.any():
        return trajectory
    shape, lanes = problem.shape, (int(np.prod(problem.batch_shape)), -1)
    start = [np.broadcast_to(v, problem.batch_shape).ravel() for v in (problem.mu0, problem.nu0)]
    numbers = {
        name: np.broadcast_to(v, problem.batch_shape).ravel()
        for name, v in problem.setting.numbers().items()
    }
    times, at_mu, at_nu, chosen = (
        np.array(a).reshape(lanes) for a in (trajectory.times, trajectory.mu, trajectory.nu, chosen)
    )
    for lane in np.flatnonzero(chosen.any(axis=1)):
        setting = replace(problem.setting, **{name: v[lane] for name, v in numbers.items()})
        mu0, nu0 = (float(v[lane]) for v in start)
        here, picked = times[lane], chosen[lane]
        edges = _edges_compiled(problem.paradigms[0], setting, mu0, nu0, here[picked].max())
        found = refine.refine(
            problem.paradigms[0],
            setting,
            (mu0, nu0),
            here[picked],
            at_mu[lane, picked] - mu0,
            np.asarray(edges),
        )
        new_mu, new_nu = np.transpose(found)
        # at an equilibrium the velocity is rounding, and time does not tell the clock
        near = np.abs(new_mu - at_mu[lane, picked]) <= 1e-6 * (1 + np.abs(new_mu))
        at_mu[lane, picked] = np.where(near, new_mu, at_mu[lane, picked])
        at_nu[lane, picked] = np.where(near, new_nu, at_nu[lane, picked])
    return replace(
        trajectory, mu=jnp.asarray(at_mu.reshape(shape)), nu=jnp.asarray(at_nu.reshape(shape))
    )


@partial(jax.jit, static_argnums=0)
def _edges_compiled(paradigm: Paradigm, setting: Setting, mu0: Any, nu0: Any, last: Any) -> Any:
    inputs = (reduce_setting(setting), *(jnp.asarray(v, jnp.float64) for v in (mu0, nu0)))
    return _edges(paradigm, None, inputs, jnp.asarray(last, jnp.float64)[None])
