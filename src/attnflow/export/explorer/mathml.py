"""Formulas as presentation MathML, which browsers typeset without script, font or network."""

from typing import Any

import sympy as sp
from sympy.printing.mathml import MathMLPresentationPrinter

from attnflow import symbols as names
from attnflow.export.latex import InOrder

_DOTTED = {names.mu_dot: "\u03bc", names.nu_dot: "\u03bd"}
_QUOTIENTS = {
    names.dt_dmu: ("t", "\u03bc"),
    names.dt_dx: ("t", "x"),
    names.dnu_dmu: ("\u03bd", "\u03bc"),
}
_POTENTIALS = {names.Phi: False, names.slope: True}  # whether primed


class _Printer(InOrder, MathMLPresentationPrinter):
    """Names that sympy would read as LaTeX, and the special functions of attnflow."""

    def _node(self, tag: str, *children: Any) -> Any:
        node = self.dom.createElement(tag)
        for child in children:
            text = isinstance(child, str)
            node.appendChild(self.dom.createTextNode(child) if text else child)
        return node

    def _letter(self, text: str) -> Any:
        return self._node("mi", text)

    def _print_Symbol(self, sym: sp.Symbol, style: str = "plain") -> Any:
        if sym in _DOTTED:
            return self._node("mover", self._letter(_DOTTED[sym]), self._node("mo", "\u02d9"))
        if sym in _QUOTIENTS:
            above, below = (
                self._node("mrow", self._letter("d"), self._letter(v)) for v in _QUOTIENTS[sym]
            )
            return self._node("mfrac", above, below)
        if sym in _POTENTIALS:
            letter = self._letter("\u03a6")
            prime = self._node("mo", "\u2032")
            return self._node("msup", letter, prime) if _POTENTIALS[sym] else letter
        return super()._print_Symbol(sym, style)

    def _print_Exp1(self, e: sp.Expr) -> Any:
        return self._letter("e")

    def _call(self, head: Any, argument: sp.Expr) -> Any:
        opening, closing = self._node("mo", "("), self._node("mo", ")")
        return self._node("mrow", head, opening, self._print(argument), closing)

    def _print_wright_omega(self, e: Any) -> Any:
        return self._call(self._letter("\u03c9"), e.args[0])

    def _print_dilog_negexp(self, e: Any) -> Any:
        head = self._node("msub", self._letter("Li"), self._node("mn", "2"))
        return self._call(head, -sp.exp(e.args[0]))


def mathml(left: sp.Expr, right: sp.Expr) -> str:
    """An equation as a ``<math>`` element in display style."""
    printer: Any = _Printer({"mul_symbol": None})
    sides = "<mo>=</mo>".join(printer._print(side).toxml() for side in (left, right))
    sides = sides.replace("&amp;", "&").replace("<mo>-</mo>", "<mo>\u2212</mo>")
    return f'<math display="block"><mrow>{sides}</mrow></math>'
