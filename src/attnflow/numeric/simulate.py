"""The flow integrated numerically by diffrax: works for every paradigm, first integral or not.

It knows nothing of the closed form: the flow is lowered from the loss and stepped with error
control, which makes it a witness for the closed form where there is one, and the way to go where
there is none.
"""

import math
from dataclasses import fields, replace
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.padding import cut
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.steps import Motion, check_steps, coefficients, jacobian
from attnflow.numeric.trajectory import (
    Reduced,
    Trajectory,
    focus_weights,
    lowered_velocity,
    reduce_setting,
)
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check, positive, whole
from attnflow.symbolic.paradigm import Paradigm, nearest

SOLVERS = {
    "dopri8": diffrax.Dopri8,
    "dopri5": diffrax.Dopri5,
    "tsit5": diffrax.Tsit5,
    "bosh3": diffrax.Bosh3,
    "kvaerno5": diffrax.Kvaerno5,
    "kvaerno3": diffrax.Kvaerno3,
}
"""Name -> diffrax solver: explicit Runge-Kutta first, then the implicit ones for stiff flows."""


def simulate(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
    freeze: str | None = None,
    *,
    rtol: Any = 1e-10,
    atol: Any = 1e-12,
    solver: str = "dopri8",
    log_time: bool = False,
    interpolate: bool = False,
    max_steps: int = 100_000,
    learning_rate: Any = None,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Trajectory:
    """Integrate the gradient flow of a paradigm, or of a schedule of them, by adaptive steps.

    Time is continuous: t = step x learning rate. With ``learning_rate`` the flow is corrected for
    the size of the steps of gradient descent, and for momentum: from descent by such steps, at
    t = step x learning_rate/(1 - momentum), it differs in second order only. Works under the
    caller's ``jit`` and ``vmap`` (with 64-bit mode on); arrays in ``setting`` and ``initial`` are
    integrated as one batch, and a sweep over values compiles once, as do neighbouring numbers of
    times (numeric/padding.py). A schedule is restarted at each of its switches.

    Args:
        paradigm: name, Paradigm or Schedule.
        setting: the Setting; entries may be arrays.
        times: finite and at least 0, any shape and order, repeats allowed.
        initial: (mu0, nu0) at t = 0, numbers or arrays from -300 to 300.
        freeze: None, "focus" (alpha held) or "classifier" (mu held).
        rtol: relative error allowed in a step, above 0.
        atol: absolute error allowed in a step (of mu and nu), above 0.
        solver: "dopri8", "dopri5", "tsit5", "bosh3" (explicit), "kvaerno5", "kvaerno3" (implicit).
        log_time: True steps in log(1 + t/T), T the time in which the start would move by 1, so that
            errors are controlled per decade. Both reach t = 1e15: adaptive steps in t grow with t
            by themselves, and for the built-in paradigms they were as exact and not slower.
        interpolate: False steps exactly onto each time. True lets the steps fall as they will and
            interpolates between them: faster for many times, with about 1e3 times the error.
        max_steps: steps allowed for each part of a schedule, on top of one for each time.
        learning_rate: of the gradient descent that is followed, above 0 (``descend`` takes such
            steps); None for the flow itself, the limit of small steps.
        momentum: from 0 to below 1; needs a learning_rate.
        nesterov: whether the momentum is Nesterov's.

    Returns:
        A Trajectory with method "simulation", shape (*batch, *times).

    Raises:
        SettingError, ParadigmError: an argument is not what is allowed.
        IntegrationFailed: the steps did not reach the last time or a value is not finite. (Inside
            a transformation of the caller's nothing can be raised: the entries that were not
            reached are NaN there.)
        PrecisionError: inside a transformation with 64-bit mode off.

    Example:
        >>> exact = simulate("soft", Setting(20, 20), 700.0)
        >>> simulate("soft", Setting(20, 20), 700.0, learning_rate=0.05, momentum=0.9).mu - exact.mu

    Source: the flow, lowered from the loss (symbolic/flow.py), and its correction
    (symbolic/finite_steps.py); methods of diffrax.
    """
    problem = normalise(paradigm, setting, times, initial, freeze)
    if solver not in SOLVERS:
        raise SettingError(f"unknown solver {solver!r}{nearest(str(solver), [*SOLVERS])}")
    for name, flag in (("log_time", log_time), ("interpolate", interpolate)):
        if flag not in (True, False):
            raise SettingError(f"{name} must be True or False, got {flag!r}")
    check("rtol", rtol, "a finite number above 0", positive)
    check("atol", atol, "a finite number above 0", positive)
    check("max_steps", max_steps, "a whole number of at least 1", whole(1))
    check_steps(learning_rate, momentum, nesterov)
    options = {
        "solver": solver,
        "log_time": bool(log_time),
        "interpolate": bool(interpolate),
        "max_steps": int(max_steps),
        "momentum": float(momentum),
        "nesterov": bool(nesterov),
    }
    mu, nu, reached, shown_times, stage = _run(problem, rtol, atol, learning_rate, options)
    if not traced(mu, nu):
        _raise_if_failed(problem, mu, nu, reached, options)
    return Trajectory(
        times=shown_times,
        mu=mu,
        nu=nu,
        setting=problem.setting,
        stage=stage,
        paradigms=problem.paradigms,
        method="simulation",
    )


@float64(called="simulate")
def _run(
    problem: Problem, rtol: Any, atol: Any, rate: Any, options: dict[str, Any]
) -> tuple[Any, ...]:
    problem = problem.cast()
    numbers = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), (rtol, atol, rate))
    mu, nu, reached = _integrate(problem.padded(), *numbers, **options)
    mu, nu = (cut(v, problem.shape) for v in (mu, nu))
    return mu, nu, reached, problem.batched_times(), problem.stage()


