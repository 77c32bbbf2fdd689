"""Steps along a flow: by diffrax, compiled by JAX for its device, or by SciPy, nothing compiled.

One program serves all the paradigms and schedules that are integrated together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.errors import SettingError
from attnflow.numeric.namespace import namespace
from attnflow.numeric.padding import cut
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import Problem
from attnflow.numeric.steps import Motion, check_momentum, coefficients, jacobian
from attnflow.numeric.trajectory import Reduced, reduce_setting, velocity
from attnflow.settings import check_count
from attnflow.symbolic.paradigm import Paradigm, nearest

SOLVERS = {
    "dopri8": "Dopri8",
    "dopri5": "Dopri5",
    "tsit5": "Tsit5",
    "bosh3": "Bosh3",
    "kvaerno5": "Kvaerno5",
    "kvaerno3": "Kvaerno3",
    "scipy": "DOP853",
}
"""Name -> method: explicit Runge-Kutta of diffrax, its implicit ones for stiff flows, SciPy's."""


@dataclass(frozen=True)
class Stepping:
    """How steps are taken: the keyword arguments of ``simulate`` that a program is compiled for."""

    solver: str = "dopri8"
    log_time: bool = False
    interpolate: bool = False
    max_steps: int = 100_000
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.solver, str) or self.solver not in SOLVERS:
            raise SettingError(
                f"unknown solver {self.solver!r}{nearest(str(self.solver), [*SOLVERS])}"
            )
        for name in ("log_time", "interpolate"):
            flag = getattr(self, name)
            if not isinstance(flag, bool | np.bool):
                raise SettingError(f"{name} must be True or False, got {flag!r}")
            object.__setattr__(self, name, bool(flag))
        object.__setattr__(self, "max_steps", check_count("max_steps", self.max_steps))
        object.__setattr__(self, "momentum", check_momentum(self.momentum, self.nesterov))
        object.__setattr__(self, "nesterov", bool(self.nesterov))


@float64(called="simulate")
def integrate(
    problems: list[Problem], rtol: Any, atol: Any, rate: Any, steps: Stepping
) -> list[tuple[Any, ...]]:
    """For each problem mu and nu, the last time reached, the times and the stages.

    Args:
        problems: alike but for their paradigms.
        rtol: relative error allowed in a step.
        atol: absolute error allowed in a step.
        rate: size of the steps that the flow is corrected for, or None.
        steps: how steps are taken.

    Raises:
        SettingError: SciPy is asked for what only JAX can do here.
    """
    if steps.solver == "scipy":
        solved = [_by_scipy(problem, rtol, atol, rate, steps) for problem in problems]
    else:
        joint, which = _joined(problems)
        numbers = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), (rtol, atol, rate))
        rows = _integrate(joint.cast().padded(), which, *numbers, steps)
        if not traced(rows):
            rows = jax.tree.map(np.asarray, rows)
        solved = list(zip(*rows, strict=True))
    return [
        (
            *(cut(v, problem.shape) for v in (mu, nu)),
            reached,
            problem.batched_times(),
            problem.stage(),
        )
        for problem, (mu, nu, reached) in zip(problems, solved, strict=True)
    ]


def _joined(problems: list[Problem]) -> tuple[Problem, np.ndarray]:
    """One problem of all their paradigms, with ends of shape (problem, part); and which is where.

    Shorter schedules are filled up with parts that begin after the last time.
    """
    distinct = tuple(dict.fromkeys(p for problem in problems for p in problem.paradigms))
    most = max(len(problem.paradigms) for problem in problems)
    rows, ends = [], []
    for problem in problems:
        rest = most - len(problem.paradigms)
        rows.append([distinct.index(p) for p in problem.paradigms] + [0] * rest)
        xp = jnp if traced(problem.ends) else np
        ends.append(xp.pad(problem.ends, (0, rest), constant_values=np.inf))
    joint = replace(problems[0], paradigms=distinct, ends=(jnp if traced(ends) else np).stack(ends))
    return joint, np.asarray(rows, np.int32)


