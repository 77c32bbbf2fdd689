r"""LaTeX of every derived formula: one table of names, one printer, safe line breaks.

``fragment(step, number)`` is a numbered equation for a document, ``body(equation)`` its inside (for
Markdown, notebooks and web pages). A formula too wide for a line is rewritten without changing its
value: a common factor is taken out of a sum, wide arguments of special functions are given a name
and stated in lines of their own, sums are broken between terms.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

from attnflow import symbols as names
from attnflow.symbolic.algebra.functions import dilog_negexp, kepler, wright_omega
from attnflow.symbolic.derivation.step import Step

LINE = 76
"""Width of a line, in widths of a letter, that an equation on a page of an article holds."""

NAMES: dict[sp.Symbol, tuple[str, str]] = {
    names.L: ("L", "population loss"),
    names.alpha: (r"\alpha", "focus weight: attention on the true segments"),
    names.beta: (r"\beta", "probability of the true class on a foreground segment"),
    names.mu: (r"\mu", "margin of the classifier on a foreground segment"),
    names.nu: (r"\nu", "focus score of a foreground segment above the background"),
    names.x: ("x", "logit of the focus weight"),
    names.t: ("t", "time: step times learning rate"),
    names.mu_dot: (r"\dot{\mu}", "velocity of the margin"),
    names.nu_dot: (r"\dot{\nu}", "velocity of the focus score"),
    names.C: ("C", "number of classes"),
    names.m: ("m", "number of segments"),
    names.k: ("k", "number of foreground segments"),
    names.r: ("r", "norm of a foreground vector"),
    names.s: ("s", "norm of a background vector"),
    names.eta_focus: (r"\eta_{\mathrm{f}}", "learning rate of the focus"),
    names.eta_classifier: (r"\eta_{\mathrm{c}}", "learning rate of the classifier"),
    names.B: ("B", "background segments to a foreground segment"),
    names.rho: (r"\rho", "relative speed of the focus"),
    names.tau: (r"\tau", "overall speed"),
    names.decay: (r"\lambda_{\mathrm{w}}", "weight decay"),
    names.eta: (r"\eta", "learning rate of a step"),
    names.p: ("p", "momentum"),
    names.h: ("h", "time that passes in a step"),
    names.kappa: (r"\kappa", "time in which momentum forgets"),
    names.sigma: (r"\sigma", "factor of the change of the flow along the motion"),
    names.theta: (r"\theta", "norm of the background in those of the foreground"),
    names.curvature: (r"\lambda_{H}", "largest eigenvalue of the Hessian of the full loss"),
    names.H_mu: (r"H_{\mu \mu}", "Hessian by the margin, all classes alike"),
    names.H_cross: (r"H_{\mu \nu}", "Hessian by margin and focus score"),
    names.H_nu: (r"H_{\nu \nu}", "Hessian by the focus score"),
    names.lag: ("k_{1}", "factor of the first-order correction for finite steps"),
    names.mu_ddot: (r"\ddot{\mu}", "acceleration of the margin"),
    names.nu_ddot: (r"\ddot{\nu}", "acceleration of the focus score"),
    names.dK_dmu: (r"\frac{dK_{0}}{d\mu}", "drift of the first integral"),
    names.mu0: (r"\mu_{0}", "margin at the start"),
    names.nu0: (r"\nu_{0}", "focus score at the start"),
    names.x0: ("x_{0}", "logit of the focus weight at the start"),
    names.alpha0: (r"\alpha_{0}", "focus weight at the start"),
    names.Q: ("Q", "ratio of separation"),
    names.Phi: (r"\Phi", "potential"),
    names.slope: (r"\Phi'", "derivative of the potential"),
    names.bend: (r"\Phi''", "second derivative of the potential"),
    names.K0: ("K_{0}", "constant of the orbit"),
    names.omega: (r"\omega", "value of the Wright omega function"),
    names.z: ("z", "argument of the Wright omega function"),
    names.u: ("u", "variable of integration"),
    names.v: ("v", "solution of Kepler's equation; variable of integration"),
    names.eccentricity: (r"\varepsilon", "eccentricity in Kepler's equation"),
    names.anomaly: ("M", "mean anomaly in Kepler's equation"),
    names.dt_dmu: (r"\frac{dt}{d\mu}", "pace of the margin"),
    names.dt_dx: (r"\frac{dt}{dx}", "pace of the focus"),
    names.dnu_dmu: (r"\frac{d\nu}{d\mu}", "slope of the orbit"),
    names.c: ("c", "constant that depends on the start"),
    names.costate: (r"\lambda", "change with `z` of the time that is still needed"),
    names.dg_dz: (r"\frac{\partial g}{\partial z}", "change of the pace with `z`"),
    names.vanishing: ("o(1)", "what tends to zero"),
}
"""Symbol -> (LaTeX, meaning): the only place where a name is written down for print."""

FUNCTIONS = {
    wright_omega: (r"\omega(z)", "Wright omega function: its value `w` solves `w + log w = z`"),
    kepler: (
        r"\operatorname{Kepler}(\varepsilon, M)",
        "solution v of Kepler's hyperbolic equation",
    ),
    dilog_negexp: (r"\operatorname{Li}_{2}(y)", "dilogarithm"),
    sp.Ei: (r"\operatorname{Ei}(y)", "exponential integral"),
}
"""Special functions -> (LaTeX, meaning)."""

_GREEK = re.compile(
    r"(?<![A-Za-z\\])(alpha|beta|delta|eta|varepsilon|kappa|lambda|mu|nu|omega|phi|psi|rho|sigma"
    r"|tau|Phi)(?![A-Za-z])"
)
_FORMULA = re.compile(r"`([\w\s'^()+\-=/<>|,.;!]+)`")  # nothing that could be a command of LaTeX
_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {"^": r"\^{}", "~": r"\~{}"}
_ESCAPED |= {"\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}"}
_ESCAPED["|"] = r"\textbar{}"
_MARKS = re.compile(r"[&<>|$`*#\[\]\\]|(?<!\w)_|_(?!\w)")  # an underscore in a word is none


def escaped(text: str) -> str:
    r"""Plain words for LaTeX, on one line: what has a meaning there is escaped.

    >>> print(escaped(r"100 % of \input{x}"))
    100 \% of \textbackslash{}input\{x\}
    """
    return "".join(_ESCAPED.get(c, c) for c in re.sub(r"\s+", " ", text))


def markdown(text: str) -> str:
    """Plain words for Markdown, on one line, in a heading or a cell of a table as well.

    >>> markdown("a|b <i>")
    'a&#124;b &#60;i&#62;'
    """
    return _MARKS.sub(lambda c: f"&#{ord(c[0])};", re.sub(r"\s+", " ", text))


def sentence(text: str, words: Callable[[str], str] = escaped) -> str:
    r"""A sentence with the formulas that it marks by backticks.

    Args:
        text: as steps carry it, such as "With `alpha` held, the margin alone moves."
        words: how the words between the formulas are written: ``escaped`` or ``markdown``.

    >>> print(sentence("`nu` grows like `e^mu/2`, not 5 %."))
    $\nu$ grows like $e^{\mu}/2$, not 5 \%.
    """
    parts = _FORMULA.split(text)
    return "".join(f"${_inline(p)}$" if place % 2 else words(p) for place, p in enumerate(parts))


def _inline(formula: str) -> str:
    """A formula as it stands in a sentence: Greek letters, indices and exponents."""
    formula = formula.replace("dt/dmu", "dt/d mu").replace("11'", r"\mathbf{1}\mathbf{1}'")
    formula = formula.replace("nu 1", r"nu \,\mathbf{1}")
    formula = _GREEK.sub(r"\\\1 ", formula.replace("epsilon", "varepsilon"))
    formula = re.sub(r"\^\(([^()]*)\)", r"^{\1}", formula)
    formula = re.sub(r"([_^])(\\\w+ ?|-?\w+)", r"\1{\2}", formula)
    formula = re.sub(r"\b(log|sinh)\b", r"\\\1", formula)
    formula = re.sub(r"\b(logit|Kepler|grad)\b", r"\\operatorname{\1}", formula)
    formula = re.sub(r"<(\w+, \w+)>", r"\\langle \1\\rangle", formula)
    return re.sub(r" +(?![A-Za-z])", "", formula)


def _is_rest(symbol: sp.Expr) -> bool:
    return symbol == names.vanishing or getattr(symbol, "name", "").startswith("O(")


def _order(term: sp.Expr) -> tuple[int, Any]:
    """Series by rising powers of t, what they leave out last."""
    if _is_rest(term):
        return 1, 0
    return 0, sp.degree(term, names.t) if term.is_polynomial(names.t) else 0


def in_order(terms: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The terms of a sum as papers write them: e^mu + C - 1, and m - k rather than -k + m."""
    terms = sorted(terms, key=lambda term: not term.has(sp.exp))
    if terms[0].could_extract_minus_sign():
        terms.sort(key=lambda term: bool(term.as_coeff_Mul()[0].is_negative))
    return terms


