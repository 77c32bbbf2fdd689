"""The beginning of training: exact series in time, and where two paradigms part.

The series solve the flow order by order, from nothing but the paradigm's loss. Time enters as
tau t, and alpha' = alpha (1 - alpha) nu', so every coefficient is a rational function of the
initial focus, of C, rho, and of the constants that the loss takes at the start.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp

from attnflow.errors import ParadigmError
from attnflow.symbolic.algebra.coefficients import Field, NoExpansion, in_growing_field
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.algebra.power_series import Expansion, Series
from attnflow.symbolic.flow import derive_flow, metric
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, alpha0, attention, mu, nu, rho, t, tau

ZERO = (sp.S.Zero, sp.S.Zero)
_m = sp.Symbol(
    "m", positive=True
)  # 1 + B: the inverse of the initial focus, a monomial to divide by
_SHOWN = {_m: (B, 1)}
_MOST = 12  # orders searched for a difference


@dataclass(frozen=True)
class StartSeries:
    """Taylor polynomials in t at the start (t = step x learning rate).

    Attributes:
        start: (mu0, nu0), exact.
        mu, nu, alpha, loss: polynomials in t up to ``order``, with exact coefficients in C, rho,
            tau and B; if nu0 is not 0, with ``alpha_0`` for the initial focus.
        initial_focus: alpha_0 in terms of B and nu0.
        order: the highest power of t.
    """

    start: tuple[sp.Expr, sp.Expr]
    mu: sp.Expr
    nu: sp.Expr
    alpha: sp.Expr
    loss: sp.Expr
    initial_focus: sp.Expr
    order: int

    @property
    def explicit(self) -> "StartSeries":
        """The same with alpha_0 written out."""
        written = {
            n: getattr(self, n).subs(alpha0, self.initial_focus)
            for n in ("mu", "nu", "alpha", "loss")
        }
        return StartSeries(
            self.start, **written, initial_focus=self.initial_focus, order=self.order
        )


def _check_start(start: tuple[sp.Expr, sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    try:
        exact = tuple(sp.sympify(value, strict=True) for value in start)
    except (TypeError, sp.SympifyError):
        exact = ()
    if len(exact) != 2 or any(not isinstance(e, sp.Expr) or e.has(sp.Float) for e in exact):
        raise ParadigmError(
            f"start must be a pair (mu0, nu0) of exact numbers or symbols (sympy.Rational, not "
            f"float), got {start!r}"
        )
    return exact


@dataclass(frozen=True)
class _Solution:
    field: Field
    mu: Series
    nu: Series
    alpha: Series
    loss: Series


def _solution(paradigm: Paradigm, field: Field, start: tuple, classes: sp.Expr) -> _Solution:
    """The flow's lazy series in tau t: each unknown is the integral of its velocity."""
    flow = derive_flow(paradigm)
    mu_dot, pull = (
        factored(e.subs(tau, 1)) for e in (flow.mu_dot, flow.nu_dot / (alpha * (1 - alpha)))
    )
    mu_dot, pull = mu_dot.subs(C, classes), pull.subs(C, classes)
    expansion = Expansion(field, compact=start[0] != 0)
    initial = 1 / _m if start[1] == 0 else alpha0
    # The series refer to velocities that are built from them: lazy, so the order does not matter.
    velocity: dict[str, Series] = {}

    def rate(name: str, n: int) -> Any:
        if (
            name not in velocity
        ):  # a divisor vanishes at the start: more of the series was asked for
            raise NoExpansion(f"the loss of {paradigm.name!r} is singular at the start")
        return velocity[name][n]

    unknown = {
        "mu": expansion.integral(field(start[0]), lambda n: rate("mu", n)),
        "nu": expansion.integral(field(start[1]), lambda n: rate("nu", n)),
        "alpha": expansion.integral(field(initial), lambda n: rate("alpha", n)),
    }
    expansion.variables.update({mu: unknown["mu"], alpha: unknown["alpha"]})
    spread = expansion.of(alpha * (1 - alpha))
    velocity["mu"] = expansion.of(mu_dot)
    velocity["nu"] = expansion.product(spread, expansion.of(pull))
    velocity["alpha"] = expansion.product(spread, velocity["nu"])
    # The flow goes downhill: dL/dt = -(C - 1) mu'^2 - C nu'^2/rho, in units of tau.
    lengths = [field(length.subs(C, classes)) for length in (metric[0], metric[1] / rho)]
    squares = [expansion.product(velocity[name], velocity[name]) for name in ("mu", "nu")]
    value = paradigm.expanded.subs({mu: start[0], alpha: initial, C: classes}, simultaneous=True)
    loss = expansion.integral(
        field(sp.expand_log(value)),
        lambda n: (
            -sum(
                (length * square[n] for length, square in zip(lengths, squares, strict=True)),
                field(0),
            )
        ),
    )
    return _Solution(field, unknown["mu"], unknown["nu"], unknown["alpha"], loss)


