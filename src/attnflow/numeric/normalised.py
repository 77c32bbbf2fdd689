"""``normalised_flow``: gradient flow with the gradient divided by its norm, in closed form."""

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.lower import lower
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.quadrature import Track
from attnflow.numeric.tracks import settled
from attnflow.numeric.trajectory import (
    STATE,
    Trajectory,
    lowered_velocity,
    reduce_setting,
    refuse_decay,
)
from attnflow.settings import Setting
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import background_length
from attnflow.symbolic.optimizers import derive_arc
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, eta_classifier, k, m, mu, r, s, theta


@lru_cache(maxsize=256)
def _formulas(paradigm: Paradigm) -> tuple[Any, Any]:
    """Phi' of (mu, C), and the length of a margin, of the state, theta, r and eta_c."""
    slope = lower(derive_first_integral(paradigm).slope, (mu, C))
    return slope, lower(derive_arc(paradigm), (*STATE, theta, r, eta_classifier))


def normalised_flow(
    paradigm: "str | Paradigm",
    setting: Setting,
    lengths: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
) -> Trajectory:
    """Normalised gradient flow: where it is after moving so far.

    Steps of descent that divide the gradient by its norm over all entries of W and w follow it,
    with length = step x learning rate (the setting's two rates scale the two parts, as in
    ``solve``). Its orbit is that of gradient flow, so the first integral stays; the clock is the
    arc length in the metric of the ansatz, one quadrature. Runs from plain Python.

    Args:
        paradigm: name or Paradigm, with a first integral.
        setting: the Setting; entries may be arrays.
        lengths: of the way, finite and at least 0, any shape and order.
        initial: (mu0, nu0), from -300 to 300.

    Returns:
        A Trajectory with method "normalised flow", shape (*batch, *lengths); ``times`` are the
        lengths.

    Raises:
        SettingError, ParadigmError: an argument is not what is allowed, a tracer, or a schedule.
        NoFirstIntegral: the paradigm has none, or weights decay.
        IntegrationFailed: a length is beyond the end of the way, an equilibrium.

    Example:
        >>> normalised_flow("soft", Setting(20, 20), [1.0, 20.0]).alpha

    Source: derivations/16_adam.py.
    """
    problem = normalise(paradigm, setting, lengths, initial)
    if traced(problem):
        raise SettingError("normalised_flow needs concrete numbers, got a tracer")
    if len(problem.paradigms) > 1:
        raise SettingError(f"normalised_flow takes one paradigm, got the schedule {problem.name}")
    refuse_decay(setting)
    at_mu, at_nu = _computed(problem)
    if not (np.isfinite(at_mu) & np.isfinite(at_nu)).all():
        raise IntegrationFailed(
            f"normalised flow of {problem.name} in {setting.as_dict()} does not go as far as "
            f"{np.max(problem.times):g}: it ends at an equilibrium before; use shorter lengths"
        )
    return Trajectory(
        times=problem.batched_times(),
        mu=at_mu,
        nu=at_nu,
        setting=problem.setting,
        stage=problem.stage(),
        paradigms=problem.paradigms,
        method="normalised flow",
    )


@float64
def _computed(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Arrays mu and nu of the result's shape: a track for each length, all side by side."""
    (paradigm,) = problem.paradigms
    slope, arc = _formulas(paradigm)
    numbers, reduced = problem.setting.numbers(), reduce_setting(problem.setting)
    names = ("segments", "foreground_segments", "foreground_norm", "background_norm")
    theta_of = lower(background_length(problem.setting.background), (m, k, r, s))
    lasting = theta_of(*(np.asarray(numbers[name], np.float64) for name in names))
    extra = (1,) * np.ndim(problem.times)
    given = (
        *(lasting, numbers["foreground_norm"], numbers["classifier_rate"], *reduced[:4]),
        *(problem.mu0, problem.nu0),
    )
    theta_, norm, rate, ratio, classes, focus, speed, mu0, nu0 = (
        np.broadcast_to(
            np.reshape(np.broadcast_to(v, problem.batch_shape), (*problem.batch_shape, *extra)),
            problem.shape,
        ).reshape(1, -1)
        for v in given
    )
    lengths = np.broadcast_to(problem.times, problem.shape).reshape(1, -1)

    def at(clock: Any, weight: Any) -> tuple[Any, ...]:
        return weight / (1 + weight), 1 / (1 + weight), mu0 + clock, classes

    def forward(clock: Any, weight: Any) -> Any:
        return np.sign(lowered_velocity(paradigm)(*at(clock, weight), focus, speed)[0])

    def pace(clock: Any, weight: Any) -> Any:
        return forward(clock, weight) * arc(*at(clock, weight), theta_, norm, rate)

    def drive(clock: Any) -> Any:
        return focus * slope(mu0 + clock, classes) + 0 * clock

    track = Track(drive, pace, nu0 - np.log(ratio))
    clock, change = settled(track, np.where(lengths > 0, lengths, 1.0))
    # beyond an equilibrium the flow would come back
    begin = np.exp(nu0) / ratio
    there = forward(clock, begin * np.exp(change)) == forward(0 * clock, begin)
    moved = (np.where(lengths > 0, np.where(there, v, np.nan), 0.0) for v in (clock, change))
    at_mu, at_nu = (
        (start + v).reshape(problem.shape) for start, v in zip((mu0, nu0), moved, strict=True)
    )
    return at_mu, at_nu
