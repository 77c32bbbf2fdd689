"""What a trained caption run does: BLEU, loss and perplexity, captions, and where it looks."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnflow.captions.coco import SETS
from attnflow.captions.decode import rule_of
from attnflow.captions.loop import KIND
from attnflow.captions.measure import in_order, measure, writer
from attnflow.captions.vocabulary import PAD
from attnflow.errors import SettingError
from attnflow.files import atomic
from attnflow.train.checkpoints import digest
from attnflow.train.objective import Loss
from attnflow.train.running import load_run, with_maker
from attnflow.train.trained import Trained

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
) -> Trained:
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
    return load_run(with_maker(KIND, losses=losses, opening=True), path, best=best, devices=devices)


def evaluate(trained: Trained, *, images: int = MOST_EVALUATED, width: int = 1) -> dict[str, Any]:
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
    trained: Trained,
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
    write = writer(engine, rule_of(trained.objective, engine.run.written_by), width, penalty)
    for batch in in_order(engine, engine.corpus.sets[part], limit):
        found = write(trained.state["weights"], engine.frozen, batch.pixels)
        words, weights = np.asarray(found.words), np.asarray(found.weights)
        for place, row in enumerate(batch.rows):
            if row >= 0:
                kept = int(np.count_nonzero(words[place] != PAD))
                looked = weights[place, :kept].reshape(kept, *engine.grid)
                yield Caption(int(row), engine.corpus.vocabulary.decode(words[place]), looked)


def write_results(
    trained: Trained,
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
