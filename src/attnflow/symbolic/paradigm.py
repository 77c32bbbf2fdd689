"""A paradigm is its loss, once: a name, a title, a source and one sympy expression."""

import difflib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import mpmath
import sympy as sp
from sympy.core.function import AppliedUndef

from attnflow.errors import ParadigmError
from attnflow.symbols import C, alpha, beta, mu, probability

_NOT_ONE_FORMULA = (
    *(sp.I, sp.zoo, sp.oo, sp.nan),
    *(sp.Piecewise, sp.Integral, sp.Sum, sp.Product, sp.Limit, sp.Derivative, AppliedUndef),
)
_KINKED = (sp.Max, sp.Min, sp.Abs, sp.Heaviside, sp.DiracDelta, sp.sign)
_KINKED += (sp.floor, sp.ceiling, sp.frac, sp.Mod)


class Averaged(Enum):
    """What attention may average besides a function of a segment's class probability."""

    INPUT = "input"


INPUT = Averaged.INPUT
"""The segments themselves: the classifier sees their weighted mean, as in soft attention."""


_ONE_SIGN = ({(0.0, True, False)}, {(0.0, False, True)})


@dataclass(frozen=True)
class Paradigm:
    """How focus and classification are trained together: a loss of (alpha, mu) with parameter C.

    Everything else is derived: flow, first integral, closed form, LaTeX and numerics from ``loss``,
    the loss of real networks from ``averages``.

    Args:
        name: short lower-case word, as typed on a command line.
        loss: sympy expression in ``alpha``, ``mu``, ``C`` and ``beta`` (from attnflow.symbols),
            written as in a paper; stable numerical forms are found from it. Exact numbers only.
        title: how figures and documents call it.
        source: where the loss comes from.
        averages: what attention averages: INPUT, or a strictly monotone function q of ``beta``
            (or ``mu``) and ``C``; None where the loss is no such average, which has a theory but
            does not say how to train real networks. ``averaging`` writes the loss for it.

    Raises:
        ParadigmError: no expression, other symbols, floats, a loss without alpha or mu, or one that
            is not a single real differentiable formula; or ``averages`` is not monotone, or its
            loss is another.
    """

    name: str
    loss: sp.Expr
    title: str = ""
    source: str = field(default="", compare=False)
    averages: "sp.Expr | Averaged | None" = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or any(c in self.name for c in " :,"):
            raise ParadigmError(
                f"a paradigm's name must be a word without spaces, commas or colons, "
                f"got {self.name!r}"
            )
        loss = _expression(f"loss of {self.name!r}", self.loss)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "title", self.title or self.name)
        self._check_symbols(loss)
        self._check_smooth(loss)
        if self.averages is not None:
            self._check_average()

    def _check_symbols(self, loss: sp.Expr) -> None:
        """Refuse a loss of other things than the state, and one that does not depend on it."""
        unknown = loss.free_symbols - {alpha, beta, mu, C}
        if unknown:
            raise ParadigmError(
                f"the loss of {self.name!r} may hold alpha, beta, mu and C of attnflow.symbols "
                f"only, got {', '.join(sorted(str(u) for u in unknown))}"
            )
        floats = loss.atoms(sp.Float)
        if floats:
            number = min(floats)
            raise ParadigmError(
                f"the loss of {self.name!r} must hold exact numbers, got {number}; "
                f"write sympy.Rational({str(sp.nsimplify(number))!r})"
            )
        if {alpha, mu} - self.expanded.free_symbols:
            raise ParadigmError(
                f"the loss of {self.name!r} must depend on alpha and on mu (or beta), got {loss}"
            )

    def _check_smooth(self, loss: sp.Expr) -> None:
        """Refuse what cannot be differentiated everywhere."""
        slopes = [sp.diff(self.expanded, symbol) for symbol in (alpha, mu)]
        if loss.has(*_NOT_ONE_FORMULA) or any(e.has(sp.Derivative, sp.Subs) for e in slopes):
            raise ParadigmError(
                f"the loss of {self.name!r} must be one real formula that sympy can differentiate "
                f"(without Piecewise, integrals, sums or undefined functions), got {loss}"
            )
        kinks = sorted({type(e).__name__ for e in loss.atoms(*_KINKED) if e.free_symbols - {C}})
        if kinks:
            raise ParadigmError(
                f"the loss of {self.name!r} must be smooth, got {', '.join(kinks)} in {loss}; "
                f"write log(1 + exp(k*u))/k for Max(0, u), sqrt(u**2 + 1/k**2) for Abs(u), with an "
                f"exact large k"
            )

    def _check_average(self) -> None:
        """Refuse a q that is not monotone, or whose average has another loss, at sample points."""
        if self.averages is not INPUT:
            object.__setattr__(self, "averages", _quantity(self.name, self.averages))
        in_p = in_probability(self.averages)
        q, slope = (sp.lambdify((p, C), e, "mpmath") for e in (in_p, sp.diff(in_p, p)))
        loss = sp.lambdify((alpha, mu, C), self.expanded, "mpmath")
        for classes in (2, 7):
            slopes = [complex(slope(n / 23, classes)) for n in (1, 2, 5, 12, 21, 22)]
            if {(v.imag, v.real > 0, v.real < 0) for v in slopes} not in _ONE_SIGN:
                raise ParadigmError(
                    f"what {self.name!r} averages must be a real, strictly monotone function of "
                    f"beta between 0 and 1, got {self.averages}"
                )
            for weight, margin in ((0.3, 1.0), (0.6, -2.0)):
                on_true = mpmath.exp(margin) / (mpmath.exp(margin) + classes - 1)
                pooled = weight * q(on_true, classes) + (1 - weight) * q(1 / classes, classes)
                gap = q(mpmath.exp(-loss(weight, margin, classes)), classes) - pooled
                if not abs(gap) < 1e-9 * (1 + abs(pooled)):
                    raise ParadigmError(
                        f"the loss of {self.name!r} is not that of averaging {self.averages}: "
                        "build the paradigm with averaging(), or leave averages out"
                    )

    @property
    def expanded(self) -> sp.Expr:
        """The loss with ``beta`` written out as a function of ``mu``."""
        return self.loss.subs(beta, probability)

    def __str__(self) -> str:
        return self.name


