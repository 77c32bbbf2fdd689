"""The steps of the built-in paradigms as data, so that nobody waits for what does not change.

``steps.json`` holds what a fresh derivation gave (``python -m attnflow.symbolic.derivation`` writes
it), under a key of the paradigms and of the sources that derive. A change of either makes the key
another one: the steps are then derived, like those of every other loss.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sympy as sp

from attnflow.symbolic.algebra import functions
from attnflow.symbolic.derivation.step import Step
from attnflow.symbolic.paradigm import Paradigm

PLACE = Path(__file__).with_name("steps.json")

_ASSUMPTIONS = ({}, *({name: True} for name in ("real", "positive", "nonnegative")))


def shipped(*paradigms: Paradigm) -> tuple[Step, ...] | None:
    """The steps that are there for a paradigm, or for where two of them part; None if none are.

    Args:
        paradigms: one, or the two in order.
    """
    steps = _document().get("steps", {}).get(key(*paradigms))
    if steps is None:
        return None
    equations = _equations()
    return tuple(
        Step(name, title, equations[place], text, check)
        for name, title, place, text, check in steps
    )


def key(*paradigms: Paradigm) -> str:
    """What the steps of these paradigms depend on: their words, their losses and the sources."""
    told = [(p.name, p.title, sp.srepr(p.loss)) for p in paradigms]
    return hashlib.sha256(repr((told, _sources())).encode()).hexdigest()


@cache
def _sources() -> str:
    """A digest of all that derives, whatever the line ends."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in (package.parent / "symbols.py", *sorted(package.rglob("*.py"))):
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


@cache
def _document() -> dict[str, Any]:
    try:
        return json.loads(PLACE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # an installation without the file derives


def document(steps: Mapping[str, Iterable[Step]]) -> dict[str, Any]:
    """Steps by key as plain values: every part of their formulas once, arguments before the whole.

    Raises:
        ValueError: a formula holds what would not come back equal.
    """
    places: dict[sp.Basic, int] = {}
    nodes: list[list[Any]] = []

    def place_of(expr: sp.Basic) -> int:
        if expr not in places:
            node = _atom(expr) or [_head(type(expr)), *map(place_of, expr.args)]
            places[expr] = len(nodes)
            nodes.append(node)
        return places[expr]

    listed = {
        name: [[s.name, s.title, place_of(s.equation), s.text, s.check] for s in group]
        for name, group in steps.items()
    }
    for expr, back in zip(places, _expressions(nodes), strict=True):
        if back != expr:
            raise ValueError(f"{expr} would come back as {back}")
    return {"nodes": nodes, "steps": listed}


def _atom(expr: sp.Basic) -> list[Any] | None:
    """A number or symbol, None for what has arguments."""
    if isinstance(expr, sp.Rational):
        return ["Rational", str(expr.p), str(expr.q)]
    if isinstance(expr, sp.Symbol):
        fitting = (given for given in _ASSUMPTIONS if sp.Symbol(expr.name, **given) == expr)
        return ["Symbol", expr.name, *next(fitting)]
    if expr.args:
        return None
    return ["S", str(sp.srepr(expr))]


def _head(kind: type) -> str:
    """A name that ``_expressions`` finds: of sympy's, or with a dot of our own functions."""
    return f".{kind.__name__}" if kind.__module__ == functions.__name__ else kind.__name__


@cache
def _equations() -> Sequence[Any]:
    return _expressions(_document()["nodes"])


def _expressions(nodes: Iterable[Sequence[Any]]) -> list[Any]:
    """The expressions of nodes, left as they were: nothing is evaluated anew."""
    built: list[Any] = []
    for head, *arguments in nodes:
        if head == "Rational":
            built.append(sp.Rational(*map(int, arguments)))
        elif head == "Symbol":
            built.append(sp.Symbol(arguments[0], **dict.fromkeys(arguments[1:], True)))
        elif head == "S":
            built.append(getattr(sp, arguments[0]))
        else:
            kind = getattr(functions, head[1:]) if head[0] == "." else getattr(sp, head)
            plain = issubclass(kind, (sp.Add, sp.Mul, sp.Pow, sp.Function, sp.Eq))
            parts = (built[place] for place in arguments)
            built.append(kind(*parts, **({"evaluate": False} if plain else {})))
    return built
