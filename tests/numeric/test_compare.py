"""The comparison: labels, deviations and drift as defined, times to focus, agreement, refusals."""

import json

import jax
import numpy as np
import pytest
import xarray as xr

from attnflow import environment
from attnflow.errors import NoFirstIntegral, ParadigmError, SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.compare import (
    METHODS,
    agreement,
    agrees,
    compare,
    label_of,
    summary,
)
from attnflow.numeric.dataset import CURVES, assemble
from attnflow.numeric.times import check_times, default_horizon, default_times
from attnflow.numeric.trajectory import Trajectory
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm

SETTING = Setting(5, 4)
POINTS = 41
HALF = Schedule([("soft", 20.0), ("hard", None)])
MIXED = Paradigm("mixed", SOFT.loss / 2 + HARD.loss / 2)


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return compare(("soft", "hard", HALF), SETTING, points=POINTS)


def made_up(mu: np.ndarray, nu: np.ndarray, method: str) -> Trajectory:
    """A trajectory of soft attention with any values, on the flow or not."""
    times = np.linspace(0.0, 10.0, mu.size)
    stage = np.zeros(mu.size, np.int32)
    return Trajectory(times, mu, nu, SETTING, stage, paradigms=(SOFT,), method=method)


def laid_out(closed: Trajectory, simulated: Trajectory, tolerance: float = 1e-8) -> xr.Dataset:
    return assemble(
        {"soft": {"closed form": closed, "simulation": simulated}},
        setting=SETTING,
        initial=(float(closed.mu[0]), float(closed.nu[0])),
        methods=("closed form", "simulation"),
        tolerance=tolerance,
    )


def deviation_of(data: xr.Dataset, quantity: str) -> np.ndarray:
    return data["deviation"].sel({"quantity": quantity, "method": "simulation"}).values[0]


# ---------------------------------------------------------------- what the dataset says


def test_every_curve_is_labelled_by_paradigm_method_and_time(dataset: xr.Dataset) -> None:
    for name in [*CURVES, "first_integral", "drift"]:
        assert dataset[name].dims == ("paradigm", "method", "time")
        assert dataset[name].dtype == np.float64
        assert dataset[name].attrs["long_name"] and dataset[name].attrs["units"]
        assert np.isfinite(dataset[name].values).all()
    assert list(dataset["paradigm"].values) == ["soft", "hard", "soft@t=20,hard"]
    assert list(dataset["title"].values) == [
        "Soft attention",
        "Hard attention",
        "soft@t=20,hard",
    ]
    assert list(dataset["method"].values) == ["closed form", "simulation"]
    assert dataset["time"].attrs["units"] == "step x learning rate"
    np.testing.assert_array_equal(dataset["time"].values, np.linspace(0, 100, POINTS))


def test_attributes_record_setting_start_versions_and_device(dataset: xr.Dataset) -> None:
    attributes = dataset.attrs
    assert json.loads(attributes["setting"]) == SETTING.as_dict()
    np.testing.assert_array_equal(attributes["initial"], [0.0, 0.0])
    assert attributes["tolerance"] == 1e-8
    assert json.loads(attributes["versions"]) == environment.versions()
    for name in ("attnflow", "jax", "sympy", "diffrax", "numpy", "python"):
        assert name in json.loads(attributes["versions"])
    assert attributes["device"] == environment.device()
    assert attributes["platform"] == environment.platform()
    assert json.loads(attributes["options"])["simulation"]["rtol"] == 1e-10
    assert "command" not in attributes


def test_the_curves_are_those_of_the_solvers(dataset: xr.Dataset) -> None:
    direct = solve("hard", SETTING, dataset["time"].values)
    row = dataset.sel({"paradigm": "hard", "method": "closed form"})
    for name in [*CURVES, "first_integral"]:
        # the same formulas compiled for another shape may round differently
        np.testing.assert_allclose(row[name], getattr(direct, name), rtol=1e-13, atol=1e-15)


def test_closed_form_and_simulation_agree(dataset: xr.Dataset) -> None:
    assert agreement(dataset) == {"soft": True, "hard": True, "soft@t=20,hard": True}
    assert agrees(dataset)
    # the simulation is asked for 1e-10 a step; both conserve the first integral
    assert float(dataset["max_deviation"].max()) < 1e-9
    assert float(dataset["max_drift"].max()) < 1e-9
    assert float(dataset["max_deviation"].sel({"method": "closed form"}).max()) == 0.0


def test_global_64_bit_mode_stays_off(dataset: xr.Dataset) -> None:
    assert dataset["mu"].dtype == np.float64
    assert not jax.config.read("jax_enable_x64")


