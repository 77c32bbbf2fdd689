"""Closed form, simulation and descent side by side: one labelled dataset, and how far they differ.

``compare`` checks its arguments and runs every method on every paradigm; curves.py lays the
trajectories out as a dataset, which holds all that the figures need, so that they can be drawn
again from its file.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.dataset import assemble
from attnflow.numeric.precision import float64
from attnflow.numeric.trajectory import Reduced, Trajectory, reduce_setting
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check, check_start, positive, whole
from attnflow.symbolic.catalogue import CATALOGUE, paradigm
from attnflow.symbolic.paradigm import Paradigm, nearest

_HOMES = {
    "closed form": ("attnflow.numeric.closed_form", "solve"),
    "simulation": ("attnflow.numeric.simulate", "simulate"),
    "descent": ("attnflow.numeric.descend", "descend"),
}

METHODS = tuple(_HOMES)
"""The three independent ways to a trajectory."""

GRIDS = ("linear", "log")


def compare(
    paradigms: str | Paradigm | Schedule | Iterable[str | Paradigm | Schedule] = tuple(CATALOGUE),
    setting: Setting | None = None,
    times: Float[np.ndarray, " times"] | Sequence[float] | None = None,
    *,
    initial: Sequence[float] = (0.0, 0.0),
    methods: str | Iterable[str] = ("closed form", "simulation"),
    tolerance: float = 1e-8,
    horizon: float | None = None,
    points: int = 401,
    grid: str = "linear",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    command: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> xr.Dataset:
    """All curves of all paradigms by all methods, with their deviations, as a labelled dataset.

    Args:
        paradigms: names, Paradigm objects or Schedules; all built-in ones by default.
        setting: the Setting (of numbers, not of arrays); m = C = 20 by default.
        times: strictly increasing times (t = step x learning rate); or leave them to the three
            arguments below.
        initial: (mu0, nu0) at time 0, from -300 to 300.
        methods: from "closed form", "simulation" and "descent". Deviations are measured from the
            first of these that a paradigm has.
        tolerance: largest deviation of the simulation with which it counts as agreeing.
        horizon: last time; ``default_horizon(setting, grid)`` if None.
        points: number of times.
        grid: "linear" (from 0 to the horizon) or "log" (over the last five decades before it).
        options: further arguments by method, ``{"simulation": {"solver": "tsit5"}}``. Unless this
            says otherwise, rtol of the simulation is a hundredth of the tolerance, at most 1e-10.
        command: a command line to record.
        progress: called with a sentence before each trajectory.

    Returns:
        A dataset with dimensions (paradigm, method, time): see curves.assemble. One curve is
        ``dataset["mu"].sel({"paradigm": "soft", "method": "simulation"})`` (in braces, since the
        keyword ``method=`` is xarray's own).

    Raises:
        SettingError: an argument is outside what is allowed, or contradicts another.
        ParadigmError: no paradigm has that name.
        NoFirstIntegral: a paradigm has no closed form and no other method was asked for.
        IntegrationFailed: a method did not reach the last time.
    """
    setting = Setting(20, 20) if setting is None else setting
    _check_setting(setting)
    entries = _entries(paradigms)
    chosen = _methods(methods)
    start = _start(initial)
    check("tolerance", tolerance, "a number above 0 and below 1", lambda v: (v > 0) & (v < 1))
    given = _options(options, chosen, tolerance)
    if times is None:
        times = default_times(setting, horizon=horizon, points=points, grid=grid)
        if "descent" in chosen:
            rate = _learning_rate(given)
            times = np.unique(np.rint(times / rate)) * rate
    elif horizon is not None:
        raise SettingError(f"give either times or a horizon, got both (horizon = {horizon:g})")
    times = check_times(times)
    if "descent" in chosen:
        _check_whole_steps(times, _learning_rate(given))

    trajectories: dict[str, dict[str, Trajectory]] = {}
    notes: dict[str, str] = {}
    for label, entry in entries.items():
        trajectories[label] = {}
        for method in chosen:
            if progress is not None:
                progress(f"{method} of {label}")
            try:
                result = _run(method, entry, setting, times, start, given[method])
            except NoFirstIntegral as error:
                if len(chosen) == 1:
                    raise
                notes[label] = f"no {method}: {error}"
            else:
                trajectories[label][method] = result
    return assemble(
        trajectories,
        setting=setting,
        initial=start,
        methods=chosen,
        tolerance=tolerance,
        notes=notes,
        options=given,
        command=command,
    )


def _run(
    method: str,
    entry: Paradigm | Schedule,
    setting: Setting,
    times: np.ndarray,
    initial: tuple[float, float],
    options: Mapping[str, Any],
) -> Trajectory:
    module, function = _HOMES[method]
    # loaded on use: a comparison of two methods does not import the third
    run = getattr(import_module(module), function)
    return run(entry, setting, times, initial=initial, **options)


# ---------------------------------------------------------------- arguments


def _check_setting(setting: Setting) -> None:
    if not isinstance(setting, Setting):
        raise SettingError(f"setting must be a Setting, got {setting!r}")
    for name, value in setting.numbers().items():
        if np.ndim(value) > 0:
            raise SettingError(
                f"compare takes one setting, got an array of shape {np.shape(value)} for {name}; "
                f"compare each setting in turn"
            )


def _entries(given: Any) -> dict[str, Paradigm | Schedule]:
    listed = [given] if isinstance(given, str | Paradigm | Schedule) else list(given)
    if not listed:
        raise SettingError("paradigms must name at least one paradigm, got none")
    entries: dict[str, Paradigm | Schedule] = {}
    for one in listed:
        entry = _resolved(one) if isinstance(one, Schedule) else paradigm(one)
        label = label_of(entry)
        if label in entries:
            raise SettingError(f"paradigms must differ by name, got {label!r} twice")
        entries[label] = entry
    return entries


def _resolved(schedule: Schedule) -> Schedule:
    return Schedule([replace(s, paradigm=paradigm(s.paradigm)) for s in schedule.stages])


def label_of(entry: str | Paradigm | Schedule) -> str:
    """The coordinate label: a paradigm's name, or a schedule's text, as "soft@t=200,hard"."""
    return str(_resolved(entry)) if isinstance(entry, Schedule) else paradigm(entry).name


def _methods(given: str | Iterable[str]) -> tuple[str, ...]:
    listed = (given,) if isinstance(given, str) else tuple(given)
    if not listed:
        raise SettingError(f"methods must name at least one of {', '.join(METHODS)}, got none")
    for name in listed:
        if name not in METHODS:
            raise SettingError(f"unknown method {name!r}{nearest(str(name), list(METHODS))}")
    if len(set(listed)) < len(listed):
        raise SettingError(f"methods must differ, got {', '.join(listed)}")
    return tuple(name for name in METHODS if name in listed)


def _options(
    given: Mapping[str, Mapping[str, Any]] | None, methods: Sequence[str], tolerance: float
) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {name: {} for name in methods}
    if "simulation" in options:
        # a step's error is to stay well below what is to be seen, and above rounding
        rtol = max(min(1e-10, 1e-2 * tolerance), 1e-14)
        options["simulation"] = {"rtol": rtol, "atol": 1e-2 * rtol}
    for name, more in (given or {}).items():
        if name not in options:
            raise SettingError(f"options must be for one of {', '.join(methods)}, got {name!r}")
        options[name].update(more)
    return options


def _learning_rate(options: Mapping[str, Mapping[str, Any]]) -> float:
    """The step size that descent will take: the one given, or its own default."""
    rate = options["descent"].get("learning_rate")
    if rate is None:
        module, function = _HOMES["descent"]
        descend = getattr(import_module(module), function)
        rate = inspect.signature(descend).parameters["learning_rate"].default
    check("learning_rate", rate, "a finite number above 0", positive)
    return float(rate)


def _check_whole_steps(times: np.ndarray, rate: float) -> None:
    steps = times / rate
    off = np.abs(steps - np.rint(steps)) > 1e-9 * np.maximum(steps, 1.0)
    if off.any():
        raise SettingError(
            f"times must be whole multiples of the learning rate {rate:g} for descent, "
            f"got {times[off][0]:g}"
        )


def _start(initial: Sequence[float]) -> tuple[float, float]:
    if np.shape(initial) != (2,):
        raise SettingError(f"initial must be a pair (mu, nu) of numbers, got {initial!r}")
    mu0, nu0 = check_start(initial)
    return float(mu0), float(nu0)


def check_times(times: Any) -> Float[np.ndarray, " times"]:
    """The times as a float64 array, if they are finite, not negative and increase strictly.

    Raises:
        SettingError: they do not; the message gives the first offending value.
    """
    try:
        array = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingError(f"times must be numbers, got {times!r}") from None
    if array.ndim != 1 or array.size == 0:
        raise SettingError(
            f"times must be a list of at least one time, got an array of shape {array.shape}"
        )
    check("times", array, "finite and at least 0", lambda v: (v >= 0) & np.isfinite(v))
    falls = np.flatnonzero(np.diff(array) <= 0)
    if falls.size:
        here = falls[0]
        raise SettingError(
            f"times must increase strictly, got {array[here + 1]:g} after {array[here]:g}"
        )
    return array


def default_horizon(setting: Setting, grid: str = "linear") -> float:
    """A last time that shows the onset and the late phase of every paradigm, 1, 2 or 5 x 10^n.

    Five times C (1 + B/sqrt(rho))/tau, that is 5 m C in the simple setting, rounded up: the focus
    sets in near 1.25 m C, and rho speeds it up by its square root (mu must grow until
    rho mu^2/2 is of order 1). A logarithmic axis has room for a hundred times that.

    Args:
        setting: a Setting of numbers.
        grid: "linear" or "log".

    Raises:
        SettingError: an argument is outside what is allowed.
    """
    _check_setting(setting)
    _check_grid(grid)
    scale = 5.0 * float(_natural_time(setting))
    power = math.floor(math.log10(scale))
    first = next(f for f in (1, 2, 5, 10) if f * 10.0**power >= scale * (1 - 1e-9))
    return float(f"{first}e{power + (2 if grid == 'log' else 0)}")


@float64
def _natural_time(setting: Setting) -> Any:
    reduced: Reduced = reduce_setting(setting)
    return reduced.classes * (1 + reduced.ratio / jnp.sqrt(reduced.focus)) / reduced.speed


def _check_grid(grid: str) -> None:
    if grid not in GRIDS:
        raise SettingError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}")


def default_times(
    setting: Setting, *, horizon: float | None = None, points: int = 401, grid: str = "linear"
) -> Float[np.ndarray, " times"]:
    """Times up to a horizon, evenly spaced from 0 or in the logarithm over five decades.

    Args:
        setting: a Setting of numbers; only used for the default horizon.
        horizon: last time, above 0; ``default_horizon(setting, grid)`` if None.
        points: how many, at least 2.
        grid: "linear" or "log".

    Raises:
        SettingError: an argument is outside what is allowed.
    """
    _check_grid(grid)
    horizon = default_horizon(setting, grid) if horizon is None else horizon
    check("horizon", horizon, "a finite number above 0", positive)
    check("points", points, "a whole number of at least 2", whole(2))
    if grid == "linear":
        return np.linspace(0.0, float(horizon), int(points))
    times = np.geomspace(1e-5 * float(horizon), float(horizon), int(points))
    times[-1] = horizon
    return times
