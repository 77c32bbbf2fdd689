"""Flax modules that are trained together: found by name, checked, and divided from their weights.

A module may be of ``flax.nnx`` or of ``flax.linen``. Its parameters are what is learned. It may
draw random numbers as ``nnx.Dropout`` does, which ``nnx.Module.eval`` switches off: in training
they follow from seed, epoch, step and inputs, so that runs repeat and resume; where networks are
measured nothing is drawn. It must hold no other state, such as batch statistics: a step is a sum
over inputs, which may be divided among devices.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from attnflow.errors import SettingError
from attnflow.files import from_file, in_file, told
from attnflow.train.networks.named import NETWORKS, OWN, Pair


class Networks(NamedTuple):
    """What is trained together.

    Attributes:
        focus: segments to scores.
        classifier: segments, or the pooled input, to logits.
        encoder: items and mask to segments, or None where items are segments.
    """

    focus: Any
    classifier: Any
    encoder: Any = None

    @property
    def contextual(self) -> bool:
        """Whether a segment depends on the other items of its input."""
        return self.encoder is not None and getattr(self.encoder, "contextual", True)

    @property
    def named(self) -> dict[str, Any]:
        """Those that there are."""
        return {name: module for name, module in self._asdict().items() if module is not None}


class Divided(NamedTuple):
    """A module without its weights.

    Attributes:
        training: its static half while it learns.
        evaluation: and while it is measured, where nothing is dropped.
        random: what it draws random numbers from.
    """

    training: Any
    evaluation: Any
    random: Any

    @property
    def draws(self) -> bool:
        """Whether it draws any as it learns."""
        return bool(jax.tree.leaves(self.random))

    def merged(self, weights: Any, key: Any = None) -> Any:
        """The module with these weights: as it learns, drawing from the key, or as it is asked."""
        leaves, tree = jax.tree.flatten(self.random)
        if key is None:  # unflattened anew: nnx lets nothing be counted across traces
            return nnx.merge(self.evaluation, weights, jax.tree.unflatten(tree, leaves))
        drawn = [_drawn(jax.random.fold_in(key, n), leaf) for n, leaf in enumerate(leaves)]
        return nnx.merge(self.training, weights, jax.tree.unflatten(tree, drawn))


def _drawn(key: Any, leaf: Any) -> Any:
    """A key in the place of a key, zero in the place of a count."""
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.zeros_like(leaf)
    return jax.random.split(key, leaf.shape) if leaf.shape else key


def divide(module: Any) -> tuple[Divided, Any]:
    """A module's static half, and its weights."""
    training, weights, random = nnx.split(module, nnx.Param, ...)
    module.eval()
    return Divided(training, nnx.split(module, nnx.Param, ...)[0], random), weights


class Adopted(nnx.Module):
    """A module of ``flax.linen`` as one of ``flax.nnx``, its parameters drawn.

    Args:
        module: of linen.
        rngs: random numbers for the start.
        given: an example of what it is called on.
    """

    def __init__(self, module: flax.linen.Module, rngs: nnx.Rngs, *given: Any) -> None:
        """Draw the parameters."""
        self.inner = nnx.bridge.ToNNX(module, rngs=rngs).lazy_init(*given)
        for name in ("contextual", "reads_words"):
            if hasattr(module, name):
                setattr(self, name, getattr(module, name))

    def __call__(self, *given: Any) -> Any:
        """What the module answers."""
        return self.inner(*given)


def networks(
    given: str | Pair, shape: tuple[int, ...], classes: int, seed: int, *, tokens: bool = False
) -> Networks:
    """Networks by name, or by a maker of one's own, with the random start of that seed.

    Args:
        given: name or maker.
        shape: of a segment.
        classes: C.
        seed: of the start.
        tokens: whether segments are words, given by their numbers.

    Raises:
        SettingError: the name is not known, the maker fails, or the networks do not fit the
            segments or hold what cannot be trained.
    """
    maker = find_pair(given) if isinstance(given, str) else given
    name = given if isinstance(given, str) else getattr(given, "__name__", str(given))
    rngs = nnx.Rngs(seed)
    try:
        if maker in NETWORKS.values():  # one of one's own may do what cannot be traced
            made = drawn_at_once(lambda: maker(shape, classes, nnx.Rngs(seed)))
        else:
            made = maker(shape, classes, rngs)
    except SettingError:
        raise
    except Exception as error:  # whatever a user's function may raise
        raise SettingError(f"networks {name!r} cannot be made: {told(error)}") from error
    if not (isinstance(made, tuple | list) and len(made) in (2, 3)):
        raise SettingError(
            f"networks {name!r} must return (focus, classifier) or (focus, classifier, encoder), "
            f"got {type(made).__name__}"
        )
    found = Networks(*made)
    if tokens and found.encoder is None:
        raise SettingError(
            f"words need networks with an encoder, as text and text-transformer have, got {name}"
        )
    if not tokens and getattr(found.encoder, "reads_words", False):
        raise SettingError(f"networks {name} read words, got segments {shape}")
    return _fitting(found, shape, classes, tokens, rngs)


