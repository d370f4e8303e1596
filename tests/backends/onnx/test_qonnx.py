"""QONNX views in QONNX's own executor: the NumPy level's words, every value of every step."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import equinox as eqx
import jax
import numpy as np
import onnx
import pytest
from hamiltonians import GALLERY
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.util.cleanup import cleanup_model
from qonnx_runs import Arrays, execute, numbers, quantised, words

import echoloom as el
from echoloom.backends.onnx.export import onnx_model
from echoloom.backends.onnx.qonnx_scope import DOMAIN, NotExpressible
from echoloom.backends.onnx.qonnx_view import qonnx_view
from echoloom.backends.run.integers import input_types, output_type
from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.arithmetic import Overflow, Rounding, narrow, round_shift
from echoloom.ir.flags import Flag
from echoloom.ir.host import forward_states
from echoloom.ir.ops import Op
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths
from echoloom.sim.locate import numpy_trace

NARROW = Widths(word=12, narrow=9, accumulator=48, margin=1)
HIDDEN, INPUTS = 3, 2
UNITS: dict[str, dict[str, Any]] = {
    "linear": {"complex": True},
    "real": {"complex": False, "task": "regression", "output_step": 2},
    "nonlinear": {"unit": "nonlinear", "complex": False, "step": 0.2},
    "perceptron": {
        "unit": GALLERY["perceptron"](HIDDEN, jax.random.key(1)),
        "step": 0.2,
        "state": 5,
    },
}


@lru_cache(maxsize=len(UNITS))
def program(name: str) -> tuple[el.CompiledProgram, np.ndarray]:
    """A model of one block in 12-bit words, and sequences [4, 6, INPUTS] in float32."""
    options: dict[str, Any] = {"state": 2, "blocks": 1, **UNITS[name]}
    model = el.HSSM(INPUTS, 2, HIDDEN, key=jax.random.key(0), **options)
    x = np.random.default_rng(0).normal(size=(4, 6, INPUTS)).astype(np.float32)
    return el.compile(model, x, lanes=2, widths=NARROW), x


@lru_cache(maxsize=2 * len(UNITS))
def view(name: str, steps: int | None = None) -> ModelWrapper:
    return ModelWrapper(onnx_model(program(name)[0], "qonnx", "forward", steps=steps))


def at_rest(compiled: el.CompiledProgram) -> Arrays:
    declared = {d.name: d.type for d in compiled.ir.states}
    return {
        f"state/{name}": np.zeros((1, declared[name].size), np.float32)
        for name in forward_states(compiled.ir)
    }


@pytest.mark.parametrize("name", UNITS)
def test_every_value_of_every_step(name: str) -> None:
    """States are fed back; what is stored and what is exact alike."""
    compiled, x = program(name)
    trace = numpy_trace(compiled.artifact, np.asarray(x[1], np.float64), None)
    types = compiled.ir.types(compiled.ir.body(Section.FORWARD_STEP))
    states, compared = at_rest(compiled), 0
    for step in range(len(x[1])):
        found = execute(view(name), {"x": x[1, step : step + 1], **states}, every=True)
        for (section, k, value), wanted in trace.items():
            tensor = f"forward_step/{value}"
            if (section, k) == (Section.FORWARD_STEP, step) and tensor in found:
                np.testing.assert_array_equal(words(found[tensor], types[value].q), wanted, tensor)
                compared += 1
        states = {n: found[n.replace("state/", "next/")] for n in states}
    body = compiled.ir.body(Section.FORWARD_STEP)
    constants = sum(i.op is Op.CONSTANT for i in body.instrs)
    assert compared == len(x[1]) * (len(body.instrs) - constants)


@pytest.mark.parametrize(("name", "steps"), [(n, 5) for n in UNITS] + [("linear", 1), ("real", 2)])
def test_whole_sequences(name: str, steps: int) -> None:
    compiled, x = program(name)
    found = execute(view(name, steps), {"x": x[2:3, :steps]})
    wanted = compiled.run(x[2, :steps])
    kind = output_type(compiled.ir)
    np.testing.assert_array_equal(words(found["outputs"], kind.q), wanted.outputs)
    for d in compiled.ir.states:
        if d.name in wanted.states:
            state = words(found[f"state/{d.name}"], d.type.q)
            np.testing.assert_array_equal(state, wanted.states[d.name])
    assert len(found) == 1 + len(wanted.states)


def test_channels_with_exponents_of_their_own() -> None:
    """Of inputs along their last axis, of the encoder along the one that they meet."""
    model, x = program("linear")[0].model, program("linear")[1][:2].astype(np.float64)
    sizes = np.array([512.0, 0.25])
    weight = model.encoder.weight / sizes
    model = eqx.tree_at(lambda m: m.encoder.weight, model, weight.astype(np.float32))
    compiled = el.compile(model, x * sizes, lanes=2, widths=NARROW)
    assert input_types(compiled.ir)["x"].q.per_element
    whole = ModelWrapper(onnx_model(compiled, "qonnx", "forward", steps=3))
    found = execute(whole, {"x": (x[1:2, :3] * sizes).astype(np.float32)})
    wanted = compiled.run(x[1, :3] * sizes)
    kind = output_type(compiled.ir)
    np.testing.assert_array_equal(words(found["outputs"], kind.q), wanted.outputs)


def test_any_words_even_where_they_wrap_or_saturate() -> None:
    """Uniform over each word's whole range, and ends: what a run does whose flags are set."""
    compiled, _ = program("real")
    types = {d.name: d.type for d in compiled.ir.states} | input_types(compiled.ir)
    random, flags = np.random.default_rng(0), []

    def any_words(name: str, low: int) -> np.ndarray:
        half = 1 << (types[name].q.width - 1)
        drawn = random.integers(low - half, half, types[name].shape)
        return np.where(random.random(drawn.shape) < 0.2, low - half, drawn)

    for _ in range(12):
        machine = NumpyMachine(
            compiled.ir, compiled.artifact.coefficients, compiled.artifact.tables
        )
        states = {name: any_words(name, 0) for name in forward_states(compiled.ir)}
        sample = any_words("x", 1)
        machine.values |= states
        machine.run(Section.FORWARD_STEP, [{"x": sample}])
        flags.append(int(machine.flags))
        feeds = {f"state/{name}": numbers(value, types[name].q) for name, value in states.items()}
        found = execute(view("real"), {"x": numbers(sample, types["x"].q), **feeds})
        for name in states:
            after = words(found[f"next/{name}"], types[name].q)
            np.testing.assert_array_equal(after, machine.values[name])
        outputs = words(found["outputs"], output_type(compiled.ir).q)
        np.testing.assert_array_equal(outputs, machine.emitted[0])
    assert sum(flag & Flag.STATE > 0 for flag in flags) > 3
    assert sum(flag & Flag.SATURATED > 0 for flag in flags) > 3


