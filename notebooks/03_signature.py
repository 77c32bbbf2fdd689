# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. The signature of a paradigm
#
# Hold the focus and watch the classifier learn. For a focus weight $\alpha$ that stays as it is,
# the curve of the loss over time, and how it depends on $\alpha$, tell the paradigms apart: this is
# their signature. For $\alpha$ in {0.2, 0.4, 0.6, 0.8, 1}, as in the paper.
#
# Expected time: half a minute.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"
PARADIGMS = {"soft": "Soft attention", "hard": "Hard attention", "lvml": "LVML"}
if QUICK:
    del PARADIGMS["hard"]
M, CLASSES = 10, 10
setting = af.Setting(M, CLASSES)
# full focus is approached: alpha = 1 would need an infinite score
held = np.array([0.2, 0.4, 0.6, 0.8, 1 - 1e-12])
times = np.geomspace(1e-3, 1e7, 81 if QUICK else 801)


def score(alpha):
    """The focus score nu that gives this focus weight."""
    return jnp.log(alpha) - jnp.log1p(-alpha) + np.log(M - 1.0)


# %% [markdown]
# `freeze="focus"` holds the focus at its start. An array of starts is a sweep: one call computes
# the five curves of a paradigm. And `solve` is differentiable in everything, the start included, so
# the derivative in $\alpha$ at a fixed time is one call of `jax.jvp` away, which gives curves and
# derivatives together.


# %%
def curves(name):
    """Margin and loss at all times, for each focus weight that is held."""

    def held_at(weights):
        found = af.solve(name, setting, times, (0.0, score(weights)), freeze="focus")
        return found.mu, found.loss

    return held_at


def both(name, weights):
    """The curves and their derivatives in the focus weight."""
    return jax.jvp(curves(name), (weights,), (jnp.ones_like(weights),))


margins, losses, slopes = {}, {}, {}
with jax.enable_x64(True):
    for name in PARADIGMS:
        (mu, loss), (_, slope) = jax.jit(both, static_argnums=0)(name, jnp.asarray(held))
        margins[name], losses[name], slopes[name] = (np.asarray(v) for v in (mu, loss, slope))

# %%
figure, axes = plt.subplots(
    2, len(PARADIGMS), figsize=(9, 5), sharex=True, sharey="row", layout="constrained"
)
shades = plt.colormaps["viridis"](np.linspace(0.1, 0.9, len(held)))
for column, (name, title) in enumerate(PARADIGMS.items()):
    for weight, shade, loss, slope in zip(held, shades, losses[name], slopes[name], strict=True):
        axes[0, column].semilogx(times, loss, color=shade, label=rf"$\alpha$ = {weight:.1f}")
        axes[1, column].semilogx(times, slope, color=shade)
    axes[0, column].set_title(title)
    axes[1, column].set_xlabel("time $t$")
    axes[1, column].set_xlim(1, 1e6)
axes[0, 0].set_ylabel("loss $L$")
axes[1, 0].set_ylabel(r"$\partial L/\partial \alpha$")
axes[0, 0].legend(frameon=False, fontsize=8)
for ax in axes.flat:
    ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# - **Early** the three are alike: the loss falls like $(C-1)\,\alpha^2 t/C^2$, so a better focus is
#   worth the same to each of them.
# - **Late** they part. Soft attention's loss goes to zero for every focus, and the curves of
#   different focus fall together: nothing is left to be gained by looking better. That is why its
#   focus splutters. Hard attention's loss stays at $(1-\alpha)\log C$: the derivative is
#   $-\log C$, the same for every focus. LVML's stays at $-\log(\alpha + (1-\alpha)/C)$: the
#   derivative is $-(C-1)/(1+(C-1)\alpha)$, largest where the focus is poor.
#
# In between soft attention's derivative is the largest of all when the focus is poor: its margin
# grows slowest there.
#
# ## Formulas
#
# With the focus held the margin is known explicitly: by the Wright $\omega$ function for soft and
# hard attention, and by a hyperbolic Kepler equation for LVML (derivation 6). `derive` holds these
# formulas; they agree with the curves drawn.

# %%
formulas = {name: af.derive(name).frozen_focus.solution for name in PARADIGMS}
formulas["soft"]

# %%
from attnflow.symbols import C, alpha, mu, mu0, t, tau  # noqa: E402

place = int(np.searchsorted(times, 200.0))
now = sp.Rational(float(times[place]))
point = {C: CLASSES, alpha: sp.Rational(float(held[2])), mu0: 0, tau: 1, t: now}
exact, exact_slopes = {}, {}
for name, formula in formulas.items():
    exact[name] = float(sp.N(formula.subs(point), 30))
    loss = af.derive(name).paradigm.expanded.subs(mu, formula)
    exact_slopes[name] = float(sp.N(sp.diff(loss, alpha).subs(point), 30))
    print(f"{name:5} margin by formula {exact[name]:.14f}, by solve {margins[name][2, place]:.14f}")

# %% [markdown]
# ## What was claimed

# %%
for name in PARADIGMS:
    assert abs(margins[name][2, place] / exact[name] - 1) < 1e-12
    assert abs(slopes[name][2, place] / exact_slopes[name] - 1) < 1e-9
    assert np.all(np.diff(losses[name], axis=1) < 0), "the loss falls"
    assert np.all(slopes[name] < 0), "a better focus always lowers the loss"
    early = (np.log(CLASSES) - losses[name][:, 0]) / times[0]
    assert np.allclose(early, (CLASSES - 1) * held**2 / CLASSES**2, rtol=1e-3)

floor = {
    "soft": 0 * held,
    "hard": (1 - held) * np.log(CLASSES),
    "lvml": -np.log(held + (1 - held) / CLASSES),
}
late = {
    "soft": 0 * held,
    "hard": 0 * held - np.log(CLASSES),
    "lvml": -(CLASSES - 1) / (1 + (CLASSES - 1) * held),
}
for name in PARADIGMS:
    assert np.allclose(losses[name][:, -1], floor[name], atol=1e-4)
    assert np.allclose(slopes[name][:, -1], late[name], atol=1e-3)
middle = np.argmin(slopes["soft"][0])
assert 0 < middle < len(times) - 1
smallest = [slopes[name].min() for name in ("soft", "lvml", "hard") if name in slopes]
assert np.all(np.diff(smallest) > 0), "what focus is worth at most: soft, then LVML, then hard"
