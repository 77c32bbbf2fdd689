"""Trains a focus and a classification network: what a config needs, and how an epoch goes."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from attnflow.errors import SettingError
from attnflow.schedule import Amount, Schedule, Stage
from attnflow.train import parallel
from attnflow.train.config import Training
from attnflow.train.engine import Engine, build
from attnflow.train.epoch import diverged
from attnflow.train.known_truth import any_known
from attnflow.train.logs import LEARNING_COLUMNS
from attnflow.train.networks.contract import find_pair
from attnflow.train.networks.named import OWN, Pair
from attnflow.train.objective import Loss, Objective, goals_of
from attnflow.train.run_folder import PLAIN, RunFolder
from attnflow.train.running import (
    Made,
    Point,
    Progress,
    RunKind,
    Trainer,
    run_to_end,
    with_maker,
)
from attnflow.train.shared_config import CUSTOM, IMAGES
from attnflow.train.tasks import Task, task
from attnflow.train.trained import Trained


def task_of(run: Training) -> Task:
    """The task that a config names.

    Raises:
        SettingError: the task was given as an object; or as ``attnflow.train.tasks.task``.
        MissingPart, DataError: as ``attnflow.train.tasks.task``.
    """
    if run.task == CUSTOM:
        raise SettingError("the run's task is custom: give it again, as task=TASK")
    named = [one.name for one in fields(run) if one.metadata["entry"].tasks]
    options = {name: getattr(run, name) for name in ("train", "heldout", *named)}
    if run.fresh and run.task in IMAGES:
        options["fresh"] = True
    return task(run.task, seed=run.data_seed, **options)


def train(
    run: Training | None = None,
    out: str | Path | None = None,
    *,
    task: Task | None = None,
    networks: Pair | None = None,
    losses: Mapping[str, Loss] | None = None,
    resume: bool = False,
    devices: int | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train a focus and a classification network together.

    Batches are spread over all devices. Where several processes were joined (``parallel.join``),
    all call this alike, and the first one reads and writes ``out``.

    Args:
        run: the config; None with ``resume`` takes the folder's own.
        out: folder of the run; None keeps nothing on disk.
        task: a task in place of the config's, which then calls it "custom"; its defaults hold.
        networks: a maker of networks of one's own in place of the config's, where they are then
            called "own"; ``load`` needs it again.
        losses: custom losses by the names that the config's paradigm uses; each takes log-weights
            [B, m], logits [B, m, C] and labels [B], and gives a loss an input [B].
        resume: go on with the run in ``out``; it ends with the weights of an unbroken run. Where
            nothing is there yet, it starts. The number of devices may have changed: from there on
            the weights are then equal to rounding.
        devices: how many share the work; None for all.
        tensorboard: write logs for TensorBoard too.
        progress: called after each epoch with (epochs done, epochs in all, what is known): a
            dict of paradigm, epoch, loss, alpha, inputs_per_second, and metrics, of each run that
            trains a flat dict of all that was measured, as "heldout.alpha".

    Returns:
        The trained state, the metrics, and the engine that evaluates them.

    Raises:
        SettingError: the config does not hold together, or is not that of the folder's run.
        TrainingFailed: the loss was not finite or diverged; the last good checkpoint stays.
        MissingPart, DataError: data or an optional part are missing, or data damaged.
    """
    if networks is not None and (run is not None or not resume):
        run = replace(run or Training(), networks=OWN)
    if task is not None and (run is not None or not resume):
        run = (run or Training()).at(task)
    kind = with_maker(KIND, task=task, networks=networks, losses=losses)
    return run_to_end(
        kind,
        run,
        out,
        resume=resume,
        devices=devices,
        tensorboard=tensorboard,
        progress=progress,
    )


def _make(
    run: Training,
    _: RunFolder | None,
    devices: parallel.Devices,
    *,
    task: Task | None = None,
    networks: Pair | None = None,
    losses: Mapping[str, Loss] | None = None,
    opening: bool = False,
) -> Made:
    """What trains a run, or opens one that was trained."""
    schedule, goals = run.schedule, goals_of(run, losses, opening=opening)
    made = task if task is not None else task_of(run)
    if not opening:
        schedule = _at_theorys_time(schedule, goals, made, run)
        _comparable(run, schedule)
        _knowable(run, schedule, made)
    if run.fresh and made.pool is None:
        raise SettingError(
            "fresh is for tasks that say which images their mosaics are drawn from (digits, "
            f"cifar10, cifar100, or a Task with a pool) only, got {made.name}"
        )
    pair = networks or find_pair(run.networks or "linear")
    engine = build(made, run, pair, devices)
    engine.check_rates(schedule, engine.divided)
    return Made(PairTrainer(engine), goals, schedule)


def _settle(run: Training, begun: bool) -> Training:
    return run if begun else run.resolved()


KIND = RunKind(PLAIN.read, PLAIN.columns, Training, _settle, _make)
"""Runs of a focus and a classification network, and how they are trained."""


