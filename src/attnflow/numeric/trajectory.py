"""A Trajectory: times, mu and nu, and everything that follows from them, lowered from the loss."""

from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import wrapt
from jaxtyping import Float, Int

from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.lower import lower
from attnflow.numeric.namespace import Array, concrete, namespace, pytree, traced
from attnflow.numeric.precision import float64
from attnflow.numeric.quadrature import INTEGRALS, NODES
from attnflow.settings import BACKGROUNDS, Setting, shown
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import (
    background_ratio,
    derive_decay,
    derive_flow,
    overall_speed,
    relative_speed,
)
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    B,
    C,
    Phi,
    alpha,
    attention,
    complement,
    decay,
    eta_classifier,
    eta_focus,
    inattention,
    k,
    m,
    mu,
    nu,
    r,
    rho,
    s,
    tau,
)
from attnflow.tabled import Tabled

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

STATE = (alpha, complement, mu, C)
"""What the lowered loss and its derivatives are functions of."""

NUMBERS = [name for name in Setting.__dataclass_fields__ if name != "background"]

TIME_UNIT = "step x learning rate"

CURVES = {
    "mu": ("classifier margin on a foreground segment", "1"),
    "nu": ("focus score of a foreground segment above the background", "1"),
    "alpha": ("focus weight on the true segments", "1"),
    "complement": ("focus weight off the true segments, 1 - alpha", "1"),
    "beta": ("true-class probability on a foreground segment", "1"),
    "loss": ("loss", "nat"),
    "focus_gradient": ("rate d nu/dt at which the focus improves", f"1/({TIME_UNIT})"),
}
"""What a trajectory tells at each time: long name and unit."""


def _flatten(setting: Setting) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    numbers = setting.numbers()
    return tuple(numbers.values()), (setting.background, *numbers)


def _unflatten(told: tuple[str, ...], numbers: Any) -> Setting:
    # placeholders and tracers pass through here: no checks, those ran when the user built it
    setting = object.__new__(Setting)  # what is not given is as the class has it
    background, *names = told
    for name, value in zip(names, numbers, strict=True):
        object.__setattr__(setting, name, value)
    object.__setattr__(setting, "background", background)
    return setting


wrapt.register_post_import_hook(
    lambda jax: jax.tree_util.register_pytree_node(Setting, _flatten, _unflatten), "jax"
)


class Reduced(NamedTuple):
    """What a setting reduces to (symbolic/flow.py), of one shape: B, C, rho and tau.

    With weight decay also by how much of themselves mu and nu lose in a unit of time, else None.
    """

    ratio: Any  # B, background segments to a foreground segment
    classes: Any  # C
    focus: Any  # rho, relative speed of the focus
    speed: Any  # tau, overall speed
    decay_mu: Any = None
    decay_nu: Any = None


@cache
def _reductions(background: str, decays: bool) -> tuple[Any, ...]:
    symbols = (m, C, k, r, s, eta_focus, eta_classifier)
    formulas = (background_ratio, C, relative_speed(background), overall_speed)
    if decays:
        symbols = (*symbols, decay)
        lost = zip(derive_decay(background), (mu, nu), strict=True)
        formulas = (*formulas, *(-pull / of for pull, of in lost))
    return tuple(lower(formula, symbols) for formula in formulas)


def reduce_setting(setting: Setting) -> Reduced:
    """The numbers that the flow depends on, by the formulas of symbolic/flow.py."""
    assert setting.background in BACKGROUNDS
    numbers = tuple(setting.numbers().values())
    if all(type(v) in (int, float) for v in numbers):
        return _reduced(setting.background, numbers)
    xp = namespace(*numbers)
    values = [xp.asarray(v, np.float64) for v in numbers]
    formulas = _reductions(setting.background, setting.decays)
    return Reduced(*xp.broadcast_arrays(*(f(*values) for f in formulas)))


@lru_cache(maxsize=256)
def _reduced(background: str, numbers: tuple[float, ...]) -> Reduced:
    formulas = _reductions(background, len(numbers) == len(NUMBERS))
    return Reduced(*(np.float64(f(*map(np.float64, numbers))) for f in formulas))


def focus_weights(nu_value: Any, ratio: Any) -> tuple[Any, Any]:
    """alpha and 1 - alpha at nu, each accurate however small (1 - alpha without subtraction)."""
    return tuple(
        lower(weight, (nu, B), as_written=True)(nu_value, ratio)
        for weight in (attention, inattention)
    )


@lru_cache(maxsize=256)
def lowered_loss(paradigm: Paradigm) -> Any:
    """The loss as a function of (alpha, 1 - alpha, mu, C)."""
    return lower(paradigm.expanded, STATE)


@lru_cache(maxsize=256)
def lowered_velocity(paradigm: Paradigm) -> Any:
    """(mu', nu') as a function of (alpha, 1 - alpha, mu, C, rho, tau)."""
    flow = derive_flow(paradigm)
    parts = [lower(e, (*STATE, rho, tau)) for e in (flow.mu_dot, flow.nu_dot)]
    return lambda *values: tuple(part(*values) for part in parts)


