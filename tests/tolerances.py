"""What numeric tests allow, each with its reason. Relative unless it says otherwise."""

import numpy as np

EPS = float(np.finfo(np.float64).eps)

CLAIM = 1e-12
"""What ``solve`` promises for 2 <= m, C <= 1e6, 1e-6 <= t <= 1e15 and starts within [-5, 20]."""

IMPLICIT = 1e-13
"""An explicit time(mu), evaluated at the returned mu with 40 digits and divided by its slope: the
error of mu itself, of a few ulp times the number of panels."""

SAME = 64 * EPS
"""Two ways to the same number that round differently some dozens of times."""

RESIDUAL = 1e-11
"""d mu/dt against the field at the returned (mu, nu): 1 - alpha = 1/(1 + w) and e^mu multiply the
rounding of nu and mu by their size (up to 40), and the derivative's own panels are read between
Chebyshev points once more."""

DERIVATIVE = 1e-9
"""First derivatives: the quadrature of a derivative of the pace is resolved to the square root of
the panel's tolerance in the worst case; 1e-11 was measured. Reference: differences of 40 digits."""

SECOND_DERIVATIVE = 1e-7
"""Second derivatives lose once more what the first lost."""

STEPPED = 1e-9
"""Adaptive Runge-Kutta steps (DOP853, Dopri8) at tolerance 1e-12: some hundred such errors."""
