"""``attnflow data``: archives to fetch, sets to make up, features to compute."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from attnflow.cli import captions, output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import number
from attnflow.errors import SettingError


def _hatexplain(data: str, given: dict[str, Any]) -> Path:
    from attnflow.train.data.generate import write_hatexplain

    return write_hatexplain(data, **given)


def _coco(data: str, given: dict[str, Any]) -> Path:
    from attnflow.captions.generated_set import generate_coco

    return generate_coco(data, **given)


GENERATED: dict[str, Callable[[str, dict[str, Any]], Path]] = {
    "hatexplain": _hatexplain,
    "coco": _coco,
}
"""Name -> (folder, options given) -> the folder."""

TAKES = {"hatexplain": ("posts", "seed"), "coco": ("train", "val", "seed", "side")}
"""Name -> the options that it has."""


def fetch(
    name: Annotated[str, Argument(metavar="NAME", help="cifar10, cifar100 or hatexplain.")],
    data: Annotated[str, Option(metavar="DIR", help="Where to put it.")] = ".",
) -> None:
    """Download official data, going on where it stopped, and check them."""
    from attnflow.train.data.download import fetch as function

    with output.progress(f"fetching {name}") as show:

        def told(done: int, total: int | None) -> None:
            of = "" if total is None else f" of {total / 1e6:.0f}"
            show(f"fetching {name}: {done / 1e6:.0f}{of} MB")

        output.line(function(name, data, told))


def generate(
    name: Annotated[str, Argument(metavar="NAME", help=", ".join(GENERATED) + ".")],
    data: Annotated[str, Option(metavar="DIR", help="Where to put it.")],
    posts: Annotated[str | None, Option(metavar="N", help="Posts, for text.")] = None,
    train: Annotated[str | None, Option(metavar="N", help="Training images.")] = None,
    val: Annotated[str | None, Option(metavar="N", help="Validation images.")] = None,
    side: Annotated[str | None, Option(metavar="N", help="Pixels, for images.")] = None,
    seed: Annotated[str | None, Option(metavar="S", help="Of the random numbers.")] = None,
) -> None:
    """Make a harmless data set in the format of a published one, to try out."""
    if name not in GENERATED:
        raise SettingError(f"data set must be one of {', '.join(GENERATED)}, got {name!r}")
    texts = {"posts": posts, "train": train, "val": val, "side": side, "seed": seed}
    given = {key: number(text) for key, text in texts.items() if text is not None}
    for key, value in given.items():
        if key not in TAKES[name]:
            raise SettingError(f"{name} has no {key}, got {value!r}")
    output.line(GENERATED[name](data, given))


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    data = typer.Typer(help="Data to learn from.", rich_markup_mode=None, no_args_is_help=True)

    def add(function: Any, short: str, line: str) -> None:
        data.command(cls=Sectioned, short_help=short, epilog=examples(line))(function)

    add(fetch, "Download official data.", "attnflow data fetch cifar10 --data DIR")
    add(generate, "Make a data set to try out.", "attnflow data generate hatexplain --data DIR")
    add(
        captions.features,
        "Compute features of images once.",
        "attnflow data features --data DIR --encoder vgg19 --encoder-weights vgg19.pth --out STORE",
    )
    app.add_typer(data, name="data", short_help="Fetch, make and prepare data.")
