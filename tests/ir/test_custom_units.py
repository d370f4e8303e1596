"""Units with tables, products and matrices of their own, quantised: formats, and the way back."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hamiltonians import GALLERY

from echoloom.backends.compile.stages import integers_at, probed, traced
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.frontend.models.hssm import HSSM, with_statistics
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.host import FAILURES
from echoloom.ir.ops import Table
from echoloom.ir.parser import parse
from echoloom.ir.program import Instr
from echoloom.ir.retrace import check_retrace
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.verifier import verify, verify_target
from echoloom.ir.widths import Widths

# A velocity by an odd table; one by an even table and a product; a potential whose products share
# words, driven from inside a table; a folded matrix; sums over pairs of positions.
UNITS = {"saturating_velocity": 2, "relativistic": 2, "gated": 2, "dense_mass": 3, "rotors": 3}
LENGTH, INPUTS = 60, 2


@lru_cache(maxsize=len(UNITS))
def compiled(name: str) -> tuple[IntegerProgram, np.ndarray]:
    positions, hidden = UNITS[name], 3
    unit = GALLERY[name].new(positions, hidden, jax.random.key(3))
    model = HSSM(INPUTS, 2, hidden, positions, 1, unit=unit, step=0.25, key=jax.random.key(4))
    x = np.cumsum(np.random.default_rng(5).normal(size=(3, LENGTH, INPUTS)), axis=1) / 4.0
    model = with_statistics(model, jnp.asarray(x))
    source = traced(model, x)
    return integers_at(source, tuple(e / 16 for e in probed(source)[1])), x


@pytest.mark.parametrize("name", UNITS)
def test_it_is_a_program_that_retraces_itself(name: str) -> None:
    program = compiled(name)[0].program
    verify_target(check_retrace(verify(program)), Widths())


@pytest.mark.parametrize("name", UNITS)
def test_the_free_copy_comes_back_to_rest(name: str) -> None:
    integer, x = compiled(name)
    result = numpy_run(integer, x[0], 1)
    assert not (result.forward_flags | result.echo_flags) & FAILURES
    assert all(np.any(words) for words in result.states.values())
    for state, words in result.echo_states.items():
        assert np.any(words) != (".free." in state), state


@pytest.mark.parametrize("name", UNITS)
def test_copies_and_drifts_share_formats(name: str) -> None:
    """Names that differ in the copy or in the drift only, and equal names in both passes."""
    program = compiled(name)[0].program
    bodies = [{i.name: i for i in program.body(section).instrs} for section in STEPS]
    kin: dict[tuple[int, object], list[Instr]] = {}
    for number, body in enumerate(bodies):
        for instr in body.values():
            kin.setdefault((number, instr.kin), []).append(instr)
    for alike in kin.values():
        assert len({(i.type, i.attr) for i in alike}) == 1, alike[0].name
    assert len(kin[1, (0, "first.q")]) == 6
    for instr in bodies[0].values():
        twin = bodies[1].get(instr.name)
        assert twin is None or twin.type == instr.type, instr.name


def test_a_word_of_another_format_in_one_drift_is_noticed() -> None:
    """What sharing is for: a velocity's table with one bit less in one of the two drifts."""
    text = str(compiled("saturating_velocity")[0].program)
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("echo_step:"))
    at = next(
        i for i, line in enumerate(lines)
        if i > begin and " = table(" in line and "%b0.free.second" in line
    )  # fmt: skip
    lines[at] = lines[at].replace("tanh, segment_bits=", "tanh, segment_bits=1")
    with pytest.raises(InvalidProgram, match=r"the echo does not retrace b0\.free\.q"):
        check_retrace(parse("\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "widths"),
    [("rotors", {("sin", 28), ("cos", 18)}), ("saturating_velocity", {("tanh", 28)})],
)
def test_a_table_is_narrow_only_where_a_signal_multiplies_it(
    name: str, widths: set[tuple[str, int]]
) -> None:
    """Rotors' sines are summed by a coefficient, their cosines multiply another word. A velocity
    is multiplied by one in the echo, but only to be added up as the step's gradient."""
    program = compiled(name)[0].program
    assert widths == {
        (i.attr.function, i.type.q.width)
        for i in program.body(Section.FORWARD_STEP).instrs
        if isinstance(i.attr, Table) and ".free." in i.name
    }