def velocity(
    paradigm: Paradigm, reduced: Reduced, mu_value: Any, nu_value: Any, weights: Any = None
) -> tuple[Any, Any]:
    """(mu', nu') at a state; ``weights`` are those of nu, where they are known."""
    weights = focus_weights(nu_value, reduced.ratio) if weights is None else weights
    numbers = (reduced.classes, reduced.focus, reduced.speed)
    mu_dot, nu_dot = lowered_velocity(paradigm)(*weights, mu_value, *numbers)
    if reduced.decay_mu is None:
        return mu_dot, nu_dot
    return mu_dot - reduced.decay_mu * mu_value, nu_dot - reduced.decay_nu * nu_value


@pytree
@dataclass(frozen=True)
class Trajectory(Tabled):
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

    times: Float[Array, "..."]
    mu: Float[Array, "..."]
    nu: Float[Array, "..."]
    setting: Setting
    stage: Int[Array, "..."]
    distance: Float[Array, "..."] | None = None
    paradigms: tuple[Paradigm, ...] = field(default=(), metadata={"static": True})
    method: str = field(default="", metadata={"static": True})

    @property
    def alpha(self) -> Float[Array, "..."]:
        """Focus weight on the true segments, in (0, 1)."""
        return _observe(self, "alpha")

    @property
    def complement(self) -> Float[Array, "..."]:
        """1 - alpha, accurate however small."""
        return _observe(self, "complement")

    @property
    def beta(self) -> Float[Array, "..."]:
        """True-class probability on a foreground segment alone."""
        return _observe(self, "beta")

    @property
    def loss(self) -> Float[Array, "..."]:
        """The loss of the paradigm active at each time (nats), without what weight decay adds."""
        return _observe(self, "loss")

    @property
    def focus_gradient(self) -> Float[Array, "..."]:
        """d nu/dt, the rate at which the focus improves under the active paradigm."""
        return _observe(self, "focus_gradient")

    @property
    def first_integral(self) -> Float[Array, "..."]:
        """nu + e^nu/B - rho Phi(mu) with Phi(0) = 0, constant along an exact orbit of one paradigm.

        Raises:
            NoFirstIntegral: the active paradigm has none, or weights decay.
        """
        return _observe(self, "first_integral")

    def to_xarray(self) -> "xr.Dataset":
        """The curves as a labelled dataset, with their meanings and units.

        Returns:
            ``mu``, ``nu``, ``alpha``, ``complement``, ``beta``, ``loss`` and ``focus_gradient``
            over the dimension ``time`` (and ``setting_0``, ... of a batch), with the coordinate
            ``time`` (``times`` of a batch), t = step x learning rate.

        Example:
            >>> solve("lvml", Setting(20, 20), [1.0, 10.0]).to_xarray().alpha.plot()
        """
        import xarray as xr

        times = np.asarray(self.times)
        batch = tuple(f"setting_{axis}" for axis in range(times.ndim - 1))
        dimensions = (*batch, "time")[: times.ndim] if times.ndim else ()
        curves = {
            name: (dimensions, np.asarray(getattr(self, name)), {"long_name": says, "units": unit})
            for name, (says, unit) in CURVES.items()
        }
        label = {"long_name": "time", "units": TIME_UNIT}
        own = "time" if times.ndim <= 1 else "times"  # times of a batch are no labels of an axis
        attributes = {
            "paradigm": ",".join(map(str, self.paradigms)),
            "method": self.method,
            "setting": str(self.setting.as_dict()),
        }
        return xr.Dataset(curves, {own: (dimensions, times, label)}, attributes)

    def to_pandas(self) -> "pd.DataFrame":
        """The curves as a table, a row a time (and setting), a column a quantity."""
        dataset = self.to_xarray()
        return (dataset if dataset.sizes else dataset.expand_dims("time")).to_dataframe()

    def plot(self, quantity: str = "alpha", ax: Any = None, **style: Any) -> Any:
        """Draw one quantity over time.

        Args:
            quantity: one of ``CURVES``, such as "alpha" or "mu".
            ax: matplotlib Axes; None for the current ones.
            style: passed on to matplotlib, such as color="black".

        Returns:
            What matplotlib drew.

        Raises:
            SettingError: an unknown quantity, or a single time.
        """
        if not isinstance(quantity, str) or quantity not in CURVES:
            raise SettingError(f"quantity must be one of {', '.join(CURVES)}, got {quantity!r}")
        if np.ndim(self.times) == 0 or np.shape(self.times)[-1] < 2:
            raise SettingError("a curve needs at least two times, got one")
        dataset = self.to_xarray()
        x = "time" if "time" in dataset.coords else None
        return dataset[quantity].plot.line(x=x, ax=ax, **style)

    def __repr__(self) -> str:
        names = ",".join(map(str, self.paradigms))
        head = f"Trajectory of {names} by {self.method}, shape {np.shape(self.mu)}"
        if traced(self):
            return f"{head} (traced)"
        lines = [f"{head}, {self.setting}"]
        for name in ("times", "mu", "nu", "alpha", "loss"):
            values = np.ravel(np.asarray(getattr(self, name)))
            ends = values if values.size < 3 else values[[0, -1]]
            lines.append(f"  {name:5} {' ... '.join(f'{value:.6g}' for value in ends)}")
        return "\n".join(lines)

    def _preview(self) -> "pd.DataFrame | None":
        if traced(self):
            return None
        if np.ndim(self.times) == 0 or np.shape(self.times)[-1] <= 10:
            return self.to_pandas()
        names = ("times", "mu", "nu", "stage")
        ends = {name: np.asarray(getattr(self, name))[..., np.r_[:5, -5:0]] for name in names}
        return replace(self, distance=None, **ends).to_pandas()


