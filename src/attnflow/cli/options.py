"""Option groups shared by the commands: frozen dataclasses that build what the library takes.

A command declares a group as one parameter; ``grouped`` turns it into single options for typer
and packs their values again. Values arrive as text, so that every refusal is the library's own
sentence.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from attnflow.errors import SettingError

if TYPE_CHECKING:
    from attnflow.schedule import Schedule
    from attnflow.settings import Setting
    from attnflow.symbolic.paradigm import Paradigm

SETTING, START, TIMES, PARADIGM = "Setting", "Start", "Times", "Paradigm"
SIMULATION, OUTPUT = "Simulation", "Output"

AsJson = Annotated[
    bool,
    Option("--json", help="One JSON document on standard output.", rich_help_panel=OUTPUT),
]


@dataclass(frozen=True)
class Expanded:
    """Says, as ``Annotated[dict[str, Any], Expanded(...)]``, which options a dictionary holds."""

    parameters: tuple[inspect.Parameter, ...]


def grouped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command with each parameter that is an option group spelt out as single options."""
    flat: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    expanded: dict[str, list[str]] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        kind = inspect.Parameter.KEYWORD_ONLY
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation  # pyright: ignore[reportArgumentType]
            flat += [
                inspect.Parameter(f.name, kind, default=f.default, annotation=f.type)
                for f in fields(parameter.annotation)
            ]
            continue
        for one in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(one, Expanded):
                expanded[name] = [option.name for option in one.parameters]
                flat += one.parameters
        if name not in expanded:
            flat.append(parameter.replace(kind=kind))

    @wraps(function)
    def wrapper(**values: Any) -> Any:
        for name, names in expanded.items():
            given = {option: values.pop(option) for option in names}
            values[name] = {key: value for key, value in given.items() if value is not None}
        for name, group in groups.items():
            names = [f.name for f in fields(group)]
            values[name] = group(**{n: values.pop(n) for n in names})
        return function(**values)

    setattr(wrapper, "__signature__", inspect.Signature(flat))  # noqa: B010
    wrapper.__annotations__ = {p.name: p.annotation for p in flat}
    return wrapper


def number(text: str | None) -> Any:
    """The number that a text spells, whole ones as int; the text itself where it spells none."""
    try:
        value = float(text or "")
    except ValueError:
        return text
    return int(value) if value.is_integer() and abs(value) < 2.0**53 else value


def contradiction(first: str, second: str, why: str) -> SettingError:
    """The refusal of two options that say the same thing twice."""
    return SettingError(f"give either {first} or {second}, not both: {why}")


def _text(help: str, *names: str, metavar: str, panel: str) -> Any:
    return Option(*names, metavar=metavar, help=help, rich_help_panel=panel)


@dataclass(frozen=True)
class SettingOptions:
    """-m, -C and the generalised setting."""

    segments: Annotated[
        str, _text("Number of segments.", "--segments", "-m", metavar="M", panel=SETTING)
    ] = "20"
    classes: Annotated[
        str, _text("Number of classes.", "--classes", "-C", metavar="C", panel=SETTING)
    ] = "20"
    foreground_segments: Annotated[
        str,
        _text(
            "Segments that carry the class.", "--foreground-segments", metavar="K", panel=SETTING
        ),
    ] = "1"
    foreground_norm: Annotated[
        str,
        _text("Norm of a foreground vector.", "--foreground-norm", metavar="R", panel=SETTING),
    ] = "1"
    background_norm: Annotated[
        str,
        _text("Norm of a background vector.", "--background-norm", metavar="S", panel=SETTING),
    ] = "0"
    background: Annotated[
        Literal["shared", "distinct"],
        Option(help="One background vector or orthogonal ones.", rich_help_panel=SETTING),
    ] = "shared"
    focus_rate: Annotated[
        str,
        _text("Learning rate of the focus.", "--focus-rate", metavar="ETA", panel=SETTING),
    ] = "1"
    classifier_rate: Annotated[
        str,
        _text(
            "Learning rate of the classifier.", "--classifier-rate", metavar="ETA", panel=SETTING
        ),
    ] = "1"
    decay: Annotated[
        str,
        _text(
            "Weight decay; there is no closed form with it.",
            "--decay",
            metavar="LAMBDA",
            panel=SETTING,
        ),
    ] = "0"

    def build(self) -> "Setting":
        """The Setting, checked."""
        from attnflow.settings import Setting

        values = {f.name: number(getattr(self, f.name)) for f in fields(self)}
        for name in values.keys() - {"segments", "classes", "foreground_segments", "background"}:
            values[name] = _as_float(values[name])
        return Setting(**values)


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value