def test_time_to_a_focus_level_is_when_alpha_is_there(dataset: xr.Dataset) -> None:
    for label, entry in (("soft", "soft"), ("hard", "hard"), ("soft@t=20,hard", HALF)):
        reached = dataset["time_to_focus"].sel({"paradigm": label, "method": "closed form"})
        time = reached.sel(focus_level=0.5).item()
        # cubic interpolation over spacing 2.5 of a curve that varies over tens
        again = solve(entry, SETTING, np.full(POINTS, time))  # a shape that is compiled
        assert again.alpha[0] == pytest.approx(0.5, abs=1e-4)
    assert np.isnan(reached.sel(focus_level=0.99).item())


def test_level_curves_add_up_to_the_first_integral(dataset: xr.Dataset) -> None:
    row = dataset.sel({"paradigm": "hard", "method": "closed form"})
    told, labels = dataset["first_integral"].attrs, list(dataset["paradigm"].values)
    level_mu = np.reshape(told["level_mu"], (len(labels), -1))
    at_mu = np.interp(row["mu"], told["mu_grid"], level_mu[labels.index("hard")])
    at_nu = np.interp(row["nu"], told["nu_grid"], told["level_nu"])
    # linear interpolation on 121 points
    np.testing.assert_allclose(at_mu + at_nu, row["first_integral"], atol=5e-3)
    assert np.isnan(level_mu[labels.index("soft@t=20,hard")]).all()


def test_a_comparison_becomes_a_table_of_no_more_rows_than_it_has_values(dataset) -> None:
    table = dataset.to_dataframe()
    sizes = (dataset.sizes[d] for d in ("paradigm", "method", "time", "quantity", "focus_level"))
    assert len(table) == np.prod(list(sizes))


def test_summary_is_plain_and_json_takes_it(dataset: xr.Dataset) -> None:
    record = summary(dataset)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["agrees"] is True
    assert record["setting"] == SETTING.as_dict()
    assert [(r["paradigm"], r["method"]) for r in record["rows"][:2]] == [
        ("soft", "closed form"),
        ("soft", "simulation"),
    ]
    row = record["rows"][1]
    assert row["agrees"] is True and row["reference"] == "closed form"
    for name in CURVES:
        place = {"quantity": name, "paradigm": "soft", "method": "simulation"}
        assert row["deviation"][name] == dataset["max_deviation"].sel(place).item()
    assert row["time_to_focus"]["0.99"] is None
    assert 0 < row["time_to_focus"]["0.5"] < 100


# ---------------------------------------------------------------- deviations as defined


def test_a_planted_error_is_found_as_defined() -> None:
    mu, nu = np.linspace(0.0, 4.0, 9), np.linspace(0.0, 2.0, 9)
    closed = made_up(mu, nu, "closed form")
    planted = mu.copy()
    planted[3] += 1e-3  # mu = 1.5: away from 0, so relative
    planted[1] -= 1e-3  # mu = 0.5: near 0, so absolute
    data = laid_out(closed, made_up(planted, nu, "simulation"))
    expected = np.zeros(9)
    expected[3], expected[1] = (planted[3] - 1.5) / 1.5, 0.5 - planted[1]
    np.testing.assert_allclose(deviation_of(data, "mu"), expected, rtol=1e-12)
    for name in ("nu", "alpha", "complement"):
        assert not deviation_of(data, name).any()
    beta = np.exp(mu) / (np.exp(mu) + 3)
    wrong = np.exp(planted) / (np.exp(planted) + 3)
    np.testing.assert_allclose(
        deviation_of(data, "beta"), np.abs(wrong - beta) / beta, rtol=1e-9, atol=1e-15
    )
    assert agreement(data) == {"soft": False}
    assert not agrees(data)
    assert agrees(laid_out(closed, made_up(planted, nu, "simulation"), tolerance=0.5))


def test_a_small_complement_is_compared_relatively() -> None:
    mu, nu = np.full(4, 2.0), np.full(4, 40.0)
    data = laid_out(made_up(mu, nu, "closed form"), made_up(mu, nu + 1e-3, "simulation"))
    # 1 - alpha = B e^-nu there, so its relative error is the error of nu
    np.testing.assert_allclose(deviation_of(data, "complement"), 1e-3, rtol=1e-3)
    assert deviation_of(data, "alpha").max() < 1e-15


