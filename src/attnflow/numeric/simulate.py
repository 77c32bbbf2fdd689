"""The flow integrated numerically: works for every paradigm, first integral or not.

It knows nothing of the closed form: the flow is lowered from the loss and stepped with error
control (numeric/integrate.py). That makes it a witness for the closed form where there is one, and
the way to go where there is none.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import IntegrationFailed
from attnflow.numeric.integrate import Stepping, integrate
from attnflow.numeric.precision import traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.steps import check_steps, warn_if_unstable
from attnflow.numeric.trajectory import Trajectory
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check_number, positive
from attnflow.symbolic.paradigm import Paradigm


def simulate(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
    freeze: str | None = None,
    *,
    rtol: Any = None,
    atol: Any = None,
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
        rtol: relative error allowed in a step, above 0; 1e-10 if None, for "scipy" 1e-13.
        atol: absolute error allowed in a step (of mu and nu), above 0; rtol/100 if None.
        solver: "dopri8", "dopri5", "tsit5", "bosh3" (explicit), "kvaerno5", "kvaerno3" (implicit)
            of diffrax; "scipy" for SciPy's DOP853, a further witness: no JAX, so nothing is
            compiled, a batch is integrated setting by setting, and not inside a transformation.
        log_time: True steps in log(1 + t/T), T the time in which the start would move by 1, so that
            errors are controlled per decade. Both reach t = 1e15: adaptive steps in t grow with t
            by themselves, and for the built-in paradigms they were as exact and not slower.
        interpolate: False steps exactly onto each time. True lets the steps fall as they will and
            interpolates between them: faster for many times, with about 1e3 times the error.
            ("scipy" always interpolates, by a polynomial of degree 7.)
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
    (symbolic/finite_steps.py); methods of diffrax and SciPy.
    """
    return simulate_all(
        (paradigm,),
        setting,
        times,
        initial,
        freeze,
        rtol=rtol,
        atol=atol,
        solver=solver,
        log_time=log_time,
        interpolate=interpolate,
        max_steps=max_steps,
        learning_rate=learning_rate,
        momentum=momentum,
        nesterov=nesterov,
    )[0]


def simulate_all(
    paradigms: "Sequence[str | Paradigm | Schedule]",
    setting: Setting,
    times: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
    freeze: str | None = None,
    *,
    rtol: Any = None,
    atol: Any = None,
    learning_rate: Any = None,
    **options: Any,
) -> list[Trajectory]:
    """``simulate`` for several paradigms in turn, by one program compiled for all of them."""
    problems = [normalise(p, setting, times, initial, freeze) for p in paradigms]
    steps = Stepping(**options)
    learning_rate = check_steps(learning_rate, steps.momentum, steps.nesterov)
    rtol = (1e-13 if steps.solver == "scipy" else 1e-10) if rtol is None else rtol
    rtol = check_number("rtol", rtol, "a finite number above 0", positive)
    atol = 1e-2 * rtol if atol is None else atol
    atol = check_number("atol", atol, "a finite number above 0", positive)
    results = []
    for problem, values in zip(
        problems, integrate(problems, rtol, atol, learning_rate, steps), strict=True
    ):
        mu, nu, reached, shown_times, stage = values
        if not traced(mu, nu):
            _raise_if_failed(problem, mu, nu, reached, steps)
        path = Trajectory(
            times=shown_times,
            mu=mu,
            nu=nu,
            setting=problem.setting,
            stage=stage,
            paradigms=problem.paradigms,
            method="simulation",
        )
        if learning_rate is not None and not traced(path, learning_rate):
            warn_if_unstable(path, float(learning_rate), steps.momentum, steps.nesterov, freeze)
        results.append(path)
    return results


def _raise_if_failed(problem: Problem, mu: Any, nu: Any, reached: Any, steps: Stepping) -> None:
    lost = ~(np.isfinite(mu) & np.isfinite(nu))
    if not lost.any():
        return
    first = tuple(int(i) for i in np.argwhere(lost)[0])
    place = first[: len(problem.batch_shape)]
    row = int(np.ravel_multi_index(place, problem.batch_shape)) if place else 0
    single = next(islice(problem.singles(), row, None))
    last = float(np.asarray(reached)[place])
    attempts = ["a larger max_steps", "larger rtol and atol"]
    if not steps.log_time:
        attempts.append("log_time=True")
    if not steps.solver.startswith("kvaerno"):
        attempts.append("solver='kvaerno5'")
    where = f"t = {last:.6g}" if math.isfinite(last) else "the start"
    raise IntegrationFailed(
        f"simulation of {problem.name} in {single.setting} stopped at {where} before "
        f"t = {float(np.max(problem.times)):.6g} (solver {steps.solver}, "
        f"max_steps = {steps.max_steps}); try {', '.join(attempts)}, and see whether the loss "
        f"is singular there"
    )
