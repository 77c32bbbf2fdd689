"""The orbit in closed form: nu and alpha by the Wright omega function, time as one quadrature.

The first integral says e^nu/B + nu = K0 + rho Phi(mu). With x = nu - log B = logit(alpha) this is
x + e^x = z, z = K0 + rho Phi(mu) - log B, whose solution is x = log omega(z).
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.algebra.antiderivative import antiderivative
from attnflow.symbolic.algebra.float_form import factored, stable, textbook
from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.algebra.normal_form import collected, gather
from attnflow.symbolic.first_integral import ARGUMENT, derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, Phi, alpha, complement, mu, mu0, nu, nu0, omega, u, v


@dataclass(frozen=True)
class Potential:
    """Phi(mu), the integral of Phi' from 0.

    Attributes:
        slope: Phi'.
        value: Phi, in closed form or as an Integral with variable ``v``.
        closed: whether a closed form was found.
    """

    slope: sp.Expr
    value: sp.Expr
    closed: bool

    def at(self, point: sp.Expr) -> sp.Expr:
        """Phi at another margin."""
        return self.value.subs(mu, point)


@dataclass(frozen=True)
class Solution:
    """The orbit through (mu0, nu0), as expressions in mu (parameters B, C, rho, tau, mu0, nu0).

    Attributes:
        constant: K0 = nu0 + e^nu0/B - rho Phi(mu0).
        argument: z(mu) = K0 + rho Phi(mu) - log B, with the symbol K0.
        nu: log omega(z) + log B.
        alpha: omega(z)/(1 + omega(z)).
        pace_in_omega: dt/dmu with the symbol ``omega`` for omega(z).
        pace: dt/dmu, written out.
        time: t(mu), the integral of the pace from mu0 (variable ``u``).
    """

    constant: sp.Expr
    argument: sp.Expr
    nu: sp.Expr
    alpha: sp.Expr
    pace_in_omega: sp.Expr
    pace: sp.Expr
    time: sp.Expr


@lru_cache(maxsize=256)
def derive_potential(paradigm: Paradigm) -> Potential:
    """Phi with Phi(0) = 0: from the table of antiderivatives, verified there, else an Integral.

    Raises:
        NoFirstIntegral: the paradigm has none.
    """
    slope = textbook(derive_first_integral(paradigm).slope)
    found = antiderivative(slope, mu)
    if found is None:
        return Potential(slope, sp.Integral(slope.subs(mu, v), (v, 0, mu)), closed=False)
    return Potential(slope, gather(found - found.subs(mu, 0), mu), closed=True)


@lru_cache(maxsize=256)
def derive_solution(paradigm: Paradigm) -> Solution:
    """The closed form of the orbit.

    Raises:
        NoFirstIntegral: the paradigm has none.

    Source: derivation of the closed form.
    """
    potential = derive_potential(paradigm)
    conserved = derive_first_integral(paradigm).conserved
    argument = ARGUMENT.subs(Phi, potential.value)
    weight = wright_omega(argument)
    slow = 1 / stable(derive_flow(paradigm).mu_dot)
    focus = {alpha: omega / (1 + omega), complement: 1 / (1 + omega)}
    in_omega = collected(factored(textbook(slow.subs(focus))), omega)
    pace = in_omega.subs(omega, weight)
    return Solution(
        constant=conserved.subs({nu: nu0, Phi: potential.at(mu0)}),
        argument=argument,
        nu=sp.log(weight) + sp.log(B),
        alpha=weight / (1 + weight),
        pace_in_omega=in_omega,
        pace=pace,
        time=sp.Integral(pace.subs(mu, u), (u, mu0, mu)),
    )
