"""Trajectories laid out as one labelled dataset: curves, deviations, drift, level curves.

Deviations are |value - reference| / scale at each time. A scale is chosen so that a deviation is a
relative error wherever that means something:

- mu and nu are logits: scale max(1, |reference|), since near zero their absolute error is the
  relative error of the odds that they stand for;
- alpha, 1 - alpha and beta are positive: scale |reference|, however small;
- loss and focus gradient: scale |reference|, or, where the reference meets zero or changes sign,
  its largest size over the times.

The drift of the first integral is |I - I at the start| / (1 + |nu| + e^nu/B), the size of its
terms; in a schedule each part starts anew at its own first time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from attnflow import environment
from attnflow.errors import NoFirstIntegral
from attnflow.numeric.trajectory import Trajectory
from attnflow.symbolic.paradigm import Paradigm

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

FOCUS_LEVELS = (0.5, 0.9, 0.99)
"""Values of alpha whose first crossing is timed."""

GRID_POINTS = 121
"""Points of mu and of nu on which the first integral is tabled, for its level curves."""


def assemble(
    trajectories: Mapping[str, Mapping[str, Trajectory]],
    *,
    initial: tuple[float, float],
    methods: Sequence[str],
    tolerance: float,
    notes: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> xr.Dataset:
    """One dataset of trajectories of one setting at the same times.

    Args:
        trajectories: label -> method -> Trajectory, at least one method for each label.
        initial: (mu, nu) at time 0.
        methods: the order of the methods; deviations are measured from the first that a label has.
        tolerance: largest deviation of the simulation with which it counts as agreeing.
        notes: label -> why a method is missing.
        options: further arguments that the methods were given, to record.
        command: a command line to record.

    Returns:
        A dataset with the curves of ``CURVES``, ``first_integral``, ``drift`` (paradigm, method, time),
        ``distance`` from the symmetric ansatz where a method tells it,
        ``deviation`` (quantity, paradigm, method, time) and ``max_deviation``, ``max_drift``,
        ``time_to_focus`` (paradigm, method, focus_level), NaN where not reached,
        ``computed`` (paradigm, method), and the first integral as a sum
        ``level_nu`` (nu_grid) + ``level_mu`` (paradigm, mu_grid). Missing values are NaN.
    """
    labels = list(trajectories)
    first = next(iter(trajectories[labels[0]].values()))
    times = np.asarray(first.times, np.float64)
    shape = (len(labels), len(methods), times.size)
    notes = dict(notes or {})

    names = [*CURVES, "first_integral", "drift", "distance"]
    values = {name: np.full(shape, np.nan) for name in names}
    reached = np.full((*shape[:2], len(FOCUS_LEVELS)), np.nan)
    computed = np.zeros(shape[:2], bool)
    for i, label in enumerate(labels):
        for j, method in enumerate(methods):
            trajectory = trajectories[label].get(method)
            if trajectory is None:
                continue
            computed[i, j] = True
            for name in CURVES:
                values[name][i, j] = getattr(trajectory, name)
            if trajectory.distance is not None:
                values["distance"][i, j] = trajectory.distance
            start = _at_start(trajectory, initial)
            try:
                values["first_integral"][i, j] = trajectory.first_integral
                values["drift"][i, j] = _drift(trajectory, start)
            except NoFirstIntegral as error:
                notes.setdefault(label, str(error))
            reached[i, j] = _times_to_focus(trajectory, start)

    reference = [int(np.argmax(row)) for row in computed]
    deviation = np.stack(
        [
            np.stack(
                [
                    _deviation(name, row, row[r])
                    for row, r in zip(values[name], reference, strict=True)
                ]
            )
            for name in CURVES
        ]
    )
    one = {label: next(iter(trajectories[label].values())) for label in labels}
    curve = ("paradigm", "method", "time")
    data: dict[str, Any] = {
        name: (curve, values[name], {"long_name": long, "units": unit})
        for name, (long, unit) in CURVES.items()
    }
    data["first_integral"] = (
        curve,
        values["first_integral"],
        {"long_name": "first integral nu + e^nu/B - rho Phi(mu)", "units": "1"},
    )
    data["drift"] = (
        curve,
        values["drift"],
        {"long_name": "change of the first integral relative to its terms", "units": "1"},
    )
    if np.isfinite(values["distance"]).any():
        data["distance"] = (
            curve,
            values["distance"],
            {"long_name": "distance from the symmetric ansatz", "units": "1"},
        )
    data["deviation"] = (
        ("quantity", *curve),
        deviation,
        {
            "long_name": "deviation from the reference method",
            "units": "1",
            "definition": _DEFINITION,
        },
    )
    data["max_deviation"] = (
        ("quantity", *curve[:2]),
        deviation.max(axis=-1),
        {"long_name": "largest deviation over the times", "units": "1"},
    )
    data["max_drift"] = (
        curve[:2],
        values["drift"].max(axis=-1),
        {"long_name": "largest drift of the first integral over the times", "units": "1"},
    )
    data["time_to_focus"] = (
        (*curve[:2], "focus_level"),
        reached,
        {"long_name": "time at which alpha first reaches the level", "units": TIME_UNIT},
    )
    data["computed"] = (curve[:2], computed, {"long_name": "whether the method gave a trajectory"})
    coordinates: dict[str, Any] = {
        "paradigm": ("paradigm", labels, {"long_name": "paradigm or schedule"}),
        "method": ("method", list(methods), {"long_name": "method"}),
        "time": ("time", times, {"long_name": "time t = step x learning rate", "units": TIME_UNIT}),
        "quantity": ("quantity", list(CURVES), {"long_name": "quantity"}),
        "focus_level": ("focus_level", list(FOCUS_LEVELS), {"long_name": "alpha", "units": "1"}),
        "title": (
            "paradigm",
            [_title(one[k].paradigms, k) for k in labels],
            {"long_name": "title"},
        ),
        "reference": (
            "paradigm",
            [methods[r] for r in reference],
            {"long_name": "method that deviations are measured from"},
        ),
        "note": (
            "paradigm",
            [notes.get(label, "") for label in labels],
            {"long_name": "what is missing, and why"},
        ),
    }
    _add_levels(data, coordinates, one, values["mu"], values["nu"])
    attributes = {
        "title": "attnflow comparison",
        "setting": json.dumps(first.setting.as_dict()),
        "initial": np.asarray(initial, np.float64),
        "tolerance": float(tolerance),
        "options": json.dumps({k: dict(v) for k, v in (options or {}).items()}, default=str),
        "versions": json.dumps(environment.versions()),
        "device": environment.device(),
        "platform": environment.platform(),
        **({} if command is None else {"command": command}),
    }
    return xr.Dataset(data, coordinates, attributes)


_DEFINITION = (
    "|value - reference| / scale, scale = max(1, |reference|) for mu and nu; |reference| for the "
    "others; its largest size over the times for loss and focus_gradient where they meet zero"
)


def _title(parts: Sequence[Paradigm], label: str) -> str:
    if len(parts) == 1:
        return parts[0].title
    ends = [part.partition(":")[2] for part in label.split(",")]
    named = [f"{p.title} to {end}" if end else p.title for p, end in zip(parts, ends, strict=True)]
    return ", then ".join(named)


def _at_start(trajectory: Trajectory, initial: tuple[float, float]) -> Trajectory:
    mu, nu = (np.asarray([v], np.float64) for v in initial)
    stage = np.zeros(1, np.int32)
    return replace(trajectory, times=np.zeros(1), mu=mu, nu=nu, stage=stage, distance=None)


def _deviation(
    name: str, values: Float[np.ndarray, "method time"], reference: Float[np.ndarray, " time"]
) -> Float[np.ndarray, "method time"]:
    size = np.abs(reference)
    if name in ("mu", "nu"):
        size = np.maximum(size, 1.0)
    elif name in ("loss", "focus_gradient") and not (
        np.all(reference > 0) or np.all(reference < 0)
    ):
        size = np.full_like(size, np.max(size))
    gap = np.abs(values - reference)
    # a reference that is zero throughout leaves nothing to be relative to: an absolute deviation
    return gap / np.where(size == 0, 1.0, size)


def _drift(trajectory: Trajectory, start: Trajectory) -> Float[np.ndarray, " time"]:
    level, stage = np.asarray(trajectory.first_integral), np.asarray(trajectory.stage)
    stage = np.broadcast_to(stage, level.shape)
    origin = np.full(level.shape, np.asarray(start.first_integral)[0])
    for part in np.unique(stage[stage > 0]):
        origin[stage == part] = level[np.argmax(stage == part)]
    odds = np.asarray(trajectory.alpha) / np.asarray(trajectory.complement)  # e^nu/B
    return np.abs(level - origin) / (1 + np.abs(np.asarray(trajectory.nu)) + odds)


def _times_to_focus(trajectory: Trajectory, start: Trajectory) -> Float[np.ndarray, " level"]:
    """When alpha first reaches each level, by cubic interpolation of its logit and its slope.

    The slope of logit alpha is that of nu, the focus gradient, so the error falls with the fourth
    power of the spacing of the times.
    """
    pieces = [trajectory] if float(np.asarray(trajectory.times)[0]) == 0 else [start, trajectory]
    t, slope = (
        np.concatenate([np.asarray(getattr(p, name)) for p in pieces])
        for name in ("times", "focus_gradient")
    )
    logit = np.concatenate(
        [np.log(np.asarray(p.alpha)) - np.log(np.asarray(p.complement)) for p in pieces]
    )
    found = np.full(len(FOCUS_LEVELS), np.nan)
    for n, level in enumerate(FOCUS_LEVELS):
        above = logit - (np.log(level) - np.log1p(-level))
        crossed = np.flatnonzero(above >= 0)
        if not crossed.size:
            continue
        last = int(crossed[0])
        if last == 0 or above[last] == 0:
            found[n] = t[last]
            continue
        two = slice(last - 1, last + 1)
        found[n] = brentq(CubicHermiteSpline(t[two], above[two], slope[two]), *t[two], rtol=1e-14)
    return found


def _add_levels(
    data: dict[str, Any],
    coordinates: dict[str, Any],
    one: Mapping[str, Trajectory],
    mu: np.ndarray,
    nu: np.ndarray,
) -> None:
    """The first integral over the plane: it is a function of nu plus a function of mu."""
    grids = []
    for curve in (mu, nu):
        low, high = min(0.0, float(np.nanmin(curve))), max(0.0, float(np.nanmax(curve)))
        room = 0.08 * max(high - low, 1e-3)
        grids.append(np.linspace(low - room, high + room, GRID_POINTS))
    zero = np.zeros(GRID_POINTS)
    level_mu = np.full((len(one), GRID_POINTS), np.nan)
    level_nu = np.full(GRID_POINTS, np.nan)
    for i, trajectory in enumerate(one.values()):
        if len(trajectory.paradigms) != 1:
            continue

        def level(
            mu_at: np.ndarray, nu_at: np.ndarray, like: Trajectory = trajectory
        ) -> np.ndarray:
            at = replace(
                like, times=zero, mu=mu_at, nu=nu_at, stage=zero.astype(np.int32), distance=None
            )
            return np.asarray(at.first_integral)

        try:
            level_nu = level(zero, grids[1])
            level_mu[i] = level(grids[0], zero) - level(zero, zero)
        except NoFirstIntegral:
            continue
    long = "part of the first integral that depends on"
    data["level_nu"] = ("nu_grid", level_nu, {"long_name": f"{long} nu", "units": "1"})
    data["level_mu"] = (
        ("paradigm", "mu_grid"),
        level_mu,
        {"long_name": f"{long} mu", "units": "1"},
    )
    coordinates["mu_grid"] = ("mu_grid", grids[0], {"long_name": CURVES["mu"][0], "units": "1"})
    coordinates["nu_grid"] = ("nu_grid", grids[1], {"long_name": CURVES["nu"][0], "units": "1"})
