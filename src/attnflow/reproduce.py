"""The experiments of the paper, each by its name: what is run, and a page of what came out.

An experiment is a table of ``experiments.toml``, which ships with the package: configs of training
or a setting of the flow, the numbers that are known of the outcome, and what differs here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnflow import files
from attnflow.errors import MissingPart, SettingError
from attnflow.schedule import Amount, Schedule, Stage
from attnflow.settings import check

if TYPE_CHECKING:
    from attnflow.train.report.page import Page, Runs
    from attnflow.train.running import Progress, RunKind
    from attnflow.train.trained import Trained

COUNTED = {"train": "train", "heldout": "heldout", "test": "test"}
"""Entry of a config that limits a set -> the set."""
PAGE = "page"
"""Folder of the page beside those of the runs."""
UNKNOWN = "not known"
POINTS = 401
"""Times of a curve of the flow at scale 1."""
SOURCES = {
    "cifar10": "run 'attnflow data fetch cifar10 --data DIR', or fetch cifar-10-python.tar.gz from "
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "run 'attnflow data fetch cifar100 --data DIR', or fetch cifar-100-python.tar.gz "
    "from https://www.cs.toronto.edu/~kriz/cifar.html",
    "hatexplain": "run 'attnflow data fetch hatexplain --data DIR', or fetch the folder Data of "
    "https://github.com/hate-alert/HateXplain",
    "coco": "fetch images and captions of COCO 2014 from https://cocodataset.org and the weights "
    "of torchvision's VGG19 as DIR/vgg19.pth",
}
"""Data -> where they come from."""


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper.

    Attributes:
        name: by which it is asked for.
        title: what it shows.
        size: what is run, and how large its data are.
        cpu, gpu: how long it takes at scale 1.
        data: which data it needs; "" for none.
        flow: segments, classes and horizon, where the flow is solved and nothing trained.
        common: entries of the config that all runs share.
        runs: those of each run, by its name.
        shown: (set, rule, quantity) told of each run; the rule is "" for captions.
        published: what is known: of "run" the "values" (set, rule, quantity, number) by "source".
        differs: sentences.
        count_unknown: whether inputs of unknown truth count as focus false.
    """

    name: str
    title: str
    size: str
    cpu: str
    gpu: str
    data: str = ""
    flow: Mapping[str, Any] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shown: tuple[Any, ...] = ()
    published: tuple[Any, ...] = ()
    differs: tuple[str, ...] = ()
    count_unknown: bool = False

    @property
    def captions(self) -> bool:
        """Whether it is of captions."""
        return self.common.get("task") == "coco"

    def rows(self, found: Mapping[str, Any]) -> list[tuple[str, str, str, str, Any, Any]]:
        """What came out beside what is known.

        Args:
            found: an evaluation (of ``attnflow.train.evaluate`` or of captions) of each run.

        Returns:
            (run, set, rule, quantity, what came out, what is known or None) in order; a quantity
            that no set has is left out.
        """
        known = {
            (one["run"], *value[:3]): value[3] for one in self.published for value in one["values"]
        }
        told = [(run, *one) for run in found for one in self.shown]
        rows = []
        for run, part, rule, quantity in dict.fromkeys(
            [*told, *(k for k in known if k[0] in found)]
        ):
            values = found[run]["sets"].get(part, {})
            value = values.get(rule, values).get(quantity, values.get(quantity))
            if value is not None:
                key = run, part, rule, quantity
                rows.append((*key, value, known.get(key)))
        return rows


@cache
def experiments() -> dict[str, Experiment]:
    """Every experiment by its name.

    Example:
        >>> experiments()["sdc-cifar10"].runs["soft"]
        {'paradigm': 'soft'}
    """
    from attnflow.reading import read_toml

    tables = read_toml(Path(__file__).with_name("experiments.toml"))
    return {name: Experiment(name, **table) for name, table in tables.items()}


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in experiments():
        raise SettingError(f"experiment must be one of {', '.join(experiments())}, got {name!r}")
    return experiments()[name]


