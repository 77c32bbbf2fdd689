"""Every notebook runs from beginning to end and what its text claims holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))

# Executes each file as the script it is, in turn: what importing and compiling have in common is
# done once. What a notebook prints and whether it failed goes into one JSON line.
RUNNER = """
import contextlib, io, json, runpy, sys, traceback
import matplotlib.pyplot as plt
shown = []
plt.show = lambda: (shown.extend(plt.get_fignums()), plt.close("all"))
for path in sys.argv[1:]:
    printed, error = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(path, run_name="__main__")
        except BaseException:
            error = traceback.format_exc()
    told = {"path": path, "printed": printed.getvalue(), "error": error}
    print(json.dumps({**told, "shown": len(shown), "hidden": plt.get_fignums()}), flush=True)
    shown.clear(), plt.close("all")
"""


def environment(quick: bool) -> dict[str, str]:
    """The environment of a run: no window, no accelerator."""
    found = {**os.environ, "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
    found.pop("ATTNFLOW_QUICK", None)
    if quick:  # little is computed, so that compiling less thoroughly saves time
        found |= {"ATTNFLOW_QUICK": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return found


@pytest.fixture(scope="module")
def quick_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """All notebooks in quick mode, in one process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *map(str, NOTEBOOKS)],
        env=environment(quick=True),
        cwd=tmp_path_factory.mktemp("notebooks"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(run["path"]).stem: run for run in runs}


def test_there_are_notebooks_in_reading_order_without_a_gap():
    assert [path.name[:2] for path in NOTEBOOKS] == [
        f"{n:02}" for n in range(1, len(NOTEBOOKS) + 1)
    ]
    assert len(NOTEBOOKS) == 7


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_every_notebook_runs_in_quick_mode_and_its_claims_hold(name, quick_runs):
    assert quick_runs[name]["error"] is None, quick_runs[name]["error"]
    assert quick_runs[name]["printed"]


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_every_notebook_shows_its_figures_as_a_script(name, quick_runs):
    assert quick_runs[name]["shown"] > 0 and not quick_runs[name]["hidden"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_ends_in_assertions_and_says_how_long_it_takes(path):
    cells = path.read_text().split("# %%")
    assert "# ## What was claimed" in cells[-2]
    assert cells[-1].count("assert ") >= 5
    assert "# Expected time: " in cells[1]
    assert 'os.environ.get("ATTNFLOW_QUICK") == "1"' in path.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_is_one_for_jupyter(path):
    jupytext = pytest.importorskip("jupytext", reason="needs the 'notebooks' extra")
    nbformat = pytest.importorskip("nbformat", reason="needs the 'notebooks' extra")
    notebook = jupytext.read(path)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith(f"# {int(path.name[:2])}. ")
    kinds = {cell.cell_type for cell in notebook.cells}
    assert kinds == {"markdown", "code"}
    # nothing is lost on the way there and back
    again = jupytext.reads(jupytext.writes(notebook, fmt="py:percent"))
    assert [(c.cell_type, c.source) for c in again.cells] == [
        (c.cell_type, c.source) for c in notebook.cells
    ]


@pytest.mark.slow
def test_jupyter_executes_a_notebook(monkeypatch, tmp_path):
    jupytext = pytest.importorskip("jupytext", reason="needs the 'notebooks' extra")
    nbclient = pytest.importorskip("nbclient", reason="needs the 'notebooks' extra")
    pytest.importorskip("ipykernel", reason="needs the 'notebooks' extra")
    for name, value in environment(quick=True).items():
        monkeypatch.setenv(name, value)
    # a figure is shown in the page, not in a window
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    kernels = tmp_path / "kernels" / "python3"  # this Python, whatever is registered
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = jupytext.read(FOLDER / "04_hybrid.py")
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 2
    assert any("0.9 at 508.89" in output.get("text", "") for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_in_full_as_a_plain_script(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", str(path)],
        env=environment(quick=False),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
