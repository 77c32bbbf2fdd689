"""Reads MS COCO's captions, 2014 or 2017: the JSON files and where each image lies.

The layout is COCO's own::

    DIR/annotations/captions_train2017.json    DIR/train2017/000000000009.jpg
    DIR/annotations/captions_val2017.json      DIR/val2017/000000000139.jpg

or with the split file ``dataset_coco.json`` in place of both; up to two folders deeper, too.
An annotation may hold one field more than COCO's, ``"named": [{"words": [1, 2], "bbox": [x, y,
width, height]}]``: which words (counted from 0) name the thing in which box of the image. The
generated set has it; with it, focus can be measured.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from attnflow.captions.config import YEARS
from attnflow.captions.vocabulary import Vocabulary, build_vocabulary, tokenise
from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.reading import holding, image_size, read_json

PARTS = {"train": "train", "heldout": "val"}
"""Entry of the config that limits a set -> the set's name, which is COCO's."""
SETS = tuple(PARTS.values())
KARPATHY = ("dataset_coco.json", "annotations/dataset_coco.json")
"""Where the split file of Karpathy and Fei-Fei (2015) may be, which is of COCO 2014."""
LONGEST_SIDE = 1_000_000
ImageId = int | float | str


@dataclass(frozen=True)
class Picture:
    """An image as COCO lists it.

    Attributes:
        id: as the file spells it.
        path: its file.
        width: in pixels; None where neither the file nor a box tells.
        height: likewise.
        captions: as they were written.
        named: for each caption, pairs of (numbers of words, box as x, y, width, height).
    """

    id: ImageId
    path: Path
    width: int | None
    height: int | None
    captions: tuple[str, ...]
    named: tuple[tuple[tuple[tuple[int, ...], tuple[float, ...]], ...], ...]


@dataclass(frozen=True)
class CaptionSet:
    """Images with their captions as numbers.

    Attributes:
        name: "train" or "val".
        pictures: the images, in the order of the file.
        references: the words of every caption of every image.
        words: every caption, with ``END``, padded, [M, T].
        first: where the captions of each image begin in ``words``, [N + 1].
        boxes: box (x, y, width, height) that each word names, NaN where none, [M, T, 4]; None
            where the file does not tell.
    """

    name: str
    pictures: tuple[Picture, ...]
    references: tuple[tuple[tuple[str, ...], ...], ...]
    words: Int[np.ndarray, "M T"]
    first: Int[np.ndarray, " N+1"]
    boxes: Float[np.ndarray, "M T 4"] | None

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class Corpus:
    """What is learned from, and what is held out.

    Attributes:
        sets: "train" and "val".
        vocabulary: of the training captions.
        year: of the files.
    """

    sets: dict[str, CaptionSet]
    vocabulary: Vocabulary
    year: int

    @property
    def length(self) -> int:
        """Steps of the decoder: words of the longest training caption and ``END``."""
        return self.sets["train"].words.shape[1]


def read_coco(
    data: str | Path,
    *,
    year: int | None = None,
    limits: dict[str, int | None] | None = None,
    min_count: int = 5,
    max_words: int = 24,
    images: bool = True,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Captions and images of COCO.

    Args:
        data: the folder that holds ``annotations``.
        year: 2014 or 2017; None for the one that is there, 2017 where both are.
        limits: only so many images of a set, the first ones, by the set's name.
        min_count: how often a word must occur in the training captions to be known.
        max_words: longer captions are cut.
        images: whether the image files must be there.
        vocabulary: known words, in place of those of the training captions.

    Raises:
        MissingPart: there is nothing of the kind; says what to put where.
        DataError: a file is damaged, an image that it names is absent, or no training caption
            holds a word.
        SettingError: a value is not allowed.
    """
    data = Path(data).expanduser()
    data = holding(data, _has_captions, "COCO's captions") or data
    year = _year(data, year)
    limits = limits or {}
    found = {part: _read(data, part, year, limits.get(part), images) for part in SETS}
    tokens = {
        part: tuple(tuple(tuple(tokenise(c)) for c in p.captions) for p in pictures)
        for part, pictures in found.items()
    }
    if not any(c for each in tokens["train"] for c in each):
        path = captions_file(data, "train", year)
        raise DataError(f"the captions of {str(path)!r} hold no word")
    if vocabulary is None:
        vocabulary = build_vocabulary((c for each in tokens["train"] for c in each), min_count)
    longest = max(len(c) for each in tokens["train"] for c in each)
    length = min(longest, max_words) + 1
    sets = {part: _numbered(part, found[part], tokens[part], vocabulary, length) for part in SETS}
    return Corpus(sets, vocabulary, year)


