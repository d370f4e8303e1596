"""The benchmark of upsets: what flips, who reports it, and how its table counts."""

from __future__ import annotations

import pytest
from upset_circuit import MEMORIES, PlacedUpset
from upset_parity import parity_table
from upset_results import Report, Verdict
from upset_storage import LASTING, TABLE, SplitEngine, Spot, Storage, Upset, bits_of, flip
from upset_trials import Trial
from upsets import MODELS, drawn, table, trial_of

from echoloom.hdl.golden_sequencer import Landing
from echoloom.hdl.lane import STORE
from echoloom.ir.contract import Timing

LOADED = LASTING - {Storage.SAMPLES}  # that a host can read back
SHORT = "one lane"


@pytest.fixture(scope="module")
def trial() -> Trial:
    return trial_of(SHORT)[0]


def judged(trial: Trial, storage: Storage, count: int) -> list[Verdict]:
    return [verdict for _, verdict in trial.verdicts(drawn(SHORT, [storage], count, seed=3))]


@pytest.mark.parametrize("storage", [s for s in Storage if s in LOADED], ids=lambda s: s.name)
def test_what_is_loaded_is_never_wrong_in_silence(trial: Trial, storage: Storage):
    """Whenever it flips; a pass that ends otherwise than predicted is not played to its end."""
    verdicts = judged(trial, storage, 12)
    for verdict in verdicts:
        if verdict.harmful:
            assert verdict.reports & {Report.CHECKSUM, Report.ENDED}
    assert any(verdict.harmful for verdict in verdicts) or storage in (
        Storage.TABLES, Storage.REGISTERS,
    )  # fmt: skip


@pytest.mark.parametrize("storage", [s for s in Storage if s not in LOADED], ids=lambda s: s.name)
def test_what_lives_for_a_sweep_shows_in_another_play(trial: Trial, storage: Storage):
    for verdict in judged(trial, storage, 12):
        assert verdict.reports or not verdict.harmful
        assert Report.CHECKSUM not in verdict.reports


def test_a_state_does_not_come_back_but_a_sum_does(trial: Trial):
    """In the middle of the echo: a base of the free copy, and a word of the gradients."""
    place = trial_of(SHORT)
    middle = trial.cycles[1] // 2
    assert place[1].gradient_depth > 0
    found = {
        storage: [
            v for _, v in trial.verdicts(Upset(storage, 1, middle, seed) for seed in range(60))
        ]
        for storage in (Storage.BASES, Storage.GRADIENTS)
    }
    assert any(Report.RETURN in v.reports for v in found[Storage.BASES])
    silent = [v for v in found[Storage.GRADIENTS] if v.harmful]
    assert silent and all(v.reports == {Report.TWICE} for v in silent)


def test_upsets_are_the_same_for_a_seed_and_within_the_passes(trial: Trial):
    assert drawn(SHORT, list(Storage), 20, 5) == drawn(SHORT, list(Storage), 20, 5)
    assert drawn(SHORT, list(Storage), 20, 5) != drawn(SHORT, list(Storage), 20, 6)
    for upset in drawn(SHORT, list(Storage), 200, 5):
        assert 0 < upset.cycle < trial.cycles[upset.number]


def test_the_table_counts_each_once_and_weighs_by_bits():
    def verdict(*reports: Report, harmful: bool = True) -> Verdict:
        return Verdict(harmful, frozenset(reports))

    def upset(storage: Storage) -> Upset:
        return Upset(storage, 0, 1, 0)

    weights = [verdict(Report.CHECKSUM, Report.FLAG), verdict(harmful=False)]
    sums = [verdict(Report.TWICE), verdict()]
    found = [
        *((upset(Storage.WEIGHTS), v) for v in weights), *((upset(Storage.SUMS), v) for v in sums),
    ]  # fmt: skip
    first, second, whole = table(found, {Storage.WEIGHTS: 600, Storage.SUMS: 100})
    assert (first["flag"], first["checksum"], first["harmful"], first["played once"]) == (
        1, 0, 1, "100.000 %",
    )  # fmt: skip
    assert (second["played twice"], second["nowhere"], second["played once"], second["twice"]) == (
        1, 1, "0.000 %", "50.000 %",
    )  # fmt: skip
    # 300 of 600 bits are harmful and reported, 100 of 100 harmful, and half of these shown twice.
    assert (whole["upsets"], whole["harmful"], whole["nowhere"]) == (4, 3, 1)
    assert (whole["played once"], whole["twice"]) == ("75.000 %", "87.500 %")


