"""Who may import whom: the folders' order, the rooms' order inside them, and no circle anywhere."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "echoloom"
LONGEST = 350  # lines of a file

# A folder may import itself and the folders listed here. `hdl` and `frontend` do not know
# each other, so that hardware can be read without JAX and models without hardware.
ALLOWED = {
    "ir": set(),
    "frontend": {"ir"},
    "hdl": {"ir"},
    "backends": {"ir", "frontend", "hdl"},
    "sim": {"ir", "frontend", "hdl", "backends"},
    "cli": {"ir", "frontend", "hdl", "backends", "sim"},
}

# The same of the rooms in a folder: each may import itself and those listed here.
ROOMS = {
    "frontend": {
        "energy": set(),
        "data": {"energy"},
        "models": {"energy", "data"},
        "gradients": {"energy", "data", "models"},
        "training": {"energy", "data", "models", "gradients"},
    },
    "backends": {
        "run": set(),
        "chips": set(),
        "compile": {"run", "chips"},
        "gradients": {"run", "compile"},
        "profile": {"run", "compile", "gradients"},
        "report": {"compile", "profile"},
        "onnx": {"run", "compile", "bitstream"},  # whose `tools` say what is missing
        "bitstream": {"run", "compile", "link", "chips"},
        "link": {"run", "compile"},
        "engine": {"run"},
        "prove": {"run", "compile", "bitstream"},  # whose Yosys makes netlists
        "export": {"run", "compile", "link", "engine", "bitstream"},
        "board": {"run", "compile", "link", "engine"},
    },
}

Graph = Mapping[str, set[str]]


def imported_names(tree: ast.AST, here: tuple[str, ...]) -> Iterator[str]:
    """Dotted names imported anywhere in a module of folder `here`, relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = here[: len(here) - node.level + 1] if node.level else ()
            base = ".".join((*stem, *filter(None, [node.module])))
            # `from echoloom import hdl` names the folder in the alias, not in the module.
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def imports(package: Path) -> Graph:
    """Of every module the modules that it imports, on demand and for types alone too.

    A folder's `__init__.py` has the folder's name.
    """
    paths = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[parts[:-1] if path.name == "__init__.py" else parts] = path
    graph = {}
    for module, path in paths.items():
        here = module if path.name == "__init__.py" else module[:-1]
        names = imported_names(ast.parse(path.read_text()), here)
        graph[".".join(module)] = {".".join(own) for n in names if (own := _module(n, paths))}
    return graph


def _module(name: str, known: Container[tuple[str, ...]]) -> tuple[str, ...]:
    """The package's module that holds what an import names; () for one from elsewhere."""
    parts = tuple(name.split("."))
    while parts and parts not in known:
        parts = parts[:-1]
    return parts


def between_rooms(graph: Graph) -> Graph:
    """Which rooms import which: the folders, of two levels at most, in which modules lie.

    The package's own face, which imports all of them, is in none.
    """
    folders = {name.rpartition(".")[0] for name in graph}

    def room(module: str) -> str:
        folder = module if module in folders else module.rpartition(".")[0]
        return "/".join(folder.split(".")[1:3])

    rooms: dict[str, set[str]] = {}
    for module, targets in graph.items():
        if room(module):
            others = {room(target) for target in targets} - {room(module), ""}
            rooms.setdefault(room(module), set()).update(others)
    return rooms


def circles(graph: Graph) -> set[frozenset[str]]:
    """Groups whose members all lead to each other."""
    reach = {name: _reached(graph, name) for name in graph}
    return {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    todo = [*graph[start]]
    while todo:
        if (name := todo.pop()) not in seen:
            seen.add(name)
            todo += graph[name]
    return seen


def violations(package: Path) -> list[str]:
    """Imports in `package` that go against the order of folders and rooms, as sentences."""
    found = []
    for module, targets in imports(package).items():
        parts = module.split(".")
        if len(parts) == 1:
            continue  # the package itself is the face of the folders
        if (place := _place(parts[1:])) is not None:
            found.append(f"{module}: folder {place!r} has no place in the import order")
            continue
        wrong = [own for own in sorted(targets) if not _allowed(parts[1:], own.split(".")[1:])]
        found += [f"{module}: imports {target}" for target in wrong]
    return found


def _place(module: list[str]) -> str | None:
    """The folder or room that has no place, if it is one."""
    if module[0] not in ALLOWED:
        return module[0]
    rooms = ROOMS.get(module[0])
    return module[1] if rooms is not None and len(module) > 2 and module[1] not in rooms else None


def _allowed(module: list[str], target: list[str]) -> bool:
    if not target:
        return False  # the package's face, which imports everything
    folder = module[0]
    if target[0] != folder:
        return target[0] in ALLOWED[folder]
    rooms = ROOMS.get(folder)
    if rooms is None or len(module) < 3 or len(target) < 3:
        return True  # a file beside the rooms
    return target[1] == module[1] or target[1] in rooms[module[1]]


def too_long(package: Path) -> set[str]:
    """Files of more than LONGEST lines."""
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if len(path.read_text().splitlines()) > LONGEST
    }


