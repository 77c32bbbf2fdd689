"""Words of captions: how a sentence is divided, which words are known, and their numbers.

Division follows the Penn Treebank as COCO's own evaluation uses it (Stanford's PTBTokenizer 3.4.1
behind pycocoevalcap): lower case; "it's" is "it" and "'s", "don't" is "do" and "n't", "cannot" is
"can" and "not"; "o'clock", "u.s.", "st.", "frost-covered", "black/white", "at&t", "8:25" and "1/2"
stay whole; ``& % $ / # * + = ~ @`` are words; other punctuation is dropped, but for runs such as
"?!". It differs in this: brackets are dropped, where COCO's writes "-lrb-"; currencies and
fractions keep their signs (COCO's writes the euro as "$" and the pound as "#"); what "!" or "?"
glues together is divided. On all 795 captions of a small part of COCO 2017 it is the same.

Captions are normalised (NFC), and a combining mark, a joiner or a non-joiner stays with its letter.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from attnflow.errors import DataError
from attnflow.files import save_json
from attnflow.reading import read_json

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
"""Words that no caption holds, at the numbers above."""

_ABBREVIATIONS = (
    "mr mrs ms dr drs prof profs st ave jr sr inc co corp ltd bros etc vs mt ft dept blvd rd jan "
    "feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri sgt gen capt rev "
    "gov sen rep col lt maj calif fla hon pres al cf est ext tel univ assn sq bldg ste adm cmdr "
    "cpl pvt messrs mlle mme det insp supt adv alex wm jos ariz colo conn ind kan ky md mich minn "
    "mo mont neb nev okla penn tenn va vt wis wyo ph\\.d"
).replace(" ", "|")
"""What keeps its full stop, as in PTBTokenizer."""

_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200e\u200f\u2060\ufeff")) | {0x2019: "'"}
"""Soft hyphens, marks of direction and of byte order, which are no part of a word."""


@cache
def _word(plain: bool) -> re.Pattern[str]:
    """A word in lower case, of ASCII alone (which is read faster) or of any script."""
    w = r"\w+"
    if not plain:
        # marks of scripts; selectors of emoji and what surrounds a symbol belong to no letter
        codes = (c for c in range(0xE0000) if unicodedata.category(chr(c)).startswith("M"))
        marks = [c for c in codes if not (0xFE00 <= c <= 0xFE0F or 0x20D0 <= c <= 0x20FF)]
        starts = [c for c, before in zip(marks, [-1, *marks], strict=False) if c - before > 1]
        ends = [c for c, after in zip(marks, [*marks[1:], -1], strict=True) if after - c != 1]
        spans = "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))
        w = rf"\w[\w{spans}\u200c\u200d]*"
    return re.compile(
        r"(?!cannot|gonna|wanna|gotta|gimme|lemme)[a-z]{2,}(?=\s|$)"  # most words, at once
        r"|https?://\S+"
        r"|(?<!\S)-\d+(?:[.:,]\d+)*|\d+(?:[.:,/]\d+)+"  # -5, 8:25, 1,000, 1/2
        r"|[^\W\d_](?:\.[^\W\d_])+\b\.?"  # u.s.
        rf"|\b(?:{_ABBREVIATIONS})\.(?!\w)|\b[a-z]\.(?!\w)|\b(?:nos?|fig)\.(?= \d)"
        r"|\bcan(?=not\b)|\b(?:gon|wan)(?=na\b)|\bgot(?=ta\b)|\b(?:gim|lem)(?=me\b)"
        r"|[^\W_]+?(?=n't\b)|n't\b"  # do n't
        r"|'(?:s|m|d|re|ve|ll)\b"  # it 's
        r"|'t(?=is\b|was\b)|'(?:n'|(?:em|cause|til)\b|\d\d(?:s\b|(?!\w)))"  # 'em, '50s
        rf"|\b[dlo]'{w}|\bma'am\b|\bc'mon\b|\b(?:ol|dunkin|somethin)'(?!\w)|\by'(?=all\b)"
        r"|c\+\+|\bc#(?!\w)|</?[a-z][^<>\s]*>"
        r"|[#@]\w*[^\W\d]\w*"  # #dogs
        rf"|{w}(?:[-/&]{w}|(?:[.@]{w})+)*"  # frost-covered, black/white, at&t, foo.jpg
        r"|[!?]{2,}"
        r"|[&%$#/*+=~^|\\@<>¢£¥°€]"
    )


def tokenise(caption: str) -> list[str]:
    """The words of a caption, in lower case, without punctuation."""
    text = unicodedata.normalize("NFC", caption).translate(_UNSEEN)
    if "&" in text:  # only capitals are joined by it: AT&T
        text = re.sub("(?<![A-Z])&|&(?![A-Z])", " & ", text)
    text = unicodedata.normalize("NFC", text.lower())
    return _word(text.isascii()).findall(text)


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
