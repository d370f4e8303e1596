"""RTLIL and Verilog of a component."""

from __future__ import annotations

import re
import subprocess

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.verilog import to_rtlil, to_verilog
from echoloom.hdl.uart import UartReceiver


def test_verilog_has_the_signatures_ports():
    text = to_verilog(UartReceiver(4), "receiver")
    ports = re.search(r"module receiver\((.*?)\);", text, re.S)
    assert ports is not None
    assert set(ports.group(1).replace("\n", " ").split(", ")) == {
        "clk", "rst", "line", "data__payload", "data__valid", "data__ready", "broken",
    }  # fmt: skip


def test_text_depends_on_the_component_alone():
    """Two builds of one design can be compared, and no path of the builder's leaks."""
    for write in (to_rtlil, to_verilog):
        text = write(UartReceiver(4), "receiver")
        assert write(UartReceiver(4), "receiver") == text
        assert ".py" not in text


def test_verilog_is_accepted_by_verilator(tmp_path):
    (tmp_path / "receiver.v").write_text(to_verilog(UartReceiver(4), "receiver"))
    done = subprocess.run(
        [tools.verilator().path, "--lint-only", "-Wno-fatal", "receiver.v"],
        cwd=tmp_path, env=tools.verilator_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
