"""General starts, norms and rates.

Vectors of any length, several foreground segments, a background that is not zero, learning rates
that differ, and any start inside the ansatz: all of it enters through three numbers. `B` is the
number of background segments to a foreground segment, `tau` the overall speed, `rho` the speed of
the focus relative to that of the classifier. The margin `mu` is that of the classifier's output.

The background's own weights: its column of the classifier's matrix never moves, since a background
segment says nothing about the class; its score moves, and adds to the speed of `nu`.
"""

import sympy as sp
from _common import Derivation, by_probability, velocities
from _model import hard, lvml, models, population, slopes, soft, softmax_over

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.early_time import start_series
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import background_ratio, derive_flow, overall_speed, relative_speed
from attnflow.symbols import (
    B,
    C,
    alpha,
    alpha0,
    attention,
    beta,
    eta_classifier,
    eta_focus,
    k,
    m,
    mu,
    mu0,
    mu_dot,
    nu,
    nu0,
    nu_dot,
    probability,
    r,
    remainder,
    rho,
    s,
    t,
    tau,
)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(11, "General starts, norms and rates", __doc__)
    told.prove(
        "ratio",
        "Background to foreground",
        B,
        background_ratio,
        "`k` segments of score `nu` among `m`: their weight together is that of one among `B + 1`.",
        (
            attention.subs(B, background_ratio),
            k * sp.exp(nu) / (k * sp.exp(nu) + m - k),
        ),
    )
    told.define("tau", "Overall speed", tau, overall_speed, "Shown below.")
    for background in ("shared", "distinct"):
        told.define(
            f"rho-{background}",
            f"Relative speed, {background} background",
            rho,
            relative_speed(background),
            "One background vector in all background segments."
            if background == "shared"
            else "A background vector for each of the `m - k` segments, orthogonal to each other.",
        )
    for paradigm, pool in models():
        any_size(told, paradigm, pool)
    for case in ((3, 2, 1, "shared"), (4, 2, 2, "distinct")):
        for paradigm, pool in ((SOFT, soft), (HARD, hard), (LVML, lvml)):
            explicit(told, paradigm, pool, *case)
    scaling(told)
    for paradigm in (SOFT, HARD, LVML):
        anywhere(told, paradigm)
    return told


def any_size(told: Derivation, paradigm, pool) -> None:
    """The full gradient for any m, C and k: one entry of each kind."""
    a, b, c, d, ahead, behind = sp.symbols("a b c d f g", real=True)
    loss = pool((alpha, 1 - alpha), ((a, b), (c, d)), softmax_over(C))
    at = {a: mu, b: 0, c: 0, d: 0}
    # The classifier. An input of class y, a part 1/C of all, has the logits r W e_y.
    diagonal, beside = (-eta_classifier * r * sp.diff(loss, e).subs(at) / C for e in (a, b))
    # A background vector: entry j is the true class of a part 1/C of all inputs.
    still = sum(part * sp.diff(loss, e).subs(at) for e, part in ((c, 1 / C), (d, (C - 1) / C)))
    # The focus. f is the score of the foreground vector, g that of the background.
    weight = k * sp.exp(ahead) / (k * sp.exp(ahead) + (m - k) * sp.exp(behind))
    pull = -eta_focus * sp.diff(loss, alpha).subs(at)
    spread = alpha * (1 - alpha)
    first = k * sp.exp(ahead) / ((m - k) * sp.exp(behind))
    own = r**2 / C * sp.diff(weight, ahead)  # r d(r w)/dt: one of C vectors w
    shared = s**2 * sp.diff(weight, behind)
    # distinct: each background score moves its own weight only, by symmetry 1/(m - k) of that
    distinct = shared / (m - k)
    flow = derive_flow(paradigm)
    wanted = {}
    for background in ("shared", "distinct"):
        speeds = {rho: relative_speed(background), tau: overall_speed}
        wanted[background] = [e.subs(speeds) for e in (flow.mu_dot, flow.nu_dot)]
    printed = by_probability(paradigm) or (factored(flow.mu_dot), factored(flow.nu_dot))
    printed = [e.subs(tau, overall_speed) for e in printed]
    told.prove(
        f"margin-{paradigm.name}",
        f"{paradigm.title}: margin in any setting",
        mu_dot,
        printed[0],
        "From the full loss, for any `m, C` and `k`: the entries of `W` have the proportions of "
        "the ansatz, the background's column stays at zero.",
        (r * diagonal, wanted["shared"][0] * (1 - 1 / C)),
        (r * beside, -wanted["shared"][0] / C),
        (still, sp.S.Zero),
        (wanted["distinct"][0], wanted["shared"][0]),
        (printed[0].subs(beta, probability), wanted["shared"][0]),
    )
    turned = {
        "shared": pull * (own - shared),
        "distinct": pull * (own - distinct),
    }
    for background, found in turned.items():
        told.prove(
            f"focus-{background}-{paradigm.name}",
            f"{paradigm.title}: focus in any setting, {background} background",
            nu_dot,
            printed[1].subs(rho, relative_speed(background)),
            "The score of the foreground minus that of the background.",
            (
                printed[1].subs(rho, relative_speed(background)).subs(beta, probability),
                wanted[background][1],
            ),
            (
                found.subs(ahead, sp.log(alpha / (1 - alpha) * (m - k) / k) + behind),
                wanted[background][1],
            ),
            (sp.diff(weight, ahead), weight * (1 - weight)),
            (first / (1 + first), weight),
            (spread.subs(alpha, weight), sp.diff(weight, ahead)),
        )