def _has_captions(folder: Path) -> bool:
    return any(captions_file(folder, "train", year).is_file() for year in YEARS)


def captions_file(data: Path, part: str, year: int) -> Path:
    """Where the captions of a set are."""
    path = data / "annotations" / f"captions_{part}{year}.json"
    return next((p for p in (path, *map(data.joinpath, KARPATHY)) if p.is_file()), path)


def _year(data: Path, asked: int | None) -> int:
    if asked is not None and asked not in YEARS:
        raise SettingError(f"year must be 2014 or 2017, got {asked}")
    for year in YEARS if asked is None else (asked,):
        if (data / "annotations" / f"captions_train{year}.json").is_file():
            return year
    year = asked or 2017
    if captions_file(data, "train", 2014).is_file():
        return asked or 2014  # of which the split file is
    raise MissingPart(
        f"no COCO captions at {str(data)!r}: put annotations/captions_train{year}.json, "
        f"annotations/captions_val{year}.json (or dataset_coco.json) and the folders train{year} "
        f"and val{year} of images there (from https://cocodataset.org), or run 'attnflow data "
        f"generate coco --data DIR'"
    )


class Entry(NamedTuple):
    """An image as a file lists it.

    Attributes:
        id: as it is spelt there.
        name: of its file, perhaps with folders.
        size: width and height in pixels; None where the file does not tell.
    """

    id: ImageId
    name: str
    size: tuple[int, int] | None


def _read(data: Path, part: str, year: int, limit: int | None, images: bool) -> list[Picture]:
    path = captions_file(data, part, year)
    if not path.is_file():
        raise MissingPart(f"no {path.name} at {str(path.parent)!r}: put COCO's file there")
    captions: dict[str, list[Any]] = {}
    try:
        document = read_json(path)
        if "annotations" not in document and "sentences" in document["images"][0]:
            document = _of_split(document, part, path)
        listed = [_entry(image) for image in document["images"]]
        for annotation in document["annotations"]:
            pair = _caption(annotation), tuple(map(_named, annotation.get("named", ())))
            captions.setdefault(spelling(annotation["image_id"]), []).append(pair)
    except DataError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise DataError(f"{str(path)!r} is no COCO caption file ({said})") from error
    _check_ids(path, [spelling(entry.id) for entry in listed], captions)
    listed = [entry for entry in listed if spelling(entry.id) in captions][:limit]
    if not listed:
        raise DataError(f"{str(path)!r} holds no image with captions")
    return [
        _picture(entry, file, captions[spelling(entry.id)])
        for entry, file in zip(listed, _files(data, part, year, listed, images), strict=True)
    ]


def _check_ids(path: Path, ids: Sequence[str], captions: Collection[str]) -> None:
    """Refuse an image that is listed twice, and captions of one that is not."""
    (number, count), *_ = Counter(ids).most_common(1) or [("", 0)]
    if count > 1:
        raise DataError(f"{str(path)!r} lists image {number} {count} times")
    unknown = sorted(set(captions) - set(ids))
    if unknown:
        raise DataError(
            f"{str(path)!r} has a caption of image {unknown[0]}, which it does not list"
        )


def _of_split(document: dict[str, Any], part: str, path: Path) -> dict[str, Any]:
    """A part of Karpathy's split file in COCO's form; "restval" is trained on, as is usual."""
    splits = ("train", "restval") if part == "train" else (part,)
    images, annotations = [], []
    for one in document["images"]:
        if one["split"] in splits:
            number, name = one.get("cocoid", one["imgid"]), one["filename"]
            images.append({"id": number, "file_name": f"{one.get('filepath', '')}/{name}"})
            annotations += [{"image_id": number, "caption": s["raw"]} for s in one["sentences"]]
    if not images:
        known = ", ".join(sorted({str(one["split"]) for one in document["images"]}))
        raise DataError(f"{str(path)!r} holds no image of split {part!r}, only of {known}")
    return {"images": images, "annotations": annotations}