@partial(jax.jit, static_argnames="steps")
def _integrate(
    problem: Problem, which: Any, rtol: Any, atol: Any, rate: Any, steps: Stepping
) -> tuple[Any, Any, Any]:
    """Mu and nu, shape (problem, *result's), and the last time reached, (problem, *batch's)."""
    corrected = None if rate is None else coefficients(rate, steps.momentum, steps.nesterov)
    flat = jnp.ravel(problem.times)
    usable = jnp.isfinite(flat) & (flat >= 0)
    order = jnp.argsort(jnp.where(usable, flat, 0.0))
    ascending = jnp.where(usable, flat, 0.0)[order]
    batched = jax.tree.map(
        lambda a: jnp.ravel(jnp.broadcast_to(a, problem.batch_shape)),
        (reduce_setting(problem.setting), problem.mu0, problem.nu0),
    )

    def entry(parts: tuple[Any, Any]) -> tuple[Any, Any, Any]:
        def one(reduced: Reduced, mu0: Any, nu0: Any) -> tuple[Any, Any]:
            how = (problem.freeze, reduced, corrected, steps.momentum > 0)
            motion = partial(_motion, problem.paradigms, *how)
            state = jnp.stack([mu0, nu0])
            values, reached = _pieces(motion, parts, state, ascending, rtol, atol, steps)
            asked = jnp.zeros_like(values).at[order].set(values)
            return jnp.where(usable[:, None], asked, jnp.nan), reached

        if problem.batch_shape:
            values, reached = jax.vmap(one)(*batched)
        else:
            values, reached = one(*jax.tree.map(lambda a: a[0], batched))
        mu, nu = (jnp.reshape(values[..., i], problem.shape) for i in (0, 1))
        return mu, nu, jnp.reshape(reached, problem.batch_shape)

    if len(which) == 1:
        return jax.tree.map(lambda a: a[None], entry((which[0], problem.ends[0])))
    return jax.lax.map(entry, (jnp.asarray(which), problem.ends))


def _pieces(
    motion: Any, parts: Any, state: Any, times: Any, rtol: Any, atol: Any, steps: Stepping
) -> tuple[Any, Any]:
    """Arrays (mu, nu) at ascending times, shape (times, 2), and the last time reached."""
    zero = jnp.zeros(())
    horizon = times[-1] if times.size else zero
    which, ends = parts
    values = jnp.broadcast_to(state, (*times.shape, 2))
    if steps.momentum:
        state = jnp.concatenate([state, jnp.zeros(2)])
    if len(ends) == 1:
        move = motion(which[0])
        if isinstance(move, Motion):
            state = move.enter(state, 0.0)
        within = jnp.append(times, horizon)
        values, reached = _piece(move, state, zero, within, rtol, atol, steps)
        return values[:-1, :2], reached

    def advance(carry: Any, part: Any) -> tuple[Any, None]:
        values, reached, going, start, state, before = carry
        index, end = part
        # a part that begins after the last time, or after a failure, has length zero
        end = jnp.where(going, jnp.clip(end, start, horizon), start)
        within = jnp.append(jnp.clip(times, start, end), end)
        move = motion(index)
        if isinstance(move, Motion):
            last = motion(jnp.maximum(before, 0)).flow(state[:2])
            state = move.enter(state, jnp.where(before < 0, 0.0, last))
        piece, at = _piece(move, state, start, within, rtol, atol, steps)
        values = jnp.where((times > start)[:, None], piece[:-1, :2], values)
        reached = jnp.where(going, at, reached)
        return (values, reached, jnp.all(jnp.isfinite(piece[-1])), end, piece[-1], index), None

    begun = (values, zero, jnp.asarray(True), zero, state, jnp.asarray(-1, jnp.int32))
    (values, reached, *_), _ = jax.lax.scan(advance, begun, (jnp.asarray(which), ends))
    return values, reached


def _moving(freeze: str | None) -> np.ndarray:
    """Which of mu and nu move."""
    return np.array([freeze != "classifier", freeze != "focus"])


def _velocity(paradigm: Paradigm, freeze: str | None, reduced: Reduced, state: Any) -> Any:
    """d(mu, nu)/dt; a held part has velocity zero."""
    rates = velocity(paradigm, reduced, *state)
    xp = namespace(rates[0])
    return xp.where(_moving(freeze), xp.stack(rates), 0.0)


def _motion(
    paradigms: tuple[Paradigm, ...],
    freeze: str | None,
    reduced: Reduced,
    corrected: Any,
    inertial: bool,
    which: Any = 0,
) -> Callable[[Any], Any]:
    """The velocity of the state under one of the paradigms, corrected for steps where asked."""

    def of(function: Callable[[Paradigm, Any], Any], state: Any) -> Any:
        if len(paradigms) == 1:
            return function(paradigms[0], state)
        return jax.lax.switch(which, [partial(function, p) for p in paradigms], state)

    def slope(paradigm: Paradigm, state: Any) -> Any:
        xp = namespace(state)
        entries = xp.reshape(xp.stack(jacobian(paradigm, reduced, *state)), (2, 2))
        return xp.where(_moving(freeze)[:, None], entries, 0.0)

    flow = partial(of, lambda p, state: _velocity(p, freeze, reduced, state))
    return flow if corrected is None else Motion(flow, partial(of, slope), corrected, inertial)


