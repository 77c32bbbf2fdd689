"""``attnflow advise``: which paradigm to train with, when to switch, how long to train."""

from typing import Annotated, Any

import typer
from typer import Option

from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson, ParadigmOptions, SettingOptions, grouped, number

RUN = "Run"


def _option(help: str, metavar: str = "N") -> Any:
    return Option(metavar=metavar, help=help, rich_help_panel=RUN)


@grouped
def advise(
    setting: SettingOptions,
    which: ParadigmOptions,
    learning_rate: Annotated[str, _option("Learning rate of a step.", "ETA")] = "0.05",
    momentum: Annotated[str, _option("Momentum of the optimiser.", "P")] = "0",
    batch: Annotated[str | None, _option("Inputs a step.")] = None,
    train: Annotated[str | None, _option("Training inputs.")] = None,
    epochs: Annotated[str | None, _option("Epochs of the run.")] = None,
    target: Annotated[str, _option("Focus weight to reach.", "ALPHA")] = "0.9",
    as_json: AsJson = False,
) -> None:
    """Which paradigm to train with, when to switch, and whether a run is long enough.

    Theory's times of the simple setting in steps and epochs, with what real networks add.
    """
    from attnflow.numeric.advise import advise as function

    counts = {"batch": batch, "train": train, "epochs": epochs}
    with output.progress("asking theory"):
        advice = function(
            setting.build(),
            number(learning_rate),
            momentum=number(momentum),
            target=number(target),
            paradigms=which.build(),
            **{name: None if text is None else number(text) for name, text in counts.items()},
        )
    if as_json:
        output.emit(advice.as_dict())
        return
    output.line(advice.recommendation)
    header = ("schedule", "switch after", "alpha = 1/2 after", f"alpha = {advice.target:g} after")
    output.table("In the simple setting", header, advice.rows())
    output.line(advice.stability)
    print("In practice:")
    for note in advice.notes:
        output.line(f"- {note}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=Sectioned,
        short_help="Which loss to train with, and when to switch.",
        epilog=examples(
            "attnflow advise -m 5 -C 3 --learning-rate 0.05 --momentum 0.9",
            "attnflow advise -m 5 -C 3 --learning-rate 0.05 --momentum 0.9 --batch 256 "
            "--train 30000 --epochs 40 --json",
        ),
    )(advise)
