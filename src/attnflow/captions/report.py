"""Caption runs side by side: scores, curves, captions, and attention word by word."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attnflow.captions import drawing
from attnflow.captions.evaluation import captions, evaluate, load
from attnflow.captions.images import load_image
from attnflow.captions.metrics import SCALES, spelled
from attnflow.errors import DataError
from attnflow.train.drawing import Panel, over_epochs
from attnflow.train.report.page import Account, Figures, Page, Runs
from attnflow.train.trained import Trained

LEARNING = [
    Panel("training loss (nats a word)", [(None, "loss")], bounded=False),
    Panel("BLEU-4", [("val", "bleu4"), ("train", "bleu4")]),
]
SHOWN = 3
"""Images of the validation set that are drawn for every run."""


def compare_runs(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    best: bool = False,
    kind: str = "markdown",
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """A page and its figures (SVG) in a folder, from the folders of caption runs.

    Args:
        paths: folders of runs.
        out: where the page goes.
        best: the best checkpoint of each in place of the newest.
        kind: "markdown" (report.md beside its figures) or "html" (report.html, which holds them).
        progress: called with what is done next.

    Returns:
        The path of the page.

    Raises:
        SettingError: no run, or a folder that holds none, or no such kind of page.
        MissingPart, DataError: data or checkpoints are missing or damaged.
    """
    return account(best=best).write(paths, out, kind, progress)


def account(*, best: bool = False) -> Account:
    """What the page of ``compare_runs`` holds."""
    loading = partial(load, best=best)
    return Account("Caption runs compared", loading, _evaluated, _conclusion, _figures, _tables)


Scores = list[tuple[str, dict[str, Any]]]


def _evaluated(runs: Runs) -> Scores:
    return [(name, evaluate(t, images=t.engine.run.measured)) for name, t in runs]


def _conclusion(page: Page, runs: Runs, found: Scores) -> None:
    best, score = max(
        ((name, one["sets"]["val"]["bleu4"]) for name, one in found), key=lambda pair: pair[1]
    )
    most = "the most of all" if len(found) > 1 else "of 1 at most"
    page.text(f"On the validation set {best} reaches a BLEU-4 of {score:.3f}, {most}.")
    page.text(f"{SCALES}; focus and alpha in percent of the words that name.")
    parts = [(name, part, v) for name, one in found for part, v in one["sets"].items()]
    columns = list(dict.fromkeys(column for *_, values in parts for column in values))
    page.table(
        ("run", "set", *map(spelled, columns)),
        [
            (name, part, *(f"{values[c]:.3f}" if c in values else "" for c in columns))
            for name, part, values in parts
        ],
    )


def _tables(page: Page, runs: Runs, found: Scores) -> None:
    head = ("run", "paradigm", "encoder", "grid", "words", "hidden", "batch", "epochs")
    page.table(
        head,
        [
            (name, *_conditions(trained), str(one["epochs"]))
            for (name, one), (_, trained) in zip(found, runs, strict=True)
        ],
    )
    page.table(("run", "SHA-256 of the weights"), [(name, one["weights"]) for name, one in found])


def _figures(runs: Runs) -> Figures:
    curves = [(name, one.rows) for name, one in runs]
    yield "curves", "Training loss, and BLEU-4 of both sets", over_epochs(curves, LEARNING)
    for name, trained in runs:
        for row, (said, figure) in enumerate(attention_figures(trained, SHOWN), 1):
            yield f"attention-{name}-{row}", f"{name}: {said}", figure


def _conditions(trained: Trained) -> tuple[str, ...]:
    engine, run = trained.engine, trained.engine.run
    encoder = "stored features" if run.features is not None else run.encoder
    grid = f"{engine.grid[0]} x {engine.grid[1]}"
    words = str(len(engine.corpus.vocabulary))
    return str(run.paradigm), encoder, grid, words, str(run.hidden), str(engine.batch)


def attention_figures(
    trained: Trained, count: int, part: str = "val", width: int = 1
) -> list[tuple[str, Any]]:
    """(caption, figure of attention word by word) for the first images of a set.

    Args:
        trained: the run.
        count: how many images.
        part: "train" or "val".
        width: of the beam; 1 writes greedily.

    Raises:
        SettingError: there is no such set.
    """
    run, found = trained.engine.run, []
    for one in captions(trained, part, width=width, limit=count):
        picture = trained.engine.corpus.sets[part].pictures[one.row]
        image: np.ndarray | None
        try:
            image = load_image(picture.path, *run.seen)
        except DataError:
            if run.features is None:
                raise
            image = None  # features were stored, and the image is not here
        figure = drawing.attention(image, one.words, one.weights)
        found.append((f"{' '.join(one.words)} (image {picture.id})", figure))
    return found
