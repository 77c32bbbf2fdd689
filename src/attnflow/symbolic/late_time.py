"""The end of training: leading behaviour for t -> infinity, by dominant balance.

On an orbit nu + e^nu/B = rho Phi(mu) + K0, so 1 - alpha ~ 1/(rho Phi) wherever Phi grows without
bound, and mu is the clock: dt/dmu = 1/mu'. Everything follows from the first terms of Phi', 1/mu'
and L in powers of e^-mu (mu itself counts as a coefficient) and of the inattention 1 - alpha:

    Phi' ~ a e^mu    the focus closes like 1/t, and t = e^mu + A mu + c + o(1);
    Phi' ~ a mu^p    it closes like a power of log t only.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.coefficients import Field, NoExpansion, in_growing_field
from attnflow.symbolic.algebra.float_form import factored, textbook
from attnflow.symbolic.algebra.power_series import Expansion
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, mu, rho, tau


@dataclass(frozen=True)
class LateTime:
    """Leading late-time behaviour; a field is None where the rule does not give it.

    Attributes:
        kind: "exponential" (Phi' ~ a e^mu), "logarithmic" (Phi' ~ a mu^p), or None.
        reason: why there is no answer, where kind is None; else how it was found.
        slope: the leading term of Phi'(mu).
        clock: g in tau t ~ g e^mu.
        linear: A in tau t = g e^mu + A mu + c + o(1); c depends on the start.
        inattention: for "exponential", the limit of t (1 - alpha); for "logarithmic", of
            mu^(p + 1) (1 - alpha).
        focus: for "exponential", the limit of nu - log t; for "logarithmic", of
            e^nu/mu^(p + 1), with mu ~ log t.
        power: p + 1 for "logarithmic" (nu ~ (p + 1) log log t).
        loss: the limit of t L.
    """

    kind: str | None
    reason: str
    slope: sp.Expr | None = None
    clock: sp.Expr | None = None
    linear: sp.Expr | None = None
    inattention: sp.Expr | None = None
    focus: sp.Expr | None = None
    power: int | None = None
    loss: sp.Expr | None = None


@dataclass(frozen=True)
class _Term:
    """coefficient mu^power e^(rate mu)."""

    coefficient: sp.Expr
    power: int
    rate: sp.Rational

    @property
    def expression(self) -> sp.Expr:
        return self.coefficient * mu**self.power * sp.exp(self.rate * mu)


def _terms(expression: sp.Expr, count: int) -> list[_Term]:
    """The leading terms of an expression in (mu, C) as mu -> infinity, by powers of e^-mu.

    As many whole powers as counted, with the roots of e^-mu that lie between them if there are
    any. Of each coefficient of a power of e^-mu the highest power of mu is kept.
    """

    def compute(field: Field) -> list[_Term]:
        expansion = Expansion(field, clock=mu)
        expansion.variables[mu] = expansion.constant(field(mu))
        series = expansion.of(expression)
        first, root = series.leading(expression), field.atoms.get(sp.exp(mu), 1)
        return [
            _in_powers(field.expression(series[n]), sp.Rational(-n, root))
            for n in range(first, first + (count - 1) * root + 1)
        ]

    return in_growing_field({C: 1, mu: 1}, compute)


def _in_powers(coefficient: sp.Expr, rate: sp.Rational) -> _Term:
    numerator, denominator = sp.fraction(sp.together(coefficient))
    if not (numerator.is_polynomial(mu) and denominator.is_polynomial(mu)):
        raise NoExpansion(f"{coefficient} is no quotient of polynomials in mu")
    up, down = sp.Poly(numerator, mu), sp.Poly(denominator, mu)
    power = 0 if up.is_zero else up.degree() - down.degree()
    return _Term(sp.factor(up.LC() / down.LC()), power, rate)


def leading_term(expression: sp.Expr) -> _Term:
    """The leading term of an expression in (mu, C) as mu -> infinity."""
    return _terms(expression, 1)[0]


def _no(reason: str) -> LateTime:
    return LateTime(kind=None, reason=reason)


@lru_cache(maxsize=128)
def late_time(paradigm: Paradigm) -> LateTime:
    """Leading behaviour for t -> infinity, from the loss, by dominant balance in e^mu.

    Args:
        paradigm: any loss; where the rule does not apply the answer says why.

    Returns:
        Constants for general C, rho, tau and B; K0 and so the start enter only at lower order.

    Source: derivation of late time.
    """
    try:
        slope = textbook(derive_first_integral(paradigm).slope)
    except NoFirstIntegral as missing:
        return _no(str(missing))
    flow = derive_flow(paradigm)
    pace = 1 / factored(flow.mu_dot.subs(tau, 1))
    loss = factored(paradigm.expanded)
    try:
        # by order in 1 - alpha, at full focus: f(1 - e) = f(1) - e f'(1) + ...
        lead = leading_term(slope)
        pace_0, *between, offset = _terms(pace.subs(alpha, 1), 2)
        pace_1 = leading_term(-sp.diff(pace, alpha).subs(alpha, 1))
        loss_0 = leading_term(loss.subs(alpha, 1))
        loss_1 = leading_term(-sp.diff(loss, alpha).subs(alpha, 1))
    except NoExpansion as failure:
        return _no(f"no expansion in powers of e^-mu: {failure}")
    if (pace_0.rate, pace_0.power, loss_0.rate, loss_0.power) != (1, 0, -1, 0):
        return _no(
            f"at full focus dt/dmu ~ {pace_0.expression} and L ~ {loss_0.expression}, "
            f"where the rule needs multiples of e^mu and e^-mu"
        )
    if any(term.coefficient != 0 for term in between):
        return _no("dt/dmu has roots of e^mu between e^mu and a constant")
    if lead.rate == 1 and lead.power == 0:
        return _exponential(lead, pace_0, offset, pace_1, loss_0, loss_1)
    if lead.rate == 0 and lead.power > 0:
        return _logarithmic(lead, pace_0, pace_1, loss_0, loss_1)
    return _no(f"Phi' ~ {lead.expression}, neither a multiple of e^mu nor of a power of mu")


def _exponential(
    lead: _Term, pace_0: _Term, offset: _Term, pace_1: _Term, loss_0: _Term, loss_1: _Term
) -> LateTime:
    """Phi' ~ a e^mu: 1 - alpha ~ e^-mu/(rho a), its first order meets constants of the zeroth."""
    if pace_1.rate > 1 or loss_1.rate > 0 or pace_1.power or loss_1.power or offset.power:
        return _no(
            f"at first order in 1 - alpha dt/dmu ~ {pace_1.expression} and "
            f"L ~ {loss_1.expression}, more than the rule can take"
        )
    closing = 1 / (rho * lead.coefficient)  # e^mu (1 - alpha)
    linear = offset.coefficient if offset.rate == 0 else sp.S.Zero
    linear += pace_1.coefficient * closing if pace_1.rate == 1 else 0
    loss = loss_0.coefficient + (loss_1.coefficient * closing if loss_1.rate == 0 else 0)
    clock = pace_0.coefficient
    return LateTime(
        kind="exponential",
        reason="dominant balance in `e^mu`: `Phi'` and `dt/dmu` both grow like `e^mu`",
        slope=lead.expression,
        clock=clock,
        linear=_tidy(linear),
        inattention=_tidy(clock * closing / tau),
        focus=sp.log(_tidy(B * tau / (closing * clock))),
        loss=_tidy(clock * loss) / tau,
    )


