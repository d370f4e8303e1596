"""A compiled program as parts of a page: its schedule as Gantt charts, its formats as text."""

from __future__ import annotations

from html import escape

from echoloom.backends.compile.search import Searched
from echoloom.backends.report.gantt import gantt_svg, legend_html
from echoloom.backends.report.page import Part, figure, folded, paragraph
from echoloom.ir.passes.image import Mapped
from echoloom.ir.precision import Precision
from echoloom.ir.program import Program
from echoloom.ir.sections import SWEPT, Section

READ = (
    "One iteration in its steady state; where steps are in flight together, what goes on after its "
    "end stands at its beginning. Bars of the lanes are as high as the model's products use of "
    "them: moves and sums that the fabric needs besides are flat. A result waits in a slot until "
    "its drain begins. Point at a bar for its value, row group and cycles."
)


def schedule_part(mapped: Mapped) -> Part:
    """A chart for every section of the sweeps."""
    charts = [paragraph(READ), legend_html(mapped)]
    for section in SWEPT:
        plan = mapped.schedules[section]
        if plan.length:
            flight = f", {plan.overlap + 1} steps in flight" if plan.overlap else ""
            charts.append(
                figure(
                    gantt_svg(mapped, section), f"{_name(section)}: {plan.length} cycles{flight}"
                )
            )
    return Part("Schedule", "".join(charts))


def _name(section: Section) -> str:
    return section.name.lower().replace("_", " ")


def text_part(program: Program, precision: Precision | None) -> Part:
    """The program as it prints, every word with its format, and the file that chooses these."""
    body = "" if precision is None else _text("All that was chosen, as a precision file", precision)
    return Part("Formats", body + _text("The program's text", program))


def search_parts(searched: Searched) -> list[Part]:
    """What a search for a precision has tried; nothing where there was none."""
    if searched.chosen is None:
        return []
    tried = f"All {len(searched.trials)} choices that were tried"
    return [Part("Search for a precision", _text(tried, searched))]


def _text(summary: str, printed: object) -> str:
    return folded(summary, f'<div class="scroll"><pre>{escape(str(printed))}</pre></div>')
