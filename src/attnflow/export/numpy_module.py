"""A self-contained Python module of the derived formulas, for use without this library.

The functions are printed from the same sympy expressions that everything else uses, in the form
that floats survive. What computes orbits is the text of ``standalone.py``. The module needs NumPy
alone, or JAX alone.
"""

from collections.abc import Callable, Sequence
from importlib.resources import files

import sympy as sp
from sympy.printing.numpy import NumPyPrinter

from attnflow.errors import NoFirstIntegral, UnknownFunction
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import Phi, attention, complement, inattention

_HEADER = '''"""Gradient-flow dynamics of {titles}.

Written by attnflow from each loss L(alpha, mu; C); formulas and their derivation are those of
``attnflow derive``. Arguments are numbers or arrays that broadcast: mu (margin), nu (focus score),
C (classes), B = (m - k)/k (background segments to a foreground segment; m - 1 in the simple
setting), rho (relative speed of the focus), tau (overall speed), the start (mu0, nu0). Time is
step x learning rate. ``time``, ``margin`` and ``trajectory`` take arrays of mu or t, and numbers
for the rest.{note}
"""

{imports}

'''

_JAX = {
    "note": (
        "\n\nEvery function works in jit, vmap and grad. Switch double precision on, by "
        'jax.config.update(\n"jax_enable_x64", True), before the first call.'
    ),
    "imports": (
        "from collections.abc import Callable\nfrom typing import Any, NamedTuple\n\n"
        "import jax\nimport jax.numpy as np\nimport numpy"
    ),
    "loops": '''def repeated(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    """The state after ``count`` steps."""
    return jax.lax.scan(lambda s, _: (step(s), None), state, None, length=count)[0]


def recorded(step: Callable[[Any], Any], state: Any, done: Callable[[Any], Any]) -> Any:
    """What each step notes, one array a quantity; steps of a state that is done change nothing."""
    return jax.lax.scan(lambda s, _: step(s), state, None, length=PANELS)[1]


''',
    "special": "def _{name}(u):\n    return jax.scipy.special.{name}(u)\n",
}
_NUMPY = {
    "note": "",
    "imports": (
        "from collections.abc import Callable\nfrom typing import Any, NamedTuple\n\n"
        "import numpy\nimport numpy as np"
    ),
    "special": (
        "def _{name}(u):\n"
        '    """Which NumPy lacks."""\n'
        "    return np.vectorize(math.{name}, otypes=[float])(u)\n"
    ),
}

_SETTING = '''

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
    return integral({name}_slope, mu0, mu, C)


def {name}_first_integral(mu, nu, B, C, rho=1.0):
    """{title}: constant along the flow."""
    Phi = {name}_potential(mu, C)
    return {conserved}


def {name}_nu(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0):
    """{title}: nu as a function of mu on the orbit through (mu0, nu0)."""
    return nu0 + increment(rho * {name}_potential(mu, C, mu0), np.exp(nu0) / B)


def {name}_alpha(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0):
    """{title}: focus weight as a function of mu on the orbit through (mu0, nu0)."""
    return focus({name}_nu(mu, B, C, mu0, nu0, rho), B)


def {name}_pace(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0, tau=1.0):
    """{title}: dt/dmu on the orbit through (mu0, nu0)."""
    return 1 / {name}_mu_dot(mu, {name}_nu(mu, B, C, mu0, nu0, rho), B, C, rho, tau)


def _{name}_orbit(B, C, mu0, nu0, rho, tau):
    return Orbit(
        drive=lambda clock: rho * {name}_slope(mu0 + clock, C),
        pace=lambda clock, rise: 1 / {name}_mu_dot(mu0 + clock, nu0 + rise, B, C, rho, tau),
        odds=np.exp(nu0) / B,
    )


def {name}_time(mu, B, C, mu0=0.0, nu0=0.0, rho=1.0, tau=1.0):
    """{title}: t(mu) on the orbit from (mu0, nu0); nan where it does not lead to mu."""
    return time_at(_{name}_orbit(B, C, mu0, nu0, rho, tau), np.asarray(mu, float) - mu0)


def {name}_trajectory(t, B, C, mu0=0.0, nu0=0.0, rho=1.0, tau=1.0):
    """{title}: (mu, nu) at times t on the orbit from (mu0, nu0)."""
    clock, rise = state_at(_{name}_orbit(B, C, mu0, nu0, rho, tau), t)
    return mu0 + clock, nu0 + rise


def {name}_margin(t, B, C, mu0=0.0, nu0=0.0, rho=1.0, tau=1.0):
    """{title}: mu(t) on the orbit from (mu0, nu0)."""
    return {name}_trajectory(t, B, C, mu0, nu0, rho, tau)[0]
'''

