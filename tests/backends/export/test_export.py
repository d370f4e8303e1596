"""What an export holds: Verilog that lints clean, memory files, a header, a core, port lists."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.bitstream import tools
from echoloom.backends.export.export import INTERFACES, exported, top_level
from echoloom.backends.export.header import c_header
from echoloom.backends.export.ports import TEXTS
from echoloom.backends.export.preset import preset
from echoloom.backends.export.waivers import WAIVERS
from echoloom.hdl.axi.register_map import REGISTERS
from echoloom.ir.contract import EngineConfig, Register
from echoloom.ir.objective import length_words

LENGTH = 12


@pytest.fixture(scope="module")
def exports(classifier, tmp_path_factory) -> dict[str, Path]:
    """Exports of a small classifier, by interface."""
    made = {}
    for interface in INTERFACES:
        made[interface] = path = tmp_path_factory.mktemp("exports") / interface
        report = el.export_verilog(
            classifier, path, interface=interface, length=LENGTH, module="wrist"
        )
        assert sorted(report.files) == sorted(
            p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()
        )
    return made


@pytest.fixture(params=INTERFACES)
def folder(request, exports) -> Path:
    return exports[request.param]


def lint(folder: Path, top: str, *files: str) -> tuple[int, set[str]]:
    """The exit code of `verilator -Wall`, and which rules it names."""
    command = [tools.verilator().path, "--lint-only", "-Wall", "--top-module", top, *files]
    said = subprocess.run(
        command, cwd=folder, env=tools.verilator_environment(), capture_output=True, text=True
    )
    return said.returncode, set(re.findall(r"%Warning-(\w+)", said.stderr))


def test_it_lints_clean(folder: Path):
    for top, more in (("wrist", []), ("wrist_example", ["wrist_example.v"])):
        assert lint(folder, top, "wrist.vlt", "wrist.v", *more) == (0, set())


def test_every_waiver_is_needed_and_has_a_reason(exports):
    raised = set[str]()
    for folder in exports.values():
        raised |= lint(folder, "wrist", "wrist.v")[1]
    assert raised == WAIVERS.keys()
    assert all(len(why) > 20 for why in WAIVERS.values())


def test_memories_begin_with_files(folder: Path, classifier):
    text = (folder / "wrist.v").read_text()
    loaded = re.findall(r'\$readmemh\("(memory/\S+)", ', text)
    assert sorted(loaded) == sorted(f"memory/{p.name}" for p in (folder / "memory").iterdir())
    # No memory is without a beginning, and none is written word by word.
    begun = re.findall(r"^  reg .*\[\d+:0\];\n  initial(.*)$", text, re.MULTILINE)
    assert len(begun) == len(re.findall(r"^  reg .*\[\d+:0\];$", text, re.MULTILINE))
    cleared = [what for what in begun if what.startswith(" begin : clear_")]
    assert len(begun) == len(loaded) + len(cleared) and cleared
    image = classifier.image
    for lane, words in enumerate(image.weight):
        file = folder / "memory" / f"datapath_lane_{lane}_weights.hex"
        held = [int(word, 16) for word in file.read_text().split()]
        assert len(held) == image.config.weight_depth
        mask = (1 << image.config.narrow) - 1
        assert held[: len(words)] == [word & mask for word in words]


def test_a_length_is_built_in(classifier):
    artifact, image = classifier.artifact, classifier.image
    held = preset(artifact, image, LENGTH)
    assert held.registers[Register.LENGTH] == LENGTH
    assert held.registers[Register.SHIFT_LENGTH] == length_words(LENGTH)[0]
    assert (held.presets.self_start, held.presets.output_words) == (True, 3)
    written = sum(
        a != b for new, old in zip(held.image.vector, image.vector, strict=True)
        for a, b in zip(new, old, strict=False)
    )  # fmt: skip
    assert written == 1  # 1 / T
    none = preset(artifact, image, None)
    assert (none.presets.self_start, none.presets.output_words) == (False, 3)
    assert none.image == image


def test_a_regression_gives_as_many_outputs_as_its_length_says():
    model = el.HSSM(2, 3, 4, 2, 1, task="regression", output_step=4, key=jax.random.key(0))
    program = el.compile(model, np.random.default_rng(0).normal(size=(2, 8, 2)), lanes=2)
    held = [preset(program.artifact, program.image, n).presets.output_words for n in (None, 4, 11)]
    assert held == [0, 3, 6]
    with pytest.raises(ValueError, match=r"every 4 samples: a sequence of 3 has none"):
        preset(program.artifact, program.image, 3)


def test_every_port_is_told(folder: Path, classifier):
    page = (folder / "ports.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (?:in|out) \| (\d+) \| (.+) \|$", page, re.MULTILINE)
    text = (folder / "wrist.v").read_text()
    head = text[text.index("module wrist(") : text.index(");", text.index("module wrist("))]
    assert {name for name, _, _ in listed} == set(re.findall(r"\w+", head)) - {"module", "wrist"}
    assert all(text == TEXTS[name] for name, _, text in listed)
    for name, bits, _ in listed:
        width = rf"\[{int(bits) - 1}:0\] " if int(bits) > 1 else ""
        assert re.search(rf"^  (input|output) {width}{name};$", text, re.MULTILINE), name


def test_the_header_is_the_register_map(exports, tmp_path):
    """A C compiler takes it without a warning, and says what its numbers are."""
    compiler = tools.compiler()
    fields = [(e, f) for e in REGISTERS for f in e.fields]
    prints = [
        *(f'    printf("%u\\n", ECHOLOOM_{entry.name});' for entry in REGISTERS),
        *(f'    printf("%u\\n", ECHOLOOM_{entry.name}_{f.name}_MASK);' for entry, f in fields),
        '    printf("%llx\\n", (unsigned long long)ECHOLOOM_MARK_VALUE);',
    ]
    source = tmp_path / "told.c"
    source.write_text(
        '#include <stdio.h>\n#include "echoloom.h"\n\nint main(void)\n{\n'
        "    uint32_t registers[64] = {0};\n"
        "    echoloom_target(registers, ECHOLOOM_SPACE_VECTOR, 3u, 7u);\n"
        "    echoloom_write_word(registers, ECHOLOOM_DATA_LOW, 0x123456789ull);\n"
        "    if (echoloom_read_word(registers, ECHOLOOM_DATA_LOW) != 0x123456789ull) return 1;\n"
        "    if (registers[ECHOLOOM_TARGET / 4] != 0x02030007u) return 2;\n"
        "    echoloom_start(registers, ECHOLOOM_ECHO);\n"
        "    if (registers[ECHOLOOM_ENGINE_COMMAND_LOW / 4] != 2u) return 3;\n"
        "    if (echoloom_done(registers)) return 4;\n" + "\n".join(prints) + "\n    return 0;\n}\n"
    )
    program, flags = tmp_path / "told", ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    for language in ("c", "c++"):
        command = [compiler.path, "-x", language, *flags, "-I", exports["axi"], source, "-o"]
        subprocess.run([*command, program], check=True)
        told = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
        numbers = [*(e.offset for e in REGISTERS), *(f.mask for _, f in fields)]
        assert told[:-1] == [str(number) for number in numbers]
    assert told[-1] == json.loads((exports["axi"] / "export.json").read_text())["mark"]


def test_registers_do_not_overlap_and_are_told():
    assert all(entry.text or entry.fields for entry in REGISTERS)
    offsets = [entry.offset for entry in REGISTERS]
    assert sorted(set(offsets)) == sorted(offsets) and not any(o % 4 for o in offsets)
    for entry in REGISTERS:
        bits = [b for f in entry.fields for b in range(f.low, f.low + f.bits)]
        assert len(bits) == len(set(bits)) and all(b < 32 for b in bits)


def test_the_core_names_every_file(folder: Path):
    text = (folder / "wrist.core").read_text()
    assert text.startswith("CAPI=2:\nname: echoloom:engine:wrist:")
    named = set(re.findall(r"^ +- ([\w./]+)", text, re.MULTILINE))
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert named == files - {"wrist.core", "wrist_example.v", "export.json", "ports.md"}


def test_the_same_program_gives_the_same_texts(classifier, exports):
    mapped = classifier.artifact.mapped
    held = preset(classifier.artifact, classifier.image, LENGTH)
    top = top_level("axi", mapped.config, mapped.timing, held)
    texts = exported("axi", "wrist", top, mapped.config, mapped.timing, held)
    assert {name: (exports["axi"] / name).read_text() for name in texts} == texts


def test_the_header_of_an_engine_that_learns_names_its_passes():
    config = EngineConfig(4, 1)
    plain, learns = (c_header(c, 0, 0) for c in (config, replace(config, learns=True)))
    for kind, number in (("ADD", 4), ("SCAN", 5), ("UPDATE", 6)):
        line = f"#define ECHOLOOM_{kind} {number}u\n"
        assert line in learns and line not in plain
