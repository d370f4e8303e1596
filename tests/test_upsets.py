"""The benchmark of upsets: what flips, who reports it, and how its table counts."""

from __future__ import annotations

import pytest
from upset_results import Report, Verdict
from upset_storage import LASTING, Storage, Upset, bits_of
from upset_trials import Trial
from upsets import MODELS, drawn, table, trial_of

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


def test_bits_are_those_of_the_inventory():
    """The memories that both count."""
    _, config, samples = trial_of(SHORT)
    bits = bits_of(config, samples)
    assert bits[Storage.X_WORDS] == config.lanes * config.vector_depth * config.word
    assert set(bits) == set(Storage) and all(bits[s] > 0 for s in Storage if s.value[:2] != "re")
    assert SHORT in MODELS
