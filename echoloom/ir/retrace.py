"""Checks that the echo's free copy takes exactly the forward pass's steps backwards.

The step is its own inverse under p -> -p only if the echo computes every increment by the same
operations on the same formats: one fraction bit more in one pass and the free copy misses its start
by a few units. The check compares the two expressions, so no run of the program is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from echoloom.ir.engine import Section
from echoloom.ir.formats import Q
from echoloom.ir.program import Body, Program
from echoloom.ir.verify import InvalidProgram


def check_retrace(program: Program) -> Program:
    """InvalidProgram naming the first free state whose echo step differs; returns the program."""
    forward = _Pass(program, program.body(Section.FORWARD_STEP), echo=False)
    echo = _Pass(program, program.body(Section.ECHO_STEP), echo=True)
    for state in forward.updates:
        there, back = forward.expression(state), echo.expression(state)
        if there != back:
            raise InvalidProgram(f"the echo does not retrace {state}: {_difference(there, back)}")
    return program


Expression = tuple[object, ...]


@dataclass
class _Pass:
    program: Program
    body: Body
    echo: bool
    updates: dict[str, str] = field(default_factory=dict)
    _known: dict[tuple[str, str], Expression] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.definitions = {i.name: i for i in self.body.instrs}
        self.updates = {s: v for s, v in self.body.updates if ".free." in s}
        self.next_of = {v: s for s, v in self.updates.items()}
        self.types = self.program.types(self.body)
        self.states = {d.name for d in self.program.states}

    def expression(self, state: str) -> Expression:
        """The new value of `state` in terms of coefficients, frame, and states of this moment.

        A block below has already stepped when the forward pass reads its q; in the echo it has not
        yet stepped back: both are its q at this moment.
        """
        value = self.updates.get(state)
        if value is None:
            return ("not updated",)
        return self._expand(value, _block(state), top=True)

    def _expand(self, name: str, block: str, top: bool = False) -> Expression:
        key = (name, block)
        if not top and name in self.next_of:
            state = self.next_of[name]
            own = _block(state) == block
            return ("next" if own else "before" if self.echo else "now", state)
        if name in self.states:
            own = _block(name) == block
            return ("own" if own else "now" if self.echo else "before", name)
        if key in self._known:
            return self._known[key]
        instr = self.definitions.get(name)
        if instr is None:
            return ("given", name, str(self.types[name]))
        expression: Expression = (
            instr.op.value,
            repr(instr.attr),
            str(instr.type) if isinstance(instr.type.format, Q) else str(instr.type.shape),
            name,
            *(self._expand(a, block) for a in instr.args),
        )
        self._known[key] = expression
        return expression


def _block(state: str) -> str:
    return state.partition(".")[0]


def _difference(a: Expression, b: Expression) -> str:
    for x, y in zip(a, b, strict=False):
        if isinstance(x, tuple) and isinstance(y, tuple) and x != y:
            return _difference(x, y)
    return f"forward has {_short(a)}, echo has {_short(b)}"


def _short(expression: Expression) -> str:
    return " ".join(str(part) for part in expression if not isinstance(part, tuple))
