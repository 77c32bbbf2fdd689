"""What configs of every kind of run have in common: tasks by name, and the entries they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attnflow.errors import ParadigmError, SettingError
from attnflow.train.entries import COUNT, SHARE, Config, entry

if TYPE_CHECKING:
    from attnflow.schedule import Schedule
    from attnflow.symbolic.paradigm import Paradigm

CUSTOM = "custom"
"""The task of a config whose inputs were given as an object."""
TASK, POSTS = "Task", "Posts (task hatexplain)"
MEASURED = "Measuring and keeping"
IMAGES = ("cifar10", "cifar100")
MOSAICS = ("digits", "orthogonal", *IMAGES)
SEGMENTED = f"Mosaics (tasks {', '.join(MOSAICS)})"
TASKS = (*MOSAICS, "hatexplain")
"""Names of the built-in tasks."""
PUBLISHED = {
    "orthogonal": "linear-published",
    "cifar10": "cifar-published",
    "cifar100": "cifar-wide",
    "hatexplain": "text-transformer-published",
}
"""Task -> what networks "published" are there: those of the paper's code."""


@dataclass(frozen=True)
class Run(Config):
    """What runs on two networks and on captions have in common."""

    task: str = entry(
        "digits",
        f"what is learned: {', '.join(TASKS)}, coco (captions), or FILE.py:NAME, which is run",
        panel=TASK,
        metavar="NAME",
    )
    data: str | None = entry(None, "where the data are", panel=TASK, metavar="PLACE")
    train: int | None = entry(None, "training inputs", COUNT, panel=TASK)
    heldout: int | None = entry(None, "held-out inputs", COUNT, panel=TASK)
    min_count: int | None = entry(
        None, "how often a word must occur to be told apart", COUNT, panel=TASK
    )
    paradigm: "str | Paradigm | Schedule" = entry(
        "lvml",
        "what is minimised: soft, hard, hard-sampled, lvml, lvml-em, power-1/2, weighted-logits "
        "(what the paper's code takes for lvml on posts), hybrid (soft for half the epochs, then "
        "hard), or a schedule: soft@epoch=15,hard; soft@alpha=0.6,hard; "
        "soft@t=90,hard; soft@theory,hard",
        option=("--paradigm", "-p"),
        metavar="SCHEDULE",
    )
    paradigms: tuple[str, ...] | None = entry(
        None,
        "custom paradigms that the text names, each as ``symbolic.record.write`` gives it",
        panel="",
    )
    custom_losses: tuple[str, ...] = entry(
        (), "names in the paradigm that are losses given with ``losses``", panel=""
    )
    epochs: int | None = entry(
        None,
        "number of epochs",
        COUNT,
        follows={"": 40, "orthogonal": 100, "cifar10": 150, "cifar100": 150, "hatexplain": 20},
    )
    batch: int | None = entry(
        None,
        "inputs a step; the exact population is one batch",
        COUNT,
        follows={"": 256, "digits": 64, "hatexplain": 64},
    )
    optimizer: str | None = entry(
        None,
        "the optimizer",
        ("sgd", "adam"),
        follows={"": "sgd", "hatexplain": "adam"},
        metavar="NAME",
    )
    rate_schedule: str = entry(
        "constant", "the rate over the run", ("constant", "cosine"), metavar="NAME"
    )
    momentum: float | None = entry(
        None, "momentum of sgd", SHARE, follows={"": 0.9, "orthogonal": 0.0}, metavar="P"
    )
    dtype: str = entry(
        "float32",
        "type of the networks' arithmetic (weights stay float32)",
        ("float32", "bfloat16"),
        metavar="NAME",
    )
    start_from: str | None = entry(
        None,
        "folder of another run, from whose newest weights this one begins, with a fresh optimiser",
        panel=MEASURED,
        metavar="RUN",
    )
    start_weights: str | None = entry(None, "SHA-256 of these weights, as they were", panel="")
    measure_every: int = entry(1, "epochs between measurements", COUNT, panel=MEASURED)
    checkpoint_every: int = entry(1, "epochs between checkpoints", COUNT, panel=MEASURED)

    rates: ClassVar[tuple[str, str]] = ("learning_rates", "classifier")
    """The entry of the learning rate, and the network by whose rate time is counted."""

    @classmethod
    def read(cls, given: "Mapping[str, str | bool]") -> dict[str, Any]:
        """Entries from the texts of options; a learning rate may be given by network.

        Raises:
            SettingError: this kind of run has no such option.
        """
        rates = str(given.get("learning_rate", ""))
        if "=" not in rates:
            return super().read(given)
        pairs = [part.split("=") for part in rates.split(",")]
        if any(len(pair) != 2 for pair in pairs) or len({pair[0].strip() for pair in pairs}) < len(
            pairs
        ):
            raise SettingError(
                f"learning-rate must be a number or NETWORK=R,..., each network once, got {rates!r}"
            )
        rest = {key: text for key, text in given.items() if key != "learning_rate"}
        return {**super().read(rest), cls.rates[0]: {k.strip(): v.strip() for k, v in pairs}}

    def _divide_rates(self) -> None:
        """Learning rates by network: that of time's network is the run's, others the stages'."""
        from attnflow.schedule import Schedule

        entry, clock = self.rates
        given = getattr(self, entry, None)
        if not isinstance(given, Mapping):
            return
        others: dict[str, float] = {}
        for name, rate in given.items():
            try:
                others[name] = float(rate)
            except (TypeError, ValueError):
                raise SettingError(
                    f"learning rate of {name} must be a finite number above 0, got {rate!r}"
                ) from None
        own: Any = getattr(type(self), entry)
        if clock in others:
            own = (others.pop(clock),) if entry.endswith("s") else others.pop(clock)
        object.__setattr__(self, entry, own)
        schedule = Schedule(str(self.paradigm), bare="epoch").with_rates(others)
        object.__setattr__(self, "paradigm", str(schedule))

    def __post_init__(self) -> None:
        if not isinstance(self.task, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SettingError(
                f"task must be a name, got a {type(self.task).__name__}: give an object beside the "
                "config, as in train(run, task=TASK)"
            )
        from attnflow.train.objective import as_text

        text, paradigms = as_text(self.paradigm, self.paradigms)
        object.__setattr__(self, "paradigm", text)
        object.__setattr__(self, "paradigms", paradigms)
        self._divide_rates()
        super().__post_init__()
        if self.momentum and self.optimizer not in (None, "sgd"):
            raise SettingError(
                f"momentum is for sgd only, got {self.momentum} with {self.optimizer}"
            )
        self._check_paradigms()

    def _check_paradigms(self) -> None:
        """Refuse a schedule that cannot be read, or names what nobody knows."""
        from attnflow.schedule import Schedule
        from attnflow.train.objective import objective

        if self.epochs is None:
            names = Schedule(str(self.paradigm), bare="epoch").names
        else:
            names = self.schedule.names
        custom, known = dict.fromkeys(self.custom_losses, _given_later), self.known
        for name in names:
            try:
                objective(name, custom, known)
            except ParadigmError as error:
                if not str(error).startswith("unknown"):
                    raise
                raise ParadigmError(
                    f"{error}; a loss of your own is named in custom_losses, too"
                ) from None

    @property
    def schedule(self) -> "Schedule":
        """The paradigms in turn, shares of the epochs as epochs."""
        from attnflow.schedule import Schedule

        return Schedule(str(self.paradigm), bare="epoch").over(self.epochs or 1)

    @property
    def known(self) -> "dict[str, Paradigm]":
        """The custom paradigms by name."""
        from attnflow.symbolic import record

        return {one.name: one for one in map(record.read, self.paradigms or ())}


def _given_later(log_weights: Any, logits: Any, labels: Any) -> Any:
    """The place of a custom loss, which is given with ``losses``."""
    raise SettingError("a custom loss is given with losses=")


def from_anywhere(name: str, value: str | None) -> dict[str, str]:
    """An entry that names a file or folder here, by its absolute path."""
    place, function = value or "", ""
    if name in ("task", "networks"):
        place, _, function = place.rpartition(":")
    if not place or not Path(place).exists():
        return {}
    return {name: f"{Path(place).absolute()}{':' if function else ''}{function}"}
