"""Results carried elsewhere: short when printed, labelled as datasets and tables, drawn."""

import numpy as np
import pytest

import attnflow as af
from attnflow.errors import SettingError

TIMES = np.geomspace(1, 1e4, 300)
MANY = np.array([3, 40, 7])


SWEEP = np.arange(2, 1002).reshape(500, 1, 2)


@pytest.mark.parametrize(
    "found",
    [
        af.Setting(SWEEP, list(range(2, 4)), foreground_norm=np.linspace(1, 2, 500)[:, None, None]),
        af.best_schedule(af.Setting(5, 3), target=0.9),
        af.best_switch(af.Setting(5, 3), 0.9, "soft", "hard"),
        af.best_switch(af.Setting(5, 3), 0.9, "hard", "soft"),
        af.advise(af.Setting(5, 3), learning_rate=0.05),
    ],
    ids=lambda found: type(found).__name__,
)
def test_a_result_prints_in_at_most_ten_lines_and_becomes_a_table(found):
    assert len(repr(found).splitlines()) <= 10
    assert len(repr(found)) < 1000
    table = found.to_pandas()
    assert 2 <= found._repr_html_().count("<tr") <= 12  # the ends of the table, not all of it
    if isinstance(found, af.Setting):
        assert len(table) == SWEEP.size
        np.testing.assert_array_equal(table["segments"], SWEEP.ravel())
    else:  # the soonest first
        times = table["reached.t" if "reached.t" in table else "time"]
        assert times.is_monotonic_increasing


@pytest.mark.parametrize(
    ("segments", "times"),
    [
        (SWEEP, TIMES),
        (5, 3.0),
        (5, [2.0]),
        (5, TIMES),
        (5, TIMES.reshape(3, 100)),
        (MANY, 3.0),
        (MANY, TIMES),
    ],
)
def test_a_trajectory_prints_in_at_most_ten_lines(segments, times):
    curve = af.solve("soft", af.Setting(segments, 4), times)
    assert len(repr(curve).splitlines()) <= 10
    assert len(repr(curve)) < 1000
    assert "<table" in curve._repr_html_()


def test_datasets_and_tables_hold_what_the_trajectory_holds():
    curve = af.solve("lvml", af.Setting(20, 20), TIMES)
    dataset, table = curve.to_xarray(), curve.to_pandas()
    np.testing.assert_array_equal(dataset.time, TIMES)
    for name in ("mu", "nu", "alpha", "complement", "beta", "loss", "focus_gradient"):
        np.testing.assert_array_equal(dataset[name], getattr(curve, name))
        np.testing.assert_array_equal(table[name], getattr(curve, name))
    assert dataset.alpha.attrs["units"] == "1"
    batch = af.solve("lvml", af.Setting(np.array([3, 9]), 20), TIMES).to_xarray()
    assert batch.alpha.dims == ("setting_0", "time") and batch.times.dims == batch.alpha.dims


def test_a_trajectory_is_drawn_on_axes_that_are_given():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    curve = af.solve("hard", af.Setting(5, 3), TIMES)
    curve.plot("nu", ax=axes)
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), curve.nu)
    with pytest.raises(SettingError, match="quantity must be one of mu, nu, .* got 'x'"):
        curve.plot("x", ax=axes)
    with pytest.raises(SettingError, match="at least two times"):
        af.solve("hard", af.Setting(5, 3), 1.0).plot(ax=axes)


def test_orders_of_which_a_part_vanished_are_listed_once():
    best = af.best_schedule(af.Setting(5, 3), target=0.9)
    assert {"soft,hard,lvml", "soft,lvml,hard"} <= set(best.alternatives)
    assert not {"soft,hard,lvml", "soft,lvml,hard", "hard,soft"} & set(best.distinct)
    assert set(best.distinct) <= set(best.alternatives)
    assert next(iter(best.distinct.values())) == best.time


def test_a_setting_prints_what_is_not_plain():
    assert repr(af.Setting(5, 3)) == "Setting(segments=5, classes=3)"
    assert (
        repr(af.Setting(5, 3, focus_rate=2.0)) == "Setting(segments=5, classes=3, focus_rate=2.0)"
    )


def test_what_takes_one_setting_says_who_was_called():
    from attnflow.export.explorer import page

    many = af.Setting(np.array([5, 9]), 3)
    calls = {
        "compare": lambda: af.compare("soft", many),
        "best_schedule": lambda: af.best_schedule(many, 0.9),
        "best_switch": lambda: af.best_switch(many, 0.9, "soft", "hard"),
        "timed": lambda: af.timed(af.Schedule("soft@alpha=0.6,hard"), many),
        "advise": lambda: af.advise(many, 0.1),
        "the explorer": lambda: page("soft", setting=many),
    }
    for called, call in calls.items():
        with pytest.raises(SettingError, match=rf"^{called} takes one setting.* \(2,\)"):
            call()
    with pytest.raises(SettingError, match=r"^timed takes .* one target .* \(2,\)"):
        af.timed(af.Schedule("soft@theory,hard"), af.Setting(5, 3), target=np.array([0.8, 0.9]))
