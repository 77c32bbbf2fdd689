"""The start: where the paradigms part.

From the zero start every quantity is a power series in time. Its coefficients are the derivatives
along the flow, one after the other: the flow differentiates any function of `(mu, alpha)` in time,
and the `n`-th such derivative at the start, divided by `n!`, is the `n`-th coefficient.

The paradigms begin alike. They part at the second order in the margin and at the third order in the
focus, in the order LVML, soft, hard for more than two classes.
"""

from functools import lru_cache

import sympy as sp
from _common import Derivation, inline, named, positive, velocities

from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.early_time import first_difference, start_series
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, L, alpha, attention, m, mu, nu, remainder, rho, t, tau

ORDER = 3


@lru_cache
def coefficients(
    paradigm: Paradigm, order: int, classes: sp.Expr = C, focus_only: bool = False
) -> dict[str, list]:
    """Taylor coefficients of mu, nu, alpha and the loss from the zero start, by differentiation."""
    loss = paradigm.expanded.subs(C, classes)
    speed, turn = (e.subs(C, classes) for e in velocities(paradigm.expanded))
    start = {mu: 0, alpha: attention.subs(nu, 0)}

    def along(expr: sp.Expr) -> sp.Expr:
        return sp.diff(expr, mu) * speed + sp.diff(expr, alpha) * alpha * (1 - alpha) * turn

    found = {
        "mu": [sp.S.Zero],
        "nu": [sp.S.Zero],
        "alpha": [start[alpha]],
        "loss": [loss.subs(start)],
    }
    derivatives = {
        "mu": speed,
        "nu": turn,
        "alpha": alpha * (1 - alpha) * turn,
        "loss": along(loss),
    }
    if focus_only:
        derivatives = {"alpha": derivatives["alpha"]}
    for n in range(1, order + 1):
        for name, expr in derivatives.items():
            found[name].append(expr.subs(start) / sp.factorial(n))
        if n < order:
            derivatives = {name: along(expr) for name, expr in derivatives.items()}
    return found


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(8, "The start", __doc__)
    kinds = {"mu": mu, "nu": nu, "alpha": alpha, "loss": L}
    for paradigm in (SOFT, HARD, LVML, power_mean("1/2")):
        series, own = start_series(paradigm, ORDER), coefficients(paradigm, ORDER)
        for name, symbol in kinds.items():
            polynomial = getattr(series, name)
            told.prove(
                f"{name}-{paradigm.name}",
                f"{paradigm.title}: {'loss' if name == 'loss' else name}",
                symbol,
                polynomial + remainder(ORDER + 1),
                "Each coefficient is the derivative along the flow, differentiated out.",
                *(
                    (polynomial.coeff(t, n) if n else polynomial.subs(t, 0), own[name][n])
                    for n in range(ORDER + 1)
                ),
            )
    for first, second in ((LVML, SOFT), (SOFT, HARD), (LVML, HARD)):
        parting(told, first, second)
    two_classes(told)
    return told


def parting(told: Derivation, first: Paradigm, second: Paradigm) -> None:
    """The first coefficients in which two paradigms differ, and their sign."""
    apart = first_difference(first, second)
    for name, symbol in (("alpha", alpha), ("mu", mu)):
        order, coefficient = getattr(apart, name)
        one, other = (coefficients(p, ORDER)[name] for p in (first, second))
        factor = sp.factor(coefficient.subs(B, m - 1))
        told.prove(
            f"parting-{first.name}-{second.name}-{name}",
            f"{first.title} and {inline(second)}: {name}",
            named(symbol, first) - named(symbol, second),
            factor * t**order + remainder(order + 1),
            "For one true segment of `m`, `B = m - 1`. All lower coefficients are equal; this "
            "one is positive for `m` of at least 2 and `C` of at least 3, so the first paradigm "
            "leads.",
            (coefficient, one[order] - other[order]),
            (factor.subs(m, B + 1), coefficient),
            *((one[n], other[n]) for n in range(order)),
        )
        assert positive(factor, m=2, C=3), f"{first} does not lead {second} in {name}"


def two_classes(told: Derivation) -> None:
    """For two classes LVML and soft attention part later, and the other way round."""
    apart = first_difference(LVML, SOFT, classes=2)
    order, coefficient = apart.alpha
    one, other = (coefficients(p, order, sp.Integer(2), True)["alpha"] for p in (LVML, SOFT))
    factor = sp.factor(coefficient.subs(B, m - 1).subs(rho, 1))
    told.prove(
        "two-classes",
        "Two classes: LVML and soft attention",
        named(alpha, LVML) - named(alpha, SOFT),
        factor * t**order + remainder(order + 1),
        "For `C = 2` and `rho = 1` the third order agrees too. The fourth is negative: with two "
        "classes soft attention leads.",
        (coefficient, one[order] - other[order]),
        *((one[n], other[n]) for n in range(order)),
    )
    assert positive(-factor, m=2), "soft attention does not lead for two classes"
    assert tau in factor.free_symbols


if __name__ == "__main__":
    main().finish()
