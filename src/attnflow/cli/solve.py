"""``attnflow solve`` and ``attnflow simulate``: the same options, the same JSON, two methods."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Option

from attnflow import files
from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import (
    OUTPUT,
    SIMULATION,
    START,
    AsJson,
    ParadigmOptions,
    Schedules,
    SettingOptions,
    StartOptions,
    TimeOptions,
    build_schedule,
    contradiction,
    grouped,
    number,
)
from attnflow.errors import IntegrationFailed, SettingError

if TYPE_CHECKING:
    from attnflow.numeric.trajectory import Trajectory

CURVES = ("mu", "nu", "alpha", "complement", "beta", "loss")
HEADER = ("t", "mu", "nu", "alpha", "1 - alpha", "beta", "loss")
POINTS = 21
"""Times on the default grid."""

Freeze = Annotated[
    Literal["focus", "classifier"] | None,
    Option(help="Hold the focus weight, or the classifier.", rich_help_panel=START),
]
Out = Annotated[
    str | None,
    Option("--out", "-o", metavar="FILE", help="Write .json or .csv.", rich_help_panel=OUTPUT),
]


@dataclass(frozen=True)
class Asked:
    """What solve and simulate share, built and checked."""

    entries: list[Any]
    setting: Any
    times: Any
    initial: tuple[float, float]
    freeze: str | None
    out: Any

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``solve`` and ``simulate`` but for the paradigm."""
        names = ("setting", "times", "initial", "freeze")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Shared:
    """The options that both commands have beyond the groups."""

    schedule: Schedules = None
    freeze: Freeze = None
    out: Out = None

    def build(
        self,
        which: ParadigmOptions,
        setting: SettingOptions,
        start: StartOptions,
        times: TimeOptions,
    ) -> Asked:
        """Everything checked; the cheap refusals first."""
        out = None if self.out is None else check_file(self.out)
        built = setting.build()
        if self.schedule is not None and which.paradigm:
            raise contradiction("--schedule", "--paradigm", "a schedule names its own paradigms")
        when = times.build(built, POINTS)
        initial = start.build(built)
        if self.schedule is None:
            entries: list[Any] = which.build()
        else:
            entries = [build_schedule(self.schedule, which.custom(), built, initial)]
            if self.freeze and any("@" + unit in self.schedule for unit in ("alpha", "theory")):
                raise SettingError(
                    f"a schedule under --freeze needs times, as in soft@t=200,hard, got "
                    f"{self.schedule!r}"
                )
        return Asked(entries, built, when, initial, self.freeze, out)


def check_file(name: str) -> Any:
    """The path of a file of curves, checked before anything is computed."""
    path = files.check_place(name, folder=False)
    if path.suffix.lower() not in (".json", ".csv"):
        raise SettingError(f"out must end in .json or .csv, got {name!r}")
    return path


def _examples(name: str, *more: str) -> str:
    return examples(
        f"attnflow {name} --paradigm soft -m 20 -C 20 --times 1,10,1000 --json",
        f"attnflow {name} -p soft -p lvml --horizon 1e6 --grid log --points 50",
        f"attnflow {name} --schedule soft@t=200,hard --times 300,1000",
        f"attnflow {name} -p lvml --freeze focus --alpha 0.4 --mu0 -2 --horizon 500",
        f"attnflow {name} --paradigm-file my.py:FOCAL --out curves.csv",
        *more,
    )


def record(entry: Any, asked: Asked, trajectory: "Trajectory") -> dict[str, Any]:
    """A trajectory as plain values; the start and what is held only where they were given."""
    import numpy as np

    from attnflow.numeric.compare import label_of

    document = {"paradigm": label_of(entry), "setting": asked.setting.as_dict()}
    if asked.initial != (0.0, 0.0):
        document["initial"] = list(asked.initial)
    if asked.freeze is not None:
        document["freeze"] = asked.freeze
    times = np.asarray(trajectory.times)
    curves = {name: np.asarray(getattr(trajectory, name)) for name in CURVES}
    for name, values in curves.items():
        if np.isnan(values).any():
            raise IntegrationFailed(
                f"{name} of {document['paradigm']} is no number at t = "
                f"{times[np.isnan(values)][0]:g}: the motion leaves what float64 holds; ask for "
                "earlier times"
            )
    return {**document, "times": times.tolist(), **{n: v.tolist() for n, v in curves.items()}}