def test_imports_go_in_order():
    assert violations(PACKAGE) == []


def test_every_folder_and_room_is_covered():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == ALLOWED.keys()
    for folder, rooms in ROOMS.items():
        assert {p.parent.name for p in PACKAGE.glob(f"{folder}/*/__init__.py")} == rooms.keys()


def test_no_import_leads_back():
    graph = imports(PACKAGE)
    assert circles(graph) | circles(between_rooms(graph)) == set()


def test_no_file_is_long():
    assert too_long(PACKAGE) == set()


def planted(folder: Path, files: Mapping[str, str]) -> Path:
    """A package with these files."""
    package = folder / "echoloom"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def test_imports_against_the_order_are_caught(tmp_path):
    files = {
        "__init__.py": "from echoloom.backends import run\nimport echoloom.cli",
        "ir/__init__.py": "from .. import frontend",
        "ir/format.py": "import json",
        "frontend/__init__.py": "",
        "frontend/model.py": "def f():\n    import echoloom.hdl.engine",
        "frontend/data/sources.py": "from echoloom.frontend.models.hssm import HSSM",
        "frontend/data/labels.py": "import echoloom.frontend.energy.jaxpr as jaxpr",
        "frontend/energy/jaxpr.py": "",
        "frontend/models/hssm.py": "from ..data import labels\nfrom echoloom.frontend import model",
        "frontend/stray/file.py": "",
        "hdl/engine.py": "from echoloom.ir.format import Timing\nfrom ..frontend import model",
        "backends/run/jax.py": "from echoloom.hdl import engine\nfrom echoloom import cli",
        "backends/compile/pipeline.py": "from echoloom.backends.onnx.export import export",
        "backends/onnx/export.py": "import echoloom",
        "cli.py": "from echoloom.sim import bench",
        "sim/bench.py": "",
        "stray.py": "",
    }
    assert violations(planted(tmp_path, files)) == [
        "echoloom.backends.compile.pipeline: imports echoloom.backends.onnx.export",
        "echoloom.backends.onnx.export: imports echoloom",
        "echoloom.backends.run.jax: imports echoloom.cli",
        "echoloom.frontend.data.sources: imports echoloom.frontend.models.hssm",
        "echoloom.frontend.model: imports echoloom.hdl.engine",
        "echoloom.frontend.stray.file: folder 'stray' has no place in the import order",
        "echoloom.hdl.engine: imports echoloom.frontend.model",
        "echoloom.ir: imports echoloom.frontend",
        "echoloom.stray: folder 'stray' has no place in the import order",
    ]


def test_circles_are_caught(tmp_path):
    files = {
        # On demand, for types alone, and by way of a folder.
        "ir/text.py": "from echoloom.ir.program import Program",
        "ir/program.py": "def f():\n    from .text import write",
        "ir/walk.py": "if TYPE_CHECKING:\n    from echoloom.ir import session",
        "ir/session.py": "import echoloom.ir.interpret",
        "ir/interpret.py": "from echoloom.ir.walk import walk",
        "ir/alone.py": "from echoloom.ir.alone import itself",
        "ir/passes/__init__.py": "from echoloom.ir.passes.simplify import simplify",
        "ir/passes/simplify.py": "from echoloom.ir.passes import names",
        # No circle of files, but one of rooms.
        "frontend/models/hssm.py": "from echoloom.frontend.data.labels import places",
        "frontend/data/labels.py": "",
        "frontend/data/sets.py": "from echoloom.frontend.models.named import named",
        "frontend/models/named.py": "from echoloom.ir.formats import Q",
        "ir/formats.py": "",
    }
    graph = imports(planted(tmp_path, files))
    assert circles(graph) == {
        frozenset({"echoloom.ir.text", "echoloom.ir.program"}),
        frozenset({"echoloom.ir.walk", "echoloom.ir.session", "echoloom.ir.interpret"}),
        frozenset({"echoloom.ir.alone"}),
        frozenset({"echoloom.ir.passes", "echoloom.ir.passes.simplify"}),
    }
    assert circles(between_rooms(graph)) == {frozenset({"frontend/models", "frontend/data"})}


def test_long_files_are_caught(tmp_path):
    files = {"ir/long.py": "\n" * (LONGEST + 1), "ir/short.py": "\n" * LONGEST}
    assert too_long(planted(tmp_path, files)) == {"ir/long.py"}