# One requant, all of its words

REQUANT = """
program requant

forward_step:
  frame x : Q({width},4)[{count}]
  %y = requant(x) {{rounding={rounding}, overflow={overflow}}} : Q({to},{frac})[{count}]
  emit %y
"""
ROUNDINGS = (Rounding.HALF_EVEN, Rounding.TO_ZERO, Rounding.FLOOR)


def requantised(rounding: Rounding, overflow: Overflow, to: int, frac: int) -> IntegerProgram:
    text = REQUANT.format(
        width=4, count=255, rounding=rounding.value, overflow=overflow.name.lower(),
        to=to - frac, frac=frac,
    )  # fmt: skip
    return quantised(text)


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_one_requant_exhaustively(rounding: Rounding, overflow: Overflow) -> None:
    every = np.arange(-127, 128)
    for to, frac in product((2, 3, 5, 8), (4, 3, 1, -1)):
        integer = requantised(rounding, overflow, to, frac)
        model = ModelWrapper(qonnx_view(integer, None).model("requant", "", {}))
        found = execute(model, {"x": numbers(every, input_types(integer.program)["x"].q)})
        wanted = narrow(round_shift(every, 4 - frac, rounding), to, overflow)[0]
        q = output_type(integer.program).q
        np.testing.assert_array_equal(words(found["outputs"], q), wanted, f"{to} bits, {frac}")