@partial(
    jax.jit,
    static_argnames=("solver", "log_time", "interpolate", "max_steps", "momentum", "nesterov"),
)
def _integrate(
    problem: Problem,
    rtol: Any,
    atol: Any,
    rate: Any,
    *,
    momentum: float,
    nesterov: bool,
    **options: Any,
) -> tuple[Any, Any, Any]:
    """Arrays mu and nu in the result's shape, and the last time reached in the batch's."""
    steps = None if rate is None else coefficients(rate, momentum, nesterov)
    flat = jnp.ravel(problem.times)
    usable = jnp.isfinite(flat) & (flat >= 0)
    order = jnp.argsort(jnp.where(usable, flat, 0.0))
    ascending = jnp.where(usable, flat, 0.0)[order]

    def one(reduced: Reduced, mu0: Any, nu0: Any) -> tuple[Any, Any]:
        motions = [
            _motion(paradigm, problem.freeze, reduced, steps, momentum > 0)
            for paradigm in problem.paradigms
        ]
        values, reached = _pieces(
            problem, motions, jnp.stack([mu0, nu0]), ascending, rtol, atol, options
        )
        asked = jnp.zeros_like(values).at[order].set(values)
        return jnp.where(usable[:, None], asked, jnp.nan), reached

    batched = jax.tree.map(
        lambda a: jnp.broadcast_to(a, problem.batch_shape),
        (reduce_setting(problem.setting), problem.mu0, problem.nu0),
    )
    if problem.batch_shape:
        values, reached = jax.vmap(one)(*jax.tree.map(jnp.ravel, batched))
    else:
        values, reached = one(*batched)
    mu, nu = (jnp.reshape(values[..., i], problem.shape) for i in (0, 1))
    return mu, nu, jnp.reshape(reached, problem.batch_shape)


def _motion(
    paradigm: Paradigm, freeze: str | None, reduced: Reduced, steps: Any, inertial: bool
) -> Any:
    """The velocity of the state as a function of it: gradient flow, or corrected for steps."""
    flow = partial(_velocity, paradigm, freeze, reduced)
    if steps is None:
        return flow

    def slope(state: Any) -> Any:
        entries = jnp.reshape(jnp.stack(jacobian(paradigm, reduced, *state)), (2, 2))
        return jnp.where(_moving(freeze)[:, None], entries, 0.0)

    return Motion(flow, slope, steps, inertial)


