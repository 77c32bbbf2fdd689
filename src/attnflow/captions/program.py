"""The compiled core of a caption run: one step, and what it needs; the host brings the batches.

The state is a plain pytree (weights, optimiser, step, baseline, sums of the epoch so far). What is
drawn follows from (seed, step, place in the batch) alone, so a run that is resumed takes exactly
the steps of an unbroken one, over however many devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from attnflow.captions.coco import CaptionSet, Corpus
from attnflow.captions.config import CaptionTraining
from attnflow.captions.decoder import Decoder
from attnflow.captions.encoder import grid_of, make_encoder, parameters
from attnflow.captions.feature_store import Features, open_store
from attnflow.captions.pipeline import Pixels, Source, batches
from attnflow.captions.teacher_forcing import dropout_of, taught_by, unroll, word_losses
from attnflow.captions.vgg_weights import load_vgg19
from attnflow.captions.vocabulary import PAD
from attnflow.errors import DataError, SettingError
from attnflow.schedule import Stage
from attnflow.train import losses
from attnflow.train.descent import Descent
from attnflow.train.epoch import LARGEST_LOSS, norms_of, spread_of, stepped
from attnflow.train.networks.contract import drawn_at_once
from attnflow.train.objective import Objective
from attnflow.train.parallel import Devices, Largest

PLAIN = Stage("")
"""Without learning rates of its own."""
SMALLEST_SQUARE = 1e-12
"""Keeps an image without any feature at 0."""
STANDARD, AT_ONCE = 64, 16
"""Images by which features are standardised, and how many of them at once."""
LEAST_DEVIATION = 1e-2
"""Of a channel, as a share of the root mean square of all; a smaller one counts as this."""
REMEMBERED = 0.9
"""Share of the running means that a step keeps."""


@dataclass(frozen=True)
class CaptionEngine(Descent):
    """Compiled functions for one corpus and one config.

    Attributes:
        corpus: captions and images.
        run: the config.
        source: of pixels or features.
        graphs: static halves of encoder (None with stored features) and decoder.
        frozen: what does not learn: "encoder", its weights where it does not, else None; for
            fixed features "mean" and "scale" of each channel, by which they are standardised.
        grid: rows and columns of cells.
        devices: what shares the work.
        batch: images a step, a multiple of the devices.
        steps: optimiser steps an epoch takes.
        compiled: functions by name.
    """

    corpus: Corpus
    run: CaptionTraining
    source: Source
    graphs: tuple[Any, Any]
    frozen: Any
    grid: tuple[int, int]
    devices: Devices
    batch: int
    steps: int
    compiled: dict[Any, Callable[..., Any]]

    def start(self) -> dict[str, Any]:
        """The state before the first step."""
        encoder, decoder = _modules(self.corpus, self.run, self.source)
        weights = {"decoder": parameters(decoder)}
        if self.run.learns_encoder:
            weights["encoder"] = parameters(encoder)
        # what guessing by chance would cost for the words that are left on average; else 0
        words = self.corpus.sets["train"].words
        share = (words != PAD).mean(axis=0)
        lefts = {"caption": np.cumsum(share[::-1])[::-1], "word": share}
        left = lefts.get(self.run.credit, np.zeros_like(share))
        chance = np.log(len(self.corpus.vocabulary)) * left / np.maximum(share, 1e-6)
        state = {
            "weights": weights,
            "optimizer": self.optimizer(weights),
            "step": np.int32(0),
            "baseline": chance.astype(np.float32),
            "sums": self.no_sums(),
            "bad": np.int32(-1),
        }
        return self.devices.put(state)

    def no_sums(self) -> dict[str, Any]:
        """The epoch's sums before its first step."""
        learning = ("encoder", "decoder") if self.run.learns_encoder else ("decoder",)
        norms = (f"gradient_norm_{name}" for name in learning)
        return {name: np.float32(0) for name in ("loss", "words", "largest_score", *norms)}

    def transform(self) -> optax.GradientTransformation:
        """Clipping and the optimiser, without its learning rate."""
        return optax.chain(optax.clip_by_global_norm(self.run.clip), super().transform())

    clock = "decoder"

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.run.learning_rate

    def modules(self, weights: Any, frozen: Any) -> tuple[Any, Decoder]:
        """Encoder (None with stored features) and decoder, in the precision of the run."""
        kind = jnp.dtype(self.run.dtype)
        cast = partial(jax.tree.map, lambda w: w.astype(kind))
        held = weights.get("encoder", frozen["encoder"])
        encoder = None if held is None else nnx.merge(self.graphs[0], cast(held))
        return encoder, nnx.merge(self.graphs[1], cast(weights["decoder"]))

    def features(self, encoder: Any, frozen: Any, pixels: Any) -> Any:
        """The grid of features of a batch: scaled where the encoder learns, else standardised.

        Of fixed features, what all images share, nearly everything after ReLU, would drown what
        tells them apart, and captions be learned by heart from their first words, whatever the
        image: each channel is standardised by ``standards``. An encoder that learns moves away
        from any such start; each image's features are brought to a mean square of 1.
        """
        grid = (pixels if encoder is None else encoder(pixels)).astype(jnp.float32)
        if self.run.learns_encoder:
            square = jnp.mean(jnp.square(grid), axis=(1, 2), keepdims=True)
            grid = grid * jax.lax.rsqrt(square + SMALLEST_SQUARE)
            return grid.astype(jnp.dtype(self.run.dtype))
        mean, scale = (frozen[name][None, None] for name in ("mean", "scale"))
        return ((grid - mean) * scale).astype(jnp.dtype(self.run.dtype))

    def rates(self, weights: Any, stage: Stage = PLAIN) -> dict[str, Any]:
        """The learning rate of each network in a stage, on the device."""
        rates = {name: np.float32(stage.rate(name, self.rate)) for name in weights}
        return self.devices.put(rates)

    def step(
        self, objective: Objective, state: Any, pixels: Any, words: Any, rates: Any = None
    ) -> Any:
        """One step of the optimiser at these rates; the new state, which nothing waits for."""
        rates = self.rates(state["weights"]) if rates is None else rates
        key = "step", objective
        if key not in self.compiled:
            self.compiled[key] = self.devices.compile(partial(take_step, self, objective))
        return self.compiled[key](state, self.frozen, pixels, words, rates)


