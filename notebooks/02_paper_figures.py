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
# # 2. The analytic figures of the paper
#
# Vashisht and Ramaswamy ([arXiv 2307.13421](https://arxiv.org/abs/2307.13421)) show $\mu(t)$ and
# $\nu(t)$ of the three paradigms for $(m, C) = (20, 20)$ until $t = 10^3$ and for $(100, 1000)$
# until $t = 4 \cdot 10^5$. Their script integrates the flow by explicit Euler steps of 0.01: 4
# times $10^7$ of them for the second setting. Here both figures come from the closed form,
# in seconds.
#
# Expected time: half a minute, most of it compilation.

# %%
import os
import time

import matplotlib.pyplot as plt
import numpy as np

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"
PARADIGMS = {"soft": "Soft attention", "hard": "Hard attention", "lvml": "LVML"}
COLOURS = {"soft": "#0072B2", "hard": "#D55E00", "lvml": "#009E73"}

# %%
cases = {"20, 20": (af.Setting(20, 20), 1e3), "100, 1000": (af.Setting(100, 1000), 4e5)}
curves, started = {}, time.perf_counter()
for label, (setting, horizon) in cases.items():
    times = np.linspace(0.0, horizon, 51 if QUICK else 4001)
    curves[label] = {name: af.solve(name, setting, times) for name in PARADIGMS}
elapsed = time.perf_counter() - started
print(f"six trajectories in {elapsed:.2f} s, compilation included")

started = time.perf_counter()
for setting, horizon in cases.values():
    times = np.linspace(0.0, horizon, 51 if QUICK else 4001)
    for name in PARADIGMS:
        af.solve(name, setting, times)
again = time.perf_counter() - started
print(f"once more: {1e3 * again:.0f} ms")


# %%
def draw(label: str) -> None:
    """mu and nu over time, side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for name, title in PARADIGMS.items():
        curve = curves[label][name]
        axes[0].plot(curve.times, curve.mu, color=COLOURS[name], label=title)
        axes[1].plot(curve.times, curve.nu, color=COLOURS[name])
    axes[0].set_ylabel(r"margin $\mu$")
    axes[1].set_ylabel(r"focus score $\nu$")
    for ax in axes:
        ax.set_xlabel(r"time $t$ = step $\times$ learning rate")
        ax.set_xlim(0, float(curve.times[-1]))
        ax.set_ylim(0, None)
        ax.grid(alpha=0.3)
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    figure.suptitle(rf"$(m, C) = ({label})$")
    axes[0].legend(frameon=False)
    plt.show()


draw("20, 20")

# %%
draw("100, 1000")

# %% [markdown]
# What the figures show: **LVML's focus sets in first**; soft attention's next, but it *splutters*:
# its focus score soon grows ever more slowly, while that of hard attention, late to set in, goes on
# growing like $\log t$ and crosses it.
#
# Why: once the classifier is nearly right, soft attention's gradient on the focus is proportional
# to the small probability of an error, and the margin makes up for what the focus lacks. Far out
# $\nu \approx \log t$ for hard attention and LVML, but only $2 \log \log t$ for soft attention
# (derivation 9). The closed form goes as far as one likes:

# %%
far = np.geomspace(1e2, 1e12, 51 if QUICK else 1001)
setting = af.Setting(20, 20)
late = {name: af.solve(name, setting, far) for name in PARADIGMS}
figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
for name, title in PARADIGMS.items():
    ax.semilogx(far, late[name].nu, color=COLOURS[name], label=title)
ax.set_xlabel(r"time $t$")
ax.set_ylabel(r"focus score $\nu$")
ax.grid(alpha=0.3)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What Euler steps make of it
#
# The published scheme on the first setting, as a plain loop, until $t = 600$. Its error is
# proportional to the step, as that of Euler's method must be; the limit is the closed form.


# %%
def euler(dt: float, until: float, m: int = 20, classes: int = 20) -> tuple[float, float]:
    """Mu and nu of soft attention by explicit Euler steps from zero."""
    mu = nu = 0.0
    for _ in range(round(until / dt)):
        alpha = 1 / (1 + (m - 1) * np.exp(-nu))
        down = np.exp(alpha * mu) + classes - 1
        mu, nu = (
            mu + dt * alpha / down,
            nu + dt * alpha * (1 - alpha) * (classes - 1) * mu / (classes * down),
        )
    return mu, nu


until = 600.0
exact = af.solve("soft", setting, np.linspace(0.0, until, 51))
steps = (0.4, 0.2, 0.1) if QUICK else (0.04, 0.02, 0.01)
errors = [abs(euler(dt, until)[1] - float(exact.nu[-1])) for dt in steps]
for dt, error in zip(steps, errors, strict=True):
    print(f"dt = {dt:<5} error of nu {error:.2e}")

# %% [markdown]
# ## What was claimed

# %%
assert elapsed < 300 and again < 5, "seconds, not hours"
for label, (_, horizon) in cases.items():
    soft, hard, lvml = (curves[label][name] for name in PARADIGMS)
    onset = [af.time_to_focus(name, cases[label][0], 0.5) for name in ("lvml", "soft", "hard")]
    assert onset[0] < onset[1] < onset[2] < horizon
    assert lvml.nu[-1] > soft.nu[-1] and hard.nu[-1] > soft.nu[-1]
soft, hard, lvml = (late[name] for name in PARADIGMS)
growth = {n: float(np.diff(c.nu[-2:])[0] / np.diff(np.log(far[-2:]))[0]) for n, c in late.items()}
assert abs(growth["hard"] - 1) < 0.01 and abs(growth["lvml"] - 1) < 0.01
assert growth["soft"] < 0.1
assert soft.nu[-1] < 10 < 25 < hard.nu[-1]
ratios = [a / b for a, b in zip(errors, errors[1:], strict=False)]
assert all(abs(ratio - 2) < 0.1 for ratio in ratios), "Euler's error halves with the step"
