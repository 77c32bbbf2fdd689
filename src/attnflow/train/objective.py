"""What a training step minimises: a paradigm's loss, an estimator of it, or a custom function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp

from attnflow.errors import ParadigmError, SettingError
from attnflow.numeric.pooling import average, pooled_loss
from attnflow.schedule import Schedule
from attnflow.symbolic import record
from attnflow.symbolic.catalogue import CATALOGUE, HARD, LVML, paradigm
from attnflow.symbolic.paradigm import INPUT, Paradigm, nearest
from attnflow.train import losses

Loss = Callable[[Any, Any, Any], Any]
"""(log-weights [B, m], logits [B, m, C], labels [B]) -> losses [B]."""

SAMPLED, EM = "hard-sampled", "lvml-em"
ESTIMATORS = {SAMPLED: HARD, EM: LVML}
"""Other ways to train a paradigm -> the paradigm itself."""
NAMED: dict[str, Loss] = {"weighted-logits": losses.weighted_logits}
"""Losses of ours that are no paradigm."""
NOT_PARADIGMS = ("hybrid", *ESTIMATORS, *NAMED, "all")
"""Names of schedules, of ways to train and of losses."""


@dataclass(frozen=True)
class Objective:
    """A loss of networks' outputs.

    Attributes:
        name: of the paradigm, the estimator or the custom loss, as rows of metrics have it.
        paradigm: the symbolic paradigm that it realises; None for a custom loss.
        function: the custom loss.
    """

    name: str
    paradigm: Paradigm | None
    function: Loss | None = None

    @property
    def draws(self) -> bool:
        """Whether a segment is drawn for each input."""
        return self.function is None and self.name == SAMPLED

    @property
    def needs_responsibilities(self) -> bool:
        """Whether an E step comes before each epoch."""
        return self.function is None and self.name == EM

    @property
    def exact(self) -> "Objective":
        """The paradigm's own loss, where this estimates or bounds it."""
        return self if self.paradigm is None else Objective(self.paradigm.name, self.paradigm)

    @property
    def averages_input(self) -> bool:
        """Whether the classifier sees the weighted input."""
        return self.paradigm is not None and self.paradigm.averages is INPUT

    def losses(
        self,
        classifier: Any,
        segments: Any,
        log_weights: Any,
        labels: Any,
        *,
        noise: Any = None,
        baseline: Any = 0.0,
        responsibilities: Any = None,
    ) -> Any:
        """The loss of each input of a batch, float32 [B].

        Args:
            classifier: the classification network, a callable.
            segments: [B, m, *shape].
            log_weights: of the focus, [B, m].
            labels: [B].
            noise: Gumbel noise [B, m] where segments are drawn, or None.
            baseline: running mean of the loss, used there too.
            responsibilities: of the last E step, [B, m], or None.
        """
        if self.averages_input:
            pooled = losses.weighted_input(log_weights, segments)
            return losses.soft(classifier(pooled).astype(jnp.float32), labels)
        logits = classifier(segments).astype(jnp.float32)
        if self.draws:
            each = losses.label_log_probabilities(logits, labels)
            drawn = jnp.argmax(log_weights + noise, axis=-1)
            return losses.at_draw(drawn, log_weights, each, baseline)
        if self.needs_responsibilities:
            each = losses.label_log_probabilities(logits, labels)
            return losses.em(responsibilities, log_weights, each)
        return self.of_logits(log_weights, logits, labels)

    def of_logits(self, log_weights: Any, logits: Any, labels: Any) -> Any:
        """The loss [B] from log-weights [B, m], logits [B, m, C] and labels [B].

        Raises:
            SettingError: a custom loss gives something else than a number an input.
        """
        if self.function is None:
            assert self.paradigm is not None
            return pooled_loss(self.paradigm, log_weights, logits, labels)
        values, rows = self.function(log_weights, logits, labels), log_weights.shape[:-1]
        if jnp.shape(values) != rows:  # a mean would count inputs that only fill up a batch
            raise SettingError(
                f"loss {self.name!r} must give a number for each input, {rows}, got shape "
                f"{jnp.shape(values)}"
            )
        return values


