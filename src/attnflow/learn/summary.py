"""Runs side by side: one Markdown page with a table of rates, and the figures it shows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attnflow.errors import SettingError
from attnflow.learn import drawing
from attnflow.learn.evaluate import RULES, evaluate, load, signature
from attnflow.learn.theory import rows_of, theory_over_practice
from attnflow.learn.train import Trained
from attnflow.report.style import save
from attnflow.runs import save_text

COLUMNS = ("ftpt", "ffpt", "ftpf", "ffpf", "accuracy")


def rate_rows(found: dict[str, Any]) -> list[tuple[str, str, float, *tuple[float, ...]]]:
    """An evaluation as rows: set, rule, focus true, the four rates, accuracy."""
    return [
        (name, rule, part["focus_true"], *(part[rule][column] for column in COLUMNS))
        for name, part in found["sets"].items()
        for rule in RULES
    ]


def markdown(labels: Sequence[str], found: Sequence[dict[str, Any]], figures: Sequence[str]) -> str:
    """The page: each run's rates, its weights' checksum, and the figures."""
    lines = ["# Runs compared", "", "Rates in percent; ft: focus true, pt: prediction true.", ""]
    head = ("run", "set", "rule", "focus true", *COLUMNS)
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label, one in zip(labels, found, strict=True):
        for name, rule, *rates in rate_rows(one):
            cells = (label, name, rule, *(f"{rate:.2f}" for rate in rates))
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| run | task | paradigm | epochs | SHA-256 of the weights |",
        "|---|---|---|---|---|",
    ]
    for label, one in zip(labels, found, strict=True):
        lines.append(
            f"| {label} | {one['task']} | {one['paradigm']} | {one['epochs']} "
            f"| `{one['weights']}` |"
        )
    lines += ["", *(f"![{Path(f).stem}]({f})\n" for f in figures)]
    return "\n".join(lines)


def compare_runs(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    best: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """A page ``report.md`` and its figures (SVG) in a folder, from the folders of runs.

    Args:
        paths: folders of runs, each trained to its own label: paradigm, seed, learning rate.
        out: where the page goes.
        best: the best checkpoint of each in place of the newest.
        progress: called with what is done next.

    Returns:
        The path of the page.

    Raises:
        SettingError: no run, or a folder that holds none.
        MissingPart, DataError: data or checkpoints are missing or damaged.
    """
    if not paths:
        raise SettingError("a report needs at least one run")
    out = Path(out)
    labels: list[str] = []
    found: list[dict[str, Any]] = []
    curves: list[tuple[str, list[dict[str, Any]]]] = []
    shares: list[tuple[str, Any]] = []
    figures: dict[str, Any] = {}
    for path in paths:
        progress(f"evaluating {path}")
        trained = load(path, best=best)
        part = "heldout" if "heldout" in trained.engine.inputs else "train"
        for lane, which in enumerate(trained.engine.run.lanes):
            label = f"{Path(path).name}: {trained.engine.run.paradigm}, {which}"
            labels.append(label)
            found.append(evaluate(trained, lane))
            curves.append((label, rows_of(trained, lane)))
            if lane == 0:
                shares.append((trained.engine.run.paradigm, signature(trained, part, lane)))
        figures |= _own_figures(trained, Path(path).name, part)
    everywhere = all("heldout" in one["sets"] for one in found)
    figures["curves"] = drawing.over_epochs(curves, "heldout" if everywhere else "train")
    for start in range(0, len(shares), 4):
        figures[f"signatures{start // 4 + 1}"] = drawing.heat_maps(shares[start : start + 4])
    names = []
    for name, figure in figures.items():
        place = out / "figures" / f"{name}.svg"
        place.parent.mkdir(parents=True, exist_ok=True)
        save(figure, place)
        names.append(f"figures/{name}.svg")
    return save_text(out / "report.md", markdown(labels, found, names))


def _own_figures(trained: Trained, name: str, part: str) -> dict[str, Any]:
    figures = {}
    if len(trained.engine.task.shape) == 3:
        figures[f"mosaics-{name}"] = drawing.mosaics(trained, part)
    if trained.engine.task.setting is not None and trained.engine.run.networks == "linear-zero":
        figures[f"theory-{name}"] = drawing.practice(theory_over_practice(trained))
    return figures
