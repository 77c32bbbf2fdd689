"""Features that an encoder computed once: a folder with one memory-mapped array, or one's ``.npz``.

``features.npy`` is [N, L, D]; ``index.json`` says which image is where and how it was made. A store
is written beside its place and renamed when complete. An ``.npz`` holds ``features`` [N, L, D] and
``images``, COCO's ids [N], numbers or text; being compressed it is read into memory.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from attnflow.captions.coco import CaptionSet, spelling
from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.files import new_folder, save_json
from attnflow.reading import MEBIBYTE, open_npz, read_json, regular

ARRAY, INDEX = "features.npy", "index.json"
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Features:
    """A store that is open: a source for ``pipeline.batches``.

    Attributes:
        path: where it is.
        rows: spelling of an image's id -> where it is in the array.
        recipe: how the features were made; empty where that is not known.
        cells: L.
        width: D.
    """

    path: Path
    rows: dict[str, int]
    recipe: dict[str, Any]
    cells: int
    width: int

    def __call__(self, part: CaptionSet, row: int) -> Float[np.ndarray, "L D"]:
        """The features of one image."""
        return np.asarray(self.array[self.rows[spelling(part.pictures[row].id)]])

    @property
    def array(self) -> Float[np.ndarray, "N L D"]:
        """All of them; opened once in every process, so that workers map the same file."""
        if self.path not in _OPEN:
            _OPEN[self.path] = _array(self.path)
        return _OPEN[self.path]

    def check(self, part: CaptionSet) -> None:
        """Whether all images of a set are there.

        Raises:
            DataError: one is not.
        """
        absent = [p.id for p in part.pictures if spelling(p.id) not in self.rows]
        if absent:
            raise DataError(
                f"features {str(self.path)!r} lack image {absent[0]} of {part.name} "
                f"({len(absent)} in all)"
            )


_OPEN: dict[Path, np.ndarray] = {}


def _array(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npz":
        with open_npz(path) as stored:
            return stored["features"]
    return np.load(regular(path / ARRAY), mmap_mode="r", allow_pickle=False)


def _index(path: Path) -> tuple[list[Any], dict[str, Any]]:
    """Numbers of the images, and how the features were made."""
    if path.suffix.lower() == ".npz" and path.is_file():
        with open_npz(path) as stored:
            return stored["images"].tolist(), {}
    if (path / INDEX).is_file():
        document = read_json(path / INDEX)
        return document["images"], dict(document["recipe"])
    raise MissingPart(
        f"no features at {str(path)!r}: make them with 'attnflow data features --data DIR "
        f"--out STORE', or name an .npz with features [N, L, D] and images [N]"
    )


def _rows(numbers: list[Any]) -> dict[str, int]:
    """Spelling of an image's id -> where it is."""
    found: dict[str, int] = {}
    for place, number in enumerate(numbers):
        if found.setdefault(spelling(number), place) != place:
            raise ValueError(f"image {number} is there twice")
    return found


def recipe_of(place: str | Path) -> dict[str, Any]:
    """How features were made; empty where that is not known.

    Raises:
        MissingPart: there are none; says how to make them.
        DataError: they are damaged.
    """
    path = Path(place).expanduser().absolute()
    try:
        return _index(path)[1]
    except MissingPart:
        raise
    except Exception as error:  # zip, JSON and numpy raise many kinds
        raise DataError(f"features {str(path)!r} are damaged: {error}") from error


