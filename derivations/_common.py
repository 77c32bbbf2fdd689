"""What every derivation shares: claims that are checked as they are made, and their LaTeX.

A ``Derivation`` collects checked steps in reading order. ``prove`` asserts that the residual of
every claim is zero: first symbolically, and where that is not decided, to 50 digits at points of
the domain, which the step then says. Nothing is printed that was not checked or is a definition.
"""

import textwrap
from pathlib import Path

import sympy as sp
from sympy.core.function import AppliedUndef

from attnflow.export.latex import fragment, sentence
from attnflow.symbolic.algebra.normal_form import agree
from attnflow.symbolic.derivation.step import (
    DEFINITION,
    DIGITS,
    PROVED,
    Step,
    UncheckedStep,
    checked,
    definition,
    equation,
)
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, beta, indexed, mu, rho, tau

FOLDER = Path(__file__).resolve().parents[1] / "build" / "latex"

_CHECKED = {
    PROVED: "Proved symbolically.",
    DIGITS: "Checked to 50 digits at points of the domain.",
    DEFINITION: "Definition.",
}


class Derivation:
    """One result, told in checked steps.

    Args:
        number: place in the reading order.
        title: heading.
        text: the script's docstring; its paragraphs after the first line open the section.
    """

    def __init__(self, number: int, title: str, text: str) -> None:
        self.number, self.title = number, title
        paragraphs = textwrap.dedent(text).strip().split("\n\n")[1:]
        self.parts: list[str | Step] = [" ".join(p.split()) for p in paragraphs]

    @property
    def steps(self) -> list[Step]:
        """The formulas, in order."""
        return [part for part in self.parts if isinstance(part, Step)]

    def say(self, text: str) -> None:
        """A paragraph between formulas."""
        self.parts.append(" ".join(text.split()))

    def define(self, name: str, title: str, left: sp.Expr, right: sp.Expr, text: str) -> None:
        """Introduce a name: there is nothing to check."""
        self._add(definition(name, title, left, right, text))

    def prove(
        self,
        name: str,
        title: str,
        left: sp.Expr,
        right: sp.Expr,
        text: str,
        *claims: tuple[sp.Expr, sp.Expr],
    ) -> None:
        """State ``left = right`` and assert it.

        Args:
            name: label of the formula within this derivation.
            title: heading of a few words.
            left: left side, as printed.
            right: right side, as printed.
            text: where the formula comes from.
            *claims: pairs that must be equal for the statement to hold; without any, the
                statement itself.

        Raises:
            AssertionError: a claim is neither proved nor true to 50 digits.
        """
        pairs = [_without_functions(pair) for pair in claims or ((left, right),)]
        # numbers are compared as numbers: a normal form of e^100000 is nothing to wait for
        numbers = [pair for pair in pairs if not pair[0].free_symbols | pair[1].free_symbols]
        check = PROVED
        for one, other in numbers:
            if one != other or one.has(sp.Float):
                check = DIGITS
                if not agree(one, other):
                    raise UncheckedStep(f"step {name!r} does not hold: {one!s} is not {other!s}")
        general = [pair for pair in pairs if pair not in numbers]
        if general and checked(name, title, left, right, text, *general).check == DIGITS:
            check = DIGITS
        self._add(Step(name, title, equation(left, right), text, check))

    def _add(self, step: Step) -> None:
        assert step.name not in {known.name for known in self.steps}, f"{step.name!r} twice"
        self.parts.append(step)

    def latex(self) -> str:
        """The section of the document that this derivation becomes."""
        text, count = [f"\\section{{{sentence(self.title)}}}\n"], 0
        for part in self.parts:
            if isinstance(part, str):
                text.append(f"\n{sentence(part)}\n")
                continue
            count += 1
            text.append(
                f"\n\\paragraph{{{sentence(part.title)}.}} {sentence(part.text)} "
                f"\\mbox{{\\textit{{{_CHECKED[part.check]}}}}}\n"
                f"{fragment(part, f'{self.number}.{count}', f'{self.number:02}')}\n"
            )
        return "".join(text)

    def write(self, folder: Path | None = None) -> Path:
        """Write the fragment ``NN.tex`` and return its path."""
        folder = folder or FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.number:02}.tex"
        path.write_text(self.latex(), encoding="utf-8")
        return path

    def finish(self) -> None:
        """End of a script run by hand: write the fragment and say what was shown."""
        path = self.write()
        kinds = {kind: sum(s.check == kind for s in self.steps) for kind in _CHECKED}
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        print(f"{self.number:02} {self.title}: {told} -> {path}")


def _without_functions(pair: tuple[sp.Expr, sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    """Symbols for undefined functions and their derivatives, each independent of the others."""
    one, other = (sp.sympify(side) for side in pair)
    for kind in (sp.Subs, sp.Derivative, AppliedUndef):
        found = sorted(one.atoms(kind) | other.atoms(kind), key=sp.default_sort_key)
        # in case one holds another: the outermost first
        for number, piece in enumerate(sorted(found, key=sp.count_ops, reverse=True)):
            stand = {piece: sp.Symbol(f"{kind.__name__}_{number}", real=True)}
            one, other = one.xreplace(stand), other.xreplace(stand)
    return one, other


def named(symbol: sp.Symbol, paradigm: Paradigm | str) -> sp.Symbol:
    """The symbol with a paradigm's name as an index."""
    return indexed(symbol, paradigm if isinstance(paradigm, str) else paradigm.name)


def inline(paradigm: Paradigm) -> str:
    """A paradigm's title within a sentence."""
    title = paradigm.title
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def by_probability(paradigm: Paradigm) -> tuple[sp.Expr, sp.Expr] | None:
    """mu' and nu' of a power mean with beta left in, which is how they are best read."""
    if not paradigm.name.startswith("power-"):
        return None
    assert mu not in paradigm.loss.free_symbols, "the margin enters by beta alone"
    slope = sp.diff(paradigm.loss, beta) * beta * (1 - beta)  # d beta/d mu = beta (1 - beta)
    return -tau * slope / (C - 1), velocities(paradigm.loss)[1]


def velocities(loss: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """mu' and nu' of a loss of (alpha, mu): gradient descent in (C - 1) d mu^2 + C d nu^2.

    Written here once more from the result of the first derivation, so that the derivations do not
    take the flow they are about from the core.
    """
    return (
        -tau * sp.diff(loss, mu) / (C - 1),
        -tau * rho * alpha * (1 - alpha) * sp.diff(loss, alpha) / C,
    )


def positive(expr: sp.Expr, **least: int) -> bool:
    """Whether a rational expression is positive from the given least values of its symbols on.

    Every symbol is written as its least value plus something positive; then all coefficients of
    numerator and denominator must be positive.
    """
    shift = {
        symbol: least.get(symbol.name, 0) + sp.Symbol(f"d_{symbol.name}", positive=True)
        for symbol in expr.free_symbols
    }
    parts = sp.fraction(sp.together(expr.subs(shift)))
    return all(
        bool(c.is_positive) for part in parts for c in sp.Poly(sp.expand(part), *part.free_symbols,
                                                               sp.Dummy()).coeffs()
    )  # fmt: skip
