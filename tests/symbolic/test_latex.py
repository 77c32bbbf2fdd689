"""LaTeX says what sympy means: every formula is read back and gives the same numbers."""

import random
import re
from functools import lru_cache

import pytest
import sympy as sp
from mpmath import mp, mpf

from attnflow import symbols as names
from attnflow.export import latex
from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.derivation.step import Step, definition
from attnflow.symbolic.derivation.time_steps import difference_steps
from attnflow.symbolic.early_time import start_series
from oracles.latex_reader import read, rows

BUILT_IN = (SOFT, HARD, LVML, power_mean("1/2"))
UNIT = {names.alpha, names.alpha0, names.beta}
DIGITS = 40


def _values(symbols: set[sp.Symbol], seed: int) -> dict[sp.Symbol, sp.Rational]:
    """Random exact values in the domain of each symbol."""
    draw = random.Random(seed)
    point = {}
    for symbol in sorted(symbols, key=str):
        share = sp.Rational(draw.randint(100, 900), 1000)
        base = 2 if symbol in {names.C, names.m} else 0
        point[symbol] = share if symbol in UNIT else base + sp.Rational(1, 3) + 2 * share
    if names.m in point and names.k in point:
        point[names.k] = point[names.m] / 2
    return point


def _marked(expr: sp.Expr) -> sp.Expr:
    """Limits as what they are taken of; integrals as the reader's mark."""
    expr = expr.replace(lambda e: isinstance(e, sp.Limit), lambda e: e.args[0])
    return expr.replace(
        lambda e: isinstance(e, sp.Integral),
        lambda e: e.function + 7 * e.limits[0][1] + 11 * e.limits[0][2].subs(sp.oo, 13),
    )


def _printed(symbol: sp.Symbol) -> str:
    if symbol.name.startswith("O(t^"):
        return f"O{symbol.name[4:-1]}"
    return latex.latex(symbol).replace(" ", "")


def round_trip(equation: sp.Eq, line: float, seed: int) -> int:
    """Read the LaTeX of an equation; both sides must be the numbers of sympy. Sides read."""
    left, right = _marked(equation.lhs), _marked(equation.rhs)
    point = _values(left.free_symbols | right.free_symbols, seed)
    with mp.workdps(DIGITS):
        values = {_printed(s): mpf(v.p) / v.q for s, v in point.items()}
        written = rows(latex.body(equation, line))
        for name, text in reversed(written[1:]):  # abbreviations, those used by others last
            values[name.replace(" ", "")] = read(text, values)
        for text, side in zip(written[0], (left, right), strict=True):
            expected = mpf(sp.N(side.subs(point), DIGITS)._to_mpmath(150))
            found = read(text, values)
            assert abs(found - expected) <= mpf(10) ** -25 * max(1, abs(expected)), (
                f"{text} reads as {found}, not {expected}"
            )
    return len(written[0])


@lru_cache
def _steps(paradigm) -> tuple[Step, ...]:
    return derive(paradigm).steps


@pytest.mark.parametrize("line", [latex.LINE, 30.0, 1000.0], ids=["page", "narrow", "one-line"])
@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_every_formula_reads_back_to_the_same_numbers(paradigm, line):
    steps = _steps(paradigm)
    sides = sum(round_trip(step.equation, line, len(step.name)) for step in steps)
    assert sides == 2 * len(steps)  # no formula was left out, and no side of one
    assert len(steps) >= 28


def test_differences_read_back_to_the_same_numbers():
    steps = difference_steps([SOFT, HARD, LVML])
    assert len(steps) == 6
    for step in steps:
        assert round_trip(step.equation, latex.LINE, 1) == 2


@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_series_of_high_order_reads_back_to_the_same_numbers(paradigm):
    series = start_series(paradigm, 6)
    for name in ("mu", "nu", "alpha", "loss"):
        assert round_trip(sp.Eq(names.L, getattr(series, name), evaluate=False), latex.LINE, 3) == 2


def test_the_reader_notices_a_wrong_sign():
    with pytest.raises(AssertionError, match="reads as"):
        text = latex.body
        try:
            latex.body = lambda *a: text(*a).replace("+", "-", 1)
            round_trip(sp.Eq(names.L, names.C + names.mu), 60, 1)
        finally:
            latex.body = text


def test_all_symbols_of_the_derivations_have_a_name_and_a_meaning():
    for paradigm in BUILT_IN:
        for step in _steps(paradigm):
            used = _marked(step.equation).atoms(sp.Symbol)
            unnamed = {s for s in used - set(latex.NAMES) if not s.name.startswith("O(")}
            assert not unnamed, f"{step.name}: {unnamed}"


def test_no_two_symbols_share_their_latex():
    printed = [name for name, _ in latex.NAMES.values()]
    assert len(printed) == len(set(printed))


def test_a_fragment_carries_number_and_label():
    step = definition("flow-mu", "Flow", names.mu_dot, names.alpha * names.tau, "Text.")
    text = latex.fragment(step, 12, "soft")
    assert text.startswith("\\begin{equation}\\tag{12}\\label{soft:flow-mu}\n\\dot{\\mu} = ")
    assert text.endswith("\n\\end{equation}")
    assert "\\label{flow-mu}" in latex.fragment(step, 1)


def test_lines_of_a_broken_formula_keep_to_their_width():
    for paradigm in BUILT_IN:
        for step in _steps(paradigm):
            for left, right in latex.display(step.equation).rows:
                if latex.width(right) > latex.LINE and isinstance(right, sp.Add):
                    assert len(latex.lines(right, latex.LINE - latex.width(left) - 3)) > 1, (
                        step.name
                    )


def test_a_series_runs_towards_what_it_leaves_out():
    t, rest = names.t, names.remainder(3)
    assert (
        latex.latex(rest + 5 * t**2 + 1 + t) == r"1 + t + 5 t^{2} + \mathcal{O}\left(t^{3}\right)"
    )


def test_a_wide_argument_gets_a_name_and_a_line():
    wide = sum(sp.Symbol(f"q_{i}", real=True) for i in range(12))
    shown = latex.display(sp.Eq(names.alpha, wright_omega(wide) / (1 + wright_omega(wide))), 50)
    assert shown.abbreviations == ((names.z, wide),)
    assert latex.width(shown.equation.rhs) < 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Softmax over `k` segments of score `nu`.", r"Softmax over $k$ segments of score $\nu$."),
        ("$ 100% & more", r"\$ 100\% \& more"),
        ("a sum of `e^mu` and `psi/psi'`", r"a sum of $e^{\mu}$ and $\psi/\psi'$"),
        ("`e^(-mu)`, `mu_0`, `L_alpha`", r"$e^{-\mu}$, $\mu_{0}$, $L_{\alpha}$"),
        (r"`\input{x}` of", r"`\textbackslash{}input\{x\}` of"),
    ],
)
def test_sentences_are_set_with_their_formulas(text, expected):
    assert latex.sentence(text) == expected


def test_every_sentence_of_the_derivations_has_its_formulas_marked():
    letters = re.compile(r"(?<![A-Za-z])(alpha|beta|mu|nu|rho|tau|omega|Phi|psi)(?![A-Za-z])|\^")
    for paradigm in BUILT_IN:
        for step in _steps(paradigm):
            plain = "".join(re.split(r"`[^`]*`", step.title + step.text)).replace(
                "Wright omega", ""
            )
            assert not letters.search(plain), f"{step.name}: {plain}"