@dataclass(frozen=True)
class StartOptions:
    """Where a trajectory begins."""

    mu0: Annotated[
        str | None,
        _text(
            "Classifier margin at t = 0, from -300 to 300 (default 0).",
            "--mu0",
            metavar="MU",
            panel=START,
        ),
    ] = None
    nu0: Annotated[
        str | None,
        _text(
            "Focus score at t = 0, from -300 to 300 (default 0).",
            "--nu0",
            metavar="NU",
            panel=START,
        ),
    ] = None
    alpha: Annotated[
        str | None,
        _text("Focus weight at t = 0, in place of --nu0.", "--alpha", metavar="ALPHA", panel=START),
    ] = None

    def build(self, setting: "Setting") -> tuple[float, float]:
        """(mu0, nu0), checked."""
        from attnflow.settings import check, check_start

        if self.alpha is not None and self.nu0 is not None:
            raise contradiction("--alpha", "--nu0", "each gives the focus at the start")
        mu0, nu0 = (0.0 if v is None else number(v) for v in (self.mu0, self.nu0))
        if self.alpha is not None:
            weight = number(self.alpha)
            check("alpha", weight, "a number above 0 and below 1", lambda a: (a > 0) & (a < 1))
            from attnflow.numeric.focus import focus_score

            nu0 = focus_score(weight, setting)
        mu0, nu0 = check_start((mu0, nu0))
        return float(mu0), float(nu0)


@dataclass(frozen=True)
class TimeOptions:
    """At which times: listed, or on a grid."""

    times: Annotated[
        str | None,
        _text("Times, separated by commas.", "--times", metavar="T1,T2,...", panel=TIMES),
    ] = None
    horizon: Annotated[
        str | None,
        _text("Last time (default: from the setting).", "--horizon", metavar="T", panel=TIMES),
    ] = None
    points: Annotated[
        str | None, _text("How many times on the grid.", "--points", metavar="N", panel=TIMES)
    ] = None
    grid: Annotated[
        Literal["linear", "log"] | None,
        Option(help="Evenly spaced times, or their logarithms.", rich_help_panel=TIMES),
    ] = None
    start_time: Annotated[
        str | None,
        _text("First time of a log grid.", "--start-time", metavar="T", panel=TIMES),
    ] = None

    def build(self, setting: "Setting", points: int) -> Any:
        """The times as a float64 array, checked; ``points`` is the default number of them."""
        if self.times is not None:
            return self._listed(self.times)
        from attnflow.numeric.times import default_times

        asked = self.arguments(setting, points)
        return asked["times"] if "times" in asked else default_times(setting, **asked)

    def arguments(self, setting: "Setting", points: int) -> dict[str, Any]:
        """The same as arguments of ``compare``: times, or horizon, points and grid."""
        if self.times is not None:
            return {"times": self._listed(self.times)}
        return self._grid(setting, points)

    def _listed(self, text: str) -> Any:
        import numpy as np

        from attnflow.settings import check, nonnegative

        for option in ("horizon", "points", "grid", "start_time"):
            if getattr(self, option) is not None:
                shown = "--" + option.replace("_", "-")
                raise contradiction("--times", shown, "each says at which times")
        values = [number(part.strip()) for part in text.split(",")]
        for value in values:
            if value == "":
                raise SettingError(
                    f"times must be numbers separated by commas, as in 1,10,1000, got {text!r}"
                )
            check("times", value, "finite and at least 0", nonnegative)
        return np.asarray(values, dtype=np.float64)

    def _grid(self, setting: "Setting", points: int) -> dict[str, Any]:
        import numpy as np

        from attnflow.numeric.times import MOST_POINTS
        from attnflow.settings import check, positive, whole

        horizon = None if self.horizon is None else number(self.horizon)
        first = None if self.start_time is None else number(self.start_time)
        points = points if self.points is None else number(self.points)
        if horizon is not None:
            check("horizon", horizon, "a finite number above 0", positive)
        allowed = f"a whole number from 2 to {MOST_POINTS}"
        check("points", points, allowed, lambda v: whole(2)(v) & (v <= MOST_POINTS))
        grid = self.grid or "linear"
        if first is None:
            return {"horizon": horizon, "points": points, "grid": grid}
        if grid != "log":
            raise SettingError("--start-time is for log grids: give --grid log with it")
        check("start-time", first, "a finite number above 0", positive)
        if horizon is None:
            from attnflow.numeric.times import default_horizon

            horizon = default_horizon(setting, grid)
        check("start-time", first, f"less than the horizon ({horizon:g})", lambda v: v < horizon)
        times = np.geomspace(first, horizon, points)
        times[[0, -1]] = first, horizon
        return {"times": times}


