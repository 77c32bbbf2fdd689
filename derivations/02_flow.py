"""The flow in the plane.

Gradient flow in the metric of the ansatz: `mu` moves with minus `L_mu/(C - 1)`, `nu` with minus
`L_nu/C`. Time is `t` = step x learning rate. The focus weight is a softmax weight of the score
`nu`, so that its derivative is `alpha (1 - alpha)`. For one foreground segment of norm 1, equal
learning rates and a zero background, `rho = tau = 1`; what they are in general is told among the
generalisations.
"""

import sympy as sp
from _common import Derivation, by_probability, named, velocities
from _model import models, softmax_over

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.flow import derive_flow, metric
from attnflow.symbols import (
    C,
    L,
    alpha,
    attention,
    beta,
    mu,
    mu_dot,
    nu,
    nu_dot,
    probability,
    rho,
    t,
    tau,
)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(2, "The flow", __doc__)
    told.prove(
        "softmax-slope",
        "Derivative of the focus weight",
        sp.Derivative(alpha, nu, evaluate=False),
        alpha * (1 - alpha),
        "A softmax weight by its own score.",
        (sp.diff(attention, nu), attention * (1 - attention)),
    )
    told.prove(
        "probability-slope",
        "Derivative of the class probability",
        sp.Derivative(beta, mu, evaluate=False),
        beta * (1 - beta),
        "The same for the classifier.",
        (sp.diff(probability, mu), probability * (1 - probability)),
    )

    a, b = sp.symbols("a b", real=True)
    general = {}
    for paradigm, pool in models():
        # From the full loss of one input: the margin's velocity is C/(C - 1) times that of a
        # diagonal entry of W, and an entry of w is pulled by the inputs of its class only.
        loss = pool((alpha, 1 - alpha), ((a, b), (0, 0)), softmax_over(C))
        entry = -tau * sp.diff(loss, a).subs({a: mu, b: 0}) / C
        pull = -tau * rho * sp.diff(loss.subs({a: mu, b: 0}), alpha) * alpha * (1 - alpha) / C
        flow = derive_flow(paradigm)
        general[paradigm.name] = flow
        printed = by_probability(paradigm) or (factored(flow.mu_dot), factored(flow.nu_dot))
        told.prove(
            f"margin-{paradigm.name}",
            f"{paradigm.title}: margin",
            mu_dot,
            printed[0],
            "Minus `L_mu/(C - 1)`, and what a diagonal entry of `W` says by the full loss.",
            (entry * C / (C - 1), flow.mu_dot),
            (velocities(paradigm.expanded)[0], flow.mu_dot),
            (printed[0].subs(beta, probability), flow.mu_dot),
        )
        told.prove(
            f"focus-{paradigm.name}",
            f"{paradigm.title}: focus score",
            nu_dot,
            printed[1],
            "Minus `alpha (1 - alpha) L_alpha/C`, and what an entry of `w` says by the full loss.",
            (pull, flow.nu_dot),
            (velocities(paradigm.expanded)[1], flow.nu_dot),
            (printed[1].subs(beta, probability), flow.nu_dot),
        )

    # What the flow descends, and how fast.
    some = sp.Function("L")(alpha, mu)
    speed, turn = velocities(some)
    squares = metric[0] * mu_dot**2 + metric[1] * nu_dot**2 / rho
    told.prove(
        "descent",
        "Descent",
        sp.Derivative(L, t, evaluate=False),
        -squares / tau,
        "Along the flow of any loss the loss falls, by the squared speed in the metric.",
        (
            sp.diff(some, mu) * speed + sp.diff(some, alpha) * alpha * (1 - alpha) * turn,
            (-squares / tau).subs({mu_dot: speed, nu_dot: turn}),
        ),
    )
    # One segment to attend to: all paradigms are the same classifier.
    alone = tau / (sp.exp(mu) + C - 1)
    told.prove(
        "full-focus",
        "Full focus",
        mu_dot,
        alone,
        "At `alpha = 1`, as for `m = 1`, all paradigms train the classifier alike.",
        *((flow.mu_dot.subs(alpha, 1), alone) for flow in general.values()),
    )
    told.prove(
        "full-focus-time",
        "Time at full focus",
        tau * t,
        sp.exp(mu) + (C - 1) * mu - 1,
        "Its integral from `mu = 0`: `m = 1` is solved by this equation alone.",
        (sp.diff(sp.exp(mu) + (C - 1) * mu - 1, mu), tau / alone),
        ((sp.exp(mu) + (C - 1) * mu - 1).subs(mu, 0), sp.S.Zero),
    )
    # The three pulls at the zero start are equal: the paradigms begin alike.
    first = (C - 1) * tau * rho * alpha * (1 - alpha) / C**2
    told.prove(
        "first-pull",
        "The first pull on the focus",
        sp.Derivative(nu_dot, mu, evaluate=False),
        first,
        "At `mu = 0` the focus rests under every paradigm, and `mu` starts to pull it with this "
        "common strength.",
        *((sp.diff(f.nu_dot, mu).subs(mu, 0), first) for f in general.values()),
        *((f.nu_dot.subs(mu, 0), sp.S.Zero) for f in general.values()),
    )
    pulls = {name: -sp.diff(flow.nu_dot, alpha).subs(alpha, 1) for name, flow in general.items()}
    told.say(
        """Near full focus the pulls differ, and this decides how the focus closes: with `beta` for
        the class probability, soft attention is pulled by the margin `mu` times the small
        probability of an error, the others are not."""
    )
    chance = 1 - beta
    for name, claim in (
        ("soft", rho * tau * mu * chance / C),
        ("hard", rho * tau * sp.log(C * beta) / C),
        ("lvml", rho * tau * (1 - 1 / (C * beta)) / C),
    ):
        told.prove(
            f"last-pull-{name}",
            f"The last pull on the focus: {name}",
            named(nu_dot, name) / (1 - alpha),
            claim,
            "The velocity divided by `1 - alpha`, as `alpha` goes to 1.",
            (pulls[name], claim),
        )
    return told


if __name__ == "__main__":
    main().finish()
