"""How help reads: options in sections, examples line by line.

Plain text: formatted help would take four times as long to load.
"""

from typing import Any

from typer.core import TyperCommand


def examples(*lines: str) -> str:
    """The end of a help text: commands to try, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Sectioned(TyperCommand):
    """A command whose options are listed under the headings that they were given."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, section by section, those without a heading last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            shown = parameter.get_help_record(ctx)
            if shown is not None:
                heading = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(heading, []).append(shown)
        sections["Options"] = sections.pop("Options")  # --help, after the others
        for heading, entries in sections.items():
            with formatter.section(heading):
                formatter.write_dl(entries)
