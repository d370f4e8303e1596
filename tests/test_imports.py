"""The direction of imports between the package's folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "echoloom"

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


def imported_names(tree: ast.AST, module: tuple[str, ...], is_package: bool) -> Iterator[str]:
    """Dotted names imported anywhere in a module, relative ones made absolute."""
    here = module if is_package else module[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = here[: len(here) - node.level + 1] if node.level else ()
            base = ".".join((*stem, *filter(None, [node.module])))
            # `from echoloom import hdl` names the folder in the alias, not in the module.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(package: Path) -> list[str]:
    """Imports in `package` that go against the direction, as sentences."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).with_suffix("")
        folder = relative.parts[0]
        is_package = path.name == "__init__.py"
        module = (package.name, *relative.parts[: -1 if is_package else None])
        if len(module) == 1:
            allowed = ALLOWED["cli"]  # the package itself is the face of the folders
        elif folder not in ALLOWED:
            found.append(f"{path.name}: folder {folder!r} has no place in the import order")
            continue
        else:
            allowed = ALLOWED[folder] | {folder}
        for name in imported_names(ast.parse(path.read_text()), module, is_package):
            parts = name.split(".")
            if parts[0] == package.name and len(parts) > 1 and parts[1] in ALLOWED.keys() - allowed:
                found.append(f"{'/'.join(module)}: imports {name}")
    return found


def test_import_direction():
    assert violations(PACKAGE) == []


def test_every_folder_is_covered():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == ALLOWED.keys()


def test_violations_are_caught(tmp_path):
    package = tmp_path / "echoloom"
    files = {
        "__init__.py": "from echoloom.backends import run\nimport echoloom.cli",
        "ir/__init__.py": "from .. import frontend",
        "ir/format.py": "import json",
        "frontend/model.py": "def f():\n    import echoloom.hdl.engine",
        "hdl/lane.py": "from echoloom.ir.contract import Timing\nfrom ..frontend import model",
        "backends/run.py": "from echoloom.hdl import lane\nfrom echoloom import cli",
        "cli.py": "from echoloom.sim import bench",
        "stray.py": "",
    }
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert violations(package) == [
        "echoloom: imports echoloom.cli",
        "echoloom/backends/run: imports echoloom.cli",
        "echoloom/frontend/model: imports echoloom.hdl.engine",
        "echoloom/hdl/lane: imports echoloom.frontend.model",
        "echoloom/ir: imports echoloom.frontend",
        "stray.py: folder 'stray' has no place in the import order",
    ]
