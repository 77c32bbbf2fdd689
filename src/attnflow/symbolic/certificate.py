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
from itertools import product

import sympy as sp

from attnflow.settings import Setting
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.derivation.step import check_equal
from attnflow.symbolic.flow import background_ratio, derive_flow, overall_speed, relative_speed
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


@dataclass(frozen=True)
class _Network:
    """The classifier and the focus of an explicit setting, entry by entry.

    W and w act on foreground vectors, V and v on the kinds of background vectors.
    """

    W: sp.Matrix
    V: sp.Matrix
    w: sp.Matrix
    v: sp.Matrix

    @property
    def entries(self) -> list[sp.Symbol]:
        return [*self.W, *self.V, *self.w, *self.v]


def _network(classes: int, kinds: int) -> _Network:
    def matrix(name: str, rows: int, columns: int) -> sp.Matrix:
        return sp.Matrix(rows, columns, lambda i, j: sp.Dummy(f"{name}_{i}{j}", real=True))

    return _Network(
        matrix("W", classes, classes),
        matrix("V", classes, kinds),
        matrix("w", classes, 1),
        matrix("v", kinds, 1),
    )


def _share(i: int, j: int, classes: int) -> sp.Expr:
    """An entry of I - 11'/C."""
    return int(i == j) - sp.Rational(1, classes)


def _ansatz(net: _Network, ratio: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
    """The values of all entries on the ansatz; the background's own weight may be any."""
    classes, offset = net.W.rows, sp.Dummy("q", real=True)
    values = {
        net.W[i, j]: mu / r * _share(i, j, classes) for i, j in product(range(classes), repeat=2)
    }
    values |= {entry: sp.S.Zero for entry in net.V} | {entry: offset for entry in net.v}
    score = sp.log(alpha / (1 - alpha) * ratio)
    return values | {entry: (score + s * offset) / r for entry in net.w}


def _population_loss(net: _Network, loss: FullLoss, segments: int, true: int) -> sp.Expr:
    """The average over the classes of the loss of one example, as a function of all entries."""
    classes, kinds = net.W.rows, net.v.rows
    behind = [j % kinds for j in range(segments - true)]
    total = sp.S.Zero
    for label in range(classes):
        foreground = [label] * true
        scores = [r * net.w[j] for j in foreground] + [s * net.v[j] for j in behind]
        over = [sp.exp(score - scores[-1]) for score in scores]  # softmax, shifted
        weights = [weight / sp.Add(*over) for weight in over]
        logits = [list(r * net.W[:, j]) for j in foreground]
        logits += [list(s * net.V[:, j]) for j in behind]
        total += loss(weights, logits, label, true) / classes
    return total


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

    >>> from attnflow.symbolic.catalogue import HARD
    >>> certify(HARD, segments=2, classes=2).check
    'proved'

    Source: derivations/01_ansatz_and_metric.py.
    """
    Setting(segments, classes, foreground_segments, background=background)
    kinds = 1 if background == "shared" else segments - foreground_segments
    numbers = {m: segments, C: classes, k: foreground_segments}
    net = _network(classes, kinds)
    on_ansatz = _ansatz(net, background_ratio.subs(numbers))
    loss = full_loss or effective_loss(paradigm)
    total = _population_loss(net, loss, segments, foreground_segments)

    def velocity(entry: sp.Symbol, rate: sp.Symbol) -> sp.Expr:
        others = {symbol: value for symbol, value in on_ansatz.items() if symbol != entry}
        return -rate * sp.diff(total.xreplace(others), entry).subs(entry, on_ansatz[entry])

    flow = derive_flow(paradigm)
    speeds = {rho: relative_speed(background), tau: overall_speed}
    mu_dot, nu_dot = (e.subs(speeds).subs(numbers) for e in (flow.mu_dot, flow.nu_dot))
    behind = velocity(net.v[0], eta_focus)
    claims = [
        (r * velocity(net.W[i, j], eta_classifier), mu_dot * _share(i, j, classes))
        for i, j in product(range(classes), repeat=2)
    ]
    claims += [(velocity(entry, eta_classifier), sp.S.Zero) for entry in net.V]
    claims += [(velocity(entry, eta_focus), behind) for entry in net.v[1:]]
    claims += [(r * velocity(entry, eta_focus) - s * behind, nu_dot) for entry in net.w]
    results = {check_equal(f"certificate of {paradigm.name}", *claim) for claim in set(claims)}
    return Certificate(
        segments,
        classes,
        foreground_segments,
        background,
        parameters=len(net.entries),
        mu_dot=factored(mu_dot),
        nu_dot=factored(nu_dot),
        check=max(results, key=len),
    )
