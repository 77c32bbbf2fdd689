"""Steps of a derivation: an equation, a sentence, and how it was checked. No step is unchecked."""

from dataclasses import dataclass

import sympy as sp

from attnflow.symbolic.algebra.normal_form import agree, vanishes

PROVED, DIGITS, DEFINITION = "proved", "50 digits", "definition"


class UncheckedStep(AssertionError):
    """A formula did not stand its check: a defect of this library, not of its use."""


@dataclass(frozen=True)
class Step:
    """One formula of a derivation.

    Attributes:
        name: short word to refer to it by, such as "flow-mu".
        title: heading of a few words.
        equation: the formula.
        text: one or two plain sentences, formulas between backticks: what it says and where it
            comes from.
        check: "proved" (the residual was brought to 0 symbolically), "50 digits" (both sides
            agree at points of the domain to 50 digits, where no proof was found) or "definition".
    """

    name: str
    title: str
    equation: sp.Eq
    text: str
    check: str

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {sp.latex(self.equation)}$"


def equation(left: sp.Expr, right: sp.Expr) -> sp.Eq:
    """An equation that sympy leaves as it is."""
    return sp.Eq(left, right, evaluate=False)


def definition(name: str, title: str, left: sp.Expr, right: sp.Expr, text: str) -> Step:
    """A step that introduces a name, so that there is nothing to check."""
    return Step(name, title, equation(left, right), text, DEFINITION)


def checked(
    name: str,
    title: str,
    left: sp.Expr,
    right: sp.Expr,
    text: str,
    claim: tuple[sp.Expr, sp.Expr],
    *further: tuple[sp.Expr, sp.Expr],
) -> Step:
    """A step with its check: every claim is a pair of expressions that must be equal.

    Raises:
        UncheckedStep: a pair is neither proved equal nor equal to 50 digits.
    """
    results = {check_equal(name, *pair) for pair in (claim, *further)}
    return Step(name, title, equation(left, right), text, DIGITS if DIGITS in results else PROVED)


def check_equal(name: str, left: sp.Expr, right: sp.Expr) -> str:
    """How the equality of two expressions was checked.

    Raises:
        UncheckedStep: they are neither proved equal nor equal to 50 digits.
    """
    if vanishes(left - right):
        return PROVED
    if agree(left, right):
        return DIGITS
    raise UncheckedStep(f"step {name!r} does not hold: {left} is not {right}")
