"""Words as segments: learned under every paradigm, padded without trace, measured as by hand."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax

from attnflow.errors import SettingError
from attnflow.train import evaluation as ev
from attnflow.train.config import Replica, Training
from attnflow.train.data.generate import write_hatexplain
from attnflow.train.engine import build
from attnflow.train.epoch import Arrays, Rows, batch_gradient, noise_of, order_in_buckets, run_epoch
from attnflow.train.length_buckets import buckets_of
from attnflow.train.loop import task_of, train
from attnflow.train.networks import contract
from attnflow.train.networks import named as nets
from attnflow.train.networks.text import Embedding, positions
from attnflow.train.objective import objective
from attnflow.train.outputs import compose, read, score_base, table_of
from attnflow.train.parallel import Devices
from attnflow.train.report.compare_runs import compare_runs
from attnflow.train.tasks import Mosaics, Task
from training_runs import weights

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
SLOW = pytest.mark.slow
ROWS = (0, 7)
QUICKLY = {"xla_backend_optimization_level": 0}
PARADIGMS = ("soft", "hard", "hard-sampled", "lvml", "lvml-em", "power-1/2")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run on a small corpus, whose posts are padded to two lengths."""
    place = write_hatexplain(tmp_path_factory.mktemp("corpus"), 900)
    return Training(
        task="hatexplain",
        data=str(place),
        train=600,
        heldout=85,
        test=85,
        max_length=32,
        epochs=6,
        batch=32,
        learning_rates=(0.003,),
    )


@pytest.fixture(scope="module")
def trained(small):
    """Paradigm -> the trained run, each trained once."""
    return cache(lambda paradigm: train(replace(small, paradigm=paradigm)))


def engine_of(run, networks="text"):
    run = replace(run, networks=networks).resolved()
    return build(task_of(run), run, networks, Devices())


def one_state(engine):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], engine.start())


def truth_of(trained, name):
    return np.asarray(trained.engine.task.sets[name].truth)


@pytest.mark.parametrize(
    "paradigm",
    [
        "soft",
        pytest.param("lvml", marks=SLOW),
        pytest.param("hard", marks=SLOW),
        pytest.param("hard-sampled", marks=SLOW),
        pytest.param("lvml-em", marks=SLOW),
        pytest.param("power-1/2", marks=SLOW),
        pytest.param("hybrid", marks=SLOW),
    ],
)
def test_every_paradigm_finds_class_and_planted_words(trained, paradigm):
    shown = ev.evaluate(trained(paradigm))["sets"]["test"]
    assert shown["focus_true"] > 85  # chance: some 15
    assert shown["auprc"] > 0.85  # chance: some 0.3
    assert shown["argmax"]["accuracy"] > 80  # chance: 33; about 96 is possible
    assert shown["mixture"]["macro_f1"] > 80
    for rule in ev.RULES:
        four = sum(shown[rule][name] for name in ("ftpt", "ffpt", "ftpf", "ffpf"))
        assert four == pytest.approx(100)
    assert shown["with_truth"] == int(truth_of(trained(paradigm), "test").any(axis=1).sum())
    told = trained(paradigm).rows[-1]["sets"]["test"]
    assert 100 * told["focus_true"] == pytest.approx(shown["focus_true"], abs=1e-3)
    assert 100 * told["accuracy"] == pytest.approx(shown["argmax"]["accuracy"], abs=1e-3)
    assert 100 * told["macro_f1"] == pytest.approx(shown["argmax"]["macro_f1"], abs=1e-3)
    # a post without a rationale counts as focus false where it counts
    every = ev.evaluate(trained(paradigm), count_unknown=True)["sets"]["test"]
    share = shown["with_truth"] / len(truth_of(trained(paradigm), "test"))
    assert 0 < share < 1
    assert every["focus_true"] == pytest.approx(shown["focus_true"] * share)
    for rule in ev.RULES:
        assert every[rule]["ftpt"] == pytest.approx(shown[rule]["ftpt"] * share)
        right = every[rule]["ftpt"] + every[rule]["ffpt"]
        assert right == pytest.approx(every[rule]["accuracy"]) == shown[rule]["accuracy"]
    assert every["auprc"] == shown["auprc"] and every["with_truth"] == shown["with_truth"]


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", [*PARADIGMS, "soft@epoch=3,hard"])
def test_words_in_context_are_learned_too(small, paradigm):
    run = replace(small, networks="text-transformer", learning_rates=(0.001,), epochs=8)
    shown = ev.evaluate(train(replace(run, paradigm=paradigm)))["sets"]["test"]
    # in context other words tell the class too, so the focus need not lie on the planted ones
    assert shown["focus_true"] > 30 and shown["auprc"] > 0.4  # chance: some 15 and 0.3
    assert shown["argmax"]["accuracy"] > 75


