"""Directives that write pages from the library itself: commands, public names, citation."""

import importlib
import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CommandLine(SphinxDirective):
    """``command-line``: a section with help and examples for every command."""

    def run(self) -> list[nodes.Node]:
        """Sections, one a command, in the order of the help."""
        import typer

        from attnflow.cli.app import app

        group: Any = typer.main.get_command(app)
        context = group.make_context("attnflow", [], resilient_parsing=True)
        found = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            inner = type(context)(command, info_name=name, parent=context, terminal_width=88)
            section = nodes.section(ids=[f"attnflow-{name}"], names=[f"attnflow {name}"])
            section += nodes.title(text=f"attnflow {name}")
            usage = command.get_usage(inner)
            section += nodes.literal_block(usage, usage, language="text")
            section += [nodes.paragraph(text=t) for t in (command.help or "").split("\n\n") if t]
            section += options(command, inner, name)
            shown = "\n".join(
                line.strip() for line in (command.epilog or "").splitlines() if "attnflow " in line
            )
            if shown:
                section += nodes.literal_block(shown, shown, language="text")
            found.append(section)
        return found


def options(command: Any, context: Any, name: str) -> list[nodes.Node]:
    """What a command takes, panel by panel, each with an anchor as ``attnflow-solve--times``."""
    panels: dict[str, nodes.definition_list] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None) or "Options"
        long = max(parameter.opts, key=len) if parameter.opts[0].startswith("-") else ""
        place = f"attnflow-{name}{long or '-' + str(parameter.name)}"
        term = nodes.term("", "", nodes.literal(text=record[0]), ids=[place])
        term += nodes.reference("", "\u00b6", refuri=f"#{place}", classes=["headerlink"])
        told = nodes.definition("", nodes.paragraph(text=record[1]))
        panels.setdefault(panel, nodes.definition_list()).append(
            nodes.definition_list_item("", term, told)
        )
    found: list[nodes.Node] = []
    for panel, items in panels.items():
        found += [nodes.rubric(text=panel), items]
    return found


def kind_of(value: object) -> str:
    """How autodoc calls it: class, function, module or data."""
    if isinstance(value, type):
        return "class"
    if isinstance(value, ModuleType):
        return "module"
    return "function" if callable(value) else "data"


class PublicNames(SphinxDirective):
    """``public-names``: the documentation of everything that is public, part by part."""

    def run(self) -> list[nodes.Node]:
        """Sections with autodoc directives."""
        import attnflow
        from attnflow.errors import SettingError

        parts = {"attnflow": [(f"attnflow.{name}", name) for name in attnflow.__all__]}
        parts["attnflow.export.explorer"] = [("attnflow.export.explorer.page", "page")]
        if importlib.util.find_spec("attnflow.train") is not None:
            train = importlib.import_module("attnflow.train")
            parts["attnflow.train"] = [
                (f"attnflow.train.{name}", name) for name in getattr(train, "__all__", [])
            ]
        errors = sys.modules[SettingError.__module__]
        parts["attnflow.errors"] = [
            (f"attnflow.errors.{name}", name)
            for name, value in vars(errors).items()
            if isinstance(value, type) and value.__module__ == errors.__name__
        ]
        found: list[nodes.Node] = []
        for part, names in parts.items():
            section = nodes.section(ids=[part.replace(".", "-")], names=[part])
            section += nodes.title(text=part)
            lines = []
            for full, _ in names:
                module, _, name = full.rpartition(".")
                kind = kind_of(getattr(importlib.import_module(module), name))
                lines += [f".. auto{kind}:: {full}"]
                told = kind in ("class", "module") and part != "attnflow.errors"
                lines += ["   :members:"] if told else []
                lines += [""]
            holder = nodes.container()
            text = ["````{eval-rst}", *lines, "````"]
            self.state.nested_parse(StringList(text, part), self.content_offset, holder)
            section += holder.children
            found.append(section)
        return found


class Citation(SphinxDirective):
    """``citation``: what ``attnflow cite`` prints."""

    def run(self) -> list[nodes.Node]:
        """A block of BibTeX."""
        import contextlib
        import io

        from attnflow.cli import run

        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            run(["cite"])
        return [nodes.literal_block(said.getvalue(), said.getvalue(), language="bibtex")]


class Generated(SphinxDirective):
    """``generated-toc PLACE``: a page, or the pages of a folder, if there are any.

    What stands inside the directive is shown where there are none.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """A toctree, or the directive's own text."""
        place = self.arguments[0]
        pages = sorted(
            name for name in self.env.found_docs if name == place or name.startswith(f"{place}/")
        )
        lines = ["```{toctree}", ":maxdepth: 1", "", *(f"/{page}" for page in pages), "```"]
        text = StringList(lines, "generated") if pages else self.content
        holder = nodes.container()
        self.state.nested_parse(text, self.content_offset, holder)
        return holder.children


def _plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with code in double backticks: a star or a bar is only itself."""
    for place, line in enumerate(lines):
        pieces = line.split("``")
        pieces[::2] = [re.sub(r"([*|])", r"\\\1", piece) for piece in pieces[::2]]
        lines[place] = "``".join(pieces)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("command-line", CommandLine)
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon's sections
    app.add_directive("public-names", PublicNames)
    app.add_directive("citation", Citation)
    app.add_directive("generated-toc", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
