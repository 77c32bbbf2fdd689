"""What a training run is: one frozen record, checked, written as TOML and read back equal."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from attnflow.errors import ParadigmError, SettingError
from attnflow.reading import read_toml
from attnflow.schedule import Schedule
from attnflow.settings import check, nonnegative, positive, whole
from attnflow.symbolic import record
from attnflow.symbolic.catalogue import paradigm
from attnflow.symbolic.paradigm import Paradigm

OPTIMIZERS = ("sgd", "adam")
RATE_SCHEDULES = ("constant", "cosine")
DTYPES = ("float32", "bfloat16")
COUNTS = (
    *("train", "heldout", "test", "epochs", "passes", "batch", "chunk"),
    *("measure_every", "checkpoint_every", "min_count", "max_length"),
)
"""Entries that are whole numbers of at least 1."""
MOST_SEED = 2**32 - 1
NOT_PARADIGMS = ("hybrid", "hard-sampled", "lvml-em", "all")
"""Names of schedules and of ways to train."""

SEVERAL = frozenset({"seeds", "learning_rates", "fixed_focus", "paradigms"})
"""Entries that hold a list."""

TEXTS = frozenset(
    {
        *("task", "paradigm", "data", "label", "rationale", "networks"),
        *("optimizer", "rate_schedule", "dtype"),
    }
)
"""Entries that hold text."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"networks": "two-layer", "epochs": 40, "learning_rate": 0.05, "batch": 64},
    "orthogonal": {
        "networks": "linear-zero",
        "epochs": 100,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "passes": 20,
    },
    "cifar10": {"networks": "cifar", "epochs": 150, "learning_rate": 0.05},
    "cifar100": {"networks": "cifar-wide", "epochs": 150, "learning_rate": 0.05},
    "hatexplain": {
        "networks": "text",
        "epochs": 20,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "batch": 64,
    },
}
"""What follows from the task unless the user says otherwise."""

GENERAL: dict[str, Any] = {
    "networks": "linear",
    "epochs": 40,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "batch": 256,
    "passes": 1,
}


class Replica(NamedTuple):
    """One of the runs trained at once; inside compiled functions the fields are arrays.

    Attributes:
        seed: of the start, the order and the draws.
        rate: the learning rate.
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


@dataclass(frozen=True)
class Training:
    """A training run.

    What is None follows from the task (``resolved`` fills it in).

    Args:
        task: "digits", "orthogonal", "cifar10", "cifar100" or "hatexplain", or a function of one's
            own that returns a task, as "FILE.py:NAME".
        paradigm: "soft", "hard", "hard-sampled", "lvml", "lvml-em", "power-S", "hybrid" (soft for
            half the epochs, then hard), or a schedule such as "soft@epoch=15,hard"
            (``attnflow.schedule``); also a Paradigm that says what it averages, or a Schedule that
            holds some. As a field it is text.
        paradigms: custom paradigms that the text names, each as ``symbolic.record.write`` gives it.
        segments: m, but for posts, which have as many as they have words.
        classes: C, for the orthogonal task.
        train: number of training inputs; None with the orthogonal task is the exact population.
        heldout: number of held-out inputs.
        test: number of test inputs.
        data: where image or text data are.
        data_seed: of the task's inputs.
        label: of posts: "majority", or of the "first", "second" or "third" annotator.
        rationale: of posts: "majority", "union", or of the "first", "second" or "third".
        min_count: how often a word must occur to be told apart.
        max_length: words of a post that count.
        networks: name of the networks.
        fixed_focus: alpha, the weight held on the true segment while only the classifier learns,
            one or several, trained at once; None to learn both.
        epochs: how many.
        passes: how often an epoch goes over the inputs.
        batch: inputs a step; None for all at once where the task is exact.
        optimizer: "sgd" or "adam".
        learning_rates: one or several; several are trained at once.
        rate_schedule: "constant", or "cosine" to zero over the run.
        momentum: of sgd, from 0 to below 1.
        dtype: "float32", or "bfloat16" for the networks' arithmetic (weights stay float32).
        seeds: one or several; several are trained at once.
        chunk: inputs whose gradient is taken at once, None for a value that suits the device.
        measure_every: epochs between measurements of the whole sets.
        checkpoint_every: epochs between checkpoints.

    Raises:
        SettingError: a value is outside its range.
    """

    task: str = "digits"
    paradigm: "str | Paradigm | Schedule" = "hybrid"
    paradigms: tuple[str, ...] | None = None
    segments: int | None = None
    classes: int | None = None
    train: int | None = None
    heldout: int | None = None
    test: int | None = None
    data: str | None = None
    data_seed: int = 0
    label: str | None = None
    rationale: str | None = None
    min_count: int | None = None
    max_length: int | None = None
    networks: str | None = None
    fixed_focus: tuple[float, ...] | None = None
    epochs: int | None = None
    passes: int | None = None
    batch: int | None = None
    optimizer: str | None = None
    learning_rates: tuple[float, ...] | None = None
    rate_schedule: str = "constant"
    momentum: float | None = None
    dtype: str = "float32"
    seeds: tuple[int, ...] = (0,)
    chunk: int | None = None
    measure_every: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        text, paradigms = as_text(self.paradigm, self.paradigms)
        object.__setattr__(self, "paradigm", text)
        object.__setattr__(self, "paradigms", paradigms)
        one, count = "a whole number of at least 1", whole(1)
        for name in COUNTS:
            if getattr(self, name) is not None:
                check(name, getattr(self, name), one, count)
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("rate_schedule", RATE_SCHEDULES),
            ("dtype", DTYPES),
        ):
            if getattr(self, name) not in (None, *allowed):
                raise SettingError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        check("data_seed", self.data_seed, "a whole number of at least 0", whole(0))
        for rate in self.learning_rates or ():
            check("learning_rate", rate, "a finite number above 0", positive)
        for seed in self.seeds:
            allowed = f"a whole number from 0 to {MOST_SEED}"
            check("seed", seed, allowed, lambda v: whole(0)(v) & (v <= MOST_SEED))
        for name in sorted(SEVERAL):
            several = getattr(self, name)
            if several is not None and not 0 < len(several) == len({*several}):
                kind = "paradigms" if name == "paradigms" else "numbers"
                raise SettingError(f"{name} must be one or more different {kind}, got {several}")
        if self.momentum is not None:
            allowed = "at least 0 and below 1"
            check("momentum", self.momentum, allowed, lambda v: nonnegative(v) & (v < 1))
            if self.momentum and self.optimizer not in (None, "sgd"):
                raise SettingError(
                    f"momentum is for sgd only, got {self.momentum} with {self.optimizer}"
                )
        for focus in self.fixed_focus or ():
            check("fixed_focus", focus, "above 0 and at most 1", lambda a: (a > 0) & (a <= 1))

    def resolved(self) -> "Training":
        """The same run with what follows from the task filled in."""
        follows = {**GENERAL, **DEFAULTS.get(self.task, {})}
        follows["learning_rates"] = (follows.pop("learning_rate"),)
        if self.task == "orthogonal" and self.batch is None and self.train is None:
            follows.pop("batch")  # the exact population is one batch
        if (self.optimizer or follows["optimizer"]) != "sgd":
            follows["momentum"] = 0.0
        filled = {
            f.name: follows[f.name]
            for f in fields(self)
            if f.name in follows and getattr(self, f.name) is None
        }
        for name in ("data", "task", "networks"):
            filled |= from_anywhere(name, getattr(self, name))
        run = Training(**{**self.as_dict(), **filled})
        run.schedule  # noqa: B018  # can be read
        return run

    @property
    def schedule(self) -> Schedule:
        """The paradigms in turn, shares of the epochs as epochs."""
        return Schedule(str(self.paradigm), bare="epoch").over(self.epochs or 1)

    @property
    def known(self) -> dict[str, Paradigm]:
        """The custom paradigms by name."""
        return {one.name: one for one in map(record.read, self.paradigms or ())}

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

    def as_dict(self) -> dict[str, Any]:
        """All fields that are not None."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}


