"""Options of training: those of a config, made from its entries, and what shares the work."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

from typer import Option

from attnflow.cli import output
from attnflow.cli.options import number
from attnflow.errors import SettingError
from attnflow.train.entries import Config, key_of, kind_of, told

MACHINE = "Machine"
FIRST = ("task", "data", "paradigm", "epochs", "batch", "learning_rate", "seed", "networks")
FIRST += ("segments", "classes", "label", "year")
"""Options that help begins with, which orders its sections: those of any task, then of each."""
Kind = TypeVar("Kind", bound=Config)


def options_of(
    *configs: type[Config], only: Collection[str] | None = None
) -> tuple[inspect.Parameter, ...]:
    """The options of configs, each once, as parameters of a command.

    Args:
        configs: kinds of configs; of entries that several have, the first one tells.
        only: names of options to take; None for all.
    """
    options: dict[str, inspect.Parameter] = {}
    for one in (one for config in configs for one in fields(config)):  # type: ignore[arg-type]
        known, key = one.metadata["entry"], key_of(one)
        if not known.panel or key in options or (only is not None and key not in only):
            continue
        flag = f"--{key.replace('_', '-')}"
        boolean = kind_of(one)[0] is bool
        names = (f"{flag}/--no{flag[1:]}",) if boolean else known.option or (flag,)
        help = told(one)
        option = Option(
            *names,
            metavar=None if boolean else known.metavar or "N",
            help=help[0].upper() + help[1:],
            rich_help_panel=known.panel,
        )
        kind = Annotated[bool | None, option] if boolean else Annotated[str | None, option]
        options[key] = inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
        )
    rest = {key: option for key, option in options.items() if key not in FIRST}
    return (*(options[key] for key in FIRST if key in options), *rest.values())


def config_of(
    kind: type[Kind], given: Mapping[str, Any], file: str | None, paradigms: Sequence[str] = ()
) -> Kind:
    """The config in a file, if any, with options on top.

    Args:
        kind: of the run.
        given: options by name.
        file: a config in TOML, or None.
        paradigms: custom ones, each FILE.py:NAME.
    """
    from attnflow.reading import read_toml

    entries = kind.read(given)
    if paradigms:
        from attnflow.files import from_file
        from attnflow.symbolic import record
        from attnflow.symbolic.paradigm import Paradigm

        made = [from_file(place, Paradigm) for place in paradigms]
        entries["paradigms"] = [record.write(one) for one in made]
        if len(made) == 1:
            entries.setdefault("paradigm", made[0].name)
    kept = {} if file is None else read_toml(file)
    if "start_from" in entries:
        kept.pop("start_weights", None)  # of another run
    return kind.from_dict({**kept, **entries})


def _text(help: str, *names: str, panel: str, metavar: str = "N") -> Any:
    return Option(*names, metavar=metavar, help=help, rich_help_panel=panel)


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
