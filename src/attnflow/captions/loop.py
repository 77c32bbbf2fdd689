"""Trains a caption run from beginning to end, or from where it was interrupted, bit for bit."""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from attnflow.captions.coco import PARTS, Corpus, read_coco
from attnflow.captions.config import KIND, CaptionTraining
from attnflow.captions.evaluation import measure
from attnflow.captions.feature_store import open_store, recipe_of
from attnflow.captions.pipeline import ahead, batches, check_libraries
from attnflow.captions.program import CaptionEngine, build
from attnflow.captions.vocabulary import Vocabulary, load_vocabulary
from attnflow.errors import SettingError
from attnflow.train import parallel
from attnflow.train.config import from_anywhere
from attnflow.train.epoch import diverged
from attnflow.train.objective import Loss, Objective, objective
from attnflow.train.run_folder import RunFolder
from attnflow.train.tasks.task import sha256

VOCABULARY = "vocabulary.json"
WATCHED = 50
"""Steps between looks at the loss, which wait for the device."""

Progress = Callable[[int, int, dict[str, Any]], None]
"""(steps done, steps in all, what is known: paradigm, epoch, loss, images_per_second) -> None."""


@dataclass(frozen=True)
class CaptionsTrained:
    """What training leaves.

    Attributes:
        engine: the compiled functions, with corpus and config.
        state: weights and optimiser after the last step.
        rows: metrics, one row an epoch.
        objective: the paradigm that was trained last, which says how captions are written.
        folder: where the run is on disk, or None.
        stage: the part of the schedule that it ended in, from 0.
    """

    engine: CaptionEngine
    state: Any
    rows: list[dict[str, Any]]
    objective: Objective
    folder: RunFolder | None = None
    stage: int = 0

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know of this run's schedule."""
        return self.engine.run.schedule.unreached(self.stage)


def corpus_of(run: CaptionTraining, vocabulary: Vocabulary | None = None) -> Corpus:
    """The captions and images that a config names.

    Raises:
        SettingError: no data are named.
        MissingPart, DataError: as ``read_coco``.
    """
    if run.data is None:
        raise SettingError(
            "captions need data: name the folder of COCO, or make one with "
            "'attnflow data generate coco --data DIR'"
        )
    return read_coco(
        run.data,
        year=run.year,
        limits={part: getattr(run, name) for name, part in PARTS.items()},
        min_count=run.min_count,
        max_words=run.max_words,
        images=run.features is None,
        vocabulary=vocabulary,
    )


def settled(run: CaptionTraining, *, kept: bool = False) -> CaptionTraining:
    """The config with the size and cut of images that it was silent about, and whole paths.

    Of stored features both are the store's, where it says how they were made.

    Args:
        run: the config.
        kept: whether it is of a run that is there already, in which the store's word counts.

    Raises:
        SettingError: a config that is not kept contradicts the store.
        MissingPart, DataError: the features are missing or damaged.
    """
    recipe = {} if run.features is None else recipe_of(run.features)
    found = dict(zip(("image_size", "resize"), run.seen, strict=True))
    for name in found:
        asked, stored = getattr(run, name), recipe.get(name)
        if stored is None:
            continue
        if not kept and asked not in (None, stored):
            raise SettingError(
                f"{name} must be {stored}, as of the features {run.features!r}, got {asked}"
            )
        found[name] = stored
    for name in ("data", "features", "encoder_weights"):
        found |= from_anywhere(name, getattr(run, name))
    return replace(run, **found)


def fingerprint(corpus: Corpus, run: CaptionTraining) -> dict[str, str]:
    """SHA-256 of what a run rests on: its words; captions, images and their features.

    Of images it is name and size in bytes; of features that were stored, how they were made and
    what they are of the first and last image.
    """
    part, seen = corpus.sets["train"], []
    for picture in part.pictures:
        size = picture.path.stat().st_size if run.features is None else 0
        seen.append(f"{picture.id} {picture.path.name} {size}")
    stored: list[Any] = []
    if run.features is not None:
        features = open_store(run.features)
        features.check(part)
        stored = [json.dumps(features.recipe, sort_keys=True), features.cells, features.width]
        stored += [features(part, row).tobytes().hex() for row in (0, len(part) - 1)]
    whole = "\n".join(map(str, [*seen, *part.references, *stored]))
    words = "\n".join(corpus.vocabulary.words)
    return {"vocabulary": sha256(words), "train": sha256(whole, part.words)}


