"""Theory over practice: the closed form laid over a run, and the reduced model fitted to one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from attnflow.errors import SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.simulate import simulate
from attnflow.numeric.trajectory import Trajectory
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.paradigm import Paradigm
from attnflow.train.fixed_focus import start_at
from attnflow.train.objective import has_theory, paradigm_of
from attnflow.train.trained import Trained

RESOLUTION = 1e-3
"""How well a curve of a network is known at best: finite steps deviate more from the flow."""
TRANSIENT = 0.2
"""What alpha or beta must change by for measurements to lie within the transient."""

QUANTITIES = ("mu", "nu", "alpha", "beta", "loss")


@dataclass(frozen=True)
class Practice:
    """A run beside the theory of its setting.

    Attributes:
        times: t = step x learning rate / (1 - momentum), of each measurement.
        measured: each quantity as the networks showed it.
        theory: the same in closed form.
        deviation: largest distance of each quantity.
        corrected: the flow corrected for the size of the steps and for momentum; None where the
            learning rate was not one and the same throughout.
        remaining: largest distance from that.
    """

    times: np.ndarray
    measured: dict[str, np.ndarray]
    theory: dict[str, np.ndarray]
    deviation: dict[str, float]
    corrected: dict[str, np.ndarray] | None = None
    remaining: dict[str, float] | None = None


def curves(rows: Sequence[dict[str, Any]], part: str = "train") -> dict[str, np.ndarray]:
    """Times and measured quantities of one run from its rows of metrics.

    Raises:
        SettingError: the set was not measured.
    """
    used = [row for row in rows if part in row["sets"]]
    if not used:
        raise SettingError(f"the run has no measurement of set {part!r}")
    names = [name for name in QUANTITIES if name in used[0]["sets"][part]]
    found = {name: np.array([row["sets"][part][name] for row in used]) for name in names}
    return {"times": np.array([row["time"] for row in used]), **found}


def schedule_of(
    rows: Sequence[dict[str, Any]], known: Mapping[str, Paradigm] | None = None
) -> Schedule:
    """The symbolic paradigms that a run went through, with the times at which it switched."""
    parts: list[tuple[Paradigm, float | None]] = []
    last = 0.0
    for row in rows:
        one = paradigm_of(row["paradigm"], known)
        if parts and parts[-1][0] != one:
            parts[-1] = (parts[-1][0], last)
        if not parts or parts[-1][0] != one:
            parts.append((one, None))
        last = row["time"]
    return Schedule(parts)


def rows_of(trained: Trained, replica: int = 0) -> list[dict[str, Any]]:
    """The rows of metrics of one of the runs trained at once."""
    chosen = trained.engine.run.replicas[replica].as_row()
    return [row for row in trained.rows if chosen.items() <= row.items()]


def has_curves(trained: Trained) -> bool:
    """Whether ``theory_over_practice`` has curves of a run, under all that it went through."""
    named = any("." in rate.unit for stage in trained.schedule.stages for rate in stage.rates)
    known = trained.engine.run.known
    told = all(has_theory(row["paradigm"], known) for row in trained.rows)
    measured = any("train" in row["sets"] for row in trained.rows)
    return trained.engine.exact and told and measured and not named


def theory_over_practice(trained: Trained, replica: int = 0) -> Practice:
    """The closed form over what a run in the simple setting measured.

    The networks are linear and start from zero. Steps on the exact population deviate from the
    flow in proportion to the learning rate, and from the corrected flow to its square.

    Raises:
        SettingError: the task is not the simple setting, the networks do not start from zero, or
            the optimiser does not go down the gradient.
    """
    engine = trained.engine
    setting = engine.task.setting
    if setting is None or not engine.exact:
        raise SettingError(
            "theory has curves for the simple setting only: the orthogonal task with networks "
            f"linear-zero, trained by sgd, got {engine.task.name} with {engine.run.networks}, "
            f"trained by {engine.run.optimizer}"
        )
    for rate in (rate for stage in trained.schedule.stages for rate in stage.rates):
        if "." in rate.unit:
            raise SettingError(f"theory has one learning rate for both networks, got {rate}")
    rows = rows_of(trained, replica)
    found = curves(rows)
    times = found.pop("times")
    alpha, known = engine.run.replicas[replica].focus, engine.run.known
    start, freeze = (0.0, 0.0), None
    if alpha is not None:
        start, freeze = start_at(alpha, setting), "focus"
        found.pop("nu")  # the focus network is not asked
    # a row at a switch was measured under the paradigm that led to it
    schedule = schedule_of(rows, known)
    used = [row for row in rows if "train" in row["sets"]]
    each = [paradigm_of(row["paradigm"], known) for row in used]

    def curves_of(path: Trajectory) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        before = np.minimum(np.asarray(path.stage), _stages(each, path.paradigms))
        path = replace(path, stage=before)
        shown = {name: np.asarray(getattr(path, name)) for name in found}
        return shown, {n: float(np.max(np.abs(found[n] - shown[n]))) for n in found}

    theory = curves_of(solve(schedule, setting, times, start, freeze))
    corrected: tuple[Any, Any] = (None, None)
    steps = engine.steps * np.array([row["epoch"] for row in used])
    momentum = engine.run.momentum or 0.0
    rate = engine.run.replicas[replica].rate
    steady = not any(stage.fresh for stage in engine.run.schedule.stages)
    if steady and np.allclose(times, steps * rate / (1 - momentum), rtol=1e-6):
        how = {"learning_rate": rate, "momentum": momentum}
        corrected = curves_of(simulate(schedule, setting, times, start, freeze, **how))
    return Practice(times, found, *theory, *corrected)


def _stages(each: Sequence[Paradigm], order: Sequence[Paradigm]) -> np.ndarray:
    """The part of a schedule that each paradigm of a sequence belongs to."""
    stage, found = 0, []
    for one in each:
        while order[stage] != one:
            stage += 1
        found.append(stage)
    return np.array(found)


@dataclass(frozen=True)
class Fit:
    """The reduced model that explains a run best.

    Attributes:
        classes: effective number of classes, a real number above 1.
        focus_rate: effective rate of the focus, in units of the learning rate.
        classifier_rate: effective rate of the classifier.
        intervals: of the three numbers, by name: where each lies with 95 % confidence if the
            residuals are Gaussian; correlation from one measurement to the next is allowed for, and
            curves count as known to no better than ``RESOLUTION``.
        explained: share of the variance of alpha and beta that the model explains, by name; below
            zero, their means describe them better than the model.
        times: of the measurements.
        measured: alpha and beta as measured.
        fitted: alpha and beta of the model.
        curves: times from zero to the end, and alpha and beta of the model there.
    """

    classes: float
    focus_rate: float
    classifier_rate: float
    intervals: dict[str, tuple[float, float]]
    explained: dict[str, float]
    times: np.ndarray
    measured: dict[str, np.ndarray]
    fitted: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Numbers that the measurements cannot tell: intervals of more than a factor of two."""
        return tuple(name for name, (low, high) in self.intervals.items() if high > 2 * low)

    @property
    def doubt(self) -> str:
        """Why some numbers mean little, as a sentence; empty if all are told by the data."""
        if not self.undetermined:
            return ""
        numbers = " and ".join(name.replace("_", " ") for name in self.undetermined)
        text = f"The measurements cannot tell the effective {numbers}"
        moved = {name: np.ptp(values) for name, values in self.measured.items()}
        if max(moved.values()) < TRANSIENT:
            early = abs(self.measured["alpha"][-1] - self.curves["alpha"][0]) < TRANSIENT
            place, which, side = (-1, "last", "before") if early else (0, "first", "past")
            held = ", ".join(
                f"{name} {values[place]:.2g}" for name, values in self.measured.items()
            )
            what = (
                "train for longer, or by a larger learning rate"
                if early
                else "measure earlier, by a smaller learning rate or more epochs within it"
            )
            text += (
                f": all lie {side} the transient (the {which}, at t = {self.times[place]:.3g}, has "
                f"{held}); {what}"
            )
        return f"{text}."

    @property
    def distance(self) -> dict[str, float]:
        """Root mean square of the distances of alpha and beta, by name."""
        return {
            name: float(np.sqrt(np.mean((self.fitted[name] - values) ** 2)))
            for name, values in self.measured.items()
        }


