"""No decision depends on what a value is called: names of the IR identify and print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import echoloom

PACKAGE = Path(echoloom.__file__).parent
ROOMS = ("ir", "backends", "sim", "frontend/energy", "frontend/models/stack.py")
# Modules whose affair is text, and single functions that look into texts which are no IR names, or
# into names for what they print: why they may.
TEXT = {
    "ir/parser.py": "a program's grammar",
    "ir/recovered.py": "the one reader of the structure that names print",
    "ir/printer.py": "which names can be written",
    "backends/bitstream": "files, and what tools print",
    "backends/export": "files, and Verilog's text",
    "backends/report": "pages of HTML, and what charts are labelled with",
}
FUNCTIONS = {
    ("backends/compile/archive.py", "_header"): "a file's first bytes",
    ("backends/compile/learnable.py", "_begins"): "beginnings of names that a user gives",
    ("backends/compile/precision_argument.py", "profiles"): "files' names",
    ("backends/compile/precision_argument.py", "precision_named"): "a file's name",
    ("backends/gradients/fixed_gradient.py", "_calibrate"): "a refusal's sentence",
    (
        "backends/onnx/qonnx_view.py",
        "whole",
    ): "what the host writes is known by its name",
    ("backends/onnx/run.py", "under"): "outputs of an ONNX graph",
    ("backends/onnx/trace.py", "_give_out"): "an attribute of ONNX",
    ("backends/run/excess.py", "__str__"): "which sweep a section is of, as it is printed",
    ("ir/passes/proven_formats.py", "_owner"): "emission calls the parts of a word after it",
    ("sim/first_difference.py", "split_name"): "how a difference is printed",
    ("sim/level_onnx.py", "_onnx_values"): "outputs of an ONNX graph",
    ("sim/wave_signals.py", "_text"): "signs that viewers show as they are",
    ("frontend/energy/jaxpr.py", ""): "JAX's own words, and which letters names may have",
    ("frontend/energy/places.py", "is_users"): "a file's path",
    ("frontend/energy/canonical/__init__.py", ""): "primitives of JAX, and an energy's arguments",
    ("frontend/energy/canonical/builder.py", "__init__"): "own names are made unlike the user's",
    ("frontend/energy/canonical/refusals.py", ""): "a primitive of JAX",
    ("frontend/energy/canonical/rules.py", "_equal"): "a primitive of JAX",
    ("frontend/energy/canonical/stage.py", ""): "a user's message and source text",
    ("frontend/energy/trace/__init__.py", ""): "primitives of JAX",
}
ALWAYS = {"startswith", "endswith", "removeprefix", "removesuffix"}
WITH_TEXT = {"partition", "rpartition", "split", "rsplit", "replace"}


def looks_into_text(node: ast.AST) -> bool:
    """Whether an expression takes a text apart, or asks what is in a name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
        first = node.args[0] if node.args else None
        literal = isinstance(first, ast.Constant) and isinstance(first.value, str)
        known = node.func.attr in ALWAYS or (node.func.attr in WITH_TEXT and literal)
        return of_re or known
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return False
    sides = (node.left, node.comparators[0])
    literals = [s for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str)]
    named = [s for s in sides if (isinstance(s, ast.Attribute) and s.attr == "name")
             or (isinstance(s, ast.Name) and s.id == "name")]  # fmt: skip
    if isinstance(node.ops[0], ast.In | ast.NotIn) and literals and literals[0] is node.left:
        return bool(named) or not str(literals[0].value).replace("_", "").isalnum()
    return bool(literals and named)


def found(tree: ast.AST, function: str = "") -> Iterator[tuple[str, int]]:
    """Function ("" outside of all) and line of every such expression."""
    for node in ast.iter_child_nodes(tree):
        if looks_into_text(node):
            yield function, getattr(node, "lineno", 0)
        own = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from found(node, node.name if own else function)


def decisions(package: Path) -> dict[tuple[str, str], list[int]]:
    """Lines by module and function, but for modules of TEXT."""
    result: dict[tuple[str, str], list[int]] = {}
    for room in ROOMS:
        at = package / room
        for file in [at] if at.is_file() else sorted(at.rglob("*.py")):
            module = file.relative_to(package).as_posix()
            if any(module == t or module.startswith(f"{t}/") for t in TEXT):
                continue
            for function, line in found(ast.parse(file.read_text())):
                result.setdefault((module, function), []).append(line)
    return result


def allowed(module: str, function: str) -> bool:
    return (module, function) in FUNCTIONS or (module, "") in FUNCTIONS


def test_no_decision_depends_on_a_name() -> None:
    places = decisions(PACKAGE)
    assert {at: lines for at, lines in places.items() if not allowed(*at)} == {}


def test_nothing_is_allowed_that_is_not_there() -> None:
    places = decisions(PACKAGE)
    modules = {module for module, _ in places}
    stale = [at for at in FUNCTIONS if at not in places and (at[1] or at[0] not in modules)]
    assert stale == []
    assert all((PACKAGE / module).exists() for module in TEXT)


def test_a_planted_decision_is_found(tmp_path: Path) -> None:
    planted = [
        'def f(d): return d.name.startswith("b")',
        'def f(states): return [s for s in states if s.endswith((".q", ".p"))]',
        'def f(d): return ".free." in d.name',
        'def f(d): return "." in d',
        'def f(d): return d.name == "error"',
        'def f(name): return "plus" in name',
        'def f(name): return int(name.split(".")[0][1:])',
        'def f(name): return name.replace(".plus.", ".minus.")',
        'import re\ndef f(name): return re.match("b[0-9]", name)',
    ]
    innocent = [
        "import equinox as eqx\ndef f(m): return eqx.partition(m, eqx.is_array)",
        "def f(code, value): return code.split(value)",
        "from dataclasses import replace\ndef f(d): return replace(d, name='x')",
        'def f(levels): return "jax" in levels',
        "def f(a, b): return a.name == b.name or a.name in {b.name: 1}",
    ]
    (tmp_path / "ir").mkdir()
    for number, text in enumerate((*planted, *innocent)):
        (tmp_path / "ir" / f"m{number:02}.py").write_text(text)
    assert {module for module, _ in decisions(tmp_path)} == {
        f"ir/m{number:02}.py" for number in range(len(planted))
    }