@pytest.mark.parametrize("networks", ["text", pytest.param("text-transformer", marks=SLOW)])
def test_padding_changes_neither_loss_nor_gradient_of_any_paradigm(small, networks):
    engine = engine_of(replace(small, batch=8), networks)
    state, bucket, train = one_state(engine), engine.buckets[0], engine.inputs["train"]
    index = jnp.asarray(bucket.members[:8], jnp.int32)
    mask = np.asarray(train.mask)
    assert bucket.length < engine.task.segments and not mask[index, : bucket.length].all()
    share = np.random.default_rng(0).random(mask.shape) * mask
    share = jnp.asarray(share / share.sum(axis=1, keepdims=True), jnp.float32)

    @partial(jax.jit, static_argnums=1, compiler_options=QUICKLY)
    def of_all(state, length):
        found = {}
        for paradigm in PARADIGMS:
            goal = objective(paradigm)
            given = state["weights"], state["baseline"], Replica(0, 0.1), engine.base, train, share
            rows = Rows(index, index >= 0, noise_of(engine, goal, jax.random.key(1)))
            found[paradigm] = batch_gradient(engine, goal, Arrays(*given), rows, length)
        return found

    short, long = of_all(state, bucket.length), of_all(state, None)
    for paradigm in PARADIGMS:
        loss, (alpha, count), gradient, _ = short[paradigm]
        other, (mass, number), theirs, _ = long[paradigm]
        np.testing.assert_allclose((loss, alpha), (other, mass), rtol=3e-6)
        assert count == number
        largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(theirs), strict=True):
            # float32 sums in another order; some gradients are 0 but for rounding
            close = 3e-6 * float(np.abs(b).max()) + 1e-7 * largest
            np.testing.assert_allclose(a, b, atol=close, rtol=0)
        for one in (gradient, theirs):
            words = len(engine.task.vocabulary)
            (table,) = (leaf for leaf in jax.tree.leaves(one["encoder"]) if len(leaf) == words)
            assert not np.any(table[0]) and np.any(table[2])  # nothing flows to padding, exactly


@pytest.mark.parametrize("networks", ["text", "text-transformer"])
def test_a_set_is_read_as_each_post_alone_without_padding(small, networks):
    engine = engine_of(replace(small, train=40), networks)
    state = one_state(engine)
    assert engine.contextual == (networks == "text-transformer")
    groups, part = engine.groups["test"], engine.inputs["test"]
    assert len(groups) == (2 if engine.contextual else 1)
    replica = Replica(0, 0.1)
    counts = np.asarray(part.mask).sum(axis=1)

    @partial(jax.jit, compiler_options=QUICKLY)
    def both(state):
        table = table_of(engine, state["weights"], engine.base)
        out = read(engine, state["weights"], engine.base, part, replica, table, groups)
        made = engine.modules(state["weights"])
        alone = {}
        for row in ROWS:
            one = part.at(np.array([row]), int(counts[row]))
            segments = compose(engine, made, engine.base, replace(one, mask=None))
            alone[row] = made.focus(segments)[0], made.classifier(segments)[0]
        rows, there = jnp.array(ROWS), jnp.array([1, 1])
        picked = out.at(rows, there), out.best_at(rows, there)
        return out.log_weights, out.raw, out.each, out.mixture, picked, alone

    log_weights, raw, each, mixture, picked, alone = jax.tree.map(np.asarray, both(state))
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5)
    for place, row in enumerate(ROWS):
        scores, logits = alone[row]
        count = counts[row]
        close(log_weights[row, :count], log_softmax(scores))
        assert np.all(log_weights[row, count:] == -np.inf)
        close(raw[row, :count], scores)
        chances = softmax(logits, axis=1)
        close(np.exp(each[row, :count]), chances[:, int(part.labels[row])])
        close(np.exp(mixture[row]), softmax(scores) @ chances)
        close(picked[0][place], logits[1])
        assert picked[1][place] == np.argmax(logits[1])


