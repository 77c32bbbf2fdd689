"""Parts of a schedule run until a focus level, a margin or a time is reached.

``solve`` answers where a trajectory is at given times; here the question is when it is at a given
place, by legs (numeric/legs.py). Everything runs from plain Python, one setting at a time.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.legs import FOCUS, Leg, lay_legs
from attnflow.numeric.precision import traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.trajectory import Reduced, reduce_setting
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check
from attnflow.symbolic.paradigm import Paradigm

OUTSIDE = "call it outside jit, vmap and grad"
LANES = 32  # legs computed side by side: one shape, so that each paradigm compiles once


@dataclass(frozen=True)
class Course:
    """A setting, a start and a goal: what all parts of a race to a focus level share.

    Attributes:
        reduced: B, C, rho and tau as NumPy float64 numbers.
        mu, x: the start, with x = logit(alpha).
        goal: logit of the target, or of several.
    """

    reduced: Reduced
    mu: float
    x: float
    goal: Any

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

        Each ends at the length, at x = goal or after the duration, whichever is first. Lengths are
        |mu - start|, of a paradigm without a first integral those of the orbit in (mu, x).

        Raises:
            IntegrationFailed: a flow without a first integral cannot be followed so far.
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
                leg = lay_legs(paradigm, self.reduced, chunk[0], chunk[1], limits)
                parts.append([np.asarray(v) for v in leg])
        leg = Leg(*(np.concatenate(vs)[:count] for vs in zip(*parts, strict=True)))
        lost = np.flatnonzero(np.isnan(leg.time))
        if lost.size:
            mu, x = float(leg.mu[lost[0]]), float(leg.x[lost[0]])
            raise IntegrationFailed(
                f"the flow of {paradigm.name} could not be followed beyond mu = {mu:.6g}, "
                f"alpha = {1 / (1 + math.exp(-x)):.6g}: it is stiff or singular there; "
                f"try simulate with solver='kvaerno5', or a lower target"
            )
        return leg


def course(
    setting: Setting, target: Any, initial: tuple[Any, Any], called: str = "best_schedule"
) -> Course:
    """Check what the searches for a best switch share, and bring it to one form.

    Args and errors as ``one_problem``; and the target lies between initial focus weight and 1.
    """
    problem = one_problem(setting, target, initial, called)
    _check_target(target)
    return _course(problem, target)


def one_problem(setting: Setting, target: Any, initial: tuple[Any, Any], called: str) -> Problem:
    """The problem of one setting, one start and one target.

    Args:
        setting: one Setting of numbers.
        target: a focus weight.
        initial: (mu0, nu0).
        called: the function whose arguments they are.

    Raises:
        SettingError: arrays or tracers.
    """
    if traced(setting, target, initial):
        raise SettingError(f"{called} runs from plain Python, got a tracer: {OUTSIDE}")
    problem = normalise("soft", setting, 0.0, initial)
    if problem.batch_shape or np.ndim(target):
        raise SettingError(
            f"{called} takes one setting, one start and one target at a time, got arrays of shape "
            f"{problem.batch_shape or np.shape(target)}"
        )
    return problem


def _check_target(target: Any) -> None:
    check("target", target, "a focus weight above 0 and below 1", lambda v: (v > 0) & (v < 1))


def _course(problem: Problem, targets: Any) -> Course:
    """The course of a problem of one setting and start to one target or several."""
    with jax.enable_x64(True):
        reduced = jax.tree.map(np.asarray, reduce_setting(problem.setting))
    targets = np.asarray(targets, np.float64)
    goals = np.log(targets) - np.log1p(-targets)
    x = float(problem.nu0 - np.log(reduced.ratio))
    if np.any(goals <= x):
        raise SettingError(
            f"target must be above the focus weight at the start, {1 / (1 + math.exp(-x)):.6g}, "
            f"and below 1, got {np.min(targets)}"
        )
    return Course(reduced, float(problem.mu0), x, goals)


def time_to_focus(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    target: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
) -> "float | Float[np.ndarray, '...']":
    """The first time at which the focus weight alpha reaches a level.

    Runs from plain Python (not under jit or vmap). alpha may fall at first where mu0 < 0.

    Args:
        paradigm: name, Paradigm, or Schedule.
        setting: Setting; entries may be arrays, a sweep.
        target: levels of any shape, above the initial alpha and below 1.
        initial: (mu0, nu0), numbers or arrays from -300 to 300.

    Returns:
        t = step x learning rate, a number, or of arrays an array of shape (*sweep, *target's); to
        about 1e-13 (1e-12 where there is no first integral and the flow is integrated); infinite
        where alpha never gets there (or not within the range of float64).

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a flow without a first integral cannot be followed so far.

    Example:
        >>> time_to_focus("soft", Setting(20, 20), [0.5, 0.9]).round(3)
        array([575.22 , 766.097])
    """
    if traced(setting, target, initial):
        raise SettingError(f"time_to_focus runs from plain Python, got a tracer: {OUTSIDE}")
    problem = normalise(paradigm, setting, 0.0, initial)
    _check_target(target)
    levels = np.asarray(target, np.float64)
    rows = [_first_times(single, levels.ravel()) for single in problem.singles()]
    times = np.reshape(rows, (*problem.batch_shape, *levels.shape))
    return times if times.ndim else float(times)


def _first_times(problem: Problem, levels: np.ndarray) -> np.ndarray:
    """When alpha reaches each of some levels, in one setting and from one start."""
    race = _course(problem, levels)
    times = np.full(levels.shape, np.inf)
    mu, x, begin = np.full(levels.shape, race.mu), np.full(levels.shape, race.x), 0.0
    for part, end in zip(problem.paradigms, problem.ends, strict=True):
        on = np.flatnonzero(np.isinf(times))
        if not on.size:
            break
        leg = race.run(part, mu[on], x[on], duration=end - begin, goal=race.goal[on])
        times[on] = np.where(leg.event == FOCUS, begin + leg.time, np.inf)
        mu[on], x[on], begin = leg.mu, leg.x, float(end)
    return times
