"""Caption runs side by side: scores, curves, captions, and attention word by word."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnflow.captions import drawing
from attnflow.captions.evaluation import captions, evaluate, load
from attnflow.captions.images import load_image
from attnflow.captions.metrics import SCALES, spelled
from attnflow.errors import DataError, SettingError
from attnflow.files import save_text
from attnflow.plots.style import save
from attnflow.train.report.page import FORMATS, Page

if TYPE_CHECKING:
    from attnflow.train.running import Trained

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
    if kind not in FORMATS:
        raise SettingError(f"format must be one of {', '.join(FORMATS)}, got {kind!r}")
    place = Path(out) / "figures"
    place.mkdir(parents=True, exist_ok=True)
    page = Page("Caption runs compared")
    page.text(f"{SCALES}; focus and alpha in percent of the words that name.")
    scores: list[tuple[str, dict[str, dict[str, float]]]] = []
    conditions, curves, figures = [], [], []
    remarks: list[str] = []
    for number, path in enumerate(paths, 1):
        name = Path(path).absolute().name
        name = f"{name}-{number}" if any(name == label for label, _ in scores) else name
        progress(f"evaluating {name}")
        trained = load(path, best=best)
        found = evaluate(trained, images=trained.engine.run.measured)
        scores.append((name, found["sets"]))
        conditions.append((name, *_conditions(trained), str(found["epochs"]), found["weights"]))
        remarks += [f"{name}: {remark}" for remark in trained.remarks]
        curves.append((f"{name}: {trained.engine.run.paradigm}", trained.rows))
        progress(f"drawing {name}")
        for row, (said, figure) in enumerate(attention_figures(trained, SHOWN), 1):
            file = place / f"attention-{name}-{row}.svg"
            save(figure, file)
            figures.append((f"{name}: {said}", file))
    columns = list(dict.fromkeys(k for _, sets in scores for part in sets.values() for k in part))
    page.table(
        ("run", "set", *map(spelled, columns)),
        [
            (name, part, *(f"{v[c]:.3f}" if c in v else "" for c in columns))
            for name, sets in scores
            for part, v in sets.items()
        ],
    )
    head = ("run", "paradigm", "encoder", "grid", "words", "hidden", "batch", "epochs")
    page.table((*head, "SHA-256 of the weights"), conditions)
    for remark in remarks:
        page.text(remark)
    save(drawing.over_epochs(curves), place / "curves.svg")
    page.figure("Training loss, and BLEU-4 of both sets", place / "curves.svg")
    for caption, file in figures:
        page.figure(caption, file)
    return save_text(Path(out) / f"report.{FORMATS[kind]}", page.render(kind, Path(out)))


def _conditions(trained: "Trained") -> tuple[str, ...]:
    engine, run = trained.engine, trained.engine.run
    encoder = "stored features" if run.features is not None else run.encoder
    grid = f"{engine.grid[0]} x {engine.grid[1]}"
    words = str(len(engine.corpus.vocabulary))
    return str(run.paradigm), encoder, grid, words, str(run.hidden), str(engine.batch)


def attention_figures(
    trained: "Trained", count: int, part: str = "val", width: int = 1
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
