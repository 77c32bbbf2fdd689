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
# # 1. Quickstart
#
# How does an attention model learn where to look? In the simplest setting, $m$ segments of which
# one carries the class, and $C$ classes, its training reduces to two numbers: the classifier's
# margin $\mu$ and the focus score $\nu$. This notebook takes one setting from beginning to end:
# solve, simulate, compare, export.
#
# Expected time: one minute, most of it compilation.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"  # smaller sizes, for the tests

# %% [markdown]
# ## A setting, solved
#
# Three ways to train attention are built in: `soft` (the classifier sees the weighted input),
# `hard` (the expected loss of a sampled segment) and `lvml` (the marginal likelihood, the focus
# being the prior over segments). `solve` gives their trajectories in closed form. Time is
# continuous, $t$ = step $\times$ learning rate.

# %%
setting = af.Setting(segments=20, classes=20)
times = np.linspace(0.0, 1000.0, 51)
curve = af.solve("lvml", setting, times)
for t, alpha, beta, loss in zip(times, curve.alpha, curve.beta, curve.loss, strict=True):
    if t % 200 == 0:
        print(f"t = {t:5.0f}   focus {alpha:.4f}   class probability {beta:.4f}   loss {loss:.4f}")

# %% [markdown]
# The focus weight $\alpha$ starts at $1/m$, the probability $\beta$ of the true class at $1/C$ and
# the loss at $\log C$. For a long time little happens; near $t \approx m C = 400$ the focus sets
# in.
#
# ## Simulated
#
# `simulate` integrates the same flow numerically, with a method that shares nothing with the
# closed form. They agree to about the tolerance of the integration.

# %%
check = af.simulate("lvml", setting, times)
apart = np.max(np.abs(curve.mu - check.mu)), np.max(np.abs(curve.nu - check.nu))
print(f"largest difference: {apart[0]:.1e} in the margin, {apart[1]:.1e} in the focus score")

# %% [markdown]
# ## Compared
#
# `compare` puts several paradigms and methods side by side in one labelled dataset, which the
# figures are drawn from: lines are closed forms, markers simulations.

# %%
compared = ["lvml"] if QUICK else ["soft", "hard", "lvml"]
dataset = af.compare(compared, setting, points=51 if QUICK else 401)
dataset

# %%
from attnflow.plots.figures import draw  # noqa: E402

figure, panels = plt.subplots(2, 2, figsize=(8.5, 6.0), layout="constrained")
for ax, name in zip(panels.flat, ("mu", "nu", "alpha", "loss"), strict=True):
    draw(dataset, name, ax=ax)
plt.show()

# %% [markdown]
# How long does each paradigm take until the focus weight is 0.9? LVML is the fastest; soft
# attention, ahead of hard attention at first, is the slowest.

# %%
reached = {name: af.time_to_focus(name, setting, 0.9) for name in ("soft", "hard", "lvml")}
for name, t in reached.items():
    print(f"{name:5} t = {t:.4f}")

# %% [markdown]
# ## Exported
#
# Every formula behind these numbers was derived from the paradigm's loss and checked. `derive`
# holds them, `export` writes them out (LaTeX, PDF, Markdown, Python or JSON).

# %%
found = af.derive("lvml")
found.solution.argument

# %%
from attnflow.export.document import export  # noqa: E402

folder = Path(tempfile.mkdtemp())
export(["lvml"], "latex", folder / "lvml.tex")
latex = (folder / "lvml.tex").read_text()
print(latex[latex.index(r"\section{LVML") :][:700])

# %% [markdown]
# ## What was claimed

# %%
assert np.isclose(curve.alpha[0], 1 / 20) and np.isclose(curve.beta[0], 1 / 20)
assert np.isclose(curve.loss[0], np.log(20))
assert curve.alpha[times == 200] < 0.1 < 0.5 < curve.alpha[times == 600]
assert max(apart) < 1e-8
closed, simulated = (dataset["mu"].sel({"method": m}) for m in ("closed form", "simulation"))
assert float(abs(closed - simulated).max()) < 1e-8
assert reached["lvml"] < reached["hard"] < reached["soft"]
around = np.searchsorted(times, reached["lvml"])
assert curve.alpha[around - 1] < 0.9 < curve.alpha[around]
assert r"\begin{document}" in latex and r"\omega" in latex