def explicit(
    told: Derivation, paradigm, pool, segments: int, classes: int, true: int, background: str
) -> None:
    """Differentiate by every entry, norms and rates symbols, m, C and k numbers."""
    kinds = 1 if background == "shared" else segments - true
    W = sp.Matrix(classes, classes, lambda i, j: sp.Symbol(f"W_{i}{j}", real=True))
    V = sp.Matrix(classes, kinds, lambda i, j: sp.Symbol(f"V_{i}{j}", real=True))
    w = [sp.Symbol(f"w_{i}", real=True) for i in range(classes)]
    v = [sp.Symbol(f"v_{i}", real=True) for i in range(kinds)]
    projector = sp.eye(classes) - sp.ones(classes) / classes
    score = sp.log(alpha / (1 - alpha) * (segments - true) / true)
    at = {W[i, j]: mu / r * projector[i, j] for i in range(classes) for j in range(classes)}
    at |= dict.fromkeys([*V, *v], sp.S.Zero) | dict.fromkeys(w, score / r)
    loss = population(pool, W, V, w, v, segments, true, (r, s))
    numbers = {m: segments, C: classes, k: true}
    speeds = {rho: relative_speed(background), tau: overall_speed}
    speed, turn = (e.subs(speeds).subs(numbers) for e in velocities(paradigm.expanded))
    by_W, by_V, by_w, by_v = (
        [-rate * e for e in slopes(loss, list(entries), at)]
        for entries, rate in (
            (W, eta_classifier),
            (V, eta_classifier),
            (w, eta_focus),
            (v, eta_focus),
        )
    )
    claims = [(r * one, speed * share) for one, share in zip(by_W, projector, strict=True)]
    claims += [(one, sp.S.Zero) for one in by_V]
    claims += [(r * one - s * other, turn) for one in by_w for other in by_v]
    count = len([*W, *V, *w, *v])
    told.prove(
        f"entries-{paradigm.name}-{segments}{classes}{true}-{background}",
        f"{paradigm.title}: all {count} entries for `m = {segments}`, `C = {classes}`, `k = "
        f"{true}`",
        nu_dot,
        factored(turn),
        f"With a {background} background: the gradient by every entry is that of the ansatz.",
        *claims,
    )


def scaling(told: Derivation) -> None:
    """What the three numbers do."""
    for paradigm in (SOFT, HARD, LVML):
        flow, found = derive_flow(paradigm), derive_first_integral(paradigm)
        told.prove(
            f"scaling-{paradigm.name}",
            f"{paradigm.title}: what the three numbers do",
            nu_dot / mu_dot,
            rho * (1 - alpha) * sp.Symbol(r"\Phi'", real=True),
            "`tau` only scales time; `rho` multiplies the potential; `B` stands in the focus "
            "weight.",
            (flow.nu_dot / flow.mu_dot, rho * (1 - alpha) * found.slope),
            (flow.mu_dot, tau * flow.mu_dot.subs(tau, 1)),
            (flow.nu_dot, tau * rho * flow.nu_dot.subs({tau: 1, rho: 1})),
        )
    plain = {k: 1, r: 1, s: 0, eta_focus: 1, eta_classifier: 1}
    for symbol, value, simple in (
        (B, background_ratio, m - 1),
        (tau, overall_speed, sp.S.One),
        (rho, relative_speed("shared"), sp.S.One),
    ):
        told.prove(
            f"plain-{symbol}",
            "The plain setting",
            symbol,
            simple,
            "One true segment, unit length, zero background, equal rates.",
            (value.subs(plain), simple),
        )


def anywhere(told: Derivation, paradigm) -> None:
    """Any start inside the ansatz."""
    series = start_series(paradigm, 2, (mu0, nu0))
    speed, turn = velocities(paradigm.expanded)
    start = {mu: mu0, alpha: alpha0}

    def along(expr: sp.Expr) -> sp.Expr:
        return sp.diff(expr, mu) * speed + sp.diff(expr, alpha) * alpha * (1 - alpha) * turn

    told.prove(
        f"start-focus-{paradigm.name}",
        f"{paradigm.title}: focus from any start",
        nu,
        nu0 + factored(series.nu.coeff(t, 1)) * t + remainder(2),
        "The velocity at the start; `alpha_0` is the initial focus weight.",
        (factored(series.nu.coeff(t, 1)), turn.subs(start)),
    )
    told.prove(
        f"start-{paradigm.name}",
        f"{paradigm.title}: margin from any start",
        mu,
        mu0 + factored(series.mu.coeff(t, 1)) * t + remainder(2),
        "The velocity at the start; the second coefficients of margin and focus, by "
        "differentiation along the flow, and the first of the loss are checked as well.",
        (factored(series.mu.coeff(t, 1)), speed.subs(start)),
        *(
            (polynomial.coeff(t, n), value.subs(start) / sp.factorial(n))
            for polynomial, first in ((series.mu, speed), (series.nu, turn))
            for n, value in ((1, first), (2, along(first)))
        ),
        (series.mu.subs(t, 0), mu0),
        (series.nu.subs(t, 0), nu0),
        (series.initial_focus, attention.subs(nu, nu0)),
        (sp.diff(series.loss, t).subs(t, 0), along(paradigm.expanded).subs(start)),
    )


if __name__ == "__main__":
    main().finish()
