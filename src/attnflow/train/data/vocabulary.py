"""Words as numbers: those that are frequent enough, after padding and the unknown word."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from attnflow.settings import check_count

PADDING, UNKNOWN = 0, 1
SPECIAL = ("<padding>", "<unknown>")


@dataclass(frozen=True)
class Vocabulary:
    """The words that are told apart.

    Attributes:
        words: padding and the unknown word, then by falling frequency.
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], min_count: int = 1) -> "Vocabulary":
        """The words that occur often enough; equally frequent ones in the order of letters.

        Args:
            texts: the words of each text.
            min_count: how often a word must occur.

        Raises:
            SettingError: min_count is not a whole number of at least 1.
        """
        check_count("min_count", min_count)
        counts = Counter(word for text in texts for word in text)
        kept = [word for word, count in counts.items() if count >= min_count]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls((*SPECIAL, *(word for word in kept if word not in SPECIAL)))

    def numbers(
        self, texts: Sequence[Sequence[str]], places: int
    ) -> tuple[Int[np.ndarray, "N m"], Bool[np.ndarray, "N m"]]:
        """Numbers of the words of each text, cut and padded to so many places, and a mask."""
        known = {word: number for number, word in enumerate(self.words)}
        numbers = np.full((len(texts), places), PADDING, np.int32)
        mask = np.zeros((len(texts), places), bool)
        for row, text in enumerate(texts):
            found = [known.get(word, UNKNOWN) for word in text[:places]]
            numbers[row, : len(found)] = found
            mask[row, : len(found)] = True
        return numbers, mask
