"""What a trained caption run does: BLEU, loss and perplexity, captions, and where it looks."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.captions import metrics
from attnflow.captions.coco import SETS, CaptionSet
from attnflow.captions.config import KIND
from attnflow.captions.decode import Rule, Written, beam, greedy, losses_by, rule_of
from attnflow.captions.images import cells_within, frame
from attnflow.captions.pipeline import Batch, ahead, batches
from attnflow.captions.program import CaptionEngine
from attnflow.captions.teacher_forcing import unroll
from attnflow.captions.vocabulary import PAD
from attnflow.errors import SettingError
from attnflow.files import atomic
from attnflow.train import parallel
from attnflow.train.checkpoints import digest
from attnflow.train.objective import Loss, Objective, has_theory
from attnflow.train.run_folder import RunFolder

if TYPE_CHECKING:
    from attnflow.captions.loop import CaptionsTrained

MOST_EVALUATED = 5000
"""Images of a set that ``evaluate`` looks at unless told otherwise: the size of val2017."""


class Caption(NamedTuple):
    """A caption that was written.

    Attributes:
        row: number of the image in its set.
        words: without ``END``.
        weights: of the cells at every word and at ``END``, [words + 1 or words, rows, columns].
    """

    row: int
    words: list[str]
    weights: np.ndarray


def load(
    path: Any,
    *,
    best: bool = False,
    losses: Mapping[str, Loss] | None = None,
    devices: int | None = None,
) -> "CaptionsTrained":
    """A run from its folder, at its newest or best checkpoint.

    Args:
        path: the folder.
        best: the best checkpoint in place of the newest.
        losses: custom losses that it was trained by, for its ``objective``; nothing here asks
            for them, as captions are then written by the sum over the cells.
        devices: how many share the work; None for all.

    Raises:
        SettingError: there is no run, or none with a checkpoint.
        MissingPart, DataError: data or checkpoint are missing or damaged.
    """
    from attnflow.captions.loop import (
        VOCABULARY,
        CaptionsTrained,
        corpus_of,
        fingerprint,
        objectives_of,
        settled,
    )
    from attnflow.captions.program import build
    from attnflow.captions.vocabulary import load_vocabulary

    folder = RunFolder(path, KIND)
    run = settled(folder.config(), kept=True)
    names = run.schedule.names
    unknown = {name: partial(_absent, name) for name in names if not has_theory(name, run.known)}
    objectives = objectives_of(run, {**unknown, **(losses or {})})
    corpus = corpus_of(run, load_vocabulary(folder.path / VOCABULARY))
    folder.check_data(fingerprint(corpus, run), training=False)
    engine = build(corpus, run, parallel.devices(devices))
    found = folder.restore(jax.tree.map(np.asarray, engine.start()), best=best)
    if found is None:
        raise SettingError(f"{str(path)!r} holds no checkpoint yet: resume its training first")
    state, record, _ = found
    rows = [row for row in folder.metrics() if row["epoch"] <= int(record["epoch"])]
    stage = int(record["stage"])
    put = engine.devices.put(state)
    return CaptionsTrained(engine, put, rows, objectives[stage], folder, stage)


def _absent(name: str, *_: Any) -> Any:
    raise SettingError(f"the run was trained by a custom loss: give losses with {name!r}")


def measure(
    engine: CaptionEngine,
    weights: Any,
    goal: Objective,
    part: str,
    limit: int | None = None,
    width: int = 1,
    more: bool = False,
) -> dict[str, float]:
    """What a set shows of the weights.

    Args:
        engine: the compiled functions.
        weights: of encoder and decoder.
        goal: the paradigm that was trained last.
        part: "train" or "val".
        limit: images; None for the config's ``measured``.
        width: of the beam; 1 writes greedily.
        more: whether ROUGE-L and CIDEr are computed too, where pycocoevalcap is installed.

    Returns:
        bleu1 to bleu4, loss (nats a word by the rule that captions are written by) and
        perplexity; where it is known what words name, focus_true (share of such words whose cell
        of largest weight holds the thing), alpha (mean weight there) and focus_chance (the share
        of such cells, which blind focus would reach).
    """
    found, rule = engine.corpus.sets[part], rule_of(goal)
    if ("score", rule) not in engine.compiled:
        engine.compiled["score", rule] = engine.devices.compile(partial(_score, engine, rule))
    written = _writer(engine, rule, width)
    captions: list[Any] = []
    references = []
    total = dict.fromkeys(("loss", "words", "named", "true", "alpha", "cells"), 0.0)
    count = engine.run.measured if limit is None else limit
    for batch in _in_order(engine, found, count):
        there = batch.rows >= 0
        words = np.asarray(written(weights, engine.frozen, batch.pixels).words)[there]
        captions += [engine.corpus.vocabulary.decode(row) for row in words]
        references += [found.references[row] for row in batch.rows[there]]
        truth = _truth(engine, found, batch)
        one = engine.compiled["score", rule](
            weights, engine.frozen, batch.pixels, batch.words, engine.devices.put(truth)
        )
        for name, value in one.items():
            total[name] += float(value)
    loss = total["loss"] / total["words"]
    rows = {f"bleu{n}": v for n, v in enumerate(metrics.bleu(captions, references), 1)}
    rows |= {"loss": loss, "perplexity": float(np.exp(min(loss, 700.0)))}
    if more:
        rows |= metrics.others(captions, references) or {}
    if total["named"]:
        rows["focus_true"] = total["true"] / total["named"]
        rows["alpha"] = total["alpha"] / total["named"]
        rows["focus_chance"] = total["cells"] / total["named"]
    return rows


def _in_order(engine: CaptionEngine, part: CaptionSet, limit: int | None) -> Iterator[Batch]:
    """All images once, each with all of its captions."""
    found = batches(
        part,
        engine.source,
        engine.batch,
        each=int(np.max(np.diff(part.first))),
        limit=limit,
        workers=engine.run.workers,
    )
    return ahead(found, engine.devices.put)


def _writer(engine: CaptionEngine, rule: Rule, width: int, penalty: float = 0.0) -> Any:
    if width < 1:
        raise SettingError(f"beam must be a whole number of at least 1, got {width}")
    key = "write", rule, width, penalty
    if key not in engine.compiled:

        def function(weights: Any, frozen: Any, pixels: Any) -> Written:
            encoder, decoder = engine.modules(weights, frozen)
            grid = engine.features(encoder, frozen, pixels)
            length = engine.corpus.length
            if width == 1:
                return greedy(decoder, rule, grid, length)
            return beam(decoder, rule, grid, length, width, penalty)

        engine.compiled[key] = engine.devices.compile(function)
    return engine.compiled[key]


def _truth(engine: CaptionEngine, part: CaptionSet, batch: Batch) -> np.ndarray:
    """Which cells hold what each word names, [B, K, T, L]; of one cell where that is not known."""
    cells = engine.grid[0] * engine.grid[1]
    shape = (*batch.captions.shape, engine.corpus.length)
    if part.boxes is None:
        return np.zeros((*shape, 1), bool)
    found = np.zeros((*shape, cells), bool)
    size, resize = engine.run.seen
    for place, row in enumerate(batch.rows):
        picture = part.pictures[row]
        if row >= 0 and picture.width is not None and picture.height is not None:
            placed = frame(picture.width, picture.height, size, resize)
            boxes = part.boxes[batch.captions[place]]
            boxes = np.where(batch.captions[place][:, None, None] >= 0, boxes, np.nan)
            found[place] = cells_within(boxes, placed, size, engine.grid)
    return found


def _score(
    engine: CaptionEngine,
    rule: Rule,
    weights: Any,
    frozen: Any,
    pixels: Any,
    words: Any,
    truth: Any,
) -> dict[str, Any]:
    """Sums over a batch with the true words: losses, and focus where it is known."""
    encoder, decoder = engine.modules(weights, frozen)
    grid = engine.features(encoder, frozen, pixels)
    found = unroll(decoder, grid, words, None, rule.draws)
    each = losses_by(decoder, rule, grid, words, found)
    log_weights = jnp.moveaxis(found.log_weights, 0, 2)
    present = words != PAD
    named = present & jnp.any(truth, axis=-1)
    truth = jnp.broadcast_to(truth, log_weights.shape)
    chosen = jnp.argmax(log_weights, axis=-1)[..., None]
    right = jnp.take_along_axis(truth, chosen, axis=-1)[..., 0]
    alpha = jnp.sum(jnp.where(truth, jnp.exp(log_weights), 0.0), axis=-1)
    share = jnp.mean(truth.astype(jnp.float32), axis=-1)
    sums = {"named": jnp.ones_like(share), "true": right.astype(jnp.float32)}
    sums |= {"alpha": alpha, "cells": share}
    return {
        "loss": jnp.sum(each),
        "words": jnp.sum(present.astype(jnp.float32)),
        **{name: jnp.sum(jnp.where(named, value, 0.0)) for name, value in sums.items()},
    }


def evaluate(
    trained: "CaptionsTrained", *, images: int = MOST_EVALUATED, width: int = 1
) -> dict[str, Any]:
    """A run as plain values.

    Args:
        trained: the run.
        images: of each set, at most.
        width: of the beam; 1 writes greedily.

    Returns:
        {"task", "paradigm", "epochs", "weights": SHA-256 of all parameters in a fixed order,
        "sets": {"train"|"val": {"bleu1" .. "bleu4", "loss", "perplexity"}}}, with rouge_l and
        cider where pycocoevalcap is installed, and, where it is known what words name,
        focus_true, alpha and focus_chance in percent.
    """
    engine, weights = trained.engine, trained.state["weights"]
    sets = {}
    for part in engine.corpus.sets:
        found = measure(engine, weights, trained.objective, part, images, width, True)
        percent = ("focus_true", "alpha", "focus_chance")
        sets[part] = {k: 100 * v if k in percent else v for k, v in found.items()}
    return {
        "task": engine.run.task,
        "paradigm": engine.run.paradigm,
        "epochs": trained.rows[-1]["epoch"] if trained.rows else 0,
        "weights": digest(weights),
        "sets": sets,
    }


def captions(
    trained: "CaptionsTrained",
    part: str = "val",
    *,
    width: int = 1,
    penalty: float = 0.0,
    limit: int | None = None,
) -> Iterator[Caption]:
    """Write a caption for every image of a set.

    Args:
        trained: the run.
        part: "train" or "val".
        width: of the beam; 1 writes greedily.
        penalty: see ``write.beam``.
        limit: only the first images.

    Raises:
        SettingError: there is no such set.
    """
    engine = trained.engine
    if part not in SETS:
        raise SettingError(f"set must be one of {', '.join(SETS)}, got {part!r}")
    writer = _writer(engine, rule_of(trained.objective), width, penalty)
    for batch in _in_order(engine, engine.corpus.sets[part], limit):
        found = writer(trained.state["weights"], engine.frozen, batch.pixels)
        words, weights = np.asarray(found.words), np.asarray(found.weights)
        for place, row in enumerate(batch.rows):
            if row >= 0:
                kept = int(np.count_nonzero(words[place] != PAD))
                looked = weights[place, :kept].reshape(kept, *engine.grid)
                yield Caption(int(row), engine.corpus.vocabulary.decode(words[place]), looked)


def write_results(
    trained: "CaptionsTrained",
    path: str | Path,
    part: str = "val",
    *,
    width: int = 1,
    limit: int | None = None,
) -> Path:
    """Write captions in COCO's result format, ``[{"image_id", "caption"}]``, whole or not at all.

    Args:
        trained: the run.
        path: of the file.
        part: "train" or "val".
        width: of the beam; 1 writes greedily.
        limit: only the first images.

    Raises:
        SettingError: there is no such set, or the file cannot be written.
    """
    import json

    pictures = trained.engine.corpus.sets.get(part)
    found = captions(trained, part, width=width, limit=limit)
    entries = [
        {"image_id": pictures.pictures[one.row].id, "caption": " ".join(one.words)}
        for one in found
        if pictures is not None
    ]
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)
