"""A paradigm is its loss, once: a name, a title, a source and one sympy expression."""

import difflib
from dataclasses import dataclass, field

import sympy as sp
from sympy.core.function import AppliedUndef

from attnflow.errors import ParadigmError
from attnflow.symbols import C, alpha, beta, mu, probability

_NOT_ONE_FORMULA = (
    *(sp.I, sp.zoo, sp.oo, sp.nan),
    *(sp.Piecewise, sp.Integral, sp.Sum, sp.Product, sp.Limit, sp.Derivative, AppliedUndef),
)


@dataclass(frozen=True)
class Paradigm:
    """How focus and classification are trained together: a loss of (alpha, mu) with parameter C.

    Everything else (flow, first integral, closed form, LaTeX, numerics) is derived from ``loss``.

    Args:
        name: short lower-case word, as typed on a command line.
        loss: sympy expression in ``alpha``, ``mu``, ``C`` and ``beta`` (from attnflow.symbols),
            written as in a paper; stable numerical forms are found from it. Exact numbers only.
        title: how figures and documents call it.
        source: where the loss comes from.

    Raises:
        ParadigmError: no expression, other symbols, floats, a loss without alpha or mu, or one that
            is not a single real differentiable formula.
    """

    name: str
    loss: sp.Expr
    title: str = ""
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or any(c in self.name for c in " :,"):
            raise ParadigmError(
                f"a paradigm's name must be a word without spaces, commas or colons, "
                f"got {self.name!r}"
            )
        loss = _expression(self.name, self.loss)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "title", self.title or self.name)
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
        slopes = [sp.diff(self.expanded, symbol) for symbol in (alpha, mu)]
        if loss.has(*_NOT_ONE_FORMULA) or any(e.has(sp.Derivative, sp.Subs) for e in slopes):
            raise ParadigmError(
                f"the loss of {self.name!r} must be one real formula that sympy can differentiate "
                f"(without Piecewise, integrals, sums or undefined functions), got {loss}"
            )
        missing = {alpha, mu} - self.expanded.free_symbols
        if missing:
            raise ParadigmError(
                f"the loss of {self.name!r} must depend on alpha and on mu (or beta), got {loss}"
            )

    @property
    def expanded(self) -> sp.Expr:
        """The loss with ``beta`` written out as a function of ``mu``."""
        return self.loss.subs(beta, probability)

    def __str__(self) -> str:
        return self.name


def _expression(name: str, given: object) -> sp.Expr:
    """What was given as a sympy expression."""
    try:
        expression = sp.sympify(given)
    except (TypeError, sp.SympifyError):
        expression = None
    if isinstance(expression, sp.Expr) and not isinstance(expression, sp.MatrixExpr):
        return expression
    raise ParadigmError(f"the loss of {name!r} must be a sympy expression, got {given!r}")


def averaging(
    name: str, q: sp.Expr, *, title: str = "", source: str = "", inverse: sp.Expr | None = None
) -> Paradigm:
    """The paradigm whose attention averages a quantity ``q`` of the segments.

    A foreground segment has q(mu), a background segment q(0); attention pools them to
    alpha q(mu) + (1 - alpha) q(0), and the loss is minus the log of the true-class probability
    that belongs to the pooled value. q = mu gives soft attention, q = log(beta) hard attention,
    q = beta the latent-variable marginal likelihood, q = beta^s a power mean between the two.

    Args:
        name: the paradigm's name.
        q: expression in ``mu`` or ``beta`` (and C), strictly monotone.
        title: as for Paradigm.
        source: as for Paradigm.
        inverse: the probability as a function of the pooled value, as an expression in ``beta``
            (standing for that value), where it cannot be solved for automatically.

    Raises:
        ParadigmError: q does not depend on mu, or its inverse was not found.
    """
    q = sp.sympify(q)
    value, p = sp.Symbol("q", real=True), sp.Symbol("p", positive=True)
    if not q.free_symbols & {mu, beta}:
        raise ParadigmError(f"q of {name!r} must depend on mu or beta, got {q}")
    pooled = alpha * q + (1 - alpha) * q.subs({mu: 0, beta: 1 / C})
    if inverse is not None:
        probability_of = sp.sympify(inverse).subs(beta, value)
    elif mu in q.free_symbols and not (q.has(sp.exp) or beta in q.free_symbols):
        probability_of = probability.subs(mu, _solve(name, q - value, mu, value))
    else:
        in_p = _in_probability(q, p)
        probability_of = _solve(name, in_p - value, p, value)
    loss = -sp.log(probability_of.subs(value, pooled))
    if probability_of.has(sp.exp) and q.has(sp.log):
        loss = sp.expand_log(loss, force=True)
    return Paradigm(name, loss, title, source)


def _in_probability(q: sp.Expr, p: sp.Symbol) -> sp.Expr:
    """q(mu) written with the probability p alone: mu = log((C - 1) p/(1 - p))."""
    odds = (C - 1) * p / (1 - p)
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
