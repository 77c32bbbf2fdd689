"""Runs side by side: the rates of each as a table, and the figures that compare them."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

from attnflow.files import save_text
from attnflow.train import drawing
from attnflow.train.evaluation import RULES, evaluate, load, signature
from attnflow.train.fixed_focus import Held, held_losses
from attnflow.train.known_truth import RISE, any_known
from attnflow.train.networks.named import OWN
from attnflow.train.outcome import outcome
from attnflow.train.report.page import Account, Figures, Page, Runs
from attnflow.train.report.posts_page import posts_page
from attnflow.train.theory import has_curves, rows_of, theory_over_practice
from attnflow.train.trained import Trained

COLUMNS = ("ftpt", "ffpt", "ftpf", "ffpf", "accuracy")


def rate_rows(found: dict[str, Any]) -> list[tuple[str, str, *tuple[float | None, ...]]]:
    """An evaluation as rows: set, rule, focus true, the four rates, accuracy; None: not known."""
    return [
        (name, rule, part["focus_true"], *(part[rule][column] for column in COLUMNS))
        for name, part in found["sets"].items()
        for rule in RULES
    ]


def meanings(found: dict[str, Any]) -> str:
    """A line on what the sets of an evaluation hold, "" where nothing is said of them."""
    return "; ".join(f"{name}: {what}" for name, what in found["meanings"].items())


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
    return account(best=best, show_words=show_words).write(paths, out, kind, progress)


def account(*, best: bool = False, show_words: bool = False) -> Account:
    """What the page of ``compare_runs`` holds."""
    more = partial(_posts, show_words)
    loading = partial(load, best=best)
    return Account("Runs compared", loading, _evaluated, _conclusion, _figures, _tables, more)


def _labels(name: str, trained: Trained) -> list[str]:
    """The runs trained at once by what they differ in; one alone by its folder's name."""
    told = [str(which).split(", ") for which in trained.engine.run.replicas]
    differ = [len(set(column)) > 1 for column in zip(*told, strict=True)]
    return [", ".join([name, *compress(words, differ)]) for words in told]


Evaluations = list[tuple[str, Trained, int, dict[str, Any]]]
"""Label, run, number of the replica, and what evaluation says of it."""


def _evaluated(runs: Runs) -> Evaluations:
    return [
        (label, trained, replica, evaluate(trained, replica))
        for name, trained in runs
        for replica, label in enumerate(_labels(name, trained))
    ]


def _conclusion(page: Page, runs: Runs, evaluated: Evaluations) -> None:
    """Which run did best, what each came to, and its rates on the inputs least seen."""
    lines, focus, right = [], {}, {}
    for label, trained, replica, found in evaluated:
        part, rates = list(found["sets"].items())[-1]
        accuracies = [rates[rule]["accuracy"] for rule in RULES]
        right[label] = max(accuracies)
        if trained.engine.run.replicas[replica].focus is None:
            focus[label] = rates["focus_true"]
        lines.append((label, part, *map(_percent, [rates["focus_true"], *accuracies])))
    known = {label: value for label, value in focus.items() if value is not None}
    if len(evaluated) > 1:
        best: dict[str, list[str]] = {}
        for found, verb in ((known, "finds a true segment most often"), (right, "classifies best")):
            if found:
                label = max(found, key=found.__getitem__)
                best.setdefault(label, []).append(f"{verb} ({found[label]:.1f} %)")
        told = (f"{label} {' and '.join(done)}" for label, done in best.items())
        page.text(f"On the inputs least seen in training, {', and '.join(told)}.")
    for label, trained, replica, found in evaluated:
        if label in focus:
            page.text(f"{label}: {outcome(trained, replica, found)}")
    page.table(("run", "set", "focus true", *(f"accuracy, {rule}" for rule in RULES)), lines)
    page.text("Percent, by three rules of inference. All rates are below the figures.")


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2f}"