def test_parity_sees_what_is_read_and_weighs_by_bits():
    """Sums: one upset does harm, one is read and does none, one is not read. A weight's is seen
    without parity, and those of tree rows are the last to be protected."""

    def found(storage: Storage, harmful: bool, *reports: Report, read: bool = True):
        return Upset(storage, 0, 1, 0), Verdict(harmful, frozenset(reports), read)

    several = [
        found(Storage.GRADIENTS, True, Report.TWICE), found(Storage.GRADIENTS, False),
        found(Storage.GRADIENTS, False, read=False), found(Storage.WEIGHTS, True, Report.CHECKSUM),
        found(Storage.TREE_ROWS, True),
    ]  # fmt: skip
    bits = {Storage.GRADIENTS: 300, Storage.WEIGHTS: 200, Storage.TREE_ROWS: 100}
    rows = parity_table(several, bits, trial_of(SHORT)[1])
    assert [row["played once"] for row in rows] == ["50.000 %", "50.000 %", "75.000 %", "100.000 %"]
    assert [row["in vain"] for row in rows] == ["0.0 %", "0.0 %", "25.0 %", "25.0 %"]
    assert [row["reported"] for row in rows] == [1, 1, 2, 3]


def test_a_word_that_does_harm_was_read(trial: Trial):
    """So parity sees every upset of a memory that does harm, and others."""
    for storage in (Storage.GRADIENTS, Storage.BASES, Storage.SLOTS):
        verdicts = judged(trial, storage, 20)
        assert all(verdict.read for verdict in verdicts if verdict.harmful)
        assert {verdict.read for verdict in verdicts} == {True, False}


def test_what_flips_in_a_cycle_flips_behind_what_lands_in_it(trial: Trial):
    """As in a circuit, where a bit flips after the clock's edge that wrote the word."""
    engine = SplitEngine(trial.question.image)
    bank = engine.slots[0]
    engine.now, engine.landing = 5, {5: [Landing((bank,), 0, 6, None)]}
    PlacedUpset(Storage.SLOTS, 0, 5, 0, (Spot("slots", 0, 0, 3, 54),)).strike(engine, [])
    assert bank[0] == 14 and not engine.landing


def test_a_bit_of_a_table_is_of_its_base_or_its_slope(trial: Trial):
    engine, word = SplitEngine(trial.question.image), trial.question.image.config.word
    (base, slope), *others = engine.image.table
    for bit, expected in ((0, (base ^ 1, slope)), (word, (base ^ 1, slope ^ 1))):
        flip(engine, Spot(TABLE, 0, 0, bit, 46))
        assert engine.image.table == (expected, *others)


def test_what_is_read_later_is_written_later_by_as_much():
    """A sum is in its memory in the cycle behind STORE; the golden engine's is there when it may be
    read, by elements that read so many cycles after their issue."""
    timing = Timing()
    assert MEMORIES["slots"].read + timing.mac_to_slot == STORE + 1
    assert MEMORIES["gradients"].read + timing.gradient == STORE + 1
    assert MEMORIES["vectors"].read == MEMORIES["bases"].read  # which one latency speaks of


def test_bits_are_those_of_the_inventory():
    """The memories that both count."""
    _, config, samples = trial_of(SHORT)
    bits = bits_of(config, samples)
    assert bits[Storage.X_WORDS] == config.lanes * config.vector_depth * config.word
    assert set(bits) == set(Storage) and all(bits[s] > 0 for s in Storage if s.value[:2] != "re")
    assert SHORT in MODELS
