"""What a compiled program is like, as values for JSON and as tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.run.integers import input_types, output_type
from echoloom.ir.formats import Type
from echoloom.ir.learning import ScaledUpdate, rule_settings
from echoloom.ir.ops import Table as TableOp
from echoloom.ir.passes.estimate import products, step_cycles, utilisation
from echoloom.ir.passes.image import Mapped
from echoloom.ir.places import Copy
from echoloom.ir.program import Program
from echoloom.ir.reversible import moved
from echoloom.ir.sections import STEPS
from echoloom.ir.tables import table_key
from echoloom.ir.update_rules import step_units

PASSES = ("forward", "echo")


def formats(program: Program) -> list[dict[str, Any]]:
    """Word lengths and resolutions by kind: values, bits, and the smallest and largest exponent
    of the least significant bit.
    """
    kinds: dict[str, list[Type]] = {"samples": [input_types(program)["x"]]}
    for declaration in program.coefficients:
        kinds.setdefault("coefficients", []).append(declaration.type)
    for declaration in program.states:
        at = declaration.coordinate
        if at is not None and at.copy is Copy.FREE:
            kinds[f"state b{at.block} {at.letter.value}"] = [declaration.type]
    kinds["outputs"] = [output_type(program)]
    kinds["gradients"] = [a.type for a in program.accumulators if a.target]
    return [
        {
            "kind": kind,
            "values": sum(t.size for t in types),
            "bits": sorted({t.q.width for t in types}),
            "lsb": [-max(max(t.q.fracs) for t in types), -min(min(t.q.fracs) for t in types)],
        }
        for kind, types in kinds.items()
    ]


def formats_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("words", "values", "bits", "least significant bit")
    for row in rows:
        low, high = row["lsb"]
        lsb = f"2^{low}" if low == high else f"2^{low} to 2^{high}"
        table.add_row(row["kind"], f"{row['values']:,}", ", ".join(map(str, row["bits"])), lsb)
    return table


def functions(program: CompiledProgram) -> list[dict[str, Any]]:
    """Functions by table: how often looked up, what their lines cover, and the worst error that
    they make wherever the result fits its word."""
    rows: dict[tuple[str, int, int], dict[str, Any]] = {}
    for body in program.ir.bodies:
        types = program.ir.types(body)
        for instr in body.instrs:
            if not isinstance(instr.attr, TableOp):
                continue
            attr = instr.attr
            contents = program.artifact.tables[table_key(instr, types[instr.args[0]].q)]
            row = rows.setdefault(
                (attr.function, attr.segment_bits, attr.range_bits),
                {
                    "function": attr.function,
                    "uses": 0,
                    "segments": len(contents.base),
                    "reach": 2.0**attr.range_bits,
                    "worst_error": 0.0,
                },
            )
            row["uses"] += 1
            row["worst_error"] = max(row["worst_error"], contents.worst_error)
    return list(rows.values())


def functions_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("function", "uses", "segments", "bends within", "worst error")
    for row in rows:
        table.add_row(
            row["function"], str(row["uses"]), str(row["segments"]), f"±{row['reach']:g}",
            f"{row['worst_error']:.1e}",
        )  # fmt: skip
    return table


def proofs(program: CompiledProgram, length: int) -> dict[str, Any]:
    """Of sequences of up to `length` steps: how many words and sums over time provably stay in
    their formats, of how many, and the state that can get the farthest beyond its own."""
    found = program.artifact.bounds(length)
    states = {value for section in STEPS for value in moved(program.ir.body(section))}
    shares = [
        (bound.reach / bound.limit, word.name)
        for word, bound in found.words.items()
        if word.name in states and math.isfinite(bound.reach)
    ]
    farthest, name = max(shares, default=(None, ""))
    return {
        "steps": length,
        "words": sum(bound.fits for bound in found.words.values()),
        "of_words": len(found.words),
        "sums": sum(bound.fits for bound in found.sums.values()),
        "of_sums": len(found.sums),
        "state": name,
        "reaches": farthest,
    }


def said_of_proofs(values: Mapping[str, Any]) -> str:
    reaches = values["reaches"]
    worst = "how far states get is not known"
    if reaches is not None:
        worst = f"the worst input takes {values['state']} to {reaches:.2g} of what it holds"
    return (
        f"In {values['steps']:,} steps {values['words']:,} of {values['of_words']:,} words and "
        f"{values['sums']:,} of {values['of_sums']:,} sums provably stay in their formats; {worst}."
    )


def cycles(mapped: Mapped, length: int) -> dict[str, dict[str, Any]]:
    """Per sweep: products and clock cycles of a step, utilisation (a fraction of 1), and the clock
    cycles of `length` steps.
    """
    used = utilisation(mapped)
    return {
        name: {
            "products": products(mapped.program, mapped.program.body(section)),
            "step_cycles": step_cycles(mapped, section),
            "utilisation": used[section],
            "length": length,
            "cycles": mapped.cycles(name == "forward", length),
        }
        for name, section in zip(PASSES, STEPS, strict=True)
    }


def cycles_table(rows: Iterable[tuple[int, Mapping[str, Mapping[str, Any]]]]) -> Table:
    """Of several engines: (lanes, what `cycles` gave)."""
    table = Table(
        "lanes", "pass", "products / step", "cycles / step", "utilisation", "steps", "cycles"
    )
    for lanes, sweeps in rows:
        for name, row in sweeps.items():
            table.add_row(
                str(lanes),
                name,
                f"{row['products']:,}",
                f"{row['step_cycles']:,}",
                f"{row['utilisation']:.1%}",
                f"{row['length']:,}",
                f"{row['cycles']:,}",
            )
    return table


def learning(program: CompiledProgram) -> dict[str, Any] | None:
    """What an engine updates by itself: the rule; by tensor its values, words in every lane, format
    and step in units of its weights; what does not learn and why; the clock cycles of an update."""
    plan = program.learning
    if plan is None:
        return None
    types = {d.name: d.type for d in program.ir.coefficients}
    scaled, width = isinstance(plan.rule, ScaledUpdate), program.artifact.mapped.config.narrow
    rows = [
        {
            "tensor": t.name,
            "values": types[t.name].size,
            "rows": t.rows,
            "lsb": -t.frac,
            "step": step_units(plan.rule.step, t.frac, width, scaled),
        }
        for t in plan.tensors
    ]
    return {
        **rule_settings(plan.rule),
        "tensors": rows,
        "frozen": dict(plan.frozen),
        "update_cycles": program.artifact.mapped.update_cycles(),
    }


def learning_table(values: Mapping[str, Any]) -> Group:
    """What `learning` gave."""
    table = Table("learns", "values", "rows", "least significant bit", "step")
    for row in values["tensors"]:
        table.add_row(row["tensor"], f"{row['values']:,}", f"{row['rows']:,}", f"2^{row['lsb']}",
                      f"{row['step']:,}")  # fmt: skip
    frozen = Table("frozen", "because")
    for name, why in values["frozen"].items():
        frozen.add_row(name, why)
    cycles = f"An update of all by {values['rule']} takes {values['update_cycles']:,} cycles."
    return Group(table, *((frozen,) if values["frozen"] else ()), cycles)


def rounding_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """What loses most by rounding, of every kind."""
    table = Table("worst rounding", "of itself")
    for row in rows.values():
        table.add_row(row["what"], f"{row['share']:.1e}")
    return table


def fields_table(title: str, values: Mapping[str, Any]) -> Table:
    table = Table(title)
    table.add_column("", overflow="fold")
    for name, value in values.items():
        table.add_row(
            name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
        )
    return table


def summary(program: CompiledProgram, length: int) -> dict[str, Any]:
    """Everything `compile` and `report` say of a program."""
    mapped = program.artifact.mapped
    return {
        "target": program.target.name,
        "task": program.model.task,
        "engine": asdict(mapped.config),
        "formats": formats(program.ir),
        "functions": functions(program),
        "nudges": list(program.epsilons),
        "rounding": {kind: asdict(worst) for kind, worst in program.rounding.items()},
        "cycles": cycles(mapped, length),
        "proofs": proofs(program, length),
        **({} if (own := learning(program)) is None else {"learning": own}),
    }


def summary_tables(values: Mapping[str, Any]) -> RenderableType:
    return Group(
        formats_table(values["formats"]),
        functions_table(values["functions"]),
        fields_table("engine", values["engine"]),
        rounding_table(values["rounding"]),
        cycles_table([(values["engine"]["lanes"], values["cycles"])]),
        said_of_proofs(values["proofs"]),
        *([learning_table(values["learning"])] if "learning" in values else []),
    )
