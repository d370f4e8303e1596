"""A page of HTML that holds everything it shows: no script, and no request to anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

NUMBER = re.compile(r"[-+±]?[\d.,]+(e[-+]?\d+)?( ?%)?$")
# A browser that met anything from outside would refuse it and say so.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light dark; --text: #1b2733; --faint: #5b6b7a; --line: #d4dbe2;
  --back: #ffffff; --raised: #f4f7fa; --accent: #2471a3; --good: #2f7d4f; --bad: #b3362b }
@media (prefers-color-scheme: dark) { :root { --text: #dfe6ec; --faint: #94a3b1; --line: #34414d;
  --back: #12181e; --raised: #1b232b; --accent: #6db3e8; --good: #6cc48f; --bad: #ee8278 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem; max-width: 74rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .3rem }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem }
p { max-width: 52rem; margin: .5rem 0 }
p.note { color: var(--faint); font-size: .9rem }
a { color: var(--accent) }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .8rem 0 }
.scroll { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums }
th, td { padding: .22rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; max-width: 34rem }
th { background: var(--raised); white-space: nowrap }
td.number { text-align: right; white-space: nowrap }
tr.begins td { border-top: 2px solid var(--line) }
figure { margin: .8rem 0 }
figure svg { display: block }
figcaption { color: var(--faint); font-size: .9rem; max-width: 52rem }
summary { cursor: pointer; color: var(--accent) }
code { font-family: ui-monospace, monospace; font-size: .92em }
"""


@dataclass(frozen=True)
class Part:
    """A section of a page: a heading, and what is below it as HTML."""

    title: str
    body: str

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def page(title: str, lead: str, parts: Sequence[Part]) -> bytes:
    """The whole page, with links to its parts; `lead` is a line of text below the title."""
    links = "".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in parts)
    bodies = "".join(
        f'<section id="{part.anchor}"><h2>{escape(part.title)}</h2>\n{part.body}\n</section>\n'
        for part in parts
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # A browser would ask the server for an icon otherwise.
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n<nav>{links}</nav>\n{bodies}"
        "</body></html>\n"
    ).encode()


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{_class(kind)}>{escape(text)}</p>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], begins: Iterable[int] = ()) -> str:
    """A table that scrolls where it is too wide; numbers stand to the right. Rows with the numbers
    in `begins` begin a group."""
    groups = frozenset(begins)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(_cell(str(cell)) for cell in row)
        lines.append(f"<tr{_class('begins' if number in groups else '')}>{cells}</tr>\n")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    first = f"<thead><tr>{heads}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{first}<tbody>\n{"".join(lines)}</tbody></table></div>\n'


def figure(svg: str, caption: str) -> str:
    """A picture, which scrolls where it is too wide, and what it shows."""
    text = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure><div class="scroll">{svg}</div>{text}</figure>\n'


def folded(summary: str, body: str) -> str:
    """Something long that opens at a click."""
    return f"<details><summary>{escape(summary)}</summary>\n{body}</details>\n"


def _cell(text: str) -> str:
    kind = "number" if NUMBER.match(text.strip()) else ""
    return f"<td{_class(kind)}>{escape(text)}</td>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