def _modules(corpus: Corpus, run: CaptionTraining, source: Source) -> tuple[Any, Decoder]:
    """Encoder and decoder at the start of the run's seed."""
    if isinstance(source, Features):
        encoder, width = None, source.width
    else:
        encoder, width = encoder_of(run), 0
        pixels = jax.ShapeDtypeStruct((1, run.seen[0], run.seen[0], 3), jnp.uint8)
        width = nnx.eval_shape(lambda m, x: m(x), encoder, pixels).shape[-1]

    def make() -> Decoder:
        return Decoder(
            len(corpus.vocabulary),
            width,
            nnx.Rngs(jax.random.fold_in(jax.random.key(run.seed), 1)),
            hidden=run.hidden,
            attention=run.attention,
            embedding=run.embedding,
            gate=run.gate,
            output=run.output,
            start=run.start,
        )

    return encoder, drawn_at_once(make)


def encoder_of(run: CaptionTraining) -> nnx.Module:
    """The encoder that a config names, with its weights before training.

    Raises:
        SettingError: it does not fit the images, or VGG19 would start frozen without weights.
        MissingPart, DataError: its weights are missing or damaged.
    """
    if run.encoder == "vgg19" and run.encoder_weights is None and not run.learns_encoder:
        raise SettingError(
            "encoder vgg19 without encoder_weights would stay at random: name the file of its "
            "weights, or train it (train_encoder)"
        )
    encoder: Any = make_encoder(
        run.encoder, run.seed, run.seen[0], run.encoder_width, run.encoder_blocks
    )
    if run.encoder_weights is not None:
        load_vgg19(encoder, run.encoder_weights)
    return encoder


