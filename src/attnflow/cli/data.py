"""``attnflow data``: what to train on, fetched or made."""

from typing import Annotated, Any

import typer
from typer import Argument, Option

from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples


def fetch(
    name: Annotated[str, Argument(metavar="NAME", help="cifar10, cifar100 or hatexplain.")],
    data: Annotated[str, Option(metavar="DIR", help="Where to put it.")] = ".",
) -> None:
    """Download official data, going on where it stopped, and check them."""
    from attnflow.learn.tasks.fetch import fetch as function

    with output.progress(f"fetching {name}") as show:

        def told(done: int, total: int | None) -> None:
            of = "" if total is None else f" of {total / 1e6:.0f}"
            show(f"fetching {name}: {done / 1e6:.0f}{of} MB")

        print(function(name, data, told))


def generate(
    name: Annotated[str, Argument(metavar="NAME", help="hatexplain.")],
    data: Annotated[str, Option(metavar="DIR", help="Where to put it.")] = ".",
    seed: Annotated[int, Option(metavar="S", help="Of the data.")] = 0,
) -> None:
    """Write harmless data of our own making in the format of published ones, to try out."""
    from attnflow.learn.tasks.generate import generate as function

    print(function(name, data, seed))


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    data = typer.Typer(help="Data to train on.", rich_markup_mode=None, no_args_is_help=True)

    def add(function: Any, short: str, line: str) -> None:
        data.command(cls=Sectioned, short_help=short, epilog=examples(line))(function)

    add(fetch, "Download official data.", "attnflow data fetch cifar10 --data DIR")
    add(generate, "Write data to try out.", "attnflow data generate hatexplain --data DIR")
    app.add_typer(data, name="data", short_help="Fetch or generate data.")