def objective(
    given: str | Paradigm,
    custom: Mapping[str, Loss] | None = None,
    known: Mapping[str, Paradigm] | None = None,
) -> Objective:
    """The objective of that name, or of a Paradigm.

    Args:
        given: a Paradigm, or the name of a paradigm, an estimator or a custom loss.
        custom: custom losses by name, which come before ours.
        known: custom paradigms by name.

    Raises:
        ParadigmError: there is none of this name, or the paradigm does not say what it averages.
    """
    if isinstance(given, str):
        if custom is not None and given in custom:
            return Objective(given, None, custom[given])
        if known is not None and given in known:
            return objective(known[given])
        if given in ESTIMATORS:
            return Objective(given, ESTIMATORS[given])
        if given in NAMED:
            return Objective(given, None, NAMED[given])
        if given not in CATALOGUE and not given.startswith("power-"):
            names = [*CATALOGUE, *ESTIMATORS, *NAMED, "power-S", *(custom or ()), *(known or ())]
            raise ParadigmError(f"unknown paradigm {given!r}{nearest(given, names)}")
    found = paradigm(given)
    average(found, 2)  # refuses one that does not say what it averages
    return Objective(found.name, found)


def paradigm_of(name: str, known: Mapping[str, Paradigm] | None = None) -> Paradigm:
    """The symbolic paradigm that a name of a row of metrics stands for.

    Args:
        name: in the row.
        known: the run's custom paradigms by name.

    Raises:
        ParadigmError: it is that of a loss that is no paradigm, which has no theory.
    """
    found = objective(name, known=known).paradigm
    if found is None:
        raise ParadigmError(f"loss {name!r} is no function of alpha and mu: it has no theory")
    return found


def has_theory(name: str, known: Mapping[str, Paradigm] | None = None) -> bool:
    """Whether a name of a row of metrics stands for a symbolic paradigm."""
    try:
        paradigm_of(name, known)
    except ParadigmError:
        return False
    return True


def as_text(
    given: "str | Paradigm | Schedule", paradigms: tuple[str, ...] | None
) -> tuple[str, tuple[str, ...] | None]:
    """What a config holds of paradigms: the schedule as text, and the custom ones that it names.

    Args:
        given: a text, a Paradigm, or a Schedule.
        paradigms: custom ones that are there already.

    Raises:
        SettingError, ParadigmError: it is none of these, a custom one has the name of another, or
            does not say what it averages.
    """
    held = {one.name: one for one in map(record.read, paradigms or ())}
    if isinstance(given, str):
        text = given
    elif isinstance(given, Paradigm | Schedule):
        schedule = Schedule([given.name]) if isinstance(given, Paradigm) else given
        text = str(schedule)
        objects = [given] if isinstance(given, Paradigm) else [s.paradigm for s in schedule.stages]
        for one in objects:
            if isinstance(one, Paradigm) and held.setdefault(one.name, one) != one:
                raise SettingError(f"two paradigms are called {one.name!r}")
    else:
        raise SettingError(f"paradigm must be text, a Paradigm or a Schedule, got {given!r}")
    custom = [one for one in held.values() if not _built_in(one)]
    return text, tuple(map(record.write, custom)) or None


def _built_in(one: Paradigm) -> bool:
    """Whether a paradigm is one of ours; another of such a name, or no average, is refused."""
    try:
        known = paradigm(one.name)
    except ParadigmError:
        known = None
    if known == one:
        return True
    if known is not None or one.name in NOT_PARADIGMS:
        raise SettingError(f"{one.name!r} is a name of ours: give your paradigm another")
    if one.averages is None:
        raise ParadigmError(
            f"paradigm {one.name!r} is given by its loss alone, which does not say how real "
            "networks are trained: give averages= too, or a function of log-weights and logits"
        )
    return False


def goals_of(
    run: Any, losses: Mapping[str, Loss] | None, *, opening: bool = False
) -> list[Objective]:
    """What each stage of a run's schedule minimises.

    Args:
        run: the config, with ``schedule`` and its custom paradigms, ``known``.
        losses: custom losses by name.
        opening: whether custom losses may be absent, as where a run is only opened.

    Raises:
        ParadigmError: a name is not known.
    """
    found = []
    for name in run.schedule.names:
        try:
            found.append(objective(name, losses, run.known))
        except ParadigmError:
            if not opening:
                raise
            found.append(objective(name, {name: partial(_absent, name)}))
    return found


def _absent(name: str, *_: Any) -> Any:
    raise SettingError(f"the run was trained by a custom loss: give losses with {name!r}")