def _logarithmic(
    lead: _Term, pace_0: _Term, pace_1: _Term, loss_0: _Term, loss_1: _Term
) -> LateTime:
    """Phi' ~ a mu^p: 1 - alpha ~ (p + 1)/(rho a mu^(p+1)) must not disturb order zero."""
    power = lead.power + 1
    disturbance = max(
        pace_1.power if pace_1.rate == 1 else -1, loss_1.power if loss_1.rate == -1 else -1
    )
    if pace_1.rate > 1 or loss_1.rate > -1 or disturbance >= power:
        return _no(
            f"1 - alpha closes like mu^-{power}, which is felt at leading order where dt/dmu has "
            f"{pace_1.expression} and L has {loss_1.expression} at first order in it"
        )
    potential = _tidy(rho * lead.coefficient / power)
    return LateTime(
        kind="logarithmic",
        reason="dominant balance in `mu`: `Phi'` grows like a power of `mu`, `dt/dmu` like `e^mu`",
        slope=lead.expression,
        clock=pace_0.coefficient,
        inattention=1 / potential,
        focus=B * potential,
        power=power,
        loss=_tidy(pace_0.coefficient * loss_0.coefficient) / tau,
    )


def _tidy(e: sp.Expr) -> sp.Expr:
    """Polynomial and fractional parts apart where that is about as short, else factored."""
    whole = sp.factor(e)
    apart = sp.Add(*(sp.factor(term) for term in sp.Add.make_args(e)))
    return apart if sp.count_ops(apart) <= sp.count_ops(whole) + 1 else whole
