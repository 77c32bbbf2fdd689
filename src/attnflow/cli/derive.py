"""``attnflow derive``: a paradigm's derivation, readable in a terminal."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson, ParadigmOptions, grouped

if TYPE_CHECKING:
    from attnflow.symbolic.derivation.derived import Derivation
    from attnflow.symbolic.derivation.step import Step


@grouped
def derive(
    which: ParadigmOptions,
    step: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Only this step, as in flow-mu; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Everything that follows from a paradigm's loss, step by step, each formula checked."""
    from attnflow import derive as function
    from attnflow.cli.derivation import plain, record

    found = []
    with output.progress("deriving") as update:
        for paradigm in which.build():
            update(f"deriving {paradigm.name}")
            derivation = function(paradigm)
            found.append((derivation, select(derivation, step or [])))
    if as_json:
        records = [record(derivation, steps) for derivation, steps in found]
        output.emit(records[0] if len(records) == 1 else records)
    else:
        output.line("\n\n".join(plain(one, steps, output.width()) for one, steps in found))


def select(derivation: "Derivation", names: list[str]) -> "list[Step]":
    """The steps of these names, all where none is given.

    Raises:
        SettingError: there is no such step; the nearest is named.
    """
    from attnflow.errors import SettingError
    from attnflow.symbolic.paradigm import nearest

    steps: dict[str, Any] = {step.name: step for step in derivation.steps}
    for name in names:
        if name not in steps:
            raise SettingError(f"unknown step {name!r}{nearest(name, list(steps))}")
    return [steps[name] for name in names or steps]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=Sectioned,
        short_help="The derivation from the loss, step by step.",
        epilog=examples(
            "attnflow derive --paradigm lvml",
            "attnflow derive --paradigm soft --step first-integral --step time",
            "attnflow derive --paradigm-file my.py:FOCAL --json",
        ),
    )(derive)