def _pieces(
    problem: Problem,
    motions: list[Any],
    state: Any,
    times: Any,
    rtol: Any,
    atol: Any,
    options: dict[str, Any],
) -> tuple[Any, Any]:
    """Arrays (mu, nu) at ascending times, shape (times, 2), and the last time reached."""
    start, before = jnp.zeros(()), None
    horizon = times[-1] if times.size else start
    values, reached, going = jnp.broadcast_to(state, (*times.shape, 2)), start, True
    for index, motion in enumerate(motions):
        end, within = horizon, times
        if len(motions) > 1:
            # a part that begins after the last time, or after a failure, has length zero
            end = jnp.where(going, jnp.clip(problem.ends[index], start, horizon), start)
            within = jnp.clip(times, start, end)
        if isinstance(motion, Motion):
            state, before = motion.enter(state, before), motion
        piece, last = _piece(motion, state, start, jnp.append(within, end), rtol, atol, **options)
        values = jnp.where((times > start)[:, None], piece[:-1, :2], values)
        reached = jnp.where(going, last, reached)
        start, state = end, piece[-1]
        going = jnp.all(jnp.isfinite(state))
    return values, reached


def _moving(freeze: str | None) -> np.ndarray:
    """Which of mu and nu move."""
    return np.array([freeze != "classifier", freeze != "focus"])


def _velocity(paradigm: Paradigm, freeze: str | None, reduced: Reduced, state: Any) -> Any:
    """d(mu, nu)/dt; a held part has velocity zero."""
    mu, nu = state
    weights = focus_weights(nu, reduced.ratio)
    rates = lowered_velocity(paradigm)(*weights, mu, reduced.classes, reduced.focus, reduced.speed)
    return jnp.where(_moving(freeze), jnp.stack(rates), 0.0)


def _piece(
    velocity: Any,
    state: Any,
    start: Any,
    times: Any,
    rtol: Any,
    atol: Any,
    *,
    solver: str,
    log_time: bool,
    interpolate: bool,
    max_steps: int,
) -> tuple[Any, Any]:
    """One paradigm from ``start`` to the last of ascending times: states there, time reached."""
    elapsed = times - start
    scale = jnp.ones(())
    if log_time:
        speed = jnp.max(jnp.abs(velocity(state)))
        scale = 1 / jnp.where(jnp.isfinite(speed) & (speed > 0), speed, 1.0)
        clock = jnp.log1p(elapsed / scale)

        def field(s: Any, y: Any, _: Any) -> Any:
            return velocity(y) * scale * jnp.exp(s)

    else:
        clock = elapsed

        def field(s: Any, y: Any, _: Any) -> Any:
            return velocity(y)

    controller: Any = diffrax.PIDController(rtol=rtol, atol=atol)
    if not interpolate:
        controller = diffrax.ClipStepSizeController(controller, step_ts=clock)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        SOLVERS[solver](),
        t0=jnp.zeros(()),
        t1=clock[-1],
        dt0=None,
        y0=state,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=clock), diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=controller,
        max_steps=max_steps + times.size,
        throw=False,
    )
    states: Any = solution.ys
    reached: Any = solution.ts
    values, last = states[0], reached[1][0]
    values = jnp.where(jnp.isfinite(values), values, jnp.nan)
    return values, start + (scale * jnp.expm1(last) if log_time else last)


def _raise_if_failed(
    problem: Problem, mu: Any, nu: Any, reached: Any, options: dict[str, Any]
) -> None:
    lost = ~(np.isfinite(mu) & np.isfinite(nu))
    if not lost.any():
        return
    first = tuple(int(i) for i in np.argwhere(lost)[0])
    place = first[: len(problem.batch_shape)]
    setting = replace(
        problem.setting,
        **{
            name: np.broadcast_to(v, problem.batch_shape)[place].item()
            for name, v in problem.setting.numbers().items()
        },
    )
    shown = ", ".join(
        f"{f.name}={getattr(setting, f.name)!r}"
        for f in fields(setting)
        if getattr(setting, f.name) != f.default
    )
    last = float(np.asarray(reached)[place])
    attempts = ["a larger max_steps", "larger rtol and atol"]
    if not options["log_time"]:
        attempts.append("log_time=True")
    if not options["solver"].startswith("kvaerno"):
        attempts.append("solver='kvaerno5'")
    where = f"t = {last:.6g}" if math.isfinite(last) else "the start"
    raise IntegrationFailed(
        f"simulation of {problem.name} in Setting({shown}) stopped at {where} before "
        f"t = {float(np.max(problem.times)):.6g} (solver {options['solver']}, "
        f"max_steps = {options['max_steps']}); try {', '.join(attempts)}, and see whether the loss "
        f"is singular there"
    )
