"""What trained networks do: the four rates by three rules, and the joint histogram of both parts.

Rules: ``argmax`` asks the classifier about the segment of largest weight, ``mixture`` adds the
segments' class probabilities by weight, ``pooled`` asks about the weighted input. Focus counts as
true where the largest weight is on the true segment, or on one of several. Base items are scored
once; only ``pooled`` composes inputs, and all rules do where an encoder reads whole inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.errors import SettingError
from attnflow.train import losses
from attnflow.train.checkpoints import digest
from attnflow.train.config import Replica
from attnflow.train.engine import Engine
from attnflow.train.known_truth import any_known, class_on_true, weight_on_true
from attnflow.train.length_buckets import Bucket
from attnflow.train.loop import KIND
from attnflow.train.networks.named import Pair
from attnflow.train.outputs import compose, in_buckets, read, table_of, working
from attnflow.train.running import load_run, with_maker
from attnflow.train.tasks.task import Mosaics, Task
from attnflow.train.trained import Trained

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
    kind = with_maker(KIND, task=task, networks=networks, opening=True)
    return load_run(kind, path, best=best, devices=devices)


def one_run(trained: Trained, replica: int = 0) -> Any:
    """The weights of one of the runs trained at once.

    Raises:
        SettingError: there is no run of that number.
    """
    count = len(trained.engine.run.replicas)
    if not 0 <= replica < count:
        raise SettingError(f"run must be a whole number from 0 to {count - 1}, got {replica}")
    return jax.tree.map(lambda leaf: leaf[replica], trained.state["weights"])


def evaluate(trained: Trained, replica: int = 0, *, count_unknown: bool = False) -> dict[str, Any]:
    """Every rate of one run as plain values, rates in percent.

    Args:
        trained: the run.
        replica: which of the runs trained at once.
        count_unknown: count inputs of unknown truth as focus false, as the paper's code does with
            posts; else what is of the focus leaves them out.

    Returns:
        {"task", "paradigm", "epochs", "weights": SHA-256 of all parameters in a fixed order,
        "meanings": what the sets hold, by their names, where the task says so,
        "sets": {"train"|"heldout"|"test": {"argmax"|"mixture"|"pooled": {"ftpt", "ffpt", "ftpf",
        "ffpf", "accuracy"}, "focus_true"}}}; ft: focus true, pt: prediction true. Where several
        segments may be true, or the truth of some inputs is not known, the rates but accuracy are
        of the inputs of known truth (or, as asked, of all), and there are also "macro_f1" by each
        rule, in percent, and of the set "auprc" (mean over the inputs of known truth of the
        average precision of the weights, as a ranking of the segments by truth) and "with_truth"
        (how many these are; where none, what is of the focus is None).

    Raises:
        SettingError: there is no run of that number.
    """
    engine, weights = trained.engine, one_run(trained, replica)
    sets = {}
    for name in engine.inputs:
        found = predict(trained, name, replica)
        part = engine.task.sets[name]
        if part.truth is None:
            sets[name] = _rates(found, part)
        else:
            sets[name] = _rates_of_several(found, part, count_unknown)
    return {
        "task": engine.task.name,
        "paradigm": engine.run.paradigm,
        "epochs": int(trained.state["step"][replica]) // engine.steps,
        "weights": digest(weights),
        "meanings": dict(engine.task.meanings),
        "sets": sets,
    }


def predict(trained: Trained, name: str, replica: int = 0) -> dict[str, np.ndarray]:
    """What one run says of a set.

    Returns:
        "focus": place of the largest weight [N]; "argmax", "mixture", "pooled": class by each rule
        [N]; where several segments may be true also "weights" of all segments [N, m].

    Raises:
        SettingError: there is no such set or run.
    """
    engine, weights = trained.engine, one_run(trained, replica)
    _check_set(engine, name)
    found = _compiled(engine, "predict", _predict, name)(
        weights, replica_of(engine, replica), engine.base, engine.inputs[name]
    )
    return jax.tree.map(np.asarray, found)


def _check_set(engine: Engine, name: str) -> None:
    if name not in engine.inputs:
        raise SettingError(f"set must be one of {', '.join(engine.inputs)}, got {name!r}")


def _compiled(
    engine: Engine, key: str, function: Callable[..., Any], name: str
) -> Callable[..., Any]:
    """The function for a set; sets of one bucket, of equal size and length, share one."""
    groups = engine.groups[name]
    alike = (groups[0].length, len(groups[0].members)) if len(groups) == 1 else name
    key = f"{key} {alike}"
    if key not in engine.compiled:
        engine.compiled[key] = engine.devices.compile(partial(function, engine, groups))
    return engine.compiled[key]


def replica_of(engine: Engine, replica: int) -> Replica:
    """One of the runs trained at once, as compiled functions take it."""
    found = engine.run.replicas[replica]
    held = None if found.focus is None else np.float32(found.focus)
    return engine.devices.put(Replica(np.uint32(found.seed), None, held))


def _predict(
    engine: Engine,
    groups: tuple[Bucket, ...],
    weights: Any,
    replica: Replica,
    base: Any,
    inputs: Mosaics,
) -> dict[str, Any]:
    """Chosen segment and, by each rule, predicted class of every input."""
    table = table_of(engine, weights, base)
    out = read(engine, weights, base, inputs, replica, table, groups)
    chosen = jnp.argmax(out.log_weights, axis=1)
    rows = jnp.arange(len(inputs))
    found = {
        "focus": chosen,
        "argmax": out.best_at(rows, chosen),
        "mixture": jnp.argmax(out.mixture, axis=1),
        "pooled": _pooled(engine, groups, weights, base, inputs, out.log_weights),
    }
    return found if inputs.truth is None else {**found, "weights": jnp.exp(out.log_weights)}


def _pooled(
    engine: Engine,
    groups: tuple[Bucket, ...],
    weights: Any,
    base: Any,
    inputs: Mosaics,
    log_weights: Any,
) -> Any:
    def some(
        rows: Any, length: int, weights: Any, base: Any, inputs: Mosaics, log_weights: Any
    ) -> Any:
        networks = working(engine, weights)
        segments = compose(engine, networks, base, inputs.at(rows, length))
        pooled = losses.weighted_input(log_weights[rows][:, :length], segments)
        return jnp.argmax(networks.classifier(pooled), axis=1)

    return in_buckets(engine, some, POOLED_AT_ONCE, groups, weights, base, inputs, log_weights)


def _rates(found: dict[str, np.ndarray], inputs: Mosaics) -> dict[str, Any]:
    focus = found["focus"] == np.asarray(inputs.true)
    rates: dict[str, Any] = {}
    for rule in RULES:
        right = found[rule] == np.asarray(inputs.labels)
        rates[rule] = {**_four(focus, right), "accuracy": _percent(right)}
    return {**rates, "focus_true": _percent(focus)}


def _four(focus: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    """The four rates."""
    parts = {
        "ftpt": focus & right,
        "ffpt": ~focus & right,
        "ftpf": focus & ~right,
        "ffpf": ~focus & ~right,
    }
    return {name: _percent(part) for name, part in parts.items()}


def _rates_of_several(
    found: dict[str, np.ndarray], inputs: Mosaics, count_unknown: bool
) -> dict[str, Any]:
    """The rates where several segments may be true, and truth is known of some inputs only."""
    from sklearn.metrics import f1_score

    truth, labels = np.asarray(inputs.truth), np.asarray(inputs.labels)
    known = truth.any(axis=1)
    counted = known | count_unknown
    focus = truth[np.arange(len(truth)), found["focus"]][counted]
    rates: dict[str, Any] = {}
    for rule in RULES:
        right = found[rule] == labels
        rates[rule] = {
            **_four(focus, right[counted]),
            "accuracy": _percent(right),
            "macro_f1": 100 * float(f1_score(labels, found[rule], average="macro")),
        }
    told = np.any(known)
    return {
        **rates,
        "focus_true": _percent(focus),
        "auprc": average_precision(found["weights"][known], inputs.at(known)) if told else None,
        "with_truth": int(np.count_nonzero(known)),
    }


def average_precision(weights: np.ndarray, inputs: Mosaics) -> float:
    """Area under precision against recall of the weights as a ranking of segments by truth.

    Of each input, which must have a true segment, the mean over its true segments of the precision
    among all segments of no less weight; then the mean over the inputs.
    """
    truth = np.asarray(inputs.truth)
    if inputs.mask is not None:
        weights = np.where(np.asarray(inputs.mask), weights, -1.0)  # padding comes last
    order = np.argsort(-weights, axis=1, kind="stable")
    weights, truth = (np.take_along_axis(values, order, axis=1) for values in (weights, truth))
    count = truth.shape[1]
    precision = np.cumsum(truth, axis=1) / np.arange(1, count + 1)
    # equal weights are one step of the ranking: all take the precision at its end
    ends = np.where(weights[:, :-1] != weights[:, 1:], np.arange(count - 1), count - 1)
    ends = np.pad(ends, ((0, 0), (0, 1)), constant_values=count - 1)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    at_end = np.take_along_axis(precision, ends, axis=1)
    return float(np.mean(np.sum(at_end, axis=1, where=truth) / np.sum(truth, axis=1)))


def _percent(part: np.ndarray) -> float | None:
    """The share of True; None of nothing."""
    return 100 * int(np.count_nonzero(part)) / part.size if part.size else None


def signature(trained: Trained, name: str, replica: int = 0) -> np.ndarray:
    """Joint histogram of focus weight and class probability on the true segments.

    Args:
        trained: the run.
        name: "train", "heldout" or "test".
        replica: which of the runs trained at once.

    Returns:
        Share of the inputs of known truth, [5, 5]: rows by focus weight, columns by probability of
        the class, each in fifths of [0, 1], ascending.

    Raises:
        SettingError: there is no such set or run, or no true segment is known.
    """
    engine, weights = trained.engine, one_run(trained, replica)
    _check_set(engine, name)
    if not any_known(engine.task.sets[name]):
        raise SettingError(f"a signature needs true segments, and of set {name!r} none is known")
    inputs = engine.inputs[name]
    function = _compiled(engine, "signature", _on_true, name)
    alpha, beta = function(weights, replica_of(engine, replica), engine.base, inputs)
    truth = engine.task.sets[name].truth
    known = slice(None) if truth is None else np.asarray(truth).any(axis=1)
    alpha, beta = (np.asarray(values, np.float64)[known] for values in (alpha, beta))
    edges = np.linspace(0, 1, BINS + 1)
    counts, _, _ = np.histogram2d(np.clip(alpha, 0, 1), np.clip(beta, 0, 1), bins=(edges, edges))
    return counts / len(alpha)


def _on_true(
    engine: Engine,
    groups: tuple[Bucket, ...],
    weights: Any,
    replica: Replica,
    base: Any,
    inputs: Mosaics,
) -> tuple[Any, Any]:
    table = table_of(engine, weights, base)
    out = read(engine, weights, base, inputs, replica, table, groups)
    alpha = weight_on_true(inputs, out.log_weights)
    return alpha, class_on_true(inputs, out.log_weights, out.each)