@lru_cache(maxsize=128)
def _start_series(paradigm: Paradigm, order: int, start: tuple) -> StartSeries:
    def compute(field: Field) -> StartSeries:
        solved = _solution(paradigm, field, start, C)

        def polynomial(series: Series) -> sp.Expr:
            return sum(field.expression(series[n]) * (tau * t) ** n for n in range(order + 1))

        return StartSeries(
            start=start,
            **{name: polynomial(getattr(solved, name)) for name in ("mu", "nu", "alpha", "loss")},
            initial_focus=attention.subs(nu, start[1]),
            order=order,
        )

    return in_growing_field({C: 1, rho: 1, _m if start[1] == 0 else alpha0: 1}, compute, _SHOWN)


def start_series(
    paradigm: Paradigm, order: int, start: tuple[sp.Expr, sp.Expr] = ZERO
) -> StartSeries:
    """Series in time at the start, to any order, exact.

    Args:
        paradigm: any loss that is analytic at the start.
        order: highest power of t, at least 1.
        start: (mu0, nu0), exact numbers or symbols, for example ``(mu0, nu0)`` of attnflow.symbols.

    Raises:
        ParadigmError: the order is not a whole number of at least 1, or the start is not exact.
        NoExpansion: the loss is singular at the start.

    Source: derivation of the start; the recurrence of Taylor coefficients of an analytic flow.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ParadigmError(f"order must be a whole number of at least 1, got {order!r}")
    return _start_series(paradigm, order, _check_start(start))


@dataclass(frozen=True)
class FirstDifference:
    """Where two paradigms part, from the zero start: first - second = coefficient t^order + ...

    Attributes:
        first, second: names of the two paradigms.
        alpha, mu: (order, coefficient) for the focus and for the margin.
    """

    first: str
    second: str
    alpha: tuple[int, sp.Expr]
    mu: tuple[int, sp.Expr]


@lru_cache(maxsize=128)
def first_difference(
    first: Paradigm, second: Paradigm, classes: int | None = None
) -> FirstDifference:
    """The lowest power of t at which two paradigms differ from the zero start.

    Args:
        first: a paradigm.
        second: another one.
        classes: a number of classes, where the general coefficient vanishes (LVML and soft at 2).

    Raises:
        ParadigmError: they agree to order 12 (two spellings of one flow, most likely).

    Source: derivation of the start.
    """
    number = C if classes is None else sp.Integer(classes)

    def compute(field: Field) -> FirstDifference:
        one, other = (_solution(p, field, ZERO, number) for p in (first, second))

        def lowest(name: str) -> tuple[int, sp.Expr]:
            a, b = getattr(one, name), getattr(other, name)
            for n in range(_MOST + 1):
                if a[n] != b[n]:
                    return n, field.expression(a[n] - b[n]) * tau**n
            raise ParadigmError(
                f"{first.name!r} and {second.name!r} have the same {name} to order {_MOST} in t; "
                f"they seem to be one paradigm"
            )

        return FirstDifference(first.name, second.name, lowest("alpha"), lowest("mu"))

    return in_growing_field({C: 1, rho: 1, _m: 1}, compute, _SHOWN)