PLAIN = {complement: sp.Symbol("complement", positive=True), Phi: sp.Symbol("Phi", real=True)}
"""Symbols whose names are no identifiers -> their names in programs."""
_SPECIALS = ("erf", "erfc")
_KNOWN = (sp.exp, sp.log, sp.tanh, sp.sinh, sp.cosh)


class _Printer(NumPyPrinter):
    """NumPy code with the stable heads."""

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": True, "allow_unknown_functions": False})
        self.module_imports.clear()

    def _call(self, name: str, expr: sp.Expr) -> str:
        return f"{name}({', '.join(self._print(a) for a in expr.args)})"

    def _print_log1p(self, expr: sp.Expr) -> str:
        return self._call("numpy.log1p", expr)

    def _print_expm1(self, expr: sp.Expr) -> str:
        return self._call("numpy.expm1", expr)

    def _print_erf(self, expr: sp.Expr) -> str:
        return self._call("_erf", expr)

    def _print_erfc(self, expr: sp.Expr) -> str:
        return self._call("_erfc", expr)

    def _print_log_quotient(self, expr: sp.Expr) -> str:
        return self._call("_log_quotient", expr)


def code(expr: sp.Expr) -> str:
    """An expression as NumPy code, in the form it has.

    >>> from attnflow.symbols import B, nu
    >>> code(nu + sp.exp(nu) / B)
    'nu + np.exp(nu)/B'

    Raises:
        UnknownFunction: it holds a function that NumPy lacks.
    """
    named = expr.xreplace(PLAIN)
    unknown = sorted(
        h.__name__
        for h in {type(f) for f in named.atoms(sp.Function)}
        if not issubclass(h, _KNOWN) and not hasattr(_Printer, f"_print_{h.__name__}")
    )
    if unknown:
        raise UnknownFunction(f"no NumPy code is known for {', '.join(unknown)} in {expr}")
    printer = _Printer()
    text = str(printer.doprint(named)).replace("numpy.", "np.")
    foreign = sorted(set(printer.module_imports) - {"numpy"})
    if foreign:
        raise UnknownFunction(f"no NumPy code is known for {expr}: it needs {', '.join(foreign)}")
    return text


def word(name: str) -> str:
    """A paradigm's name as an identifier.

    >>> word("power-1/2")
    'power_1_2'
    """
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return f"p_{letters}" if letters[0].isdigit() else letters


def quoted(title: str) -> str:
    """A title that can stand in a docstring or a comment, whatever it holds."""
    return " ".join(title.replace("\\", "/").replace('"', "'").split())


def functions(paradigms: Sequence[Paradigm], spelt: Callable[[sp.Expr], str]) -> str:
    """The functions of a module, as Python in which formulas are spelt by a function.

    Raises:
        UnknownFunction: a loss holds a function that has no spelling.
    """
    text = _SETTING.format(attention=spelt(attention), inattention=spelt(inattention))
    for paradigm in paradigms:
        flow = derive_flow(paradigm)
        given = {"name": word(paradigm.name), "title": quoted(paradigm.title)}
        text += _FLOW.format(
            **given,
            loss=spelt(stable(paradigm.expanded)),
            mu_dot=spelt(stable(flow.mu_dot)),
            nu_dot=spelt(stable(flow.nu_dot)),
        )
        try:
            found = derive_first_integral(paradigm)
        except NoFirstIntegral:
            continue
        text += _ORBIT.format(**given, slope=spelt(found.slope), conserved=spelt(found.conserved))
    return text


def python_module(paradigms: Sequence[Paradigm], *, jax: bool = False) -> str:
    """Source of a module with loss, flow, first integral, orbit and trajectory of each paradigm.

    A paradigm without a first integral gets loss and flow only.

    Args:
        paradigms: what to write down.
        jax: for JAX instead of NumPy.

    Raises:
        UnknownFunction: a loss holds a function that NumPy lacks.
    """
    kind = _JAX if jax else _NUMPY
    titles = ", ".join(quoted(p.title) for p in paradigms)
    text = _HEADER.format(titles=titles, note=kind["note"], imports=kind["imports"])
    source = files("attnflow.export").joinpath("standalone.py").read_text(encoding="utf-8")
    source = source.partition("# --- copied from here")[2].partition("\n\n")[2]
    if jax:
        before, _, rest = source.partition("def repeated(")
        source = (
            before + kind["loops"] + "def _log_quotient(" + rest.partition("def _log_quotient(")[2]
        )
    text += source + functions(paradigms, code)
    needed = [name for name in _SPECIALS if f"_{name}(" in text]
    if needed and not jax:
        text = text.replace("import numpy", "import math\n\nimport numpy", 1)
    return text + "".join(f"\n\n{kind['special'].format(name=n)}" for n in needed)