class InOrder:
    """For a printer of sympy's: sums as papers write them, series up to their O(t^n) or o(1)."""

    def _as_ordered_terms(self, expr: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        terms = list(super()._as_ordered_terms(expr, order=order))  # pyright: ignore
        if any(map(_is_rest, terms)):
            return sorted(terms, key=_order)
        return terms if order == "none" else in_order(terms)


class Printer(InOrder, LatexPrinter):
    """sympy's printer with our names."""

    def __init__(self) -> None:  # noqa: D107
        super().__init__({"fold_func_brackets": False})

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        if expr in NAMES:
            return NAMES[expr][0]
        if expr.name.endswith("]"):
            symbol, _, name = expr.name[:-1].partition("[")
            base = next((shown for s, (shown, _) in NAMES.items() if s.name == symbol), symbol)
            index = rf"\mathrm{{{escaped(name)}}}"
            return f"{base[:-1]}, {index}}}" if "_{" in base else f"{base}_{{{index}}}"
        if expr.name.startswith("O("):
            power = expr.name.removeprefix("O(t^").removesuffix(")")
            return rf"\mathcal{{O}}\left(t^{{{power}}}\right)"
        return super()._print_Symbol(expr, style)

    def _print_Limit(self, expr: sp.Limit) -> str:
        what, variable, point, _ = expr.args
        under = rf"{self._print(variable)} \to {self._print(point)}"
        return rf"\lim_{{{under}}} {self.parenthesize(what, 50)}"


def latex(expr: sp.Basic) -> str:
    """An expression in our names, on one line."""
    return Printer().doprint(expr)


def _symbol_width(symbol: sp.Symbol) -> float:
    if symbol.name.endswith("]"):
        return 0.7 * len(symbol.name)
    return 1.6 if "_" in symbol.name else len(symbol.name) if _is_rest(symbol) else 1.2


def width(expr: sp.Basic) -> float:
    """About how wide an expression prints, in widths of a letter."""
    if isinstance(expr, sp.Symbol):
        return _symbol_width(expr)
    if isinstance(expr, sp.Rational):
        return float(max(len(str(abs(expr.p))), len(str(expr.q))) + int(expr.p < 0))
    if isinstance(expr, sp.Add):
        return sum(width(a) + 2.2 for a in expr.args) - 2.2
    if isinstance(expr, sp.exp):
        return 1 + 0.75 * width(expr.exp)
    if isinstance(expr, sp.Mul):
        up, down = sp.fraction(expr)
        return max(_product_width(up), _product_width(down) if down != 1 else 0)
    if isinstance(expr, sp.Pow):
        if expr.exp.is_negative:
            return width(1 / expr)
        return _bracketed(expr.base) + 0.75 * width(expr.exp)
    if isinstance(expr, sp.Integral):
        return 3 + width(expr.function) + 2
    if isinstance(expr, sp.Limit):
        return 4 + width(expr.args[0])
    return 2.5 + sum(width(a) + 1 for a in expr.args)


def _bracketed(expr: sp.Basic) -> float:
    return width(expr) + (1.6 if isinstance(expr, sp.Add) else 0)


def _product_width(expr: sp.Expr) -> float:
    return sum(_bracketed(a) + 0.3 for a in sp.Mul.make_args(expr))


@dataclass(frozen=True)
class Display:
    """An equation as it is set: the equation itself and the abbreviations that it uses."""

    equation: sp.Eq
    abbreviations: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()

    @property
    def rows(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """Left and right sides, the equation first."""
        return ((self.equation.lhs, self.equation.rhs), *self.abbreviations)


def display(equation: sp.Eq, line: float = LINE) -> Display:
    """The equation in a form that fits lines of that width, without a change of value."""
    left, right = equation.lhs, equation.rhs
    if width(left) + 3 + width(right) <= line:
        return Display(equation)
    abbreviations: dict[sp.Expr, sp.Symbol] = {}
    taken = set(equation.free_symbols) | right.atoms(sp.Symbol)
    for head in sorted(right.atoms(wright_omega, kepler), key=sp.default_sort_key):
        usual = (
            (names.z,) if isinstance(head, wright_omega) else (names.eccentricity, names.anomaly)
        )
        for argument, name in zip(head.args, usual, strict=True):
            if width(argument) > line / 6 and argument not in abbreviations:
                if name in taken:
                    name = sp.Symbol(f"a_{len(abbreviations) + 1}", real=True)
                taken.add(name)
                abbreviations[argument] = name
    right = right.xreplace(abbreviations)
    stated = tuple((symbol, _short(argument)) for argument, symbol in abbreviations.items())
    return Display(sp.Eq(left, _short(right), evaluate=False), stated)


def _short(expr: sp.Expr) -> sp.Expr:
    """A sum with the factors that all its terms share taken out, where that is narrower."""
    if not isinstance(expr, sp.Add):
        return expr
    terms = [_powers(a) for a in expr.args]
    common = {
        base: min((t.get(base, sp.S.Zero) for t in terms), key=abs)
        for base in terms[0]
        if len({sp.sign(t.get(base, sp.S.Zero)) for t in terms}) == 1
    }
    factor = sp.Mul(*(base**power for base, power in common.items()))
    if factor == 1:
        return expr
    inner = sp.Add(*(a / factor for a in expr.args))
    taken = sp.Mul(factor, inner, evaluate=False)
    return taken if width(factor) + width(inner) < width(expr) else expr


def _powers(term: sp.Expr) -> dict[sp.Expr, sp.Expr]:
    """Bases with rational exponents; numbers stay inside the sum."""
    found = {}
    for factor in sp.Mul.make_args(term):
        base, power = (factor, sp.S.One) if isinstance(factor, sp.exp) else factor.as_base_exp()
        if power.is_Rational and not base.is_Rational:
            found[base] = power
    return found


def lines(expr: sp.Expr, limit: float) -> list[str]:
    """An expression broken into lines of about that width, between the terms of sums."""
    if width(expr) <= limit:
        return [latex(expr)]
    if isinstance(expr, sp.Add):
        return _sum_lines(expr, limit)
    if isinstance(expr, sp.Integral) and len(expr.limits) == 1 and len(expr.limits[0]) == 3:
        variable, low, high = expr.limits[0]
        inner = lines(expr.function, limit - 5)
        if isinstance(expr.function, sp.Add):
            inner = [r"\Bigl[ " + inner[0], *inner[1:-1], inner[-1] + r" \Bigr]"]
        inner[0] = rf"\int_{{{latex(low)}}}^{{{latex(high)}}} {inner[0]}"
        return [*inner[:-1], rf"{inner[-1]}\, d{latex(variable)}"]
    return _product_lines(expr, limit) or [latex(expr)]


def _product_lines(expr: sp.Expr, limit: float) -> list[str]:
    """A product broken within its widest sum; empty where there is none that would help."""
    if not isinstance(expr, sp.Mul):
        return []
    up, down = sp.fraction(expr)
    factors = sp.Mul.make_args(up)
    widest = max((a for a in factors if isinstance(a, sp.Add)), key=width, default=None)
    if widest is None or width(widest) <= limit / 2:
        return []
    rest = sp.Mul(*(a for a in factors if a is not widest)) / down
    negative = rest.as_coeff_Mul()[0].is_negative
    sign, rest = ("- ", -rest) if negative else ("", rest)
    before = rf"\left({latex(rest)}\right)" if rest.is_Add else latex(rest)
    before = sign + (before if rest != 1 else "")
    broken = lines(widest, limit - min(width(rest), limit / 2) - 3)
    if len(broken) == 1:
        return []
    return [before + r" \Bigl[ " + broken[0], *broken[1:-1], broken[-1] + r" \Bigr]"]


def _sum_lines(expr: sp.Add, limit: float) -> list[str]:
    finished: list[str] = []
    current, used = "", 0.0
    for term in Printer()._as_ordered_terms(expr):
        size = width(term) + 2.2
        room = limit - 3 - (used if size > limit and used < limit / 3 else 0)
        pieces = lines(term, room)
        if current and used + size > limit and not (len(pieces) > 1 and used < limit / 3):
            finished.append(current)
            current, used = "", 0.0
        minus = pieces[0].lstrip().startswith("-")
        if (finished or current) and not minus:
            pieces[0] = "+ " + pieces[0]
        current = f"{current} {pieces[0]}".strip()
        used += size
        if len(pieces) > 1:
            finished += [current, *pieces[1:-1]]
            current, used = pieces[-1], limit / 2
    return [*finished, current] if current else finished


def body(equation: sp.Eq, line: float = LINE) -> str:
    """The LaTeX of an equation, one line or an ``aligned`` block of several."""
    shown = display(equation, line)
    rows = []
    for left, right in shown.rows:
        broken = lines(right, line - width(left) - 3)
        rows.append((latex(left), broken))
    if len(rows) == 1 and len(rows[0][1]) == 1:
        return f"{rows[0][0]} = {rows[0][1][0]}"
    text = []
    for left, broken in rows:
        text.append(rf"{left} ={{}} & {broken[0]}")
        text += [rf"& \quad {part}" for part in broken[1:]]
    joined = " \\\\[1ex]\n".join(text)
    return f"\\begin{{aligned}}\n{joined}\n\\end{{aligned}}"


def fragment(step: Step, number: int, prefix: str = "", line: float = LINE) -> str:
    r"""A step as a numbered equation with a label, for a LaTeX document with amsmath.

    Args:
        step: the step.
        number: its number in the document.
        prefix: put before the step's name in the label, "soft" giving ``\label{soft:flow-mu}``.
        line: width of a line in letters.
    """
    name = f"{prefix}:{step.name}" if prefix else step.name
    label = re.sub(r"[^\w/.+:-]", "-", name, flags=re.ASCII)
    label += f"-{number}" if label != name else ""  # the names of paradigms may hold anything
    return (
        f"\\begin{{equation}}\\tag{{{number}}}\\label{{{label}}}\n"
        f"{body(step.equation, line)}\n\\end{{equation}}"
    )
