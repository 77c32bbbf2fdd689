"""Commands: how their help reads, and that a list is given once.

Plain text: formatted help would take four times as long to load.
"""

from typing import Any

from typer.core import TyperCommand

from attnflow.errors import SettingError


def examples(*lines: str) -> str:
    """The end of a help text: commands to try, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _is_list(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and str(parameter.metavar).endswith(",...")


class Sectioned(TyperCommand):
    """A command whose options are listed under the headings that they were given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; of a list given twice the first would be lost without a word.

        Raises:
            SettingError: an option that takes a list by commas is there more than once.
        """
        given = [p for p in self.make_parser(ctx).parse_args(list(args))[2] if _is_list(p)]
        for one in given:
            if given.count(one) > 1:
                raise SettingError(
                    f"{max(one.opts, key=len)} is given {given.count(one)} times: give it once, "
                    "its values separated by commas"
                )
        return super().parse_args(ctx, args)

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
