"""Named functions that sympy lacks or spells unstably, each with derivative, digits and LaTeX."""

from collections.abc import Collection, Sequence
from typing import Any

import mpmath
import sympy as sp
from sympy.core.function import AppliedUndef

from attnflow.errors import UnknownFunction, cut


class log1p(sp.Function):
    """log(1 + u)."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return 1 / (1 + self.args[0])

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return sp.log(1 + self.args[0])._eval_evalf(prec)

    def _eval_rewrite_as_log(self, arg: sp.Expr, **_: object) -> sp.Expr:
        return sp.log(1 + arg)


class expm1(sp.Function):
    """e^u - 1."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return sp.exp(self.args[0])

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return (sp.exp(self.args[0]) - 1)._eval_evalf(prec)

    def _eval_rewrite_as_log(self, arg: sp.Expr, **_: object) -> sp.Expr:
        return sp.exp(arg) - 1


class erfc(sp.Function):
    """1 - erf(u), left alone: sympy's own writes erfc(-u) as 2 - erfc(u), which cancels."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return -2 * sp.exp(-(self.args[0] ** 2)) / sp.sqrt(sp.pi)

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return sp.erfc(self.args[0])._eval_evalf(prec)

    def _eval_rewrite_as_log(self, arg: sp.Expr, **_: object) -> sp.Expr:
        return 1 - sp.erf(arg)


class log_quotient(sp.Function):
    """log(n/d), given n, d and n - d: accurate for n/d near 1 and far from it."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        n, d, _ = self.args
        return {1: 1 / n, 2: -1 / d, 3: sp.S.Zero}[argindex]

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return sp.log(self.args[0] / self.args[1])._eval_evalf(prec)

    def _eval_rewrite_as_log(self, n: sp.Expr, d: sp.Expr, gap: sp.Expr, **_: object) -> sp.Expr:
        return sp.log(n / d)


class logarithm(sp.Function):
    """A logarithm that sympy's automatic rules leave alone while an expression is taken apart."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return 1 / self.args[0]

    def _eval_rewrite_as_log(self, arg: sp.Expr, **_: object) -> sp.Expr:
        return sp.log(arg)


class wright_omega(sp.Function):
    """The Wright omega function: omega + log omega = z, for real z."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return self / (1 + self)

    def _eval_evalf(self, prec: int) -> sp.Expr:
        # W(e^z) overflows for large z: Newton on omega + log omega = z instead
        with mpmath.workprec(prec + 20):
            z = mpmath.mpf(self.args[0]._eval_evalf(prec + 20)._to_mpmath(prec + 20))
            w = mpmath.lambertw(mpmath.exp(z)).real if z < 100 else z - mpmath.log(z)
            for _ in range(prec.bit_length() + 2):
                w -= (w + mpmath.log(w) - z) * w / (1 + w)
            return sp.Float._new(w._mpf_, prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\omega\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class dilog_negexp(sp.Function):
    """The dilogarithm Li2(-e^u), for real u."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        return -sp.log(1 + sp.exp(self.args[0]))

    def _eval_evalf(self, prec: int) -> sp.Expr:
        with mpmath.workprec(prec + 20):
            u = self.args[0]._eval_evalf(prec + 20)._to_mpmath(prec + 20)
            return sp.Float._new(mpmath.polylog(2, -mpmath.exp(u)).real._mpf_, prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\operatorname{{Li}}_{{2}}\left({printer._print(-sp.exp(self.args[0]))}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class kepler(sp.Function):
    """The solution v of the hyperbolic Kepler equation v + e sinh v = M, for e > 0 and real M."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative in an argument."""
        slope = 1 + self.args[0] * sp.cosh(self)
        return 1 / slope if argindex == 2 else -sp.sinh(self) / slope

    def _eval_evalf(self, prec: int) -> sp.Expr:
        with mpmath.workprec(prec + 20):
            e, mean = (a._eval_evalf(prec + 20)._to_mpmath(prec + 20) for a in self.args)
            # convex on each side of 0: Newton from an upper bound of |v| descends to the root
            size = abs(mean)
            v = min(size, mpmath.asinh(size / e))
            for _ in range(200):
                step = (v + e * mpmath.sinh(v) - size) / (1 + e * mpmath.cosh(v))
                v -= step
                if abs(step) <= abs(v) * mpmath.mpf(2) ** (-prec - 5):
                    break
            return sp.Float._new((v if mean >= 0 else -v)._mpf_, prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        e, mean = (printer._print(a) for a in self.args)
        body = rf"\operatorname{{Kepler}}\left({e}, {mean}\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


LONGEST = 120
"""Characters of an expression that a message holds."""


def refuse_unknown(
    expr: sp.Expr, table: Collection[str], arguments: Sequence[sp.Symbol], language: str
) -> None:
    """Check that an expression can be printed with a table of named functions.

    Args:
        expr: what is to be printed.
        table: names of the functions that the language has.
        arguments: the symbols that will have values.
        language: what it is called, for the message.

    Raises:
        UnknownFunction: a function that the table does not have, or a symbol that is no argument.
    """
    heads = {type(e).__name__ for e in expr.atoms(sp.Function, AppliedUndef)}
    other = {type(e).__name__ for e in expr.atoms(sp.Integral, sp.Derivative, sp.Sum)}
    unknown = sorted((heads - set(table)) | other)
    if unknown:
        raise UnknownFunction(
            f"no {language} function is known for {', '.join(unknown)} in "
            f"{cut(str(expr), LONGEST)}; known: {', '.join(sorted(table))}"
        )
    missing = expr.free_symbols - set(arguments)
    if missing:
        raise UnknownFunction(
            f"the expression holds {', '.join(sorted(map(str, missing)))}, which is not among "
            f"the arguments {', '.join(map(str, arguments))}"
        )