def _piece(
    velocity: Any, state: Any, start: Any, times: Any, rtol: Any, atol: Any, steps: Stepping
) -> tuple[Any, Any]:
    """One paradigm from ``start`` to the last of ascending times: states there, time reached."""
    import diffrax  # loaded for the programs that need it

    to_clock, from_clock, field = _clock(velocity, state, start, steps.log_time)
    clock = to_clock(times)
    controller: Any = diffrax.PIDController(rtol=rtol, atol=atol)
    if not steps.interpolate:
        controller = diffrax.ClipStepSizeController(controller, step_ts=clock)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda s, y, _: field(s, y)),
        getattr(diffrax, SOLVERS[steps.solver])(),
        t0=jnp.zeros(()),
        t1=clock[-1],
        dt0=None,
        y0=state,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=clock), diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=controller,
        max_steps=steps.max_steps + times.size,
        throw=False,
    )
    states: Any = solution.ys
    reached: Any = solution.ts
    values, last = states[0], reached[1][0]
    values = jnp.where(jnp.isfinite(values), values, jnp.nan)
    return values, from_clock(last)


def _clock(velocity: Any, state: Any, start: Any, log_time: bool) -> tuple[Any, Any, Any]:
    """Time to the variable of the steps, t or log(1 + t/T); the way back; the velocity in it."""
    if not log_time:
        return lambda t: t - start, lambda s: start + s, lambda s, y: velocity(y)
    xp = namespace(state)
    speed = xp.max(xp.abs(velocity(state)))
    scale = 1 / xp.where(xp.isfinite(speed) & (speed > 0), speed, 1.0)
    return (
        lambda t: xp.log1p((t - start) / scale),
        lambda s: start + scale * xp.expm1(s),
        lambda s, y: velocity(y) * scale * xp.exp(s),
    )


def _by_scipy(
    problem: Problem, rtol: Any, atol: Any, rate: Any, steps: Stepping
) -> tuple[Any, Any, Any]:
    """Mu, nu and the last time reached, setting by setting, in NumPy."""
    if traced(problem, rtol, atol, rate):
        raise SettingError(
            "solver 'scipy' cannot run inside a JAX transformation: use another solver there"
        )
    corrected = None
    if rate is not None:
        corrected = coefficients(np.float64(rate), steps.momentum, steps.nesterov)
    parts = list(zip(problem.paradigms, problem.ends, strict=True))
    flat = np.ravel(problem.times)
    reduced = jax.tree.map(np.asarray, reduce_setting(problem.setting))
    each = [
        np.ravel(np.broadcast_to(v, problem.batch_shape))
        for v in (*jax.tree.leaves(reduced), problem.mu0, problem.nu0)
    ]
    found = []
    for row in zip(*each, strict=True):
        how = (problem.freeze, Reduced(*row[:-2]), corrected, steps.momentum > 0)
        moves = [(_motion((p,), *how), float(end)) for p, end in parts]
        found.append(_stepped_by_scipy(moves, np.array(row[-2:]), flat, rtol, atol, steps))
    states = np.reshape([states for states, _ in found], (*problem.shape, 2))
    reached = np.reshape([reached for _, reached in found], problem.batch_shape)
    return states[..., 0], states[..., 1], reached


def _stepped_by_scipy(
    moves: list[tuple[Callable[[Any], Any], float]],
    state: np.ndarray,
    times: np.ndarray,
    rtol: float,
    atol: float,
    steps: Stepping,
) -> tuple[np.ndarray, float]:
    """States at the times, NaN where they were not reached, and the last time reached.

    ``moves`` are the parts: the velocity of each, and the time at which it ends.
    """
    from scipy.integrate import DOP853

    values, start, last = np.full((times.size, 2), np.nan), 0.0, float(np.max(times, initial=0.0))
    values[times == 0] = state
    before: Any = 0.0
    if steps.momentum:
        state = np.append(state, [0.0, 0.0])
    for move, until in moves:
        end = min(until, last)
        if end <= start:
            continue
        if isinstance(move, Motion):
            state = move.enter(state, before)
        to_clock, from_clock, field = _clock(move, state, start, steps.log_time)
        place = np.flatnonzero((times > start) & (times <= end))
        clock = to_clock(times[place])
        # SciPy allows no relative error below 100 roundings
        stepper = DOP853(field, 0.0, state, to_clock(end), rtol=max(rtol, 2.3e-14), atol=atol)
        for _ in range(steps.max_steps + place.size):
            stepper.step()
            if stepper.status == "failed":
                break
            inside = (clock > stepper.t_old) & (clock <= stepper.t)
            if inside.any():
                values[place[inside]] = stepper.dense_output()(clock[inside])[:2].T
            if stepper.status == "finished":
                break
        if stepper.status != "finished":
            return values, from_clock(stepper.t)
        state, start = stepper.y, end
        if isinstance(move, Motion):
            before = move.flow(state[:2])
    return values, start