def as_text(
    given: "str | Paradigm | Schedule", paradigms: tuple[str, ...] | None
) -> tuple[str, tuple[str, ...] | None]:
    """What a config holds of paradigms: the schedule as text, and the custom ones that it names.

    Args:
        given: a text, a Paradigm, or a Schedule.
        paradigms: custom ones that are there already.

    Raises:
        SettingError, ParadigmError: it is none of these, a custom one has the name of another, or
            does not say what it averages.
    """
    held = {one.name: one for one in map(record.read, paradigms or ())}
    if isinstance(given, str):
        text = given
    elif isinstance(given, Paradigm | Schedule):
        schedule = Schedule([given.name]) if isinstance(given, Paradigm) else given
        text = str(schedule)
        objects = [given] if isinstance(given, Paradigm) else [s.paradigm for s in schedule.stages]
        for one in objects:
            if isinstance(one, Paradigm) and held.setdefault(one.name, one) != one:
                raise SettingError(f"two paradigms are called {one.name!r}")
    else:
        raise SettingError(f"paradigm must be text, a Paradigm or a Schedule, got {given!r}")
    for name, one in list(held.items()):
        try:
            built_in = paradigm(name)
        except ParadigmError:
            built_in = None
        if built_in == one:
            del held[name]
        elif built_in is not None or name in NOT_PARADIGMS:
            raise SettingError(f"{name!r} is a name of ours: give your paradigm another")
        elif one.averages is None:
            raise ParadigmError(
                f"paradigm {name!r} is given by its loss alone, which does not say how real "
                "networks are trained: give averages= too, or a function of log-weights and logits"
            )
    return text, tuple(map(record.write, held.values())) or None


def from_anywhere(name: str, value: str | None) -> dict[str, str]:
    """An entry that names a file or folder here, by its absolute path."""
    place, function = value or "", ""
    if name in ("task", "networks"):
        place, _, function = place.rpartition(":")
    if not place or not Path(place).exists():
        return {}
    return {name: f"{Path(place).absolute()}{':' if function else ''}{function}"}


def to_toml(run: Any) -> str:
    """A config (a record with ``as_dict``) as TOML, which ``from_toml`` reads back equal.

    Raises:
        SettingError: a text in it is no Unicode.
    """
    text = tomli_w.dumps(run.as_dict())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingError(f"a config must hold Unicode text, got {error.object!r}") from error
    return text


def from_toml(path: str | Path) -> Training:
    """A run from a TOML file.

    Raises:
        SettingError: no such file, it is no TOML, or a name or value in it is not allowed.
    """
    return from_dict(read_toml(path))


def from_dict(found: dict[str, Any]) -> Training:
    """A run from plain values.

    Raises:
        SettingError: a name or a value is not allowed.
    """
    known = {f.name for f in fields(Training)}
    for name in found:
        if name not in known:
            raise SettingError(f"unknown entry {name!r}; known are {', '.join(sorted(known))}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    for name, value in plain.items():
        if (name in TEXTS) != isinstance(value, str):
            raise SettingError(
                f"{name} must be {'text' if name in TEXTS else 'a number'}, got {value!r}"
            )
        if (name in SEVERAL) != isinstance(value, tuple):
            kind = "one number" if isinstance(value, tuple) else "a list of numbers"
            raise SettingError(f"{name} must be {kind}, got {value!r}")
    return Training(**plain)
