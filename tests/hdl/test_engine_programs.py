"""Hand-written programs: values, flags and cycles against the engine's golden twin.

The golden twin shares the contract with the RTL, so every test also checks by plain NumPy
that the program does what its name says.
"""

from __future__ import annotations

import numpy as np
import pytest
from engine_bench import Pass, after_tree, check, image_of, numbers, small

from echoloom.ir.arithmetic import piecewise_linear, round_shift
from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    MacEntry,
    Narrow,
    Register,
    Space,
    Timing,
    Wide,
    XMode,
)
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.flags import Flag
from echoloom.ir.ops import DynamicShift
from echoloom.ir.sections import Section

SIZES = [(1, 1), (2, 1), (2, 2), (3, 2), (5, 1), (5, 2), (5, 3), (5, 5)]
TIMING = Timing()
READY = TIMING.mac_to_slot  # a drain may take the sum of cycle 0
END = READY + 5 + TIMING.drain_direct  # and results have landed, five entries later


def frames_of(array: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in array.tolist())


@pytest.mark.parametrize(("lanes", "drains"), SIZES)
def test_matvec_with_two_row_groups(lanes: int, drains: int) -> None:
    """y = W u for 2 P rows, u broadcast from the vector memory across words."""
    columns = lanes + 2
    weight = numbers((2 * lanes, columns))
    u = numbers((columns,), seed=1)
    banks = np.zeros((lanes, 8), dtype=np.int64)
    for element in range(columns):
        banks[element % lanes, 1 + element // lanes] = u[element]
    config = small(lanes, drains)
    chunks = -(-lanes // drains)
    image = image_of(
        config,
        {
            Section.FORWARD_PROLOGUE: (
                [
                    MacEntry(start=group * columns, inner=columns, slot=group, w_inner=1,
                             w_base=group * columns, x_mode=XMode.BROADCAST, x_base=1, x_step=1,
                             lanes=lanes)
                    for group in range(2)
                ],
                [
                    DrainEntry(start=columns - 1 + TIMING.mac_to_slot
                               + group * max(columns, chunks), slot=group, count=lanes,
                               destination=6 + group, shift=2)
                    for group in range(2)
                ],
                3 * columns + 2 * lanes + END,
            )
        },
        weight=[[*weight[lane], *weight[lanes + lane]] for lane in range(lanes)],
        vector=banks,
    )  # fmt: skip
    (result,) = check(image, [Pass()])
    expected = round_shift(weight @ u, 2)
    assert [bank[6] for bank in result.vector] == expected[:lanes].tolist()
    assert [bank[7] for bank in result.vector] == expected[lanes:].tolist()
    assert result.cycles == 3 * columns + 2 * lanes + END + TIMING.overhead
    assert result.busy == 2 * columns * lanes


@pytest.mark.parametrize(("lanes", "drains"), SIZES)
def test_transposed_matvec_through_the_tree(lanes: int, drains: int) -> None:
    """x = W^T g for 2 P rows: inner over row groups, outer over P columns."""
    weight, g = numbers((2, lanes, lanes)), numbers((2, lanes), seed=1)
    config = small(lanes, drains)
    image = image_of(
        config,
        {
            Section.ECHO_PROLOGUE: (
                [
                    MacEntry(start=0, inner=2, outer=lanes, w_inner=lanes, w_outer=1,
                             destination=Destination.TREE, slot=3, wide=Wide.Y, y_base=2, y_step=1)
                ],
                [DrainEntry(start=lanes * 2 - 1 + after_tree(config), tree=True, slot=3,
                            count=lanes, destination=0, shift=3)],
                60,
            )
        },
        weight=[[*weight[0, lane], *weight[1, lane]] for lane in range(lanes)],
        vector=[[0, 0, *g[:, lane]] for lane in range(lanes)],
    )  # fmt: skip
    (result,) = check(image, [Pass(kind=EnginePass.ECHO)])
    expected = round_shift(np.einsum("glc,gl->c", weight, g), 3)
    assert [bank[0] for bank in result.vector] == expected.tolist()


@pytest.mark.parametrize(("lanes", "drains"), [(1, 1), (3, 2)])
def test_outer_product_accumulates_and_overwrites_first(lanes: int, drains: int) -> None:
    """dW += g x^T over three steps, twice; then the sums return through load_gradient."""
    config = small(lanes, drains)
    g = numbers((lanes,), seed=1)
    inner = TIMING.gradient
    image = image_of(
        config,
        {
            Section.ECHO_STEP: (
                [
                    MacEntry(start=0, inner=4, destination=Destination.GRADIENT, g_base=1,
                             narrow=Narrow.Y, y_base=2, x_mode=XMode.INPUT, x_step=1)
                ],
                [],
                inner,
            ),
            Section.ECHO_EPILOGUE: (
                [
                    MacEntry(start=0, load_gradient=True, g_base=2, slot=1),
                    # Adds to what was loaded: 1 * g.
                    MacEntry(start=1, clear=False, w_base=0, wide=Wide.Y, y_base=2, slot=2),
                ],
                [
                    DrainEntry(start=READY, slot=1, count=lanes, destination=4),
                    DrainEntry(start=READY + 5, slot=2, count=lanes, destination=5),
                ],
                END,
            ),
        },
        weight=[[1]] * lanes,
        vector=[[0, 0, int(g[lane])] for lane in range(lanes)],
    )  # fmt: skip
    x = numbers((3, 4))
    results = check(
        image,
        [Pass(frames_of(x), kind=EnginePass.ECHO), Pass(frames_of(2 * x), kind=EnginePass.ECHO)],
    )
    for scale, result in zip((1, 2), results, strict=True):
        total = scale * np.einsum("l,tk->lk", g, x)
        assert [bank[1:] for bank in result.gradient] == total[:, :3].tolist()
        assert [bank[4] for bank in result.vector] == total[:, 1].tolist()
        assert [bank[5] for bank in result.vector] == (total[:, 1] + g).tolist()
        assert result.cycles == 3 * (inner + TIMING.overhead) + END + TIMING.overhead


@pytest.mark.parametrize(("lanes", "drains"), [(1, 1), (5, 2), (5, 5)])
def test_shifts_add_up_and_the_base_is_added_or_taken_from(lanes: int, drains: int) -> None:
    """shift + exponent of each result + dynamic register; base + r and base - r."""
    config = small(lanes, drains)
    chunks = -(-lanes // drains)
    exponents = numbers((drains, chunks + 1), 3, seed=2) % 4
    x, base = numbers((lanes,), 100_000), numbers((lanes,), seed=3)
    image = image_of(
        config,
        {
            Section.FORWARD_PROLOGUE: (
                [MacEntry(start=0, x_base=0)],
                [
                    DrainEntry(start=READY, slot=0, count=lanes, destination=2, base=1,
                               add=Add.PLUS, shift=1, use_exponents=True, exponents=1,
                               dynamic=DynamicShift.LENGTH),
                    DrainEntry(start=READY + 5, slot=0, count=lanes, destination=3, base=1,
                               add=Add.MINUS, shift=7),
                    DrainEntry(start=READY + 10, slot=0, count=lanes, destination=4, shift=62,
                               dynamic=DynamicShift.LENGTH),
                ],
                END + 10,
            )
        },
        weight=[[3]] * lanes,
        vector=[[int(x[lane]), int(base[lane])] for lane in range(lanes)],
        exponent=exponents,
    )  # fmt: skip
    registers = {Register.SHIFT_LENGTH: 2}
    (result,) = check(image, [Pass(registers=registers)])
    extra = np.array([exponents[lane % drains, 1 + lane // drains] for lane in range(lanes)])
    assert [b[2] for b in result.vector] == (base + round_shift(3 * x, 3 + extra)).tolist()
    assert [b[3] for b in result.vector] == (base - round_shift(3 * x, 7)).tolist()
    assert [b[4] for b in result.vector] == [0] * lanes


@pytest.mark.parametrize(("lanes", "drains"), [(1, 1), (5, 2)])
def test_table(lanes: int, drains: int) -> None:
    config = small(lanes, drains)
    base, slope = numbers((16,), 5000, seed=4), numbers((16,), 100, seed=5)
    x = numbers((lanes,), 300)
    image = image_of(
        config,
        {
            Section.FORWARD_PROLOGUE: (
                [MacEntry(start=0)],
                [
                    DrainEntry(start=READY, slot=0, count=lanes, destination=1, use_table=True,
                               table=7, segment_bits=4, fraction_bits=4, slope_shift=3),
                    # Follows at once, lands earlier, in another word.
                    DrainEntry(start=READY + lanes, slot=0, count=1, destination=2),
                ],
                READY + lanes + TIMING.drain_table,
            )
        },
        weight=[[1]] * lanes,
        vector=x[:, None],
        table=[(0, 0)] * 7 + list(zip(base.tolist(), slope.tolist(), strict=True)),
    )  # fmt: skip
    (result,) = check(image, [Pass()])
    expected, _ = piecewise_linear(x, base, slope, segment_bits=4, fraction_bits=4,
                                   slope_shift=3, word=config.word)  # fmt: skip
    assert [bank[1] for bank in result.vector] == expected.tolist()
    assert result.flags == Flag(0)


def test_operand_choices() -> None:
    """Every pair of narrow and wide operand, back to back, a slot each."""
    lanes = 3
    pairs = [(narrow, wide) for narrow in Narrow for wide in Wide]
    weight, x, y = 5, numbers((lanes,)), numbers((lanes,), seed=1)
    image = image_of(
        small(lanes, 3, slots=6),
        {
            Section.FORWARD_PROLOGUE: (
                [
                    MacEntry(start=cycle, slot=cycle, narrow=narrow, wide=wide, y_base=1)
                    for cycle, (narrow, wide) in enumerate(pairs)
                ],
                [
                    DrainEntry(start=READY + slot, slot=slot, count=lanes, destination=2 + slot)
                    for slot in range(6)
                ],
                END + 6,
            )
        },
        weight=[[weight]] * lanes,
        vector=np.stack([x, y], axis=1),
    )
    (result,) = check(image, [Pass()])
    values = {Narrow.WEIGHT: weight, Narrow.X: x, Narrow.Y: y, "wide": (x, y)}
    for slot, (narrow, wide) in enumerate(pairs):
        expected = values[narrow] * values["wide"][wide]
        assert [bank[2 + slot] for bank in result.vector] == expected.tolist()


def test_a_pass_that_resumes_adds_to_the_sums_and_has_no_prologue() -> None:
    """A sum over steps of 2 x, which the host also sets to 100; the prologue writes 9."""
    add = [MacEntry(start=0, destination=Destination.GRADIENT, x_mode=XMode.INPUT, g_base=1)]
    rest = [MacEntry(start=0, w_base=1)], [DrainEntry(start=READY, slot=0, count=1, destination=1)]
    image = image_of(
        small(1, 1),
        {Section.FORWARD_PROLOGUE: (*rest, END), Section.FORWARD_STEP: (add, [], 20),
         Section.FORWARD_EPILOGUE: (
             [MacEntry(start=0, destination=Destination.EMIT, x_mode=XMode.BROADCAST, x_base=1)],
             [], 20)},
        weight=[[2, 3]], vector=[[3, 0]], frame=1,
    )  # fmt: skip
    word = ((Space.GRADIENT, 0, 1, 100), (Space.VECTOR, 0, 1, -5))
    passes = [
        Pass(((1,), (10,))),
        Pass(((100,),), kind=EnginePass.RESUME),
        Pass(((1,), (1,)), kind=EnginePass.RESUME, writes=word),
        Pass((), kind=EnginePass.RESUME),
        Pass(((1,),)),
    ]
    found = check(image, passes)
    assert [one.gradient[0][1] for one in found] == [22, 222, 104, 104, 2]
    assert [one.outputs for one in found] == [[9], [9], [-5], [-5], [9]]
    step, once = 20 + TIMING.overhead, END + TIMING.overhead
    assert [one.cycles for one in found] == [
        once + 3 * step,
        2 * step,
        3 * step,
        step,
        once + 2 * step,
    ]


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_the_output_phase_says_how_many_steps_went_before(phase: int) -> None:
    emit = [MacEntry(start=0, destination=Destination.EMIT, x_mode=XMode.INPUT, x_base=0)]
    image = image_of(small(1, 1), {Section.FORWARD_STEP: (emit, [], 6)}, frame=1)
    registers = {Register.OUTPUT_STEP: 3, Register.OUTPUT_PHASE: phase}
    frames = tuple((k,) for k in range(7))
    for kind in (EnginePass.FORWARD, EnginePass.RESUME):
        (found,) = check(image, [Pass(frames, kind, registers)])
        assert found.outputs == [k for k in range(7) if (phase + k) % 3 == 2]


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_output_step_keeps_every_nth_iteration(step: int) -> None:
    image = image_of(
        small(2, 1),
        {
            Section.FORWARD_STEP: (
                [MacEntry(start=0, inner=2, destination=Destination.EMIT, x_mode=XMode.INPUT,
                          x_base=1, x_step=1)],
                [],
                6,
            ),
            Section.FORWARD_EPILOGUE: (
                [MacEntry(start=0, inner=3, destination=Destination.EMIT,
                          x_mode=XMode.BROADCAST, x_base=2, x_bank=1, x_step=1)],
                [],
                6,
            ),
        },
        vector=[[0, 0, 11, 13, 15], [0, 0, 12, 14, 16]],
    )  # fmt: skip
    x = numbers((5, 4))
    registers = {Register.OUTPUT_STEP: max(step, 1)}
    (result,) = check(image, [Pass(frames_of(x), registers=registers)])
    kept = [*x[max(step, 1) - 1 :: max(step, 1), 1:3].reshape(-1).tolist(), 12, 13, 14]
    assert result.outputs == kept
