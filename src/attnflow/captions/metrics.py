"""How like the references captions are: BLEU by sacrebleu, ROUGE-L and CIDEr by pycocoevalcap.

pycocoevalcap's METEOR, SPICE and tokeniser need Java and are left out; captions come tokenised
(``words.tokenise``), which is also how they are compared.
"""

from collections.abc import Sequence

from attnflow.environment import library

Words = Sequence[str]

ORDERS = 4
SPELLED = {
    **{f"bleu{order}": f"BLEU-{order}" for order in range(1, ORDERS + 1)},
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
}
SCALES = "BLEU and ROUGE-L from 0 to 1, CIDEr to 10; loss in nats a word"


def spelled(name: str) -> str:
    """The heading of a quantity in a table."""
    return SPELLED.get(name, name.replace("_", " "))


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of a whole set, from 0 to 1, without smoothing: 0 where a precision is 0.

    Source: Papineni et al., "BLEU: a method for automatic evaluation", ACL 2002.

    Args:
        captions: the words of each.
        references: the words of every reference of each.

    Raises:
        MissingPart: sacrebleu is not installed.
    """
    scorer = library("sacrebleu", "BLEU needs").BLEU(
        tokenize="none", smooth_method="none", force=True
    )
    texts = [" ".join(words) for words in captions]
    streams = [
        [" ".join(those[place]) if place < len(those) else None for those in references]
        for place in range(max(map(len, references)))
    ]
    found = scorer.corpus_score(texts, streams)
    counts = found.counts, found.totals
    return tuple(
        scorer.compute_bleu(
            *(count[:order] for count in counts),
            found.sys_len,
            found.ref_len,
            smooth_method="none",
            max_ngram_order=order,
        ).score
        / 100
        for order in range(1, ORDERS + 1)
    )


def others(
    captions: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float] | None:
    """ROUGE-L and CIDEr, from 0 to 1 and 0 to 10; None where pycocoevalcap is not installed.

    Where no reference holds a word, there is nothing to be like, and both are left out.
    """
    try:
        from pycocoevalcap.cider.cider import Cider  # pyright: ignore[reportMissingImports]
        from pycocoevalcap.rouge.rouge import Rouge  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    if not any(words for those in references for words in those):
        return {}
    given = {i: [" ".join(words)] for i, words in enumerate(captions)}
    wanted = {i: [" ".join(words) for words in those] for i, those in enumerate(references)}
    return {
        "rouge_l": float(Rouge().compute_score(wanted, given)[0]),
        "cider": float(Cider().compute_score(wanted, given)[0]),
    }
