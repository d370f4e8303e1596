"""The few shapes that the drawings are made of, written as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

STYLE = """
 text { font-family: sans-serif; font-size: 13px; fill: #1b2733 }
 .small { font-size: 11px; fill: #51606e }
 .title { font-weight: bold }
 .box { fill: #eef3f8; stroke: #34495e; stroke-width: 1.2 }
 .memory { fill: #e6f2e4; stroke: #3b6b36; stroke-width: 1.2 }
 .level { fill: #fff4df; stroke: #9a6a12; stroke-width: 1.2 }
 .line { fill: none; stroke: #34495e; stroke-width: 1.4 }
 .thin { fill: none; stroke: #b4bfca; stroke-width: 1 }
 .free { fill: none; stroke: #34495e; stroke-width: 2.2 }
 .plus { fill: none; stroke: #c0392b; stroke-width: 1.8 }
 .minus { fill: none; stroke: #2471a3; stroke-width: 1.8 }
"""


class Drawing:
    """Collects shapes; lengths are pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str):
        self.width, self.height, self.title = width, height, title
        self.shapes: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, *lines: str, kind: str = "box") -> None:
        """A rectangle with a title and smaller lines, centred."""
        self.shapes.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5"/>'
        )
        top = y + h / 2 - 7.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            style = "title" if number == 0 else "small"
            self.text(x + w / 2, top + 15 * number, line, style, "middle")

    def text(self, x: float, y: float, line: str, style: str = "small", at: str = "start") -> None:
        self.shapes.append(
            f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{at}">{escape(line)}</text>'
        )

    def arrow(self, *points: Point) -> None:
        """A line through `points` with its head at the last one."""
        self._path(points, "line", ' marker-end="url(#head)"')

    def curve(self, points: Sequence[Point], kind: str) -> None:
        self._path(points, kind, "")

    def _path(self, points: Sequence[Point], kind: str, end: str) -> None:
        d = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(f'<path class="{kind}" d="{d}"{end}/>')

    def __str__(self) -> str:
        head = (
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="#34495e"/></marker>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                f"<defs>{head}</defs>",
                '<rect width="100%" height="100%" fill="#ffffff"/>',
                *self.shapes,
                "</svg>\n",
            ]
        )
