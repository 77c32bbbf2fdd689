"""The symbols every formula is written with: the only place where they are made.

Write a loss with ``alpha`` (focus weight on the true segments), ``mu`` (classifier margin), ``C``
(number of classes) and, as a shorthand, ``beta`` (true-class probability on a foreground segment,
``e^mu/(e^mu + C - 1)``).
"""

import sympy as sp

# What a loss is written with.
alpha = sp.Symbol("alpha", positive=True)
beta = sp.Symbol("beta", positive=True)
mu = sp.Symbol("mu", real=True)
C = sp.Symbol("C", positive=True)

# The other coordinate of the flow, and time.
nu = sp.Symbol("nu", real=True)
x = sp.Symbol("x", real=True)  # logit of alpha: x = nu - log B
t = sp.Symbol("t", nonnegative=True)
complement = sp.Symbol(r"\bar{\alpha}", positive=True)  # 1 - alpha, never by subtraction

# The setting.
m = sp.Symbol("m", positive=True)
k = sp.Symbol("k", positive=True)  # foreground segments
r = sp.Symbol("r", positive=True)  # norm of a foreground vector
s = sp.Symbol("s", nonnegative=True)  # norm of a background vector
eta_focus = sp.Symbol("eta_f", positive=True)
eta_classifier = sp.Symbol("eta_c", positive=True)

# Steps of gradient descent.
eta = sp.Symbol("eta", positive=True)  # learning rate
p = sp.Symbol("p", positive=True)  # momentum
h = sp.Symbol("h", positive=True)  # time that passes in a step
kappa = sp.Symbol("kappa", positive=True)  # inertia of the velocity
sigma = sp.Symbol("sigma", real=True)  # factor of the change of the flow along itself
theta = sp.Symbol("theta", nonnegative=True)  # norms: s/(r sqrt(background vectors))
decay = sp.Symbol("lambda_w", nonnegative=True)  # of the weights
curvature = sp.Symbol("lambda_H", positive=True)  # an eigenvalue of the Hessian
H_mu, H_cross, H_nu = (  # its entries where all classes move alike
    sp.Symbol(f"H_{{{name}}}", real=True) for name in (r"\mu \mu", r"\mu \nu", r"\nu \nu")
)
lag = sp.Symbol("k_1", real=True)  # first-order correction of the slow motion
mu_ddot = sp.Symbol(r"\ddot{\mu}", real=True)
nu_ddot = sp.Symbol(r"\ddot{\nu}", real=True)
dK_dmu = sp.Symbol(r"\frac{dK_0}{d\mu}", real=True)

# What a setting reduces to (see symbolic/flow.py): background-to-foreground ratio, relative
# speed of the focus, and overall speed.
B = sp.Symbol("B", positive=True)
rho = sp.Symbol("rho", positive=True)
tau = sp.Symbol("tau", positive=True)

# Start and constants of motion.
mu0 = sp.Symbol("mu_0", real=True)
nu0 = sp.Symbol("nu_0", real=True)
alpha0 = sp.Symbol("alpha_0", positive=True)
K0 = sp.Symbol("K_0", real=True)
x0 = sp.Symbol("x_0", real=True)

# Left sides and abbreviations of the formulas of a derivation.
L = sp.Symbol("L", real=True)
mu_dot = sp.Symbol(r"\dot{\mu}", real=True)
nu_dot = sp.Symbol(r"\dot{\nu}", real=True)
Phi = sp.Symbol(r"\Phi", real=True)
slope = sp.Symbol(r"\Phi'", real=True)
bend = sp.Symbol(r"\Phi''", real=True)
Q = sp.Symbol("Q", real=True)
dg_dz = sp.Symbol(r"\frac{\partial g}{\partial z}", real=True)  # change of the pace with z
costate = sp.Symbol("lambda", real=True)  # V_z, change of the time to a goal with z
delta = sp.Symbol("delta", real=True)  # change of nu since the start
odds = sp.Symbol("w_0", positive=True)  # e^nu0/B = alpha/(1 - alpha) at the start
omega = sp.Symbol("omega", positive=True)
z = sp.Symbol("z", real=True)
u = sp.Symbol("u", real=True)  # variables of integration
v = sp.Symbol("v", real=True)
eccentricity = sp.Symbol("epsilon", positive=True)  # of Kepler's equation v + epsilon sinh v = M
anomaly = sp.Symbol("M", real=True)
dt_dmu = sp.Symbol(r"\frac{dt}{d\mu}", real=True)
dt_dx = sp.Symbol(r"\frac{dt}{dx}", real=True)
dnu_dmu = sp.Symbol(r"\frac{d\nu}{d\mu}", real=True)

c = sp.Symbol("c", real=True)  # a constant of integration
vanishing = sp.Symbol("o(1)", real=True)


def indexed(symbol: sp.Symbol, index: str) -> sp.Symbol:
    """The symbol of one paradigm, such as mu[soft]."""
    return sp.Symbol(f"{symbol.name}[{index}]", real=True)


def remainder(order: int) -> sp.Symbol:
    """What a series in t leaves out: O(t^order), as a symbol, so that nothing is absorbed in it."""
    return sp.Symbol(f"O(t^{order})", real=True)


probability = sp.exp(mu) / (sp.exp(mu) + C - 1)
"""``beta`` as a function of ``mu``: softmax of the logits (mu, 0, ..., 0) over C classes."""

attention = 1 / (1 + B * sp.exp(-nu))
"""``alpha`` as a function of ``nu``: softmax over k foreground and B k background segments."""

inattention = attention.subs({nu: -nu, B: 1 / B}, simultaneous=True)
"""1 - alpha: the same weight with the two kinds of segment exchanged, so never a subtraction."""
