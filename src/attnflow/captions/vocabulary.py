"""Words of captions: how a sentence is divided, which words are known, and their numbers.

Division follows the Penn Treebank as COCO's own evaluation uses it: lower case, "it's" is "it"
and "'s", "don't" is "do" and "n't", words with hyphens and numbers such as 8:25 stay whole, and
punctuation is dropped.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attnflow.errors import DataError
from attnflow.files import save_json
from attnflow.reading import read_json

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
"""Words that no caption holds, at the numbers above."""

_WORD = re.compile(
    r"\d+(?:[.:,]\d+)+"  # 8:25, 1,000
    r"|[^\W_]+?(?=n't\b)|n't\b"  # do n't
    r"|'(?:s|m|d|re|ve|ll)\b"  # it 's
    r"|[^\W_]+(?:-[^\W_]+)*"  # frost-covered
)


def tokenise(caption: str) -> list[str]:
    """The words of a caption, in lower case, without punctuation."""
    return _WORD.findall(caption.lower().replace("\u2019", "'"))


@dataclass(frozen=True)
class Vocabulary:
    """The words that are known.

    Attributes:
        words: all of them by number; the first four are ``SPECIAL``.
    """

    words: tuple[str, ...]
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {word: i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, tokens: Sequence[str], length: int) -> np.ndarray:
        """Numbers of the words and ``END``, padded to ``length``; longer captions are cut.

        A caption that was cut has no ``END``: nothing says that it is over there.
        """
        found = np.full(length, PAD, np.int32)
        numbers = [self.numbers.get(token, UNKNOWN) for token in tokens]
        numbers = [*numbers, END][:length]
        found[: len(numbers)] = numbers
        return found

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The words before the first ``END`` or ``PAD``."""
        found = []
        for number in numbers:
            if number in (END, PAD):
                break
            found.append(self.words[int(number)])
        return found

    def save(self, path: Path) -> None:
        """Write the words as JSON, whole or not at all."""
        save_json(path, list(self.words))


def build_vocabulary(captions: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
    """Words that occur at least ``min_count`` times, the most frequent first, then by alphabet."""
    counts = Counter(token for tokens in captions for token in tokens)
    kept = sorted((w for w, n in counts.items() if n >= min_count), key=lambda w: (-counts[w], w))
    return Vocabulary((*SPECIAL, *kept))


def load_vocabulary(path: Path) -> Vocabulary:
    """Read what ``Vocabulary.save`` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    words = read_json(path)
    good = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not good or tuple(words[: len(SPECIAL)]) != SPECIAL:
        raise DataError(f"{str(path)!r} is no vocabulary: it must begin with {', '.join(SPECIAL)}")
    return Vocabulary(tuple(words))