def test_a_focus_gradient_that_meets_zero_is_compared_with_its_largest_value() -> None:
    mu, nu = np.linspace(0.0, 3.0, 7), np.zeros(7)  # at mu = 0 nothing pulls at the focus
    closed, other = made_up(mu, nu, "closed form"), made_up(mu + 1e-3, nu, "simulation")
    data = laid_out(closed, other)
    gap = np.abs(np.asarray(other.focus_gradient) - np.asarray(closed.focus_gradient))
    expected = gap / np.max(np.asarray(closed.focus_gradient))
    np.testing.assert_allclose(deviation_of(data, "focus_gradient"), expected, rtol=1e-9)


def test_nan_is_disagreement() -> None:
    mu, nu = np.linspace(0.0, 4.0, 9), np.linspace(0.0, 2.0, 9)
    broken = mu.copy()
    broken[4] = np.nan
    data = laid_out(made_up(mu, nu, "closed form"), made_up(broken, nu, "simulation"))
    assert np.isnan(deviation_of(data, "mu")[4])
    assert not agrees(data)


def test_drift_is_the_change_of_the_first_integral_over_the_size_of_its_terms() -> None:
    mu, nu = np.zeros(5), np.array([0.0, 1.0, 2.0, 3.0, 30.0])
    data = laid_out(made_up(mu, nu, "closed form"), made_up(mu, nu, "simulation"))
    level = nu + np.exp(nu) / 4  # Phi(0) = 0, B = m - 1
    expected = np.abs(level - level[0]) / (1 + nu + np.exp(nu) / 4)
    np.testing.assert_allclose(data["drift"].values[0, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(data["max_drift"].values[0], expected.max(), rtol=1e-12)


def test_a_schedule_drifts_from_the_start_of_each_part_only(dataset: xr.Dataset) -> None:
    row = dataset.sel({"paradigm": "soft@t=20,hard", "method": "closed form"})
    level = row["first_integral"].values
    assert abs(level[-1] - level[0]) > 1e-3  # the parts have different first integrals
    assert row["drift"].max() < 1e-12


# ---------------------------------------------------------------- without a closed form


def test_a_paradigm_without_first_integral_is_simulated_with_a_note() -> None:
    data = compare((MIXED,), SETTING, points=POINTS)
    row = data.sel(paradigm="mixed")
    assert row["reference"].item() == "simulation"
    assert row["note"].item().startswith("no closed form: paradigm 'mixed' has no first integral")
    assert list(row["computed"].values) == [False, True]
    assert np.isnan(row["mu"].sel({"method": "closed form"})).all()
    assert np.isfinite(row["mu"].sel({"method": "simulation"})).all()
    assert np.isnan(row["first_integral"]).all()
    assert np.isnan(row["first_integral"].attrs["level_mu"]).all()
    assert agreement(data) == {"mixed": None}
    assert [r["method"] for r in summary(data)["rows"]] == ["simulation"]
    assert summary(data)["rows"][0]["drift"] is None


def test_asking_only_for_a_closed_form_that_does_not_exist_is_refused() -> None:
    with pytest.raises(NoFirstIntegral, match="'mixed' has no first integral"):
        compare((MIXED,), SETTING, points=POINTS, methods="closed form")


def test_finite_steps_lie_where_descent_does() -> None:
    """By default they are those of descent; the flow is ten times as far."""
    options = {"descent": {"learning_rate": 0.1, "momentum": 0.5}}
    methods = ("closed form", "finite steps", "descent")
    data = compare("hard", Setting(5, 3), horizon=30, points=16, methods=methods, options=options)
    steps = np.rint(data["time"].values / 0.2)
    np.testing.assert_allclose(data["time"].values, 0.2 * steps, rtol=1e-12)
    flow, corrected, descent = (data["mu"].sel({"paradigm": "hard", "method": m}) for m in methods)
    assert np.max(np.abs(corrected - descent)) < 0.1 * np.max(np.abs(flow - descent))


def test_descent_is_laid_beside_the_flow_at_whole_steps() -> None:
    rates = (0.5, 0.25)
    worst = []
    for rate in rates:
        options = {"descent": {"learning_rate": rate}}
        methods = ("closed form", "descent")
        data = compare("soft", SETTING, points=POINTS, methods=methods, options=options)
        np.testing.assert_allclose(data["time"] / rate, np.rint(data["time"] / rate), atol=1e-9)
        place = {"quantity": "mu", "method": "descent"}
        worst.append(data["max_deviation"].sel(place).item())
        assert data["distance"].sel({"method": "descent"}).max() < 1e-10
        assert agreement(data) == {"soft": None}
    # explicit Euler: of first order in the step
    assert worst[0] / worst[1] == pytest.approx(2.0, rel=0.1)


# ---------------------------------------------------------------- times and labels


def test_default_horizon_is_five_m_c_rounded_up_to_1_2_or_5() -> None:
    assert default_horizon(Setting(20, 20)) == 2000.0
    assert default_horizon(Setting(100, 1000)) == 500000.0
    assert default_horizon(Setting(20, 20), "log") == 200000.0
    assert default_horizon(Setting(2, 2)) == 20.0
    # ten times the rate of both, a tenth of the time; a faster focus, an earlier onset
    fast = Setting(20, 20, focus_rate=10.0, classifier_rate=10.0)
    assert default_horizon(fast) == 200.0
    assert default_horizon(Setting(20, 20, focus_rate=16.0)) == 1000.0


def test_default_times_end_at_the_horizon() -> None:
    linear = default_times(SETTING, horizon=7.0, points=8)
    np.testing.assert_allclose(linear, np.arange(8.0))
    logarithmic = default_times(SETTING, horizon=7.0, points=6, grid="log")
    np.testing.assert_allclose(logarithmic, 7.0 * 10.0 ** np.arange(-5.0, 1.0))
    assert logarithmic[-1] == 7.0


def test_labels_name_paradigms_and_the_ends_of_schedules() -> None:
    assert label_of("lvml") == "lvml"
    assert label_of(MIXED) == "mixed"
    assert label_of(Schedule([("lvml", 0.1), ("soft", 1234567.5), ("hard", None)])) == (
        "lvml@t=0.1,soft@t=1234567.5,hard"
    )


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paradigms": ()}, "paradigms must name at least one paradigm, got none"),
        ({"paradigms": ("soft", "soft")}, "paradigms must differ by name, got 'soft' twice"),
        ({"setting": (20, 20)}, r"setting must be a Setting, got \(20, 20\)"),
        (
            {"setting": Setting(np.array([5, 6]), 4)},
            r"takes one setting, got an array of shape \(2,\) for segments",
        ),
        ({"times": [0.0, 2.0, 1.0]}, "times must increase strictly, got 1 after 2"),
        ({"times": [0.0, 1.0, 1.0]}, "times must increase strictly, got 1 after 1"),
        ({"times": [-1.0, 1.0]}, "times must be finite and at least 0, got -1.0"),
        ({"times": [0.0, np.nan]}, "times must be finite and at least 0, got nan"),
        ({"times": []}, r"times must be a list of at least one time, got an array of shape \(0,\)"),
        ({"times": "soon"}, "times must be finite and at least 0, got soon"),
        ({"times": [1.0], "horizon": 2.0}, "give either times or a horizon, got both"),
        ({"horizon": 0.0}, "horizon must be a finite number above 0, got 0.0"),
        ({"horizon": np.inf}, "horizon must be a finite number above 0, got inf"),
        ({"points": 1}, "points must be a whole number from 2 to 10000000, got 1"),
        ({"points": 10.5}, "points must be a whole number from 2 to 10000000, got 10.5"),
        ({"grid": "even"}, "grid must be one of linear, log, got 'even'"),
        ({"initial": (0.0,)}, r"initial must be a pair \(mu, nu\) of numbers"),
        (
            {"initial": (0.0, np.nan)},
            r"initial nu \(nu0\) must be a number from -300 to 300, got nan",
        ),
        ({"methods": ()}, "methods must name at least one of closed form"),
        ({"methods": ("closed",)}, "unknown method 'closed'; did you mean 'closed form'"),
        ({"methods": ("simulation", "simulation")}, "methods must differ, got simulation"),
        ({"tolerance": 0.0}, "tolerance must be a number above 0 and below 1, got 0.0"),
        ({"options": {"descent": {}}}, "options must be for one of closed form, simulation"),
        (
            {"methods": "descent", "times": [0.05, 1.0]},
            r"times must be whole multiples of the learning rate 0.1 for descent .*, got 0.05",
        ),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_by_name_and_value(arguments: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        compare(**{"setting": SETTING, **arguments})


def test_an_unknown_paradigm_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ParadigmError, match="unknown paradigm 'sofft'; did you mean 'soft'"):
        compare(("sofft",), SETTING)
    with pytest.raises(ParadigmError, match="unknown paradigm 'herd'; did you mean 'hard'"):
        compare(Schedule([("soft", 1.0), ("herd", None)]), SETTING)


def test_times_are_given_back_as_float64() -> None:
    assert check_times([0, 1, 5]).dtype == np.float64


def test_progress_is_told_before_each_trajectory() -> None:
    told: list[str] = []
    compare("soft", SETTING, points=POINTS, progress=told.append, command="attnflow compare")
    assert told == ["closed form of soft", "simulation of soft"]
    assert METHODS[:2] == ("closed form", "simulation")
