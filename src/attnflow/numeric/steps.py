"""Steps of finite size in numbers: the corrected flow that ``simulate`` integrates."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp

from attnflow.errors import SettingError
from attnflow.numeric.lower import lower
from attnflow.numeric.trajectory import STATE, Reduced, focus_weights
from attnflow.settings import check, positive
from attnflow.symbolic.finite_steps import derive_step_correction
from attnflow.symbolic.flow import derive_jacobian
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import eta, p, rho, tau


def check_momentum(momentum: Any, nesterov: Any) -> None:
    """Refuse a momentum outside [0, 1), and a nesterov that is no bool.

    Raises:
        SettingError: naming argument and value.
    """
    check("momentum", momentum, "from 0 to below 1", lambda v: (v >= 0) & (v < 1))
    if nesterov not in (True, False):
        raise SettingError(f"nesterov must be True or False, got {nesterov!r}")


def check_steps(learning_rate: Any, momentum: Any, nesterov: Any) -> None:
    """Refuse what no gradient descent can have, and momentum of the flow itself.

    Raises:
        SettingError: naming argument and value.
    """
    check_momentum(momentum, nesterov)
    if learning_rate is not None:
        check("learning_rate", learning_rate, "a finite number above 0", positive)
    elif momentum:
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
        return jnp.zeros(()), -learning_rate / 2, jnp.ones(())
    return tuple(part(learning_rate, momentum) for part in _coefficients(nesterov))


@lru_cache(maxsize=256)
def lowered_jacobian(paradigm: Paradigm) -> Any:
    """The four entries of Df as a JAX function of (alpha, 1 - alpha, mu, C, rho, tau)."""
    parts = [lower(entry, (*STATE, rho, tau)) for entry in derive_jacobian(paradigm)]
    return lambda *values: tuple(part(*values) for part in parts)


def jacobian(paradigm: Paradigm, reduced: Reduced, mu: Any, nu: Any) -> tuple[Any, ...]:
    """The entries of Df at a state: by row, d mu'/d mu, d mu'/d nu, d nu'/d mu, d nu'/d nu."""
    weights = focus_weights(nu, reduced.ratio)
    return lowered_jacobian(paradigm)(*weights, mu, reduced.classes, reduced.focus, reduced.speed)


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
        return jnp.concatenate([u, (here - u + bend * self.slope(x) @ u) / inertia])

    def enter(self, state: Any, before: Any) -> Any:
        """The state as this paradigm begins, after one whose flow at this place was ``before``.

        (0 from rest.)
        """
        if not self.inertial:
            return state
        return state.at[2:].add(self.steps[2] * (self.flow(state[:2]) - before))
