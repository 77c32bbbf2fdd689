"""A run goes on from another: from its weights, or with more epochs."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from attnflow.errors import DataError, SettingError
from attnflow.train import evaluation as ev
from attnflow.train.config import Training, from_toml
from attnflow.train.loop import train
from attnflow.train.networks.dense import TwoLayer
from attnflow.train.run_folder import RunFolder
from training_runs import TINY, weights

pytestmark = pytest.mark.usefixtures("compiled_once")
SOFT = replace(TINY, paradigm="soft", epochs=3)


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "soft"
    return place, train(SOFT, place)


@pytest.fixture
def copied(soft, tmp_path):
    """A run that a test may change."""
    from shutil import copytree

    return copytree(soft[0], tmp_path / "soft")


def test_a_run_begins_with_the_weights_of_another_and_a_fresh_optimiser(soft, tmp_path):
    place, source = soft
    run = replace(SOFT, paradigm="lvml", start_from=str(place), epochs=2)
    hard = train(run, tmp_path / "lvml")
    kept = from_toml(tmp_path / "lvml" / "config.toml")
    assert kept.start_from == str(place) and kept.start_weights == weights(source)
    assert weights(train(kept)) == weights(hard)
    assert hard.rows[0]["alpha"] > source.rows[-1]["alpha"] - 0.05 > source.rows[0]["alpha"]
    assert hard.rows[0]["step"] == 25 and hard.rows[0]["epoch"] == 1
    tiny = replace(run, learning_rates=(1e-12,), epochs=1)
    for moved, whole in zip(
        jax.tree.leaves(ev.one_run(train(tiny))), jax.tree.leaves(ev.one_run(source)), strict=True
    ):
        np.testing.assert_allclose(moved, whole, atol=1e-7)


def test_a_run_from_another_resumes_without_it(copied, tmp_path):
    run = replace(SOFT, paradigm="hard", start_from=str(copied))
    unbroken = train(run, tmp_path / "a")

    def interrupt(done, total, told):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "b", progress=interrupt)
    copied.rename(tmp_path / "gone")
    assert weights(train(None, tmp_path / "b", resume=True)) == weights(unbroken)
    assert weights(ev.load(tmp_path / "b")) == weights(unbroken)


def test_a_source_that_has_changed_is_refused(copied, tmp_path):
    run = replace(SOFT, start_from=str(copied), epochs=1)
    train(run, tmp_path / "first")
    kept = from_toml(tmp_path / "first" / "config.toml")
    train(replace(SOFT, epochs=4), copied, resume=True)
    with pytest.raises(DataError, match="holds other weights than this config began with"):
        train(kept, tmp_path / "second")
    assert not (tmp_path / "second").exists()
    train(replace(kept, start_weights=None), tmp_path / "third")


def test_one_run_is_the_start_of_all_and_several_of_as_many(soft, tmp_path):
    place, source = soft
    still = replace(SOFT, start_from=str(place), epochs=1, learning_rates=(1e-12, 1e-11))
    both = train(still, tmp_path / "both")
    for replica in (0, 1):
        for ours, theirs in zip(
            jax.tree.leaves(ev.one_run(both, replica)),
            jax.tree.leaves(ev.one_run(source)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-7)
    again = replace(still, start_from=str(tmp_path / "both"))
    assert train(again).engine.run.start_weights
    with pytest.raises(SettingError, match="must hold one run, or the 1 that train here, got 2"):
        train(replace(again, learning_rates=(0.05,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": "linear"}, "is of other networks than this run"),
        ({"start_from": "nowhere"}, "holds no run"),
    ],
)
def test_what_cannot_be_started_from_is_named(soft, tmp_path, change, message):
    run = replace(SOFT, **{"start_from": str(soft[0]), **change})
    with pytest.raises(SettingError, match=message):
        train(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_networks_of_ones_own_start_from_a_run_of_theirs(tmp_path):
    def mine(shape, classes, rngs):
        return TwoLayer(shape, None, rngs, hidden=3), TwoLayer(shape, classes, rngs, hidden=4)

    run = replace(SOFT, epochs=1)
    source = train(run, tmp_path / "a", networks=mine)
    run = replace(run, start_from=str(tmp_path / "a"))
    assert train(run, networks=mine).engine.run.start_weights == weights(source)
    with pytest.raises(SettingError, match="is of other networks"):
        train(run)


@pytest.mark.parametrize("paradigm", ["soft", "hybrid", "soft@epoch=2,lvml:rate=10%"])
def test_a_run_made_longer_is_the_long_run(tmp_path, paradigm):
    run = replace(TINY, paradigm=paradigm, epochs=4)
    train(run, tmp_path / "run")
    longer = train(replace(run, epochs=6), tmp_path / "run", resume=True)
    kept = from_toml(tmp_path / "run" / "config.toml")
    assert kept.epochs == 6 and len(longer.rows) == 6
    assert [row["epoch"] for row in RunFolder(tmp_path / "run").metrics()] == [*range(1, 7)]
    assert kept.paradigm == {"hybrid": "soft@epoch=2,hard"}.get(paradigm, paradigm)
    assert weights(train(kept)) == weights(longer)
    again = train(None, tmp_path / "run", resume=True)  # nothing left to do
    assert weights(again) == weights(longer)


def test_a_run_is_not_made_shorter_nor_longer_where_its_rates_depend_on_its_length(tmp_path):
    run = replace(SOFT, rate_schedule="cosine", epochs=2)
    before = weights(train(run, tmp_path / "run"))
    for epochs, message in ((3, "follows a cosine over its epochs"), (1, "must be at least")):
        with pytest.raises(SettingError, match=message):
            train(replace(run, epochs=epochs), tmp_path / "run", resume=True)
    with pytest.raises(SettingError, match="another config"):
        train(replace(run, epochs=3, batch=16), tmp_path / "run", resume=True)
    assert weights(ev.load(tmp_path / "run")) == before


def test_a_run_killed_while_it_is_made_longer_is_whole(copied, monkeypatch):
    from attnflow.train import run_folder

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "save_text", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(copied).lengthen(replace(SOFT.resolved(), epochs=9))
    monkeypatch.undo()
    assert json.loads((copied / "run.json").read_text())["config"]["epochs"] == 9
    assert RunFolder(copied).config().epochs == 3
    assert train(replace(SOFT, epochs=4), copied, resume=True).engine.run.epochs == 4
    assert "before" not in json.loads((copied / "run.json").read_text())


def test_start_weights_follow_the_source_that_an_option_names(tmp_path):
    from attnflow.cli.training import config_of

    (tmp_path / "old.toml").write_text('start_from = "a"\nstart_weights = "0"\n')
    found = config_of(Training, {"start_from": "b"}, str(tmp_path / "old.toml"))
    assert found.start_from == "b" and found.start_weights is None
