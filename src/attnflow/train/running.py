"""The run loop of every task: from beginning to end, or from where it was interrupted, bit for bit.

A task brings a ``Trainer``, which advances a state through an epoch, in one call or step by step,
and measures it. Schedule, metrics, checkpoints, resuming and the run's folder are here, once.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from attnflow.errors import SettingError, warn
from attnflow.schedule import Schedule, Stage
from attnflow.train import parallel
from attnflow.train.logs import flat
from attnflow.train.objective import Objective
from attnflow.train.parallel import once
from attnflow.train.run_folder import Kind, RunFolder
from attnflow.train.source import lengthened, source_weights, with_source
from attnflow.train.trained import Trained

Progress = Callable[[int, int, dict[str, Any]], None]
"""(done, in all, what is known) -> None, called after each call of a trainer, an epoch or a step;
known are paradigm, epoch, loss, inputs_per_second and, where there is one, alpha; at the end of an
epoch also "metrics": of each run that trains, all that was measured, as "heldout.alpha"."""


class Point(NamedTuple):
    """Where a program is within an epoch.

    Attributes:
        number: of this call, from 1 to ``Trainer.calls`` at the end of the epoch.
        state: after it.
        told: what is known of it: at the end of the epoch what ``Trainer.rows`` needs.
        keep: whether a checkpoint is due.
    """

    number: int
    state: Any
    told: dict[str, Any]
    keep: bool = False


class Trainer(ABC):
    """What the run loop asks of a task: to go through an epoch, to measure, to tell.

    Attributes:
        engine: the compiled functions, with ``run`` (the config), ``devices`` and ``steps``.
        calls: calls an epoch takes, after each of which a run may be interrupted.
        remarks: what one should know of the inputs.
    """

    engine: Any
    calls: int = 1
    remarks: tuple[str, ...] = ()

    def files(self) -> dict[str, Any]:
        """What the run's folder keeps beside the config: name of the JSON file -> plain values."""
        return {}

    @abstractmethod
    def start(self) -> dict[str, Any]:
        """The state before the first step."""

    @abstractmethod
    def advance(
        self, goal: Objective, state: Any, epoch: int, first: int, stage: Stage
    ) -> Iterator[Point]:
        """Go through an epoch, of which so many calls are done already, at a stage's rates.

        Raises:
            TrainingFailed: the loss was not finite or diverged.
        """

    def early(self, goal: Objective, state: Any, stage: Stage) -> Iterator[dict[str, Any]]:
        """Metrics before the first step and within the first epoch, where they cost little."""
        return iter(())

    @abstractmethod
    def measured(self, goal: Objective, state: Any) -> Any:
        """What the sets show of the weights, for ``rows``."""

    @abstractmethod
    def rows(self, goal: Objective, done: float, told: Any, measured: Any) -> list[dict[str, Any]]:
        """Metrics after so many epochs, without the time on the clock; ``measured`` may be None."""

    @abstractmethod
    def inputs(self, first: int) -> int:
        """Inputs that are learned from in an epoch after its first calls."""

    @abstractmethod
    def score(self, rows: list[dict[str, Any]]) -> float:
        """What makes a checkpoint the best: the larger, the better."""

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of what the run rests on: "vocabulary" and "train"."""


class Made(NamedTuple):
    """What a kind of run makes of a config.

    Attributes:
        trainer: what goes through epochs.
        goals: what each stage of the schedule minimises.
        schedule: with the switch time that theory proposes, where it is to.
    """

    trainer: Trainer
    goals: list[Objective]
    schedule: Schedule


@dataclass(frozen=True)
class RunKind(Kind):
    """A kind of run, and how it is trained.

    Attributes:
        default: makes the config where none is given.
        settle: (config, whether it is that of a run that has begun) -> the config with what
            follows filled in.
        make: (config, folder of a run that has begun or None, devices) -> ``Made``.
    """

    default: Callable[[], Any]
    settle: Callable[[Any, bool], Any]
    make: Callable[..., Made]


class Place(NamedTuple):
    """Where a run is.

    Attributes:
        stage: of the schedule.
        epoch: how many are done.
        call: how many calls of the next one are done.
        rows: the metrics so far.
    """

    stage: int = 0
    epoch: int = 0
    call: int = 0
    rows: tuple[dict[str, Any], ...] = ()


def run_to_end(
    kind: RunKind,
    run: Any,
    out: str | Path | None,
    *,
    resume: bool,
    devices: int | None,
    tensorboard: bool,
    progress: Progress | None,
) -> Trained:
    """Train a run of some kind; see ``attnflow.train.loop.train``.

    Args:
        kind: says how configs are read and programs made.
        run: the config; None for the folder's own, or else the kind's default.
        out: folder of the run; None keeps nothing on disk.
        resume: go on with the run in ``out``.
        devices: how many share the work; None for all.
        tensorboard: write logs for TensorBoard too.
        progress: called after each call of the trainer.
    """
    folder = None if out is None else RunFolder(out, kind)
    with nullcontext() if folder is None else closing(folder):
        begun = folder is not None and resume and once(folder.exists)
        if folder is not None:
            once(folder.lock if begun else folder.check_unbegun)  # before the work
        run = _config(kind, run, folder if begun else None)
        made = kind.make(run, folder if begun else None, parallel.devices(devices))
        foreseen = _foreseen(made)
        place, state = Place(), made.trainer.start()
        if folder is not None and begun:
            once(partial(folder.check_data, made.trainer.fingerprint(), training=True))
        if begun or run.start_from is not None:
            place, state = _restored(folder if begun else None, made.trainer, state, tensorboard)
        if folder is not None and begun:
            once(partial(folder.lengthen, run))
        elif folder is not None:
            once(partial(_begin, folder, run, made.trainer, tensorboard))
        writes = folder if parallel.first() else None
        stage, state, rows = _loop(made, place, state, writes, progress)
        if not foreseen:  # as by the focus weight
            _warn(made.schedule.unreached(stage))
        return _trained(made, state, rows, folder, stage)


def _foreseen(made: Made) -> bool:
    """Whether it is known, and warned of, before training that the last stage will not begin."""
    last = made.trainer.engine.run.epochs - 1
    time_then = made.trainer.engine.time_after(last)
    return parallel.first() and made.schedule.warn_unreachable(last, time_then)


def _warn(sentences: tuple[str, ...]) -> None:
    for text in sentences if parallel.first() else ():
        warn(text, stacklevel=4)


def _trained(
    made: Made, state: Any, rows: list[dict[str, Any]], folder: RunFolder | None, stage: int
) -> Trained:
    trainer = made.trainer
    return Trained(
        trainer.engine, state, rows, made.goals, made.schedule, folder, stage, trainer.remarks
    )


def _config(kind: RunKind, run: Any, begun: RunFolder | None) -> Any:
    """The config of a run, which is the folder's where one has begun, or one of more epochs."""
    if begun is None:
        settled = kind.settle(kind.default() if run is None else run, False)
        return once(partial(with_source, settled))
    kept = kind.settle(kind.read(once(lambda: begun.config().as_dict())), True)
    return kept if run is None else lengthened(kept, kind.settle(run, False), begun.path)


