"""``solve``: trajectories in closed form, by quadrature of dt/d mu and its inverse.

Along an orbit nu is an explicit function of mu (Wright omega, symbolic/orbit.py) and time is one
quadrature in mu; where a part is frozen, time is a quadrature in the other. numeric/quadrature.py
evaluates and inverts it, numeric/tracks.py says what is integrated, and this module joins the parts
of a schedule. A plain call of moderate size is computed in NumPy and compiles nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from attnflow.errors import IntegrationFailed
from attnflow.numeric import refine
from attnflow.numeric.namespace import concrete, namespace, quiet, traced
from attnflow.numeric.precision import float64
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.tracks import differentiable_states, edges_of, formulas, states
from attnflow.numeric.trajectory import (
    Reduced,
    Trajectory,
    reduce_setting,
    refuse_decay,
    velocities,
)
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.paradigm import Paradigm

PLAIN = 100_000
"""Up to so many points a plain call is computed in NumPy; beyond, a compiled program pays."""


def _trajectories(problem: Problem) -> tuple[Any, Any]:
    """mu and nu of a problem, part by part of the schedule."""
    xp = problem.namespace
    if 0 in problem.shape:
        return xp.zeros(problem.shape), xp.zeros(problem.shape)

    def flat(values: Any) -> Any:
        return xp.broadcast_to(xp.asarray(values, np.float64), problem.batch_shape).reshape(-1)

    reduced = Reduced(*(flat(v) for v in reduce_setting(problem.setting)[:4]))
    mu0, nu0 = flat(problem.mu0), flat(problem.nu0)
    times = xp.reshape(xp.asarray(problem.times, np.float64), (1, -1))
    times = xp.broadcast_to(times, (mu0.shape[0], times.shape[1]))
    at = states if xp is np else differentiable_states()
    at_mu, at_nu = mu0[:, None] + 0 * times, nu0[:, None] + 0 * times
    begin = xp.zeros(())
    for index, paradigm in enumerate(problem.paradigms):
        # from t = 0 on every time counts, so that the derivative at 0 is the velocity there
        here = times if index == 0 else xp.maximum(times - begin, 0.0)
        final = index == len(problem.paradigms) - 1
        if not final:
            length = problem.ends[index] - begin
            end = xp.broadcast_to(length, (mu0.shape[0], 1))
            here = xp.concatenate([xp.minimum(here, length), end], axis=1)
        clock, change = at(paradigm, problem.freeze, (reduced, mu0, nu0), here)
        if problem.freeze == "classifier":
            new_mu, new_nu = mu0[:, None] + 0 * here, nu0[:, None] + clock
        else:
            new_mu, new_nu = mu0[:, None] + clock, nu0[:, None] + change
        later = times >= begin if index == 0 else times > begin
        count = times.shape[1]
        at_mu = xp.where(later, new_mu[:, :count], at_mu)
        at_nu = xp.where(later, new_nu[:, :count], at_nu)
        if not final:
            mu0, nu0, begin = new_mu[:, -1], new_nu[:, -1], problem.ends[index]
    return at_mu.reshape(problem.shape), at_nu.reshape(problem.shape)


@cache
def _compiled() -> Callable[[Problem], tuple[Any, Any]]:
    import jax

    return jax.jit(lambda problem: _trajectories(problem.cast()))


def _computed(problem: Problem) -> tuple[Any, Any]:
    if traced(problem) or int(np.prod(problem.shape)) > PLAIN:
        import jax

        with jax.enable_x64(True):
            return _compiled()(problem)
    with quiet():
        return _trajectories(problem)


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
    setting, start and switch times, where a sweep compiles once. A plain call of up to 100,000
    points is computed in NumPy and compiles nothing; the two agree to rounding.

    Args:
        paradigm: name, Paradigm, or Schedule of them.
        setting: Setting; entries may be arrays of one broadcastable shape, a sweep.
        times: continuous time t = step x learning rate, at least 0, any shape and order.
        initial: (mu0, nu0), numbers from -300 to 300 or arrays that broadcast with the setting's.
        freeze: None; "focus" holds alpha at its start; "classifier" holds mu.

    Returns:
        Trajectory with arrays of shape (*sweep, *times), float64: JAX's where JAX is imported and
        in 64-bit mode, else NumPy's.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        NoFirstIntegral: the paradigm has none (and no part is frozen), or weights decay; simulate
            still works.
        IntegrationFailed: a trajectory could not be computed (outside JAX transformations; inside,
            its entries are NaN).
        PrecisionError: called inside a JAX transformation with 64-bit mode off.

    Source: symbolic/orbit.py and symbolic/frozen.py; accuracy and cost, benchmarks/.
    """
    problem = normalise(paradigm, setting, times, initial, freeze)
    return _solved(problem)


@float64(called="solve")
def _solved(problem: Problem) -> Trajectory:
    trajectory = evaluate(problem)
    if traced(trajectory.mu) or len(problem.paradigms) > 1 or problem.freeze is not None:
        return trajectory
    return _refined(problem, trajectory)


def evaluate(problem: Problem) -> Trajectory:
    """The trajectory of a problem in float64 alone: ``solve`` without its second look.

    Raises:
        NoFirstIntegral, IntegrationFailed, PrecisionError: as ``solve``.
    """
    refuse_decay(problem.setting)
    for part in problem.paradigms:
        formulas(part, problem.freeze)
    at_mu, at_nu = _computed(problem)
    trajectory = Trajectory(
        times=problem.batched_times(),
        mu=at_mu,
        nu=at_nu,
        setting=problem.setting,
        stage=problem.stage(),
        paradigms=problem.paradigms,
        method="closed form",
    )
    if not traced(at_mu) and np.isnan(at_mu + at_nu).any():
        raise IntegrationFailed(
            f"no closed-form trajectory for {problem.name} in {problem.setting.as_dict()}: "
            f"the panels do not reach every time; use simulate, or shorter times"
        )
    return trajectory


def _sensitivity(trajectory: Trajectory) -> Any:
    """The larger of |d mu/d log t| and |d nu/d log t|, by which a relative error of t(mu) grows."""
    rates = velocities(trajectory)[0]
    xp = namespace(trajectory.mu)
    return trajectory.times * xp.maximum(*(xp.abs(v) for v in rates))


def _refined(problem: Problem, trajectory: Trajectory) -> Trajectory:
    """Sensitive points once more with 34 digits; rarely any."""
    chosen = np.asarray(_sensitivity(concrete(trajectory))) > refine.SENSITIVE
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
        edges = _edges_of(problem.paradigms[0], setting, (mu0, nu0), here[picked].max())
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
    return replace(trajectory, mu=at_mu.reshape(shape), nu=at_nu.reshape(shape))


def _edges_of(
    paradigm: Paradigm, setting: Setting, start: tuple[float, float], last: float
) -> np.ndarray:
    mu0, nu0 = (np.asarray(v, np.float64) for v in start)
    with quiet():
        return edges_of(paradigm, None, (reduce_setting(setting), mu0, nu0), np.asarray([last]))
