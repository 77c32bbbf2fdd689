"""The full losses of the three paradigms over all segments, as the paper writes them, in sympy.

Each takes the focus weights, the logits of every segment (foreground segments first), the label
and the number of foreground segments. Nothing here comes from attnflow.

Source: Vashisht and Ramaswamy, "On the Learning Dynamics of Attention Networks" (ECAI 2023).
"""

import sympy as sp


def _probability(logits, label):
    return sp.exp(logits[label]) / sum(sp.exp(z) for z in logits)


def soft(weights, logits, label, true):
    """Cross entropy of the classifier on the weighted input (the classifier is linear)."""
    classes = range(len(logits[0]))
    pooled = [sum(a * z[c] for a, z in zip(weights, logits, strict=True)) for c in classes]
    return -sp.log(_probability(pooled, label))


def hard(weights, logits, label, true):
    """Expected cross entropy of a segment sampled by the focus."""
    pairs = zip(weights, logits, strict=True)
    return sum(-a * sp.log(_probability(z, label)) for a, z in pairs)


def lvml(weights, logits, label, true):
    """Negative logarithm of the marginal likelihood."""
    return -sp.log(sum(a * _probability(z, label) for a, z in zip(weights, logits, strict=True)))


FULL_LOSSES = {"soft": soft, "hard": hard, "lvml": lvml}
