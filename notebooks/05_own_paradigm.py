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
# # 5. Your own paradigm
#
# A paradigm is one sympy loss of the focus weight `alpha`, the margin `mu` (or the probability
# `beta` that follows from it) and the number of classes `C`. Flow, first integral, closed form,
# figures and LaTeX follow from it. Here: a family between hard attention and LVML, a loss with the
# orbit of soft attention, and one that has no closed form.
#
# Expected time: one to two minutes, most of it compilation.

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import attnflow as af
from attnflow.errors import NoFirstIntegral
from attnflow.symbols import C, alpha, beta, mu

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"
setting = af.Setting(20, 20)
times = np.linspace(0.0, 1000.0, 51 if QUICK else 401)

# %% [markdown]
# ## The power mean, swept from hard attention to LVML
#
# Hard attention averages $\log \beta$ over the segments, LVML averages $\beta$. The power mean with
# exponent $s$ averages $\beta^s$; it is LVML for $s = 1$ and hard attention in the limit $s = 0$.
# `averaging` makes the loss from what is averaged:

# %%
half = af.averaging("half", sp.sqrt(beta), title="Average of square roots")
half.loss

# %%
af.derive(half).first_integral.slope

# %%
exponents = ["0", "1/2", "1"] if QUICK else ["0", "1/8", "1/4", "1/2", "3/4", "1"]
family = {s: af.power_mean(s) for s in exponents}
family |= {"0": "hard", "1": "lvml"}  # the ends are built in
curves = {s: af.solve(p, setting, times) for s, p in family.items()}
reached = [af.time_to_focus(p, setting, 0.5) for p in family.values()]

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0.05, 0.9, len(family)))
for (s, curve), shade in zip(curves.items(), shades, strict=True):
    axes[0].plot(times, curve.alpha, color=shade, label=f"$s = {s}$")
axes[0].set_xlabel("time $t$")
axes[0].set_ylabel(r"focus weight $\alpha$")
axes[0].legend(frameon=False, fontsize=8)
axes[1].plot([float(sp.Rational(s)) for s in family], reached, "ko-")
axes[1].set_xlabel("exponent $s$")
axes[1].set_ylabel(r"time to $\alpha = 0.5$")
for ax in axes:
    ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The larger $s$, the earlier the onset. Late it is the other way round: with $\nu - \log t$
# going to a constant for every member, the constant falls with $s$ (derivation 12), so hard
# attention overtakes them all in the end.
#
# ## The same orbit at another pace
#
# Whatever function of $\alpha \mu$ a loss is, its orbit in the plane of $\mu$ and $\nu$ is that of
# soft attention: this is the theorem of derivation 3. The square of soft attention's loss pays
# more attention to large losses; it runs along the same curve at another pace.

# %%
square = af.Paradigm("square", sp.log(1 + (C - 1) * sp.exp(-alpha * mu)) ** 2, "Squared loss")
squared = af.solve(square, setting, times)
soft = af.solve("soft", setting, times)
along = np.interp(squared.mu, soft.mu, soft.nu)

# %% [markdown]
# ## A loss without a first integral
#
# Half soft, half hard attention is not a function of one averaged quantity: the variables of its
# orbit do not separate. `derive` says so, `solve` refuses, `simulate` works all the same.

# %%
mixture = af.Paradigm(
    "mixture", (af.derive("soft").loss + af.derive("hard").loss) / 2, "Half soft, half hard"
)
print("first integral:", af.derive(mixture).first_integral)
try:
    af.solve(mixture, setting, times)
    refused = ""
except NoFirstIntegral as refusal:
    refused = str(refusal)
print(refused)
mixed = af.simulate(mixture, setting, times)

# %%
hard = curves["0"]
figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
ax.plot(soft.mu, soft.nu, color="#0072B2", label="Soft attention")
some = slice(None, None, 1 if QUICK else 8)
ax.plot(
    squared.mu[some], squared.nu[some], "o", ms=4, mfc="none", color="#0072B2", label="Its square"
)
ax.plot(hard.mu, hard.nu, color="#D55E00", label="Hard attention")
ax.plot(mixed.mu, mixed.nu, "--", color="black", label="Half soft, half hard")
ax.set_xlabel(r"margin $\mu$")
ax.set_ylabel(r"focus score $\nu$")
ax.set_xlim(0, 6)
ax.set_ylim(0, 6.5)
ax.legend(frameon=False)
ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The mixture's orbit runs between the two, and neither first integral is constant along it.


# %%
def spread(name: str) -> float:
    """How far a paradigm's conserved quantity moves along the mixture's orbit."""
    as_if = replace(mixed, paradigms=(af.derive(name).paradigm,))
    return float(np.ptp(as_if.first_integral))


for name in ("soft", "hard"):
    print(f"{name}'s conserved quantity moves by {spread(name):.2f} along the mixture's orbit")

# %% [markdown]
# ## What was claimed

# %%
point = {C: 5, beta: sp.Rational(1, 3), alpha: sp.Rational(2, 5)}
assert abs(sp.N((half.loss - af.power_mean("1/2").loss).subs(point), 30)) < 1e-25
assert np.all(np.diff(reached) < 0), "the larger s, the earlier the onset"
far = {
    s: af.solve(p, setting, np.linspace(0.0, 1e9, 51 if QUICK else 401)) for s, p in family.items()
}
assert np.all(np.diff([curve.nu[-1] for curve in far.values()]) < 0), "late it is the other way"
gap = far["0"].nu[-1] - far["1"].nu[-1]
assert abs(gap - np.log(20 * np.log(20) / 19)) < 1e-6
inside = squared.mu < soft.mu[-1]
assert np.max(np.abs(along - squared.nu)[inside]) < (2e-2 if QUICK else 1e-3)  # interpolated
drift = soft.first_integral, squared.first_integral
assert max(np.ptp(d) for d in drift) < 1e-11
assert af.derive(mixture).first_integral is None and "mixture" in refused
between = mixed.mu[(mixed.mu > 1) & (mixed.mu < 5)]
low, middle, high = (np.interp(between, c.mu, c.nu) for c in (soft, mixed, hard))
assert np.all((np.minimum(low, high) < middle) & (middle < np.maximum(low, high)))
assert min(spread("soft"), spread("hard")) > 0.1
