"""A self-contained Python module of the derived formulas, for use without this library.

The functions are printed from the same sympy expressions that everything else uses, in the form
that floats survive; the module needs NumPy alone.
"""

from collections.abc import Sequence

import sympy as sp
from sympy.printing.numpy import NumPyPrinter

from attnflow.errors import NoFirstIntegral, UnknownFunction
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import attention, complement, inattention

_HEADER = '''"""Gradient-flow dynamics of {titles}.

Written by attnflow from each loss L(alpha, mu; C). Arguments are numbers or arrays that broadcast:
mu (margin), nu (focus score), C (classes), B = (m - k)/k (background segments to a foreground
segment; m - 1 in the simple setting), rho (relative speed of the focus), tau (overall speed).
Time is step x learning rate.
"""

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def _log_quotient(n, d, gap):
    """log(n/d) with gap = n - d."""
    near = np.abs(gap) < 0.5 * d
    small = np.log1p(np.where(near, gap, 0.0) / d)
    return np.where(near, small, np.log(np.where(near, 1.0, n / d)))


def _integral(function, low, high):
    """Integral by Gauss-Legendre panels, each at most 1/4 wide."""
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    panels = max(1, int(np.ceil(4 * np.max(np.abs(high - low), initial=0.0))))
    width = (high - low)[..., None, None] / panels
    points = low[..., None, None] + width * (np.arange(panels)[:, None] + (_NODES + 1) / 2)
    return np.sum(function(points) * _WEIGHTS, axis=(-2, -1)) * width[..., 0, 0] / 2


def log_omega(z):
    """x with x + e^x = z: the logarithm of the Wright omega function."""
    z = np.asarray(z, float)
    large = z > 1
    x = np.where(large, np.log(np.where(large, z, 1.0)), z - np.log1p(np.exp(np.minimum(z, 1.0))))
    for _ in range(8):
        e = np.exp(x)
        residual = x + e - z
        step = residual / (1 + e)
        x = x - step / (1 - step * e / (2 * (1 + e)))
    return x


def focus(nu, B):
    """alpha: attention on the true segments."""
    return {attention}


def inattention(nu, B):
    """1 - alpha, without a subtraction."""
    return {inattention}
'''

_FLOW = '''

def {name}_loss(mu, nu, B, C):
    """{title}: population loss."""
    alpha, complement = focus(nu, B), inattention(nu, B)
    return {loss}


def {name}_mu_dot(mu, nu, B, C, rho=1.0, tau=1.0):
    """{title}: d mu/dt."""
    alpha, complement = focus(nu, B), inattention(nu, B)
    return {mu_dot}


def {name}_nu_dot(mu, nu, B, C, rho=1.0, tau=1.0):
    """{title}: d nu/dt."""
    alpha, complement = focus(nu, B), inattention(nu, B)
    return {nu_dot}
'''

_ORBIT = '''

def {name}_slope(mu, C):
    """{title}: derivative of the potential Phi."""
    return {slope}


def {name}_potential(mu, C, mu0=0.0):
    """{title}: Phi(mu) - Phi(mu0)."""
    C = np.asarray(C, float)[..., None, None]
    return _integral(lambda point: {name}_slope(point, C), mu0, mu)


def {name}_first_integral(mu, nu, B, C, rho=1.0):
    """{title}: nu + e^nu/B - rho Phi(mu), constant along the flow."""
    return nu + np.exp(nu) / B - rho * {name}_potential(mu, C)


def {name}_nu(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0):
    """{title}: nu as a function of mu on the orbit through (mu0, nu0)."""
    z = nu0 + np.exp(nu0) / B + rho * {name}_potential(mu, C, mu0) - np.log(B)
    return log_omega(z) + np.log(B)


def {name}_alpha(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0):
    """{title}: focus weight as a function of mu on the orbit through (mu0, nu0)."""
    return focus({name}_nu(mu, B, C, mu0, nu0, rho), B)


def {name}_pace(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0, tau=1.0):
    """{title}: dt/dmu on the orbit through (mu0, nu0)."""
    return 1 / {name}_mu_dot(mu, {name}_nu(mu, B, C, mu0, nu0, rho), B, C, rho, tau)
'''


_SPECIAL = '''

def _{name}(u):
    """{title}, which NumPy lacks."""
    return np.vectorize(math.{name}, otypes=[float])(u)
'''

_SPECIALS = {"erf": "The error function", "erfc": "1 - erf(u)"}
"""Functions of Python's own mathematics -> what they are."""


class _Printer(NumPyPrinter):
    """NumPy code with the stable heads."""

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": True, "allow_unknown_functions": False})
        self.module_imports.clear()

    def _print_log1p(self, expr: sp.Expr) -> str:
        return f"numpy.log1p({self._print(expr.args[0])})"

    def _print_expm1(self, expr: sp.Expr) -> str:
        return f"numpy.expm1({self._print(expr.args[0])})"

    def _print_erf(self, expr: sp.Expr) -> str:
        return f"_erf({self._print(expr.args[0])})"

    def _print_erfc(self, expr: sp.Expr) -> str:
        return f"_erfc({self._print(expr.args[0])})"

    def _print_log_quotient(self, expr: sp.Expr) -> str:
        return f"_log_quotient({', '.join(self._print(a) for a in expr.args)})"


def _code(expr: sp.Expr) -> str:
    named = expr.subs(complement, sp.Symbol("complement", positive=True))
    known = (sp.exp, sp.log, sp.tanh, sp.sinh, sp.cosh, sp.Abs, sp.Max, sp.Min)
    heads = {type(f) for f in named.atoms(sp.Function)}
    unknown = sorted(
        h.__name__
        for h in heads
        if not issubclass(h, known) and not hasattr(_Printer, f"_print_{h.__name__}")
    )
    if unknown:
        raise UnknownFunction(f"no NumPy code is known for {', '.join(unknown)} in {expr}")
    printer = _Printer()
    code = str(printer.doprint(named)).replace("numpy.", "np.")
    foreign = sorted(set(printer.module_imports) - {"numpy"})
    if foreign:
        raise UnknownFunction(f"no NumPy code is known for {expr}: it needs {', '.join(foreign)}")
    return code


def _word(name: str) -> str:
    """A paradigm's name as a Python identifier."""
    word = "".join(c if c.isalnum() else "_" for c in name)
    return f"p_{word}" if word[0].isdigit() else word


def python_module(paradigms: Sequence[Paradigm]) -> str:
    """Source of a module with loss, flow, first integral and orbit of each paradigm.

    A paradigm without a first integral gets loss and flow only.

    Raises:
        UnknownFunction: a loss holds a function that NumPy lacks.
    """
    text = _HEADER.replace("{titles}", ", ".join(p.title for p in paradigms))
    text = text.replace("{attention}", _code(attention)).replace(
        "{inattention}", _code(inattention)
    )
    for paradigm in paradigms:
        flow = derive_flow(paradigm)
        given = {"name": _word(paradigm.name), "title": paradigm.title}
        text += _FLOW.format(
            **given,
            loss=_code(stable(paradigm.expanded)),
            mu_dot=_code(stable(flow.mu_dot)),
            nu_dot=_code(stable(flow.nu_dot)),
        )
        try:
            slope = derive_first_integral(paradigm).slope
        except NoFirstIntegral:
            continue
        text += _ORBIT.format(**given, slope=_code(slope))
    needed = [name for name in _SPECIALS if f"_{name}(" in text]
    if needed:
        text = text.replace("import numpy", "import math\n\nimport numpy", 1)
    return text + "".join(_SPECIAL.format(name=n, title=_SPECIALS[n]) for n in needed)
