"""The exported module in other languages: Julia and Mathematica (the Wolfram Language).

Formulas are the expressions of the NumPy module, printed by sympy's printer of the language. The
functions around them, and what computes orbits (``scalar``), are translated from their Python text:
assignments, a result, lists, choices and calls. A language is an entry of ``LANGUAGES``.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import sympy as sp
from sympy.printing.codeprinter import CodePrinter
from sympy.printing.julia import JuliaCodePrinter
from sympy.printing.mathematica import MCodePrinter

from attnflow.export.numpy_module import PLAIN, functions, quoted
from attnflow.export.standalone import COEFFICIENTS, NODES, RESOLVED, RUNNING, WEIGHTS
from attnflow.symbolic.algebra.functions import refuse_unknown
from attnflow.symbolic.paradigm import Paradigm

_NOTE = """Gradient-flow dynamics of {titles}.

Written by attnflow from each loss L(alpha, mu; C); formulas and their derivation are those of
attnflow derive. Arguments are numbers: mu (margin), nu (focus score), B = (m - k)/k (background
segments to a foreground segment; m - 1 in the simple setting), C (classes), rho (relative speed of
the focus), tau (overall speed), the start (mu0, nu0). Time is step x learning rate."""


@dataclass(frozen=True)
class Language:
    """What differs between languages; braces are filled by ``str.format``.

    Attributes:
        title: its name.
        printer: sympy's printer of its expressions.
        known: what it calls the functions and values that formulas and ``scalar`` use.
        formulas: which functions formulas may hold.
        identifier: a Python name as the language has it.
        frame: what stands before (of {names}, all that is public) and after the program.
        comment: a comment of {text}.
        function: a definition, of {name}, {arguments}, {locals}, {body} and {result}.
        local: a statement of the body, of {name} and {value}.
        unpacked: several {names} that a list is assigned to.
        default: an argument with a default, of {name} and {value}; ``argument`` without.
        constant: of {name} and {value}.
        list: of {items}.
        matrix: how it opens, parts numbers, parts rows, closes.
        part: of {list} and {place}, which counts from 1.
        choice: of {test}, {yes} and {no}.
        anonymous: a function, of {arguments} and {result}.
        call: of {name} and {arguments}.
        exponent: what stands for e in 1e-13.
    """

    title: str
    printer: type[CodePrinter]
    known: Mapping[str, str]
    formulas: frozenset[str]
    identifier: Callable[[str], str]
    frame: tuple[str, str]
    comment: str
    function: str
    local: str
    unpacked: str
    argument: str
    default: str
    constant: str
    list: str
    matrix: tuple[str, str, str, str]
    part: str
    choice: str
    anonymous: str
    call: str
    exponent: str


_FORMULAS = frozenset("exp log tanh sinh cosh log1p expm1 log_quotient".split())


def camel(name: str) -> str:
    """A name without underscores, which Mathematica gives a meaning.

    >>> camel("power_1_2_mu_dot"), camel("B"), camel("_soft_orbit")
    ('power1$2MuDot', 'b', 'softOrbit')
    """
    first, *others = name.strip("_").split("_")
    text = first.lower() if first.isupper() else first
    for part in others:
        text += (
            f"${part}" if part[:1].isdigit() and text[-1].isdigit() else part[:1].upper() + part[1:]
        )
    return text


LANGUAGES = {
    "julia": Language(
        title="Julia",
        printer=JuliaCodePrinter,
        known={"each": "map", "pairs": "map", "total": "sum", "nan": "NaN"},
        formulas=_FORMULAS,
        identifier=str,
        frame=(
            'module Dynamics  # include("FILE.jl"); using .Dynamics\n\nexport {names}\n\n'
            "inner(a::AbstractVector, b) = sum(a .* b)\ninner(a::AbstractMatrix, b) = a * b\n\n"
            "log_quotient(n, d, gap) = abs(gap) < abs(d) / 2 ? log1p(gap / d) : log(n / d)\n\n"
            "function repeat_while(test, step, state)\n    while test(state)\n"
            "        state = step(state)\n    end\n    return state\nend\n\n",
            "end\n",
        ),
        comment="# {text}\n",
        function="function {name}({arguments})\n{body}    return {result}\nend\n\n",
        local="    {name} = {value}\n",
        unpacked="{names}",
        argument="{name}",
        default="{name}={value}",
        constant="const {name} = {value}\n",
        list="[{items}]",
        matrix=("[", " ", ";\n  ", "]"),
        part="{list}[{place}]",
        choice="{test} ? {yes} : {no}",
        anonymous="({arguments}) -> {result}",
        call="{name}({arguments})",
        exponent="e",
    ),
    "mathematica": Language(
        title="Mathematica",
        printer=MCodePrinter,
        known={
            **{"each": "Map", "inner": "Dot", "total": "Total", "nan": "Indeterminate"},
            **{name: name.capitalize() for name in "exp log tanh sinh cosh erf erfc".split()},
            **{"abs": "Abs", "min": "Min", "max": "Max", "log_quotient": "logQuotient"},
        },
        formulas=_FORMULAS | {"erf", "erfc"},
        identifier=camel,
        frame=(
            '(* Get["FILE.wl"] *)\n\nBeginPackage["Dynamics`"]\n{{{names}}};\n'
            'Begin["`Private`"]\n\n'
            "expm1[u_] := 2*Exp[u/2]*Sinh[u/2]\n"
            "log1p[u_] := If[TrueQ[Abs[u] < 1/2], 2*ArcTanh[u/(2 + u)], Log[1 + u]]\n"
            "logQuotient[n_, d_, gap_] := If[TrueQ[Abs[gap] < Abs[d]/2], log1p[gap/d], Log[n/d]]\n"
            "pairs[function_, first_, second_] := MapThread[function, {{first, second}}]\n"
            "repeatWhile[test_, step_, state_] := NestWhile[step, state, test]\n\n",
            "End[]\nEndPackage[]\n",
        ),
        comment="(* {text} *)\n",
        function="{name}[{arguments}] := Module[{{{locals}}},\n{body}  {result}\n]\n\n",
        local="  {name} = {value};\n",
        unpacked="{{{names}}}",
        argument="{name}_",
        default="{name}_:{value}",
        constant="{name} = {value};\n",
        list="{{{items}}}",
        matrix=("{{", ", ", "},\n  {", "}}"),
        part="{list}[[{place}]]",
        choice="If[TrueQ[{test}], {yes}, {no}]",
        anonymous="Function[{{{arguments}}}, {result}]",
        call="{name}[{arguments}]",
        exponent="*^",
    ),
}
"""Format -> language."""

_OPERATORS: dict[type, tuple[str, int]] = {
    **{ast.Gt: (">", 2), ast.Lt: ("<", 2), ast.GtE: (">=", 2), ast.LtE: ("<=", 2)},
    **{ast.Add: ("+", 3), ast.Sub: ("-", 3), ast.Mult: ("*", 4), ast.Div: ("/", 4)},
    ast.Pow: ("^", 6),
}
"""Operator -> its sign, and how tightly it binds: choices 0, conjunctions 1, calls 7."""


class _Writer:
    """A program in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.formulas: dict[str, str] = {}

    def number(self, value: float) -> str:
        mantissa, _, exponent = repr(value).partition("e")
        if not exponent:
            return mantissa
        return f"{float(mantissa)}{self.language.exponent}{int(exponent)}"

    def formula(self, expr: sp.Expr) -> str:
        """Stands for an expression in Python text; what it says in the language is kept."""
        language = self.language
        refuse_unknown(expr, language.formulas, tuple(expr.free_symbols), language.title)
        expr = expr.xreplace(PLAIN)
        names = {s: sp.Symbol(language.identifier(s.name), real=True) for s in expr.free_symbols}
        printer: Any = language.printer({"user_functions": self._heads()})
        name = f"formula{len(self.formulas)}"
        self.formulas[name] = str(printer.doprint(expr.xreplace(names)))
        return name

    def _heads(self) -> dict[str, str]:
        return {name: self.language.known.get(name, name) for name in self.language.formulas}

    def name(self, name: str) -> str:
        return self.language.known.get(name, self.language.identifier(name))

    def expression(self, node: ast.expr, binding: int = 0) -> str:
        """Python's expression; in brackets where it binds less than is wanted."""
        text, own = self._expression(node)
        return text if own >= binding else f"({text})"

    def _expression(self, node: ast.expr) -> tuple[str, int]:
        language = self.language
        match node:
            case ast.Constant(value=int() | float() as value):
                return self.number(value), 7
            case ast.Name(id=name):
                return (self.formulas[name], 0) if name in self.formulas else (self.name(name), 7)
            case ast.BinOp(left=left, op=op, right=right):
                sign, own = _OPERATORS[type(op)]
                sides = (own + 1, own) if sign == "^" else (own, own + 1)
                first, second = (
                    self.expression(n, b) for n, b in zip((left, right), sides, strict=True)
                )
                return f"{first} {sign} {second}", own
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"-{self.expression(operand, 6)}", 3
            case ast.Compare() | ast.BoolOp() | ast.IfExp():
                return self._condition(node)
            case ast.Lambda(args=arguments, body=body):
                names = ", ".join(self.name(a.arg) for a in arguments.args)
                result = self.expression(body)
                return language.anonymous.format(arguments=names, result=result), 0
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return language.list.format(items=self._several(items)), 7
            case ast.Subscript(value=value, slice=ast.Constant(value=int(place))):
                return language.part.format(list=self.expression(value, 7), place=place + 1), 7
            case ast.Call():
                return self._call(node), 7
        raise NotImplementedError(ast.dump(node))

    def _condition(self, node: ast.Compare | ast.BoolOp | ast.IfExp) -> tuple[str, int]:
        """A comparison, what joins comparisons, and what depends on one."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                sign, own = _OPERATORS[type(op)]
                return f"{self.expression(left, 3)} {sign} {self.expression(right, 3)}", own
            case ast.BoolOp(op=op, values=values):
                sign = " && " if isinstance(op, ast.And) else " || "
                return sign.join(self.expression(value, 2) for value in values), 1
            case ast.IfExp(test=test, body=body, orelse=orelse):
                test, yes, no = (self.expression(n, 1) for n in (test, body, orelse))
                return self.language.choice.format(test=test, yes=yes, no=no), 0
        raise NotImplementedError(ast.dump(node))

    def _several(self, nodes: Sequence[ast.expr]) -> str:
        return ", ".join(map(self.expression, nodes))

    def _call(self, node: ast.Call) -> str:
        match node.func:
            case ast.Attribute(attr="asarray"):
                return self.expression(node.args[0], 7)
            case ast.Name(id="Orbit"):
                items = self._several([keyword.value for keyword in node.keywords])
                return self.language.list.format(items=items)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                arguments = self._several(node.args)
                return self.language.call.format(name=self.name(name), arguments=arguments)
        raise NotImplementedError(ast.dump(node))

    def _assigned(self, node: ast.Assign) -> Iterator[tuple[list[str], str]]:
        """Names and the value that they get, one or a list of them."""
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        called = [self.name(ast.unparse(name)) for name in names]
        if isinstance(node.value, ast.Tuple):
            for name, value in zip(called, node.value.elts, strict=True):
                yield [name], self.expression(value)
        else:
            yield called, self.expression(node.value)

    def function(self, node: ast.FunctionDef) -> str:
        """A definition, with its docstring as a comment."""
        language, body, names = self.language, "", []
        result = ""
        for statement in node.body:
            match statement:
                case ast.Assign():
                    for called, value in self._assigned(statement):
                        joined = ", ".join(called)
                        name = language.unpacked.format(names=joined) if called[1:] else joined
                        body += language.local.format(name=name, value=value)
                        names += called
                case ast.Return(value=ast.expr() as value):
                    result = self.expression(value)
        arguments = node.args
        plain = len(arguments.args) - len(arguments.defaults)
        given = [language.argument.format(name=self.name(a.arg)) for a in arguments.args[:plain]]
        given += [
            language.default.format(name=self.name(a.arg), value=self.expression(value))
            for a, value in zip(arguments.args[plain:], arguments.defaults, strict=True)
        ]
        said = ast.get_docstring(node)
        return (language.comment.format(text=self.said(said)) if said else "") + (
            language.function.format(
                name=self.name(node.name),
                arguments=", ".join(given),
                locals=", ".join(dict.fromkeys(names)),
                body=body,
                result=result,
            )
        )

    def said(self, text: str) -> str:
        """Words of a comment, which they cannot end."""
        return text.replace("(*", "( *").replace("*)", "* )")

    def tables(self) -> str:
        """The constants that ``scalar`` uses."""
        language = self.language
        opens, comma, parts, closes = language.matrix
        text = language.constant.format(name=self.name("RESOLVED"), value=self.number(RESOLVED))
        for name, column in (("NODES", NODES), ("WEIGHTS", WEIGHTS)):
            items = ", ".join(map(self.number, column.tolist()))
            text += language.constant.format(
                name=self.name(name), value=language.list.format(items=items)
            )
        for name, rows in (("RUNNING", RUNNING), ("HIGHEST", COEFFICIENTS[-2:])):
            lines = parts.join(comma.join(map(self.number, row)) for row in rows.tolist())
            text += language.constant.format(name=self.name(name), value=opens + lines + closes)
        return text + "\n"


def program(paradigms: Sequence[Paradigm], language: Language) -> str:
    """Source of a program with loss, flow, orbit and trajectory of each paradigm.

    A paradigm without a first integral gets loss and flow only.

    Raises:
        UnknownFunction: a loss holds a function that the language lacks.
    """
    writer = _Writer(language)
    own = ast.parse(functions(paradigms, writer.formula)).body
    source = files("attnflow.export").joinpath("scalar.py").read_text(encoding="utf-8")
    common = ast.parse(source.partition("# --- translated from here")[2].partition("\n")[2]).body
    definitions = [node for node in (*common, *own) if isinstance(node, ast.FunctionDef)]
    public = [n.name for n in own if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    note = _NOTE.format(titles=", ".join(quoted(p.title) for p in paradigms))
    text = "".join(
        language.comment.format(text=writer.said(line)) if line else "\n"
        for line in note.splitlines()
    )
    before, after = language.frame
    text += "\n" + before.format(names=", ".join(map(writer.name, public))) + writer.tables()
    return text + "".join(map(writer.function, definitions)) + after