def source_of(run: CaptionTraining) -> Source:
    """Where pixels or features come from.

    Raises:
        MissingPart, DataError: the features are missing or damaged.
    """
    if run.features is not None:
        return open_store(run.features)
    return Pixels(*run.seen)


def build(corpus: Corpus, run: CaptionTraining, devices: Devices) -> CaptionEngine:
    """The engine of a run."""
    source = source_of(run)
    if isinstance(source, Features):
        for part in corpus.sets.values():
            source.check(part)
    encoder, decoder = _modules(corpus, run, source)
    if isinstance(source, Features):
        cells = source.cells
    else:
        pixels = jax.ShapeDtypeStruct((1, run.seen[0], run.seen[0], 3), jnp.uint8)
        cells = nnx.eval_shape(lambda m, x: m(x), encoder, pixels).shape[1]
    frozen: dict[str, Any] = {"encoder": None}
    if not run.learns_encoder:
        if encoder is not None:
            frozen["encoder"] = parameters(encoder)
        frozen |= standards(corpus.sets["train"], source, encoder)
    frozen = devices.put(frozen)
    graphs = (None if encoder is None else nnx.split(encoder)[0], nnx.split(decoder)[0])
    count = len(corpus.sets["train"])
    batch = -(-min(run.batch, count) // devices.count) * devices.count
    steps, grid = -(-count // batch), grid_of(cells)
    return CaptionEngine(corpus, run, source, graphs, frozen, grid, devices, batch, steps, {})


def standards(part: CaptionSet, source: Source, encoder: Any) -> dict[str, Any]:
    """Mean and 1 / deviation of each channel over the cells of the first images of a set.

    A channel that hardly differs is not blown up.

    Raises:
        DataError: stored features are not finite.
    """
    graph, weights = (None, None) if encoder is None else nnx.split(encoder)

    def sums(held: Any, pixels: Any) -> Any:
        grid = (pixels if graph is None else nnx.merge(graph, held)(pixels)).astype(jnp.float32)
        middle = jnp.mean(grid, axis=1)
        return middle, jnp.mean(jnp.square(grid - middle[:, None]), axis=1)

    compiled, found = jax.jit(sums), []
    for batch in batches(part, source, AT_ONCE, each=1, limit=STANDARD):
        there = batch.rows >= 0
        pair = compiled(weights, batch.pixels)
        found.append([np.asarray(values, np.float64)[there] for values in pair])
    middles, squares = (np.concatenate(values) for values in zip(*found, strict=True))
    if isinstance(source, Features) and not np.all(np.isfinite(squares)):
        raise DataError(f"features {str(source.path)!r} are not finite")
    deviation = np.sqrt(middles.var(axis=0) + squares.mean(axis=0))
    least = max(LEAST_DEVIATION * float(np.sqrt(np.mean(deviation**2))), 1e-12)
    scale = 1 / np.maximum(deviation, least)
    return {"mean": np.float32(middles.mean(axis=0)), "scale": np.float32(scale)}


def take_step(
    engine: CaptionEngine,
    objective: Objective,
    state: Any,
    frozen: Any,
    pixels: Any,
    words: Any,
    rates: Any,
) -> Any:
    """One step: loss, gradient, optimiser, running means."""
    key = jax.random.fold_in(jax.random.key(engine.run.seed), state["step"])
    rows = pixels, words, jnp.arange(len(words), dtype=jnp.uint32)

    def summed(rows: Any, weights: Any, frozen: Any, baseline: Any, key: Any) -> Any:
        function = jax.value_and_grad(partial(batch_loss, engine, objective), has_aux=True)
        (_, aux), gradient = function(
            weights, frozen, rows, baseline, jax.random.wrap_key_data(key)
        )
        return aux, gradient

    shared = state["weights"], frozen, state["baseline"], jax.random.key_data(key)
    aux, gradient = engine.devices.total(summed, rows, *shared)
    sums = {name: value for name, value in aux.items() if name in ("loss", "words")}
    count = jnp.maximum(aux["words"], 1.0)
    loss = aux["loss"] / count
    gradient = jax.tree.map(lambda g: g / count, gradient)
    sums |= norms_of(gradient)
    with jax.numpy_dtype_promotion("standard"):  # optax counts its steps with mixed types
        updates, optimizer = engine.transform().update(
            gradient, state["optimizer"], state["weights"]
        )
    if engine.run.rate_schedule == "cosine":
        with jax.numpy_dtype_promotion("standard"):
            decay = engine.decay(state["step"].astype(jnp.float32))
            rates = {name: rate * decay for name, rate in rates.items()}
    weights = stepped(state["weights"], updates, rates)
    there = aux["present"] > 0
    mean = aux["cost"] / jnp.maximum(aux["present"], 1.0)
    moved = REMEMBERED * state["baseline"] + (1 - REMEMBERED) * mean
    finite = jnp.stack([jnp.all(jnp.isfinite(w)) for w in jax.tree.leaves(weights)])
    fine = (loss <= LARGEST_LOSS) & jnp.all(finite)  # NaN is not below anything
    return {
        "weights": weights,
        "optimizer": optimizer,
        "step": state["step"] + 1,
        "baseline": jnp.where(there, moved, state["baseline"]),
        "sums": {
            **{name: state["sums"][name] + value for name, value in sums.items()},
            "largest_score": jnp.maximum(state["sums"]["largest_score"], aux["largest"].value),
        },
        "bad": jnp.where((state["bad"] < 0) & ~fine, state["step"], state["bad"]),
    }


def batch_loss(
    engine: CaptionEngine,
    objective: Objective,
    weights: Any,
    frozen: Any,
    rows: Any,
    baseline: Any,
    key: Any,
) -> tuple[Any, dict[str, Any]]:
    """Sum over the words of a batch of what is minimised, and sums of what is told."""
    run = engine.run
    pixels, words, numbers = rows
    encoder, decoder = engine.modules(weights, frozen)
    grid = engine.features(encoder, frozen, pixels)
    keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers)
    each_key = jax.vmap(lambda k: jax.random.split(k))(keys)
    _, each, length = words.shape
    noise = None
    if objective.draws:
        shape = (length, each, grid.shape[1])
        noise = jnp.moveaxis(jax.vmap(lambda k: jax.random.gumbel(k, shape))(each_key[:, 0]), 0, 1)
    found = unroll(decoder, grid, words, noise, objective.draws)
    dropped = None
    if run.dropout:
        dropped = dropout_of(each_key[:, 1], run.dropout, (each, decoder.dropped), grid.dtype)
    cost = word_losses(decoder, objective, grid, words, found, dropped)
    present = jnp.moveaxis(words, -1, 0) != PAD
    judged, compared, where = taught_by(run.credit, jax.lax.stop_gradient(cost), words, baseline)
    total = jnp.sum(cost)
    if objective.draws:
        taught = losses.score_function(judged, found.score, compared)
        total = total + jnp.sum(jnp.where(where, taught, 0.0))
    if run.entropy:
        spread = jnp.where(present, losses.entropy(found.log_weights), 0.0)
        total = total - run.entropy * jnp.sum(spread)
    if run.coverage:
        seen = jnp.where(present[..., None], jnp.exp(found.log_weights), 0.0)
        away = jnp.sum(jnp.square(1.0 - jnp.sum(seen, axis=0)), axis=-1)
        total = total + run.coverage * jnp.sum(jnp.where(present[0], away, 0.0))
    counted = present.astype(jnp.float32)
    return total, {
        "loss": jnp.sum(cost),
        "words": jnp.sum(counted),
        "largest": Largest(jnp.max(jnp.where(present, spread_of(found.log_weights), 0))),
        "cost": jnp.sum(judged * counted, axis=(1, 2)),
        "present": jnp.sum(counted, axis=(1, 2)),
    }