def _picture(entry: Entry, file: Path, captions: list[Any]) -> Picture:
    texts, named = zip(*captions, strict=True)
    size = entry.size
    if any(named) and (size is None or size[0] != size[1]):  # a box needs it
        shown = image_size(file)
        if size is not None and size == shown[::-1] != shown:
            raise DataError(
                f"image {str(file)!r} is {shown[0]} x {shown[1]} as its EXIF orientation turns it, "
                f"but listed as {size[0]} x {size[1]}, where its boxes do not fit: turn its pixels "
                f"or its boxes"
            )
        size = size or shown
    return Picture(entry.id, file, *(size or (None, None)), texts, named)


def _entry(image: dict[str, Any]) -> Entry:
    name = str(image["file_name"]).replace("\\", "/").lstrip("/")
    if ".." in PurePosixPath(name).parts or not PurePosixPath(name).name:
        raise ValueError(f"file_name {name!r} leads out of the folder")
    size = None
    if "width" in image and "height" in image:
        size = int(image["width"]), int(image["height"])
        if not (1 <= min(size) and max(size) <= LONGEST_SIDE):
            raise ValueError(
                f"{name!r} must be at least 1 pixel wide and high (at most {LONGEST_SIDE}), got "
                f"{size[0]} x {size[1]}"
            )
    spelling(image["id"])
    return Entry(image["id"], name, size)


def spelling(value: Any) -> str:
    """An image's id as text; 7, 7.0 and "7" are one id, "007" is another."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"the number of an image must be whole, got {value}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"the id of an image must be a number or text, got {value!r}")
    return str(int(value)) if isinstance(value, float) else str(value)


def _caption(annotation: dict[str, Any]) -> str:
    text = annotation["caption"]
    if not isinstance(text, str):
        which = f"annotation {annotation.get('id')} of image {annotation.get('image_id')}"
        raise ValueError(f"the caption of {which} must be text, got {text!r}")
    return text


def _named(one: dict[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Numbers of words, and the box of what they name."""
    words, box = tuple(map(int, one["words"])), tuple(map(float, one["bbox"]))
    if len(box) != 4 or not np.all(np.isfinite(box)):
        raise ValueError(f"a bbox must be four finite numbers, got {one['bbox']}")
    if min(box[2:]) < 0:
        raise ValueError(f"width and height of a bbox must not be negative, got {one['bbox']}")
    if any(word < 0 for word in words):
        raise ValueError(f"named words must be counted from 0, got {one['words']}")
    return words, box


def _with_folders(data: Path, folder: Path, name: str) -> Path | None:
    """Where an image is whose name brings its folders, if it is there."""
    places = (data / name, folder / name) if "/" in name else ()
    return next((place for place in places if place.is_file()), None)


def _files(
    data: Path, part: str, year: int, listed: Sequence[Entry], images: bool
) -> Iterator[Path]:
    """Where each image is: by its name in the set's folder, or with its folders in the data's."""
    folder = data / f"{part}{year}"
    if not images:
        yield from (folder / PurePosixPath(entry.name).name for entry in listed)
        return
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    absent, used = [], dict[Path, str]()
    for entry in listed:
        file, last = _with_folders(data, folder, entry.name), PurePosixPath(entry.name).name
        if file is None and last not in there:
            absent.append(last)
        file = file or folder / last
        if used.setdefault(file, entry.name) != entry.name:
            raise DataError(f"{entry.name!r} and {used[file]!r} would both be {str(file)!r}")
        yield file
    if absent and not there:
        raise MissingPart(f"no images at {str(folder)!r}: put COCO's folder {folder.name} there")
    if absent:
        more = f" (and {len(absent) - 1} others)" if len(absent) > 1 else ""
        raise DataError(
            f"image {absent[0]!r}{more}, which {captions_file(data, part, year).name} names, is "
            f"not in {str(folder)!r}"
        )


def _numbered(
    part: str,
    pictures: list[Picture],
    tokens: Sequence[Sequence[tuple[str, ...]]],
    vocabulary: Vocabulary,
    length: int,
) -> CaptionSet:
    first = np.cumsum([0, *(len(each) for each in tokens)])
    words = np.stack([vocabulary.encode(c, length) for each in tokens for c in each])
    boxes = None
    if any(named for picture in pictures for named in picture.named):
        boxes = np.full((*words.shape, 4), np.nan, np.float32)
        row = 0
        for picture in pictures:
            for named in picture.named:
                for places, box in named:
                    boxes[row, [place for place in places if place < length]] = box
                row += 1
    return CaptionSet(part, tuple(pictures), tuple(tokens), words, first, boxes)  # pyright: ignore
