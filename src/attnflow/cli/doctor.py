"""``attnflow doctor``: what is installed; ``attnflow cite``: how to cite."""

import typer

from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson

PAPER = """\
@inproceedings{vashisht2023attention,
  title     = {On the Learning Dynamics of Attention Networks},
  author    = {Vashisht, Rahul and Ramaswamy, Harish G.},
  booktitle = {26th European Conference on Artificial Intelligence (ECAI)},
  year      = {2023},
  eprint    = {2307.13421},
  archivePrefix = {arXiv}
}"""

SOFTWARE = """\
@software{{attnflow,
  title   = {{attnflow: learning dynamics of soft, hard and latent-variable attention}},
  author  = {{{{The attnflow authors}}}},
  version = {{{version}}},
  year    = {{2026}}
}}"""


def doctor(as_json: AsJson = False) -> None:
    """Versions, devices, 64-bit mode, and optional parts present or missing."""
    from attnflow.environment import report

    found = report()
    if as_json:
        output.emit(found)
        return
    output.table("Versions", ("package", "version"), found["versions"].items())
    machine = [(name, found[name]) for name in ("platform", "processor", "cores", "device")]
    machine += [("devices", ", ".join(found["devices"]))]
    machine += [("JAX 64-bit mode", "on" if found["x64"] else "off (float64 is used all the same)")]
    output.table("Machine", ("what", "found"), [(a, str(b)) for a, b in machine])
    print("Optional parts\n")
    width = max(len(part["name"]) for part in found["optional"])
    for part in found["optional"]:
        state = part["found"] if part["present"] else f"missing; {part['how_to_get']}"
        print(f" {part['name']:{width}}  {part['needed_for']}\n {'':{width}}  {state}")


def cite(as_json: AsJson = False) -> None:
    """BibTeX of the paper that set up the problem, and of this software."""
    from attnflow import __version__

    software = SOFTWARE.format(version=__version__)
    if as_json:
        output.emit({"paper": PAPER, "software": software})
    else:
        print(f"{PAPER}\n\n{software}")


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command(
        cls=Sectioned,
        short_help="Versions, devices, optional parts.",
        epilog=examples("attnflow doctor", "attnflow doctor --json"),
    )(doctor)
    app.command(
        cls=Sectioned,
        short_help="BibTeX entries.",
        epilog=examples("attnflow cite", "attnflow cite >> references.bib"),
    )(cite)
