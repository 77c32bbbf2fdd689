"""Runs side by side: the rates of each as a table, and the figures that compare them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnflow.errors import SettingError
from attnflow.files import save_text
from attnflow.plots.style import save
from attnflow.train import drawing
from attnflow.train.evaluation import RULES, evaluate, load, signature
from attnflow.train.fixed_focus import Held, held_losses
from attnflow.train.known_truth import any_known
from attnflow.train.networks.named import OWN
from attnflow.train.objective import has_theory
from attnflow.train.report.page import FORMATS, Page
from attnflow.train.report.posts_page import posts_page
from attnflow.train.running import Trained
from attnflow.train.theory import rows_of, theory_over_practice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("ftpt", "ffpt", "ftpf", "ffpf", "accuracy")

Figures = dict[str, tuple[str, "Figure"]]
"""Name of the file -> (what it shows, the figure)."""


def rate_rows(found: dict[str, Any]) -> list[tuple[str, str, *tuple[float | None, ...]]]:
    """An evaluation as rows: set, rule, focus true, the four rates, accuracy; None: not known."""
    return [
        (name, rule, part["focus_true"], *(part[rule][column] for column in COLUMNS))
        for name, part in found["sets"].items()
        for rule in RULES
    ]


SEVERAL = ("set", "with truth", "auprc", *(f"F1 {rule}" for rule in RULES))
SEVERAL_SAID = (
    "Where several segments may be true, or the truth of some inputs is not known, focus is judged "
    "on the inputs whose true segments are known: how many these are, the area under precision "
    "against recall of the weights as a ranking of their segments, and the mean F1 of the classes "
    "in percent, of all inputs."
)


def rows_of_several(found: dict[str, Any]) -> list[tuple[str, int, *tuple[float | None, ...]]]:
    """What an evaluation has more where several segments may be true; empty elsewhere."""
    return [
        (name, part["with_truth"], part["auprc"], *(part[rule]["macro_f1"] for rule in RULES))
        for name, part in found["sets"].items()
        if "with_truth" in part
    ]


def _spell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if value <= 1 else f"{value:.2f}"


def compare_runs(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    best: bool = False,
    kind: str = "markdown",
    show_words: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """A page and its figures (SVG) in a folder, from the folders of runs.

    Args:
        paths: folders of runs; each of the runs trained at once has a line of its own.
        out: where the page goes.
        best: the best checkpoint of each in place of the newest.
        kind: "markdown" (report.md beside its figures) or "html" (report.html, which holds them).
        show_words: whether the pages of posts, which runs on text have, show their words.
        progress: called with what is done next.

    Returns:
        The path of the page.

    Raises:
        SettingError: no run, or a folder that holds none, or no such kind of page.
        MissingPart, DataError: data or checkpoints are missing or damaged.
    """
    if kind not in FORMATS:
        raise SettingError(f"format must be one of {', '.join(FORMATS)}, got {kind!r}")
    if not paths:
        raise SettingError("a report needs at least one run")
    runs: list[tuple[str, Trained]] = []
    for path, name in zip(paths, _names(paths), strict=True):
        progress(f"loading {path}")
        runs.append((name, load(path, best=best)))
    page = Page("Runs compared")
    page.text("Rates in percent; ft and ff: focus true and false, pt and pf: prediction.")
    lines, several, weights = [], [], []
    for name, trained in runs:
        progress(f"evaluating {name}")
        for replica, which in enumerate(trained.engine.run.replicas):
            found = evaluate(trained, replica)
            label = f"{name}: {which}"
            for part, rule, *rates in rate_rows(found):
                shown = ("-" if rate is None else f"{rate:.2f}" for rate in rates)
                lines.append((label, part, rule, *shown))
            several += [(label, *row) for row in rows_of_several(found)]
            weights.append((label, *_conditions(trained), str(found["epochs"]), found["weights"]))
    page.table(("run", "set", "rule", "focus true", *COLUMNS), lines)
    if several:
        page.text(SEVERAL_SAID)
        page.table(("run", *SEVERAL), [(*r[:2], *map(_spell, r[2:])) for r in several])
    head = ("run", "task", "m", "C", "paradigm", "networks", "optimiser", "batch", "epochs")
    page.table((*head, "SHA-256 of the weights"), weights)
    for name, trained in runs:
        for remark in trained.remarks:
            page.text(f"{name}: {remark}")
    progress("drawing")
    figures = _figures(runs)
    place = Path(out) / "figures"
    place.mkdir(parents=True, exist_ok=True)
    for name, (caption, figure) in figures.items():
        save(figure, place / f"{name}.svg")
        page.figure(caption, place / f"{name}.svg")
    for name, trained in runs:
        if not trained.engine.task.texts:
            continue
        part, replicas = _part_of(trained), trained.engine.run.replicas
        for replica, which in enumerate(replicas):
            label, ending = (
                (name, "") if len(replicas) == 1 else (f"{name}, {which}", f"-{replica}")
            )
            text = posts_page(trained, part, replica=replica, title=name, show_words=show_words)
            file = save_text(Path(out) / f"posts-{name}{ending}.html", text)
            page.link(f"Posts of {label} ({part}) with the weight on each word", file)
    return save_text(Path(out) / f"report.{FORMATS[kind]}", page.render(kind, Path(out)))


def _names(paths: Sequence[str | Path]) -> list[str]:
    """The names of the folders, numbered where they are equal."""
    plain = [Path(path).absolute().name for path in paths]
    twice = {name for name in plain if plain.count(name) > 1}
    return [f"{n}-{i}" if n in twice else n for i, n in enumerate(plain, 1)]


def _part_of(trained: Trained) -> str:
    """The set that figures of one run show."""
    return "heldout" if "heldout" in trained.engine.inputs else "train"


def _conditions(trained: Trained) -> tuple[str, ...]:
    run, made = trained.engine.run, trained.engine.task
    momentum = f", momentum {run.momentum:g}" if run.momentum else ""
    batch = str(trained.engine.batch)
    names = (Path(run.networks or OWN).name, f"{run.optimizer}{momentum}", batch)
    return made.name, str(made.segments), str(made.classes), str(run.paradigm), *names


def _pairs(held: Sequence[Held]) -> list[list[Held]]:
    """Two and two those of equal focus weights, which one legend names."""
    alike: dict[tuple[float, ...], list[Held]] = {}
    for one in held:
        alike.setdefault(tuple(one.alphas.tolist()), []).append(one)
    return [group[i : i + 2] for group in alike.values() for i in range(0, len(group), 2)]


def _figures(runs: Sequence[tuple[str, Trained]]) -> Figures:
    everywhere = all("heldout" in trained.engine.inputs for _, trained in runs)
    part = "heldout" if everywhere else "train"
    curves = [
        (f"{name}: {trained.engine.run.paradigm}, {which}", rows_of(trained, replica))
        for name, trained in runs
        for replica, which in enumerate(trained.engine.run.replicas)
    ]
    said = f"Focus and classification over epochs, {part} inputs"
    figures: Figures = {"curves": (said, drawing.over_epochs(curves, part))}
    shares = []
    for name, trained in runs:
        own = _part_of(trained)
        for replica, which in enumerate(trained.engine.run.replicas):
            if any_known(trained.engine.task.sets[own]):
                shares.append((f"{name}\n{which}", signature(trained, own, replica)))
    for start in range(0, len(shares), 4):
        said = "Joint histogram of focus weight and class probability on the true segment"
        figures[f"signatures{start // 4 + 1}"] = said, drawing.heat_maps(shares[start : start + 4])
    for number, held in enumerate(_pairs(held_losses([trained for _, trained in runs])), 1):
        said = "Loss under a held focus weight, and what each step of focus gains"
        figures[f"held{number}"] = said, drawing.held(held)
    for name, trained in runs:
        own = _part_of(trained)
        shape = trained.engine.task.shape
        replicas = trained.engine.run.replicas
        if len(shape) == 3 and shape[-1] in (1, 3):
            which = name if len(replicas) == 1 else f"{name}, {replicas[0]},"
            said = f"Inputs of {which} with the weight on each segment; the true one is framed"
            figures[f"mosaics-{name}"] = said, drawing.mosaics(trained, own)
        known = all(has_theory(row["paradigm"], trained.engine.run.known) for row in trained.rows)
        for replica, which in enumerate(replicas if known and trained.engine.exact else ()):
            run, ending = (name, "") if len(replicas) == 1 else (f"{name}, {which},", f"-{replica}")
            said = f"Closed form over what {run} measured, with the largest distance"
            found = theory_over_practice(trained, replica)
            figures[f"theory-{name}{ending}"] = said, drawing.practice(found)
    return figures
