"""Trains a run from beginning to end, or from where it was interrupted, bit for bit."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from attnflow.errors import SettingError
from attnflow.schedule import Amount, Schedule
from attnflow.train import parallel
from attnflow.train.config import Training, from_dict
from attnflow.train.epoch import diverged
from attnflow.train.known_truth import any_known
from attnflow.train.networks.contract import find_pair
from attnflow.train.networks.named import OWN, Pair
from attnflow.train.objective import Loss, Objective, objective
from attnflow.train.parallel import once
from attnflow.train.program import Engine, build
from attnflow.train.run_folder import RunFolder
from attnflow.train.tasks import TASKS, Task, task

Progress = Callable[[int, int, list[dict[str, Any]]], None]
"""(epochs done, epochs in all, the rows of the last one) -> None."""


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes:
        engine: the compiled functions, with task and config.
        state: weights and optimiser after the last epoch, with a leading axis of runs.
        rows: metrics, one row an epoch and run.
        folder: where the run is on disk, or None.
        stage: the part of the schedule that it ended in, from 0.
        schedule: with the switch time that theory proposed; None if not asked for.
    """

    engine: Engine
    state: Any
    rows: list[dict[str, Any]]
    folder: RunFolder | None = None
    stage: int = 0
    schedule: Schedule | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know of this run: of its inputs, and of its schedule."""
        schedule = self.schedule or self.engine.run.schedule
        return (*self.engine.task.remarks, *schedule.unreached(self.stage))


OPTIONS: dict[str, tuple[str, ...]] = {
    "segments": ("digits", "orthogonal", "cifar10", "cifar100"),
    "classes": ("orthogonal",),
    "train": tuple(TASKS),
    "heldout": tuple(TASKS),
    "test": ("digits", "cifar10", "cifar100", "hatexplain"),
    "data": ("cifar10", "cifar100", "hatexplain"),
    "label": ("hatexplain",),
    "rationale": ("hatexplain",),
    "min_count": ("hatexplain",),
    "max_length": ("hatexplain",),
}
"""Entries of a config that say what the inputs are -> the tasks that have them."""


def task_of(run: Training) -> Task:
    """The task that a config names.

    Raises:
        SettingError: the task has not what an entry is about; or as ``attnflow.train.tasks.task``.
        MissingPart, DataError: as ``attnflow.train.tasks.task``.
    """
    options = {name: getattr(run, name) for name in OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    for name, value in options.items():
        if run.task in TASKS and run.task not in OPTIONS[name]:
            *some, last = OPTIONS[name]
            which = f"{', '.join(some)} and {last}" if some else f"the {last} task"
            raise SettingError(f"{name} is for {which} only, got {value!r} with {run.task}")
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
        task: a task of one's own in place of the config's.
        networks: a maker of networks of one's own in place of the config's, where they are then
            called "own"; ``load`` needs it again.
        losses: custom losses by the names that the config's paradigm uses; each takes log-weights
            [B, m], logits [B, m, C] and labels [B], and gives a loss an input [B].
        resume: go on with the run in ``out``; it ends with the weights of an unbroken run. Where
            nothing is there yet, it starts. The number of devices may have changed: from there on
            the weights are then equal to rounding.
        devices: how many share the work; None for all.
        tensorboard: write logs for TensorBoard too.
        progress: called after each epoch.

    Returns:
        The trained state, the metrics, and the engine that evaluates them.

    Raises:
        SettingError: the config does not hold together, or is not that of the folder's run.
        TrainingFailed: the loss was not finite or diverged; the last good checkpoint stays.
        MissingPart, DataError: data or an optional part are missing, or data damaged.
    """
    if networks is not None and (run is not None or not resume):
        run = replace(run or Training(), networks=OWN)
    folder = None if out is None else RunFolder(out)
    with nullcontext() if folder is None else closing(folder):
        return _train(run, folder, task, networks, losses, resume, devices, tensorboard, progress)


