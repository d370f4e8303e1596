"""What users keep and send between processes: programs, results, reports and exceptions."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.compile.coefficients import PoleRange
from echoloom.backends.prove.reversibility import Claim, Proof
from echoloom.ir.parser import ParseError
from echoloom.ir.passes.links import NoOrder
from echoloom.ir.passes.recorder import Runaway
from echoloom.ir.passes.schedule import CyclicTasks
from echoloom.ir.places import Place
from echoloom.ir.refusals import Refused, Value
from echoloom.ir.tables import NoTable
from echoloom.sim.first_difference import Difference, Mismatch
from echoloom.sim.verify_reports import CycleReport, LevelReport, VerifyReport

X = np.random.default_rng(0).normal(size=(2, 6, 1))


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.fixture(scope="module")
def program() -> el.CompiledProgram:
    model = el.HSSM(inputs=1, outputs=2, hidden=2, state=1, blocks=1, key=jax.random.key(0))
    program = el.compile(model, X, [0, 1], lanes=1)
    # The caches of a program in use are there too.
    assert program.folded and program.image
    return program


def same(found: el.RunResult, wanted: el.RunResult) -> bool:
    ours, theirs = found.named(), wanted.named()
    return list(ours) == list(theirs) and all(np.array_equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("clone", [through_pickle, copy.deepcopy, copy.copy])
def test_a_compiled_program_is_the_same_afterwards(program, tmp_path, clone):
    program.save(tmp_path / "program.elp")
    for original in (program, program.with_parameters(program.model)):
        own = clone(original)
        assert same(own.run(X[0], 1), original.run(X[0], 1))
        assert eqx.tree_equal(own.gradient(X[0], 1), original.gradient(X[0], 1))
        assert own.image == original.image and str(own) == str(original)
        own.save(tmp_path / "again.elp")
        assert (tmp_path / "again.elp").read_bytes() == (tmp_path / "program.elp").read_bytes()
    loaded = el.load(tmp_path / "program.elp")
    assert loaded.folded  # used before it is sent
    assert same(clone(loaded).run(X[0], 1), program.run(X[0], 1))


def test_a_program_travels_to_another_process(program):
    """A worker that knows the program runs it, and its result comes back."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(el.CompiledProgram.run, (program, X[0], 1))
    assert same(result, program.run(X[0], 1))


def test_results_and_reports(program):
    result = program.run(X[0], 1)
    assert same(through_pickle(result), result)
    report = VerifyReport(
        {"rtl": LevelReport(9, 0, 1, 1)}, 0, {"echo": CycleReport(6, 7, 7, 0.5)}, 0, 0, "amaranth"
    )
    assert through_pickle(report) == report


# Those that are made of more than a sentence.
EXAMPLES: dict[type[BaseException], Callable[[], BaseException]] = {
    Runaway: lambda: Runaway("block 0 runs away", echo=True),
    NoOrder: lambda: NoOrder(frozenset({3, 5})),
    CyclicTasks: lambda: CyclicTasks(frozenset({"b0.free.q", "b1.free.q"})),
    Refused: lambda: Refused("no room for ", Value("b0.free.q", 0)).at("echo_step"),
    ParseError: lambda: ParseError(3, "no such word"),
    NoTable: lambda: NoTable("log", "its argument may be 0", Place(0)),
    PoleRange: lambda: PoleRange("log", "its argument may be 0", Place(0)),
    el.NotRetraced: lambda: el.NotRetraced(
        Proof((Claim("b0.free.q", 2, "b0.free.second.q", 16, 0.1, refuted=3),), (), 0.2), None
    ),
    Mismatch: lambda: Mismatch(Difference("rtl", 2, "b0", "q", (1,), 4, 16, 0)),
    el.Overflowed: lambda: el.Overflowed("this sequence overflows", None),
}


def exceptions() -> list[type[BaseException]]:
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(
        el.__path__, "echoloom.") if not m.name.endswith("__main__")]  # fmt: skip
    return [
        found
        for module in modules
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, BaseException) and found.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_exceptions_say_the_same_afterwards(kind):
    if "__init__" in vars(kind):
        assert kind in EXAMPLES, f"add an example of {kind.__name__} to EXAMPLES"
    error = EXAMPLES.get(kind, lambda: kind("a sentence"))()
    error.add_note("seen on a board")
    for found in (through_pickle(error), copy.deepcopy(error)):
        assert type(found) is kind and str(found) == str(error)
        assert vars(found) == vars(error)
