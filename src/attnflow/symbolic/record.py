"""A paradigm as text, for a run's config: formulas are read by a grammar and never evaluated."""

import ast
import json
from functools import lru_cache

import sympy as sp

from attnflow.errors import ParadigmError
from attnflow.symbolic.paradigm import INPUT, Averaged, Paradigm
from attnflow.symbols import C, alpha, beta, mu

NAMES = {"alpha": alpha, "beta": beta, "mu": mu, "C": C, "pi": sp.pi, "E": sp.E}
FUNCTIONS = {
    name: getattr(sp, name)
    for name in (
        *("exp", "log", "sqrt", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sin", "cos"),
        *("tan", "asin", "acos", "atan", "sec", "csc", "cot", "asec", "acsc", "acot"),
        *("sech", "csch", "coth", "asech", "acsch", "acoth"),
        *("erf", "erfc", "Abs", "sign", "LambertW"),
    )
}
LARGEST_NUMBER = 10**9
LARGEST_POWER = 1000


def write(paradigm: Paradigm) -> str:
    """A paradigm as JSON of its name, title, source and formulas.

    Formulas may come back multiplied out; what is written is what is written again.

    Raises:
        ParadigmError: the loss holds what a record cannot.
    """
    text, again = "", paradigm
    while (written := _written(again)) != text:
        text, again = written, read(written)
    point = {alpha: sp.Rational(2, 7), mu: sp.Rational(5, 4), C: 6}
    gap = sp.N((again.expanded - paradigm.expanded).subs(point), 30)
    if not abs(gap) < sp.Float("1e-20"):
        raise ParadigmError(
            f"paradigm {paradigm.name!r} cannot be kept in a run's config: its loss "
            f"{paradigm.loss} does not read back"
        )
    return text


def _written(paradigm: Paradigm) -> str:
    averages = paradigm.averages
    record = {
        "name": paradigm.name,
        "loss": str(paradigm.loss),
        "averages": averages.value if isinstance(averages, Averaged) else str(averages),
        "title": paradigm.title,
        "source": paradigm.source,
    }
    return json.dumps({key: value for key, value in record.items() if value not in ("", "None")})


@lru_cache(maxsize=256)
def read(text: str) -> Paradigm:
    """The paradigm that ``write`` wrote.

    Raises:
        ParadigmError: the text is none.
    """
    try:
        record = json.loads(text)
        averages = record.get("averages")
        return Paradigm(
            record["name"],
            formula(record["loss"]),
            record.get("title", ""),
            record.get("source", ""),
            averages=INPUT if averages == INPUT.value else averages and formula(averages),
        )
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        if isinstance(error, ParadigmError):
            raise
        raise ParadigmError(f"a config keeps no paradigm as {text!r}") from None


def formula(text: str) -> sp.Expr:
    """The expression that a text spells, as sympy prints it.

    Raises:
        ParadigmError: it holds something else than numbers, the symbols of a loss and functions.
    """
    if len(text) > 10_000:
        raise ParadigmError(f"a formula has at most 10,000 letters, got {len(text)}")
    try:
        return _expression(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, RecursionError, MemoryError):
        raise ParadigmError(f"{text!r} is no formula") from None


def _expression(node: ast.expr, text: str) -> sp.Expr:
    match node:
        case ast.Constant(value=int(number)) if abs(number) <= LARGEST_NUMBER:
            return sp.Integer(number)
        case ast.Name(id=name) if name in NAMES:
            return NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_expression(operand, text)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _expression(left, text), _expression(right, text), text)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_expression(argument, text))
    raise ParadigmError(f"a formula may not hold {ast.unparse(node)!r}, got {text!r}")


def _binary(op: ast.operator, left: sp.Expr, right: sp.Expr, text: str) -> sp.Expr:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow() if not right.is_Number or abs(right) <= LARGEST_POWER:
            return left**right
    raise ParadigmError(f"a formula may not hold {type(op).__name__} here, got {text!r}")
