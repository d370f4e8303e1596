"""A copy of an exported model that also gives out what its bodies compute, for finding faults."""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from echoloom.ir.program import Program
from echoloom.ir.sections import Section

SCANNED = (Section.FORWARD_STEP, Section.ECHO_STEP)
Signals = dict[tuple[Section, str], str]


def traced(model: ModelProto, program: Program) -> tuple[ModelProto, Signals]:
    """The model with every value of the program that it still computes under its own name as an
    output, and those outputs' names; in step sections time is their first axis."""
    copy = ModelProto()
    copy.CopyFrom(model)
    signals: Signals = {}
    outer = {name for node in copy.graph.node for name in node.output}
    scans = {node.name: node for node in copy.graph.node if node.op_type == "Scan"}
    for body in program.bodies:
        where = body.section.name.lower()
        wanted = [i.name for i in body.instrs]
        if body.section not in SCANNED:
            signals |= {
                (body.section, n): f"{where}/{n}" for n in wanted if f"{where}/{n}" in outer
            }
        elif where in scans:
            kept = _give_out(scans[where], [f"{where}/{n}" for n in wanted])
            signals |= {(body.section, n): kept[f"{where}/{n}"]
                        for n in wanted if f"{where}/{n}" in kept}  # fmt: skip
    known = {o.name for o in copy.graph.output}
    copy.graph.output.extend(ValueInfoProto(name=n) for n in signals.values() if n not in known)
    return copy, signals


def _give_out(scan: NodeProto, names: list[str]) -> dict[str, str]:
    """Adds scan outputs for those values of a Scan's body that have a batch axis."""
    attributes = {a.name: helper.get_attribute_value(a) for a in scan.attribute}
    body: GraphProto = attributes["body"]
    types = {v.name: v.type for v in body.value_info}
    made = {name for node in body.node for name in node.output}
    kept = {}
    for name in names:
        if name not in made or name not in types:
            continue
        dims = types[name].tensor_type.shape.dim
        if not dims or dims[0].dim_param != "batch":
            continue
        out = f"{name} traced"
        body.node.append(helper.make_node("Identity", [name], [out]))
        body.output.append(ValueInfoProto(name=out, type=types[name]))
        kept[name] = f"{name} of every step"
        scan.output.append(kept[name])
    scan.attribute.remove(next(a for a in scan.attribute if a.name == "body"))
    scan.attribute.append(helper.make_attribute("body", body))
    return kept
