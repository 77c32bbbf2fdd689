"""Trains a caption run from beginning to end, or from where it was interrupted, bit for bit."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from attnflow.captions.coco import PARTS, Corpus, read_coco
from attnflow.captions.config import CaptionTraining, from_dict
from attnflow.captions.feature_store import Features, recipe_of
from attnflow.captions.measure import measure
from attnflow.captions.pipeline import ahead, batches, check_libraries
from attnflow.captions.program import CaptionEngine, build
from attnflow.captions.vocabulary import Vocabulary, load_vocabulary
from attnflow.errors import SettingError, warn
from attnflow.schedule import Stage
from attnflow.train import parallel
from attnflow.train.epoch import diverged
from attnflow.train.logs import RUN_COLUMNS
from attnflow.train.objective import Loss, Objective, goals_of
from attnflow.train.run_folder import RunFolder
from attnflow.train.running import (
    Made,
    Point,
    Progress,
    RunKind,
    Trainer,
    run_to_end,
    with_maker,
)
from attnflow.train.shared_config import from_anywhere
from attnflow.train.tasks.task import sha256
from attnflow.train.trained import Trained

SET_COLUMNS = tuple(
    f"{part}.{name}"
    for part in ("train", "val")
    for name in ("bleu1", "bleu2", "bleu3", "bleu4", "loss", "perplexity", "focus_true", "alpha")
)
COLUMNS = (
    *("epoch", *RUN_COLUMNS[:2], "paradigm", "step", "time", "loss", "largest_score"),
    *("gradient_norm_encoder", "gradient_norm_decoder", "seconds", "inputs_per_second"),
    *SET_COLUMNS,
)
"""Of the table of metrics."""
VOCABULARY = "vocabulary.json"
BIASED = (
    "credit published is no gradient of the expected loss: it judges the draw of a caption's last "
    "word alone, and adds the baseline in place of taking it away; credit caption is unbiased"
)
"""Said of runs with the estimator of the paper's code."""
WATCHED = 50
"""Steps between looks at the loss, which wait for the device."""


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


def settled(run: CaptionTraining, kept: bool = False) -> CaptionTraining:
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
    for name in ("data", "features", "encoder_weights", "start_from"):
        found |= from_anywhere(name, getattr(run, name))
    return replace(run, **found)


def objectives_of(
    run: CaptionTraining, custom: Mapping[str, Loss] | None = None, *, opening: bool = False
) -> list[Objective]:
    """What each stage of the schedule minimises.

    Raises:
        ParadigmError: a name is not known.
        SettingError: a paradigm needs what captions do not have.
    """
    goals = goals_of(run, custom, opening=opening)
    for one in goals:
        if one.needs_responsibilities:
            raise SettingError(
                f"paradigm {one.name} is not for captions: its gradient with the responsibilities "
                f"of the step is that of {one.paradigm}, so train {one.paradigm}"
            )
    return goals


