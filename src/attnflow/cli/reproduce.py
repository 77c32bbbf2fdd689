"""``attnflow reproduce``: the experiments of the paper, one command each."""

from typing import Annotated

import typer
from typer import Argument, Option

from attnflow import files
from attnflow.cli import output, runs
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson, number
from attnflow.cli.training import whole
from attnflow.errors import SettingError


def reproduce(
    name: Annotated[
        str | None, Argument(metavar="NAME", help="Of the experiment; --list tells them.")
    ] = None,
    listed: Annotated[
        bool, Option("--list", help="Name them all, with time and size on CPU and GPU.")
    ] = False,
    scale: Annotated[
        str, Option(metavar="S", help="Shrinks epochs and sets in proportion, 0 to 1.")
    ] = "1",
    data: Annotated[str | None, Option(metavar="DIR", help="Where the data are.")] = None,
    out: Annotated[
        str | None, Option("--out", "-o", metavar="DIR", help="Folder (default attnflow-NAME).")
    ] = None,
    seed: Annotated[str, Option(metavar="S", help="Of starts, order and draws.")] = "0",
    as_json: AsJson = False,
) -> None:
    """Run an experiment of the paper, or go on with it, and lay it beside what is published."""
    from attnflow.reproduce import configs, experiment, experiments
    from attnflow.reproduce import reproduce as function

    if listed:
        table = [(e.name, e.title, e.size, e.cpu, e.gpu) for e in experiments().values()]
        if as_json:
            head = ("name", "title", "size", "cpu", "gpu")
            output.emit([dict(zip(head, row, strict=True)) for row in table])
            return
        output.table(
            "Experiments of the paper",
            ("name", "what", "size", "two CPU cores", "GPU"),
            table,
            "Times are estimates at scale 1; at scale S about S x S of it.",
        )
        return
    if name is None:
        raise SettingError(f"name an experiment, one of {', '.join(experiments())}")
    one, place = experiment(name), out or f"attnflow-{name}"
    files.check_place(place, folder=True)
    asked = {"scale": number(scale), "seed": whole("seed", seed)}
    for run in configs(one, data, **asked).values():
        if not one.captions:
            runs.use_cores(run)
    with output.training_bar() as show, output.progress(name) as say:
        page = function(name, place, data, **asked, progress=show, say=say)
    if as_json:
        output.emit({"name": name, "page": str(page)})
    else:
        output.line(page)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=Sectioned,
        short_help="The experiments of the paper, one command each.",
        epilog=examples(
            "attnflow reproduce --list",
            "attnflow reproduce ode-20",
            "attnflow reproduce sdc-cifar10 --data DIR --scale 0.05 --out RUN",
        ),
    )(reproduce)
