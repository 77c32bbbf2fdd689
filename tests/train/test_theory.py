"""In the simple setting training follows the closed form, as closely as its steps are small."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from attnflow import Setting, solve
from attnflow.errors import SettingError
from attnflow.train import drawing
from attnflow.train import evaluation as ev
from attnflow.train.config import Training
from attnflow.train.drawing import practice
from attnflow.train.fixed_focus import held_losses
from attnflow.train.loop import train
from attnflow.train.report.compare_runs import _pairs
from attnflow.train.theory import (
    Practice,
    _interval,
    fit_curves,
    fit_run,
    schedule_of,
    theory_over_practice,
)
from training_runs import EXACT

pytestmark = pytest.mark.usefixtures("compiled_once")
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "paradigm",
    [
        "soft",
        pytest.param("hard", marks=SLOW),
        pytest.param("lvml", marks=SLOW),
        pytest.param("power-1/2", marks=SLOW),
        pytest.param("soft@epoch=10,hard", marks=SLOW),
    ],
)
def test_deviation_from_theory_falls_in_proportion_to_the_learning_rate(paradigm):
    if "," in paradigm:  # which switches by epoch, that is, at different times
        trained = [
            train(replace(EXACT, paradigm=paradigm, learning_rates=(rate,), passes=int(1 / rate)))
            for rate in (0.2, 0.05)
        ]
        found = [theory_over_practice(one) for one in trained]
    else:
        both = train(replace(EXACT, paradigm=paradigm, learning_rates=(0.2, 0.05), epochs=80))
        found = [theory_over_practice(both, replica) for replica in (0, 1)]
    for name in ("mu", "nu", "alpha", "beta", "loss"):
        coarse, fine = (
            np.max(np.abs(one.measured[name] - one.theory[name])[one.times <= 20.0001])
            for one in found
        )
        assert fine < 0.03
        assert np.log(coarse / fine) / np.log(4) == pytest.approx(1, abs=0.15), name
    for one in found:  # what is left is of second order, and float32
        assert one.remaining["mu"] < 0.1 * one.deviation["mu"] + 1e-5
        assert one.remaining["nu"] < 0.1 * one.deviation["nu"] + 1e-5


@pytest.mark.slow
def test_em_with_an_e_step_before_each_step_is_lvml():
    run = replace(EXACT, passes=1, epochs=30)
    exact, em = (train(replace(run, paradigm=p)) for p in ("lvml", "lvml-em"))
    for ours, theirs in zip(em.rows, exact.rows, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours["sets"]["train"]["nu"] == pytest.approx(
            theirs["sets"]["train"]["nu"], rel=1e-3, abs=1e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml"])
def test_classifier_under_fixed_focus_follows_its_closed_form(paradigm):
    trained = train(replace(EXACT, paradigm=paradigm, fixed_focus=(0.2, 0.6, 1.0)))
    for replica in range(3):
        found = theory_over_practice(trained, replica)
        assert found.deviation["alpha"] < 1e-6
        assert found.deviation["mu"] < 0.01 and found.deviation["loss"] < 0.01
        assert "nu" not in found.measured


@pytest.mark.parametrize(
    "paradigm", ["lvml", pytest.param("hard", marks=SLOW), pytest.param("soft", marks=SLOW)]
)
def test_losses_under_each_fixed_focus_follow_their_closed_forms(paradigm):
    trained = train(replace(EXACT, paradigm=paradigm, fixed_focus=(0.2, 0.6, 1.0)))
    for replica in range(3):
        assert np.all(np.asarray(jax.tree.leaves(ev.one_run(trained, replica)["focus"])[0]) == 0)
    (held,) = held_losses([trained])
    assert held.exact and held.rate == 1 and held.alphas.tolist() == [0.2, 0.6, 1.0]
    np.testing.assert_allclose(held.measured, held.theory, atol=0.01)
    np.testing.assert_allclose(held.gain, held.theory_gain, atol=2e-4)
    assert np.all(held.gain[:2] > 0) and np.all(held.gain[2] == 0)  # nothing is above 1
    assert np.all(held.measured[0] > held.measured[1])
    assert np.all(held.measured[1] > held.measured[2])
    # beside it the same with one replica interrupted, every second epoch measured, other momentum
    rows = [row for row in trained.rows if row["fixed_focus"] != 0.6 or row["epoch"] <= 7]
    rows = [row if row["epoch"] % 2 else {**row, "sets": {}} for row in rows]
    other = replace(trained.engine, run=replace(trained.engine.run, momentum=0.5))
    both = held_losses([trained, replace(trained, engine=other, rows=rows)])
    assert [one.epochs.tolist() for one in both] == [list(range(1, 21)), [1, 3, 5, 7]]
    np.testing.assert_array_equal(both[1].measured, held.measured[:, :7:2])
    some = {n: getattr(held, n)[:, :1] for n in ("measured", "theory", "gain", "theory_gain")}
    one = replace(held, epochs=held.epochs[:1], **some)
    for exact in (True, False):  # of one epoch there are points, for there is no line
        for axes in drawing.held([replace(one, exact=exact)]).axes:
            assert any(line.get_marker() == "o" for line in axes.lines)
    fewer = replace(held, alphas=held.alphas[:2])
    assert _pairs([held, fewer, held, held]) == [[held, held], [held], [fewer]]


def naive_loss(paradigm, logits, mixed, labels, true, alpha):
    """Mean loss in NumPy at a held focus weight, from logits [N, m, C] or of the mixed input."""

    def probabilities(values):
        shares = np.exp(np.asarray(values, np.float64))
        return shares / shares.sum(axis=-1, keepdims=True)

    rows, places = np.arange(len(labels)), logits.shape[1]
    if paradigm == "soft":
        return -np.log(probabilities(mixed(alpha))[rows, labels]).mean()
    weights = np.full((len(labels), places), (1 - alpha) / (places - 1))
    weights[rows, true] = alpha
    if paradigm == "weighted-logits":
        return -np.log(
            probabilities((weights[..., None] * logits).sum(axis=1))[rows, labels]
        ).mean()
    each = probabilities(logits)[rows, :, labels]
    if paradigm in ("lvml", "lvml-em"):
        return -np.log((weights * each).sum(axis=1)).mean()
    return -(weights * np.log(each)).sum(axis=1).mean()


@pytest.mark.parametrize(
    "paradigm", ["soft", "hard", "hard-sampled", "lvml", "lvml-em", "weighted-logits"]
)
def test_the_gain_of_one_classifier_is_that_of_its_losses_at_two_weights(paradigm):
    alphas = (0.25, 0.995, 1.0)
    run = Training(train=150, heldout=20, test=20, segments=4, epochs=2, networks="two-layer")
    trained = train(replace(run, paradigm=paradigm, fixed_focus=alphas, batch=50))
    inputs, task = trained.engine.task.sets["train"], trained.engine.task
    segments = np.asarray(task.gather(task.base, inputs.segments))
    rows = np.arange(150)
    true = segments[rows, inputs.true]
    rest = (segments.sum(axis=1) - true) / 3
    last = {row["fixed_focus"]: row for row in trained.rows if row["epoch"] == 2}
    for replica, alpha in enumerate(alphas):
        classifier = trained.engine.modules(ev.one_run(trained, replica)).classifier
        logits = np.asarray(classifier(segments))

        def mixed(weight, classifier=classifier):
            return classifier(weight * true + (1 - weight) * rest)

        here, above = (
            naive_loss(paradigm, logits, mixed, inputs.labels, inputs.true, weight)
            for weight in (alpha, min(alpha + 0.01, 1))
        )
        found = last[alpha]["sets"]["train"]["gain"]
        assert found == pytest.approx(here - above, abs=2e-6)
        assert found == 0 if alpha == 1 else abs(found) > 1e-5
        assert "gain" not in last[alpha]["sets"]["test"]


@pytest.mark.slow
def test_the_closed_form_beside_a_real_classifier_has_the_rate_that_made_it():
    # the simple setting under another name: its rate has to be found from its losses
    trained = train(replace(EXACT, paradigm="lvml", fixed_focus=(0.3, 0.9), networks="linear"))
    (held,) = held_losses([trained])
    assert not held.exact and held.rate == pytest.approx(1, rel=0.3)


@pytest.mark.slow
def test_time_counts_momentum_and_adam_has_no_theory():
    run = replace(EXACT, momentum=0.9, learning_rates=(0.001,), passes=200)
    trained = train(run)
    assert trained.rows[-1]["time"] == pytest.approx(20 * 200 * 0.001 / 0.1)
    assert theory_over_practice(trained).deviation["mu"] < 0.05
    adam = replace(trained.engine, run=replace(trained.engine.run, optimizer="adam", momentum=0.0))
    with pytest.raises(SettingError, match="trained by sgd, got orthogonal .* trained by adam"):
        theory_over_practice(replace(trained, engine=adam))


@pytest.mark.slow
def test_sampled_setting_follows_the_theory_of_its_background():
    run = replace(EXACT, train=2000, heldout=100, epochs=40, batch=2000, momentum=0.0, passes=5)
    assert theory_over_practice(train(run)).deviation["alpha"] < 0.1


@pytest.mark.slow
def test_fit_recovers_the_model_that_made_the_curves():
    setting = Setting(5, 7, focus_rate=2.0, classifier_rate=0.5)
    times = np.linspace(0, 300, 40)
    path = solve("lvml", setting, times)
    rows = [{"paradigm": "lvml", "time": 1.0}]
    found = fit_curves(schedule_of(rows), times, path.alpha, path.beta, 5, 3.0)
    assert found.classes == pytest.approx(7, rel=1e-3)
    assert found.focus_rate == pytest.approx(2.0, rel=1e-3)
    assert found.classifier_rate == pytest.approx(0.5, rel=1e-3)
    for name, truth in (("classes", 7), ("focus_rate", 2.0), ("classifier_rate", 0.5)):
        low, high = found.intervals[name]
        assert low < truth < high < 1.2 * low, name
    assert not found.undetermined and not found.doubt
    assert min(found.explained.values()) > 1 - 1e-8
    assert max(found.distance.values()) < 1e-5
    for name, values in (("alpha", path.alpha), ("beta", path.beta)):
        there = np.interp(times, found.curves["times"], found.curves[name])
        np.testing.assert_allclose(there, values, atol=1e-3)


def test_a_fit_to_points_past_the_transient_says_that_they_cannot_tell():
    times = np.linspace(400, 2000, 12)
    path = solve("soft", Setting(5, 3), times)
    noise = 2e-3 * np.random.default_rng(0).normal(size=(2, len(times)))
    rows = [{"paradigm": "soft", "time": 1.0}]
    found = fit_curves(
        schedule_of(rows), times, path.alpha + noise[0], path.beta + noise[1], 5, 3.0
    )
    assert found.explained["alpha"] > 0.97 and found.classes > 4  # good to look at, and wrong
    low, high = found.intervals["classes"]
    assert low < 3 < high and "classes" in found.undetermined
    assert "cannot tell the effective classes and " in found.doubt
    assert "all lie past the transient (the first, at t = 400, has alpha 0.91" in found.doubt


def test_a_fit_to_points_before_the_transient_asks_for_more_of_them():
    times = np.linspace(0, 0.5, 12)
    path = solve("soft", Setting(5, 3), times)
    rows = [{"paradigm": "soft", "time": 1.0}]
    noise = 2e-3 * np.random.default_rng(0).normal(size=len(times))
    found = fit_curves(schedule_of(rows), times, path.alpha + noise, path.beta + noise, 5, 3.0)
    assert "focus_rate" in found.undetermined
    assert "all lie before the transient (the last, at t = 0.5, has alpha 0.2" in found.doubt
    assert "train for longer" in found.doubt


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(3)
    design, truth = random.normal(size=(60, 3)), np.array([1.0, -2.0, 0.5])
    bounds = (np.full(3, -10.0), np.full(3, 10.0))
    held = np.zeros(3)
    for _ in range(1000):
        residuals = 0.1 * random.normal(size=60)
        point = truth + np.linalg.lstsq(design, residuals, rcond=None)[0]
        left = design @ (point - truth) - residuals
        low, high = _interval(point, design, left, bounds)
        held += (low < truth) & (truth < high)
    # of 1000 draws 950 are expected, give or take 7; seen correlation makes intervals wider
    assert np.all(held > 930) and np.all(held < 995)
    low, high = _interval(truth, np.zeros((60, 3)), left, bounds)
    assert np.all(low == -10) and np.all(high == 10)  # nothing is told


@pytest.mark.slow
def test_curves_that_no_setting_has_are_explained_worse_than_by_a_constant():
    times = np.linspace(10, 100, 9)
    rising, falling = 0.7 + 1e-3 * np.sin(times), 0.5 - times / 1e3
    rows = [{"paradigm": "hard", "time": 1.0}]
    found = fit_curves(schedule_of(rows), times, rising, falling, 5, 3.0)
    assert min(found.explained.values()) < 0
    errors = {n: found.fitted[n] - v for n, v in (("alpha", rising), ("beta", falling))}
    for name, error in errors.items():
        assert found.distance[name] == pytest.approx(np.linalg.norm(error) / 3)


def test_the_figure_of_a_single_measured_row_shows_its_points():
    values = {"alpha": np.array([0.5]), "beta": np.array([0.6])}
    one = Practice(np.array([3.0]), values, values, {"alpha": 0.0, "beta": 0.0})
    assert len(practice(one).axes) == 2


@pytest.mark.slow
def test_a_held_focus_is_not_fitted():
    trained = train(replace(EXACT, epochs=4, fixed_focus=(0.5,)))
    with pytest.raises(SettingError, match="whose focus learns, got one .* is held at 0.5"):
        fit_run(trained)
