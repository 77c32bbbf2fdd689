"""What a comparison says in a few numbers: who agrees with whom, how closely, and how fast.

Reads the dataset only, so it works on one that was loaded from its file. (Selections by method are
spelt ``sel({"method": ...})``: the keyword ``method=`` is xarray's own.)
"""

import json
from typing import Any

import numpy as np
import xarray as xr


def agreement(dataset: xr.Dataset) -> dict[str, bool | None]:
    """For each paradigm: whether the simulation stays within the tolerance of the closed form.

    None where one of the two is missing. A NaN anywhere in either is disagreement.
    """
    verdicts: dict[str, bool | None] = {}
    pair = ("closed form", "simulation")
    for label in dataset["paradigm"].values:
        row = dataset.sel(paradigm=label)
        there = all(
            method in row["method"].values and bool(row["computed"].sel({"method": method}))
            for method in pair
        )
        if not there:
            verdicts[str(label)] = None
            continue
        worst = row["max_deviation"].sel({"method": "simulation"}).values
        verdicts[str(label)] = bool(np.all(worst <= dataset.attrs["tolerance"]))
    return verdicts


def agrees(dataset: xr.Dataset) -> bool:
    """Whether no simulation leaves the tolerance around its closed form."""
    return all(verdict is not False for verdict in agreement(dataset).values())


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def summary(dataset: xr.Dataset) -> dict[str, Any]:
    """The numbers of a comparison as plain values, ready for JSON (None for what is missing).

    Args:
        dataset: what ``compare`` returned, or the same read from its file.

    Returns:
        ``{"setting", "initial", "horizon", "tolerance", "agrees", "rows"}``; a row for each
        paradigm and method that was computed: ``{"paradigm", "title", "method", "reference",
        "agrees", "deviation": {quantity: largest}, "drift", "time_to_focus": {"0.5": t, ...},
        "final": {quantity: value}, "note"}``.
    """
    verdicts = agreement(dataset)
    names = [str(q) for q in dataset["quantity"].values]
    rows = []
    for label in dataset["paradigm"].values:
        for method in dataset["method"].values:
            cell = dataset.sel({"paradigm": label, "method": method})
            if not bool(cell["computed"]):
                continue
            rows.append(
                {
                    "paradigm": str(label),
                    "title": str(cell["title"].item()),
                    "method": str(method),
                    "reference": str(cell["reference"].item()),
                    "agrees": verdicts[str(label)] if method == "simulation" else None,
                    "deviation": {
                        name: _plain(cell["max_deviation"].sel(quantity=name)) for name in names
                    },
                    "drift": _plain(cell["max_drift"]),
                    "time_to_focus": {
                        f"{level:g}": _plain(cell["time_to_focus"].sel(focus_level=level))
                        for level in dataset["focus_level"].values
                    },
                    "final": {
                        name: _plain(cell[name][-1])
                        for name in map(str, dataset["quantity"].values)
                    },
                    "note": str(cell["note"].item()),
                }
            )
    return {
        "setting": json.loads(dataset.attrs["setting"]),
        "initial": [float(v) for v in np.atleast_1d(dataset.attrs["initial"])],
        "horizon": float(dataset["time"][-1]),
        "tolerance": float(dataset.attrs["tolerance"]),
        "agrees": agrees(dataset),
        "rows": rows,
    }
