"""What ``attnflow compare`` computes, writes and shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnflow import files
from attnflow.cli import output
from attnflow.numeric.compare import compare, summary
from attnflow.plots.figures import draw_all
from attnflow.schedule import Schedule
from attnflow.settings import Setting

if TYPE_CHECKING:
    import xarray as xr

CURVES = ("mu", "nu", "alpha", "complement", "beta", "loss")
COLUMNS = ("paradigm", "method", "deviation", "drift", "t(.5)", "t(.9)", "t(.99)")


def run(
    entries: Sequence[Any],
    setting: Setting,
    folder: Path,
    options: dict[str, Any],
    *,
    log_time: bool,
) -> dict[str, Any]:
    """Compare, write everything into the folder, and return the record of it.

    Args:
        entries: paradigms and schedules.
        setting: the Setting.
        folder: where results go, whole or not at all.
        options: further arguments of ``attnflow.compare``.
        log_time: whether figures have time on a logarithmic axis.

    Returns:
        The summary with "deviation" by paradigm and method, "out", "files" and "curves" (for each
        paradigm and method an object like that of ``attnflow solve --json``).
    """
    with output.progress("comparing") as update:
        dataset = compare(entries, setting, progress=update, **options)
        record = summary(dataset)
        with files.new_folder(folder) as temporary:
            update("drawing figures")
            draw_all(dataset, temporary, log_time=log_time)
            files.save_dataset(dataset, temporary / "curves.nc")
            files.save_json(temporary / "summary.json", record)
            files.save_text(temporary / "summary.md", markdown(record))
            update("writing formulas")
            write_formulas(entries, temporary / "formulas.tex")
            written = sorted(path.name for path in temporary.iterdir())
    return {
        **record,
        "deviation": deviations(record),
        "out": str(folder),
        "files": written,
        "curves": curves(dataset, record),
    }


def write_formulas(entries: Sequence[Any], path: Path) -> None:
    """LaTeX of every formula used, a standalone document."""
    from attnflow.export.document import export

    parts = [p for e in entries for p in (_parts(e) if isinstance(e, Schedule) else [e])]
    export(list(dict.fromkeys(parts)), "latex", path)


def _parts(schedule: Schedule) -> list[Any]:
    return [part for part, _ in schedule.parts]


def deviations(record: dict[str, Any]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Largest deviation by paradigm, method and quantity."""
    found: dict[str, dict[str, Any]] = {}
    for row in record["rows"]:
        found.setdefault(row["paradigm"], {})[row["method"]] = row["deviation"]
    return found


def curves(dataset: "xr.Dataset", record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every curve that was computed, as plain numbers."""
    listed = []
    for row in record["rows"]:
        cell = dataset.sel({"paradigm": row["paradigm"], "method": row["method"]})
        about = {"paradigm": row["paradigm"], "method": row["method"], "setting": record["setting"]}
        numbers = {name: cell[name].values.tolist() for name in CURVES}
        listed.append({**about, "times": dataset["time"].values.tolist(), **numbers})
        listed[-1]["deviation"] = row["deviation"]
    return listed


def rows(record: dict[str, Any]) -> list[list[Any]]:
    """The table of a comparison; a reference has no deviation from itself."""
    table = []
    for row in record["rows"]:
        known = [v for v in row["deviation"].values() if v is not None]
        worst = None if row["method"] == row["reference"] or not known else max(known)
        table.append(
            [
                row["paradigm"],
                row["method"],
                None if worst is None else f"{worst:.1e}",
                None if row["drift"] is None else f"{row['drift']:.1e}",
                *row["time_to_focus"].values(),
            ]
        )
    return table


def verdict(record: dict[str, Any]) -> str:
    """One sentence: whether closed form and simulation agree."""
    checked = [row for row in record["rows"] if row["agrees"] is not None]
    if not checked:
        return "No paradigm has both a closed form and a simulation: nothing was checked."
    agree = "agree" if record["agrees"] else "do NOT agree"
    failed = ", ".join(row["paradigm"] for row in checked if not row["agrees"])
    where = f" for {failed}" if failed else ""
    return f"Closed form and simulation {agree} within {record['tolerance']:g}{where}."


def heading(record: dict[str, Any]) -> str:
    """The setting in a line."""
    setting = record["setting"]
    return (
        f"m = {setting['segments']}, C = {setting['classes']}, t up to {record['horizon']:g} "
        f"(t = step x learning rate)"
    )


def markdown(record: dict[str, Any]) -> str:
    """The summary as a Markdown document."""
    lines = ["# Comparison", "", heading(record), "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line([output.cell(v) for v in row]) for row in rows(record)]
    lines += ["", verdict(record)]
    notes = {row["paradigm"]: row["note"] for row in record["rows"] if row["note"]}
    lines += [f"\n{name}: {note}" for name, note in notes.items()]
    lines += [
        "",
        "deviation: largest over times and quantities, from the closed form, relative "
        "(mu and nu below 1: absolute). drift: change of the first integral relative to its terms. "
        "t(a): time at which the focus weight alpha reaches a.",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def show(document: dict[str, Any]) -> None:
    """The table, the verdict and where the files are."""
    output.table(heading(document), COLUMNS, rows(document), verdict(document))
    output.line(f"{len(document['files'])} files in {document['out']}")