def configs(
    one: Experiment, data: str | None = None, *, scale: float = 1.0, seed: int = 0
) -> dict[str, Any]:
    """The config of each run, epochs and sets in proportion to the scale.

    Args:
        one: the experiment.
        data: where its data are.
        scale: above 0 and at most 1; every number of epochs, ends of stages too, and of inputs is
            multiplied by it, and is at least 1.
        seed: of starts, order and draws.

    Raises:
        MissingPart: its data are missing; says which, and where they come from.
        SettingError: the scale is not allowed.
        DataError: the data are damaged.
    """
    from attnflow.captions.config import CaptionTraining
    from attnflow.train.config import Training

    check("scale", scale, "above 0 and at most 1", lambda v: (v > 0) & (v <= 1))
    if one.data and data is None:
        raise MissingPart(
            f"{one.name} needs {one.data}, got no --data: {SOURCES[one.data]}, and name the folder "
            "by --data DIR"
        )
    found = {}
    for name, own in one.runs.items():
        entries = {**one.common, **own, **({"data": data} if one.data else {})}
        if pattern := entries.get("encoder_weights"):
            weights = sorted(Path(data or ".").expanduser().glob(pattern))
            if not weights:
                raise MissingPart(
                    f"{one.name} needs the weights of VGG19, got no {pattern} at {data!r}: "
                    f"{SOURCES[one.data]}"
                )
            entries["encoder_weights"] = str(weights[0])
        entries["paradigm"], entries["epochs"] = _shorter(
            entries["paradigm"], entries["epochs"], scale
        )
        entries |= {"seed": seed} if one.captions else {"seeds": (seed,)}
        found[name] = (CaptionTraining if one.captions else Training).from_dict(entries)
    counts = _counts(one, next(iter(found.values()))) if scale < 1 and found else {}
    less = {name: max(1, round(scale * count)) for name, count in counts.items()}
    return {name: replace(run, **less) for name, run in found.items()}


def _shorter(paradigm: str, epochs: int, scale: float) -> tuple[str, int]:
    """The schedule and the epochs of a run, in proportion; every stage has an epoch."""
    stages: list[Stage] = []
    last = 0
    for stage in Schedule(paradigm, bare="epoch").stages:
        if stage.end is not None and not stage.end.share:
            last = max(last + 1, round(scale * stage.end.value))
            stage = replace(stage, end=Amount("epoch", last))
        elif stage.end is not None:
            last += 1
        stages.append(stage)
    return str(Schedule(stages)), max(last + 1, round(scale * epochs))


def _counts(one: Experiment, run: Any) -> dict[str, int]:
    """How many inputs each set has: as the experiment says, or as there are."""
    named = {name: one.common[name] for name in COUNTED if name in one.common}
    if named:
        return named
    if one.captions:
        from attnflow.captions.coco import PARTS
        from attnflow.captions.loop import corpus_of

        sets: Mapping[str, Any] = corpus_of(run).sets
        return {name: len(sets[part]) for name, part in PARTS.items()}
    from attnflow.train.loop import task_of

    return {name: len(part) for name, part in task_of(run).sets.items()}


