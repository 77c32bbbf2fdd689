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
# # 6. Differentiate through the closed form
#
# `solve` is a JAX function: it can be jitted, differentiated and vmapped, in the numbers of the
# setting too. So an unknown setting can be fitted to a measured trajectory, and thousands of
# settings run in one call.
#
# Expected time: one minute.

# %%
import os
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import attnflow as af

QUICK = os.environ.get("ATTNFLOW_QUICK") == "1"

# %% [markdown]
# ## A measured trajectory
#
# Gradient descent on the full matrices of a soft attention model, with a focus model that learns
# three times as fast as the classifier. Only the loss and the focus weight are recorded, with some
# noise, as in an experiment.

# %%
truth = af.Setting(segments=12, classes=6, focus_rate=3.0)
rate = 0.05
times = np.linspace(0.0, 200.0, 51)
run = af.descend("soft", truth, times, learning_rate=rate)
random = np.random.default_rng(0)
measured_loss = np.asarray(run.loss) + 0.004 * random.standard_normal(times.size)
measured_alpha = np.asarray(run.alpha) + 0.004 * random.standard_normal(times.size)

# %% [markdown]
# ## Fitted
#
# Unknown are $m$, $C$ and the relative rate of the focus. Inside a transformation they may be any
# real numbers; their logarithms (of $m - 1$ and $C - 1$) are fitted, so that they stay in range.
# The gradient comes from the implicit function theorem: no solver is differentiated step by step.


# %%
def curve(parameters, times):
    """The trajectory of the setting that the parameters stand for."""
    background, others, speed = jnp.exp(parameters)
    return af.solve("soft", af.Setting(background + 1, others + 1, focus_rate=speed), times)


def misfit(parameters):
    """Mean square of what is left, in units of the noise; and the focus weight."""
    found = curve(parameters, times)
    left = jnp.stack([found.loss - measured_loss, found.alpha - measured_alpha])
    return jnp.mean((left / 0.004) ** 2), found.alpha


with jax.enable_x64(True):
    steps = 1000
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps))

    @jax.jit
    def step(parameters, state):
        """One step of Adam."""
        (value, alpha), slope = jax.value_and_grad(misfit, has_aux=True)(parameters)
        update, state = optimiser.update(slope, state)
        return optax.apply_updates(parameters, update), state, value, alpha

    parameters = jnp.log(jnp.array([5.0, 9.0, 1.0]))  # m = 6, C = 10, equal rates
    state, values, curves = optimiser.init(parameters), [], []
    for _ in range(steps):
        parameters, state, value, alpha = step(parameters, state)
        values.append(float(value))
        curves.append(np.asarray(alpha))
    background, others, speed = np.exp(np.asarray(parameters))

fitted = {"m": background + 1, "C": others + 1, "focus rate": speed}
for (name, value), true in zip(fitted.items(), (12, 6, 3), strict=True):
    print(f"{name:10} fitted {value:7.3f}   true {true}")
print(f"misfit {values[0]:.0f} -> {values[-1]:.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
axes[0].plot(times, measured_alpha, ".", color="grey", label="measured")
axes[0].plot(times, curves[0], "--", color="#D55E00", label="first guess")
axes[0].plot(times, curves[-1], color="#0072B2", label="fitted")
axes[0].set_xlabel(r"time $t$ = step $\times$ learning rate")
axes[0].set_ylabel(r"focus weight $\alpha$")
axes[0].legend(frameon=False)
axes[1].semilogy(values, color="black")
axes[1].set_xlabel("step of Adam")
axes[1].set_ylabel("misfit")
for ax in axes:
    ax.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The misfit ends near 1: what is left is the noise.
#
# ## Thousands of settings in one call
#
# `jax.vmap` maps the same function over settings. Here the focus weight of LVML and its derivative
# in $\log t$, at $t = m C$, for a grid of settings.

# %%
side = 16 if QUICK else 64
many_m = np.geomspace(3, 1e4, side)
many_C = np.geomspace(3, 1e4, side)
grid = [v.ravel() for v in np.meshgrid(many_m, many_C)]


def focus(segments, classes, log_time):
    """The focus weight of LVML at a time given in units of m C."""
    times = segments * classes * jnp.exp(log_time)
    return af.solve("lvml", af.Setting(segments, classes), times).alpha


with jax.enable_x64(True):
    both = jax.jit(jax.vmap(jax.value_and_grad(focus, argnums=2), in_axes=(0, 0, None)))
    args = jnp.asarray(grid[0]), jnp.asarray(grid[1]), 0.0
    alpha, growth = (np.asarray(v) for v in jax.block_until_ready(both(*args)))
    started = time.perf_counter()
    jax.block_until_ready(both(*args))
    elapsed = time.perf_counter() - started
print(f"{alpha.size} settings with derivatives in {elapsed:.3f} s")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for ax, values_, title in (
    (axes[0], alpha, r"$\alpha$ at $t = m C$"),
    (axes[1], growth, r"$d\alpha/d\log t$ at $t = m C$"),
):
    image = ax.pcolormesh(many_m, many_C, values_.reshape(side, side), shading="gouraud")
    ax.set(xscale="log", yscale="log", xlabel="segments $m$", ylabel="classes $C$", title=title)
    figure.colorbar(image, ax=ax)
plt.show()

# %% [markdown]
# ## What was claimed

# %%
assert abs(fitted["m"] / 12 - 1) < 0.02
assert abs(fitted["C"] / 6 - 1) < 0.02
assert abs(fitted["focus rate"] / 3 - 1) < 0.05
assert values[0] > 100 and 0.7 < values[-1] < 1.4
assert np.max(np.abs(curves[-1] - np.asarray(run.alpha))) < 0.006
assert np.all((alpha > 0) & (alpha < 1)) and np.all(growth > 0)
# the derivatives by a difference quotient
with jax.enable_x64(True):
    low, high = (np.asarray(both(*args[:2], shift)[0]) for shift in (-1e-5, 1e-5))
assert np.max(np.abs((high - low) / 2e-5 - growth)) < 1e-5
if not QUICK:  # a few settings by themselves, from plain Python
    for m, classes in ((3, 3), (100, 1000), (10_000, 20)):
        with jax.enable_x64(True):
            value = float(jax.jit(focus)(float(m), float(classes), 0.0))
        alone = af.solve("lvml", af.Setting(m, classes), 1.0 * m * classes).alpha
        assert abs(value - float(alone)) < 1e-10