def fit_run(trained: Trained, replica: int = 0, part: str = "train") -> Fit:
    """``fit`` of one of the runs trained at once.

    Raises:
        SettingError: its focus is held, the set was not measured, or fewer than four times.
    """
    held = trained.engine.run.replicas[replica].focus
    if held is not None:
        raise SettingError(
            f"a fit needs a run whose focus learns, got one whose focus weight is held at {held:g}"
        )
    known = trained.engine.run.known
    rows, numbers = rows_of(trained, replica), trained.engine.task.setting_of_fit.numbers()
    return fit(rows, numbers["segments"], numbers["classes"], part, known=known)


def fit(
    rows: Sequence[dict[str, Any]],
    segments: int,
    classes: int,
    part: str = "train",
    *,
    known: Mapping[str, Paradigm] | None = None,
) -> Fit:
    """Fit effective rates and class count of the reduced model to a run's alpha and beta.

    Least squares over both curves, from several starts; m is kept.

    Args:
        rows: metrics of one run.
        segments: m.
        classes: C of the task, where the search begins.
        part: the set whose curves are fitted.
        known: the run's custom paradigms by name.

    Raises:
        SettingError: fewer than four measurements, or no true segment is known.
    """
    found = curves(rows, part)
    times = found["times"]
    if "alpha" not in found:
        raise SettingError(f"a fit needs true segments, and of set {part!r} none is known")
    if len(times) < 4:
        raise SettingError(f"a fit needs at least 4 measurements, got {len(times)}")
    return fit_curves(
        schedule_of(rows, known), times, found["alpha"], found["beta"], segments, float(classes)
    )


