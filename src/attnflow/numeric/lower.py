"""The one bridge from sympy to numbers: a table from named function to a function of arrays.

A lowered function computes in NumPy where its arguments are NumPy arrays or plain numbers, and in
JAX where one of them is JAX's.

An expression is brought to its stable form, then printed with the table; a function that the
table does not hold is refused by name. No other module turns sympy into numbers.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib import import_module
from types import FunctionType
from typing import Any

import numpy as np
import sympy as sp
from sympy.printing.lambdarepr import LambdaPrinter

from attnflow.numeric import special
from attnflow.numeric.namespace import namespace, quiet
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.algebra.functions import refuse_unknown


def _log_quotient(n: Any, d: Any, gap: Any) -> Any:
    xp = namespace(n, d, gap)
    near = xp.abs(gap) < 0.5 * xp.abs(d)
    one, other = xp.where(near, gap / d, 0.0), xp.where(near, 1.0, n / d)
    return xp.where(near, special.log1p(one), special.log(other))


def _extreme(name: str) -> Callable[..., Any]:
    def of(*values: Any) -> Any:
        xp = namespace(*values)
        return getattr(xp.stack(xp.broadcast_arrays(*values)), name)(0)

    return of


TABLE: dict[str, str | Callable[..., Any]] = {
    "exp": "exp",
    "log": special.log,
    "sqrt": "sqrt",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "atan": "arctan",
    "erf": special.erf,
    "erfc": special.erfc,
    "Abs": "abs",
    "sign": "sign",
    "Max": _extreme("max"),
    "Min": _extreme("min"),
    "log1p": special.log1p,
    "expm1": "expm1",
    "log_quotient": _log_quotient,
    "wright_omega": special.wright_omega,
    "Ei": special.expi,
}
"""sympy head -> function, or its name in both namespaces: the only place where they meet."""


@cache
def _functions(in_jax: bool) -> dict[str, Callable[..., Any]]:
    """The table for one namespace."""
    xp: Any = import_module("jax.numpy" if in_jax else "numpy")
    return {head: getattr(xp, f) if isinstance(f, str) else f for head, f in TABLE.items()}


class _Printer(LambdaPrinter):
    """``sign`` as a call: Python's conditional expression would not take arrays."""

    def _print_sign(self, e: sp.Expr) -> str:
        return f"sign({self._print(e.args[0])})"


@lru_cache(maxsize=1024)
def lower(
    expr: sp.Expr,
    arguments: Sequence[sp.Symbol],
    *,
    as_written: bool = False,
) -> Callable[..., Any]:
    """A pure function of the arguments that computes the expression in its stable form.

    Args:
        expr: any sympy expression in the given symbols.
        arguments: a tuple of symbols, in the order in which values will be given.
        as_written: keep the expression as it is, where it was already spelt for floats.

    Returns:
        A function of arrays that broadcast, in NumPy or JAX as they are; its dtype follows its
        inputs.

    Raises:
        UnknownFunction: the expression holds a function that the table does not have.
    """
    expr = expr if as_written else stable(expr)
    refuse_unknown(expr, TABLE, arguments, "JAX")
    names = {name: name for name in TABLE}
    printer = _Printer({"fully_qualified_modules": False, "user_functions": names})
    in_numpy = sp.lambdify(arguments, expr, modules=[_functions(False)], printer=printer, cse=True)

    @cache
    def in_jax() -> Callable[..., Any]:
        # the same code, looking up its functions in JAX
        return FunctionType(in_numpy.__code__, in_numpy.__globals__ | _functions(True))

    def of_either(*values: Any) -> Any:
        if namespace(*values) is not np:
            return in_jax()(*values)
        with quiet():
            return in_numpy(*values)

    return of_either
