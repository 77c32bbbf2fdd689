"""A generated set in COCO's own format: coloured shapes on a grid, and captions that name them.

Each image holds one or two shapes at random places of a 3 x 3 grid. Captions say what there is
("a red circle", "there is a red circle", "a red circle left of a blue square") and, in a field of
their own, in which box each named shape lies, so that one can measure whether attention is there
when the shape is named. ``instances_*.json`` holds the boxes in COCO's form, too.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnflow.errors import SettingError
from attnflow.files import save_json
from attnflow.settings import check, check_count, whole

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 230),
    "yellow": (235, 210, 50),
}
SHAPES = ("circle", "square", "triangle")
PLACES = 3
"""Places for shapes along a side."""
SMALLEST, LARGEST = 24, 4096
"""Sides of an image, in pixels."""


@dataclass(frozen=True)
class Shape:
    """A coloured shape and where it is.

    Attributes:
        colour: name of the colour.
        kind: name of the shape.
        place: (row, column) on the grid.
        box: (x, y, width, height) in pixels.
    """

    colour: str
    kind: str
    place: tuple[int, int]
    box: tuple[int, int, int, int]


def generate_coco(
    data: str | Path,
    *,
    train: int = 400,
    val: int = 100,
    side: int = 48,
    seed: int = 0,
    year: int = 2017,
) -> Path:
    """Write the generated set into a folder.

    Args:
        data: the folder, which must not hold captions of that year yet.
        train: training images.
        val: held-out images.
        side: of an image, in pixels.
        seed: of the random numbers; equal seeds give equal images and captions.
        year: 2014 or 2017, which decides the names of files.

    Returns:
        The folder.

    Raises:
        SettingError: a value is not allowed, or there is a set already.
    """
    for name, count in (("train", train), ("val", val)):
        check_count(name, count)
    allowed = f"a whole number from {SMALLEST} to {LARGEST}"
    check("side", side, allowed, lambda v: whole(SMALLEST)(v) & (v <= LARGEST))
    check_count("seed", seed, 0)
    if year not in (2014, 2017):
        raise SettingError(f"year must be 2014 or 2017, got {year}")
    folder = Path(data).expanduser()
    names = (f"train{year}", f"val{year}")
    taken = [n for n in (*names, f"annotations/captions_train{year}.json") if (folder / n).exists()]
    if taken:
        raise SettingError(f"data {str(folder)!r} holds {taken[0]} already: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".generated-") as held:
        made = Path(held)
        numbers = iter(range(1, train + val + 1))
        for part, count in (("train", train), ("val", val)):
            random = np.random.default_rng([seed, int(part == "val")])
            _write(made, f"{part}{year}", [next(numbers) for _ in range(count)], side, random)
        for name in names:
            shutil.move(str(made / name), str(folder / name))
        (folder / "annotations").mkdir(exist_ok=True)
        for file in (made / "annotations").iterdir():
            shutil.move(str(file), str(folder / "annotations" / file.name))
    return folder


def _write(folder: Path, name: str, numbers: Sequence[int], side: int, random: Any) -> None:
    (folder / name).mkdir()
    categories = [f"{colour} {kind}" for colour in COLOURS for kind in SHAPES]
    images, captions, instances = [], [], []
    for number in numbers:
        shapes = _scene(side, random)
        file = f"{number:012d}.png"
        _draw(shapes, side).save(folder / name / file)
        images.append({"id": number, "file_name": file, "width": side, "height": side})
        for text, named in describe(shapes):
            entry = {"image_id": number, "id": len(captions) + 1, "caption": text, "named": named}
            captions.append(entry)
        for shape in shapes:
            instances.append(
                {
                    "id": len(instances) + 1,
                    "image_id": number,
                    "category_id": categories.index(f"{shape.colour} {shape.kind}") + 1,
                    "bbox": list(shape.box),
                    "area": shape.box[2] * shape.box[3],
                    "iscrowd": 0,
                }
            )
    listed = [{"id": i, "name": text} for i, text in enumerate(categories, 1)]
    info = {"description": "coloured shapes, generated"}
    place = folder / "annotations"
    common = {"info": info, "licenses": [], "images": images}
    save_json(place / f"captions_{name}.json", {**common, "annotations": captions})
    document = {**common, "annotations": instances, "categories": listed}
    save_json(place / f"instances_{name}.json", document)


def _scene(side: int, random: Any) -> tuple[Shape, ...]:
    count = int(random.integers(1, 3))
    places = random.choice(PLACES * PLACES, size=count, replace=False)
    kinds = random.choice(len(COLOURS) * len(SHAPES), size=count, replace=False)
    shapes = []
    for place, kind in zip(places, kinds, strict=True):
        row, column = divmod(int(place), PLACES)
        field = side / PLACES
        size = round(field * 0.75)
        x, y = (round(at * field + (field - size) / 2) for at in (column, row))
        colour, shape = list(COLOURS)[int(kind) // len(SHAPES)], SHAPES[int(kind) % len(SHAPES)]
        shapes.append(Shape(colour, shape, (row, column), (x, y, size, size)))
    return tuple(shapes)


def _draw(shapes: Sequence[Shape], side: int) -> Any:
    from PIL import Image, ImageDraw

    fine = 4  # drawn larger and reduced, for smooth edges
    image = Image.new("RGB", (side * fine, side * fine), (245, 245, 245))
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        x, y, width, height = (fine * v for v in shape.box)
        corner, colour = (x + width - 1, y + height - 1), COLOURS[shape.colour]
        if shape.kind == "circle":
            pen.ellipse([(x, y), corner], fill=colour)
        elif shape.kind == "square":
            pen.rectangle([(x, y), corner], fill=colour)
        else:
            points = [(x + width // 2, y), (x, y + height - 1), corner]
            pen.polygon(points, fill=colour)
    return image.resize((side, side), Image.Resampling.BOX)


def describe(shapes: Sequence[Shape]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Captions of a scene, each with the words that name a shape and its box."""
    if len(shapes) == 1:
        (one,) = shapes
        return [_sentence(["a", one]), _sentence(["there is a", one])]
    a, b = shapes
    return [
        _sentence(["a", a, _relation(a, b), "a", b]),
        _sentence(["a", b, _relation(b, a), "a", a]),
    ]


def _relation(a: Shape, b: Shape) -> str:
    (row, column), (other_row, other_column) = a.place, b.place
    if column != other_column:
        return "left of" if column < other_column else "right of"
    return "above" if row < other_row else "below"


def _sentence(parts: Sequence[str | Shape]) -> tuple[str, list[dict[str, Any]]]:
    words: list[str] = []
    named = []
    for part in parts:
        if isinstance(part, Shape):
            named.append({"words": [len(words), len(words) + 1], "bbox": list(part.box)})
            words += [part.colour, part.kind]
        else:
            words += part.split()
    return " ".join(words), named