def deliver(records: list[dict[str, Any]], method: str, out: Any, as_json: bool) -> None:
    """Write the records to a file, print them as JSON, or as tables."""
    from attnflow.files import save_text

    document = records[0] if len(records) == 1 else records
    if out is not None:
        text = to_csv(records) if out.suffix.lower() == ".csv" else output.to_json(document) + "\n"
        output.say(f"wrote {save_text(out, text)}")
    if as_json:
        output.emit(document)
    elif out is None:
        for one in records:
            setting = one["setting"]
            title = (
                f"{one['paradigm']}, m = {setting['segments']}, C = {setting['classes']}, {method}"
            )
            output.table(title, HEADER, zip(*(one[n] for n in ("times", *CURVES)), strict=True))


def to_csv(records: Iterable[dict[str, Any]]) -> str:
    """One line for each paradigm and time, every digit."""
    lines = [",".join(("paradigm", "time", *CURVES))]
    for one in records:
        name = f'"{one["paradigm"]}"' if "," in one["paradigm"] else one["paradigm"]
        for row in zip(*(one[n] for n in ("times", *CURVES)), strict=True):
            lines.append(",".join([name, *map(repr, row)]))
    return "\n".join(lines) + "\n"


def run(asked: Asked, method: str, function: Callable[..., "Trajectory"]) -> list[dict[str, Any]]:
    """The records of every paradigm asked for, by one method."""
    records = []
    with output.progress(method) as update:
        for entry in asked.entries:
            update(f"{method} of {getattr(entry, 'name', 'the schedule')}")
            records.append(record(entry, asked, function(entry, **asked.arguments)))
    return records


@grouped
def solve(
    which: ParadigmOptions,
    setting: SettingOptions,
    start: StartOptions,
    times: TimeOptions,
    shared: Shared,
    as_json: AsJson = False,
) -> None:
    """Curves in closed form: exact to about 1e-12, at a cost that does not grow with time."""
    asked = shared.build(which, setting, start, times)
    from attnflow import solve as function

    deliver(run(asked, "closed form", function), "closed form", asked.out, as_json)


@dataclass(frozen=True)
class SimulationOptions:
    """How the flow is integrated."""

    solver: Annotated[
        str,
        Option(
            metavar="NAME",
            help="dopri8, dopri5, tsit5, bosh3, kvaerno5, kvaerno3; or scipy, without JAX.",
            rich_help_panel=SIMULATION,
        ),
    ] = "dopri8"
    rtol: Annotated[
        str | None,
        Option(
            metavar="TOL",
            help="Relative error of a step (default 1e-10; of scipy 1e-13).",
            rich_help_panel=SIMULATION,
        ),
    ] = None
    atol: Annotated[
        str | None,
        Option(
            metavar="TOL",
            help="Absolute error of a step (default: a hundredth of the relative one).",
            rich_help_panel=SIMULATION,
        ),
    ] = None
    log_time: Annotated[
        bool,
        Option("--log-time", help="Step in the logarithm of time.", rich_help_panel=SIMULATION),
    ] = False

    learning_rate: Annotated[
        str | None,
        Option(
            metavar="ETA",
            help="Correct the flow for steps of gradient descent of this size.",
            rich_help_panel=SIMULATION,
        ),
    ] = None
    momentum: Annotated[
        str,
        Option(metavar="P", help="Momentum of these steps.", rich_help_panel=SIMULATION),
    ] = "0"
    nesterov: Annotated[
        bool,
        Option("--nesterov", help="Nesterov's momentum.", rich_help_panel=SIMULATION),
    ] = False

    def build(self) -> dict[str, Any]:
        """Keyword arguments of ``simulate``."""
        given = {
            name: getattr(self, name) for name in ("rtol", "atol", "momentum", "learning_rate")
        }
        numbers = {name: number(text) for name, text in given.items() if text is not None}
        return {**numbers, **{n: getattr(self, n) for n in ("solver", "log_time", "nesterov")}}


@grouped
def simulate(
    which: ParadigmOptions,
    setting: SettingOptions,
    start: StartOptions,
    times: TimeOptions,
    shared: Shared,
    simulation: SimulationOptions,
    as_json: AsJson = False,
) -> None:
    """Curves by numerical integration of the flow: for every loss, with closed form or without."""
    from functools import partial

    asked = shared.build(which, setting, start, times)
    from attnflow import simulate as function

    records = run(asked, "simulation", partial(function, **simulation.build()))
    deliver(records, "simulation", asked.out, as_json)


def register(app: typer.Typer) -> None:
    """Add both commands."""
    short = "Curves in closed form."
    app.command(cls=Sectioned, short_help=short, epilog=_examples("solve"))(solve)
    more = (
        "attnflow simulate -p hard --horizon 1e10 --grid log --log-time",
        "attnflow simulate -p soft --times 700 --learning-rate 0.05 --momentum 0.9",
    )
    short = "Curves by numerical integration."
    app.command(cls=Sectioned, short_help=short, epilog=_examples("simulate", *more))(simulate)
