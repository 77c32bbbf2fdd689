"""Figures: every one is drawn, to the same bytes, from a reloaded dataset, touching no setting."""

import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.figure
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from attnflow.errors import SettingError
from attnflow.files import load_dataset, save_dataset
from attnflow.numeric.compare import compare
from attnflow.palette import COLOURS, DASHES, MARKERS
from attnflow.plots.figures import FIGURES, draw, draw_all
from attnflow.plots.style import FORMATS, TIME_LABEL, sparse, time_axis
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm

SETTING = Setting(5, 4)
HALF = Schedule([("soft", 20.0), ("hard", None)])
MIXED = Paradigm("mixed", SOFT.loss / 2 + HARD.loss / 2)
QUICK = {("phase", False), ("error", True)}
STARTS = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return compare(("soft", "hard", HALF), SETTING, points=41)


@pytest.mark.parametrize(
    ("name", "log_time"),
    [
        pytest.param(
            name,
            log_time,
            id=f"{name}-{'log' if log_time else 'linear'}",
            # two kinds of axes in a default run, all of them in a slow one
            marks=() if (name, log_time) in QUICK else pytest.mark.slow,
        )
        for name in FIGURES
        for log_time in (False, True)
    ],
)
def test_each_figure_is_drawn_to_the_same_bytes_from_the_reloaded_dataset(
    dataset: xr.Dataset, name: str, log_time: bool, tmp_path: Path
) -> None:
    again = load_dataset(save_dataset(dataset, tmp_path / "curves.nc"))
    for ending in FORMATS:
        one, two = tmp_path / f"one.{ending}", tmp_path / f"two.{ending}"
        draw(dataset, name, one, log_time=log_time)
        draw(again, name, two, log_time=log_time)
        assert one.read_bytes().startswith(STARTS[ending])
        assert one.read_bytes() == two.read_bytes()
        assert b"CreationDate" not in one.read_bytes() and b"dc:date" not in one.read_bytes()


def test_the_users_settings_neither_matter_nor_change(dataset: xr.Dataset, tmp_path: Path) -> None:
    plain = tmp_path / "plain.svg"
    draw(dataset, "alpha", plain)
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 20.0, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        draw(dataset, "alpha", tmp_path / "own.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "own.svg").read_bytes() == plain.read_bytes()


def test_a_line_is_the_closed_form_and_hollow_markers_are_the_simulation(
    dataset: xr.Dataset,
) -> None:
    axes = draw(dataset, "nu").axes[0]
    assert axes.get_xlabel() == TIME_LABEL
    lines, markers = axes.get_lines()[0::2], axes.get_lines()[1::2]
    assert len(lines) == len(markers) == 3
    for label, line, marked in zip(dataset["paradigm"].values, lines, markers, strict=True):
        curves = dataset["nu"].sel(paradigm=label)
        np.testing.assert_array_equal(line.get_ydata(), curves.sel({"method": "closed form"}))
        simulated = curves.sel({"method": "simulation"}).values
        assert 5 <= len(marked.get_ydata()) <= 12
        assert set(marked.get_ydata()) <= set(simulated)
        assert marked.get_linestyle() == "None" and marked.get_markerfacecolor() == "white"
        assert marked.get_markeredgecolor() == line.get_color()


def test_colours_differ_also_in_grey_or_by_dash_and_marker() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKERS)) == len(MARKERS)
    assert len(set(map(str, DASHES))) == len(DASHES)
    for colour in COLOURS:  # dark enough on white paper
        assert np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) < 0.72


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_the_legend_is_outside_the_data(
    dataset: xr.Dataset, name: str, columns: int
) -> None:
    figure = draw(dataset, name, columns=columns)
    assert figure.get_figwidth() == {1: 3.25, 2: 6.75}[columns]
    figure.draw_without_rendering()
    page = figure.bbox
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= page.x0 and legend.x1 <= page.x1 and legend.y1 <= page.y1
    for axes in figure.axes:
        if axes.get_visible():
            box = axes.get_tightbbox()
            assert box is not None and box.x0 >= page.x0 - 1 and box.y0 >= page.y0 - 1
            assert axes.get_window_extent().y1 <= legend.y0


def test_a_long_horizon_on_a_logarithmic_axis_starts_at_the_first_positive_time(
    dataset: xr.Dataset,
) -> None:
    axes = draw(dataset, "loss", log_time=True).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim() == (2.5, 100.0)
    assert draw(dataset, "loss").axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(("time", "log"), [(0.0, False), (7.0, True)])
def test_a_single_time_has_an_axis_around_it(time: float, log: bool) -> None:
    axes = matplotlib.figure.Figure().subplots()
    with warnings.catch_warnings(action="error"):
        time_axis(axes, np.array([time]), log)
    low, high = axes.get_xlim()
    assert low <= time < high


