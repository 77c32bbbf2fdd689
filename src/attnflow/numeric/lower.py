"""The one bridge from sympy to JAX: a table from named function to JAX function.

An expression is brought to its stable form, then printed with the table; a function that the
table does not hold is refused by name. No other module turns sympy into numbers.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp
from sympy.printing.lambdarepr import LambdaPrinter

from attnflow.numeric import special
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.algebra.functions import refuse_unknown


def _log_quotient(n: Any, d: Any, gap: Any) -> Any:
    near = jnp.abs(gap) < 0.5 * d
    safe_gap = jnp.where(near, gap, 0.0)
    safe_quotient = jnp.where(near, 1.0, n / d)
    return jnp.where(near, special.log1p(safe_gap / d), jnp.log(safe_quotient))


TABLE: dict[str, Callable[..., Any]] = {
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "tanh": jnp.tanh,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": jnp.arctanh,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tan": jnp.tan,
    "atan": jnp.arctan,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "Abs": jnp.abs,
    "sign": jnp.sign,
    "Max": lambda *u: jnp.stack(jnp.broadcast_arrays(*u)).max(0),
    "Min": lambda *u: jnp.stack(jnp.broadcast_arrays(*u)).min(0),
    "log1p": special.log1p,
    "expm1": jnp.expm1,
    "log_quotient": _log_quotient,
    "wright_omega": special.wright_omega,
    "Ei": special.expi,
}
"""sympy head -> JAX function: the only place where the two meet."""


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
    """A pure JAX function of the arguments that computes the expression in its stable form.

    Args:
        expr: any sympy expression in the given symbols.
        arguments: a tuple of symbols, in the order in which values will be given.
        as_written: keep the expression as it is, where it was already spelt for floats.

    Returns:
        A function of arrays that broadcast; its dtype follows its inputs.

    Raises:
        UnknownFunction: the expression holds a function that the table does not have.
    """
    expr = expr if as_written else stable(expr)
    refuse_unknown(expr, TABLE, arguments, "JAX")
    names = {name: name for name in TABLE}
    printer = _Printer({"fully_qualified_modules": False, "user_functions": names})
    return sp.lambdify(arguments, expr, modules=[TABLE], printer=printer, cse=True)
