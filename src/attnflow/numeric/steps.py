"""Steps of finite size in numbers: the corrected flow, and how large steps may be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from attnflow.errors import SettingError, warn
from attnflow.numeric.lower import lower
from attnflow.numeric.namespace import namespace
from attnflow.numeric.precision import float64
from attnflow.numeric.trajectory import STATE, Reduced, Trajectory, focus_weights, per_time
from attnflow.settings import check_number, positive
from attnflow.symbolic.curvature import derive_curvature
from attnflow.symbolic.finite_steps import derive_step_correction
from attnflow.symbolic.flow import background_length, derive_jacobian
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import eta, k, m, p, r, rho, s, tau, theta


def check_momentum(momentum: Any, nesterov: Any) -> float:
    """A momentum from [0, 1); beside it a nesterov that is no bool is refused.

    Raises:
        SettingError: naming argument and value.
    """
    if not isinstance(nesterov, bool | np.bool):
        raise SettingError(f"nesterov must be True or False, got {nesterov!r}")
    return check_number("momentum", momentum, "from 0 to below 1", lambda v: (v >= 0) & (v < 1))


def check_steps(learning_rate: Any, momentum: Any, nesterov: Any) -> Any:
    """The learning rate, or None; what no gradient descent can have is refused.

    Raises:
        SettingError: naming argument and value.
    """
    momentum = check_momentum(momentum, nesterov)
    if learning_rate is not None:
        return check_number("learning_rate", learning_rate, "a finite number above 0", positive)
    if momentum:
        raise SettingError(
            f"momentum needs a learning_rate (the flow itself has none), got momentum = {momentum}"
        )


@lru_cache
def _coefficients(nesterov: bool) -> Any:
    correction = derive_step_correction(nesterov)
    return tuple(lower(e, (eta, p)) for e in (correction.inertia, correction.bend, correction.kick))


def coefficients(learning_rate: Any, momentum: float, nesterov: bool) -> tuple[Any, Any, Any]:
    """Inertia, bend and kick of the corrected flow (symbolic/finite_steps.py), float64.

    Without momentum these are the limits for p -> 0: no inertia, and a kick of 1.
    """
    if not momentum:
        return 0.0, -learning_rate / 2, 1.0
    return tuple(part(learning_rate, momentum) for part in _coefficients(nesterov))


@lru_cache(maxsize=256)
def lowered_jacobian(paradigm: Paradigm) -> Any:
    """The four entries of Df as a JAX function of (alpha, 1 - alpha, mu, C, rho, tau)."""
    parts = [lower(entry, (*STATE, rho, tau)) for entry in derive_jacobian(paradigm)]
    return lambda *values: tuple(part(*values) for part in parts)


def jacobian(
    paradigm: Paradigm, reduced: Reduced, mu: Any, nu: Any, weights: Any = None
) -> tuple[Any, ...]:
    """The entries of Df at a state: by row, d mu'/d mu, d mu'/d nu, d nu'/d mu, d nu'/d nu.

    ``weights`` are those of nu, where they are known.
    """
    weights = focus_weights(nu, reduced.ratio) if weights is None else weights
    numbers = (reduced.classes, reduced.focus, reduced.speed)
    a, b, c, d = lowered_jacobian(paradigm)(*weights, mu, *numbers)
    if reduced.decay_mu is None:
        return a, b, c, d
    return a - reduced.decay_mu, b, c, d - reduced.decay_nu


@dataclass(frozen=True)
class Motion:
    """How gradient descent by one paradigm moves: x = (mu, nu), and u = x' where it has inertia.

    Attributes:
        flow: f, the velocity of gradient flow at (mu, nu).
        slope: Df there, shape (2, 2).
        steps: what ``coefficients`` gives.
        inertial: whether the state is (mu, nu, mu', nu').
    """

    flow: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    steps: tuple[Any, Any, Any]
    inertial: bool

    def __call__(self, state: Any) -> Any:
        """The velocity of the state."""
        inertia, bend, _ = self.steps
        x, here = state[:2], self.flow(state[:2])
        if not self.inertial:
            return here + bend * self.slope(x) @ here
        u = state[2:]
        pull = (here - u + bend * self.slope(x) @ u) / inertia
        return namespace(state).concatenate([u, pull])

    def enter(self, state: Any, before: Any) -> Any:
        """The state as this paradigm begins, after one whose flow at this place was ``before``.

        (0 from rest.)
        """
        if not self.inertial:
            return state
        gained = self.steps[2] * (self.flow(state[:2]) - before)
        return namespace(state).concatenate([state[:2], state[2:] + gained])


@lru_cache(maxsize=256)
def _blocks(paradigm: Paradigm, several: bool) -> tuple[Any, ...]:
    """The blocks of the Hessian as lowered entries of their upper triangles, by row.

    Several backgrounds bring a block of their own.
    """
    found = derive_curvature(paradigm)
    blocks = (found.plane, found.apart, *([found.background] if several else []))
    arguments = (*STATE, rho, tau, theta)
    return tuple(
        [[lower(block[i, j], arguments) for j in range(i, block.rows)] for i in range(block.rows)]
        for block in blocks
    )


def _steepest(
    paradigm: Paradigm,
    freeze: str | None,
    state: tuple[Any, ...],
    lost: tuple[Any, Any],
    several: bool,
) -> np.ndarray:
    """The largest eigenvalue of the full loss's Hessian, learning rates and weight decay included.

    ``lost`` is by how much of themselves classifier and focus decay in a unit of time.
    """
    classifier, focus = float(freeze != "classifier"), float(freeze != "focus")
    bias = np.where(state[3] > 2, classifier, 0.0)  # two classes have none
    moving = ((classifier, focus), (classifier, focus, bias, classifier), (focus, classifier))
    by_mu, by_nu = lost
    losing = ((by_mu, by_nu), (by_mu, by_nu, by_mu, by_mu), (by_nu, by_mu))
    largest = []
    for block, parts, decays in zip(_blocks(paradigm, several), moving, losing, strict=False):
        size = len(block)
        entries = [
            (block[min(i, j)][abs(i - j)](*state) + (decays[i] if i == j else 0.0))
            * parts[i]
            * parts[j]
            for i in range(size)
            for j in range(size)
        ]
        matrix = np.stack(np.broadcast_arrays(*entries), axis=-1)
        matrix = matrix.reshape(*matrix.shape[:-1], size, size)
        largest.append(np.linalg.eigvalsh(matrix)[..., -1])
    return np.maximum.reduce(np.broadcast_arrays(*largest))


@float64
def stable_rates(
    trajectory: Trajectory, momentum: float, nesterov: bool, freeze: str | None
) -> np.ndarray:
    """The largest learning rate at which descent is stable, at each state of a trajectory.

    Args:
        trajectory: concrete; its paradigms say what is descended at each state.
        momentum: p.
        nesterov: whether it is Nesterov's.
        freeze: which part is held.

    Returns:
        Rates of the trajectory's shape; infinite where the loss bends nowhere upwards.
    """
    setting = trajectory.setting
    reduced = jax.tree.map(np.asarray, per_time(trajectory))
    fields = ("segments", "foreground_segments", "foreground_norm", "background_norm")
    values = [np.asarray(setting.numbers()[name], np.float64) for name in fields]
    trailing = (1,) * (np.ndim(trajectory.mu) - len(np.broadcast_shapes(*map(np.shape, values))))
    values = [v.reshape(v.shape + trailing) if v.ndim else v for v in values]
    length = np.asarray(lower(background_length(setting.background), (m, k, r, s))(*values))
    weights = focus_weights(np.asarray(trajectory.nu), reduced.ratio)
    state = (*weights, np.asarray(trajectory.mu), *reduced[1:4], length)
    lost = (0.0, 0.0) if reduced.decay_mu is None else reduced[4:]
    several = setting.background == "distinct"
    steepest = np.zeros(np.shape(trajectory.mu))
    for index, paradigm in enumerate(trajectory.paradigms):
        active = np.asarray(trajectory.stage) == index
        steepest = np.where(active, _steepest(paradigm, freeze, state, lost, several), steepest)
    most = float(derive_step_correction(nesterov).stable.subs(p, momentum))
    with np.errstate(divide="ignore"):
        return np.where(steepest > 0, most / np.maximum(steepest, 0.0), np.inf)


def warn_if_unstable(
    trajectory: Trajectory, rate: float, momentum: float, nesterov: bool, freeze: str | None
) -> None:
    """Warn where no descent with steps of this size would stay near the corrected flow."""
    stable = stable_rates(trajectory, momentum, nesterov, freeze)
    if np.any(stable < rate):
        time = float(np.ravel(trajectory.times)[np.argmin(np.ravel(stable))])
        warn(
            f"steps with learning_rate {rate:g} are unstable: at t = {time:.4g} at most "
            f"{np.min(stable):.4g} is stable, and descent does not follow what is returned",
            stacklevel=3,
        )