def fit_curves(
    schedule: Schedule,
    times: Any,
    alpha: Any,
    beta: Any,
    segments: int,
    classes: float,
) -> Fit:
    """``fit`` for curves given as arrays."""
    from scipy.optimize import least_squares

    template = Setting(segments, 2)
    names = list(template.numbers())
    _, structure = jax.tree.flatten(template)

    def model(point: Any, times: Any = times) -> tuple[np.ndarray, np.ndarray]:
        numbers = dict(template.numbers())
        numbers["classes"] = 1.0 + math.exp(point[0])
        numbers["focus_rate"], numbers["classifier_rate"] = np.exp(point[1:])
        # as a tree, since an effective number of classes need not be whole
        setting = jax.tree.unflatten(structure, [float(numbers[n]) for n in names])
        path = solve(schedule, setting, times)
        return np.asarray(path.alpha), np.asarray(path.beta)

    def distance(point: Any) -> np.ndarray:
        ours = model(point)
        return np.concatenate([ours[0] - alpha, ours[1] - beta])

    bounds = (np.array([-3.0, -12.0, -12.0]), np.array([9.0, 12.0, 12.0]))
    tries = []
    for speed in (-4.0, 0.0, 4.0):
        start = np.array([math.log(max(classes - 1.0, 0.1)), speed, speed])
        tries.append(least_squares(distance, start, bounds=bounds, xtol=1e-12, ftol=1e-12))
    best = min(tries, key=lambda one: one.cost)
    ours: dict[str, np.ndarray] = dict(zip(("alpha", "beta"), model(best.x), strict=True))
    dense = np.linspace(0, np.max(times), 400)
    curves = dict(zip(("times", *ours), (dense, *model(best.x, dense)), strict=True))
    theirs = {"alpha": np.asarray(alpha), "beta": np.asarray(beta)}
    explained = {
        name: 1.0 - float(np.sum((ours[name] - values) ** 2) / _spread(values))
        for name, values in theirs.items()
    }
    low, high = np.exp(_interval(best.x, best.jac, best.fun, bounds))
    low[0], high[0] = 1.0 + low[0], 1.0 + high[0]
    named = ("classes", "focus_rate", "classifier_rate")
    intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(named)}
    classes = 1.0 + math.exp(best.x[0])
    focus, classifier = np.exp(best.x[1:]).tolist()
    return Fit(
        classes, focus, classifier, intervals, explained, np.asarray(times), theirs, ours, curves
    )


def _interval(
    point: np.ndarray, jacobian: np.ndarray, residuals: np.ndarray, bounds: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % intervals of least squares by its linearisation at the best point."""
    from scipy.stats import t

    free = max(len(residuals) - len(point), 1)
    both = residuals.reshape(2, -1)  # of alpha and beta
    total = max(float(np.sum(both**2)), 1e-300)
    # of an AR(1) sequence; its means vary so much more than those of independent numbers
    correlation = min(max(float(np.sum(both[:, 1:] * both[:, :-1])) / total, 0.0), 0.9)
    variance = max(total / free, RESOLUTION**2) * (1 + correlation) / (1 - correlation)
    _, sizes, axes = np.linalg.svd(jacobian, full_matrices=False)
    spread = np.sqrt(variance * np.sum((axes.T / np.maximum(sizes, 1e-12)) ** 2, axis=1))
    reach = float(t.ppf(0.975, free)) * spread
    return np.maximum(point - reach, bounds[0]), np.minimum(point + reach, bounds[1])


def _spread(values: np.ndarray) -> float:
    total = float(np.sum((values - np.mean(values)) ** 2))
    return total if total > 0 else math.nan
