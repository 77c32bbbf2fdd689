"""Formulas as MathML in the HTML: typeset by the browser itself, without script or network."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|split|gathered|align\*?)\}")
_LOG = re.compile(r"(<m[io]>(?:log|exp|sinh|cosh)</m[io]>)(?!<mo|<mrow><mo|</)")
_ROW_SPACE = re.compile(r"(?<=\\\\)\[[^\]]*\]")  # row spacing, as in a 1ex, would be shown
_TAG = re.compile(r"\\tag\{(.*?)\}")
_COMMANDS = {
    r"\operatorname*": r"\operatorname",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\tfrac": r"\frac",
}


def to_mathml(latex: str, *, block: bool) -> tuple[str, str]:
    """The ``<math>`` element of a formula, and its number if it has a tag.

    Raises:
        ExtensionError: the formula holds something that would be shown as it is typed.
    """
    tag = _TAG.search(latex)
    text = _ROW_SPACE.sub("", _TAG.sub("", latex))
    text = _ALIGNED.sub(lambda m: rf"\{m[1]}{{array}}" + ("{rl}" if m[1] == "begin" else ""), text)
    for command, plain in _COMMANDS.items():
        text = text.replace(command, plain)
    math = convert(text, display="block" if block else "inline")
    math = _LOG.sub(r'\1<mspace width="0.17em"/>', math)
    left = re.search(r"<mi>(\\[^<]*|&)</mi>", math)
    if left:
        raise ExtensionError(f"a formula holds {left[1]!r}, which has no MathML: {latex}")
    return math, tag[1] if tag else ""


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(to_mathml(node.astext(), block=False)[0])
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    math, tag = to_mathml(node.astext(), block=True)
    number = f'<span class="number">({tag})</span>' if tag else ""
    self.body.append(f'<div class="equation">{math}{number}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under a name of its own."""
    app.add_html_math_renderer("offline", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