Schedules = Annotated[
    str | None,
    _text(
        "Paradigms in turn, each with what ends it: soft@t=200,hard; soft@alpha=0.6,hard; "
        "soft@theory,hard.",
        "--schedule",
        metavar="A@END,B",
        panel=PARADIGM,
    ),
]


@dataclass(frozen=True)
class ParadigmOptions:
    """Which paradigms: by name, or from a user's file."""

    paradigm: Annotated[
        list[str] | None,
        _text(
            "soft, hard, lvml, power-1/2, ... or all (the default); repeatable.",
            "--paradigm",
            "-p",
            metavar="NAME",
            panel=PARADIGM,
        ),
    ] = None
    paradigm_file: Annotated[
        list[str] | None,
        _text(
            "A paradigm of your own: NAME in a Python file, which is run; repeatable.",
            "--paradigm-file",
            metavar="FILE.py:NAME",
            panel=PARADIGM,
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any was named."""
        return bool(self.paradigm or self.paradigm_file)

    def build(self) -> "list[Paradigm]":
        """The paradigms in the order named, each once; all built-in ones where none is."""
        from attnflow.symbolic.catalogue import CATALOGUE, paradigm

        names = [n.strip() for text in self.paradigm or () for n in text.split(",")]
        if not self.given:
            names = ["all"]
        found: list[Paradigm] = []
        for name in names:
            found += CATALOGUE.values() if name == "all" else [paradigm(name)]
        found += self.custom()
        return list(dict.fromkeys(found))

    def custom(self) -> "list[Paradigm]":
        """Those from a user's files."""
        from attnflow.files import from_file
        from attnflow.symbolic.paradigm import Paradigm

        return [from_file(place, Paradigm) for place in self.paradigm_file or ()]


def build_schedule(
    text: str, custom: "list[Paradigm]", setting: "Setting", initial: tuple[float, float]
) -> "Schedule":
    """The Schedule that a text like "soft@t=200,hard" spells, every end a time.

    Args:
        text: the schedule.
        custom: paradigms that it may name beside the built-in ones.
        setting: where theory and focus weights have their times.
        initial: (mu0, nu0).

    Raises:
        SettingError: the text does not spell one.
    """
    from attnflow.schedule import Schedule
    from attnflow.symbolic.catalogue import paradigm

    known = {one.name: one for one in custom}
    stages = [
        replace(stage, paradigm=known.get(stage.name) or paradigm(stage.name))
        for stage in Schedule(text).stages
    ]
    schedule = Schedule(stages)
    if schedule.units <= {"t", "epoch"}:
        schedule.parts  # noqa: B018  # says what the flow does not have
        return schedule
    from attnflow.numeric.best_schedule import timed

    return timed(schedule, setting, initial)