def test_every_post_comes_once_an_epoch_from_buckets_in_random_order(small):
    engine = engine_of(replace(small, passes=2))
    lengths = [bucket.length for bucket in engine.buckets]
    assert len(lengths) > 1 and lengths == sorted(lengths)
    drawn = jax.jit(partial(order_in_buckets, engine), compiler_options=QUICKLY)
    index, present, which = (np.asarray(a) for a in drawn(jax.random.key(1), 0))
    assert index.shape == (engine.steps, 32)
    half = engine.steps // 2
    for one in (slice(0, half), slice(half, None)):
        assert sorted(index[one][present[one]].tolist()) == list(range(600))
    needed = np.asarray(engine.inputs["train"].mask).sum(axis=1)
    for row, here, bucket in zip(index, present, which, strict=True):
        assert set(row[here]) <= set(engine.buckets[bucket].members)
        assert needed[row[here]].max() <= lengths[bucket]
    other, _, turns = (np.asarray(a) for a in drawn(jax.random.key(2), 0))
    assert np.array_equal(turns, which) and not np.array_equal(other, index)
    assert not np.array_equal(drawn(jax.random.key(1), 1)[2], which)
    assert sorted(which.tolist()) != which.tolist()  # short and long posts in turn


def test_a_bucket_too_small_for_a_batch_joins_the_next(small):
    made = task_of(small.resolved())
    part = made.sets["train"]
    for least in (1, 32, 200, 1000):
        found = buckets_of(made, part, least)
        members = np.concatenate([b.members for b in found])
        assert sorted(members.tolist()) == list(range(600))
        needed = part.mask.sum(axis=1)
        assert all(needed[b.members].max() == b.length for b in found)  # no place in vain
        assert len(found) == 1 or all(len(b.members) >= least for b in found)
    assert len(buckets_of(made, part, 1000)) == 1
    whole = replace(made, lengths=())
    assert [b.length for b in buckets_of(whole, part)] == [made.segments]


def test_runs_trained_at_once_still_compute_one_length_a_step(small):
    engine = engine_of(replace(small, seeds=(0, 1)))
    rates = {name: jnp.full(2, 0.1) for name in engine.divided}
    replicas = Replica(jnp.arange(2, dtype=jnp.uint32), rates)
    together = jax.vmap(
        partial(run_epoch, engine, objective("soft")), in_axes=(0, 0, None, None, None)
    )
    given = engine.start(), replicas, jnp.int32(0), engine.base, engine.inputs["train"]
    # were the bucket another in each run, the choice would be computed as a selection
    assert "cond[" in str(jax.make_jaxpr(together)(*given))


@pytest.mark.slow
def test_posts_trained_at_once_are_those_trained_alone(small):
    together = train(replace(small, seeds=(3, 4), paradigm="lvml"))
    for replica, seed in enumerate((3, 4)):
        alone = train(replace(small, seeds=(seed,), paradigm="lvml"))
        ours = [row["loss"] for row in together.rows if row["seed"] == seed]
        np.testing.assert_allclose(ours, [row["loss"] for row in alone.rows], rtol=1e-3)
        pair = zip(
            jax.tree.leaves(ev.one_run(together, replica)),
            jax.tree.leaves(ev.one_run(alone)),
            strict=True,
        )
        assert all(np.allclose(a, b, rtol=1e-2, atol=1e-3) for a, b in pair)


@pytest.mark.slow
def test_each_of_the_runs_trained_at_once_has_a_page_of_posts(small, tmp_path):
    train(replace(small, seeds=(3, 4), epochs=1), tmp_path / "run")
    report = compare_runs([tmp_path / "run"], tmp_path / "page").read_text()
    pages = [(tmp_path / "page" / f"posts-run-{replica}.html").read_text() for replica in (0, 1)]
    for replica, seed in enumerate((3, 4)):
        assert f"(posts-run-{replica}.html)" in report and f"Posts of run, seed {seed}," in report
        assert f"seed {seed}, rate 0.003; the first 60 of 85" in pages[replica]
    assert pages[0].split("<article>")[1:] != pages[1].split("<article>")[1:]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    "change",
    [
        {},
        pytest.param({"paradigm": "lvml-em", "networks": "text-transformer"}, marks=SLOW),
        pytest.param({"paradigm": "hard-sampled", "seeds": (1, 2)}, marks=SLOW),
    ],
)
def test_a_resumed_run_on_posts_ends_with_the_weights_of_an_unbroken_one(
    tmp_path, small, trained, change
):
    run = replace(small, **{"paradigm": "soft", **change})
    unbroken = train(run) if change else trained("soft")

    def interrupt(done, total, rows):
        if done == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(run, tmp_path, progress=interrupt)
    assert weights(train(None, tmp_path, resume=True)) == weights(unbroken)
    found = ev.load(tmp_path)
    assert weights(found) == weights(unbroken)
    assert found.engine.run.max_length == 32 and found.engine.run.optimizer == "adam"


