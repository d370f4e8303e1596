"""Whether a program has room in the memories of an engine, and if not, what would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from echoloom.ir.entry_layouts import MOST_LANES, MOST_WORDS
from echoloom.ir.ops import Table
from echoloom.ir.passes.allocate import Allocation
from echoloom.ir.passes.entries import Shared
from echoloom.ir.passes.layout import Memory
from echoloom.ir.passes.tasks import Task
from echoloom.ir.program import Program
from echoloom.ir.tables import TableContents, table_key

SMALLER = "a smaller hidden, smaller units or fewer blocks need less"


class DoesNotFit(ValueError):
    """A program needs more words of a memory than the host bus addresses."""


def vector_words(at: Allocation) -> int:
    """Words of vector memory in each lane: what bodies share, then every body's own."""
    return max([at.vectors.used, *(memory.used for memory in at.temporaries.values())])


def weight_words(at: Allocation, shared: Shared) -> int:
    """Words of weight memory in each lane: coefficients, then factors of moves."""
    return at.weight.used + len(shared.factors)


def check_fits(
    program: Program,
    tables: Mapping[str, TableContents],
    at: Allocation,
    shared: Shared,
    tasks: Collection[Sequence[Task]],
) -> None:
    """DoesNotFit names the first memory that is too small, what it would hold, and a way out."""
    vectors = [at.vectors, *at.temporaries.values()]
    for what, memories, used in (
        ("weights", [at.weight], weight_words(at, shared)),
        ("vectors", vectors, vector_words(at)),
        ("gradient sums", [at.gradient], at.gradient.used),
    ):
        if used > MOST_WORDS:
            raise _too_much(
                f"with lanes={at.lanes} the {what} take {used:,} words in every lane",
                _lanes_enough(at.lanes, memories, used),
            )
    if shared.table_words > MOST_WORDS:
        raise _too_much(
            f"the tables of {_functions(program, tables)} take {shared.table_words:,} words",
            "functions whose arguments stay in a smaller range take fewer segments, and fewer "
            "blocks fewer tables",
        )
    exponents = len(shared.exponent_words[0])
    if exponents > MOST_WORDS:
        raise _too_much(
            f"the exponents of single weights take {exponents:,} words in each of "
            f"{shared.config.drains} drains",
            SMALLER,
        )
    everything = [task for section in tasks for task in section]
    # Every section's entries are ended by one more.
    multiplies = len(tasks) + sum(len(task.multiplies) for task in everything)
    drained = len(tasks) + sum(task.drain is not None for task in everything)
    for what, count in (("multiply", multiplies), ("drain", drained)):
        if count > MOST_WORDS:
            raise _too_much(
                f"with lanes={at.lanes} the program has {count:,} {what} instructions",
                "more lanes need fewer, and " + SMALLER,
            )


def _too_much(need: str, way_out: str) -> DoesNotFit:
    return DoesNotFit(f"{need}, but an engine addresses {MOST_WORDS:,}: {way_out}")


def _lanes_enough(lanes: int, memories: Sequence[Memory], used: int) -> str:
    """The fewest lanes, doubled from these, on which all of it has room."""
    places = [place for memory in memories for place in memory.places.values()]
    besides = used - sum(place.words(lanes) for place in places)  # of one word in every lane
    while (lanes := 2 * lanes) <= MOST_LANES:
        if besides + sum(place.words(lanes) for place in places) <= MOST_WORDS:
            return f"with lanes={lanes} they fit"
    return f"no engine has more than {MOST_LANES} lanes; {SMALLER}"


def _functions(program: Program, tables: Mapping[str, TableContents]) -> str:
    """Functions by the words that their tables take: "cos (4,096), gelu (512)"."""
    functions: dict[str, str] = {}
    for body in program.bodies:
        types = program.types(body)
        for instr in body.instrs:
            if isinstance(instr.attr, Table):
                functions[table_key(instr, types[instr.args[0]].q)] = instr.attr.function
    words = Counter[str]()
    for key, function in functions.items():
        words[function] += len(tables[key].base)
    return ", ".join(f"{name} ({count:,})" for name, count in words.most_common())
