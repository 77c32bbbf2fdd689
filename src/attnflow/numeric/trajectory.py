"""A Trajectory: times, mu and nu, and everything that follows from them, lowered from the loss."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attnflow.numeric.lower import lower
from attnflow.numeric.padding import cut, lengthened
from attnflow.numeric.precision import float64, traced
from attnflow.settings import BACKGROUNDS, Setting
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import background_ratio, derive_flow, overall_speed, relative_speed
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    B,
    C,
    Phi,
    alpha,
    attention,
    complement,
    eta_classifier,
    eta_focus,
    inattention,
    k,
    m,
    mu,
    nu,
    probability,
    r,
    rho,
    s,
    tau,
)

STATE = (alpha, complement, mu, C)
"""What the lowered loss and its derivatives are functions of."""


def _flatten(setting: Setting) -> tuple[tuple[Any, ...], str]:
    return tuple(setting.numbers().values()), setting.background


def _unflatten(background: str, numbers: Any) -> Setting:
    # placeholders and tracers pass through here: no checks, those ran when the user built it
    setting = object.__new__(Setting)
    names = list(Setting.__dataclass_fields__)
    names.remove("background")
    for name, value in zip(names, numbers, strict=True):
        object.__setattr__(setting, name, value)
    object.__setattr__(setting, "background", background)
    return setting


jax.tree_util.register_pytree_node(Setting, _flatten, _unflatten)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Reduced:
    """What a setting reduces to: B, C, rho and tau (symbolic/flow.py), as float64 arrays."""

    ratio: Any  # B, background segments to a foreground segment
    classes: Any  # C
    focus: Any  # rho, relative speed of the focus
    speed: Any  # tau, overall speed


def reduce_setting(setting: Setting) -> Reduced:
    """The four numbers that the flow depends on, by the formulas of symbolic/flow.py."""
    symbols = (m, C, k, r, s, eta_focus, eta_classifier)
    values = [jnp.asarray(v, jnp.float64) for v in setting.numbers().values()]
    assert setting.background in BACKGROUNDS
    formulas = (
        background_ratio,
        C,
        relative_speed(setting.background),
        overall_speed,
    )
    return Reduced(*(lower(f, symbols)(*values) for f in formulas))


def focus_weights(nu_value: Any, ratio: Any) -> tuple[Any, Any]:
    """alpha and 1 - alpha at nu, each accurate however small (1 - alpha without subtraction)."""
    return tuple(
        lower(weight, (nu, B), as_written=True)(nu_value, ratio)
        for weight in (attention, inattention)
    )


@lru_cache(maxsize=256)
def lowered_loss(paradigm: Paradigm) -> Any:
    """The loss as a JAX function of (alpha, 1 - alpha, mu, C)."""
    return lower(paradigm.expanded, STATE)


@lru_cache(maxsize=256)
def lowered_velocity(paradigm: Paradigm) -> Any:
    """(mu', nu') as a JAX function of (alpha, 1 - alpha, mu, C, rho, tau)."""
    flow = derive_flow(paradigm)
    parts = [lower(e, (*STATE, rho, tau)) for e in (flow.mu_dot, flow.nu_dot)]
    return lambda *values: tuple(part(*values) for part in parts)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """The state (mu, nu) at given times, and all that follows from it; a JAX pytree.

    Attributes:
        times: continuous time, t = step x learning rate, shape (*setting's, *times).
        mu: classifier margin on a foreground segment, same shape.
        nu: focus score of a foreground segment above the background, same shape.
        setting: the Setting it belongs to.
        stage: index of the active part of the schedule at each time (0 for a single paradigm).
        distance: distance from the symmetric ansatz, for gradient descent; else None.
        paradigms: the schedule's paradigms, in order (static).
        method: "closed form", "simulation" or "descent" (static).

    All values are float64. ``alpha``, ``complement`` (1 - alpha, accurate where alpha rounds
    to 1), ``beta``, ``loss``, ``focus_gradient`` (d nu/dt) and ``first_integral`` are computed
    from mu and nu by functions lowered from the loss.
    """

    times: Float[Array | np.ndarray, "..."]
    mu: Float[Array | np.ndarray, "..."]
    nu: Float[Array | np.ndarray, "..."]
    setting: Setting
    stage: Int[Array | np.ndarray, "..."]
    distance: Float[Array | np.ndarray, "..."] | None = None
    paradigms: tuple[Paradigm, ...] = field(default=(), metadata={"static": True})
    method: str = field(default="", metadata={"static": True})

    @property
    def alpha(self) -> Float[Array, "..."]:
        """Focus weight on the true segments, in (0, 1)."""
        return _observe(self)["alpha"]

    @property
    def complement(self) -> Float[Array, "..."]:
        """1 - alpha, accurate however small."""
        return _observe(self)["complement"]

    @property
    def beta(self) -> Float[Array, "..."]:
        """True-class probability on a foreground segment alone."""
        return _observe(self)["beta"]

    @property
    def loss(self) -> Float[Array, "..."]:
        """The loss of the paradigm active at each time (nats)."""
        return _observe(self)["loss"]

    @property
    def focus_gradient(self) -> Float[Array, "..."]:
        """d nu/dt, the rate at which the focus improves under the active paradigm."""
        return _observe(self)["focus_gradient"]

    @property
    def first_integral(self) -> Float[Array, "..."]:
        """nu + e^nu/B - rho Phi(mu) with Phi(0) = 0, constant along an exact orbit of one paradigm.

        Raises:
            NoFirstIntegral: the active paradigm has none.
        """
        return _observe_invariant(self)


def padded(trajectory: Trajectory) -> Trajectory:
    """The same with flat arrays of one of few lengths; as it is in a transformation or batch."""
    if traced(trajectory) or any(np.ndim(v) for v in trajectory.setting.numbers().values()):
        return trajectory
    shape = np.shape(trajectory.mu)
    arrays = {name: getattr(trajectory, name) for name in ("times", "mu", "nu", "stage")}
    flat = {name: lengthened(np.broadcast_to(v, shape)) for name, v in arrays.items()}
    return replace(trajectory, **flat, distance=None)


def per_time(trajectory: Trajectory) -> Reduced:
    """The reduced setting with trailing axes, so that it broadcasts against the times."""
    reduced = reduce_setting(trajectory.setting)
    shape = jnp.broadcast_shapes(*(a.shape for a in jax.tree.leaves(reduced)))
    extra = (1,) * (jnp.ndim(trajectory.mu) - len(shape))
    return jax.tree.map(lambda a: jnp.reshape(jnp.broadcast_to(a, shape), shape + extra), reduced)


def _by_stage(trajectory: Trajectory, values: list[Any]) -> Any:
    """From each paradigm's values, those of the paradigm active at each time."""
    result = values[0]
    for index, value in enumerate(values[1:], start=1):
        result = jnp.where(trajectory.stage == index, value, result)
    return result


@float64
def _observe(trajectory: Trajectory) -> dict[str, Any]:
    found = _observe_compiled(padded(trajectory))
    return {name: cut(value, np.shape(trajectory.mu)) for name, value in found.items()}


@jax.jit
def _observe_compiled(trajectory: Trajectory) -> dict[str, Any]:
    reduced = per_time(trajectory)
    weight, rest = focus_weights(trajectory.nu, reduced.ratio)
    state = (weight, rest, trajectory.mu, reduced.classes)
    rates = (reduced.focus, reduced.speed)
    losses = [lowered_loss(p)(*state) for p in trajectory.paradigms]
    pulls = [lowered_velocity(p)(*state, *rates)[1] for p in trajectory.paradigms]
    shape = jnp.shape(trajectory.mu)
    results = {
        "alpha": weight,
        "complement": rest,
        "beta": lower(probability, (mu, C))(trajectory.mu, reduced.classes),
        "loss": _by_stage(trajectory, losses),
        "focus_gradient": _by_stage(trajectory, pulls),
    }
    return {name: jnp.broadcast_to(value, shape) for name, value in results.items()}


@float64
def _observe_invariant(trajectory: Trajectory) -> Any:
    return cut(_invariant_compiled(padded(trajectory)), np.shape(trajectory.mu))


@jax.jit
def _invariant_compiled(trajectory: Trajectory) -> Any:
    reduced = per_time(trajectory)

    def value(paradigm: Paradigm) -> Any:
        conserved = derive_first_integral(paradigm).conserved
        phi = potential(paradigm, trajectory.mu, reduced.classes)
        return lower(conserved, (nu, B, rho, Phi))(trajectory.nu, reduced.ratio, reduced.focus, phi)

    return _by_stage(trajectory, [value(paradigm) for paradigm in trajectory.paradigms])


def potential(paradigm: Paradigm, mu_value: Any, classes: Any) -> Any:
    """Phi(mu), the integral of the lowered slope from 0 to mu, by 24 Gauss panels.

    Raises:
        NoFirstIntegral: the paradigm has none.
    """
    slope = lower(derive_first_integral(paradigm).slope, (mu, C))
    edges = np.linspace(0.0, 1.0, 25)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    points = (edges[:-1, None] + (nodes + 1) / 2 / 24).ravel()
    weight = np.tile(weights / 48, 24)
    mu_value, classes = jnp.broadcast_arrays(jnp.asarray(mu_value), jnp.asarray(classes))
    mu_value, classes = mu_value[..., None], classes[..., None]
    points, weight = (np.reshape(v, (1,) * (mu_value.ndim - 1) + (-1,)) for v in (points, weight))
    return jnp.sum(mu_value * weight * slope(mu_value * points, classes), axis=-1)