def test_the_phase_plane_has_level_curves_for_each_first_integral(dataset: xr.Dataset) -> None:
    figure = draw(dataset, "phase")
    assert [a.get_title() for a in figure.axes] == [
        "levels of Soft attention",
        "levels of Hard attention",
    ]
    one = draw(dataset, "phase", paradigm="hard")
    assert len(one.axes) == 1 and len(one.axes[0].collections) == 1


def test_a_figure_is_drawn_into_given_axes(dataset: xr.Dataset, tmp_path) -> None:
    own = matplotlib.figure.Figure()
    one, other, third, last = own.subplots(2, 2).flat
    assert draw(dataset, "mu", ax=one) is own and len(one.get_lines()) >= 3
    draw(dataset, "phase", paradigm="hard", ax=other)
    assert other.collections and other.get_ylabel() == "focus score $\\nu$"
    draw(dataset, "error", tmp_path / "all.png", ax=third)
    assert third.get_legend() is not None and (tmp_path / "all.png").stat().st_size > 0
    for name, sentence in (("overview", "a grid of two by two"), ("phase", "name the paradigm")):
        with pytest.raises(SettingError, match=sentence):
            draw(dataset, name, ax=last)


def test_the_orbit_is_one_of_the_level_curves(dataset: xr.Dataset) -> None:
    axes = draw(dataset, "phase", paradigm="hard").axes[0]
    vertices = np.concatenate([p.vertices for p in axes.collections[0].get_paths()])
    row = dataset.sel({"paradigm": "hard", "method": "closed form"})
    orbit = np.stack([row["mu"].values, row["nu"].values], axis=1)
    gaps = np.linalg.norm(orbit[:, None] - vertices[None], axis=-1).min(axis=1)
    spacing = float(np.diff(dataset["first_integral"].attrs["mu_grid"])[0])
    assert gaps.max() < 1.5 * spacing


def test_the_error_figure_shows_the_largest_deviation(dataset: xr.Dataset) -> None:
    drawn = draw(dataset, "error").axes[0].get_lines()
    lines = [line for line in drawn if len(line.get_xdata()) == 41]
    assert len(lines) == 3
    worst = dataset["deviation"].sel({"method": "simulation"}).max("quantity")
    for line, label in zip(lines, dataset["paradigm"].values, strict=True):
        shown = np.maximum(worst.sel(paradigm=label), np.finfo(float).eps / 2)
        np.testing.assert_array_equal(line.get_ydata(), shown)


def test_a_paradigm_without_closed_form_is_drawn_without_levels(tmp_path: Path) -> None:
    data = compare((MIXED,), SETTING, points=41)
    paths = draw_all(data, tmp_path, formats=("png",))
    assert [p.name for p in paths] == [f"{n}.png" for n in FIGURES if n != "error"]
    assert not draw(data, "phase").axes[0].collections
    with pytest.raises(SettingError, match="'error' must have two methods to compare"):
        draw(data, "error")


@pytest.mark.slow  # what compare writes, looked at in every run, shows it too
def test_all_figures_in_all_formats(dataset: xr.Dataset, tmp_path: Path) -> None:
    paths = draw_all(dataset, tmp_path / "new")
    assert {p.name for p in paths} == {f"{n}.{f}" for n in FIGURES for f in FORMATS}
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths)


def test_markers_of_equal_curves_stand_side_by_side() -> None:
    x = np.linspace(0, 1, 1001)
    places = [sparse(x, x**2, order, 3) for order in range(3)]
    together = np.concatenate(places)
    assert len(set(together)) == together.size == 36
    assert np.diff(np.sort(together)).min() > 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gamma"}, "figure must be one of mu, nu, .*, got 'gamma'"),
        ({"name": "mu", "path": "mu.jpg"}, "path must end in .pdf, .svg, .png, got 'mu.jpg'"),
        ({"name": "mu", "columns": 3}, "columns must be 1 or 2, got 3"),
        ({"name": "mu", "paradigm": "soft"}, "paradigm is for the figure 'phase' only"),
        ({"name": "phase", "paradigm": "lvml"}, "paradigm must be one of soft, hard, .*'lvml'"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(dataset: xr.Dataset, arguments: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        draw(dataset, **arguments)


def test_unknown_formats_are_refused(dataset: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="formats must be from pdf, svg, png, got 'eps'"):
        draw_all(dataset, tmp_path, formats=("eps",))
    assert not list(tmp_path.iterdir())


def test_drawing_from_a_file_needs_no_jax(dataset: xr.Dataset, tmp_path: Path) -> None:
    path = save_dataset(dataset, tmp_path / "curves.nc")
    script = (
        "import sys; from attnflow.plots.figures import draw; "
        "from attnflow.files import load_dataset; "
        f"assert 'matplotlib' not in sys.modules and 'xarray' not in sys.modules; "
        f"draw(load_dataset({str(path)!r}), 'alpha'); "
        "assert 'jax' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
