"""Closed form, simulation and descent side by side: one labelled dataset, and how far they differ.

``compare`` checks its arguments and runs every method on every paradigm; dataset.py lays the
trajectories out as a dataset, which holds all that the figures need, so that they can be drawn
again from its file. ``summary`` says what it says in a few numbers; it reads the dataset only.
(Selections by method are spelt ``sel({"method": ...})``: the keyword ``method=`` is xarray's own.)
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.times import check_times, default_times
from attnflow.numeric.trajectory import Trajectory
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check_number, check_setting, check_start, listed
from attnflow.symbolic.catalogue import CATALOGUE, paradigm
from attnflow.symbolic.paradigm import Paradigm, nearest

if TYPE_CHECKING:
    import xarray as xr

_HOMES = {
    "closed form": ("attnflow.numeric.closed_form", "solve"),
    "simulation": ("attnflow.numeric.simulate", "simulate"),
    "finite steps": ("attnflow.numeric.simulate", "simulate"),
    "descent": ("attnflow.numeric.descend", "descend"),
}

METHODS = tuple(_HOMES)
"""The three independent ways to a trajectory, and the flow corrected for the steps of the third."""

STEPS = ("learning_rate", "momentum", "nesterov")
"""What finite steps and descent have in common."""


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
    progress: Callable[[str], None] = lambda sentence: None,
) -> "xr.Dataset":
    """All curves of all paradigms by all methods, with their deviations, as a labelled dataset.

    Args:
        paradigms: names, Paradigm objects or Schedules; all built-in ones by default.
        setting: the Setting (of numbers, not of arrays); m = C = 20 by default.
        times: strictly increasing times (t = step x learning rate); or leave them to the three
            arguments below.
        initial: (mu0, nu0) at time 0, from -300 to 300.
        methods: from "closed form", "simulation", "finite steps" (the simulation corrected for the
            steps of descent; with the learning rate and momentum of its own options, else of
            descent's) and "descent". Deviations are measured from the
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
        A dataset with dimensions (paradigm, method, time): see dataset.assemble. One curve is
        ``dataset["mu"].sel({"paradigm": "soft", "method": "simulation"})`` (in braces, since the
        keyword ``method=`` is xarray's own).

    Raises:
        SettingError: an argument is outside what is allowed, or contradicts another.
        ParadigmError: no paradigm has that name.
        NoFirstIntegral: a paradigm has no closed form and no other method was asked for.
        IntegrationFailed: a method did not reach the last time.
    """
    setting = Setting(20, 20) if setting is None else setting
    check_setting(setting, "compare")
    entries = _entries(paradigms)
    chosen = _methods(methods)
    start = _start(initial)
    between = "a number above 0 and below 1"
    tolerance = check_number("tolerance", tolerance, between, lambda v: (v > 0) & (v < 1))
    given = _options(options, chosen, tolerance)
    if times is None:
        times = default_times(setting, horizon=horizon, points=points, grid=grid)
        if "descent" in chosen:
            step = _step(given)
            times = np.unique(np.rint(times / step)) * step
    elif horizon is not None:
        raise SettingError(f"give either times or a horizon, got both (horizon = {horizon:g})")
    times = check_times(times)
    if "descent" in chosen:
        _check_whole_steps(times, _step(given))

    trajectories: dict[str, dict[str, Trajectory]] = {label: {} for label in entries}
    notes: dict[str, str] = {}
    for method in chosen:
        if method == "simulation":
            progress(f"simulation of {', '.join(entries)}")
            # loaded on use, as the others: a comparison of two methods does not import the third
            from attnflow.numeric.simulate import simulate_all

            together = simulate_all(
                list(entries.values()), setting, times, initial=start, **given[method]
            )
            for label, trajectory in zip(entries, together, strict=True):
                trajectories[label][method] = trajectory
            continue
        for label, entry in entries.items():
            progress(f"{method} of {label}")
            try:
                trajectories[label][method] = _run(
                    method, entry, setting, times, start, given[method]
                )
            except NoFirstIntegral as error:
                if len(chosen) == 1:
                    raise
                notes[label] = f"no {method}: {error}"
    from attnflow.numeric.dataset import assemble  # with xarray and SciPy, which take a while

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


def agreement(dataset: "xr.Dataset") -> dict[str, bool | None]:
    """For each paradigm: whether the simulation stays within the tolerance of the closed form.

    None where one of the two is missing. A NaN anywhere in either is disagreement.
    """
    verdicts: dict[str, bool | None] = {}
    pair = ("closed form", "simulation")
    for label in dataset["paradigm"].values:
        row = dataset.sel(paradigm=label)
        there = all(
            method in row["method"].values and bool(row["computed"].sel({"method": method}))
            for method in pair
        )
        if not there:
            verdicts[str(label)] = None
            continue
        worst = row["max_deviation"].sel({"method": "simulation"}).values
        verdicts[str(label)] = bool(np.all(worst <= dataset.attrs["tolerance"]))
    return verdicts


def agrees(dataset: "xr.Dataset") -> bool:
    """Whether no simulation leaves the tolerance around its closed form."""
    return all(verdict is not False for verdict in agreement(dataset).values())


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def summary(dataset: "xr.Dataset") -> dict[str, Any]:
    """The numbers of a comparison as plain values, ready for JSON (None for what is missing).

    Args:
        dataset: what ``compare`` returned, or the same read from its file.

    Returns:
        ``{"setting", "initial", "horizon", "tolerance", "agrees", "rows"}``; a row for each
        paradigm and method that was computed: ``{"paradigm", "title", "method", "reference",
        "agrees", "deviation": {quantity: largest}, "drift", "time_to_focus": {"0.5": t, ...},
        "final": {quantity: value}, "note"}``.
    """
    verdicts = agreement(dataset)
    names = [str(q) for q in dataset["quantity"].values]
    rows = []
    for label in dataset["paradigm"].values:
        for method in dataset["method"].values:
            cell = dataset.sel({"paradigm": label, "method": method})
            if not bool(cell["computed"]):
                continue
            rows.append(
                {
                    "paradigm": str(label),
                    "title": str(cell["title"].item()),
                    "method": str(method),
                    "reference": str(cell["reference"].item()),
                    "agrees": verdicts[str(label)] if method == "simulation" else None,
                    "deviation": {
                        name: _plain(cell["max_deviation"].sel(quantity=name)) for name in names
                    },
                    "drift": _plain(cell["max_drift"]),
                    "time_to_focus": {
                        f"{level:g}": _plain(cell["time_to_focus"].sel(focus_level=level))
                        for level in dataset["focus_level"].values
                    },
                    "final": {
                        name: _plain(cell[name][-1])
                        for name in map(str, dataset["quantity"].values)
                    },
                    "note": str(cell["note"].item()),
                }
            )
    return {
        "setting": json.loads(dataset.attrs["setting"]),
        "initial": [float(v) for v in np.atleast_1d(dataset.attrs["initial"])],
        "horizon": float(dataset["time"][-1]),
        "tolerance": float(dataset.attrs["tolerance"]),
        "agrees": agrees(dataset),
        "rows": rows,
    }


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


def _entries(given: Any) -> dict[str, Paradigm | Schedule]:
    alone = isinstance(given, str | Paradigm | Schedule)
    each = [given] if alone else listed("paradigms", given, "paradigms")
    if not each:
        raise SettingError("paradigms must name at least one paradigm, got none")
    entries: dict[str, Paradigm | Schedule] = {}
    for one in each:
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
    each = (given,) if isinstance(given, str) else listed("methods", given, "methods")
    if not each:
        raise SettingError(f"methods must name at least one of {', '.join(METHODS)}, got none")
    for name in each:
        if name not in METHODS:
            raise SettingError(f"unknown method {name!r}{nearest(str(name), list(METHODS))}")
    if len(set(each)) < len(each):
        raise SettingError(f"methods must differ, got {', '.join(each)}")
    return tuple(name for name in METHODS if name in each)


def _options(
    given: Mapping[str, Mapping[str, Any]] | None, methods: Sequence[str], tolerance: float
) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {name: {} for name in methods}
    if "simulation" in options:
        # a step's error is to stay well below what is to be seen, and above rounding
        rtol = max(min(1e-10, 1e-2 * tolerance), 1e-14)
        options["simulation"] = {"rtol": rtol, "atol": 1e-2 * rtol}
    if not isinstance(given, Mapping | None):
        raise SettingError(f"options must be arguments by method, got {given!r}")
    for name, more in (given or {}).items():
        if name not in options:
            raise SettingError(f"options must be for one of {', '.join(methods)}, got {name!r}")
        known = _arguments(name)
        for argument in more:
            if argument not in known:
                raise SettingError(
                    f"{name} has no argument {argument!r}{nearest(str(argument), list(known))}"
                )
        options[name].update(more)
    if "finite steps" in options:
        followed = {**_descended(), **options.get("descent", {})}
        steps = {name: followed[name] for name in STEPS}
        options["finite steps"] = {**steps, **options["finite steps"]}
    return options


def _descended() -> dict[str, Any]:
    """The arguments of descent's steps as they are by default."""
    known = _arguments("descent")
    return {name: known[name].default for name in STEPS}


def _arguments(method: str) -> Mapping[str, inspect.Parameter]:
    """What the function behind a method takes."""
    module, function = _HOMES[method]
    return inspect.signature(getattr(import_module(module), function)).parameters


def _step(options: Mapping[str, Mapping[str, Any]]) -> float:
    """The time that passes in a step of descent: by what is given, or its own defaults."""
    rate, momentum, nesterov = ({**_descended(), **options["descent"]}[name] for name in STEPS)
    from attnflow.numeric.steps import check_steps  # with JAX, which descent loads anyway

    check_steps(rate, momentum, nesterov)
    return float(rate) / (1 - float(momentum))


def _check_whole_steps(times: np.ndarray, step: float) -> None:
    steps = times / step
    off = np.abs(steps - np.rint(steps)) > 1e-9 * np.maximum(steps, 1.0)
    if off.any():
        raise SettingError(
            f"times must be whole multiples of the learning rate {step:g} for descent (with "
            f"momentum p, of rate/(1 - p)), got {times[off][0]:g}"
        )


def _start(initial: Sequence[float]) -> tuple[float, float]:
    if np.shape(initial) != (2,):
        raise SettingError(f"initial must be a pair (mu, nu) of numbers, got {initial!r}")
    mu0, nu0 = check_start(initial)
    return float(mu0), float(nu0)
