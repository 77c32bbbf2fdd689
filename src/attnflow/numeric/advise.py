"""``advise``: what the simple setting says of a training run before it is begun.

Times of the flow become steps and epochs by t = step x learning rate/(1 - momentum). What real
networks add to it is measured (docs/results-cifar.md) and said in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnflow.errors import SettingError
from attnflow.numeric.best_schedule import best_schedule, best_switch, distinct
from attnflow.numeric.events import one_problem, time_to_focus
from attnflow.numeric.stability import max_learning_rate
from attnflow.numeric.steps import check_momentum
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check_count, check_number, positive
from attnflow.symbolic.paradigm import Paradigm
from attnflow.tabled import Tabled

if TYPE_CHECKING:
    import pandas as pd

ONSET = 0.5
"""The focus weight at which the focus is said to set in."""

STATES = 257
"""How many states of a trajectory are asked for the largest stable learning rate."""

FAVOURITE = "lvml"
"""What won or tied on real networks with five segments, at every size and rate measured."""

PRACTICE = (
    "On CIFAR-10 mosaics of five segments LVML won or tied in focus and accuracy at every size and "
    "rate measured, and held over 150 epochs at a rate at which soft attention came apart with "
    "every seed; with twenty and few mosaics soft attention set in first.",
    "Hard attention's loss is linear in the focus weights, so in real networks its scores grow "
    "without bound, and at the rate that suits soft attention training comes apart: give the focus "
    "a tenth of it, also after a switch to hard attention.",
    "A tenth of all rates for the last third added 2 to 3 points. With it, soft then hard "
    "attention ends 2 to 5 points above soft attention in accuracy by argmax, 1 below by pooled; "
    "LVML throughout is better.",
    "Read a classifier by the rule of its paradigm: pooled for soft attention, which loses points "
    "by argmax; argmax for hard attention; mixture for LVML.",
)
"""What practice adds to theory, in the order of its weight."""


@dataclass(frozen=True)
class Clock:
    """How a run of gradient descent passes the time of the flow.

    Attributes:
        step: time of a step, learning rate/(1 - momentum).
        steps_per_epoch: None where the number of inputs or the batch is not known.
        epochs: of the run, or None.
    """

    step: float
    steps_per_epoch: int | None = None
    epochs: int | None = None

    @property
    def end(self) -> float | None:
        """The time at which the run ends, where that is known."""
        if self.steps_per_epoch is None or self.epochs is None:
            return None
        return self.step * self.steps_per_epoch * self.epochs

    def at(self, time: float) -> dict[str, float | None]:
        """A time as t, steps and epochs; the last None where an epoch's length is not known."""
        steps = time / self.step
        each = self.steps_per_epoch
        return {"t": time, "steps": steps, "epochs": None if each is None else steps / each}

    def words(self, time: float) -> str:
        """A time as one says it: "1,234 steps (11 epochs)"."""
        if not math.isfinite(time):
            return "no number of steps"
        steps = time / self.step
        text = f"{math.ceil(steps):,} steps"
        if self.steps_per_epoch is None:
            return text
        return f"{text} ({steps / self.steps_per_epoch:.3g} epochs)"


@dataclass(frozen=True)
class Forecast:
    """What theory expects of a paradigm or a schedule.

    Attributes:
        schedule: the schedule, its switches at times t = step x learning rate/(1 - momentum).
        onset: when alpha passes 1/2.
        reached: when alpha reaches the target; infinite if never.
    """

    schedule: Schedule
    onset: float
    reached: float

    @property
    def switches(self) -> tuple[float, ...]:
        """The times at which one paradigm gives way to the next."""
        return tuple(float(end) for _, end in self.schedule.parts[:-1])


