"""``attnflow export``: derivations as LaTeX, PDF, Markdown, JSON or a program."""

from typing import Annotated, Literal

import typer
from typer import Option

from attnflow import files
from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import OUTPUT, AsJson, ParadigmOptions, contradiction, grouped
from attnflow.errors import SettingError


@grouped
def export(
    which: ParadigmOptions,
    format: Annotated[
        Literal["latex", "pdf", "markdown", "json", "python", "jax", "julia", "mathematica"] | None,
        Option(help="What to write (default: as FILE ends, or latex).", rich_help_panel=OUTPUT),
    ] = None,
    out: Annotated[
        str | None,
        Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to; standard output where it is not given (a PDF needs it).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """All steps of the derivations, in order, as a document or a module of functions."""
    path = None if out is None else files.check_place(out, folder=False)
    if path is None and format == "pdf":
        raise SettingError("--format pdf needs --out: a PDF does not go to a terminal")
    if as_json and path is None and format != "json":
        shown = f"--format {format or 'latex'}"
        raise contradiction("--json", shown, "name a file with --out for both")
    from attnflow.export.document import export as function
    from attnflow.export.document import format_of

    form = format_of(format, path)
    with output.progress(f"writing {form}"):
        paradigms = which.build()
        contents = function(paradigms, form, path)
    if path is None:
        print(str(contents), end="")
    elif as_json:
        names = [paradigm.name for paradigm in paradigms]
        output.emit({"file": str(path), "format": form, "paradigms": names})
    else:
        output.say(f"wrote {path}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=Sectioned,
        short_help="Formulas as LaTeX, PDF, Markdown or programs.",
        epilog=examples(
            "attnflow export --format latex --paradigm all --out formulas.tex",
            "attnflow export --paradigm lvml --out lvml.pdf",
            "attnflow export --format python --paradigm soft > soft.py",
            "attnflow export --paradigm soft --out soft.jl",
        ),
    )(export)