def train(
    run: CaptionTraining | None = None,
    out: str | Path | None = None,
    *,
    losses: Mapping[str, Loss] | None = None,
    resume: bool = False,
    devices: int | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Trained:
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
    return run_to_end(
        with_maker(KIND, losses=losses),
        run,
        out,
        resume=resume,
        devices=devices,
        tensorboard=tensorboard,
        progress=progress,
    )


def _make(
    run: CaptionTraining,
    folder: RunFolder | None,
    devices: parallel.Devices,
    *,
    losses: Mapping[str, Loss] | None = None,
    opening: bool = False,
) -> Made:
    """What trains a run, or opens one that was trained."""
    check_libraries()
    if jax.process_count() > 1:
        raise SettingError("captions train in one process, on all of its devices")
    goals = objectives_of(run, losses, opening=opening)
    remarks = (BIASED,) if run.credit == "published" and any(g.draws for g in goals) else ()
    for remark in () if opening else remarks:
        warn(remark, stacklevel=4)
    vocabulary = None if folder is None else load_vocabulary(folder.path / VOCABULARY)
    engine = build(corpus_of(run, vocabulary), run, devices)
    engine.check_rates(run.schedule, ["decoder", *["encoder"] * run.learns_encoder])
    return Made(CaptionTrainer(engine, remarks), goals, run.schedule)


def _default() -> CaptionTraining:
    raise SettingError("captions need a config with data")


KIND = RunKind(from_dict, COLUMNS, _default, settled, _make)
"""Caption runs, and how they are trained."""


class CaptionTrainer(Trainer):
    """Trains encoder and decoder: the host brings the batches, a step is one compiled call."""

    engine: CaptionEngine

    def __init__(self, engine: CaptionEngine, remarks: tuple[str, ...] = ()) -> None:
        """Train with these compiled functions; the remarks are what one should know."""
        self.engine, self.calls, self.remarks = engine, engine.steps, remarks

    def files(self) -> dict[str, Any]:
        """The words, which the images alone do not tell."""
        return {VOCABULARY: list(self.engine.corpus.vocabulary.words)}

    def start(self) -> dict[str, Any]:
        """The state before the first step."""
        return self.engine.start()

    def advance(
        self, goal: Objective, state: Any, epoch: int, first: int, stage: Stage
    ) -> Iterator[Point]:
        """The steps of an epoch; the loss is looked at now and then, which waits for the device."""
        engine, run, told = self.engine, self.engine.run, {}
        rates = engine.rates(state["weights"], stage)
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
            state = engine.step(goal, state, batch.pixels, batch.words, rates)
            last, often = number == engine.steps, run.checkpoint_steps
            keep = bool(often) and not last and number % often == 0
            if last or keep or number % WATCHED == 0:
                self._stop_if_bad(goal, state)
                sums = {name: float(value) for name, value in state["sums"].items()}
                told = {"loss": sums["loss"] / max(1.0, sums.pop("words"))}
                told |= {n: v / number for n, v in sums.items() if n.startswith("gradient_norm")}
                told["largest_score"] = sums["largest_score"]
            if last:
                state = {**state, "sums": engine.devices.put(engine.no_sums())}
            yield Point(number, state, told, keep)

    def _stop_if_bad(self, goal: Objective, state: Any) -> None:
        step, run = int(state["bad"]), self.engine.run
        if step >= 0:
            or_else = f", or clip below {run.clip:g}"
            raise diverged(goal.name, step, run.seed, run.learning_rate, or_else)

    def measured(self, goal: Objective, state: Any) -> Any:
        """What the first images of each set show of the weights."""
        engine = self.engine
        return {part: measure(engine, state["weights"], goal, part) for part in engine.corpus.sets}

    def rows(self, goal: Objective, done: float, told: Any, measured: Any) -> list[dict[str, Any]]:
        """One row."""
        row = {
            "epoch": done,
            "seed": self.engine.run.seed,
            "learning_rate": self.engine.run.learning_rate,
            "paradigm": goal.name,
            "step": done * self.engine.steps,
            "time": self.engine.time_after(done),
            **{name: told[name] for name in COLUMNS if name in told},
            "sets": measured or {},
        }
        return [row]

    def inputs(self, first: int) -> int:
        """Images of the steps after the first ones."""
        return (self.engine.steps - first) * self.engine.batch

    def score(self, rows: list[dict[str, Any]]) -> float:
        """BLEU-4 on the validation set, else a low loss."""
        [row] = rows
        return row["sets"]["val"]["bleu4"] if "val" in row["sets"] else -row["loss"]

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of what a run rests on: its words; captions, images and their features.

        Of images it is name and size in bytes; of features that were stored, how they were made and
        what they are of the first and last image.
        """
        part, run, seen = self.engine.corpus.sets["train"], self.engine.run, []
        for picture in part.pictures:
            size = picture.path.stat().st_size if run.features is None else 0
            seen.append(f"{picture.id} {picture.path.name} {size}")
        stored: list[Any] = []
        if isinstance(features := self.engine.source, Features):
            stored = [json.dumps(features.recipe, sort_keys=True), features.cells, features.width]
            stored += [features(part, row).tobytes().hex() for row in (0, len(part) - 1)]
        whole = "\n".join(map(str, [*seen, *part.references, *stored]))
        words = "\n".join(self.engine.corpus.vocabulary.words)
        return {"vocabulary": sha256(words), "train": sha256(whole, part.words)}