# What readers see


def test_weights_and_words_carry_their_widths() -> None:
    compiled, _ = program("linear")
    seen = view("linear").transform(InferDataTypes(allow_scaledint_dtypes=True))
    body = compiled.ir.body(Section.FORWARD_STEP)
    stored = [i for i in body.instrs if i.op in (Op.REQUANT, Op.TABLE)]
    assert len(stored) > 20
    for i in stored:
        kind = seen.get_tensor_datatype(f"forward_step/{i.name}")
        assert kind.bitwidth() == i.type.q.width, i.name
        assert kind.is_integer() or kind.get_canonical_name().startswith("SCALEDINT"), i.name
    quantised = {n.input[0]: n.output[0] for n in seen.graph.node if n.op_type == "Quant"}
    for d in compiled.ir.coefficients:
        if not d.name.startswith("head."):  # a step has no head
            label = d.name if d.name in quantised else f"{d.name}.transposed"
            assert seen.get_initializer(label) is not None
            assert seen.get_tensor_datatype(quantised[label]).bitwidth() == d.type.q.width
    assert seen.get_tensor_datatype("next/b0.free.q") == DataType["SCALEDINT<12>"]


def test_weights_stand_where_readers_look_for_them() -> None:
    """MatMul's second operand is a Quant of an initializer, with nothing between."""
    seen = view("linear", 5)
    products = [n for n in seen.graph.node if n.op_type == "MatMul"]
    assert len(products) == 5 * 5 + 1
    for node in products:
        quant = seen.find_producer(node.input[1])
        assert quant is not None and quant.op_type == "Quant" and quant.domain == DOMAIN
        assert seen.get_initializer(quant.input[0]) is not None


def test_qonnxs_own_clean_up_changes_nothing() -> None:
    _, x = program("linear")
    plain = view("linear", 5)
    clean = cleanup_model(view("linear", 5))
    before = execute(plain, {"x": x[:1, :5]})
    after = execute(clean, {clean.graph.input[0].name: x[:1, :5]})
    for own, theirs in zip(plain.graph.output, clean.graph.output, strict=True):
        np.testing.assert_array_equal(before[own.name], after[theirs.name])