def _tables(page: Page, runs: Runs, evaluated: Evaluations) -> None:
    lines, several, conditions, weights, said = [], [], [], [], {}
    for label, trained, replica, found in evaluated:
        said[meanings(found)] = None
        for part, rule, *rates in rate_rows(found):
            lines.append((label, part, rule, *map(_percent, rates)))
        several += [(label, *row) for row in rows_of_several(found)]
        which = str(trained.engine.run.replicas[replica])
        conditions.append((label, *_conditions(trained), str(found["epochs"]), which))
        weights.append((label, found["weights"]))
    page.text("Rates in percent; ft and ff: focus true and false, pt and pf: prediction.")
    page.table(("run", "set", "rule", "focus true", *COLUMNS), lines)
    for line in filter(None, said):
        page.text(f"Sets: {line}.")
    if several:
        page.text(SEVERAL_SAID)
        page.table(("run", *SEVERAL), [(*r[:2], *map(_spell, r[2:])) for r in several])
    head = ("run", "task", "m", "C", "paradigm", "networks", "optimiser", "batch", "epochs")
    page.table((*head, "seed and rate"), conditions)
    page.table(("run", "SHA-256 of the weights"), weights)


def _posts(show_words: bool, page: Page, runs: Runs, folder: Path) -> None:
    for name, trained in runs:
        if not trained.engine.task.texts:
            continue
        part, replicas = _part_of(trained), trained.engine.run.replicas
        for replica, which in enumerate(replicas):
            label, ending = (
                (name, "") if len(replicas) == 1 else (f"{name}, {which}", f"-{replica}")
            )
            text = posts_page(trained, part, replica=replica, title=name, show_words=show_words)
            file = save_text(folder / f"posts-{name}{ending}.html", text)
            page.link(f"Posts of {label} ({part}) with the weight on each word", file)


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


def _figures(runs: Runs) -> Figures:
    for number, held in enumerate(_pairs(held_losses([trained for _, trained in runs])), 1):
        said = (
            "Loss under a held focus weight; what it gains over the classifier trained at the next "
            f"lower weight; and what the same classifier gains by {RISE:g} more weight"
        )
        yield f"held{number}", said, drawing.held(held)
    yield from _learning(runs)
    for name, trained in runs:
        own = _part_of(trained)
        shape = trained.engine.task.shape
        replicas = trained.engine.run.replicas
        if len(shape) == 3 and shape[-1] in (1, 3):
            which = name if len(replicas) == 1 else f"{name}, {replicas[0]},"
            said = f"Inputs of {which} with the weight on each segment; the true one is framed"
            yield f"mosaics-{name}", said, drawing.mosaics(trained, own)
        for replica, which in enumerate(replicas if has_curves(trained) else ()):
            run, ending = (name, "") if len(replicas) == 1 else (f"{name}, {which},", f"-{replica}")
            said = f"Closed form over what {run} measured, with the largest distance"
            found = theory_over_practice(trained, replica)
            yield f"theory-{name}{ending}", said, drawing.practice(found)


def _learning(runs: Runs) -> Figures:
    """Curves and joint histograms of the runs whose focus learns."""
    everywhere = all("heldout" in trained.engine.inputs for _, trained in runs)
    part = "heldout" if everywhere else "train"
    learning = [
        (label, trained, replica)
        for name, trained in runs
        for replica, label in enumerate(_labels(name, trained))
        if trained.engine.run.replicas[replica].focus is None
    ]
    if learning:
        curves = [(label, rows_of(trained, replica)) for label, trained, replica in learning]
        said = f"Focus and classification over epochs, {part} inputs"
        yield "curves", said, drawing.over_epochs(curves, drawing.learning(part))
    shares = [
        (label.replace(", ", "\n", 1), signature(trained, own, replica))
        for label, trained, replica in learning
        if any_known(trained.engine.task.sets[own := _part_of(trained)])
    ]
    for start in range(0, len(shares), 4):
        said = "Joint histogram of focus weight and class probability on the true segment"
        yield f"signatures{start // 4 + 1}", said, drawing.heat_maps(shares[start : start + 4])
