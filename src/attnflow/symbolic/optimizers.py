"""What becomes of the flow where only the direction of the gradient counts: the limits of Adam.

Sign descent, Adam's limit for small steps and short memory, moves every entry of W and w at its
learning rate. Normalised gradient flow divides the gradient by its norm over all entries.
"""

from functools import lru_cache

import sympy as sp

from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import metric
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, eta_classifier, eta_focus, r, s, theta

sign_velocity = (2 * r * eta_classifier, (r + s) * eta_focus)
"""mu' and nu' under sign descent, whatever the loss, where mu > 0 and no gradient vanishes.

The entry of a class moves up, those of the others down, so that margins grow twice as fast as an
entry; scores grow on the foreground and fall on the background.
"""


@lru_cache(maxsize=256)
def derive_arc(paradigm: Paradigm) -> sp.Expr:
    """ds/d mu: length of normalised gradient flow for a margin, in (alpha, mu; C, theta, r, eta_c).

    Both components of the flow are divided by the same norm of the full gradient, so the orbit and
    its first integral stay, and the length is one quadrature along it. In the plain setting it is
    the arc length in the metric of the ansatz.

    Raises:
        NoFirstIntegral: the paradigm has none.

    Source: derivations/16_adam.py.
    """
    turn = derive_first_integral(paradigm).slope * (1 - alpha)  # d nu/d mu over rho
    square = metric[0] + metric[1] * (1 + C * theta**2) * turn**2
    return sp.sqrt(square) / (eta_classifier * r)
