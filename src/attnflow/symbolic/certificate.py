"""The ansatz is exact: the gradient of the full loss over the matrices, for explicit m and C.

The population loss is written over every entry of the classifier's matrix and of the focus
vector, differentiated entry by entry, and evaluated on the ansatz. The velocities must stay in
the ansatz and be those of the reduced flow, norms and learning rates included.

A paradigm says what is lost as a function of (alpha, mu). Its full loss is taken to be the
average over the classes y of L(alpha_y, mu_y), where alpha_y is the softmax weight on the true
segments and mu_y the margin with the same true-class probability, mu_y = z_y - log mean_{j != y}
e^{z_j} for the logits z of a foreground segment. Other full losses that agree with L on the
ansatz, such as those that pool the logits or probabilities of all segments, can be given instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.settings import Setting
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.derivation.step import check_equal
from attnflow.symbolic.flow import derive_flow, overall_speed, relative_speed
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, eta_classifier, eta_focus, k, m, mu, r, rho, s, tau

FullLoss = Callable[[Sequence[sp.Expr], Sequence[Sequence[sp.Expr]], int, int], sp.Expr]
"""(focus weights, logits of each segment, label, number of true segments, put first) -> loss."""


@dataclass(frozen=True)
class Certificate:
    """Velocities of the full gradient flow on the ansatz, found equal to the reduced flow.

    Attributes:
        segments, classes, foreground_segments, background: the explicit setting.
        parameters: how many entries of W and w the loss was differentiated by.
        mu_dot: d mu/dt of the full flow, in alpha, mu, r and eta_c.
        nu_dot: d nu/dt of the full flow, in alpha, mu, r, s, eta_f.
        check: "proved", or "50 digits" where an entry could only be compared numerically.
    """

    segments: int
    classes: int
    foreground_segments: int
    background: str
    parameters: int
    mu_dot: sp.Expr
    nu_dot: sp.Expr
    check: str


def effective_loss(paradigm: Paradigm) -> FullLoss:
    """The full loss that a paradigm's L(alpha, mu) stands for; see the module's text."""

    def loss(
        weights: Sequence[sp.Expr], logits: Sequence[Sequence[sp.Expr]], label: int, true: int
    ) -> sp.Expr:
        scores = logits[0]
        rest = [sp.exp(score) for j, score in enumerate(scores) if j != label]
        margin = scores[label] - sp.log(sp.Add(*rest) / len(rest))
        values = {alpha: sp.Add(*weights[:true]), mu: margin, C: sp.Integer(len(scores))}
        return paradigm.expanded.xreplace(values)

    return loss


@lru_cache(maxsize=256)
def certify(
    paradigm: Paradigm,
    segments: int = 3,
    classes: int = 3,
    foreground_segments: int = 1,
    background: str = "shared",
    full_loss: FullLoss | None = None,
) -> Certificate:
    """Certify the reduction for one explicit setting.

    Args:
        paradigm: whose reduced flow is certified.
        segments: m, a small number, as in ``Setting``; likewise the next three.
        classes: C.
        foreground_segments: k.
        background: "shared" or "distinct".
        full_loss: the loss of one example; by default ``effective_loss(paradigm)``.

    Returns:
        The certificate, with the velocities found.

    Raises:
        SettingError: a number out of range.
        UncheckedStep: the full flow leaves the ansatz or is not the reduced flow.
    """
    Setting(segments, classes, foreground_segments, background=background)
    loss = full_loss or effective_loss(paradigm)
    kinds = 1 if background == "shared" else segments - foreground_segments
    W = sp.Matrix(classes, classes, lambda i, j: sp.Dummy(f"W_{i}{j}", real=True))
    V = sp.Matrix(classes, kinds, lambda i, j: sp.Dummy(f"V_{i}{j}", real=True))
    w = sp.Matrix(classes, 1, lambda i, _: sp.Dummy(f"w_{i}", real=True))
    v = sp.Matrix(kinds, 1, lambda i, _: sp.Dummy(f"v_{i}", real=True))
    offset = sp.Dummy("q", real=True)  # where the background's own weight stands: it drops out

    on_ansatz = {
        W[i, j]: mu / r * (int(i == j) - sp.Rational(1, classes))
        for i in range(classes)
        for j in range(classes)
    }
    on_ansatz |= {entry: sp.S.Zero for entry in V} | {entry: offset for entry in v}
    odds = alpha / (1 - alpha) * (segments - foreground_segments) / foreground_segments
    on_ansatz |= {entry: (sp.log(odds) + s * offset) / r for entry in w}

    total = sp.S.Zero
    for label in range(classes):
        foreground = [label] * foreground_segments
        behind = [j % kinds for j in range(segments - foreground_segments)]
        scores = [r * w[j] for j in foreground] + [s * v[j] for j in behind]
        over = [sp.exp(score - scores[-1]) for score in scores]  # softmax, shifted
        weights = [weight / sp.Add(*over) for weight in over]
        logits = [list(r * W[:, j]) for j in foreground] + [list(s * V[:, j]) for j in behind]
        total += loss(weights, logits, label, foreground_segments) / classes

    def velocity(entry: sp.Symbol, rate: sp.Symbol) -> sp.Expr:
        others = {symbol: value for symbol, value in on_ansatz.items() if symbol != entry}
        return -rate * sp.diff(total.xreplace(others), entry).subs(entry, on_ansatz[entry])

    numbers = {m: segments, C: classes, k: foreground_segments}
    flow = derive_flow(paradigm)
    speeds = {rho: relative_speed(background), tau: overall_speed}
    reduced = [e.subs(speeds).subs(numbers) for e in (flow.mu_dot, flow.nu_dot)]

    name = f"certificate of {paradigm.name}"
    results = set()
    for i in range(classes):
        for j in range(classes):
            share = int(i == j) - sp.Rational(1, classes)
            results.add(
                check_equal(name, r * velocity(W[i, j], eta_classifier), reduced[0] * share)
            )
    for entry in V:
        results.add(check_equal(name, velocity(entry, eta_classifier), sp.S.Zero))
    behind_velocity = velocity(v[0], eta_focus)
    for entry in v[1:]:
        results.add(check_equal(name, velocity(entry, eta_focus), behind_velocity))
    for entry in w:
        apart = r * velocity(entry, eta_focus) - s * behind_velocity
        results.add(check_equal(name, apart, reduced[1]))
    return Certificate(
        segments,
        classes,
        foreground_segments,
        background,
        parameters=len([*W, *V, *w, *v]),
        mu_dot=factored(reduced[0]),
        nu_dot=factored(reduced[1]),
        check=max(results, key=len),
    )
