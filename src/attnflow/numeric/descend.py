"""Plain gradient descent on the full parameter matrices: the witness that assumes no symmetry.

The classifier is a matrix W (C x d), the focus a vector w (d); an input is m segments, k of them
the foreground vector of its class. The loss is the exact mean over the C classes, its gradient
comes from automatic differentiation, and (mu, nu) are read off the matrices afterwards. Nothing
here knows the flow, its closed form, or that two numbers are enough.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.pooling import margin, pooled_loss
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.steps import check_momentum, stable_rates
from attnflow.numeric.trajectory import Trajectory, lowered_loss
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check_count, check_number, nonnegative, positive
from attnflow.symbolic.paradigm import Paradigm, nearest

OPTIMIZERS = ("sgd", "adam")

ADAM = (0.9, 0.999, 1e-8)
"""Adam's two memories and what keeps its quotient finite, as everywhere."""

LARGEST_MOVE = 1.0
"""A step that moves mu or nu further (a factor e in the odds) no longer follows the flow."""


def descend(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Float[ArrayLike, "..."],
    initial: Any = (0.0, 0.0),
    freeze: str | None = None,
    *,
    learning_rate: float = 0.1,
    perturbation: float = 0.0,
    seed: int = 0,
    max_steps: int = 10_000_000,
    momentum: float = 0.0,
    nesterov: bool = False,
    optimizer: str = "sgd",
) -> Trajectory:
    """Train W and w by full-batch gradient descent; report mu, nu and distance from symmetry.

    Every step subtracts ``learning_rate`` times the gradient (times the setting's classifier_rate
    for W, focus_rate for w), so t = step x learning_rate/(1 - momentum); weight decay is part of
    the gradient. Times, and the switches of a schedule, are rounded to the nearest whole step; the
    result's ``times`` are those of the steps taken. The difference from the gradient flow is of
    first order in ``learning_rate``, from ``simulate(..., learning_rate=, momentum=)`` of second.
    Adam's steps have a length of about ``learning_rate`` in every entry whatever the gradient, and
    are on no scale of the flow.

    What attention pools is what the paradigm ``averages``, as in real networks; one given by its
    loss alone uses it at the weight and the mean margin of the true segments.
    Memory and time of a step grow as m C (C + background directions).

    Args:
        paradigm: name, Paradigm or Schedule.
        setting: the Setting, concrete numbers (arrays are done one after the other).
        times: finite and at least 0, any shape and order.
        initial: (mu0, nu0), from -300 to 300: the start is W = (mu0/r)(I - 11'/C) and w the
            shortest with score nu0.
        freeze: None, "focus" (w held) or "classifier" (W held).
        learning_rate: step size, above 0.
        perturbation: distance of the start from the ansatz, in a random direction orthogonal to it.
        seed: of that direction.
        max_steps: most steps allowed.
        momentum: p, from 0 to below 1: the sum of the gradients, forgotten by a factor p each step.
        nesterov: whether the momentum is Nesterov's.
        optimizer: "sgd", or "adam" (its usual two memories and 1e-8; no momentum beside them).

    Returns:
        A Trajectory with method "descent", shape (*batch, *times); ``distance`` is the Frobenius
        distance of (W, w) from the symmetric ansatz.

    Raises:
        SettingError, ParadigmError: an argument is not what is allowed, or is a tracer.
        IntegrationFailed: the learning rate is too large: the loss rose or was not finite, or one
            step moved mu or nu by more than LARGEST_MOVE. (The data are separable, so too long a
            step need not raise the loss.)

    Example:
        >>> descend("soft", Setting(20, 20), [100.0, 700.0], learning_rate=0.05, momentum=0.9).mu

    Source: the full problem of Vashisht and Ramaswamy (2023), section 3.
    """
    problem = normalise(paradigm, setting, times, initial, freeze)
    if traced(problem, learning_rate, perturbation):
        raise SettingError(
            "descend needs concrete numbers (m and C are shapes of its matrices), got a tracer"
        )
    rate = check_number("learning_rate", learning_rate, "a finite number above 0", positive)
    least = "a finite number of at least 0"
    perturbation = check_number("perturbation", perturbation, least, nonnegative)
    check_count("seed", seed, 0)
    max_steps = check_count("max_steps", max_steps)
    momentum = check_momentum(momentum, nesterov)
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise SettingError(
            f"unknown optimizer {optimizer!r}{nearest(str(optimizer), [*OPTIMIZERS])}"
        )
    if optimizer == "adam" and momentum:
        raise SettingError(f"adam has memories of its own, got momentum = {momentum} with it")
    update = (optimizer, momentum, bool(nesterov))
    step = rate / (1 - momentum)
    steps = np.rint(problem.times / step)
    most = np.max(steps, initial=0.0)
    if most > max_steps:
        raise SettingError(
            f"time {np.max(problem.times):g} takes {most:g} steps at learning_rate {rate:g}, "
            f"more than max_steps = {max_steps}: raise one of the two, or use simulate"
        )
    switches = np.minimum(np.rint(problem.ends / step), max_steps + 1.0)
    # one scan over all steps asked, ascending; each is reached from the one before
    unique, where = np.unique(steps.ravel(), return_inverse=True)
    results = []
    for single in problem.singles():
        measured, bad = _descend(single, rate, perturbation, seed, unique, switches, update)
        if bad >= 0 or not np.all(np.isfinite(measured)):
            index = int(bad) if bad >= 0 else int(most)
            before = np.flatnonzero(unique < index)
            place = measured[before[-1]] if before.size else (single.mu0, single.nu0)
            _fail(single, rate, index, update, place)
        results.append(measured[where])
    mu, nu, distance = np.moveaxis(
        np.stack(results).reshape(*problem.batch_shape, *np.shape(steps), 3), -1, 0
    )
    taken: Any = np.broadcast_to(steps, problem.shape)
    return _handed_out(
        Trajectory(
            times=taken * step,
            mu=mu,
            nu=nu,
            setting=problem.setting,
            stage=np.sum(taken[..., None] >= switches[:-1], axis=-1),
            distance=distance,
            paradigms=problem.paradigms,
            method="descent",
        )
    )


