"""Equal programs are compiled once for all tests here: most of their time would be compilation."""

import os
from collections.abc import Iterator

import jax
import pytest

CACHE = {
    "jax_compilation_cache_dir": "",
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@pytest.fixture(scope="package", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of compiled programs, for this process and those it starts."""
    before = {name: getattr(jax.config, name) for name in CACHE}
    wanted = {**CACHE, "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled"))}
    for name, value in wanted.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
        del os.environ[name.upper()]
