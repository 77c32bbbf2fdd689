"""What a training step minimises, by the name of the paradigm: one object for every loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from attnflow.errors import ParadigmError, SettingError
from attnflow.numeric.pooling import power_exponent
from attnflow.symbolic.catalogue import CATALOGUE, paradigm
from attnflow.symbolic.paradigm import nearest
from attnflow.train import losses

Loss = Callable[[Any, Any], Any]
"""(log-weights [B, m], log-probability of the label on each segment [B, m]) -> losses [B]."""

ESTIMATORS = {"hard-sampled": "hard", "lvml-em": "lvml"}
"""Other ways to train a paradigm -> the paradigm itself."""


@dataclass(frozen=True)
class Objective:
    """A paradigm as a loss of networks' outputs.

    Attributes:
        name: as the user says it.
        paradigm: name of the symbolic paradigm that it realises.
        exponent: of a power mean; None for the others.
        function: a loss of one's own; None for ours.
    """

    name: str
    paradigm: str
    exponent: float | None = None
    function: Loss | None = None

    @property
    def draws(self) -> bool:
        """Whether a segment is drawn for each input."""
        return self.name == "hard-sampled"

    @property
    def needs_responsibilities(self) -> bool:
        """Whether an E step comes before each epoch."""
        return self.name == "lvml-em"

    def losses(
        self,
        classifier: Any,
        segments: Any,
        log_weights: Any,
        labels: Any,
        noise: Any,
        baseline: Any,
        responsibilities: Any,
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
        if self.name == "soft":
            pooled = losses.weighted_input(log_weights, segments)
            return losses.soft(classifier(pooled).astype(jnp.float32), labels)
        logits = classifier(segments).astype(jnp.float32)
        each = losses.label_log_probabilities(logits, labels)
        if self.draws:
            drawn = jnp.argmax(log_weights + noise, axis=-1)
            return losses.at_draw(drawn, log_weights, each, baseline)
        if self.needs_responsibilities:
            return losses.em(responsibilities, log_weights, each)
        return self.of_each(log_weights, each)

    def of_each(self, log_weights: Any, each: Any) -> Any:
        """The loss from every segment's log-probability of the label, [..., m] to [...].

        For paradigms that are exact sums over the segments, and for losses of one's own.

        Raises:
            SettingError: a loss of one's own gives something else than a number an input.
        """
        if self.function is not None:
            found, rows = self.function(log_weights, each), log_weights.shape[:-1]
            if jnp.shape(found) != rows:  # a mean would count inputs that only fill up a batch
                raise SettingError(
                    f"loss {self.name!r} must give a number for each input, {rows}, got shape "
                    f"{jnp.shape(found)}"
                )
            return found
        if self.exponent is not None:
            return losses.power_mean(self.exponent, log_weights, each)
        return {"hard": losses.hard, "lvml": losses.lvml}[self.name](log_weights, each)


def objective(name: str, own: Mapping[str, Loss] | None = None) -> Objective:
    """The objective of that name.

    Args:
        name: as the user says it.
        own: losses of one's own by name, which come before ours.

    Raises:
        ParadigmError: no paradigm, or none that real networks can be trained by, has this name.
    """
    if own is not None and name in own:
        return Objective(name, name, function=own[name])
    if name in ESTIMATORS:
        return Objective(name, ESTIMATORS[name])
    if name in CATALOGUE:
        return Objective(name, name)
    if not name.startswith("power-"):
        names = [*CATALOGUE, *ESTIMATORS, "power-S", *(own or ())]
        raise ParadigmError(f"unknown paradigm {name!r}{nearest(name, names)}")
    found = paradigm(name)
    exponent = 0.0 if found.name == "power-0" else power_exponent(found)
    if exponent is None:
        raise ParadigmError(f"paradigm {name!r} has no loss for real networks")
    return Objective(found.name, found.name, exponent)


def has_theory(name: str) -> bool:
    """Whether a paradigm is one of ours, with a symbolic loss."""
    try:
        objective(name)
    except ParadigmError:
        return False
    return True
