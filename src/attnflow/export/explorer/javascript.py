"""sympy as JavaScript: one table from named function to JavaScript function, stable forms only.

What runs in the explorer is printed here from the same expressions that the library evaluates,
brought to the same stable form; a function that the table does not hold is refused by name.
"""

from collections.abc import Mapping, Sequence

import sympy as sp
from sympy.printing.jscode import JavascriptCodePrinter

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.algebra.functions import refuse_unknown
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import background_ratio, derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.switch_condition import derive_switch_terms
from attnflow.symbols import C, alpha, complement, k, m, mu, probability, rho, tau

TABLE = {
    "exp": "Math.exp",
    "log": "Math.log",
    "sqrt": "Math.sqrt",
    "sinh": "Math.sinh",
    "cosh": "Math.cosh",
    "tanh": "Math.tanh",
    "asinh": "Math.asinh",
    "acosh": "Math.acosh",
    "atanh": "Math.atanh",
    "sin": "Math.sin",
    "cos": "Math.cos",
    "tan": "Math.tan",
    "atan": "Math.atan",
    "log1p": "Math.log1p",
    "expm1": "Math.expm1",
    "log_quotient": "logQuotient",
    "wright_omega": "wrightOmega",
    "erf": "erf",
    "erfc": "erfc",
}
"""sympy head -> JavaScript function; those without ``Math.`` are defined in functions.js."""

NAMES = {alpha: "alpha", complement: "rest", mu: "mu", C: "C", m: "m"}
"""Symbol -> JavaScript identifier; ``rest`` is 1 - alpha."""

STATE = (alpha, complement, mu, C)


class _Printer(JavascriptCodePrinter):
    """Whole powers as products, functions by the table."""

    def _print_Pow(self, expr: sp.Pow) -> str:
        base, power = expr.args
        if base == sp.S.Exp1:
            return f"Math.exp({self._print(power)})"
        if isinstance(power, sp.Integer) and 2 <= abs(power) <= 4:
            product = "*".join([self.parenthesize(base, 60)] * abs(int(power)))
            return f"({product})" if power > 0 else f"(1/({product}))"
        return super()._print_Pow(expr)


def javascript(expr: sp.Expr, arguments: Sequence[sp.Symbol], *, as_written: bool = False) -> str:
    """An arrow function that computes the expression in its stable form.

    Args:
        expr: any sympy expression in the given symbols.
        arguments: the symbols, in the order of the function's parameters.
        as_written: keep the expression as it is, where it was already spelt for floats.

    Returns:
        JavaScript, such as ``(mu, C) => {const x0 = ...; return ...;}``.

    Raises:
        UnknownFunction: a function that the table does not have, or a symbol that is no argument.
    """
    expr = expr if as_written else stable(expr)
    refuse_unknown(expr, TABLE, arguments, "JavaScript")
    plain = {symbol: sp.Symbol(NAMES.get(symbol, str(symbol)), real=True) for symbol in arguments}
    parts, (result,) = sp.cse(expr.xreplace(plain), symbols=sp.numbered_symbols("x", real=True))
    printer = _Printer({"user_functions": TABLE})
    lines = [f"const {name} = {printer.doprint(part)};" for name, part in parts]
    names = ", ".join(str(plain[symbol]) for symbol in arguments)
    return f"({names}) => {{{' '.join(lines)} return {printer.doprint(result)};}}"


def formulas(paradigm: Paradigm) -> dict[str, str]:
    """The functions of one paradigm that the explorer runs, by name, for a simple setting.

    Every one takes the state (alpha, 1 - alpha, mu, C) but ``slope``, which takes (mu, C). Without
    a first integral there are only the loss and the flow.

    Raises:
        UnknownFunction: the loss holds a function that JavaScript does not have.
    """
    simple = {rho: 1, tau: 1}
    flow = derive_flow(paradigm)
    velocity = {"muDot": flow.mu_dot, "nuDot": flow.nu_dot}
    printed = {"loss": javascript(paradigm.expanded, STATE)}
    try:
        slope = derive_first_integral(paradigm).slope
    except NoFirstIntegral:
        return printed | {
            name: javascript(stable(expr).subs(simple), STATE, as_written=True)
            for name, expr in velocity.items()
        }
    on_orbit = {
        "pace": stable(1 / flow.mu_dot),
        "sensitivity": stable(derive_switch_terms(paradigm).sensitivity),
    }
    printed["slope"] = javascript(slope, (mu, C))
    for name, expr in on_orbit.items():
        printed[name] = javascript(expr.subs(simple), STATE, as_written=True)
    return printed


def setting_formulas() -> dict[str, str]:
    """What the setting reduces to: the ratio B of segments, and beta as a function of mu."""
    ratio = background_ratio.subs(k, 1)
    return {"ratio": javascript(ratio, (m,)), "beta": javascript(probability, (mu, C))}


def record(functions: Mapping[str, str]) -> str:
    """A JavaScript object of functions."""
    return "{\n" + "".join(f"  {name}: {body},\n" for name, body in functions.items()) + "}"
