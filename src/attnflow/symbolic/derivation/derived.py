"""``derive``: everything that follows from one loss, and the derivation of it step by step."""

import textwrap
from dataclasses import dataclass
from functools import cached_property, lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.certificate import Certificate, certify
from attnflow.symbolic.derivation import (
    descent_steps,
    frozen_steps,
    onset_steps,
    orbit_steps,
    switch_steps,
    time_steps,
)
from attnflow.symbolic.derivation.shipped import shipped
from attnflow.symbolic.derivation.step import Step, UncheckedStep
from attnflow.symbolic.early_time import (
    FirstDifference,
    StartSeries,
    first_difference,
    start_series,
)
from attnflow.symbolic.first_integral import FirstIntegral, derive_first_integral
from attnflow.symbolic.flow import Flow, derive_flow
from attnflow.symbolic.frozen import Frozen, derive_frozen_classifier, derive_frozen_focus
from attnflow.symbolic.late_time import LateTime, late_time
from attnflow.symbolic.onset import Onset, onset
from attnflow.symbolic.orbit import Potential, Solution, derive_potential, derive_solution
from attnflow.symbolic.paradigm import Paradigm


@dataclass(frozen=True)
class Derivation:
    """What follows from a paradigm's loss, in sympy; each part is derived when first asked for.

    Without a first integral (``no_first_integral`` then says why) ``first_integral``,
    ``potential``, ``solution``, ``nu_of_mu``, ``alpha_of_mu``, ``pace`` and ``time`` are None;
    everything else is there.
    """

    paradigm: Paradigm

    @property
    def loss(self) -> sp.Expr:
        """L(alpha, mu; C) as defined."""
        return self.paradigm.loss

    @property
    def flow(self) -> Flow:
        """Mu' and nu' in (alpha, mu; C, rho, tau)."""
        return derive_flow(self.paradigm)

    @property
    def certificate(self) -> Certificate:
        """The full gradient for m = C = 3, found equal to the flow."""
        return certify(self.paradigm)

    @cached_property
    def _separated(self) -> FirstIntegral | str:
        try:
            return derive_first_integral(self.paradigm)
        except NoFirstIntegral as reason:
            return str(reason)

    @property
    def first_integral(self) -> FirstIntegral | None:
        """Nu + e^nu/B - rho Phi(mu): its ratio Q and slope Phi', or None."""
        return None if isinstance(self._separated, str) else self._separated

    @property
    def no_first_integral(self) -> str | None:
        """Why there is no first integral, or None where there is one."""
        return self._separated if isinstance(self._separated, str) else None

    @property
    def potential(self) -> Potential | None:
        """Phi, in closed form where the table of antiderivatives knows one."""
        return derive_potential(self.paradigm) if self.first_integral else None

    @property
    def solution(self) -> Solution | None:
        """The orbit through (mu0, nu0)."""
        return derive_solution(self.paradigm) if self.first_integral else None

    @property
    def nu_of_mu(self) -> sp.Expr | None:
        """Nu on the orbit with constant K_0."""
        return self.solution and self.solution.nu

    @property
    def alpha_of_mu(self) -> sp.Expr | None:
        """Alpha on the orbit with constant K_0."""
        return self.solution and self.solution.alpha

    @property
    def pace(self) -> sp.Expr | None:
        """dt/dmu on the orbit with constant K_0."""
        return self.solution and self.solution.pace

    @property
    def time(self) -> sp.Expr | None:
        """t(mu), one quadrature from mu0."""
        return self.solution and self.solution.time

    @property
    def frozen_focus(self) -> Frozen:
        """Alpha held: t(mu) and mu(t)."""
        return derive_frozen_focus(self.paradigm)

    @property
    def frozen_classifier(self) -> Frozen:
        """Mu held: t(x) and x(t), x = logit alpha."""
        return derive_frozen_classifier(self.paradigm)

    def series(
        self, order: int, start: tuple[sp.Expr, sp.Expr] = (sp.S.Zero, sp.S.Zero)
    ) -> StartSeries:
        """Exact series in t at the start, to any order; see ``start_series``."""
        return start_series(self.paradigm, order, start)

    @property
    def late(self) -> LateTime:
        """Leading behaviour for t -> infinity; ``reason`` says why where there is none."""
        return late_time(self.paradigm)

    def first_difference(self, other: str | Paradigm) -> FirstDifference:
        """Where this paradigm and another first differ, started at zero."""
        return first_difference(self.paradigm, find_paradigm(other))

    @property
    def onset(self) -> Onset | None:
        """The time at which the focus awakes among many segments, or None without such a law."""
        return onset(self.paradigm)

    def switch(self, other: str | Paradigm) -> tuple[Step, ...]:
        """Where this paradigm and another pull alike, and where a best schedule hands over."""
        return tuple(switch_steps.steps((self.paradigm, find_paradigm(other))))

    @cached_property
    def _told(self) -> tuple[tuple[Step, ...], tuple[str, ...]]:
        known = shipped(self.paradigm)
        return (known, ()) if known else fresh_steps(self.paradigm)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The derivation in reading order; every formula in it was checked as its step says.

        Those of the built-in paradigms come with the package, where a test derives them again.
        """
        return self._told[0]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Which parts of the derivation are not among the steps, and why: a sentence each."""
        return self._told[1]

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            KeyError: there is none; the message lists those that are.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; there are {', '.join(s.name for s in self.steps)}")

    def _repr_latex_(self) -> str:
        lines = [rf"\dot{{\mu}} &= {sp.latex(factored(self.flow.mu_dot))}"]
        lines.append(rf"\dot{{\nu}} &= {sp.latex(factored(self.flow.nu_dot))}")
        if self.potential:
            lines.append(rf"\Phi(\mu) &= {sp.latex(self.potential.value)}")
        body = r" \\ ".join([rf"L &= {sp.latex(self.loss)}", *lines])
        return rf"$$\begin{{aligned}}{body}\end{{aligned}}$$"


_PARTS = {
    "flow and orbit": orbit_steps,
    "one part held": frozen_steps,
    "early and late times": time_steps,
    "onset": onset_steps,
    "finite steps": descent_steps,
}


def fresh_steps(paradigm: Paradigm) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The steps, derived now, and a sentence for each part that is left out.

    A part is left out where a formula of it was not found, or did not stand its check.
    """
    told: list[Step] = []
    left_out = []
    for title, part in _PARTS.items():
        try:
            told += part.steps(paradigm)
        except (UncheckedStep, NotImplementedError, sp.PolynomialError) as reason:
            why = textwrap.shorten(str(reason), 200, placeholder=" ...")
            left_out.append(f"The part on {title} is left out: {why}.")
    return tuple(told), tuple(left_out)


def derive(paradigm: str | Paradigm) -> Derivation:
    """Derive everything that follows from a paradigm's loss.

    Args:
        paradigm: a name ("soft", "hard", "lvml", "power-1/2") or a Paradigm.

    Returns:
        The Derivation; its parts are computed when first asked for, and kept.

    Raises:
        ParadigmError: no paradigm has that name.
    """
    return _derivation(find_paradigm(paradigm))


@lru_cache(maxsize=256)
def _derivation(paradigm: Paradigm) -> Derivation:
    return Derivation(paradigm)