def test_files_are_checked_and_documented(tmp_path: Any) -> None:
    compiled, _ = program("linear")
    for steps, said in ((None, "one"), (5, "5")):
        el.export_onnx(compiled, tmp_path / "m.onnx", "qonnx", steps=steps)
        model = onnx.load(tmp_path / "m.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert [o.domain for o in model.opset_import] == ["", DOMAIN]
        assert ModelWrapper(model).check_all_tensor_shapes_specified()
        properties = {p.key: p.value for p in model.metadata_props}
        assert properties["echoloom.kind"] == "qonnx" and properties["echoloom.steps"] == said
        for value in [*model.graph.input, *model.graph.output]:
            assert value.doc_string
    with pytest.raises(ValueError, match="QONNX view, whose operators ONNX Runtime does not have"):
        el.verify(compiled, [np.zeros((3, INPUTS))], levels=("onnx",), onnx=tmp_path / "m.onnx")


# What is refused


def test_default_widths_name_the_first_signal(tmp_path: Any) -> None:
    compiled, x = program("linear")
    wide = el.compile(compiled.model, x, lanes=2)
    sentence = (
        r"forward_step: x : Q\(\d,\d+\)\[2\] can take 28 bits, but QONNX computes in float32, "
        r"which holds words of 25 bits exactly; compile with narrower words"
    )
    with pytest.raises(ValueError, match=sentence):
        el.export_onnx(wide, tmp_path / "m.onnx", "qonnx")
    assert not (tmp_path / "m.onnx").exists()


def test_an_exact_product_that_is_too_wide_is_named() -> None:
    compiled, x = program("linear")
    widths = Widths(word=19, narrow=10, accumulator=48, margin=1)
    wide = el.compile(compiled.model, x, lanes=2, widths=widths)
    with pytest.raises(NotExpressible, match=r"encode\.t0 = matvec\(.*\) : .* can take \d\d bits"):
        onnx_model(wide, "qonnx", "forward")


def test_wrong_requests() -> None:
    compiled, _ = program("real")
    for arguments, sentence in (
        ((compiled, "qonnx", "gradient"), "a QONNX view holds the forward pass only"),
        ((compiled.model, "qonnx", "forward"), "kind qonnx needs a compiled program"),
        ((compiled, "other", "forward"), "but it must be float, integer or qonnx"),
    ):
        with pytest.raises(ValueError, match=sentence):
            onnx_model(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps is 1, but a sequence needs at least 2"):
        onnx_model(compiled, "qonnx", "forward", steps=1)
    with pytest.raises(ValueError, match="a graph of kind integer takes any length"):
        onnx_model(compiled, "integer", "forward", steps=5)


SUM = """
program one

runtime error : Q(2,2)[1]
accumulator pool {scale=1.0} : Q(40,4)[1]

forward_step:
  frame x : Q(11,4)[1]
  accumulate pool += x

forward_epilogue:
  %sum = read() {accumulator=pool} : Q(40,4)[1]
  emit %sum
"""


def test_a_sum_is_refused_from_the_step_on_where_it_is_too_long() -> None:
    integer = quantised(SUM)  # 14 bits with sign: 2**24 / (2**14 - 1) = 1024.06
    qonnx_view(integer, 1024)
    with pytest.raises(NotExpressible, match=r"accumulator pool : Q\(40,4\)\[1\] can take 26 bits"):
        qonnx_view(integer, 1025)


CUT = "requant(x) {rounding=half_even, overflow=wrap}"


@pytest.mark.parametrize(
    ("code", "frame", "to", "sentence"),
    [
        (CUT, 21, "Q(23,2)", ""),  # the bound proves that nothing wraps
        (CUT, 20, "Q(19,4)", ""),
        (CUT, 21, "Q(20,4)", r"y = requant\(x\) : Q\(20,4\)\[1\] can take 26 bits"),
        ("requant(x) {rounding=half_up, overflow=saturate}", 10, "Q(10,4)", ""),
        (
            "requant(x) {rounding=half_up, overflow=saturate}", 10, "Q(10,2)",
            r"y = requant\(x\) : Q\(10,2\)\[1\] rounds half_up, which a Quant does not know",
        ),
        ("table(x) {function=tanh, segment_bits=6, range_bits=3}", 12, "Q(4,4)", ""),
        (
            "table(x) {function=tanh, segment_bits=6, range_bits=3}", 13, "Q(4,4)",
            "looks up words of 17 bits; a QONNX view lists every result, for words of at most 16",
        ),
        (f"scale(x) {{factor={2.0**104}}}", 10, "Q(114,-100)", ""),
        (f"scale(x) {{factor={2.0**105}}}", 10, "Q(115,-101)", r"units outside 2\*\*-100 to"),
        ("outer(x, x)", 5, "Q(10,8)", r"y = outer\(x, x\) : .* has no QONNX form"),
    ],
)  # fmt: skip
def test_what_cannot_be_spelled(code: str, frame: int, to: str, sentence: str) -> None:
    integer = quantised(f"""
program one

forward_step:
  frame x : Q({frame},4)[1]
  %y = {code} : {to}[1]
  emit %y
""")
    if not sentence:
        assert qonnx_view(integer, None).outputs
        return
    with pytest.raises(NotExpressible, match=sentence):
        qonnx_view(integer, None)
