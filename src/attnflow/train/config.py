"""What a training run is: one frozen record, checked, written as TOML and read back equal."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from attnflow.errors import SettingError
from attnflow.train.entries import (
    COUNT,
    MOST,
    NONNEGATIVE,
    POSITIVE,
    WEIGHT,
    documented,
    entry,
    whole,
)
from attnflow.train.shared_config import (
    CUSTOM,
    IMAGES,
    MEASURED,
    MOSAICS,
    POSTS,
    PUBLISHED,
    SEGMENTED,
    TASK,
    TASKS,
    Run,
    from_anywhere,
)


class Replica(NamedTuple):
    """One of the runs trained at once; inside compiled functions the fields are arrays.

    Attributes:
        seed: of the start, the order and the draws.
        rate: the learning rate; inside compiled functions that of each network by name.
        focus: the focus weight that is held, or None.
    """

    seed: Any
    rate: Any
    focus: Any = None

    def as_row(self) -> dict[str, Any]:
        """How a row of metrics names the run."""
        row = {"seed": self.seed, "learning_rate": self.rate}
        return row if self.focus is None else {**row, "fixed_focus": self.focus}

    def __str__(self) -> str:
        held = "" if self.focus is None else f", focus {self.focus:g}"
        return f"seed {self.seed}, rate {self.rate:g}{held}"


@documented
@dataclass(frozen=True)
class Training(Run):
    """A training run.

    What is None follows from the task (``resolved`` fills it in). ``train(run, task=TASK)`` takes
    inputs that are no files and no built-in task.

    Raises:
        SettingError: a value is not allowed, or not with the others.
        ParadigmError: no paradigm has a name of the schedule.
    """

    foreign: ClassVar[str] = "for the task coco only"

    segments: int | None = entry(
        None,
        "number of segments (m)",
        whole(2),
        tasks=MOSAICS,
        panel=SEGMENTED,
        option=("--segments", "-m"),
        metavar="M",
    )
    classes: int | None = entry(
        None,
        "number of classes (C)",
        whole(2),
        tasks=("orthogonal",),
        panel=SEGMENTED,
        option=("--classes", "-C"),
        metavar="C",
    )
    background_mean: float | None = entry(
        None,
        "mean of the background of sampled inputs, 0 in the paper's code",
        NONNEGATIVE,
        tasks=("orthogonal",),
        panel=SEGMENTED,
        metavar="S",
    )
    test: int | None = entry(
        None, "test inputs", COUNT, tasks=("digits", *IMAGES, "hatexplain"), panel=TASK
    )
    data: str | None = entry(
        None,
        "where the data are",
        tasks=(*IMAGES, "hatexplain"),
        panel=TASK,
        metavar="PLACE",
    )
    data_seed: int = entry(0, "seed of the inputs", whole(0), panel=TASK)
    fresh: bool = entry(
        False,
        "draw the training mosaics anew each epoch (digits, cifar10, cifar100): the nearest thing "
        "to theory's gradient over the population",
        panel=SEGMENTED,
    )
    mosaics: str | None = entry(
        None,
        "which mosaics: drawn by --data-seed, as by default, or those of the paper's code",
        ("drawn", "published"),
        tasks=IMAGES,
        panel=SEGMENTED,
        metavar="NAME",
    )
    order: str = entry(
        "shuffled",
        "order of the training inputs: drawn anew each pass, or fixed",
        ("shuffled", "fixed"),
        metavar="NAME",
    )
    label: str | None = entry(
        None,
        "whose label",
        ("majority", "first", "second", "third"),
        follows={},
        tasks=("hatexplain",),
        panel=POSTS,
        metavar="RULE",
    )
    rationale: str | None = entry(
        None,
        "whose rationale",
        ("majority", "union", "first", "second", "third"),
        tasks=("hatexplain",),
        panel=POSTS,
        metavar="RULE",
    )
    min_count: int | None = entry(
        None,
        "how often a word must occur to be told apart",
        COUNT,
        tasks=("hatexplain",),
        panel=POSTS,
    )
    vocabulary: str | None = entry(
        None,
        "whose words are told apart: of the training posts, or of all",
        ("train", "all"),
        tasks=("hatexplain",),
        panel=POSTS,
        metavar="SETS",
    )
    max_length: int | None = entry(
        None, "words of a post that count", COUNT, tasks=("hatexplain",), panel=POSTS
    )
    networks: str | None = entry(
        None,
        "networks: linear, linear-zero, two-layer, cifar, cifar-wide, text, text-transformer, or "
        "FILE.py:NAME, which is run; published: those of the paper's code, "
        + "; ".join(f"{pair} for {task}" for task, pair in PUBLISHED.items())
        + "; its other networks on words: text-published",
        follows={
            "": "linear",
            "digits": "two-layer",
            "orthogonal": "linear-zero",
            "cifar10": "cifar",
            "cifar100": "cifar-wide",
            "hatexplain": "text",
        },
        metavar="NAME",
    )
    fixed_focus: tuple[float, ...] | None = entry(
        None,
        "weight held on the true segment while only the classifier learns; several train at once",
        WEIGHT,
        metavar="ALPHA,...",
    )
    early_points: int = entry(
        16,
        "measurements at most before the first step and after 1, 2, 4, 8, ... of the first epoch",
        whole(0),
        panel=MEASURED,
    )
    passes: int | None = entry(
        None, "how often an epoch goes over the inputs", COUNT, follows={"": 1, "orthogonal": 20}
    )
    learning_rates: tuple[float, ...] | None = entry(
        None,
        "learning rate, or several, which train at once, or one a network: focus=R,classifier=R",
        POSITIVE,
        follows={"": 0.05, "digits": 0.02, "orthogonal": 0.1, "hatexplain": 0.001},
        option=("--learning-rate",),
        metavar="R,...",
    )
    seeds: tuple[int, ...] = entry(
        (0,),
        "seed of start, order and draws, or several, which train at once",
        whole(0, MOST),
        option=("--seed",),
        metavar="S,...",
    )
    chunk: int | None = entry(
        None, "inputs whose gradient is taken at once (default: what suits the device)", COUNT
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for one in fields(self):
            tasks, value = one.metadata["entry"].tasks, getattr(self, one.name)
            if tasks and self.task in TASKS and self.task not in tasks and value is not None:
                *some, last = tasks
                which = f"{', '.join(some)} and {last}" if some else f"the {last} task"
                raise SettingError(
                    f"{one.name} is for {which} only, got {value!r} with {self.task}"
                )

    def resolved(self, *, like: str | None = None) -> "Training":
        """The same run with what follows from the task filled in.

        Args:
            like: the task whose defaults hold; None for the config's own.
        """
        task, filled = like or self.task, {}
        optimizer: Any = self.optimizer
        for one in fields(self):
            follows = one.metadata["entry"].follows
            if not follows or getattr(self, one.name) is not None:
                continue
            value = follows.get(task, follows.get(""))
            if one.name == "optimizer":
                optimizer = value
            if one.name == "batch" and task == "orthogonal" and self.train is None:
                continue  # the exact population is one batch
            if one.name == "momentum" and optimizer != "sgd":
                value = 0.0
            filled[one.name] = (value,) if one.name == "learning_rates" else value
        if self.networks == "published":
            if task not in PUBLISHED:
                raise SettingError(
                    f"networks published are for {', '.join(PUBLISHED)} only, got task {task!r}"
                )
            filled["networks"] = PUBLISHED[task]
        for name in ("data", "task", "networks", "start_from"):
            filled |= from_anywhere(name, getattr(self, name))
        return replace(self, **filled)

    def at(self, task: Any) -> "Training":
        """The same run on a task given as an object, whose own defaults then hold."""
        run = replace(self, task=CUSTOM).resolved(like=task.name)
        return replace(run, batch=len(task.sets["train"])) if run.batch is None else run

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """What tells the runs trained at once apart."""
        focus = self.fixed_focus or (None,)
        rates = self.learning_rates or ()
        return tuple(Replica(s, r, a) for a in focus for r in rates for s in self.seeds)

    @property
    def convolves(self) -> bool:
        """Whether the networks are convolutional, so that a step is work for every core."""
        return (self.resolved().networks or "").startswith("cifar")


def to_toml(run: Any) -> str:
    """A config (a record with ``as_dict``) as TOML, which ``from_toml`` reads back equal.

    Raises:
        SettingError: a text in it is no Unicode.
    """
    import tomli_w

    text = tomli_w.dumps(run.as_dict())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = error.object[: error.end].rpartition("\n")[2]
        raise SettingError(f"a config must hold Unicode text, got {line!r}") from error
    return text


def from_toml(path: str | Path) -> Training:
    """A run from a TOML file.

    Raises:
        SettingError: no such file, it is no TOML, or a name or value in it is not allowed.
    """
    from attnflow.reading import read_toml

    return Training.from_dict(read_toml(path))


from_dict = Training.from_dict
