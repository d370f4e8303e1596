"""`precision="auto"`: the cheapest that is good enough, found by few trials, here or elsewhere."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.chips.cost import Cost, cost_of
from echoloom.backends.chips.resources import chip_of
from echoloom.backends.compile.figures import TensorQuality
from echoloom.backends.compile.narrowing import NARROWS, WORDS, Narrowing, Trial
from echoloom.backends.compile.pipeline import Arguments, compiled
from echoloom.backends.compile.search import Searched, Unmet, kept_back
from echoloom.backends.gradients.quality import batch_quality
from echoloom.frontend.gradients.exact import hard_answers
from echoloom.ir.contract import EngineConfig
from echoloom.ir.widths import Widths


def cheap(widths: Widths) -> Cost:
    bits = widths.word + 2 * widths.narrow
    return Cost(float(1 + (widths.narrow > 18)), bits, 0, 0, 0)


def narrowing(word: int, narrow: int, together: int) -> Narrowing:
    """A search among words of which just those not shorter than these are good."""

    def attempt(many: Sequence[Widths]) -> list[Trial]:
        assert len(many) <= together
        return [
            Trial(w, cheap(w), float(w.word < word or w.narrow < narrow), TensorQuality(1.0, 1.0))
            for w in many
        ]

    return Narrowing(attempt, cheap, Widths(), 0.5, together)


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("narrow", [8, 11, 18, 19, 24])
def test_the_shortest_good_words_are_found(narrow: int, together: int) -> None:
    for word in (8, 20, 29, 30):
        search = narrowing(word, narrow, together)
        found = search.run()
        assert found is not None
        assert (found.word, found.narrow) == (max(word, narrow), narrow)
        assert len(search.made) < (28 if together == 1 else 40)


def test_what_is_not_to_be_had_is_not_found() -> None:
    search = narrowing(8, 30, 1)
    assert search.run() is None
    assert max(NARROWS) == 29 and max(WORDS) == 36
    assert max(w.word + w.narrow for w in search.made) == 55  # longer ones have no sums


def test_longer_words_may_be_cheaper_where_the_narrow_side_gets_them() -> None:
    # A trade: with narrow 10 words of 30 bits are needed, with narrow 11 of 20.
    def attempt(many: Sequence[Widths]) -> list[Trial]:
        good = {10: 30, 11: 20}
        return [
            Trial(w, cheap(w), float(w.word < good.get(min(w.narrow, 11), 99)), PERFECT)
            for w in many
        ]

    found = Narrowing(attempt, cheap, Widths(), 0.5).run()
    assert found is not None and (found.word, found.narrow) == (20, 11)


PERFECT = TensorQuality(1.0, 1.0)


def test_what_judges_does_not_reach_farthest() -> None:
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 5, 2))
    X[5, 2, 0], X[8, 1, 1] = 9.0, -7.0
    assert kept_back(X).tolist() == [2, 11, 14, 17]
    assert kept_back(X[:2]).tolist() == [0, 1]
    assert len(kept_back(np.repeat(X, 9, axis=0))) == 16


def test_a_multiplier_has_two_sides() -> None:
    chip = chip_of("ecp5-85k")
    least = {"lanes": 4, "drains": 1, "slots": 4}
    counts = {
        (word, narrow): cost_of(EngineConfig.of(Widths(word, narrow, 63), *least.values()), chip)
        for word, narrow in ((18, 18), (19, 18), (36, 18), (36, 19))
    }
    assert [cost.multipliers for cost in counts.values()] == [5, 10, 10, 20]
    assert counts[19, 18] < counts[36, 18] < counts[36, 19]


@lru_cache
def data() -> np.ndarray:
    return samples(9)


def searched(executor: Executor | None = None, **bounds: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"said": []}
    arguments = Arguments(
        small_model(), data(), None, "ecp5-25k", 2, None, 4, None, None, None, "auto",
        lambda *told: found["said"].append(told), executor=executor, **bounds,
    )  # fmt: skip
    found["program"] = compiled(arguments, lambda s, made: found.update({s.name: made}))
    return found


@lru_cache
def here() -> dict[str, Any]:
    return searched()


def test_it_is_good_enough_and_cheaper() -> None:
    found: Searched = here()["search"]
    program: el.CompiledProgram = here()["program"]
    assert found.chosen is not None and found.good and found.kept
    X = data()[list(found.kept)]
    quality = batch_quality(program, X, hard_answers(program.model, X, None))
    worst = quality.worst
    assert worst.cosine >= 0.999 and abs(worst.norm_ratio - 1.0) <= 0.01
    assert worst.cosine == pytest.approx(found.chosen.quality.cosine, abs=1e-9)
    uniform = el.compile(small_model(), data(), target="ecp5-25k", lanes=2)
    chip = chip_of("ecp5-25k")
    costs = [cost_of(p.image.config, chip) for p in (program, uniform)]
    assert costs[0] < costs[1] and costs[0].bits < costs[1].bits
    assert f"{found.chosen.cost.bits:,}  chosen" in str(found)
    again = el.compile(small_model(), data(), target="ecp5-25k", lanes=2,
                       precision=program.precision)  # fmt: skip
    assert again.image == program.image


def test_it_says_what_it_tries() -> None:
    found: Searched = here()["search"]
    told = {what for what, _, total in here()["said"] if not total}
    lengths = {f"{t.widths.word}/{t.widths.narrow}" for t in found.trials}
    assert told == {f"trying words and weights of {own} bits" for own in lengths}


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.warns(Unmet) as caught:
        found = searched(cosine=1.0 - 1e-15)
    said = [str(w.message) for w in caught if w.category is Unmet]
    assert len(said) == 1 and "\n" not in said[0]
    assert said[0].startswith("no formats were found whose gradients have a cosine of 0.99999")
    assert not found["search"].good and found["program"].precision.widths.word > 28


def assert_as_here(found: Searched) -> None:
    """Several trials at a time go another way; each that both have made is the same."""
    assert found.good and found.chosen is not None
    both = [{t.widths: t.quality for t in own.trials} for own in (found, here()["search"])]
    shared = both[0].keys() & both[1].keys()
    assert len(shared) > 3
    assert {w: both[0][w] for w in shared} == {w: both[1][w] for w in shared}
    assert found.chosen.cost.multipliers == here()["search"].chosen.cost.multipliers


def test_threads_find_as_much() -> None:
    with ThreadPoolExecutor(2) as threads:
        found = searched(threads)["search"]
    assert_as_here(found)


def test_processes_find_as_much() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        found = searched(processes)["search"]
    assert_as_here(found)


def test_a_dask_cluster_finds_as_much() -> None:
    distributed = pytest.importorskip("distributed", reason="no Dask here")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        found = searched(executor)["search"]
    assert_as_here(found)


def test_wrong_bounds_are_one_sentence() -> None:
    for name, value in (("cosine", 1.0), ("cosine", 0), ("norm", "1%"), ("norm", -0.1)):
        with pytest.raises(ValueError, match=f"compile: {name} is {value!r}, but it must be"):
            searched(None, **{name: value})
    with pytest.raises(ValueError, match="compile: executor is 'processes', but it must be a"):
        searched(cast(Any, "processes"))
