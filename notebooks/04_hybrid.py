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
# # 4. The hybrid: when to switch
#
# Vashisht and Ramaswamy train with soft attention first and go over to hard attention: soft
# attention's focus sets in earlier, hard attention's goes further. When is the best moment? For a
# focus weight that is to be reached, `best_switch` finds the switch that reaches it soonest, by the
# condition of derivation 10.
#
# Expected time: one minute.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"
COLOURS = {"soft": "#0072B2", "hard": "#D55E00", "lvml": "#009E73"}
setting = af.Setting(20, 20)


def weight(switch: af.Schedule, segments: int) -> float:
    """The focus weight at a switch."""
    return float(1 / (1 + (segments - 1) * np.exp(-switch.nu)))


# %% [markdown]
# ## The switch against the target
#
# For $m = C = 20$, from soft or LVML to hard attention.

# %%
targets = np.array(
    [0.5, 0.9, 0.99] if QUICK else [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999]
)
switches = {
    first: [af.best_switch(setting, target, first, "hard") for target in targets]
    for first in ("soft", "lvml")
}

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
place = -np.log10(1 - targets)
for first, found in switches.items():
    label = f"{first}, then hard"
    axes[0].plot(place, [s.switch_time for s in found], "o-", color=COLOURS[first], label=label)
    axes[1].semilogy(place, [s.total_time for s in found], "o-", color=COLOURS[first], label=label)
    alone = [s.alternatives[first] for s in found]
    axes[1].semilogy(place, alone, "--", color=COLOURS[first], label=f"{first} alone")
alone = [s.alternatives["hard"] for s in switches["soft"]]
axes[1].semilogy(place, alone, "--", color=COLOURS["hard"], label="hard alone")
axes[0].set_ylabel("best time of the switch")
axes[1].set_ylabel("time to the target")
axes[1].set_ylim(300, 1e4)
for ax in axes:
    ax.set_xticks(place[:: 1 if QUICK else 2], [f"{v:g}" for v in targets[:: 1 if QUICK else 2]])
    ax.set_xlabel(r"target focus weight $\alpha$")
    ax.legend(frameon=False, fontsize=8)
    ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The switch hardly depends on the target: whatever is to be reached, it is best to leave soft
# attention near $t = 590$ and LVML near $t = 395$, right after the onset. (For a target of 0.5 soft
# attention alone is best, there is no switch.) What is gained grows with the target: soft attention
# would take thousands of times as long for 0.99.
#
# Starting with LVML rather than soft attention saves a quarter of the time to 0.9.

# %%
for first in switches:
    best = switches[first][list(targets).index(0.9)]
    print(
        f"{first:5} then hard: switch at {best.switch_time:.1f} (focus {weight(best, 20):.2f}), "
        f"0.9 at {best.total_time:.1f}; alone "
        + ", ".join(f"{name} {t:.1f}" for name, t in best.alternatives.items())
    )

# %% [markdown]
# ## More than one switch
#
# `best_schedule` tries all orders, and Pontryagin's principle tells whether yet another part would
# help. A short piece of soft attention between LVML and hard attention saves a little more.

# %%
if QUICK:
    schedule = af.best_schedule(setting, 0.9, order=("lvml", "soft", "hard"))
else:
    schedule = af.best_schedule(setting, 0.9)
print(schedule.schedule)
print(f"0.9 at {schedule.time:.2f}")

# %% [markdown]
# ## How it scales with $m$ and $C$
#
# In units of $m C$ the best switch time settles when $m$ or $C$ is large.

# %%
counts = np.array([20, 320] if QUICK else [5, 10, 20, 40, 80, 160, 320, 640, 1280])
scaled = {
    (first, axis): np.array(
        [
            af.best_switch(
                af.Setting(n, 20) if axis == "m" else af.Setting(20, n), 0.9, first, "hard"
            ).switch_time
            / (20 * n)
            for n in counts
        ]
    )
    for first in ("soft", "lvml")
    for axis in ("m", "C")
}
figure, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
for (first, axis), values in scaled.items():
    label = f"{first}, {'$m$ varied, $C = 20$' if axis == 'm' else '$C$ varied, $m = 20$'}"
    ax.semilogx(counts, values, "o-" if axis == "m" else "s--", color=COLOURS[first], label=label)
ax.set_xlabel("$m$ or $C$")
ax.set_ylabel(r"switch time / $(m C)$")
ax.set_ylim(0, None)
ax.legend(frameon=False, fontsize=8)
ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## What was claimed

# %%
nine = list(targets).index(0.9)
soft, lvml = (switches[first][nine] for first in ("soft", "lvml"))
assert switches["soft"][0].switch_time == np.inf, "0.5 is reached soonest without a switch"
for first, near, spread in (("soft", 590, 15), ("lvml", 395, 6)):
    for target, found in zip(targets, switches[first], strict=True):
        assert not np.isfinite(found.switch_time) or abs(found.switch_time - near) < spread
        assert found.total_time <= min(found.alternatives.values()) * (1 + 1e-12)
        reached = af.time_to_focus(found.schedule, setting, target)
        assert abs(reached / found.total_time - 1) < 1e-9
assert abs(soft.total_time - 677.80) < 0.01 and abs(lvml.total_time - 513.27) < 0.01
assert 0.7 < lvml.total_time / soft.total_time < 0.8
last = switches["soft"][list(targets).index(0.99)]
assert last.alternatives["soft"] > 1000 * last.total_time
assert abs(schedule.time - 508.89) < 0.01 and schedule.time < lvml.total_time
assert schedule.schedule.names == ("lvml", "soft", "hard")
# a neighbouring switch is worse, on either side
for shift in (-5.0, 5.0):
    moved = af.Schedule([("lvml", lvml.switch_time + shift), ("hard", None)])
    assert af.time_to_focus(moved, setting, 0.9) > lvml.total_time
for values in scaled.values():
    tail = values[counts >= 320]
    assert np.ptp(tail) <= 0.04 * tail[-1], "settles in units of m C"