def _train(
    run: Training | None,
    folder: RunFolder | None,
    task: Task | None,
    networks: Pair | None,
    losses: Mapping[str, Loss] | None,
    resume: bool,
    devices: int | None,
    tensorboard: bool,
    progress: Progress | None,
) -> Trained:
    begun = folder is not None and resume and once(folder.exists)
    if folder is not None and not begun:
        once(folder.check_unbegun)  # before the work
    if folder is not None and begun:
        once(folder.lock)
        kept = from_dict(once(lambda: folder.config().as_dict()))
        if run is not None and run.resolved() != kept:
            raise SettingError(
                f"{str(folder.path)!r} holds a run with another config: resume it without options"
            )
        run = kept
    run = (run or Training()).resolved()
    schedule = run.schedule
    objectives = [objective(name, losses, run.known) for name in schedule.names]
    made = task if task is not None else task_of(run)
    if folder is not None and begun:
        once(partial(folder.check_data, made.fingerprint(), training=True))
    schedule = _at_theorys_time(schedule, objectives, made, run)
    shared = parallel.devices(devices)
    _comparable(run, schedule)
    _knowable(run, schedule, made)
    pair = networks or find_pair(run.networks or "linear")
    engine = build(made, run, pair, shared)
    state, stage, first = engine.start(pair), 0, 0
    rows: list[dict[str, Any]] = []
    if folder is not None and not begun:
        from attnflow.environment import report

        record = {
            **report(),
            "shared_by": shared.count,
            "processes": jax.process_count(),
            "data": made.fingerprint(),
        }
        once(lambda: folder.begin(run, record, tensorboard=tensorboard))
    if folder is not None and begun:
        state, stage, first, rows = _restored(folder, state, engine, tensorboard)
    writes = folder is not None and parallel.first()
    for epoch in range(first, run.epochs or 1):
        stage = _stage(run, schedule, stage, epoch, rows, engine)
        state, new = _epoch(engine, objectives[stage], state, epoch)
        rows += new
        done = epoch + 1
        if folder is not None and writes:
            folder.append(new)
            if done % run.checkpoint_every == 0 or done == run.epochs:
                folder.save(state, done, {"stage": stage}, _score(new))
        if progress is not None:
            progress(done, run.epochs or 1, new)
    return Trained(engine, state, rows, folder, stage, schedule)


def _restored(
    folder: RunFolder, state: Any, engine: Engine, tensorboard: bool
) -> tuple[Any, int, int, list[dict[str, Any]]]:
    """(state, stage, epochs done, rows) where an interrupted run stopped, in every process."""
    held = jax.tree.map(np.asarray, state)

    def restore() -> dict[str, Any]:
        nonlocal held
        found = folder.restore(state)
        stage, epoch = 0, 0
        if found is not None:
            held, record, epoch = found
            stage = int(record["stage"])
        rows = folder.keep_metrics(epoch, tensorboard=tensorboard)
        return {"stage": stage, "epoch": epoch, "rows": rows}

    found = once(restore)
    state = engine.devices.put(parallel.spread_from_first(held))
    return state, found["stage"], found["epoch"], found["rows"]


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


def _stage(
    run: Training,
    schedule: Schedule,
    stage: int,
    epoch: int,
    rows: list[dict[str, Any]],
    engine: Engine,
) -> int:
    """Which part of the schedule the next epoch belongs to."""
    rate = (run.learning_rates or (0.0,))[0]
    last = [row["alpha"] for row in rows if row["epoch"] == epoch and row["alpha"] is not None]
    passed = engine.time_after(epoch, rate)
    focus = float(np.mean(last)) if last else -math.inf
    reached = {"epoch": epoch, "alpha": focus, "t": passed, "theory": passed}
    return schedule.stage_at(stage, reached)


def _epoch(
    engine: Engine, objective: Objective, state: Any, epoch: int
) -> tuple[Any, list[dict[str, Any]]]:
    """One epoch for all runs, and its rows."""
    run = engine.run
    began = time.perf_counter()
    state, stream = engine.epoch(objective, state, epoch)
    stream = {name: np.asarray(values) for name, values in stream.items()}
    seconds = time.perf_counter() - began
    _stop_if_bad(engine, stream["bad"], objective)
    done = epoch + 1
    sets = {}
    if done % run.measure_every == 0 or done == run.epochs:
        found = engine.measure(state, objective)
        sets = {s: {k: np.asarray(v) for k, v in part.items()} for s, part in found.items()}
    rows = []
    count, told = len(engine.task.sets["train"]), any_known(engine.task.sets["train"])
    for replica, which in enumerate(run.replicas):
        rows.append(
            {
                "epoch": done,
                **which.as_row(),
                "paradigm": objective.name,
                "step": done * engine.steps,
                "time": engine.time_after(done, which.rate),
                "loss": float(stream["loss"][replica]),
                "alpha": float(stream["alpha"][replica]) if told else None,
                "sets": {
                    s: {k: float(v[replica]) for k, v in part.items()} for s, part in sets.items()
                },
                "seconds": seconds,
                "inputs_per_second": (run.passes or 1) * count / seconds,
            }
        )
    return state, rows


def _stop_if_bad(engine: Engine, bad: np.ndarray, objective: Objective) -> None:
    momentum = engine.run.momentum
    or_else = f", or less momentum than {momentum:g}" if momentum else ""
    for (seed, rate, _), step in zip(engine.run.replicas, bad.tolist(), strict=True):
        if step >= 0:
            raise diverged(objective.name, step, seed, rate, or_else)


def _score(rows: list[dict[str, Any]]) -> float:
    """What makes a checkpoint the best: held-out accuracy, else a low loss."""
    accuracies = [row["sets"]["heldout"]["accuracy"] for row in rows if "heldout" in row["sets"]]
    return float(np.mean(accuracies or [-row["loss"] for row in rows]))