def reproduce(
    name: str,
    out: str | Path,
    data: str | None = None,
    *,
    scale: float = 1.0,
    seed: int = 0,
    progress: "Progress | None" = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Run an experiment of the paper, or go on with it, and write a page of what came out.

    Args:
        name: of the experiment.
        out: folder, in which each run has its own, and ``page`` the page.
        data: where the data are.
        scale: as of ``configs``.
        seed: likewise.
        progress: called after each epoch, or step of captions.
        say: called with what is done next.

    Returns:
        The path of the page.

    Raises:
        MissingPart: data, or a library, are missing.
        SettingError: no such experiment, a value is not allowed, or the folder holds another run.
        DataError: data are damaged.
        TrainingFailed: a run diverged.
    """
    one = experiment(name)
    runs = configs(one, data, scale=scale, seed=seed)
    if one.flow:
        return _solved(one, Path(out) / PAGE, scale, say)
    kind = _kind(one)
    for place, run in ((Path(out) / name, run) for name, run in runs.items()):
        _check_same(kind, place, run)
    for number, (label, run) in enumerate(runs.items(), 1):
        say(f"run {label}, {number} of {len(runs)}")
        _train(one)(run, Path(out) / label, resume=True, progress=progress)
    return _page(one, [Path(out) / label for label in runs], Path(out) / PAGE, scale, say)


def _train(one: Experiment) -> "Callable[..., Trained]":
    if one.captions:
        from attnflow.captions.loop import train

        return train
    from attnflow.train.loop import train as train_pair

    return train_pair


def _kind(one: Experiment) -> "RunKind":
    if one.captions:
        from attnflow.captions.loop import KIND

        return KIND
    from attnflow.train.loop import KIND as PAIR

    return PAIR


def _check_same(kind: "RunKind", place: Path, run: Any) -> None:
    """Refuse to go on with a run that was begun otherwise."""
    from attnflow.train.run_folder import RunFolder

    folder = RunFolder(place, kind)
    if folder.exists() and kind.settle(run, False) != kind.read(folder.config().as_dict()):
        raise SettingError(
            f"{str(place)!r} holds a run with another scale, seed or data: give those again, or "
            "another --out"
        )


def _page(
    one: Experiment, runs: list[Path], out: Path, scale: float, say: Callable[[str], None]
) -> Path:
    """The page that compares the runs, with what is known of them before all else."""
    if one.captions:
        from attnflow.captions.report import account
    else:
        from attnflow.train.report.compare_runs import account
    plain = account()

    def conclusion(page: "Page", loaded: "Runs", found: Any) -> None:
        if one.shown:
            _beside(one, page, {name: _evaluated(one, trained) for name, trained in loaded})
        else:
            page.text("What is published of it are figures; numbers are not known.")
        _differences(one, page, scale)
        plain.conclusion(page, loaded, found)

    return replace(plain, title=one.title, conclusion=conclusion).write(runs, out, "html", say)


def _evaluated(one: Experiment, trained: "Trained") -> Any:
    if one.captions:
        from attnflow.captions.evaluation import evaluate

        return evaluate(trained, images=trained.engine.run.measured)
    from attnflow.train.evaluation import evaluate as rates

    return rates(trained, count_unknown=one.count_unknown)


def _beside(one: Experiment, page: "Page", found: Mapping[str, Any]) -> None:
    rows = [
        (*key, f"{value:.4g}", UNKNOWN if known is None else f"{known:g}")
        for *key, value, known in one.rows(found)
    ]
    head = ("run", "set", "rule", "quantity", "came out", "published")
    page.table(head, [tuple(map(str, row)) for row in rows])
    if one.count_unknown:
        page.text("Focus true is of all inputs here; further down, of those of known truth.")
    for source in dict.fromkeys(f"Published: {entry['source']}." for entry in one.published):
        page.text(source)


def _differences(one: Experiment, page: "Page", scale: float) -> None:
    if scale < 1:
        page.text(f"Epochs and sets are {scale:g} of the published size: numbers do not compare.")
    for sentence in one.differs:
        page.text(f"What differs: {sentence}")


def _solved(one: Experiment, out: Path, scale: float, say: Callable[[str], None]) -> Path:
    """The page of an experiment on the flow."""
    from attnflow.numeric.compare import compare, summary
    from attnflow.plots.figures import draw
    from attnflow.plots.style import save
    from attnflow.settings import Setting
    from attnflow.train.report.page import Page

    flow = dict(one.flow)
    horizon, points = flow.pop("horizon"), max(51, round(scale * POINTS))
    names = ("soft", "hard", "lvml")
    found = compare(names, Setting(**flow), horizon=horizon, points=points, progress=say)
    page = Page(one.title)
    page.text("What is published of it are figures; numbers are not known.")
    _differences(one, page, 1.0)
    ends = found.isel({"time": -1}).sel({"method": "closed form"})
    rows = [
        (
            row["paradigm"],
            *(
                f"{ends[name].sel({'paradigm': row['paradigm']}).item():.6g}"
                for name in ("mu", "nu")
            ),
            *("not reached" if t is None else f"{t:.6g}" for t in row["time_to_focus"].values()),
        )
        for row in summary(found)["rows"]
        if row["method"] == "closed form"
    ]
    when = [f"t(alpha = {level})" for level in summary(found)["rows"][0]["time_to_focus"]]
    page.table(("paradigm", "mu at the end", "nu at the end", *when), rows)
    with files.new_folder(out) as folder:
        for name, said in (("mu", "Margin over time"), ("nu", "Focus score over time")):
            save(draw(found, name), folder / f"{name}.svg")
            page.figure(said, folder / f"{name}.svg")
        files.save_text(folder / "report.html", page.render("html", folder))
    return out / "report.html"