def _begin(folder: RunFolder, run: Any, trainer: Trainer, tensorboard: bool) -> None:
    from attnflow.environment import report

    record = {
        **report(),
        "shared_by": trainer.engine.devices.count,
        "processes": jax.process_count(),
        "data": trainer.fingerprint(),
    }
    folder.begin(run, record, files=trainer.files(), tensorboard=tensorboard)


def _restored(
    folder: RunFolder | None, trainer: Trainer, state: Any, tensorboard: bool
) -> tuple[Place, Any]:
    """Where a run begins, or where it was interrupted, in every process."""
    held = jax.tree.map(np.asarray, state)

    def restore() -> dict[str, Any]:
        nonlocal held
        kept = None if folder is None else folder.restore(held)
        record: dict[str, Any] = {"stage": 0, "epoch": 0, "call": 0}
        if kept is not None:
            held, record, _ = kept
        elif trainer.engine.run.start_from is not None:
            words = trainer.fingerprint()["vocabulary"]
            found = source_weights(trainer.engine.run, held["weights"], words)
            held = {**held, "weights": found}
        rows = []
        if folder is not None:
            rows = folder.keep_metrics(record["epoch"], tensorboard=tensorboard)
        return {**{name: record[name] for name in ("stage", "epoch", "call")}, "rows": rows}

    place = Place(**once(restore))
    return place, trainer.engine.devices.put(parallel.spread_from_first(held))


