"""The commands, registered in the order in which help lists them."""

from typing import Annotated

import typer

from attnflow.cli import (
    advise,
    compare,
    data,
    derive,
    doctor,
    explore,
    export,
    reproduce,
    solve,
    switch,
    train,
)
from attnflow.cli.help import examples

app = typer.Typer(
    name="attnflow",
    help="Learning dynamics of soft, hard and latent-variable attention: "
    "derived, solved, simulated, compared.",
    epilog="Time is continuous: t = step x learning rate. Exit codes: 0 success, 1 a check failed, "
    "2 bad input, 3 a missing part, 130 interrupted, 129 hung up, 143 terminated.\n\n"
    + examples(
        "attnflow compare",
        "attnflow solve --paradigm soft --times 1,10,1000 --json",
        "attnflow derive --paradigm lvml",
    ),
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Show help where no command is given."""
    if version:
        from attnflow import __version__

        print(f"attnflow {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


for module in (
    *(advise, compare, solve, train, reproduce, data),
    *(derive, export, explore, switch, doctor),
):
    module.register(app)
