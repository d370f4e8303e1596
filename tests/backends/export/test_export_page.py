"""The tables of docs/inside_other_systems.md are those of the code.

`python tests/backends/export/test_export_page.py` writes them into the page.
"""

from __future__ import annotations

import re
from pathlib import Path

from echoloom.backends.export.ports import port_table, ports_of
from echoloom.backends.export.registers_page import register_table
from echoloom.hdl.axi.axi_top import AxiTop
from echoloom.hdl.axi.stream_top import StreamTop
from echoloom.ir.contract import EngineConfig, Timing

PAGE = Path(__file__).parents[3] / "docs" / "inside_other_systems.md"
CONFIG = EngineConfig(4, 1)
TABLES = {
    "stream": lambda: port_table(ports_of(StreamTop(CONFIG, Timing()))),
    "axi": lambda: port_table(ports_of(AxiTop(CONFIG, Timing()))),
    "registers": register_table,
}
PLACE = r"(<!-- {name} -->\n)(.*?)(<!-- end -->\n)"


def test_the_pages_tables_are_the_codes() -> None:
    text = PAGE.read_text()
    for name, table in TABLES.items():
        found = re.search(PLACE.format(name=name), text, re.DOTALL)
        assert found is not None, name
        assert found[2] == table(), name


if __name__ == "__main__":
    page = PAGE.read_text()
    for name, table in TABLES.items():
        page = re.sub(PLACE.format(name=name), rf"\1{table()}\3", page, flags=re.DOTALL)
    PAGE.write_text(page)