def drawn_at_once(make: Callable[[], Any]) -> Any:
    """The module, or tuple of modules, that a function makes, its start drawn by one program.

    One by one, each shape of a kernel would compile for long. Such a program runs once, so that it
    is compiled with little care, which changes no bit.
    """
    if isinstance(jnp.zeros(()), Tracer):  # within another program
        return make()
    graph, _ = nnx.split(nnx.eval_shape(make))
    draw = jax.jit(
        lambda: nnx.split(make())[1], compiler_options={"xla_backend_optimization_level": 1}
    )
    return nnx.merge(graph, draw())


def find_pair(name: str) -> Pair:
    """A maker of a pair by name, or as "FILE.py:NAME", in which case the file is run.

    Raises:
        SettingError: there is no such name or file, the file fails, or it is the name of networks
            that were given as a function.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if name == OWN:
        raise SettingError(
            "networks 'own' are a function that was given from Python: give it again, or name "
            "networks as FILE.py:NAME"
        )
    if not in_file(name):
        known = ", ".join(NETWORKS)
        raise SettingError(f"networks must be one of {known}, or FILE.py:NAME, got {name!r}")
    return from_file(name)


def _fitting(
    made: Networks, shape: tuple[int, ...], classes: int, tokens: bool, rngs: nnx.Rngs
) -> Networks:
    """The networks as modules of nnx; refused where they break the contract."""
    segments = jax.ShapeDtypeStruct((2, 3, *shape), jnp.float32)
    if made.encoder is not None:
        items = jax.ShapeDtypeStruct((2, 3), jnp.int32) if tokens else segments
        mask = jax.ShapeDtypeStruct((2, 3), jnp.bool_)
        made = made._replace(encoder=_as_nnx("encoder", made.encoder, rngs, items, mask))
        segments = _answer("encoder(items, mask)", made.encoder, items, mask)
        got = getattr(segments, "shape", (type(segments).__name__,))
        if got[:2] != (2, 3) or len(got) < 3:
            raise SettingError(
                f"encoder(items, mask) must have shape (2, 3, ...) for items {items.shape}, "
                f"got {got}"
            )
    made = made._replace(
        focus=_as_nnx("focus", made.focus, rngs, segments),
        classifier=_as_nnx("classifier", made.classifier, rngs, segments),
    )
    pooled = jax.ShapeDtypeStruct((2, *segments.shape[2:]), jnp.float32)
    for name, module, given, wanted in (
        ("focus(segments)", made.focus, segments, (2, 3)),
        ("classifier(segments)", made.classifier, segments, (2, 3, classes)),
        ("classifier(pooled input)", made.classifier, pooled, (2, classes)),
    ):
        got = _answer(name, module, given)
        if getattr(got, "shape", None) != wanted:
            raise SettingError(
                f"{name} must have shape {wanted} for segments {given.shape}, "
                f"got {getattr(got, 'shape', type(got).__name__)}"
            )
    return made


def _as_nnx(name: str, module: Any, rngs: nnx.Rngs, *given: Any) -> nnx.Module:
    """A module of either kind as one of nnx; refused where it holds what cannot be trained."""
    if isinstance(module, flax.linen.Module):
        example = (jnp.ones(g.shape, g.dtype) for g in given)
        try:
            module = Adopted(module, rngs, *example)
        except Exception as error:  # whatever a user's module may raise
            raise SettingError(f"{name} fails on {_shapes(given)}: {told(error)}") from error
    if not isinstance(module, nnx.Module):
        raise SettingError(
            f"{name} must be a module of flax.nnx or flax.linen, got {type(module).__name__}"
        )
    for kind in _kinds(module):
        if not issubclass(kind, nnx.Param | nnx.RngState):
            raise SettingError(
                f"{name} must hold parameters and dropout alone, got {kind.__name__}"
                + ("; nnx.LayerNorm or nnx.GroupNorm keeps none" if kind is nnx.BatchStat else "")
            )
    return module


def _kinds(module: nnx.Module) -> Iterator[type]:
    return (type(v) for _, v in nnx.iter_graph(module) if isinstance(v, nnx.Variable))


def _answer(name: str, module: Any, *given: Any) -> Any:
    """Shape and type of what a module answers; refused where it fails or is left to chance."""
    divided, weights = divide(nnx.clone(module))
    try:
        shape = jax.eval_shape(lambda w, *x: divided.merged(w)(*x), weights, *given)
        learning = shape
        if divided.draws:
            learning = jax.eval_shape(
                lambda w, k, *x: divided.merged(w, k)(*x), weights, jax.random.key(0), *given
            )
    except Exception as error:  # whatever a user's module may raise
        raise SettingError(f"{name} fails on {_shapes(given)}: {told(error)}") from error
    if learning != shape:
        raise SettingError(f"{name} must have one shape, got {learning} and, after eval(), {shape}")
    if divided.draws and _by_chance(divided, weights, given):
        raise SettingError(
            f"{name} must not draw random numbers after eval(), as nnx.Dropout does not"
        )
    return shape


def _by_chance(divided: Divided, weights: Any, given: Any) -> bool:
    """Whether a module that is asked twice gives two answers."""
    example = [jnp.ones(g.shape, g.dtype) for g in given]
    asked = divided._replace(training=divided.evaluation)
    one, two = (asked.merged(weights, jax.random.key(n))(*example) for n in (1, 2))
    return not np.array_equal(one, two, equal_nan=True)


def _shapes(given: Any) -> str:
    return " and ".join(str(g.shape) for g in given)