@pytest.fixture(scope="module")
def simple():
    """Words 2 and 3 make the classes; the last input has no known truth."""
    numbers = np.array([[2, 4, 0], [4, 3, 5], [4, 5, 0], [2, 2, 4]], np.int32)
    mask = numbers > 0
    truth = (numbers == 2) | (numbers == 3)
    labels = np.array([0, 1, 1, 0], np.int32)
    part = Mosaics(numbers, labels, np.full(4, -1, np.int32), mask, truth)
    words = ("<padding>", "<unknown>", "x", "y", "u", "v")
    return Task("simple", np.arange(6, dtype=np.int32), {"train": part}, 2, vocabulary=words)


def test_a_task_of_ones_own_in_words_trains_with_a_held_focus_and_is_summed_up(simple):
    run = Training(paradigm="hard", networks="text", epochs=4, batch=4, fixed_focus=(0.75,))
    trained = train(run, task=simple)
    told = trained.rows[-1]["sets"]["train"]
    assert told["alpha"] == pytest.approx(0.75, rel=1e-5)
    assert trained.rows[-1]["alpha"] == pytest.approx(0.75, rel=1e-5)
    shares = ev.signature(trained, "train")
    assert shares.shape == (5, 5) and shares.sum() == pytest.approx(1)
    assert shares[3].sum() == pytest.approx(1)  # 0.75 lies in the fourth fifth
    # of three inputs 2 words, 3 words, 3 words: 1/2, 1/3 and 2/3 of them are true
    assert simple.setting_of_fit.segments == 2


def test_an_encoder_of_ones_own_serves_vectors_too():
    class Sum(nnx.Module):
        """Adds the mean of the input to each segment."""

        def __init__(self, rngs):
            self.gain = nnx.Param(jnp.ones(()))

        def __call__(self, items, mask):
            return items + self.gain[...] * jnp.mean(items, axis=1, keepdims=True)

    def mine(shape, classes, rngs):
        pair = nets.NETWORKS["linear"](shape, classes, rngs)
        return (*pair, Sum(rngs))

    run = Training(task="orthogonal", segments=4, classes=3, epochs=3, passes=2, paradigm="lvml")
    trained = train(run, networks=mine)
    assert trained.engine.contextual
    assert float(ev.one_run(trained)["encoder"]["gain"].get_value()) != 1.0
    assert set(ev.evaluate(trained)["sets"]["train"]) == {*ev.RULES, "focus_true"}


def test_positions_are_sines_and_cosines_of_falling_frequency():
    found = np.asarray(positions(7, 6))
    place = np.arange(7)
    np.testing.assert_allclose(found[:, 0], np.sin(place), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], np.cos(place), atol=1e-6)
    np.testing.assert_allclose(found[:, 4], np.sin(place / 1e4 ** (2 / 3)), atol=1e-6)


def test_word_vectors_start_standard_normal():
    table = np.asarray(Embedding(400, nnx.Rngs(0)).table.embedding[...])
    assert table.shape == (400, 100)
    assert table.std() == pytest.approx(1, rel=0.02) and abs(table.mean()) < 0.02


def test_networks_that_do_not_fit_words_are_refused(simple, small):
    with pytest.raises(SettingError, match="words need networks with an encoder, .* got linear"):
        contract.networks("linear", (6,), 2, 0, tokens=True)
    with pytest.raises(SettingError, match="networks text read words, got segments"):
        contract.networks("text", (6,), 2, 0)
    with pytest.raises(SettingError, match="this network needs words, got segments"):
        contract.networks("text", (4, 4, 3), 2, 0)

    def flat(shape, classes, rngs):
        class Flat(nnx.Module):
            def __call__(self, items, mask):
                return items

        return (*nets.NETWORKS["linear"](shape, classes, rngs), Flat())

    with pytest.raises(SettingError, match=r"encoder\(items, mask\) must have shape \(2, 3, ...\)"):
        contract.networks(flat, (6,), 2, 0, tokens=True)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"segments": 5}, "segments is for digits, orthogonal, cifar10 and cifar100 only, got 5"),
        ({"task": "digits", "data": None, "label": "first"}, "label is for the hatexplain task"),
    ],
)
def test_options_of_other_tasks_are_refused(small, change, message):
    if "task" in change:
        change = {**change, "max_length": None}
    with pytest.raises(SettingError, match=message):
        task_of(replace(small, **change))


def test_base_words_are_scored_once(simple):
    engine = build(simple, Training(networks="text").resolved(), "text", Devices())
    scores, logits = score_base(engine, one_state(engine)["weights"], engine.base)
    assert scores.shape == (6,) and logits.shape == (6, 2)
