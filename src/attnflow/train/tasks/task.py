"""The contract of a task: base items held once, and inputs that are lists of indices into them.

An input is m segments with a mask, a label and, where known, the position of the true segment, or
which segments are true where there may be several. No input is ever materialised as an array of
its own: the base items (images as uint8, vectors, numbers of words) lie on the device, an input is
m indices, and ``Task.gather`` composes a batch inside the compiled step. A new kind of data is a
new function that returns a Task.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attnflow.errors import SettingError
from attnflow.settings import Setting, check_count


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mosaics:
    """Inputs as indices; a JAX pytree, so that it passes into compiled functions.

    Attributes:
        segments: index of the base item in each place, [N, m].
        labels: class of each input, 0 to C - 1, [N].
        true: place of the true segment, [N]; -1 where not known.
        mask: True where there is a segment, [N, m]; None where every place is taken.
        truth: True on each true segment, [N, m], where there may be several, which then counts in
            place of ``true``; inputs without one are of unknown truth. None where ``true`` says it
            of every input.
    """

    segments: Int[Any, "N m"]
    labels: Int[Any, " N"]
    true: Int[Any, " N"]
    mask: Bool[Any, "N m"] | None = None
    truth: Bool[Any, "N m"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: Int[Any, " B"], length: int | None = None) -> "Mosaics":
        """The inputs of these indices, of their first so many places."""
        if length is None or length == self.segments.shape[1]:
            return jax.tree.map(lambda values: values[index], self)
        return jax.tree.map(lambda v: v[index, :length] if v.ndim == 2 else v[index], self)


SETS = ("train", "heldout", "test")
SEEN_AND_UNSEEN = {"heldout": "new mosaics of seen images", "test": "mosaics of unseen images"}
"""What the sets of mosaics hold, where training and held-out mosaics are of the same images."""


class Pool(NamedTuple):
    """The base items that training mosaics are drawn from, by their numbers.

    Attributes:
        foreground: of each class.
        background: of the rest.
    """

    foreground: list[Int[np.ndarray, "..."]]
    background: Int[np.ndarray, " b"]


def _whole(what: str, values: Any, shape: tuple[int, ...], least: int, end: int) -> Any:
    """Numbers as int32, if they are whole, from ``least`` to ``end - 1``, and of that shape."""
    found = np.asarray(values)
    if found.shape != shape or found.dtype.kind not in "iu":
        raise SettingError(
            f"{what} must be whole numbers of shape {shape}, got {found.dtype} {found.shape}"
        )
    for wrong in (found.min(), found.max()):
        if not least <= wrong < end:
            raise SettingError(f"{what} must be from {least} to {end - 1}, got {wrong}")
    return found.astype(np.int32, copy=False)


def sha256(*parts: Any) -> str:
    """SHA-256 over texts and arrays."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode("utf-8", "surrogatepass"))
        elif part is not None:
            array = np.ascontiguousarray(part)
            found.update(f"{array.shape} {array.dtype.str}".encode())
            found.update(array.data)
    return found.hexdigest()


