"""The full model: every segment, every class, the matrices themselves.

This is what the reduced losses of the catalogue must come from. Nothing here is taken from it: the
three ways to train an attention model, and the power mean, are written over segments as they are
defined.
"""

from collections.abc import Callable, Sequence

import sympy as sp

from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.paradigm import Paradigm

Pool = Callable[[Sequence[sp.Expr], Sequence[Sequence[sp.Expr]], Callable], sp.Expr]
"""(focus weights, logits of each segment, logits -> true-class probability) -> loss."""


def soft(weights: Sequence, logits: Sequence, probability: Callable) -> sp.Expr:
    """Cross entropy of the classifier on the weighted input (the classifier is linear)."""
    pooled = [
        sum(a * z for a, z in zip(weights, column, strict=True))
        for column in zip(*logits, strict=True)
    ]
    return -sp.log(probability(pooled))


def hard(weights: Sequence, logits: Sequence, probability: Callable) -> sp.Expr:
    """Expected cross entropy of one segment that is sampled by the focus."""
    return sum(-a * sp.log(probability(z)) for a, z in zip(weights, logits, strict=True))


def lvml(weights: Sequence, logits: Sequence, probability: Callable) -> sp.Expr:
    """Minus the log marginal likelihood, the focus being the prior over segments."""
    return -sp.log(sum(a * probability(z) for a, z in zip(weights, logits, strict=True)))


def power(s: sp.Rational) -> Pool:
    """Minus the log power mean, with exponent s, of the segments' probabilities."""

    def loss(weights: Sequence, logits: Sequence, probability: Callable) -> sp.Expr:
        mean = sum(a * probability(z) ** s for a, z in zip(weights, logits, strict=True))
        return -sp.log(mean) / s

    return loss


HALF = sp.Rational(1, 2)


def models() -> tuple[tuple[Paradigm, Pool], ...]:
    """Each built-in paradigm with the full loss that it stands for."""
    return ((SOFT, soft), (HARD, hard), (LVML, lvml), (power_mean(HALF), power(HALF)))


def softmax_at(label: int) -> Callable:
    """Logits over an explicit number of classes -> probability of the class ``label``."""
    return lambda z: sp.exp(z[label]) / sp.Add(*(sp.exp(one) for one in z))


def softmax_over(classes: sp.Expr) -> Callable:
    """The same for C classes, C a symbol: z holds the true class's logit and one other's.

    The remaining C - 2 logits are 0.
    """
    return lambda z: sp.exp(z[0]) / (sp.exp(z[0]) + sp.exp(z[1]) + classes - 2)


def population(
    pool: Pool,
    W: sp.Matrix,
    V: sp.Matrix,
    w: Sequence[sp.Expr],
    v: Sequence[sp.Expr],
    segments: int,
    foreground: int,
    norms: tuple[sp.Expr, sp.Expr] = (sp.S.One, sp.S.One),
) -> sp.Expr:
    """The population loss of explicit matrices, averaged over the classes.

    Args:
        pool: the full loss of one example.
        W: classifier's weights on the foreground vectors, a column a class.
        V: its weights on the background vectors, a column a vector.
        w: focus weights on the foreground vectors.
        v: focus weights on the background vectors.
        segments: m.
        foreground: k, how many segments hold the foreground vector.
        norms: lengths of foreground and background vectors.
    """
    classes, kinds = W.rows, V.cols
    r, s = norms
    total = sp.S.Zero
    for label in range(classes):
        behind = [j % kinds for j in range(segments - foreground)]
        scores = [r * w[label]] * foreground + [s * v[j] for j in behind]
        over = [sp.exp(score) for score in scores]
        weights = [one / sp.Add(*over) for one in over]
        logits = [list(r * W[:, label])] * foreground + [list(s * V[:, j]) for j in behind]
        total += pool(weights, logits, softmax_at(label)) / classes
    return total


def slopes(loss: sp.Expr, entries: Sequence[sp.Symbol], at: dict) -> list[sp.Expr]:
    """The partial derivatives of the loss by each entry, at a point."""
    found = []
    for entry in entries:
        others = {symbol: value for symbol, value in at.items() if symbol != entry}
        found.append(sp.diff(loss.xreplace(others), entry).subs(entry, at[entry]))
    return found
