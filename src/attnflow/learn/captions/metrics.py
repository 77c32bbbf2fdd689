"""How like the references captions are: BLEU here, ROUGE-L and CIDEr by pycocoevalcap.

pycocoevalcap's METEOR, SPICE and tokeniser need Java and are left out; captions come tokenised
(``words.tokenise``), which is also how they are compared.
"""

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]

ORDERS = 4


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of a whole set, from 0 to 1.

    The geometric mean of the clipped precisions of 1 to n words in a row, times the brevity
    penalty exp(1 - r/c) where the captions' length c is below r, the sum of the reference lengths
    nearest to each (the shorter one of two). No smoothing: 0 where a precision is 0.

    Source: Papineni et al., "BLEU: a method for automatic evaluation", ACL 2002.

    Args:
        captions: the words of each.
        references: the words of every reference of each.
    """
    right, total = [0] * ORDERS, [0] * ORDERS
    length = nearest = 0
    for caption, those in zip(captions, references, strict=True):
        size = len(caption)
        length += size
        nearest += min((len(one) for one in those), key=lambda n: (abs(n - size), n))
        for order in range(1, ORDERS + 1):
            most: Counter[tuple[str, ...]] = Counter()
            for one in those:
                most |= _runs(one, order)
            right[order - 1] += sum((_runs(caption, order) & most).values())
            total[order - 1] += max(0, size - order + 1)
    if not all(right[:1]):
        return (0.0,) * ORDERS
    penalty = min(0.0, 1 - nearest / length)
    found, logarithm = [], 0.0
    for order in range(1, ORDERS + 1):
        if not right[order - 1]:
            return (*found, *(0.0,) * (ORDERS - len(found)))
        logarithm += math.log(right[order - 1] / total[order - 1])
        found.append(math.exp(penalty + logarithm / order))
    return tuple(found)


def _runs(words: Words, order: int) -> Counter[tuple[str, ...]]:
    """How often each run of so many words occurs."""
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def others(
    captions: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float] | None:
    """ROUGE-L and CIDEr, from 0 to 1 and 0 to 10; None where pycocoevalcap is not installed."""
    try:
        from pycocoevalcap.cider.cider import Cider  # pyright: ignore[reportMissingImports]
        from pycocoevalcap.rouge.rouge import Rouge  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    given = {i: [" ".join(words)] for i, words in enumerate(captions)}
    wanted = {i: [" ".join(words) for words in those] for i, those in enumerate(references)}
    return {
        "rouge_l": float(Rouge().compute_score(wanted, given)[0]),
        "cider": float(Cider().compute_score(wanted, given)[0]),
    }