@dataclass(frozen=True)
class Advice(Tabled):
    """What ``advise`` says; printed, it is one screen.

    Attributes:
        recommendation: one sentence.
        max_learning_rate: the largest at which every step of what is recommended is stable, up to
            the target or the run's end; NaN where it has neither.
        stability: one sentence on how the given learning rate compares with it.
        setting: the simple setting that stands for the task.
        target: the focus weight to reach.
        clock: how the run passes time.
        forecasts: each paradigm alone and the best schedules, the soonest first.
        notes: what practice adds.
    """

    recommendation: str
    max_learning_rate: float
    stability: str
    setting: Setting
    target: float
    clock: Clock
    forecasts: tuple[Forecast, ...]
    notes: tuple[str, ...] = PRACTICE

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON; what never happens is null."""

        def at(time: float) -> dict[str, float | None] | None:
            return self.clock.at(time) if math.isfinite(time) else None

        def finite(value: float) -> float | None:
            return value if math.isfinite(value) else None

        end = self.clock.end
        return {
            "recommendation": self.recommendation,
            "max_learning_rate": finite(self.max_learning_rate),
            "stability": self.stability,
            "setting": self.setting.as_dict(),
            "target": self.target,
            "run": None if end is None else self.clock.at(end),
            "forecasts": [
                {
                    "schedule": ",".join(forecast.schedule.names),
                    "switches": [at(time) for time in forecast.switches],
                    "onset": at(forecast.onset),
                    "reached": at(forecast.reached),
                    "in_time": None if end is None else forecast.reached <= end,
                }
                for forecast in self.forecasts
            ],
            "notes": list(self.notes),
        }

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each forecast, the soonest first: its schedule, onset and target.

        Columns ``onset.t``, ``onset.steps`` and ``onset.epochs``, ``reached.t`` and so on:
        infinite for what never happens, epochs NaN where their length is not known.
        """
        import pandas as pd

        rows = (
            {
                "schedule": str(f.schedule),
                **{f"onset.{unit}": value for unit, value in self.clock.at(f.onset).items()},
                **{f"reached.{unit}": value for unit, value in self.clock.at(f.reached).items()},
            }
            for f in self.forecasts
        )
        return pd.DataFrame(rows)

    def rows(self) -> list[tuple[str, ...]]:
        """Schedule, switches, onset and target of each forecast, as text."""
        say = self.clock.words
        return [
            (
                ", then ".join(f.schedule.names),
                "; ".join(map(say, f.switches)) or "none",
                say(f.onset),
                say(f.reached),
            )
            for f in self.forecasts
        ]

    def __repr__(self) -> str:
        lines = [
            f"  {name}: alpha = 1/2 after {a}, {self.target:g} after {b}"
            for name, _, a, b in self.rows()
        ]
        return "\n".join([self.recommendation, *lines, self.stability])


def advise(
    setting: Setting,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    batch: int | None = None,
    train: int | None = None,
    epochs: int | None = None,
    target: float = 0.9,
    paradigms: Sequence[str | Paradigm] = ("soft", "hard", "lvml"),
) -> Advice:
    """Say which paradigm to train with, when its focus sets in, and whether the run is long enough.

    The simple setting of so many segments and classes stands for the task; its times are orders of
    magnitude for real networks, its comparisons are sharp.

    Args:
        setting: Setting, with the task's numbers of segments and classes.
        learning_rate: of a step, above 0.
        momentum: of the optimiser, from 0 to below 1.
        batch: inputs a step.
        train: number of training inputs; with ``batch`` it says how long an epoch is.
        epochs: of the run.
        target: the focus weight to reach.
        paradigms: what to choose from.

    Returns:
        Advice; ``recommendation`` is its one sentence.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a flow without a first integral cannot be followed so far.

    Example:
        >>> advise(Setting(5, 3), 0.05, momentum=0.9, batch=256, train=30000, epochs=40)

    Source: ``best_schedule``, ``time_to_focus``, ``max_learning_rate``;
    derivations/10_crossings_and_switching.py and 15_largest_learning_rate.py.
    """
    clock = clock_of(learning_rate, momentum, batch, train, epochs)
    one_problem(setting, target, (0.0, 0.0), "advise")
    names = distinct(paradigms, "paradigms")
    schedules = {str(p): Schedule([(p,)]) for p in names}
    if len(names) > 1:
        best = best_schedule(setting, target, names).schedule
        hard = [p for p in names if p.name == "hard"]
        for first in (p for p in names if hard and p.name != "hard"):
            pair = best_switch(setting, target, first, hard[0]).schedule
            schedules.setdefault(",".join(pair.names), pair)
        schedules.setdefault(",".join(best.names), best)
    forecasts = sorted(
        (_forecast(schedule, setting, target) for schedule in schedules.values()),
        key=lambda forecast: forecast.reached,
    )
    chosen, end = _chosen(forecasts, clock), math.inf if clock.end is None else clock.end
    last, stable = min(chosen.reached, end), math.nan
    if math.isfinite(last):
        times = np.linspace(0.0, last, STATES)
        stable = float(np.min(max_learning_rate(chosen.schedule, setting, times, momentum)))
    return Advice(
        _recommendation(chosen, clock, target),
        stable,
        _stability(chosen, stable, float(learning_rate)),
        setting,
        float(target),
        clock,
        tuple(forecasts),
    )


