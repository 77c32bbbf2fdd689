"""From the full problem to two parameters: the symmetric ansatz, its metric, its numbers.

Started at zero (or anywhere inside the ansatz) the matrices stay W = mu (I - 11'/C) and
w = nu 1 for ever, so gradient flow on (W, w) is gradient flow on (mu, nu) in the metric
(C - 1) d mu^2 + C d nu^2. Norms, learning rates and several foreground segments only change the
three numbers B, rho and tau:

    alpha = e^nu/(e^nu + B),   mu' = -tau L_mu/(C - 1),   nu' = -tau rho L_nu/C.
"""

import sympy as sp

from attnflow.symbols import C, eta_classifier, eta_focus, k, m, r, s

metric = (C - 1, C)
"""The ansatz's metric: squared lengths of d/d mu and d/d nu in the space of (W, w)."""

background_ratio = (m - k) / k
"""B: background segments to a foreground segment."""

overall_speed = eta_classifier * r**2
"""tau: the speed of mu, in margins, for a foreground vector of norm r."""


def relative_speed(background: str) -> sp.Expr:
    """rho: speed of the focus relative to the classifier.

    A shared background vector is seen in all m - k background segments, so its own weight moves
    m - k times as fast as that of one of as many distinct vectors.
    """
    sharing = 1 if background == "shared" else 1 / (m - k)
    return eta_focus / eta_classifier * (1 + sharing * C * s**2 / r**2)
