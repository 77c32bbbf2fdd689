"""A derivation as text for a terminal, and as plain values for JSON."""

import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.printing.pretty.pretty import PrettyPrinter

from attnflow import symbols
from attnflow.export.latex import InOrder, in_order, latex
from attnflow.symbolic.algebra.functions import dilog_negexp, wright_omega
from attnflow.symbolic.derivation.step import DEFINITION, Step

if TYPE_CHECKING:
    from attnflow.symbolic.derivation.derived import Derivation


_PLAIN = {
    symbols.mu_dot: "μ'",
    symbols.nu_dot: "ν'",
    symbols.mu_ddot: "μ''",
    symbols.nu_ddot: "ν''",
    symbols.dK_dmu: "dK₀/dμ",
    symbols.Phi: "Φ",
    symbols.slope: "Φ'",
    symbols.bend: "Φ''",
    symbols.lag: "k₁",
    symbols.H_mu: "H_μμ",
    symbols.H_cross: "H_μν",
    symbols.H_nu: "H_νν",
    symbols.dnu_dmu: "dν/dμ",
    symbols.dt_dmu: "dt/dμ",
    symbols.dt_dx: "dt/dx",
    symbols.dg_dz: "∂g/∂z",
    symbols.costate: "λ",
    symbols.complement: "α̅",
}
"""Names for a terminal of the symbols whose own are LaTeX."""

_OMEGA = sp.Function("\u03c9")


def plain(derivation: "Derivation", steps: Sequence[Step], width: int) -> str:
    """The steps with heading, sentence and formula, no line of text wider than ``width``."""
    paradigm = derivation.paradigm
    title = f"{paradigm.title} ({paradigm.name})"
    lines = [title, "=" * len(title)]
    if paradigm.source:
        lines += textwrap.wrap(f"Source: {paradigm.source}", width)
    for number, step in enumerate(steps, start=1):
        checked = "" if step.check == DEFINITION else f"  (checked: {step.check})"
        heading = f"{number}. {step.title} [{step.name}]{checked}".replace("`", "")
        lines += ["", *textwrap.wrap(heading, width, subsequent_indent="   ")]
        words = step.text.replace("`", "")
        lines += textwrap.wrap(words, width, initial_indent="   ", subsequent_indent="   ")
        lines += ["", textwrap.indent(formula(step.equation, width - 6), "      ")]
    for reason in (derivation.no_first_integral, *derivation.left_out):
        lines += ["", *textwrap.wrap(reason, width)] if reason else []
    return "\n".join(lines)


def formula(equation: sp.Basic, width: int) -> str:
    """An equation drawn in two dimensions, broken between terms where it is too wide.

    What is too wide for a line of its own gets a name, a_1, a_2, ..., and lines further down.
    """
    shown = equation.xreplace({symbol: sp.Symbol(name) for symbol, name in _PLAIN.items()})
    shown = shown.replace(dilog_negexp, lambda u: sp.Function("Li\u2082")(-sp.exp(u)))
    shown = shown.replace(wright_omega, _OMEGA)
    if not isinstance(shown, sp.Eq) or _width(shown) <= width:
        return _draw(shown)
    rows, blocks, named, bound = [(shown.lhs, shown.rhs)], [], {}, _bound(shown.rhs)
    while rows:
        left, right = rows.pop(0)
        while _too_wide(left, right, width) and (wide := _widest_part(right, width)) is not None:
            if wide not in named:
                name, variables = f"a_{len(named) + 1}", sorted(wide.free_symbols & bound, key=str)
                named[wide] = sp.Function(name)(*variables) if variables else sp.Symbol(name)
                rows.append((named[wide], wide))
            right = right.xreplace({wide: named[wide]})
        blocks += _lines(left, right, width)
    return "\n\n".join(blocks)


def _lines(left: sp.Expr, right: sp.Expr, width: int) -> list[str]:
    """The equation as blocks of at most that width, where its terms allow it."""
    whole = sp.Eq(left, right, evaluate=False)
    if _width(whole) <= width or not isinstance(right, sp.Add):
        return [_draw(whole)]
    groups: list[sp.Expr] = []
    for term in in_order(right.as_ordered_terms()):
        joined = sp.Add(groups[-1], term, evaluate=False) if groups else term
        beside = _width(left) + 3 if len(groups) < 2 else 6
        if groups and beside + _width(joined) <= width:
            groups[-1] = joined
        else:
            groups.append(term)
    lines = [_draw(sp.Eq(left, groups[0], evaluate=False))]
    for group in groups[1:]:
        negative = not isinstance(group, sp.Add) and group.could_extract_minus_sign()
        sign, drawn = ("-", _draw(-group)) if negative else ("+", _draw(group))
        rows = drawn.splitlines()
        signs = [sign if place == len(rows) // 2 else " " for place in range(len(rows))]
        lines.append("\n".join(f"    {s} {row}" for s, row in zip(signs, rows, strict=True)))
    return lines


def _too_wide(left: sp.Expr, right: sp.Expr, width: int) -> bool:
    return any(max(map(len, block.splitlines())) > width for block in _lines(left, right, width))


def _bound(expr: sp.Expr) -> set[sp.Basic]:
    """The variables of its integrals."""
    return {limit[0] for integral in expr.atoms(sp.Integral) for limit in integral.limits}


def _widest_part(expr: sp.Expr, width: int) -> sp.Expr | None:
    """What is to have a name; None where nothing can be named.

    The widest argument of the Wright omega function, else the widest sum or argument inside of the
    widest term.
    """
    arguments = [head.args[0] for head in expr.atoms(_OMEGA) if _width(head) > width / 4]
    if arguments:
        return max(arguments, key=_width)
    terms = expr.args if isinstance(expr, sp.Add) else (expr,)
    term = max(terms, key=_width)
    limits = {limit for integral in term.atoms(sp.Integral) for limit in integral.limits}
    parts = [
        part
        for part in sp.preorder_traversal(term)
        if isinstance(part, sp.Add | sp.Mul | sp.Function) and part != term and part not in limits
    ]
    sums = [part for part in parts if isinstance(part, sp.Add) and _width(part) > width / 2]
    if sums:
        return max(sums, key=_width)
    fitting = [part for part in parts if 8 < _width(part) <= width - 10]
    return max(fitting or parts, key=_width, default=None)


class _Printer(InOrder, PrettyPrinter): ...


def _draw(expr: sp.Basic) -> str:
    printer = _Printer({"use_unicode": _unicode(), "wrap_line": False})
    return "\n".join(line.rstrip() for line in printer.doprint(expr).splitlines())


def _width(expr: sp.Basic) -> int:
    return max(map(len, _draw(expr).splitlines()))


def _unicode() -> bool:
    """Whether standard output takes what formulas are drawn with."""
    try:
        "μ⎛⎞∫√─′".encode(sys.stdout.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def record(derivation: "Derivation", steps: Sequence[Step]) -> dict[str, Any]:
    """The same as plain values: LaTeX for people, srepr to read back into sympy."""
    return {
        "paradigm": derivation.paradigm.name,
        "title": derivation.paradigm.title,
        "source": derivation.paradigm.source,
        "no_first_integral": derivation.no_first_integral,
        "left_out": list(derivation.left_out),
        "steps": [
            {
                "name": step.name,
                "title": step.title.replace("`", ""),
                "text": step.text.replace("`", ""),
                "check": step.check,
                "latex": latex(step.equation),
                "text_form": sp.sstr(step.equation),
                "srepr": sp.srepr(step.equation),
            }
            for step in steps
        ],
    }
