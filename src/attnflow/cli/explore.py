"""``attnflow explore``: an interactive page in one file."""

from typing import Annotated

import typer
from typer import Option

from attnflow import files
from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import OUTPUT, SETTING, TIMES, AsJson, ParadigmOptions, grouped, number


@grouped
def explore(
    which: ParadigmOptions,
    segments: Annotated[
        str,
        Option(
            "--segments",
            "-m",
            metavar="M",
            help="Number of segments at first.",
            rich_help_panel=SETTING,
        ),
    ] = "20",
    classes: Annotated[
        str,
        Option(
            "--classes",
            "-C",
            metavar="C",
            help="Number of classes at first.",
            rich_help_panel=SETTING,
        ),
    ] = "20",
    horizon: Annotated[
        str | None,
        Option(
            metavar="T",
            help="Last time shown at first; without it, one that fits the setting.",
            rich_help_panel=TIMES,
        ),
    ] = None,
    out: Annotated[
        str,
        Option("--out", "-o", metavar="FILE", help="Where to.", rich_help_panel=OUTPUT),
    ] = "attnflow-explorer.html",
    as_json: AsJson = False,
) -> None:
    """One HTML page with sliders, curves, phase plane and formulas; opens without network."""
    path = files.check_place(out, folder=False)
    from attnflow.settings import Setting, check, positive

    setting = Setting(number(segments), number(classes))
    last = None if horizon is None else number(horizon)
    if last is not None:
        check("horizon", last, "a finite number above 0", positive)
    from attnflow.export.explorer import page

    with output.progress("writing the page"):
        paradigms = which.build()
        html = page(paradigms, path, setting=setting, horizon=last)
    if as_json:
        names = [paradigm.name for paradigm in paradigms]
        output.emit({"file": str(path), "bytes": len(html.encode()), "paradigms": names})
    else:
        output.say(f"wrote {path}; open it in a browser")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=Sectioned,
        short_help="An interactive page with sliders, in one file.",
        epilog=examples(
            "attnflow explore --out explorer.html",
            "attnflow explore -m 100 -C 1000 --horizon 4e5 -p soft -p hard -p lvml",
            "attnflow explore --paradigm-file my.py:FOCAL --paradigm soft --out mine.html",
        ),
    )(explore)
