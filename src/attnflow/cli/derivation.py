"""A derivation as text for a terminal, and as plain values for JSON."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp

from attnflow import symbols
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
    symbols.dnu_dmu: "dν/dμ",
    symbols.dt_dmu: "dt/dμ",
    symbols.dt_dx: "dt/dx",
    symbols.dg_dz: "∂g/∂z",
    symbols.costate: "λ",
    symbols.complement: "α̅",
}
"""Names for a terminal of the symbols whose own are LaTeX."""


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
    if derivation.no_first_integral:
        lines += ["", *textwrap.wrap(derivation.no_first_integral, width)]
    return "\n".join(lines)


def formula(equation: sp.Basic, width: int) -> str:
    """An equation drawn in two dimensions, or as plain text where that would be too wide."""
    shown = equation.xreplace({symbol: sp.Symbol(name) for symbol, name in _PLAIN.items()})
    drawn = [line.rstrip() for line in _draw(shown).splitlines()]
    if max(map(len, drawn)) <= width:
        return "\n".join(drawn)
    line = (
        f"{sp.sstr(shown.lhs)} = {sp.sstr(shown.rhs)}" if isinstance(shown, sp.Eq) else str(shown)
    )
    return textwrap.fill(line, width, subsequent_indent="    ", break_long_words=False)


def _draw(equation: sp.Basic) -> str:
    return sp.pretty(equation, use_unicode=True, wrap_line=False)


def record(derivation: "Derivation", steps: Sequence[Step]) -> dict[str, Any]:
    """The same as plain values: LaTeX for people, srepr to read back into sympy."""
    return {
        "paradigm": derivation.paradigm.name,
        "title": derivation.paradigm.title,
        "source": derivation.paradigm.source,
        "no_first_integral": derivation.no_first_integral,
        "steps": [
            {
                "name": step.name,
                "title": step.title.replace("`", ""),
                "text": step.text.replace("`", ""),
                "check": step.check,
                "latex": sp.latex(step.equation),
                "text_form": sp.sstr(step.equation),
                "srepr": sp.srepr(step.equation),
            }
            for step in steps
        ],
    }
