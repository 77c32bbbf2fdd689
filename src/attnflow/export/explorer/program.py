"""The JavaScript that computes: printed formulas, the functions they call, and the engine."""

import json
from collections.abc import Sequence
from importlib.resources import files

from attnflow.export.explorer.javascript import formulas, record, setting_formulas
from attnflow.symbolic.paradigm import Paradigm


def asset(name: str) -> str:
    """The text of a file in the folder ``assets``."""
    return files("attnflow.export.explorer").joinpath("assets", name).read_text(encoding="utf-8")


def program(paradigms: Sequence[Paradigm]) -> str:
    """Definitions of ``SETTING``, ``PARADIGMS`` (by name), ``solve``, ``bestSwitch`` and others.

    It touches neither page nor network, so that it runs in any JavaScript engine.

    Raises:
        UnknownFunction: a loss holds a function that JavaScript does not have.
    """
    entries = "".join(f"  {literal(p.name)}: {record(formulas(p))},\n" for p in paradigms)
    return "\n".join(
        [
            '"use strict";',
            asset("functions.js"),
            f"const SETTING = {record(setting_formulas())};",
            f"const PARADIGMS = {{\n{entries}}};",
            asset("engine.js"),
        ]
    )


def literal(value: object) -> str:
    r"""A value as JavaScript that stays inside its script element, whatever names it holds.

    >>> print(literal("<!--<script>"))
    "\u003c!--\u003cscript>"
    """
    return json.dumps(value).replace("<", "\\u003c")
