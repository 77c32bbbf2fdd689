"""Posts of HateXplain, from the published files or from Hugging Face's version, checked.

Published: ``dataset.json`` maps the id of a post to its words, three annotators' labels, and one
list of marks (1 for a word of the rationale) for each annotator who marked one;
``post_id_divisions.json`` lists the ids of the training, validation and test posts. It leaves out
the 919 of 20,148 posts on which all three annotators disagree. Hugging Face's version numbers the
labels 0, 1, 2 in the order of ``LABELS``.

Source: Mathew et al. (2021), HateXplain, arXiv 2012.10289.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnflow.environment import library
from attnflow.errors import DataError, MissingPart

LABELS = ("hatespeech", "normal", "offensive")
POSTS, DIVISIONS = "dataset.json", "post_id_divisions.json"
SPLITS = {"train": "train", "heldout": "val", "test": "test"}
"""Our name of a set -> the published one."""

HUB = "hub:"
ON_HUB = "Hate-speech-CNERG/hatexplain"
AS_PARQUET = "refs/convert/parquet"
"""Where the hub keeps the copy that needs no script."""


@dataclass(frozen=True)
class Post:
    """A post.

    Attributes:
        name: its id.
        words: of the post.
        labels: of each annotator, in order.
        rationales: marks of each annotator who marked a rationale, one for each word.
    """

    name: str
    words: tuple[str, ...]
    labels: tuple[str, ...]
    rationales: tuple[tuple[int, ...], ...]


def read_posts(place: str | Path) -> dict[str, list[Post]]:
    """The posts of each set, those without words left out.

    Args:
        place: a folder with the two published files; a folder of Hugging Face's version, as
            ``save_to_disk`` or as parquet files named by split; "hub:" or "hub:OWNER/NAME".

    Raises:
        MissingPart: there are no such data, or the ``datasets`` library is needed; says what to do.
        DataError: they are damaged.
    """
    text = str(place)
    folder = Path(place).expanduser()
    if text.startswith(HUB):
        found = _from_hub(text.removeprefix(HUB) or ON_HUB)
    elif (folder / POSTS).is_file() and (folder / DIVISIONS).is_file():
        found = _published(folder)
    elif (folder / "dataset_dict.json").is_file() or list(folder.glob("**/*.parquet")):
        found = _from_folder(folder)
    else:
        lacking = [name for name in (POSTS, DIVISIONS) if not (folder / name).is_file()]
        raise MissingPart(
            f"no {' and no '.join(lacking)} at {text!r}: run 'attnflow data fetch hatexplain "
            f"--data DIR', or put {POSTS} and {DIVISIONS} of the public repository "
            "hate-alert/HateXplain (folder Data) there; 'attnflow data generate hatexplain --data "
            "DIR' writes a harmless corpus of the same form to try"
        )
    odd = [post.name for posts in found.values() for post in posts if _uneven(post)]
    if odd:
        warnings.warn(
            f"rationales of {len(odd)} posts are not as long as their posts (the first is "
            f"{odd[0]!r}): words without a mark count as not marked, marks without a word are "
            "left out",
            stacklevel=2,
        )
    return {name: [_even(post) for post in posts if post.words] for name, posts in found.items()}


def _uneven(post: Post) -> bool:
    return any(len(marks) != len(post.words) for marks in post.rationales)


def _even(post: Post) -> Post:
    count = len(post.words)
    marks = tuple((m + (0,) * (count - len(m)))[:count] for m in post.rationales)
    return Post(post.name, post.words, post.labels, marks)


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is damaged or no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} must hold a JSON object, got {type(found).__name__}")
    return found


def _published(folder: Path) -> dict[str, list[Post]]:
    entries, divisions = _load(folder / POSTS), _load(folder / DIVISIONS)
    path = str(folder / DIVISIONS)
    for split in SPLITS.values():
        names = divisions.get(split)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path!r} must hold a list of ids {split!r}")
        if not names:
            raise DataError(f"{path!r} lists no post in {split!r}")
    counts = Counter(name for split in SPLITS.values() for name in divisions[split])
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(f"{path!r} lists post {twice[0]!r} more than once")
    unknown = [name for name in counts if name not in entries]
    if unknown:
        raise DataError(
            f"{path!r} lists post {unknown[0]!r}, which {str(folder / POSTS)!r} has not"
        )
    where = str(folder / POSTS)

    def one(name: str) -> Post:
        entry = entries[name]
        if not isinstance(entry, dict):
            raise DataError(f"post {name!r} in {where!r} must be a JSON object")
        annotators = entry.get("annotators")
        if not isinstance(annotators, list) or not all(isinstance(a, dict) for a in annotators):
            raise DataError(f"post {name!r} in {where!r} must have a list of annotators")
        labels = [annotator.get("label") for annotator in annotators]
        return _checked(name, entry, labels, where)

    return {name: [one(post) for post in divisions[split]] for name, split in SPLITS.items()}


def _checked(name: str, entry: Mapping[str, Any], labels: list[Any], where: str) -> Post:
    words, rationales = entry.get("post_tokens"), entry.get("rationales")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"post {name!r} in {where!r} must have a list of words post_tokens")
    if not labels or any(label not in LABELS for label in labels):
        strange = next((label for label in labels if label not in LABELS), None)
        raise DataError(
            f"labels of post {name!r} in {where!r} must be {', '.join(LABELS)}, got {strange!r}"
        )
    if not isinstance(rationales, list) or not all(
        isinstance(marks, list) and all(mark in (0, 1) for mark in marks) for marks in rationales
    ):
        raise DataError(f"rationales of post {name!r} in {where!r} must be lists of 0 and 1")
    return Post(name, tuple(words), tuple(labels), tuple(tuple(marks) for marks in rationales))


def _from_folder(folder: Path) -> dict[str, list[Post]]:
    datasets = library("datasets", f"Hugging Face's version at {str(folder)!r} needs")
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(str(folder))
        else:
            files = {s: [str(f) for f in _of_split(folder, s)] for s in ("train", "test")}
            files["validation"] = [str(f) for f in _of_split(folder, "val")]
            splits = {
                # one by one and in memory: no copy is kept elsewhere
                split: datasets.concatenate_datasets(
                    [datasets.Dataset.from_parquet(file, keep_in_memory=True) for file in named]
                )
                for split, named in files.items()
                if named
            }
    except Exception as error:  # datasets and arrow raise many kinds
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{str(folder)!r} is damaged or not of datasets: {said}") from error
    return _of_library(splits, str(folder))


def _of_split(folder: Path, split: str) -> list[Path]:
    """Parquet files named, or in a folder named, by a split."""
    return sorted(
        file
        for file in folder.glob("**/*.parquet")
        if any(part.startswith(split) for part in file.relative_to(folder).parts)
    )


def _from_hub(name: str) -> dict[str, list[Post]]:
    datasets = library("datasets", f"{name!r} on the hub needs")
    try:
        splits = datasets.load_dataset(name, revision=AS_PARQUET)
    except Exception as error:  # no network, no such set, no such copy: many kinds
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingPart(
            f"cannot load {name!r} from the hub ({said}): put {POSTS} and {DIVISIONS} into a "
            "folder and name it by --data"
        ) from error
    return _of_library(splits, name)


def _of_library(splits: Any, where: str) -> dict[str, list[Post]]:
    found = {}
    for name, split in (("train", "train"), ("heldout", "validation"), ("test", "test")):
        if split not in splits or not len(splits[split]):
            raise DataError(f"{where!r} has no posts in split {split!r}")
        found[name] = list(_rows(splits[split], where))
    return found


def _rows(rows: Any, where: str) -> Iterator[Post]:
    for number, row in enumerate(rows):
        name = str(row.get("id", number))
        annotators = row.get("annotators")
        if isinstance(annotators, list):  # one record an annotator instead of a record of lists
            annotators = {"label": [one.get("label") for one in annotators]}
        labels = annotators.get("label") if isinstance(annotators, dict) else None
        if not isinstance(labels, list):
            raise DataError(f"post {name!r} in {where!r} must have annotators with a label each")
        known = range(len(LABELS))
        yield _checked(name, row, [LABELS[x] if x in known else x for x in labels], where)
