"""Posts of HateXplain, from the published files or from Hugging Face's version, checked.

Published: ``dataset.json`` maps the id of a post to its words, three annotators' labels, and one
list of marks (1 for a word of the rationale) for each annotator who marked one;
``post_id_divisions.json`` lists the ids of the training, validation and test posts. It leaves out
the 919 of 20,148 posts on which all three annotators disagree. Hugging Face's version numbers the
labels 0, 1, 2 in the order of ``LABELS``.

Source: Mathew et al. (2021), HateXplain, arXiv 2012.10289.
"""

import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from attnflow.environment import library
from attnflow.errors import DataError, MissingPart, warn
from attnflow.reading import LARGEST_JSON, holding, parse_json, read_bytes, read_json, regular

LABELS = ("hatespeech", "normal", "offensive")
POSTS, DIVISIONS = "dataset.json", "post_id_divisions.json"
SPLITS = {"train": "train", "heldout": "val", "test": "test"}
"""Our name of a set -> the published one."""

SPLIT_WORDS = {
    "train": {"train", "training"},
    "heldout": {"val", "valid", "validation", "dev", "development"},
    "test": {"test", "testing", "eval", "evaluation"},
}
"""Our name of a set -> the words by which files and folders of it are named, as on the hub."""

SHARD = re.compile(r"-(\d+)-of-(\d+)(?=\D)")
"""How a file that is one of several is numbered."""

MOST_POSTS = 10_000_000
"""Rows of a file that are read."""

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
        place: a folder with the two published files, or one up to two folders above, as a clone
            of the repository is; a folder of Hugging Face's version, as the
            hub or ``save_to_disk`` lays it out (parquet, arrow or JSON lines; a file belongs to
            the split that names it, or the nearest folder above it); "hub:" or "hub:OWNER/NAME".

    Raises:
        MissingPart: there are no such data, or a library is needed; says what to do.
        DataError: they are damaged, a file fits two splits, or a post is there twice.
    """
    text = str(place)
    folder = Path(place).expanduser()
    if text.startswith(HUB):
        found = _from_hub(text.removeprefix(HUB) or ON_HUB)
    elif published := holding(folder, _has_both, "HateXplain"):
        found = _published(published)
    elif files := _split_files(folder):
        found = _from_files(folder, files)
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
        warn(
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
    found = read_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} must hold a JSON object, got {type(found).__name__}")
    return found


def _has_both(folder: Path) -> bool:
    return (folder / POSTS).is_file() and (folder / DIVISIONS).is_file()


def _published(folder: Path) -> dict[str, list[Post]]:
    entries = _load(folder / POSTS)
    divisions = _divisions(folder, entries)
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


def _divisions(folder: Path, entries: dict[str, Any]) -> dict[str, Any]:
    """The ids of each split, each known and in one of them."""
    divisions, path = _load(folder / DIVISIONS), str(folder / DIVISIONS)
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
    return divisions


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


def _from_files(folder: Path, files: Sequence[Path]) -> dict[str, list[Post]]:
    """Posts from files that are named, or lie in a folder named, by a split."""
    found: dict[str, list[Post]] = {name: [] for name in SPLITS}
    spare, home = [], {}
    shards: dict[tuple[str, str], set[str]] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        split = _split_of(folder, name)
        if split is None:
            spare.append(name)
            continue
        if shard := SHARD.search(name):
            shards.setdefault((name[: shard.start()], shard[2]), set()).add(shard[1])
        for post in _rows(_table(file), str(file), split):
            if post.name in home:
                raise DataError(
                    f"post {post.name!r} is in {home[post.name]!r} and again in {name!r} of "
                    f"{str(folder)!r}: leave each post in one file"
                )
            home[post.name] = name
            found[split].append(post)
    for (start, count), numbers in shards.items():
        if len(numbers) < int(count):
            raise DataError(
                f"{str(folder)!r} holds {len(numbers)} of the {int(count)} files {start}-*-of-"
                f"{count}: the others are missing"
            )
    for split, posts in found.items():
        if not posts:
            seen = [file.relative_to(folder).as_posix() for file in files]
            more = f" and {len(seen) - 12} others" if len(seen) > 12 else ""
            raise DataError(
                f"{str(folder)!r} has no posts in split {SPLITS[split]!r}: a file belongs to the "
                f"split that it, or the nearest folder above it, is named by; there are "
                f"{', '.join(seen[:12])}{more}"
            )
    if spare:
        warn(
            f"{spare[0]!r} of {str(folder)!r} is named by no split, and is left out "
            f"({len(spare)} such files)",
            stacklevel=3,
        )
    return found


def _split_of(folder: Path, name: str) -> str | None:
    """The split that names the file, or the nearest folder above it that any split names."""
    path = PurePosixPath(name)
    for part in reversed((*path.parts[:-1], path.stem)):
        words = re.split(r"[^a-z]+", part.lower())
        named = [split for split, known in SPLIT_WORDS.items() if known & {*words}]
        if len(named) > 1:
            told = " and ".join(SPLITS[split] for split in named)
            raise DataError(
                f"{name!r} of {str(folder)!r} fits two splits, {told}, by {part!r}: name it by one"
            )
        if named:
            return named[0]
    return None


def _split_files(folder: Path) -> list[Path]:
    """What may hold posts of Hugging Face's version: JSON only where a split names the file."""
    found = []
    for file in sorted(folder.rglob("*")):
        name, suffix = file.relative_to(folder), file.suffix.lower()
        hidden = any(part.startswith(".") for part in name.parts) or name.name.startswith("cache-")
        if suffix not in READERS or hidden or not file.is_file():
            continue
        if suffix in (".parquet", ".arrow") or _split_of(folder, name.name) is not None:
            found.append(file)
    return found


