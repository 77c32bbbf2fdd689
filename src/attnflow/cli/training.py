"""Options of training, as groups: the config of a run, and what shares the work."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from attnflow.cli import output
from attnflow.cli.options import number
from attnflow.errors import SettingError
from attnflow.files import from_file

if TYPE_CHECKING:
    from attnflow.train.config import Training

TASK, LEARNING, MACHINE = "Task", "Learning", "Machine"


def _text(help: str, *names: str, panel: str, metavar: str = "N") -> Any:
    return Option(*names, metavar=metavar, help=help, rich_help_panel=panel)


@dataclass(frozen=True)
class TrainingOptions:
    """The config of a run; what is not given follows from the task."""

    task: Annotated[
        str | None,
        _text(
            "digits (the default), orthogonal, cifar10, cifar100, hatexplain, coco (captions), or "
            "your own as FILE.py:NAME, which is run.",
            panel=TASK,
            metavar="NAME",
        ),
    ] = None
    segments: Annotated[str | None, _text("m.", "--segments", "-m", panel=TASK, metavar="M")] = None
    classes: Annotated[
        str | None, _text("C (orthogonal only).", "--classes", "-C", panel=TASK, metavar="C")
    ] = None
    train: Annotated[str | None, _text("Training inputs.", panel=TASK)] = None
    heldout: Annotated[str | None, _text("Held-out inputs.", panel=TASK)] = None
    test: Annotated[str | None, _text("Test inputs.", panel=TASK)] = None
    data: Annotated[str | None, _text("Where the data are.", panel=TASK, metavar="PLACE")] = None
    data_seed: Annotated[str | None, _text("Seed of the inputs.", panel=TASK)] = None
    label: Annotated[
        str | None,
        _text(
            "Of posts: majority (the default), first, second or third.", panel=TASK, metavar="RULE"
        ),
    ] = None
    rationale: Annotated[
        str | None,
        _text(
            "Of posts: majority (the default), union, first, second, third.",
            panel=TASK,
            metavar="RULE",
        ),
    ] = None
    min_count: Annotated[
        str | None, _text("How often a word must occur to be told apart.", panel=TASK)
    ] = None
    max_length: Annotated[str | None, _text("Words of a post that count.", panel=TASK)] = None
    paradigm: Annotated[
        str | None,
        _text(
            "soft, hard, hard-sampled, lvml, lvml-em, power-1/2, hybrid (the default), or "
            "soft@epoch=15,hard; soft@alpha=0.6,hard; soft@t=90,hard; soft@theory,hard.",
            "--paradigm",
            "-p",
            panel=LEARNING,
            metavar="SCHEDULE",
        ),
    ] = None
    paradigm_file: Annotated[
        list[str] | None,
        _text(
            "A paradigm of yours: NAME in a Python file, which is run; --paradigm may name it in a "
            "schedule. Repeatable.",
            "--paradigm-file",
            panel=LEARNING,
            metavar="FILE.py:NAME",
        ),
    ] = None
    networks: Annotated[
        str | None,
        _text(
            "linear, linear-zero, two-layer, cifar, cifar-wide, text, text-transformer, or your "
            "own as FILE.py:NAME, which is run.",
            panel=LEARNING,
            metavar="NAME",
        ),
    ] = None
    fixed_focus: Annotated[
        str | None,
        _text(
            "Hold this focus weight and learn the classifier; several by commas, trained at once.",
            panel=LEARNING,
            metavar="ALPHA,...",
        ),
    ] = None
    epochs: Annotated[str | None, _text("Epochs.", panel=LEARNING)] = None
    passes: Annotated[str | None, _text("Passes over the inputs an epoch.", panel=LEARNING)] = None
    batch: Annotated[str | None, _text("Inputs a step.", panel=LEARNING)] = None
    optimizer: Annotated[str | None, _text("sgd or adam.", panel=LEARNING, metavar="NAME")] = None
    learning_rates: Annotated[
        str | None,
        _text(
            "One, or several by commas, trained at once.",
            "--learning-rate",
            panel=LEARNING,
            metavar="R,...",
        ),
    ] = None
    rate_schedule: Annotated[
        str | None, _text("constant or cosine.", panel=LEARNING, metavar="NAME")
    ] = None
    momentum: Annotated[str | None, _text("Of sgd.", panel=LEARNING, metavar="P")] = None
    dtype: Annotated[str | None, _text("float32 or bfloat16.", panel=LEARNING, metavar="NAME")] = (
        None
    )
    seeds: Annotated[
        str | None,
        _text(
            "One, or several by commas, trained at once.", "--seed", panel=LEARNING, metavar="S,..."
        ),
    ] = None
    chunk: Annotated[
        str | None, _text("Inputs a gradient is taken of at once.", panel=LEARNING)
    ] = None
    measure_every: Annotated[str | None, _text("Epochs between measurements.", panel=LEARNING)] = (
        None
    )
    checkpoint_every: Annotated[
        str | None, _text("Epochs between checkpoints.", panel=LEARNING)
    ] = None

    def given(self) -> dict[str, Any]:
        """What was given, as a config holds it."""
        from attnflow.symbolic import record
        from attnflow.symbolic.paradigm import Paradigm
        from attnflow.train.config import TEXTS

        found: dict[str, Any] = {}
        if self.paradigm_file:
            made = [from_file(place, Paradigm) for place in self.paradigm_file]
            found["paradigms"] = [record.write(one) for one in made]
            if self.paradigm is None and len(made) == 1:
                found["paradigm"] = made[0].name
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or field.name == "paradigm_file":
                continue
            if field.name in ("seeds", "learning_rates", "fixed_focus"):
                found[field.name] = [_number(field.name, part) for part in value.split(",")]
            else:
                found[field.name] = value if field.name in TEXTS else _number(field.name, value)
        return found


def _number(name: str, text: str) -> Any:
    value = number(text.strip())
    if isinstance(value, str):
        raise SettingError(f"{name} must be a number, got {text!r}")
    return value


def config_of(options: TrainingOptions, config: str | None) -> "Training":
    """The config in a file, if any, with options on top."""
    from attnflow.train.config import from_dict, from_toml

    given = options.given()
    if config is not None:
        given = {**{k: _plain(v) for k, v in from_toml(config).as_dict().items()}, **given}
    return from_dict(given)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class MachineOptions:
    """What shares the work."""

    devices: Annotated[
        str | None, _text("How many of this machine's devices (default: all).", panel=MACHINE)
    ] = None
    distributed: Annotated[
        bool,
        Option(
            "--distributed",
            help="One of several processes, each started with this command.",
            rich_help_panel=MACHINE,
        ),
    ] = False
    coordinator: Annotated[
        str | None,
        _text("Where the first process listens.", panel=MACHINE, metavar="HOST:PORT"),
    ] = None
    processes: Annotated[str | None, _text("How many processes.", panel=MACHINE)] = None
    process_id: Annotated[
        str | None, _text("Number of this process, from 0.", panel=MACHINE, metavar="I")
    ] = None

    def join(self) -> int | None:
        """Connect with the other processes if there are any; the number of devices to use."""
        from attnflow.train import parallel

        names = ("devices", "processes", "process_id")
        numbers: dict[str, Any] = {}
        for name in names:
            text = getattr(self, name)
            numbers[name] = None if text is None else whole(name.replace("_", "-"), text)
        described = (self.coordinator, self.processes, self.process_id) != (None, None, None)
        if self.distributed or described or parallel.asked_for():
            place = parallel.whereabouts(
                self.coordinator, numbers["processes"], numbers["process_id"]
            )
            output.keep_standard_output()
            parallel.join(*place)
        return numbers["devices"]


def whole(name: str, text: str) -> int:
    """A whole number that an option gave.

    Raises:
        SettingError: it is none.
    """
    value = number(text.strip())
    if not isinstance(value, int):
        raise SettingError(f"{name} must be a whole number, got {text!r}")
    return value