@dataclass(frozen=True)
class Task:
    """A learning problem.

    Attributes:
        name: how the user knows it.
        base: every base item, [n, *shape]; uint8 for images, float32 for vectors.
        sets: "train" and, where there are, "heldout" and "test".
        classes: C, how many classes a label may have.
        class_names: what they are called, in order.
        scale, offset: an item as the networks see it is ``base * scale + offset``.
        setting: the simple setting that this task realises, if it does.
        full_batch: whether a step takes all inputs at once by default.
        vocabulary: the words, where base items are their numbers (base is then [n], int32).
        lengths: to which inputs of fewer segments are padded, ascending; the longest inputs are
            padded to m. Empty where all inputs have m segments.
        texts: the words of each input of a set, as they were written; for pages.
        remarks: sentences on what was left out of the data, for who reads results.
        pool: what training mosaics are drawn from, where they can be drawn anew.
        meanings: what a set holds, by its name; for who reads results.
    """

    name: str
    base: Any
    sets: dict[str, Mosaics]
    classes: int
    class_names: tuple[str, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    setting: Setting | None = field(default=None)
    full_batch: bool = False
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    lengths: tuple[int, ...] = ()
    texts: dict[str, Any] = field(default_factory=dict, repr=False)
    remarks: tuple[str, ...] = ()
    pool: Pool | None = field(default=None, repr=False)
    meanings: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_count("classes", self.classes, 2)
        for name in self.sets:
            if name not in SETS:
                raise SettingError(f"sets of a task must be of {', '.join(SETS)}, got {name!r}")
        if "train" not in self.sets:
            raise SettingError(f"task {self.name} must have a set 'train'")
        base = np.asarray(self.base)
        if base.dtype.kind == "f" and not np.all(np.isfinite(base)):
            raise SettingError(f"base items of task {self.name} must be finite numbers")
        if base.dtype == np.float64:
            object.__setattr__(self, "base", base.astype(np.float32))
        sets = {name: self._checked(f"set {name!r}", one) for name, one in self.sets.items()}
        object.__setattr__(self, "sets", sets)

    def _checked(self, where: str, inputs: Mosaics) -> Mosaics:
        """A set, if it keeps to the contract; unknown places become unknown truth."""
        where = f"{where} of task {self.name}"
        shape = np.shape(inputs.segments)
        if len(shape) != 2 or shape[1] < 2 or shape[0] == 0:
            raise SettingError(
                f"{where} must hold inputs of at least 2 segments, [N, m], got shape {shape}"
            )
        rows, places = (shape[0],), shape
        kept = {
            "segments": _whole(f"segments of {where}", inputs.segments, places, 0, len(self.base)),
            "labels": _whole(f"labels of {where}", inputs.labels, rows, 0, self.classes),
            "true": _whole(f"true places of {where}", inputs.true, rows, -1, shape[1]),
        }
        for name in ("mask", "truth"):
            values = getattr(inputs, name)
            if values is not None and (np.shape(values), np.asarray(values).dtype) != (shape, bool):
                raise SettingError(f"{name} of {where} must be true or false, of shape {shape}")
        mask, truth = inputs.mask, inputs.truth
        if mask is not None and not np.all(np.any(mask, axis=1)):
            raise SettingError(f"mask of {where} must leave each input a segment")
        if truth is None and np.any(kept["true"] < 0):
            truth = np.arange(shape[1])[None] == kept["true"][:, None]
        if mask is not None:
            missing = ~np.asarray(mask)
            at = kept["true"][:, None]
            hidden = missing & truth if truth is not None else np.take_along_axis(missing, at, 1)
            if np.any(hidden):
                raise SettingError(f"true segments of {where} must not be masked")
        return Mosaics(**kept, mask=mask, truth=truth)

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of what a run rests on: the vocabulary; base items and training inputs."""
        inputs = self.sets["train"]
        learned = (self.base, inputs.segments, inputs.labels, inputs.mask)
        return {"vocabulary": sha256("\n".join(self.vocabulary)), "train": sha256(*learned)}

    @property
    def tokens(self) -> bool:
        """Whether segments are words, given by their numbers, which an encoder turns to vectors."""
        return bool(self.vocabulary)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one segment; a word counts as a vector with one place for each word."""
        return (len(self.vocabulary),) if self.tokens else tuple(self.base.shape[1:])

    @property
    def segments(self) -> int:
        """m, places in an input."""
        return int(self.sets["train"].segments.shape[1])

    @property
    def setting_of_fit(self) -> Setting:
        """The simple setting whose focus weight starts where even weights of this task lie."""
        inputs = self.sets["train"]
        if inputs.truth is None:
            return Setting(self.segments, self.classes)
        truth, mask = np.asarray(inputs.truth), inputs.mask
        present = np.ones_like(truth) if mask is None else np.asarray(mask)
        shares = truth.sum(axis=1) / present.sum(axis=1)
        if not np.any(shares):
            return Setting(self.segments, self.classes)
        return Setting(max(2, round(1 / float(np.mean(shares[shares > 0])))), self.classes)

    def drawn_anew(self, *seeds: int) -> Mosaics:
        """Training inputs drawn anew from the pool, as many as there are, of these seeds."""
        assert self.pool is not None
        random = np.random.default_rng(seeds)
        return draw_mosaics(random, len(self.sets["train"]), self.segments, *self.pool)

    def present(self, items: Any) -> Array:
        """Base items as the networks see them, float32; the numbers of words as they are."""
        if self.tokens:
            return jnp.asarray(items)
        items = jnp.asarray(items).astype(jnp.float32)
        if (self.scale, self.offset) == (1.0, 0.0):
            return items
        return items * self.scale + self.offset

    def gather(self, base: Any, indices: Int[Array, "B m"]) -> Array:
        """The segments of a batch, [B, m, *shape], composed where it is called."""
        return self.present(base[indices])


def only_used(base: Any, sets: dict[str, Mosaics]) -> tuple[Any, dict[str, Mosaics]]:
    """The base items that some input holds, and the sets with the numbers they have among these."""
    used = np.zeros(len(base), bool)
    for inputs in sets.values():
        used[inputs.segments] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    renamed = {
        name: replace(inputs, segments=number[inputs.segments]) for name, inputs in sets.items()
    }
    return base[used], renamed


MOST_PLACES = 2**31
"""Inputs times segments that a set may have: 8 GB of indices."""


def check_segments(count: int, segments: int) -> None:
    """Whether so many inputs of so many segments can be.

    Raises:
        SettingError: fewer than two segments, or too many in all.
    """
    check_count("segments", segments, 2)
    if count * segments > MOST_PLACES:
        raise SettingError(
            f"inputs x segments must be at most {MOST_PLACES}, got {count} x {segments}"
        )


def check_mosaics(
    count: int, segments: int, foreground: list[Int[np.ndarray, "..."]], background: Any
) -> None:
    """Whether so many mosaics can be drawn from these items.

    Raises:
        SettingError: a count is not positive, or too large, or a class or the background is empty.
    """
    check_count("the number of mosaics", count)
    check_segments(count, segments)
    if any(len(items) == 0 for items in (*foreground, background)):
        raise SettingError("every foreground class and the background must hold an image")


def draw_mosaics(
    random: np.random.Generator,
    count: int,
    segments: int,
    foreground: list[Int[np.ndarray, "..."]],
    background: Int[np.ndarray, " b"],
) -> Mosaics:
    """Inputs of one foreground item at a random place and background items elsewhere.

    Args:
        random: where the randomness comes from.
        count: N.
        segments: m.
        foreground: for each class, the indices of its base items.
        background: indices of the background items.

    Raises:
        SettingError: a count is not positive, or a class or the background is empty.
    """
    check_mosaics(count, segments, foreground, background)
    labels = random.integers(len(foreground), size=count)
    pick = random.random(count)
    sizes = np.array([len(items) for items in foreground])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen = np.concatenate(foreground)[starts[labels] + (pick * sizes[labels]).astype(np.int64)]
    places = random.integers(segments, size=count)
    indices = np.empty((count, segments), np.int32)
    for start in range(0, count, 65536):  # so that no array wider than int32 grows large
        stop = min(start + 65536, count)
        drawn = random.integers(len(background), size=(stop - start, segments))
        indices[start:stop] = background[drawn]
    indices[np.arange(count), places] = chosen
    return Mosaics(indices, labels.astype(np.int32), places.astype(np.int32))