def _expression(what: str, given: object) -> sp.Expr:
    """What was given as a sympy expression."""
    try:
        expression = sp.sympify(given, strict=True)  # which evaluates no string
    except (TypeError, sp.SympifyError):
        expression = None
    if isinstance(expression, sp.Expr) and not isinstance(expression, sp.MatrixExpr):
        return expression
    raise ParadigmError(f"the {what} must be a sympy expression, got {given!r}")


def _quantity(name: str, given: object) -> sp.Expr:
    """A function of beta or mu, and C, as ``averages`` may be."""
    q = _expression(f"q of {name!r}", given)
    if not q.free_symbols & {mu, beta}:
        raise ParadigmError(f"q of {name!r} must depend on mu or beta, got {q}")
    if q.free_symbols - {mu, beta, C} or q.atoms(sp.Float):
        raise ParadigmError(
            f"q of {name!r} may hold mu, beta and C of attnflow.symbols and exact numbers only, "
            f"got {q}"
        )
    return q


def averaging(
    name: str,
    q: "sp.Expr | Averaged",
    *,
    title: str = "",
    source: str = "",
    inverse: sp.Expr | None = None,
) -> Paradigm:
    """The paradigm whose attention averages a quantity ``q`` of the segments.

    A foreground segment has q(mu), a background segment q(0); attention pools them to
    alpha q(mu) + (1 - alpha) q(0), and the loss is minus the log of the true-class probability
    that belongs to the pooled value. q = INPUT gives soft attention, q = log(beta) hard attention,
    q = beta the latent-variable marginal likelihood, q = beta^s a power mean between the two.
    (q = mu averages the margin of each segment, which has the theory of soft attention.)

    Args:
        name: the paradigm's name.
        q: INPUT, or an expression in ``mu`` or ``beta`` (and C), strictly monotone.
        title: as for Paradigm.
        source: as for Paradigm.
        inverse: the probability as a function of the pooled value, as an expression in ``beta``
            (standing for that value), where it cannot be solved for automatically.

    Raises:
        ParadigmError: q does not depend on mu, is not monotone, or its inverse was not found.

    Example:
        >>> averaging("root", sp.sqrt(beta)).loss
        -2*log(alpha*sqrt(beta) + (1 - alpha)/sqrt(C))
    """
    averages = q if isinstance(q, Averaged) else _quantity(name, q)
    average = mu if isinstance(averages, Averaged) else averages
    on_true, elsewhere = average, average.subs({mu: 0, beta: 1 / C})
    base, power = average.as_base_exp()
    if inverse is None and average == sp.log(beta):
        loss = -alpha * on_true + (1 - alpha) * sp.log(C)
    elif inverse is None and base == beta and power.is_number:
        loss = -sp.log(alpha * on_true + (1 - alpha) * elsewhere) / power
    else:
        value = sp.Symbol("q", real=True)
        probability_of = _inverse(name, average, value, inverse)
        pooled = alpha * on_true + (1 - alpha) * elsewhere
        loss = -sp.log(probability_of.subs(value, pooled))
        if probability_of.has(sp.exp) and average.has(sp.log):
            loss = sp.expand_log(loss, force=True)
    return Paradigm(name, loss, title, source, averages=averages)


