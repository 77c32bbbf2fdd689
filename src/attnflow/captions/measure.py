"""What a set shows of a caption run's weights: BLEU, loss, and where the focus looks."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from attnflow.captions import metrics
from attnflow.captions.coco import CaptionSet
from attnflow.captions.decode import Rule, Written, beam, greedy, losses_by, rule_of
from attnflow.captions.images import cells_within, frame
from attnflow.captions.pipeline import Batch, ahead, batches
from attnflow.captions.program import CaptionEngine
from attnflow.captions.teacher_forcing import unroll
from attnflow.captions.vocabulary import PAD
from attnflow.errors import SettingError
from attnflow.train.objective import Objective

if TYPE_CHECKING:
    pass


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
    found, rule = engine.corpus.sets[part], rule_of(goal, engine.run.written_by)
    if ("score", rule) not in engine.compiled:
        engine.compiled["score", rule] = engine.devices.compile(partial(_score, engine, rule))
    written = writer(engine, rule, width)
    captions: list[Any] = []
    references = []
    total = dict.fromkeys(("loss", "words", "named", "true", "alpha", "cells"), 0.0)
    count = engine.run.measured if limit is None else limit
    for batch in in_order(engine, found, count):
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


def in_order(engine: CaptionEngine, part: CaptionSet, limit: int | None) -> Iterator[Batch]:
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


def writer(engine: CaptionEngine, rule: Rule, width: int, penalty: float = 0.0) -> Any:
    """The compiled function that writes captions by a rule, with a beam of that width.

    Raises:
        SettingError: the width is below 1.
    """
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