class PairTrainer(Trainer):
    """Trains a focus and a classification network: an epoch is one compiled call."""

    engine: Engine

    def __init__(self, engine: Engine) -> None:
        """Train with these compiled functions."""
        self.engine, self.remarks = engine, engine.task.remarks

    def start(self) -> dict[str, Any]:
        """The state before the first step, each leaf with a leading axis of runs."""
        return self.engine.start()

    def advance(
        self, goal: Objective, state: Any, epoch: int, first: int, stage: Stage
    ) -> Iterator[Point]:
        """One epoch for all runs."""
        state, stream = self.engine.epoch(goal, state, epoch, stage)
        yield Point(1, state, self._told(goal, stream, stage))

    def _told(self, goal: Objective, stream: Any, stage: Stage) -> dict[str, np.ndarray]:
        """What steps told, on the host, once none of them has failed."""
        told, run = {n: np.asarray(v) for n, v in stream.items()}, self.engine.run
        or_else = f", or less momentum than {run.momentum:g}" if run.momentum else ""
        for (seed, rate, _), step in zip(run.replicas, told["bad"].tolist(), strict=True):
            if step >= 0:
                raise diverged(goal.name, step, seed, stage.rate("classifier", rate), or_else)
        return told

    def early(self, goal: Objective, state: Any, stage: Stage) -> Iterator[dict[str, Any]]:
        """A row a run before the first step, and after 1, 2, 4, ... steps of the first epoch."""
        engine, run = self.engine, self.engine.run
        if run.fixed_focus is not None:
            return
        doubling = [0, *(2**n for n in range((engine.steps - 1).bit_length()))]
        for step in doubling[: run.early_points]:
            # what is told of no step is what the first one met
            after, stream = engine.early(goal, state, max(step, 1), stage)
            told = self._told(goal, stream, stage)
            measured = self.measured(goal, after if step else state)
            yield from self.rows(goal, step / engine.steps, told, measured)

    def measured(self, goal: Objective, state: Any) -> Any:
        """What each set shows of the weights of each run."""
        return jax.tree.map(np.asarray, self.engine.measure(state, goal))

    def rows(self, goal: Objective, done: float, told: Any, measured: Any) -> list[dict[str, Any]]:
        """A row a run."""
        engine, known = self.engine, any_known(self.engine.task.sets["train"])
        return [
            {
                "epoch": int(done) if done == int(done) else done,
                **which.as_row(),
                "paradigm": goal.name,
                "step": round(done * engine.steps),
                "time": engine.time_after(done, which.rate),
                "loss": float(told["loss"][replica]),
                "alpha": _known(told["alpha"][replica]) if known else None,
                **{
                    name: float(told[name][replica])
                    for name in LEARNING_COLUMNS
                    if name in told and (which.focus is None or name != LEARNING_COLUMNS[0])
                },
                "sets": jax.tree.map(lambda v, r=replica: float(v[r]), measured or {}),
            }
            for replica, which in enumerate(engine.run.replicas)
        ]

    def inputs(self, first: int) -> int:
        """Inputs of an epoch, counted at each pass."""
        return 0 if first else (self.engine.run.passes or 1) * len(self.engine.task.sets["train"])

    def score(self, rows: list[dict[str, Any]]) -> float:
        """Held-out accuracy, else a low loss."""
        accuracies = [
            row["sets"]["heldout"]["accuracy"] for row in rows if "heldout" in row["sets"]
        ]
        return float(np.mean(accuracies or [-row["loss"] for row in rows]))

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of vocabulary and training inputs."""
        return self.engine.task.fingerprint()


def _at_theorys_time(
    schedule: Schedule, objectives: list[Objective], made: Task, run: Training
) -> Schedule:
    """The schedule with the time at which theory would switch, where it is to say so."""
    if "theory" not in schedule.units:
        return schedule
    if len(schedule.stages) != 2:
        raise SettingError(
            f"theory proposes one switch between two paradigms, got {len(schedule.stages)} "
            "paradigms"
        )
    if run.optimizer != "sgd":
        raise SettingError(f"theory proposes a switch for the optimizer sgd, got {run.optimizer!r}")
    from attnflow.numeric.best_schedule import TARGET, best_switch

    paradigms = []
    for one in objectives:
        if one.paradigm is None:
            raise SettingError(f"theory has no switch time for a custom loss, got {one.name!r}")
        paradigms.append(one.paradigm)
    setting = made.setting or made.setting_of_fit
    time = float(best_switch(setting, TARGET, *paradigms).switch_time)
    begin, end = schedule.stages
    return Schedule([replace(begin, end=Amount("theory", time)), end])


def _comparable(run: Training, schedule: Schedule) -> None:
    """Refuse switches that would fall at different epochs in the runs trained at once."""
    if schedule.units - {"epoch"} and len(run.learning_rates or ()) > 1:
        raise SettingError(
            "several learning rates at once need switches by epoch: at one time or focus weight "
            "they would be at different epochs"
        )


def _knowable(run: Training, schedule: Schedule, made: Task) -> None:
    """Refuse what asks for the true segments of a task where none is known."""
    if any_known(made.sets["train"]):
        return
    for asked, what in (
        (run.fixed_focus, "a fixed focus"),
        ("alpha" in schedule.units, "a switch by focus"),
    ):
        if asked:
            raise SettingError(
                f"{what} needs training inputs whose true segments are known; task {made.name} has "
                "none"
            )


def _known(weight: Any) -> float | None:
    """A mean focus weight; None of no input whose true segments are known, as in a few batches."""
    return None if np.isnan(weight) else float(weight)
