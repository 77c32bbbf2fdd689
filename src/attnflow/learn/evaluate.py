"""What trained networks do: the four rates by three rules, and the joint histogram of both parts.

Rules: ``argmax`` asks the classifier about the segment of largest weight, ``mixture`` adds the
segments' class probabilities by weight, ``pooled`` asks about the weighted input. Focus counts as
true where the largest weight is on the true segment. Base items are scored once; only ``pooled``
composes inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.errors import SettingError
from attnflow.learn import losses, parallel
from attnflow.learn.config import Lane
from attnflow.learn.engine import Engine, build
from attnflow.learn.folder import RunFolder, digest
from attnflow.learn.networks import Pair, find_pair
from attnflow.learn.scoring import in_pieces, looked_up, modules_of, score_base
from attnflow.learn.tasks.task import Mosaics, Task
from attnflow.learn.train import Trained, task_of

RULES = ("argmax", "mixture", "pooled")
BINS = 5
POOLED_AT_ONCE = 64


def load(
    path: Any,
    *,
    best: bool = False,
    task: Task | None = None,
    networks: Pair | None = None,
    devices: int | None = None,
) -> Trained:
    """A run from its folder, at its newest or best checkpoint.

    Args:
        path: the folder.
        best: the best checkpoint in place of the newest.
        task: the task, if it was one's own.
        networks: the maker of networks, if it was one's own.
        devices: how many share the work; None for all.

    Raises:
        SettingError: there is no run, or none with a checkpoint.
        MissingPart, DataError: data or checkpoint are missing or damaged.
    """
    folder = RunFolder(path)
    run = folder.config()
    pair = networks or find_pair(run.networks or "linear")
    made = task if task is not None else task_of(run)
    engine = build(made, run, pair, parallel.devices(devices))
    found = folder.restore(engine.start(pair), best=best)
    folder.close()
    if found is None:
        raise SettingError(f"{str(path)!r} holds no checkpoint yet: resume its training first")
    state, _, epoch = found
    state = engine.devices.put(state)
    rows = [row for row in folder.metrics() if row["epoch"] <= epoch]
    return Trained(engine, state, rows, folder)


def one_run(trained: Trained, lane: int = 0) -> Any:
    """The weights of one of the runs trained at once.

    Raises:
        SettingError: there is no run of that number.
    """
    count = len(trained.engine.run.lanes)
    if not 0 <= lane < count:
        raise SettingError(f"run must be a whole number from 0 to {count - 1}, got {lane}")
    return jax.tree.map(lambda leaf: leaf[lane], trained.state["weights"])


def evaluate(trained: Trained, lane: int = 0) -> dict[str, Any]:
    """Every rate of one run as plain values, rates in percent.

    Returns:
        {"task", "paradigm", "epochs", "weights": SHA-256 of all parameters in a fixed order,
        "sets": {"train"|"heldout"|"test": {"argmax"|"mixture"|"pooled": {"ftpt", "ffpt", "ftpf",
        "ffpf", "accuracy"}, "focus_true"}}}; ft: focus true, pt: prediction true.

    Raises:
        SettingError: there is no run of that number, or the true segments are not known.
    """
    engine, weights = trained.engine, one_run(trained, lane)
    predictions = _compiled(engine, "predict", _predict)
    sets = {}
    for name, inputs in engine.inputs.items():
        if np.any(np.asarray(inputs.true) < 0):
            raise SettingError(f"the true segments of set {name!r} are not known")
        found = predictions(weights, lane_of(engine, lane), engine.base, inputs)
        sets[name] = _rates(jax.tree.map(np.asarray, found), inputs)
    return {
        "task": engine.task.name,
        "paradigm": engine.run.paradigm,
        "epochs": trained.rows[-1]["epoch"] if trained.rows else 0,
        "weights": digest(weights),
        "sets": sets,
    }


def _compiled(engine: Engine, key: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if key not in engine.compiled:
        engine.compiled[key] = engine.devices.compile(partial(function, engine))
    return engine.compiled[key]


def lane_of(engine: Engine, lane: int) -> Lane:
    """One of the runs trained at once, as compiled functions take it."""
    found = engine.run.lanes[lane]
    held = None if found.focus is None else np.float32(found.focus)
    return engine.devices.put(Lane(np.uint32(found.seed), np.float32(found.rate), held))


def _predict(
    engine: Engine, weights: Any, lane: Lane, base: Any, inputs: Mosaics
) -> dict[str, Any]:
    """Chosen segment and, by each rule, predicted class of every input."""
    scores, logits = score_base(engine, weights, base)
    log_weights, _, _ = looked_up(engine, scores, logits, inputs, lane)
    chosen = jnp.argmax(log_weights, axis=1)
    rows = jnp.arange(len(inputs))
    picked = inputs.segments[rows, chosen]

    def mixed(row: tuple[Any, Any]) -> Any:
        weight, items = row
        return jax.nn.logsumexp(weight[:, None] + jax.nn.log_softmax(logits)[items], axis=0)

    mixture = jax.lax.map(mixed, (log_weights, inputs.segments), batch_size=1024)
    return {
        "focus": chosen,
        "argmax": jnp.argmax(logits, axis=1)[picked],
        "mixture": jnp.argmax(mixture, axis=1),
        "pooled": _pooled(engine, weights, base, inputs, log_weights),
    }


def _pooled(engine: Engine, weights: Any, base: Any, inputs: Mosaics, log_weights: Any) -> Any:
    kind = jnp.dtype(engine.run.dtype)

    def some(rows: Any, weights: Any, base: Any, inputs: Mosaics, log_weights: Any) -> Any:
        _, classifier = modules_of(engine, jax.tree.map(lambda w: w.astype(kind), weights))
        segments = engine.task.gather(base, inputs.segments[rows]).astype(kind)
        return jnp.argmax(classifier(losses.weighted_input(log_weights[rows], segments)), axis=1)

    shared = weights, base, inputs, log_weights
    return in_pieces(engine, some, POOLED_AT_ONCE, len(inputs), *shared)


def _rates(found: dict[str, np.ndarray], inputs: Mosaics) -> dict[str, Any]:
    focus = found["focus"] == np.asarray(inputs.true)
    rates: dict[str, Any] = {}
    for rule in RULES:
        right = found[rule] == np.asarray(inputs.labels)
        parts = {
            "ftpt": focus & right,
            "ffpt": ~focus & right,
            "ftpf": focus & ~right,
            "ffpf": ~focus & ~right,
            "accuracy": right,
        }
        rates[rule] = {name: _percent(part) for name, part in parts.items()}
    return {**rates, "focus_true": _percent(focus)}


def _percent(part: np.ndarray) -> float:
    return 100 * int(np.count_nonzero(part)) / part.size


def signature(trained: Trained, name: str, lane: int = 0) -> np.ndarray:
    """Joint histogram of focus weight and class probability on the true segment.

    Args:
        trained: the run.
        name: "train", "heldout" or "test".
        lane: which of the runs trained at once.

    Returns:
        Share of inputs, [5, 5]: rows by focus weight, columns by probability of the class, each
        in fifths of [0, 1], ascending.

    Raises:
        SettingError: there is no such set or run.
    """
    engine, weights = trained.engine, one_run(trained, lane)
    if name not in engine.inputs:
        raise SettingError(f"set must be one of {', '.join(engine.inputs)}, got {name!r}")
    inputs = engine.inputs[name]
    function = _compiled(engine, "signature", _on_true)
    alpha, beta = function(weights, lane_of(engine, lane), engine.base, inputs)
    edges = np.linspace(0, 1, BINS + 1)
    counts, _, _ = np.histogram2d(
        np.clip(np.asarray(alpha, np.float64), 0, 1),
        np.clip(np.asarray(beta, np.float64), 0, 1),
        bins=(edges, edges),
    )
    return counts / len(inputs)


def _on_true(
    engine: Engine, weights: Any, lane: Lane, base: Any, inputs: Mosaics
) -> tuple[Any, Any]:
    scores, logits = score_base(engine, weights, base)
    log_weights, each, _ = looked_up(engine, scores, logits, inputs, lane)
    rows = jnp.arange(len(inputs))
    return jnp.exp(log_weights[rows, inputs.true]), jnp.exp(each[rows, inputs.true])
