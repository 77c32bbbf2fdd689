"""BLEU by its definition (Papineni et al., ACL 2002): captions and references as lists of words."""

import math
from collections import Counter

ORDERS = 4


def bleu(captions, references):
    """BLEU-1 to BLEU-4: clipped precisions of runs, brevity penalty, no smoothing."""
    right, total = [0] * ORDERS, [0] * ORDERS
    length = nearest = 0
    for caption, those in zip(captions, references, strict=True):
        size = len(caption)
        length += size
        nearest += min((len(one) for one in those), key=lambda n: (abs(n - size), n))
        for order in range(1, ORDERS + 1):
            most = Counter()
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


def _runs(words, order):
    """How often each run of so many words occurs."""
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
