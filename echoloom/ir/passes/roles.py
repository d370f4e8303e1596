"""What a value is: a forward signal, or an error that learning pulls back.

Errors are narrow words, because wider ones measure no better, and every product with a forward
signal then fits one multiplier. A value is an error when it depends on the loss error and on no
echo state, or is the difference of the plus and the minus copy.
"""

from __future__ import annotations

from echoloom.ir.ops import Op
from echoloom.ir.program import Body, Program

ERROR, PLUS, MINUS = "error", "plus", "minus"


def error_values(program: Program, body: Body) -> frozenset[str]:
    """Names in `body` (states included) that are errors."""
    lineage: dict[str, frozenset[str]] = {}
    for declaration in program.globals():
        lineage[declaration.name] = frozenset(_origin(declaration.name))
    for declaration in body.frame:
        errors = (ERROR,) if declaration.name == "gain" else ()
        lineage[declaration.name] = frozenset(errors)
    for instr in body.instrs:
        joined: frozenset[str] = frozenset().union(*(lineage[a] for a in instr.args))
        if {PLUS, MINUS} <= joined and instr.op is Op.SUB:
            joined = frozenset((ERROR,))
        lineage[instr.name] = joined
    return frozenset(name for name, origins in lineage.items() if origins == {ERROR})


def _origin(name: str) -> tuple[str, ...]:
    if name in ("error", "pulled"):
        return (ERROR,)
    for copy in (PLUS, MINUS):
        if f".{copy}." in name:
            return (copy,)
    return ()
