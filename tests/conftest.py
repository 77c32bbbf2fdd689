"""What every test shares: strict JAX, no global 64-bit mode, paradigms and settings with names."""

import json
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # accelerators are for tests that ask for one

import jax
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from jax.experimental.compilation_cache import compilation_cache

from attnflow.settings import Setting
from attnflow.symbolic.catalogue import CATALOGUE, power_mean
from attnflow.symbolic.paradigm import Paradigm
from oracles.recorded import REFERENCE

# compiling makes the first example slow; the same examples every time
hypothesis_settings.register_profile(
    "attnflow",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("attnflow")

PARADIGMS = [*CATALOGUE.values(), power_mean("1/2")]
SETTINGS = [Setting(2, 2), Setting(5, 3), Setting(20, 20), Setting(100, 1000)]


def setting_id(setting: Setting) -> str:
    """m100-C1000, and whatever differs from the plain setting."""
    plain = Setting(setting.segments, setting.classes).as_dict()
    rest = [f"{name}={v}" for name, v in setting.as_dict().items() if v != plain[name]]
    return "-".join([f"m{setting.segments}", f"C{setting.classes}", *rest])


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Arrays of unequal rank do not combine by accident, nor do unequal number types."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(params=PARADIGMS, ids=str)
def paradigm(request: pytest.FixtureRequest) -> Paradigm:
    """Each built-in paradigm and a power mean."""
    return request.param


@pytest.fixture(params=SETTINGS, ids=setting_id)
def setting(request: pytest.FixtureRequest) -> Setting:
    """Small, uneven, middling and the paper's large setting."""
    return request.param


@pytest.fixture(scope="session")
def reference() -> list[dict[str, Any]]:
    """25-digit trajectories, if they lie beside the checkout."""
    if not REFERENCE.exists():
        pytest.skip(f"no reference data at {REFERENCE.parent.parent.name}/data beside the checkout")
    return json.loads(REFERENCE.read_text())["trajectories"]


CACHE = {
    "jax_compilation_cache_dir": "",
    "jax_compilation_cache_max_size": 2**32,  # a limit makes readers and writers take turns
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A cache of compiled programs that all workers of this run share.

    ATTNFLOW_TEST_CACHE names a folder that keeps them from run to run.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    kept = os.environ.get("ATTNFLOW_TEST_CACHE", str(place / "compiled"))
    wanted = {**CACHE, "jax_compilation_cache_dir": kept}
    before = {name: getattr(jax.config, name) for name in CACHE}
    for name, value in wanted.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it may have begun without a folder
    yield wanted
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def compiled_once(compiled_programs: dict[str, Any]) -> Iterator[None]:
    """The same cache for the processes that a test starts."""
    for name, value in compiled_programs.items():
        os.environ[name.upper()] = str(value)
    yield
    for name in compiled_programs:
        del os.environ[name.upper()]


@pytest.fixture(scope="module")
def compiled_lightly() -> Iterator[None]:
    """Programs that are compiled with less care, where compiling is what takes the time."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)
