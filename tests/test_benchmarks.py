"""The benchmark command: what it measures is what it says, in a record that its tables can show."""

import jax
import numpy as np
import pytest

run = pytest.importorskip("run", reason="benchmarks/ is in a checkout only")

import contenders  # noqa: E402
import roofline  # noqa: E402
import studies  # noqa: E402
import tables  # noqa: E402
from measure import Contender, alternate  # noqa: E402
from reference import error, reference  # noqa: E402


@pytest.mark.parametrize("method", ["LSODA", "DOP853", "Radau"])
@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml"])
def test_the_scipy_contender_solves_the_flow(paradigm, method):
    times = np.array([0.0, 1e4, 1e5])
    mu, nu = contenders.scipy_dense(paradigm, method, 100, 1000, times, 1e-10)()
    truth = reference(paradigm, 100, 1000, times[1:])
    # tolerance 1e-10 in each of some 200 steps
    assert error(mu[1:], nu[1:], 100, truth) < 2e-8


@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml"])
def test_the_heyoka_contender_solves_the_flow_alone_and_in_batches(paradigm):
    pytest.importorskip("heyoka", reason="the extra benchmark is not installed")
    times = np.array([0.0, 1e4, 1e5, 4e5])
    truth = reference(paradigm, 100, 1000, times[1:])
    mu, nu = contenders.heyoka_dense(paradigm, 100, 1000, times)()
    assert error(mu[1:], nu[1:], 100, truth) < 2e-12  # tolerance 1e-15 in each of some 50 steps
    many = [np.full(3, v) for v in (100.0, 1000.0)]
    assert error(*contenders.heyoka_batch(paradigm)(*many, times[1:]), 100, truth) < 2e-12


def test_error_sees_the_last_digits_of_one_minus_alpha():
    truth = reference("hard", 100, 1000, [4e5])
    mu, nu = truth[0], truth[1]
    assert error(mu, nu, 100, truth) < 1e-14
    assert error(mu, nu * (1 + 1e-12), 100, truth) > 5e-13
    assert error(np.full(1, np.nan), nu, 100, truth) == np.inf


def test_ratios_refer_to_the_first_contender():
    calls = []
    quick = Contender("quick", lambda: calls.append("quick"), {"error": 0.0})
    slow = Contender("slow", lambda: sum(range(200_000)))
    records = alternate([quick, slow], rounds=3)
    assert [r["name"] for r in records] == ["quick", "slow"]
    assert records[0]["ratio"] == 1 and records[0]["error"] == 0.0 and records[0]["runs"] == 3
    assert records[1]["ratio"] > 10
    assert len(calls) == 1 + 2 * 3  # one to see how long it takes, then untimed and timed in turn


def test_drawn_settings_are_within_the_stated_ranges():
    segments, classes, times = studies.draw(1000)
    for whole in (segments, classes):
        assert whole.min() >= 2 and whole.max() <= 1e6 and np.all(whole == np.floor(whole))
    reach = times / (segments * classes)
    assert reach.min() >= 1e-2 and reach.max() <= 1e2


@pytest.mark.slow
def test_a_small_batch_is_measured_and_shown(tmp_path):
    with jax.enable_x64(True):
        records = studies.batch("lvml", sizes=(50,), million=False, solvers=("Dopri8",))
    closed, peer = records[:2]
    assert closed["name"] == "closed form" and closed["ratio"] == 1 and closed["error"] <= 1e-12
    assert peer["name"] == "diffrax Dopri8" and peer["error"] <= studies.EQUAL
    assert all(r["rate"] == pytest.approx(50 / r["steady_s"]) for r in records)
    record = {
        "device": "cpu: test",
        "cores": 1,
        "versions": {"jax": jax.__version__},
        "created": "2026-01-01T00:00:00",
        "quick": True,
        "load": [0.0, 0.0],
        "parts": {"one core": {"dense": [], "batch": records, "horizon": [], "growth": []}},
    }
    assert "| lvml | 50 | closed form |" in tables.full(record)
    document = tmp_path / "README.md"
    old = "before\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nafter\n"
    document.write_text(old, encoding="utf-8")
    tables.insert(document, "benchmark", tables.short(record))
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "settings" in text and "heyoka" in text
    tables.insert(document, "benchmark", "again\n")
    assert document.read_text(encoding="utf-8").count("<!-- benchmark -->") == 1


def test_a_document_without_markers_is_refused(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="README.md lacks the lines <!-- benchmark -->"):
        tables.insert(document, "benchmark", "text")


PROGRAM = """HloModule test

%small (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  ROOT %n = f32[2]{0} negate(%p)
}

%body.1 (arg: (s32[], f32[8,4], bf16[4,16])) -> (s32[], f32[8,4], bf16[4,16]) {
  %arg = (s32[], f32[8,4]{1,0}, /*index=2*/bf16[4,16]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%arg), index=1
  %w = bf16[4,16]{1,0} get-tuple-element(%arg), index=2
  %dot.3 = (f32[8,16]{1,0}, u8[0]{0}) custom-call(%x, %w), custom_call_target="gemm"
  %y = f32[8,16]{1,0} get-tuple-element(%dot.3), index=0
  %flags = pred[8]{0} fusion(%y), kind=kInput, calls=%small
  ROOT %out = (s32[], f32[8,4]{1,0}, bf16[4,16]{1,0}) tuple(%i, %x, %w)
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %loop = (s32[], f32[8,4]{1,0}) while(%t), condition=%small, body=%body.1
}
"""


def test_the_traffic_of_a_step_is_what_its_kernels_read_and_write():
    product = (8 * 4) * 4 + (4 * 16) * 2 + (8 * 16) * 4
    flags = (8 * 16) * 4 + 8
    assert roofline.busiest_loop(PROGRAM) == (2, product + flags)


def test_the_traffic_of_a_compiled_loop_grows_with_its_arrays():
    def found(size):
        def body(carry, _):
            return jax.numpy.cos(carry) @ carry, None

        loop = jax.jit(lambda x: jax.lax.scan(body, x, None, length=3)[0])
        text = loop.lower(jax.ShapeDtypeStruct((size, size), "float32")).compile().as_text()
        return roofline.busiest_loop(text)

    small, large = found(128), found(256)
    assert small.traffic >= 5 * 4 * 128**2  # cos reads and writes, the product reads two
    assert large.traffic == pytest.approx(4 * small.traffic, rel=0.01)
    with pytest.raises(ValueError, match="no loop"):
        roofline.busiest_loop("ENTRY %main (a: f32[8]) -> f32[8] {\n}")
