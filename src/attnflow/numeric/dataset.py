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
from attnflow.files import TABLES
from attnflow.numeric.trajectory import CURVES, TIME_UNIT, Trajectory
from attnflow.settings import Setting
from attnflow.symbolic.paradigm import Paradigm

FOCUS_LEVELS = (0.5, 0.9, 0.99)
"""Values of alpha whose first crossing is timed."""

GRID_POINTS = 121
"""Points of mu and of nu on which the first integral is tabled, for its level curves."""


def assemble(
    trajectories: Mapping[str, Mapping[str, Trajectory]],
    *,
    setting: Setting,
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
        setting: the Setting that all of them belong to.
        initial: (mu, nu) at time 0.
        methods: the order of the methods; deviations are measured from the first that a label has.
        tolerance: largest deviation of the simulation with which it counts as agreeing.
        notes: label -> why a method is missing.
        options: further arguments that the methods were given, to record.
        command: a command line to record.

    Returns:
        A dataset with the curves of ``CURVES``, ``first_integral`` and ``drift`` over (paradigm,
        method, time), ``distance`` from the symmetric ansatz where a method tells it,
        ``deviation`` (quantity, paradigm, method, time) and ``max_deviation``, ``max_drift``,
        ``time_to_focus`` (paradigm, method, focus_level), NaN where not reached,
        and ``computed`` (paradigm, method). Missing values are NaN. The attributes of
        ``first_integral`` table it over the plane, as ``level_nu`` at the points ``nu_grid`` +
        ``level_mu`` (of one paradigm after the other) at ``mu_grid``: further dimensions would
        multiply the rows of ``to_dataframe``.
    """
    labels = list(trajectories)
    notes = dict(notes or {})
    values = _values(trajectories, setting, initial, methods, notes)
    computed = np.array([[m in trajectories[label] for m in methods] for label in labels])
    reference = [int(np.argmax(row)) for row in computed]
    values["deviation"] = np.stack(
        [
            [_deviation(name, row, row[r]) for row, r in zip(values[name], reference, strict=True)]
            for name in CURVES
        ]
    )
    values["max_deviation"] = values["deviation"].max(axis=-1)
    values["max_drift"] = values["drift"].max(axis=-1)
    values["computed"] = computed
    first = next(iter(trajectories[labels[0]].values()))
    coordinates = {
        "paradigm": labels,
        "method": list(methods),
        "time": np.asarray(first.times, np.float64),
        "quantity": list(CURVES),
        "focus_level": list(FOCUS_LEVELS),
        "title": [_title(next(iter(trajectories[k].values())).paradigms, k) for k in labels],
        "reference": [methods[r] for r in reference],
        "note": [notes.get(label, "") for label in labels],
    }
    attributes = {
        "title": "attnflow comparison",
        "setting": json.dumps(setting.as_dict()),
        "initial": np.asarray(initial, np.float64),
        "tolerance": float(tolerance),
        "options": json.dumps({k: dict(v) for k, v in (options or {}).items()}, default=str),
        "versions": json.dumps(environment.versions()),
        "device": environment.device(),
        "platform": environment.platform(),
        **({} if command is None else {"command": command}),
    }
    tables = {name: np.ravel(values.pop(name)) for name in TABLES}
    dataset = xr.Dataset(_described(values), _described(coordinates), attributes)
    dataset["first_integral"].attrs.update(tables)
    return dataset


def _values(
    trajectories: Mapping[str, Mapping[str, Trajectory]],
    setting: Setting,
    initial: tuple[float, float],
    methods: Sequence[str],
    notes: dict[str, str],
) -> dict[str, np.ndarray]:
    """Curves, first integral and drift, times to focus and level curves, NaN for what is missing.

    Why a first integral is missing is added to the notes.
    """
    size = np.size(next(iter(next(iter(trajectories.values())).values())).times)
    shape = (len(trajectories), len(methods), size)
    names = (*CURVES, "first_integral", "drift", "distance")
    values: dict[str, np.ndarray] = {name: np.full(shape, np.nan) for name in names}
    values["time_to_focus"] = np.full((*shape[:2], len(FOCUS_LEVELS)), np.nan)
    values["level_nu"] = np.full(GRID_POINTS, np.nan)
    values["level_mu"] = np.full((len(trajectories), GRID_POINTS), np.nan)
    grids = [_grid(trajectories, name) for name in ("mu", "nu")]
    values |= {"mu_grid": grids[0], "nu_grid": grids[1]}
    for i, (label, by_method) in enumerate(trajectories.items()):
        row = _from_start(list(by_method.values()), setting, initial)
        rows = [methods.index(m) for m in by_method]
        observed = {name: np.asarray(getattr(row, name)) for name in ("times", *CURVES)}
        for name in CURVES:
            values[name][i, rows] = observed[name][:, 1:]
        for n, j in enumerate(rows):
            one = {name: v[n] for name, v in observed.items()}
            values["time_to_focus"][i, j] = _times_to_focus(one)
            distance = by_method[methods[j]].distance
            if distance is not None:
                values["distance"][i, j] = distance
        try:
            level, at_grids = _first_integral(row, *grids)
        except NoFirstIntegral as error:
            notes.setdefault(label, str(error))
            continue
        values["first_integral"][i, rows] = level[:, 1:]
        values["drift"][i, rows] = _drift(level, np.asarray(row.stage), observed)[:, 1:]
        if len(row.paradigms) == 1:
            values["level_mu"][i], values["level_nu"] = at_grids
    if np.isnan(values["distance"]).all():
        del values["distance"]
    return values


_CURVE = ("paradigm", "method", "time")
_DESCRIBED: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    **{name: (_CURVE, {"long_name": long, "units": unit}) for name, (long, unit) in CURVES.items()},
    "first_integral": (
        _CURVE,
        {"long_name": "first integral nu + e^nu/B - rho Phi(mu)", "units": "1"},
    ),
    "drift": (
        _CURVE,
        {"long_name": "change of the first integral relative to its terms", "units": "1"},
    ),
    "distance": (_CURVE, {"long_name": "distance from the symmetric ansatz", "units": "1"}),
    "deviation": (
        ("quantity", *_CURVE),
        {
            "long_name": "deviation from the reference method",
            "units": "1",
            "definition": "|value - reference| / scale, scale = max(1, |reference|) for mu and nu; "
            "|reference| for the others; its largest size over the times for loss and "
            "focus_gradient where they meet zero",
        },
    ),
    "max_deviation": (
        ("quantity", *_CURVE[:2]),
        {"long_name": "largest deviation over the times", "units": "1"},
    ),
    "max_drift": (
        _CURVE[:2],
        {"long_name": "largest drift of the first integral over the times", "units": "1"},
    ),
    "time_to_focus": (
        (*_CURVE[:2], "focus_level"),
        {"long_name": "time at which alpha first reaches the level", "units": TIME_UNIT},
    ),
    "computed": (_CURVE[:2], {"long_name": "whether the method gave a trajectory"}),
    "paradigm": (("paradigm",), {"long_name": "paradigm or schedule"}),
    "method": (("method",), {"long_name": "method"}),
    "time": (("time",), {"long_name": "time t = step x learning rate", "units": TIME_UNIT}),
    "quantity": (("quantity",), {"long_name": "quantity"}),
    "focus_level": (("focus_level",), {"long_name": "alpha", "units": "1"}),
    "title": (("paradigm",), {"long_name": "title"}),
    "reference": (("paradigm",), {"long_name": "method that deviations are measured from"}),
    "note": (("paradigm",), {"long_name": "what is missing, and why"}),
}
"""Variable or coordinate -> its dimensions and what it is."""


def _described(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: (_DESCRIBED[name][0], value, _DESCRIBED[name][1]) for name, value in values.items()
    }


def _title(parts: Sequence[Paradigm], label: str) -> str:
    return parts[0].title if len(parts) == 1 else label


def _from_start(
    trajectories: Sequence[Trajectory], setting: Setting, initial: tuple[float, float]
) -> Trajectory:
    """Trajectories of one paradigm as one of shape (method, 1 + time), the start put before each.

    One object of one shape, so that what follows from mu and nu is compiled once for all methods.
    """

    def joined(name: str, start: float) -> np.ndarray:
        values = [np.asarray(getattr(t, name)) for t in trajectories]
        return np.stack([np.concatenate([[start], v]) for v in values])

    return replace(
        trajectories[0],
        times=joined("times", 0.0),
        mu=joined("mu", initial[0]),
        nu=joined("nu", initial[1]),
        stage=joined("stage", 0).astype(np.int32),
        setting=setting,
        distance=None,
        method="",
    )


def _grid(trajectories: Mapping[str, Mapping[str, Trajectory]], name: str) -> np.ndarray:
    """Even points over the range of mu or nu, 0 included, with some room at both ends."""
    values = [np.asarray(getattr(t, name)) for row in trajectories.values() for t in row.values()]
    low, high = min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values))
    room = 0.08 * max(high - low, 1e-3)
    return np.linspace(low - room, high + room, GRID_POINTS)


def _first_integral(
    row: Trajectory, mu_grid: np.ndarray, nu_grid: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The first integral along the curves, and its parts that depend on mu and on nu alone.

    It is a sum of the two, so the values on the axes of the plane give it everywhere.
    """
    zero = np.zeros(GRID_POINTS)
    mu = np.concatenate([np.ravel(row.mu), mu_grid, zero, [0.0]])
    nu = np.concatenate([np.ravel(row.nu), zero, nu_grid, [0.0]])
    # on the axes the stage does not matter: they are used for single paradigms only
    stage = np.zeros(mu.size, np.int32)
    stage[: np.size(row.mu)] = np.ravel(row.stage)
    level = np.asarray(replace(row, times=mu * 0, mu=mu, nu=nu, stage=stage).first_integral)
    along = level[: np.size(row.mu)].reshape(np.shape(row.mu))
    on_mu, on_nu = level[-1 - 2 * GRID_POINTS : -1].reshape(2, GRID_POINTS)
    return along, (on_mu - level[-1], on_nu)


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


def _drift(
    level: np.ndarray, stage: np.ndarray, observed: Mapping[str, np.ndarray]
) -> Float[np.ndarray, "method time"]:
    origin = np.repeat(level[:, :1], level.shape[1], axis=1)
    for part in np.unique(stage[stage > 0]):
        first = np.argmax(stage == part, axis=1)[:, None]
        origin = np.where(stage == part, np.take_along_axis(level, first, axis=1), origin)
    odds = observed["alpha"] / observed["complement"]  # e^nu/B
    return np.abs(level - origin) / (1 + np.abs(observed["nu"]) + odds)


def _times_to_focus(observed: Mapping[str, np.ndarray]) -> Float[np.ndarray, " level"]:
    """When alpha first reaches each level, by cubic interpolation of its logit and its slope.

    The slope of logit alpha is that of nu, the focus gradient, so the error falls with the fourth
    power of the spacing of the times.
    """
    t, slope = observed["times"], observed["focus_gradient"]
    logit = np.log(observed["alpha"]) - np.log(observed["complement"])
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
        found[n] = brentq(CubicHermiteSpline(t[two], above[two], slope[two]), *t[two])
    return found