def _table(file: Path) -> list[Any]:
    """The rows of a file, as plain values."""
    try:
        rows = READERS[file.suffix.lower()](file)
    except (MissingPart, DataError):
        raise
    except Exception as error:  # arrow raises many kinds
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{str(file)!r} is damaged or of another kind: {said}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{str(file)!r} must hold one object for each post")
    return rows


def _parquet(file: Path) -> list[Any]:
    parquet = _arrow("parquet", file)
    held = parquet.ParquetFile(regular(file)).metadata
    size = sum(held.row_group(i).total_byte_size for i in range(held.num_row_groups))
    if size > LARGEST_JSON or held.num_rows > MOST_POSTS:
        raise DataError(
            f"{str(file)!r} must hold at most {MOST_POSTS} posts of {LARGEST_JSON} bytes, got "
            f"{held.num_rows} of {size}"
        )
    return parquet.read_table(file, partitioning=None).to_pylist()


def _stream(file: Path) -> list[Any]:
    with _arrow("ipc", file).open_stream(read_bytes(file, LARGEST_JSON)) as stream:
        return stream.read_all().to_pylist()


def _arrow(part: str, file: Path) -> Any:
    library("pyarrow", f"Hugging Face's version at {str(file.parent)!r} needs")
    return importlib.import_module(f"pyarrow.{part}")


def _lines(file: Path) -> list[Any]:
    content = read_bytes(file, LARGEST_JSON).decode("utf-8-sig")
    if content.lstrip().startswith("["):
        return parse_json(content, repr(str(file)))
    lines = (line for line in content.split("\n") if line.strip())
    return [parse_json(line, f"a line of {str(file)!r}") for line in lines]


READERS: dict[str, Callable[[Path], list[Any]]] = {
    ".parquet": _parquet,
    ".arrow": _stream,
    ".jsonl": _lines,
    ".json": _lines,
}
"""Ending -> reader of the rows: what the hub, ``save_to_disk`` and exports write."""


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
    found, home = {}, {}
    for ours, split in (("train", "train"), ("heldout", "validation"), ("test", "test")):
        if split not in splits or not len(splits[split]):
            raise DataError(f"{name!r} has no posts in split {split!r}")
        found[ours] = list(_rows(splits[split], name, ours))
        for post in found[ours]:
            if post.name in home:
                raise DataError(f"post {post.name!r} is twice in {name!r}, in {split!r} again")
            home[post.name] = split
    return found


def _rows(rows: Iterable[Mapping[str, Any]], where: str, split: str) -> Iterator[Post]:
    for number, row in enumerate(rows):
        name = str(row.get("id", row.get("post_id", f"{split} {number} of {where}")))
        annotators = row.get("annotators")
        if isinstance(annotators, list):  # one record an annotator instead of a record of lists
            annotators = {
                "label": [one.get("label") if isinstance(one, dict) else None for one in annotators]
            }
        labels = annotators.get("label") if isinstance(annotators, dict) else None
        if not isinstance(labels, list):
            raise DataError(f"post {name!r} in {where!r} must have annotators with a label each")
        known = range(len(LABELS))
        told = [LABELS[x] if type(x) is int and x in known else x for x in labels]
        yield _checked(name, row, told, where)