def objectives_of(run: CaptionTraining, own: Mapping[str, Loss] | None = None) -> list[Objective]:
    """What each part of the schedule minimises.

    Raises:
        ParadigmError: a name is not known.
        SettingError: a paradigm needs what captions do not have.
    """
    found = [objective(name, own, run.known) for name in run.schedule.names]
    for one in found:
        if one.needs_responsibilities:
            raise SettingError(
                f"paradigm {one.name} is not for captions: its gradient with the responsibilities "
                f"of the step is that of {one.paradigm}, so train {one.paradigm}"
            )
    return found


def train(
    run: CaptionTraining | None = None,
    out: str | Path | None = None,
    *,
    losses: Mapping[str, Loss] | None = None,
    resume: bool = False,
    devices: int | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> CaptionsTrained:
    """Train encoder and decoder together, the batches brought by the host.

    Args:
        run: the config; None with ``resume`` takes the folder's own.
        out: folder of the run; None keeps nothing on disk.
        losses: custom losses by the names that the config's paradigm uses; each takes log-weights
            [B, K, L], logits of every cell [B, K, L, V] and the words [B, K], and gives a loss a
            word [B, K].
        resume: go on with the run in ``out``; it ends with the weights of an unbroken run. Where
            nothing is there yet, it starts.
        devices: how many share a step; None for all of this machine.
        tensorboard: write logs for TensorBoard too.
        progress: called after each step.

    Returns:
        The trained state, the metrics, and the engine that evaluates them.

    Raises:
        SettingError: the config does not hold together, or is not that of the folder's run.
        TrainingFailed: the loss was not finite or diverged; the last good checkpoint stays.
        MissingPart, DataError: data or an optional part are missing, or data damaged.
    """
    check_libraries()
    if jax.process_count() > 1:
        raise SettingError("captions train in one process, on all of its devices")
    folder = None if out is None else RunFolder(out, KIND)
    with nullcontext() if folder is None else closing(folder):
        return _train(run, folder, losses, resume, devices, tensorboard, progress)


def _train(
    run: CaptionTraining | None,
    folder: RunFolder | None,
    losses: Mapping[str, Loss] | None,
    resume: bool,
    devices: int | None,
    tensorboard: bool,
    progress: Progress | None,
) -> CaptionsTrained:
    begun = folder is not None and resume and folder.exists()
    vocabulary = None
    run = None if run is None else settled(run)
    if folder is not None and not begun:
        folder.check_unbegun()  # before the work
    if folder is not None and begun:
        folder.lock()
        kept = settled(folder.config(), kept=True)
        if run is not None and run != kept:
            raise SettingError(
                f"{str(folder.path)!r} holds a run with another config: resume it without options"
            )
        run, vocabulary = kept, load_vocabulary(folder.path / VOCABULARY)
    if run is None:
        raise SettingError("captions need a config with data")
    objectives = objectives_of(run, losses)
    corpus = corpus_of(run, vocabulary)
    if folder is not None and begun:
        folder.check_data(fingerprint(corpus, run), training=True)
    engine = build(corpus, run, parallel.devices(devices))
    state = engine.start()
    at = _Place()
    if folder is not None and not begun:
        from attnflow.environment import report

        record = {
            **report(),
            "shared_by": engine.devices.count,
            "data": fingerprint(corpus, run),
        }
        folder.begin(run, record, tensorboard=tensorboard)
        engine.corpus.vocabulary.save(folder.path / VOCABULARY)
    if folder is not None and begun:
        state, at = _restored(folder, engine, state, tensorboard)
    state, at = _loop(engine, objectives, folder, state, at, progress)
    return CaptionsTrained(engine, state, at.rows, objectives[at.stage], folder, at.stage)


@dataclass(frozen=True)
class _Place:
    """Where a run is: stage of the schedule, epochs done, steps of the next one done."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    rows: Any = ()


def _restored(
    folder: RunFolder, engine: CaptionEngine, state: Any, tensorboard: bool
) -> tuple[Any, _Place]:
    found = folder.restore(jax.tree.map(np.asarray, state))
    if found is None:
        return state, _Place(rows=folder.keep_metrics(0, tensorboard=tensorboard))
    held, record, _ = found
    epoch, step = int(record["epoch"]), int(record["step"])
    rows = folder.keep_metrics(epoch, tensorboard=tensorboard)
    return engine.devices.put(held), _Place(int(record["stage"]), epoch, step, rows)


def _loop(
    engine: CaptionEngine,
    objectives: list[Objective],
    folder: RunFolder | None,
    state: Any,
    at: _Place,
    progress: Progress | None,
) -> tuple[Any, _Place]:
    run, rows = engine.run, list(at.rows)
    stage, total = at.stage, engine.steps * run.epochs
    told: dict[str, Any] = {"loss": rows[-1]["loss"] if rows else math.nan}
    for epoch in range(at.epoch, run.epochs):
        first = at.step if epoch == at.epoch else 0
        following = _stage(engine, stage, epoch) if not first else stage
        if following != stage:
            begun = engine.run.schedule.stages[stage + 1 : following + 1]
            stage = following
            if any(one.fresh for one in begun):
                state = engine.renewed(state)
        goal = objectives[stage]
        began = time.perf_counter()
        found = batches(
            engine.corpus.sets["train"],
            engine.source,
            engine.batch,
            each=run.captions_each,
            seed=run.seed,
            epoch=epoch,
            first=first,
            workers=run.workers,
        )
        for number, batch in enumerate(ahead(found, engine.devices.put), first + 1):
            state = engine.step(goal, state, batch.pixels, batch.words)
            last = number == engine.steps
            if last or number % WATCHED == 0:
                _stop_if_bad(engine, state, goal)
                told["loss"] = _mean_loss(state)
            if progress is not None:
                rate = (number - first) * engine.batch / (time.perf_counter() - began)
                told.update(paradigm=goal.name, epoch=epoch + 1, images_per_second=rate)
                progress(epoch * engine.steps + number, total, told)
            often = run.checkpoint_steps
            if folder is not None and often and not last and number % often == 0:
                _stop_if_bad(engine, state, goal)
                record = {"stage": stage, "epoch": epoch, "step": number}
                folder.save(state, epoch * engine.steps + number, record, -_mean_loss(state))
        seconds = time.perf_counter() - began
        done = epoch + 1
        trained = (engine.steps - first) * engine.batch
        row = _row(engine, goal, state, done, seconds, trained)
        state = {**state, "sums": engine.devices.put(engine.no_sums())}
        rows.append(row)
        if folder is not None:
            folder.append([row])
            if done % run.checkpoint_every == 0 or done == run.epochs:
                record = {"stage": stage, "epoch": done, "step": 0}
                folder.save(state, done * engine.steps, record, _score(row))
    return state, replace(at, stage=stage, rows=rows)


def _stage(engine: CaptionEngine, stage: int, epoch: int) -> int:
    """Which part of the schedule the next epoch belongs to."""
    reached = {"epoch": epoch, "t": engine.time_after(epoch * engine.steps)}
    return engine.run.schedule.stage_at(stage, reached)


def _mean_loss(state: Any) -> float:
    """Mean loss a word over the epoch so far."""
    return float(state["sums"]["loss"]) / max(1.0, float(state["sums"]["words"]))


def _row(
    engine: CaptionEngine, goal: Objective, state: Any, done: int, seconds: float, trained: int
) -> dict[str, Any]:
    """The metrics of an epoch."""
    run, sets = engine.run, {}
    if done % run.measure_every == 0 or done == run.epochs:
        sets = {part: measure(engine, state["weights"], goal, part) for part in engine.corpus.sets}
    return {
        "epoch": done,
        "seed": run.seed,
        "learning_rate": run.learning_rate,
        "paradigm": goal.name,
        "step": done * engine.steps,
        "time": engine.time_after(done * engine.steps),
        "loss": _mean_loss(state),
        "sets": sets,
        "seconds": seconds,
        "images_per_second": trained / seconds,
    }


def _stop_if_bad(engine: CaptionEngine, state: Any, goal: Objective) -> None:
    step, run = int(state["bad"]), engine.run
    if step >= 0:
        or_else = f", or clip below {run.clip:g}"
        raise diverged(goal.name, step, run.seed, run.learning_rate, or_else)


def _score(row: dict[str, Any]) -> float:
    """What makes a checkpoint the best: BLEU-4 on the validation set, else a low loss."""
    return row["sets"]["val"]["bleu4"] if "val" in row["sets"] else -row["loss"]
