"""Programs from their text: parse(str(program)) == program.

The grammar alone is checked here; what a program means is for the verifier.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, get_type_hints

from echoloom.ir import recovered
from echoloom.ir.formats import Q, Real, Type
from echoloom.ir.ops import ATTRIBUTE_OF, Attribute, Op
from echoloom.ir.printer import NAME, UNSAID
from echoloom.ir.program import Accumulator, Body, Declaration, Instr, Program
from echoloom.ir.sections import SWEPT


class ParseError(ValueError):
    """The text is not a program; `line` counts from 1."""

    def __init__(self, line: int, sentence: str):
        super().__init__(f"line {line}: {sentence}")
        self.line, self.sentence = line, sentence

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.line, self.sentence), self.__dict__


_TYPE = re.compile(r"(real|Q\([-0-9:,;]*\))\[((?:[0-9]{1,9}(?:,[0-9]{1,9})*)?)\]")
_COLUMNS = r"(?:;([0-9]{1,6}(?:,[0-9]{1,6})*))?"
_SINGLE = re.compile(r"Q\((-?[0-9]{1,6}),(-?[0-9]{1,6})" + _COLUMNS + r"\)")
_EACH = re.compile(r"Q\(([0-9]{1,6}):(-?[0-9]{1,6}(?:,-?[0-9]{1,6})*)" + _COLUMNS + r"\)")
_DECLARATION = re.compile(r"(\S+) : (\S+)")
_ACCUMULATOR = re.compile(r"(\S+) \{([^{}]*)\} : (\S+)")
_INSTRUCTION = re.compile(r"%(\S+) = (\w+)\(([^()]*)\)(?: \{([^{}]*)\})? : (\S+)")
_UPDATE = re.compile(r"(\S+) <- (\S+)")
_SUM = re.compile(r"(\S+) \+= (\S+)")


def parse(text: str) -> Program:
    """The program that `text` writes; blank lines and `# comments` are skipped.

    ParseError, with the line's number, for anything that is not in the grammar.
    """
    reader = _Reader()
    for number, raw in enumerate(text.split("\n"), 1):
        line = " ".join(raw.split("#", 1)[0].split())
        if line:
            reader.line = number
            reader.read(line)
    return reader.finish()


def format_of(text: str) -> Q | Real | None:
    """The format that is written so, None for what is none. ValueError for words of no bits."""
    if text == "real":
        return Real()
    if single := _SINGLE.fullmatch(text):
        width, frac = int(single[1]) + int(single[2]), int(single[2])
        columns = single[3]
    elif each := _EACH.fullmatch(text):
        width, frac = int(each[1]), tuple(map(int, each[2].split(",")))
        columns = each[3]
    else:
        return None
    if width < 1:
        raise ValueError(f"{text} has words of {width} bits")
    return Q(width, frac, tuple(map(int, columns.split(","))) if columns else ())


class _Reader:
    def __init__(self) -> None:
        self.line = 1
        self.program: Program | None = None
        self.declared: dict[str, list[Any]] = {
            "coefficient": [], "runtime": [], "state": [], "accumulator": [],
        }  # fmt: skip
        self.bodies: list[Body] = []
        self.uses: dict[str, int] = {}  # in this body: name as written -> line of its first use

    def fail(self, sentence: str) -> ParseError:
        return ParseError(self.line, sentence)

    def read(self, line: str) -> None:
        keyword, _, rest = line.partition(" ")
        if self.program is None:
            if keyword != "program":
                raise self.fail(f"a program starts with 'program <name>', not {line!r}.")
            self.program = Program(self.name(rest), (), (), (), (), ())
        elif line.endswith(":"):
            self.section(line[:-1])
        elif found := _UPDATE.fullmatch(line):
            state, value = found.groups()
            self.begun(line)
            self.extend(updates=(self.name(state), self.use(value)))
        elif keyword == "program":
            raise self.fail("a text holds one program, and this is the second.")
        elif keyword in self.declared:
            if self.bodies:
                raise self.fail(f"{keyword} declarations come before the first body.")
            read = self.accumulator if keyword == "accumulator" else self.declaration
            self.declared[keyword].append(read(rest))
        else:
            self.statement(keyword, rest, line)

    def finish(self) -> Program:
        self.close_body()
        if self.program is None:
            raise self.fail("the text is empty; a program starts with 'program <name>'.")
        names = {d.name for d in self.declared["coefficient"]}
        return replace(
            self.program,
            coefficients=tuple(
                recovered.coefficient(d, names) for d in self.declared["coefficient"]
            ),
            runtime=tuple(self.declared["runtime"]),
            states=tuple(map(recovered.state, self.declared["state"])),
            accumulators=tuple(self.declared["accumulator"]),
            bodies=tuple(self.bodies),
            task=recovered.task(self.declared["runtime"]),
        )

    # Declarations

    def declaration(self, rest: str) -> Declaration:
        name, type_ = self.match(_DECLARATION, rest, "<name> : <type>")
        return Declaration(self.name(name), self.type(type_))

    def accumulator(self, rest: str) -> Accumulator:
        name, inside, type_ = self.match(_ACCUMULATOR, rest, "<name> {scale=...} : <type>")
        values = self.attributes(inside, Accumulator, ("scale", "target", "divisor"))
        return Accumulator(self.name(name), self.type(type_), **values)

    # Bodies

    def section(self, name: str) -> None:
        self.close_body()
        known = {s.name.lower(): s for s in SWEPT}
        if name not in known:
            raise self.fail(f"{name!r} is not a body; bodies are {', '.join(known)}.")
        self.bodies.append(Body(known[name]))

    def statement(self, keyword: str, rest: str, line: str) -> None:
        self.begun(line)
        if keyword == "frame":
            self.extend(frame=self.declaration(rest))
        elif keyword == "emit":
            self.extend(emits=self.use(rest))
        elif keyword == "accumulate":
            name, value = self.match(_SUM, rest, "accumulate <accumulator> += <value>")
            self.extend(accumulates=(self.name(name), self.use(value)))
        elif keyword.startswith("%"):
            self.extend(instrs=self.instruction(line))
        else:
            raise self.fail(f"{line!r} is neither a declaration nor a statement.")

    def begun(self, line: str) -> None:
        if not self.bodies:
            raise self.fail(f"{line!r} stands in a body, and none has begun.")

    def extend(self, **item: Any) -> None:
        """Append to one field of the body that is being read."""
        ((field, value),) = item.items()
        body = self.bodies[-1]
        self.bodies[-1] = replace(body, **{field: (*getattr(body, field), value)})

    def instruction(self, line: str) -> Instr:
        pattern = "%<name> = <op>(<operands>) {<attributes>} : <type>"
        name, op_name, operands, inside, type_ = self.match(_INSTRUCTION, line, pattern)
        operations = {op.value: op for op in Op}
        if op_name not in operations:
            raise self.fail(f"there is no operation {op_name!r}.")
        op = operations[op_name]
        args = tuple(self.use(a.strip()) for a in operands.split(",")) if operands.strip() else ()
        return Instr(
            self.use(f"%{name}"), op, args, self.type(type_), self.attribute(op, inside),
            recovered.place(name),
        )  # fmt: skip

    def attribute(self, op: Op, inside: str | None) -> Attribute | None:
        kind = ATTRIBUTE_OF.get(op)
        if kind is None:
            if inside is not None:
                raise self.fail(f"{op.value} takes no attributes.")
            return None
        names = tuple(f.name for f in fields(kind))
        values = self.attributes(inside or "", kind, names)
        unsaid = {f.name for f in fields(kind) if f.default is UNSAID}
        missing = [name for name in names if name not in values and name not in unsaid]
        if missing:
            raise self.fail(f"{op.value} lacks the attribute {missing[0]!r}.")
        return kind(**values)

    def use(self, name: str) -> str:
        """The name without its mark, which has to be the same all over the body."""
        bare = self.name(name.removeprefix("%"))
        self.uses.setdefault(name, self.line)
        return bare

    def close_body(self) -> None:
        computed = {i.name for i in self.bodies[-1].instrs} if self.bodies else set()
        for name, line in self.uses.items():
            if name.startswith("%") and name[1:] not in computed:
                raise ParseError(line, f"{name} is not computed in this body.")
            if name in computed:
                raise ParseError(line, f"{name} is computed in this body: write %{name}.")
        self.uses = {}

    # Words

    def match(self, pattern: re.Pattern[str], text: str, wanted: str) -> tuple[Any, ...]:
        found = pattern.fullmatch(text)
        if found is None:
            raise self.fail(f"expected '{wanted}', found {text!r}.")
        return found.groups()

    def name(self, text: str) -> str:
        if NAME.fullmatch(text) is None:
            raise self.fail(f"{text!r} is not a name.")
        return text

    def type(self, text: str) -> Type:
        found = _TYPE.fullmatch(text)
        format_ = self.format(found[1]) if found else None
        if found is None or format_ is None:
            raise self.fail(
                f"{text!r} is not a type; types are real[3], Q(6,22)[3] or Q(18:17,16,17)[3]."
            )
        return Type(tuple(int(n) for n in found[2].split(",") if n), format_)

    def format(self, text: str) -> Q | Real | None:
        try:
            return format_of(text)
        except ValueError as error:
            raise self.fail(f"{error}.") from None

    def attributes(self, inside: str, kind: type, allowed: Iterable[str]) -> dict[str, Any]:
        hints, values = get_type_hints(kind), {}
        for item in filter(None, (part.strip() for part in inside.split(","))):
            name, equals, text = item.partition("=")
            if name not in allowed or not equals:
                raise self.fail(f"{item!r} is not one of {', '.join(f'{a}=' for a in allowed)}.")
            if name in values:
                raise self.fail(f"{name} is given twice.")
            values[name] = self.value(hints[name], text)
        return values

    def value(self, kind: type, text: str) -> Any:
        if issubclass(kind, enum.Enum):
            known = {member.name.lower(): member for member in kind}
            if text not in known:
                raise self.fail(f"{text!r} is not one of {', '.join(known)}.")
            return known[text]
        if kind is str:
            return self.name(text)
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise self.fail(f"{text!r} is not {wanted}.") from None
