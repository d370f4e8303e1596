"""A multiply lane between its memories and its multiplier, against what an element does.

Its memories and its multiplier are cut out: what comes from there may be anything, so a claim is of
what is multiplied and added, whatever the words are. The element is issued in cycle 0.
"""

from __future__ import annotations

import bitwuzla as smt

from echoloom.backends.prove.circuit import Circuit, Claims, circuit
from echoloom.backends.prove.words import Term, Words
from echoloom.hdl.lane import ADD, BROADCAST, OPERANDS, STORE, Lane
from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import EngineConfig, Narrow, Wide, XMode

MEMORIES = "t:$memrd_v2"  # Yosys' cells that read them


def lane(words: Words, config: EngineConfig) -> Claims:
    """What is multiplied, what it is added to, and when the sum raises the flag."""
    own = circuit(words, Lane(config, 0), STORE + 1, cut=["multiplier", MEMORIES])
    make, number = words.make, words.number
    given = [*own.rules]

    x_local, y = own.word("x_word_4", OPERANDS), own.word("y_word_4", OPERANDS)
    x = _if(words, _is(own, OPERANDS, "x_mode", XMode.LOCAL), x_local,
            own.word("broadcast", BROADCAST))  # fmt: skip
    wide = _if(words, _is(own, OPERANDS, "wide", Wide.X), x, y)
    yield (
        "the wide operand is X or Y",
        make(smt.Kind.EQUAL, own.word("wide", OPERANDS), wide),
        given,
    )

    bits = number(config.narrow)
    low_x, low_y = (words.narrowed(word, bits, Overflow.WRAP) for word in (x, y))
    narrow = _if(words, _is(own, OPERANDS, "narrow", Narrow.Y), low_y,
                 own.word("weight_2", OPERANDS))  # fmt: skip
    narrow = _if(words, _is(own, OPERANDS, "narrow", Narrow.X), low_x, narrow)
    same = make(smt.Kind.EQUAL, own.word("narrow", OPERANDS), narrow)
    yield "the narrow operand is a weight, or the low bits of X or Y", same, given

    # While the engine runs no host writes a gradient word.
    running = [make(smt.Kind.NOT, own.bit("write_gradient_1", k)) for k in range(STORE + 2)]
    start = _if(words, own.bit(f"stage__{ADD - 2}.from_gradient", ADD - 2),
                own.word("gradient_1", ADD - 1), number(0))  # fmt: skip
    before = words.narrowed(own.word("updated", ADD), number(config.accumulator), Overflow.WRAP)
    start = _if(words, own.bit(f"stage__{ADD - 1}.from_accumulator", ADD - 1), before, start)
    total = make(smt.Kind.BV_ADD, start, own.word("product", ADD))
    same = make(smt.Kind.EQUAL, own.word("updated", STORE), total)
    yield "sum = 0, gradient word or sum before, + product", same, [*given, *running]

    over = make(
        smt.Kind.OR,
        _raises(own, words, "accumulate", config.accumulator),
        _raises(own, words, "gradient", config.gradient_bits),
    )
    flag = make(smt.Kind.EQUAL, own.bit("overflow", STORE + 1), over)
    yield "`overflow` says that a sum that is kept is out of its range", flag, given


def _if(words: Words, condition: Term, then: Term, otherwise: Term) -> Term:
    return words.make(smt.Kind.ITE, condition, then, otherwise)


def _is(own: Circuit, cycle: int, what: str, value: int) -> Term:
    """Whether the operation that the lane is given a cycle before says so."""
    word = own.word(f"stage__{cycle - 1}.{what}", cycle - 1, signed=False)
    return own.words.make(smt.Kind.EQUAL, word, own.words.number(value))


def _raises(own: Circuit, words: Words, what: str, width: int) -> Term:
    """Whether a sum is kept so and does not fit; unlike a word it may be the most negative one."""
    kept = own.bit(f"stage__{STORE - 1}.{what}", STORE - 1)
    total = own.word("updated", STORE)
    wrapped = words.narrowed(total, words.number(width), Overflow.WRAP)
    return words.make(smt.Kind.AND, kept, words.make(smt.Kind.DISTINCT, total, wrapped))
