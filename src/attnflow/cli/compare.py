"""``attnflow compare``, the main job, and ``attnflow plot``, which draws its figures again."""

import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer import Argument, Option

from attnflow import files
from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import (
    OUTPUT,
    PARADIGM,
    SIMULATION,
    AsJson,
    ParadigmOptions,
    SettingOptions,
    StartOptions,
    TimeOptions,
    build_schedule,
    grouped,
    number,
)
from attnflow.errors import SettingError

POINTS = 401
"""Times on the default grid."""


@dataclass(frozen=True)
class Comparison:
    """The options of compare beyond the groups."""

    schedule: Annotated[
        list[str] | None,
        Option(
            metavar="A@END,B",
            help="A schedule, as in soft@t=200,hard, beside the paradigms; repeatable.",
            rich_help_panel=PARADIGM,
        ),
    ] = None
    descent: Annotated[
        str | None,
        Option(
            metavar="RATE",
            help="Also by gradient descent on the full matrices, with this learning rate, beside "
            "the flow corrected for its steps.",
            rich_help_panel=SIMULATION,
        ),
    ] = None
    momentum: Annotated[
        str | None,
        Option(metavar="P", help="Momentum of the descent.", rich_help_panel=SIMULATION),
    ] = None
    solver: Annotated[
        str,
        Option(
            metavar="NAME",
            help="How the flow is integrated: as --solver of simulate.",
            rich_help_panel=SIMULATION,
        ),
    ] = "dopri8"
    tolerance: Annotated[
        str,
        Option(
            metavar="TOL",
            help="How closely closed form and simulation must agree.",
            rich_help_panel=SIMULATION,
        ),
    ] = "1e-8"
    out: Annotated[
        str,
        Option("--out", "-o", metavar="DIR", help="Folder for results.", rich_help_panel=OUTPUT),
    ] = "attnflow-compare"

    def build(self) -> dict[str, Any]:
        """Keyword arguments of ``compare``: tolerance and methods."""
        methods = ["closed form", "simulation"]
        options: dict[str, dict[str, Any]] = {"simulation": {"solver": self.solver}}
        if self.descent is not None:
            methods += ["finite steps", "descent"]
            options["descent"] = {"learning_rate": number(self.descent)}
            if self.momentum is not None:
                options["descent"]["momentum"] = number(self.momentum)
        elif self.momentum is not None:
            raise SettingError("--momentum is that of the descent: give --descent RATE with it")
        tolerance = number(self.tolerance)
        return {"tolerance": tolerance, "methods": methods, "options": options}


@grouped
def compare(
    which: ParadigmOptions,
    setting: SettingOptions,
    start: StartOptions,
    times: TimeOptions,
    comparison: Comparison,
    as_json: AsJson = False,
) -> None:
    """Closed form against simulation: figures, curves, summary and formulas in a folder.

    Exits with 1 where the two do not agree within the tolerance.
    """
    folder = files.check_place(comparison.out, folder=True)
    built = setting.build()
    when = times.arguments(built, POINTS)
    entries: list[Any] = which.build() if which.given or not comparison.schedule else []
    initial = start.build(built)
    known = list(entries)
    entries += [build_schedule(s, known, built, initial) for s in comparison.schedule or ()]
    from attnflow.cli.comparison import run, show

    command = shlex.join(["attnflow", *sys.argv[1:]])
    options = {"initial": initial, "command": command, **when, **comparison.build()}
    document = run(entries, built, folder, options, log_time=times.grid == "log")
    if as_json:
        output.emit(document)
    else:
        show(document)
    if not document["agrees"]:
        raise typer.Exit(1)


def plot(
    file: Annotated[str, Argument(metavar="CURVES.NC", help="What compare wrote.")],
    out: Annotated[str, Option("--out", "-o", metavar="DIR", help="Folder for figures.")] = ".",
    formats: Annotated[
        str, Option("--format", metavar="A,B", help="From pdf, svg and png.")
    ] = "pdf,svg,png",
    figure: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="mu, nu, alpha, loss, overview, phase, error; repeatable."),
    ] = None,
    log_time: Annotated[bool, Option("--log-time", help="Time on a logarithmic axis.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the figures of a comparison again from its curves.nc."""
    folder = files.check_place(out, folder=True)
    from attnflow.plots.figures import FIGURES, draw_all

    names = figure or FIGURES
    for name in names:
        if name not in FIGURES:
            raise SettingError(f"figure must be one of {', '.join(FIGURES)}, got {name!r}")
    dataset = files.load_dataset(file)
    with files.new_folder(folder) as temporary:
        paths = draw_all(dataset, temporary, formats.split(","), log_time=log_time, names=names)
    drawn = [str(folder / path.name) for path in paths]
    if as_json:
        output.emit({"files": drawn})
    else:
        output.line("\n".join(drawn))


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command(
        cls=Sectioned,
        short_help="Closed form against simulation: figures and numbers.",
        epilog=examples(
            "attnflow compare",
            "attnflow compare -m 100 -C 1000 --horizon 4e5 -p soft -p hard --out DIR",
            "attnflow compare -p soft -p hard --schedule soft@t=200,hard --json",
            "attnflow compare --grid log --horizon 1e8 --start-time 1",
            "attnflow compare -m 5 -C 3 --horizon 100 --descent 0.01",
            "attnflow compare --descent 0.05 --momentum 0.9",
        ),
    )(compare)
    app.command(
        cls=Sectioned,
        short_help="Draw a comparison's figures again.",
        epilog=examples(
            "attnflow plot attnflow-compare/curves.nc --out figures",
            "attnflow plot attnflow-compare/curves.nc --figure phase --format pdf",
            "attnflow plot attnflow-compare/curves.nc --log-time",
        ),
    )(plot)