def open_store(place: str | Path) -> Features:
    """A store, or an ``.npz``, of features.

    Raises:
        MissingPart: there is nothing; says how to make one.
        DataError: it is damaged.
    """
    path = Path(place).expanduser().absolute()
    try:
        numbers, recipe = _index(path)
        rows = _rows(numbers)
        _OPEN.pop(path, None)
        found = Features(path, rows, recipe, 0, 0)
        array = found.array
        if array.ndim != 3 or len(array) != len(numbers) or array.dtype.kind != "f":
            raise ValueError(
                f"features must be [N, L, D] floats for {len(numbers)} images, "
                f"got {array.dtype} {array.shape}"
            )
        if 0 in array.shape:
            raise ValueError(f"features must be of at least one cell and number, got {array.shape}")
        if not isinstance(array, np.memmap):  # it was read whole, and is looked at one by one
            bad = [n for n, i in rows.items() if not np.all(np.isfinite(array[i]))]
            if bad:
                raise ValueError(f"features must be finite, those of image {bad[0]} are not")
    except MissingPart:
        raise
    except Exception as error:  # zip, JSON and numpy raise many kinds
        raise DataError(f"features {str(path)!r} are damaged: {error}") from error
    return Features(path, found.rows, recipe, array.shape[1], array.shape[2])


def _put(array: np.ndarray, known: set[int], images: dict[str, int], piece: np.ndarray) -> None:
    """Put features of images (number -> place) into an array, which knows some places already."""
    with np.errstate(over="ignore"):
        kept = piece.astype(array.dtype)
    for (image, place), features, stored in zip(images.items(), piece, kept, strict=True):
        largest = np.max(np.abs(features))
        if not np.isfinite(largest):
            raise DataError(f"the encoder's features of image {image} are not finite")
        if not np.all(np.isfinite(stored)):
            raise SettingError(
                f"dtype must be float32, got {array.dtype}: the features of image {image} reach "
                f"{largest:.3g}"
            )
        if place in known and not np.allclose(array[place], stored, rtol=0, atol=1e-2 * largest):
            raise DataError(f"image {image} is another picture in each set")
        array[place] = stored
        known.add(place)


def write_store(
    out: str | Path,
    recipe: dict[str, Any],
    parts: Iterable[CaptionSet],
    compute: Callable[[CaptionSet], Iterable[np.ndarray]],
) -> Features:
    """Compute the features of every image once, and keep them.

    Where a store of the same recipe holds all images already, nothing is computed. An image that is
    in several sets is kept once.

    Args:
        out: folder of the store.
        recipe: how features are made, plain values; "dtype" is that of the array.
        parts: the sets of images.
        compute: from a set to pieces [n, L, D], in its order.

    Raises:
        SettingError: another store is there, its numbers do not hold the features, or the disk
            is full.
        DataError: features are not finite, or sets have different pictures of one number.
    """
    out, parts = Path(out).expanduser().absolute(), list(parts)
    ids = {spelling(p.id): p.id for part in parts for p in part.pictures}
    places = {number: place for place, number in enumerate(ids)}
    if out.exists():
        there = open_store(out) if (out / INDEX).is_file() else None
        if there is None or there.recipe != recipe:
            raise SettingError(
                f"out {str(out)!r} holds something else, or features that were made otherwise: "
                f"name another place"
            )
        if ids.keys() <= there.rows.keys():
            return there
    with new_folder(out) as temporary:
        array, known = None, set()
        for part in parts:
            images = (spelling(picture.id) for picture in part.pictures)
            for piece in compute(part):
                if array is None:
                    shape = (len(places), *piece.shape[1:])
                    array = np.lib.format.open_memmap(
                        temporary / ARRAY, mode="w+", dtype=recipe["dtype"], shape=shape
                    )
                    _reserve(temporary / ARRAY)
                here = islice(images, len(piece))
                _put(array, known, {image: places[image] for image in here}, piece)
        if array is not None:
            array.flush()
        save_json(temporary / INDEX, {"recipe": recipe, "images": list(ids.values())})
    return open_store(out)


def _reserve(file: Path) -> None:
    """Take the room that a file will need: a full disk is an error here, a crash in mapped memory.

    Where the system has no call for that, what the file holds is written out.
    """
    with file.open("r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
            return
        stream.seek(0)
        for piece in iter(lambda: stream.read(MEBIBYTE), b""):  # what it holds, written out
            stream.seek(-len(piece), os.SEEK_CUR)
            stream.write(piece)