def per_time(trajectory: Trajectory) -> Reduced:
    """The reduced setting with trailing axes, so that it broadcasts against the times."""
    reduced = reduce_setting(trajectory.setting)
    extra = (1,) * (np.ndim(trajectory.mu) - np.ndim(reduced.ratio))
    return Reduced(*(v if v is None else v.reshape(v.shape + extra) for v in reduced))


def _state(trajectory: Trajectory, reduced: Reduced) -> tuple[Any, ...]:
    """(alpha, 1 - alpha, mu, C) along a trajectory."""
    return (*focus_weights(trajectory.nu, reduced.ratio), trajectory.mu, reduced.classes)


def velocities(trajectory: Trajectory) -> list[tuple[Any, Any]]:
    """(mu', nu') along a trajectory, for each of its paradigms."""
    reduced = per_time(trajectory)
    weights = focus_weights(trajectory.nu, reduced.ratio)
    state = (reduced, trajectory.mu, trajectory.nu, weights)
    return [velocity(p, *state) for p in trajectory.paradigms]


def _by_stage(trajectory: Trajectory, values: list[Any]) -> Any:
    """From each paradigm's values, those of the paradigm active at each time."""
    xp = namespace(trajectory.mu)
    result = values[0]
    for index, value in enumerate(values[1:], start=1):
        result = xp.where(trajectory.stage == index, value, result)
    return xp.broadcast_to(result, np.shape(trajectory.mu))


@float64
def _observe(trajectory: Trajectory, quantity: str) -> Any:
    trajectory = concrete(trajectory)
    reduced = per_time(trajectory)
    weight, rest, at, classes = state = _state(trajectory, reduced)
    match quantity:
        case "alpha" | "complement":
            return weight if quantity == "alpha" else rest
        case "beta":
            # softmax of mu against C - 1 zeros, the same weight, which no mu overflows
            return focus_weights(at, classes - 1)[0]
        case "loss":
            return _by_stage(trajectory, [lowered_loss(p)(*state) for p in trajectory.paradigms])
        case "focus_gradient":
            return _by_stage(trajectory, [nu_dot for _, nu_dot in velocities(trajectory)])
        case _:
            return _by_stage(trajectory, [_conserved(p, trajectory) for p in trajectory.paradigms])


def refuse_decay(setting: Setting) -> None:
    """Refuse weight decay where a first integral is needed.

    Raises:
        NoFirstIntegral: weights decay.
    """
    if setting.decays:
        raise NoFirstIntegral(
            f"with weight decay (decay = {shown(setting.decay)}) mu and nu do not separate: there "
            "is no first integral and no closed form; use simulate, which needs none, or decay = 0"
        )


def _conserved(paradigm: Paradigm, trajectory: Trajectory) -> Any:
    refuse_decay(trajectory.setting)
    reduced = per_time(trajectory)
    conserved = derive_first_integral(paradigm).conserved
    phi = potential(paradigm, trajectory.mu, reduced.classes)
    return lower(conserved, (nu, B, rho, Phi))(trajectory.nu, reduced.ratio, reduced.focus, phi)


def potential(paradigm: Paradigm, mu_value: Any, classes: Any) -> Any:
    """Phi(mu), the integral of the lowered slope from 0 to mu, by 20 Gauss panels.

    Raises:
        NoFirstIntegral: the paradigm has none.
    """
    slope = lower(derive_first_integral(paradigm).slope, (mu, C))
    points = (np.arange(20)[:, None] + NODES).ravel() / 20
    weights = np.tile(INTEGRALS[0] / 20, 20)
    xp = namespace(mu_value, classes)
    mu_value, classes = xp.broadcast_arrays(xp.asarray(mu_value), xp.asarray(classes))
    flat, classes = mu_value.reshape(1, -1), classes.reshape(1, -1)
    # a cacheful at a time where nothing fuses
    size = max(flat.size, 1) if xp is not np else 1024
    parts = [
        weights @ slope(flat[:, i : i + size] * points[:, None], classes[:, i : i + size])
        for i in range(0, flat.size, size)
    ]
    return mu_value * xp.concatenate([*parts, xp.zeros(0)]).reshape(mu_value.shape)