def _inputs(setting: Setting) -> np.ndarray:
    """One input of every class, shape (C, m, d): k foreground segments, then the background."""
    numbers = setting.numbers()
    m, k, classes = (int(numbers[name]) for name in ("segments", "foreground_segments", "classes"))
    directions = _background_directions(setting)
    inputs = np.zeros((classes, m, classes + directions))
    inputs[np.arange(classes), :k, np.arange(classes)] = setting.foreground_norm
    for segment in range(k, m if directions else k):
        inputs[:, segment, classes + (segment - k) % directions] = setting.background_norm
    return inputs


def _background_directions(setting: Setting) -> int:
    if setting.background_norm == 0:
        return 0
    numbers = setting.numbers()
    shared = setting.background == "shared"
    return 1 if shared else int(numbers["segments"]) - int(numbers["foreground_segments"])


def _ansatz(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The matrices (C, d) with mu = 1 and the vector (d,) with nu = 1 that span the ansatz.

    The vector is the direction in which a symmetric gradient pulls: up on each foreground vector,
    down on the background, which all C classes share.
    """
    numbers = setting.numbers()
    classes, directions = int(numbers["classes"]), _background_directions(setting)
    true, other = float(numbers["foreground_norm"]), float(numbers["background_norm"])
    centred = np.eye(classes) - 1 / classes
    matrix = np.pad(centred / true, ((0, 0), (0, directions)))
    pull = np.full(classes + directions, true)
    if directions:
        pull[classes:] = -classes * other / directions
    score = true * pull[0] - other * pull[-1] * bool(directions)
    return matrix, pull / score


def _start(problem: Problem, perturbation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """W and w at the start: on the ansatz, or at the given distance from it."""
    matrix, pull = _ansatz(problem.setting)
    W, w = problem.mu0 * matrix, problem.nu0 * pull
    if perturbation:
        random = np.random.default_rng(int(seed))
        dW, dw = random.standard_normal(W.shape), random.standard_normal(w.shape)
        dW -= matrix * np.sum(dW * matrix) / np.sum(matrix**2)
        dw -= pull * np.sum(dw * pull) / np.sum(pull**2)
        size = perturbation / np.sqrt(np.sum(dW**2) + np.sum(dw**2))
        W, w = W + size * dW, w + size * dw
    return W, w


@float64
def _descend(
    problem: Problem,
    rate: float,
    perturbation: float,
    seed: int,
    steps: np.ndarray,
    switches: np.ndarray,
    update: tuple[str, float, bool],
) -> tuple[Any, Any]:
    setting, numbers = problem.setting, problem.setting.numbers()
    start = _start(problem, perturbation, seed)
    rates = (rate * numbers["classifier_rate"], rate * numbers["focus_rate"])
    return _run(
        *jax.tree.map(
            lambda a: jnp.asarray(a, jnp.float64),
            (start, rates, _inputs(setting), _ansatz(setting)),
        ),
        jnp.asarray(steps, jnp.int64),
        jnp.asarray(switches[:-1], jnp.int64),
        jnp.asarray(setting.decay, jnp.float64) if setting.decays else None,
        foreground=int(numbers["foreground_segments"]),
        paradigms=problem.paradigms,
        freeze=problem.freeze,
        update=update,
    )


@partial(jax.jit, static_argnames=("foreground", "paradigms", "freeze", "update"))
def _run(
    start: Any,
    rates: Any,
    inputs: Any,
    ansatz: Any,
    steps: Any,
    switches: Any,
    decay: Any,
    *,
    foreground: int,
    paradigms: tuple[Paradigm, ...],
    freeze: str | None,
    update: tuple[str, float, bool],
) -> tuple[Any, Any]:
    """Rows (mu, nu, distance) at the ascending steps, and the first step gone wrong or -1."""
    optimizer, momentum, _ = update
    moves = (rates[0] * float(freeze != "classifier"), rates[1] * float(freeze != "focus"))
    slopes = [
        jax.value_and_grad(partial(_penalised, p, decay, inputs=inputs, foreground=foreground))
        for p in paradigms
    ]
    begin, direction = _optimizer(update)

    def step(index: Any, carry: Any) -> Any:
        weights, memory, before, bad = carry
        stage = jnp.sum(index >= switches)
        loss, slope = jax.lax.switch(stage, slopes, weights)
        rose = loss > before + 1e-9 * jnp.abs(before)
        if optimizer == "adam":
            rose = False  # steps of one length go up and down at a minimum
        elif momentum:
            # what rolls goes up as well, but from rest never above its start
            rose = rose & ~jnp.any(index >= switches)
            loss = jnp.where(index == 0, loss, before)
        else:
            # a switch changes the loss itself: only a rise within one paradigm is a failure
            rose = rose & ~jnp.any(index == switches)
        wrong = rose | ~jnp.isfinite(loss)
        downhill, memory = direction(slope, memory)
        change = jax.tree.map(lambda d, move: -move * d, downhill, moves)
        far = jnp.any(jnp.abs(_measure(change, ansatz)[:2]) > LARGEST_MOVE)
        bad = jnp.where((bad < 0) & (wrong | far), index, bad)
        return jax.tree.map(jnp.add, weights, change), memory, loss, bad

    def record(carry: Any, target: Any) -> Any:
        done, *state = carry
        state = jax.lax.fori_loop(done, target, step, tuple(state))
        return (target, *state), _measure(state[0], ansatz)

    first = (start, begin(start), jnp.asarray(jnp.inf), -jnp.ones((), jnp.int64))
    last, measured = jax.lax.scan(record, (jnp.zeros((), jnp.int64), *first), steps)
    return measured, last[-1]


def _optimizer(update: tuple[str, float, bool]) -> tuple[Any, Any]:
    """Its memory at the start, and (gradient, memory) -> what a learning rate multiplies, memory.

    The setting's two rates scale the step, not the gradient, as parameter groups do.
    """
    name, momentum, nesterov = update
    if name == "adam":
        return lambda start: (0.0, *(jax.tree.map(jnp.zeros_like, start) for _ in range(2))), _adam

    def direction(slope: Any, memory: Any) -> tuple[Any, Any]:
        rolling = jax.tree.map(lambda g, v: momentum * v + g, slope, memory)
        if nesterov:
            return jax.tree.map(lambda g, v: g + momentum * v, slope, rolling), rolling
        return rolling, rolling

    return partial(jax.tree.map, jnp.zeros_like), direction


def _adam(slope: Any, memory: Any) -> tuple[Any, Any]:
    """Adam's direction (Kingma and Ba, 2015): running mean over root of running mean square."""
    count, first, second = memory
    count = count + 1.0
    first = jax.tree.map(lambda m, g: ADAM[0] * m + (1 - ADAM[0]) * g, first, slope)
    second = jax.tree.map(lambda v, g: ADAM[1] * v + (1 - ADAM[1]) * g * g, second, slope)
    shares = [1 - decay**count for decay in ADAM[:2]]
    direction = jax.tree.map(
        lambda m, v: m / shares[0] / (jnp.sqrt(v / shares[1]) + ADAM[2]), first, second
    )
    return direction, (count, first, second)


def _penalised(paradigm: Paradigm, decay: Any, weights: tuple[Any, Any], **of: Any) -> Any:
    """The population loss, with weight decay where there is some."""
    loss = population_loss(paradigm, weights, **of)
    return loss if decay is None else loss + decay / 2 * sum(jnp.sum(w * w) for w in weights)


def population_loss(
    paradigm: Paradigm, weights: tuple[Any, Any], *, inputs: Any, foreground: int
) -> Any:
    """Mean loss over one input of each class.

    Args:
        paradigm: decides what attention pools.
        weights: W (C, d) and w (d,).
        inputs: (C, m, d), the input of class y at place y.
        foreground: k; the first k segments of each input are the true ones.
    """
    W, w = weights
    logits, scores = inputs @ W.T, inputs @ w
    labels, log_weights = jnp.arange(inputs.shape[0]), jax.nn.log_softmax(scores)
    if paradigm.averages is not None:
        return jnp.mean(pooled_loss(paradigm, log_weights, logits, labels))
    each = jnp.exp(log_weights)
    alpha, rest = (jnp.sum(part, axis=-1) for part in (each[:, :foreground], each[:, foreground:]))
    mu = jnp.mean(margin(logits[:, :foreground], labels[:, None]), axis=-1)
    return jnp.mean(lowered_loss(paradigm)(alpha, rest, mu, float(logits.shape[-1])))


def _measure(weights: tuple[Any, Any], ansatz: tuple[Any, Any]) -> Any:
    """Coordinates mu and nu of the nearest point of the ansatz, and the distance from it."""
    sizes = [
        jnp.sum(a * unit) / jnp.sum(unit * unit) for a, unit in zip(weights, ansatz, strict=True)
    ]
    away = [a - size * unit for a, size, unit in zip(weights, sizes, ansatz, strict=True)]
    return jnp.stack([*sizes, jnp.sqrt(sum(jnp.sum(a * a) for a in away))])


def _fail(
    problem: Problem, rate: float, index: int, update: tuple[str, float, bool], place: Any
) -> None:
    """Raise; ``place`` is the last (mu, nu) known before it broke."""
    setting, (_, momentum, nesterov) = problem.setting, update
    time = index * rate / (1 - momentum)
    stage = np.sum(time >= problem.ends[:-1])
    at, mu, nu = (np.asarray(v, np.float64) for v in (time, *place[:2]))
    state = Trajectory(at, mu, nu, setting, np.asarray(stage), paradigms=problem.paradigms)
    stable = float(stable_rates(state, momentum, nesterov, problem.freeze))
    raise IntegrationFailed(
        f"descent of {problem.name} with segments={setting.segments:g}, "
        f"classes={setting.classes:g} broke at step {index} (t = {time:.6g}): the loss "
        f"rose or was not finite, or mu or nu moved by more than {LARGEST_MOVE:g}, so "
        f"learning_rate {rate:g} is too large; try {rate / 10:g}"
        + (f" (before it broke, up to {stable:.3g} was stable)" if stable < rate else "")
    )


@float64
def _handed_out(trajectory: Trajectory) -> Trajectory:
    """The arrays as JAX or NumPy float64, as the other routes return them."""
    arrays = {
        name: jnp.asarray(getattr(trajectory, name))
        for name in ("times", "mu", "nu", "stage", "distance")
    }
    return replace(trajectory, **arrays)