def _inverse(name: str, q: sp.Expr, value: sp.Symbol, inverse: sp.Expr | None) -> sp.Expr:
    """The probability as a function of the value of q: as given, or solved for."""
    if inverse is not None:
        return _expression(f"inverse of {name!r}", inverse).subs(beta, value)
    if mu in q.free_symbols and not (q.has(sp.exp) or beta in q.free_symbols):
        return probability.subs(mu, _solve(name, q - value, mu, value))
    return _solve(name, in_probability(q) - value, p, value)


p = sp.Symbol("p", positive=True)
"""The probability that ``in_probability`` writes with."""


def in_probability(q: "sp.Expr | Averaged | None") -> Any:
    """q(mu) written with the probability p alone: mu = log((C - 1) p/(1 - p)); INPUT as mu."""
    odds = (C - 1) * p / (1 - p)
    if q is None or isinstance(q, Averaged):
        return sp.log(odds)
    if mu not in q.free_symbols:
        return q.subs(beta, p)
    replaced = q.subs(beta, p).subs(sp.exp(mu) + C - 1, (C - 1) / (1 - p))
    replaced = replaced.replace(
        lambda e: isinstance(e, sp.exp) and e.has(mu), lambda e: odds ** sp.cancel(e.exp / mu)
    ).subs(mu, sp.log(odds))
    return sp.powsimp(
        sp.powdenest(sp.expand_power_base(sp.simplify(replaced), force=True), force=True)
    )


def _solve(name: str, equation: sp.Expr, unknown: sp.Symbol, value: sp.Symbol) -> sp.Expr:
    try:
        roots = sp.solve(equation, unknown)
    except NotImplementedError:
        roots = []
    q_of = equation + value
    for root in roots:
        # the right branch gives back the unknown at a point inside its range
        point = {C: sp.Rational(7, 2), unknown: sp.Rational(5, 13)}
        back = root.subs(value, q_of.subs(point)).subs(C, sp.Rational(7, 2))
        if abs(sp.N(back - point[unknown], 30)) < sp.Float("1e-20"):
            return root
    raise ParadigmError(
        f"no inverse of q was found for {name!r}; give inverse=, the probability as a function of "
        f"the pooled value written with beta, or define the Paradigm by its loss"
    )


def nearest(name: str, names: list[str]) -> str:
    """The end of an error sentence: the nearest known name, and all of them."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} known: {', '.join(names)}" if hint else f"; known: {', '.join(names)}"
