"""Settings for every test, and which tests are slow.

`slow.txt` lists the tests that took longer than `make test` can afford. It is measured, not kept by
hand: `pytest -n 2 -m "not long and not place_and_route" --write-slow SECONDS` writes it anew. What
is marked `core` stays in `make test` all the same.
"""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports JAX: integers of 64 bits and a float64 reference are meant throughout.
os.environ["JAX_ENABLE_X64"] = "1"
# XLA compiles thousands of programs, most of them again in every worker and in every command that
# a test starts. For the length of a run they share what is compiled.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="echoloom-tests-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

LIST = Path(__file__).with_name("slow.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow", type=float, metavar="SECONDS", help=f"write {LIST.name}")


GONE = pytest.StashKey[set[str]]()  # listed tests that a run of all did not find


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the listed tests."""
    slow = set(LIST.read_text().splitlines())
    for item in items:
        if item.nodeid in slow and item.get_closest_marker("core") is None:
            item.add_marker(pytest.mark.slow)
    if config.args == config.getini("testpaths") and not config.option.ignore:
        config.stash[GONE] = slow - {item.nodeid for item in items}


@pytest.fixture
def gone_from_the_slow_list(pytestconfig: pytest.Config) -> set[str]:
    """Tests that the list names and that are not there, which only a run of all can know."""
    if GONE not in pytestconfig.stash or pytestconfig.option.write_slow is not None:
        pytest.skip("not all tests were collected, or the list is being written")
    return pytestconfig.stash[GONE]


@pytest.fixture
def small_files() -> Iterator[int]:
    """The most bytes that the system lets a file have: as on a disk that is full then."""
    bytes_, (before, most) = 4096, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, most))
    yield bytes_
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.fixture(scope="module")
def compile_in_haste() -> Iterator[None]:
    """For many compilations, each of which runs a few times."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """With --write-slow, list the tests that took longer than that."""
    limit = config.option.write_slow
    if limit is None:
        return
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    slow = sorted(r.nodeid for r in reports if r.when == "call" and r.duration > limit)
    LIST.write_text("".join(f"{nodeid}\n" for nodeid in slow))