def clock_of(
    learning_rate: float,
    momentum: float = 0.0,
    batch: int | None = None,
    train: int | None = None,
    epochs: int | None = None,
) -> Clock:
    """How a run passes time; the arguments are those of ``advise``.

    Raises:
        SettingError: an argument is not allowed; the message names it.
    """
    rate = check_number("learning_rate", learning_rate, "a finite number above 0", positive)
    momentum = check_momentum(momentum, False)
    batch, train, epochs = (
        None if value is None else check_count(name, value)
        for name, value in (("batch", batch), ("train", train), ("epochs", epochs))
    )
    if (batch is None) != (train is None):
        raise SettingError(
            f"batch and train together say how long an epoch is, got batch = {batch} and "
            f"train = {train}"
        )
    if epochs is not None and train is None:
        raise SettingError(f"epochs need train and batch, got epochs = {epochs} alone")
    each = None if train is None or batch is None else math.ceil(train / batch)
    return Clock(rate / (1 - momentum), each, epochs)


def _forecast(schedule: Schedule, setting: Setting, target: float) -> Forecast:
    numbers = setting.numbers()
    at_start = numbers["foreground_segments"] / numbers["segments"]
    onset = 0.0 if at_start >= ONSET else float(time_to_focus(schedule, setting, ONSET))
    return Forecast(schedule, onset, float(time_to_focus(schedule, setting, target)))


def _chosen(forecasts: Sequence[Forecast], clock: Clock) -> Forecast:
    """The favourite of practice if the run is long enough for it, else the soonest of theory."""
    alone = {f.schedule.names[0]: f for f in forecasts if len(f.schedule.names) == 1}
    soonest, end = forecasts[0], clock.end
    chosen = alone.get(FAVOURITE, soonest)
    if end is not None and chosen.reached > end >= soonest.reached:
        return soonest
    return chosen


def _stability(chosen: Forecast, most: float, learning_rate: float) -> str:
    """How the learning rate compares with the largest stable one of the simple setting."""
    name = ", then ".join(chosen.schedule.names)
    if math.isnan(most):
        return f"How large steps of {name} may be is not known: the target is never reached."
    told = f"In the simple setting steps of {name} are stable up to a learning rate of {most:.3g}"
    if learning_rate > most:
        return f"{told}: at the given {learning_rate:g} they are not, and these times do not hold."
    times = f"{most / learning_rate:.3g}"
    return (
        f"{told}, {float(times):,g} times the given one; real networks, with inputs of "
        "another size, may bear less."
    )


def _recommendation(chosen: Forecast, clock: Clock, target: float) -> str:
    """What to train with, and whether the run is long enough."""
    end = clock.end
    name = ", then ".join(chosen.schedule.names)
    needs = f"its focus weight reaches {target:g} after {clock.words(chosen.reached)}"
    if end is None:
        return f"Train with {name}: in the simple setting {needs}."
    if chosen.reached <= end:
        return (
            f"Train with {name}: in the simple setting {needs}, within the {clock.words(end)} of "
            "this run."
        )
    factor = chosen.reached / end
    return (
        f"This run is too short: with {name} {needs}, and it ends after {clock.words(end)}; train "
        f"{factor:.3g} times as long, or at a learning rate as much higher if that is stable."
    )