def _loop(
    made: Made, place: Place, state: Any, folder: RunFolder | None, progress: Progress | None
) -> tuple[int, Any, list[dict[str, Any]]]:
    """(stage, state, rows) after the last epoch."""
    trainer, run = made.trainer, made.trainer.engine.run
    stage, rows = place.stage, list(place.rows)
    told: dict[str, Any] = {"loss": rows[-1]["loss"] if rows else math.nan}
    for epoch in range(place.epoch, run.epochs):
        first = place.call if epoch == place.epoch else 0
        if not first:
            stage, state = _next_stage(made, stage, epoch, rows, state)
        goal, now = made.goals[stage], made.schedule.stages[stage]
        if not epoch and not first:
            rows = trainer.engine.timed(
                made.schedule, now, [], list(trainer.early(goal, state, now))
            )
            if folder is not None:
                folder.append(rows)
        began = time.perf_counter()
        ahead = trainer.advance(goal, state, epoch, first, now)
        for point in ahead:
            state, done = point.state, epoch * trainer.calls + point.number
            if point.number < trainer.calls:
                if folder is not None and point.keep:
                    where = {"stage": stage, "epoch": epoch, "call": point.number}
                    folder.save(state, done, where, -point.told["loss"])
                told |= {**point.told, "paradigm": goal.name, "epoch": epoch + 1}
                passed = trainer.inputs(first) - trainer.inputs(point.number)
                told["inputs_per_second"] = passed / (time.perf_counter() - began)
                _tell(progress, done, trainer, told)
                continue
            seconds = time.perf_counter() - began
            new = _rows(trainer, goal, point, epoch + 1)
            whole = [row for row in rows if row["epoch"] >= 1]
            new = trainer.engine.timed(made.schedule, now, whole, new)
            clock = {"seconds": seconds, "inputs_per_second": trainer.inputs(first) / seconds}
            new = [{**row, **clock} for row in new]
            rows += new
            told |= {name: new[0].get(name) for name in ("paradigm", "epoch", "loss", "alpha")}
            told |= clock
            if folder is not None:
                folder.append(new)
                if (epoch + 1) % run.checkpoint_every == 0 or epoch + 1 == run.epochs:
                    where = {"stage": stage, "epoch": epoch + 1, "call": 0}
                    folder.save(state, done, where, trainer.score(new))
            _tell(progress, done, trainer, {**told, "metrics": [flat(row) for row in new]})
    return stage, state, rows


def _tell(progress: Progress | None, done: int, trainer: Trainer, told: dict[str, Any]) -> None:
    if progress is not None:
        progress(done, trainer.calls * trainer.engine.run.epochs, told)


def _rows(trainer: Trainer, goal: Objective, point: Point, done: int) -> list[dict[str, Any]]:
    run = trainer.engine.run
    due = done % run.measure_every == 0 or done == run.epochs
    measured = trainer.measured(goal, point.state) if due else None
    return trainer.rows(goal, done, point.told, measured)


def _next_stage(
    made: Made, stage: int, epoch: int, rows: list[dict[str, Any]], state: Any
) -> tuple[int, Any]:
    """The stage of the schedule that the next epoch belongs to, and the state it begins with."""
    before = [row for row in rows if row["epoch"] == epoch > 0]
    alphas = [row["alpha"] for row in before if row.get("alpha") is not None]
    passed = made.trainer.engine.time_after(epoch)
    if before and any(one.rates for one in made.schedule.stages):
        passed = rows[-1]["time"]
    focus = float(np.mean(alphas)) if alphas else -math.inf
    reached = {"epoch": epoch, "alpha": focus, "t": passed, "theory": passed}
    following = made.schedule.stage_at(stage, reached)
    if any(one.fresh for one in made.schedule.stages[stage + 1 : following + 1]):
        state = made.trainer.engine.renewed(state)
    return following, state


def load_run(kind: RunKind, path: Any, *, best: bool, devices: int | None) -> Trained:
    """A run of some kind from its folder, at its newest or best checkpoint.

    Raises:
        SettingError: there is no run, or none with a checkpoint.
        MissingPart, DataError: data or checkpoint are missing or damaged.
    """
    folder = RunFolder(path, kind)
    run = kind.settle(folder.config(), True)
    made = kind.make(run, folder, parallel.devices(devices))
    folder.check_data(made.trainer.fingerprint(), training=False)
    found = folder.restore(jax.tree.map(np.asarray, made.trainer.start()), best=best)
    if found is None:
        raise SettingError(f"{str(path)!r} holds no checkpoint yet: resume its training first")
    state, record, _ = found
    rows = [row for row in folder.metrics() if row["epoch"] <= record["epoch"]]
    stage = int(folder.newest()["stage"])  # how far the run came
    put = made.trainer.engine.devices.put(state)
    return _trained(made, put, rows, folder, stage)


def with_maker(kind: RunKind, **given: Any) -> RunKind:
    """The kind of run with more arguments for ``make``."""
    return replace(kind, make=partial(kind.make, **given))
