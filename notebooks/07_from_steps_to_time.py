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
# # 7. From steps to time
#
# Theory speaks of time, training of steps. With learning rate $\eta$ and momentum $p$, time
# $\eta/(1 - p)$ passes in a step; what the steps follow then differs from gradient flow in first
# order of that. Derivation 13 finds the flow that they follow to second order.
#
# Expected time: one minute.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"
COLOURS = {"soft": "#0072B2", "hard": "#D55E00", "lvml": "#009E73"}
setting = af.Setting(6, 6) if QUICK else af.Setting(20, 20)
end = 100.0 if QUICK else 700.0
momentum = 0.9

# %% [markdown]
# ## The error of the flow, and what is left of it
#
# Descent on the full matrices is the witness. The flow errs in proportion to the learning rate, the
# corrected flow in proportion to its square.

# %%
rates = [0.2, 0.1, 0.05]


def furthest(one: af.Trajectory, other: af.Trajectory) -> float:
    """The largest distance in mu and nu."""
    return float(max(np.max(np.abs(one.mu - other.mu)), np.max(np.abs(one.nu - other.nu))))


errors = {}
for rate in rates:
    how = {"learning_rate": rate, "momentum": momentum}
    steps = af.descend("soft", setting, np.linspace(0.0, end, 50), **how)
    flow = af.solve("soft", setting, steps.times)
    corrected = af.simulate("soft", setting, steps.times, **how)
    errors[rate] = furthest(flow, steps), furthest(corrected, steps)

for rate, (plain, better) in errors.items():
    print(f"learning rate {rate:4}: flow {plain:.1e}, corrected {better:.1e}")

figure, axis = plt.subplots(figsize=(4.2, 3.2), layout="constrained")
axis.loglog(rates, [errors[r][0] for r in rates], "o-", label="flow")
axis.loglog(rates, [errors[r][1] for r in rates], "s-", label="corrected flow")
axis.set(xlabel="learning rate", ylabel="largest error in $\\mu$ and $\\nu$")
axis.legend()
plt.show()

# %%
order = np.log2(errors[0.1][1] / errors[0.05][1])
assert errors[0.05][1] < 0.01 * errors[0.05][0]
assert 1.5 < order < 2.2

# %% [markdown]
# ## How large steps may be
#
# Steps are stable up to $2 (1 + p)/\lambda$, $\lambda$ the largest curvature of the full loss. Its
# least along a trajectory lies at the onset of the focus; later it grows like time.

# %%
times = np.linspace(0.0, 400.0, 101)
small = af.Setting(6, 6)
figure, axis = plt.subplots(figsize=(4.2, 3.2), layout="constrained")
least = {}
for name, colour in COLOURS.items():
    stable = af.max_learning_rate(name, small, times)
    least[name] = times[np.argmin(stable)], np.min(stable)
    axis.plot(times, stable, color=colour, label=name)
axis.set(xlabel="time", ylabel="largest stable learning rate", ylim=(0, 300))
axis.legend()
plt.show()
least

# %%
assert all(50 < time < 90 and 50 < rate < 65 for time, rate in least.values())

# %% [markdown]
# ## Adam
#
# Adam divides each entry of the gradient by its size. As long as no entry vanishes its steps are
# those of sign descent, and these are the same for every paradigm: $\mu = 2 t$, $\nu = t$
# (derivation 16). The losses that take very different times to focus under gradient descent are
# within some per cent of each other.

# %%
adam_times = np.linspace(0.0, 4.0, 41)
figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), layout="constrained", sharey=True)
reached = {}
for name, colour in COLOURS.items():
    run = af.descend(name, setting, adam_times, learning_rate=2e-3, optimizer="adam")
    flow = af.solve(name, setting, np.linspace(0.0, end, 200))
    axes[0].plot(flow.times, flow.alpha, color=colour, label=name)
    axes[1].plot(run.times, run.alpha, color=colour, label=name)
    reached[name] = float(np.interp(0.5, run.alpha, run.times))
    assert abs(run.mu[1] - 0.2) < 0.02 and abs(run.nu[1] - 0.1) < 0.02
axes[0].set(xlabel="time", ylabel="focus weight", title="gradient flow")
axes[1].set(xlabel="step x learning rate", title="Adam")
axes[0].legend()
plt.show()
reached

# %% [markdown]
# ## Normalised gradient flow
#
# Divided by the norm of the whole gradient, the flow keeps its orbit and its first integral. Only
# the clock changes: it is the length of the way, one quadrature.

# %%
way = af.normalised_flow("lvml", setting, np.linspace(0.0, 20.0, 81))
float(way.alpha[-1])

# %% [markdown]
# ## What was claimed

# %%
flow_errors, corrected_errors = np.array([errors[rate] for rate in rates]).T
assert np.all(np.diff(flow_errors) < 0) and np.all(np.diff(corrected_errors) < 0)
assert np.all(corrected_errors < 0.01 * flow_errors)
assert max(reached.values()) < 1.15 * min(reached.values())
assert np.all(np.diff(way.alpha) > 0)
assert np.ptp(way.first_integral) < 1e-10
