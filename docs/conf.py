"""Configuration of the documentation: everything that can be is written from the library itself.

    sphinx-build -W docs docs/_build

Nothing is fetched, unless ATTNFLOW_DOCS_LINKS=1 asks for links into the pages of Python, NumPy,
sympy, JAX and xarray. Formulas, the command line's reference, derivations, notebooks and the
explorer are written into docs/generated from their sources before the pages are read. With
ATTNFLOW_DOCS_EXECUTE=1 in the environment the derivations and notebooks are run (several minutes)
and their formulas and figures shown.
"""

import ast
import os
import runpy
import shutil
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GENERATED = HERE / "generated"
EXECUTE = os.environ.get("ATTNFLOW_DOCS_EXECUTE") == "1"
sys.path[:0] = [str(HERE / "extensions"), str(ROOT / "src")]

import attnflow  # noqa: E402

project = "attnflow"
author = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["authors"][0]["name"]
version = release = attnflow.__version__
copyright = f"2026, {author}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "offline_math",
    "written",
]
if os.environ.get("ATTNFLOW_DOCS_LINKS") == "1":  # fetches lists of names, so only where asked
    extensions.append("sphinx.ext.intersphinx")
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "sympy": ("https://docs.sympy.org/latest", None),
    "jax": ("https://docs.jax.dev/en/latest", None),
    "xarray": ("https://docs.xarray.dev/en/stable", None),
}
exclude_patterns = ["_build", "figures", "extensions", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"attnflow {release}"
html_static_path = ["static"]
html_css_files = ["attnflow.css"]
html_js_files = ["copy.js"]
html_extra_path = ["generated/extra"]
html_math_renderer = "offline"
html_show_sourcelink = False
templates_path: list[str] = []

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force" if EXECUTE else "off"
nb_execution_timeout = 600
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["config.cache"]


def formulas() -> None:
    """One page of checked formulas for each built-in paradigm, from its derivation."""
    from attnflow.export.document import export
    from attnflow.symbolic.catalogue import CATALOGUE

    for place, name in enumerate(CATALOGUE):
        text = str(export([name], "markdown"))
        title = CATALOGUE[name].title
        text = text.replace("# Learning dynamics of attention: derivations", f"# {title}", 1)
        text = text.replace(f"## {title}\n", "## Derivation\n", 1)
        write(f"formulas/{place}-{name}.md", text)


def derivations() -> None:
    """A page for each derivation script: what it says, its formulas if run, and the script."""
    from attnflow.export.latex import sentence

    for script in sorted((ROOT / "derivations").glob("[0-9]*.py")):
        text = script.read_text(encoding="utf-8")
        title, _, prose = (ast.get_docstring(ast.parse(text)) or script.stem).partition("\n")
        shown = told(script) if EXECUTE else sentence(prose.strip(), str)
        write(
            f"derivations/{script.stem}.md",
            f"# {title.rstrip('.')}\n\n{shown}\n\n## The script\n\n"
            f"Run it with `python derivations/{script.name}`; it ends with an error if a step does "
            f"not hold.\n\n````python\n{text}````\n",
        )


def told(script: Path) -> str:
    """What a derivation tells when it is run: its text and its formulas, each with its check."""
    from attnflow.export.latex import body, markdown, sentence

    sys.path.insert(0, str(script.parent))
    try:
        parts = runpy.run_path(str(script), run_name=script.stem)["main"]().parts
    finally:
        sys.path.remove(str(script.parent))
    lines, count = [], 0
    for part in parts:
        if isinstance(part, str):
            lines += [sentence(part, markdown), ""]
            continue
        count += 1
        check = {"proved": "Proved.", "definition": "Definition."}.get(part.check, part.check)
        lines += [
            f"**{count}. {sentence(part.title, markdown)}.** "
            f"{sentence(part.text, markdown)} *{check}*",
            "",
            f"$$\n{body(part.equation)} \\tag{{{count}}}\n$$",
            "",
        ]
    return "\n".join(lines)


def notebooks() -> None:
    """Text notebooks as Jupyter notebooks, which myst-nb reads."""
    import jupytext

    for script in sorted((ROOT / "notebooks").glob("[0-9]*.py")):
        notebook = jupytext.read(script, fmt="py:percent")
        notebook.metadata.setdefault(
            "kernelspec", {"display_name": "Python 3", "language": "python", "name": "python3"}
        )
        write(f"notebooks/{script.stem}.ipynb", jupytext.writes(notebook, fmt="ipynb"))


def explorer() -> None:
    """The explorer itself, beside the pages."""
    from attnflow.export.explorer import page

    write("extra/interactive.html", page())


def write(name: str, text: str) -> None:
    """A generated file, touched only where it changed, so that it is read again only then."""
    path = GENERATED / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: object) -> None:
    """Write what is generated before Sphinx looks for pages."""
    for folder in ("derivations", "notebooks", "formulas"):
        shutil.rmtree(GENERATED / folder, ignore_errors=True)
    formulas()
    derivations()
    notebooks()
    explorer()
