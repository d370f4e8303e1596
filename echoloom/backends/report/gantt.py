"""A schedule as a chart: what the multipliers, the slots and the drains do in every cycle.

Time goes to the right, a cycle at a time. The multipliers' row is as high as there are lanes, and a
bar in it as high as its products use of them, so that idle lanes are white. A result waits in a
slot from when its last product is there until its drain begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from echoloom.ir.contract import Destination, MacEntry
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.sections import Section

LANES, DRAINS, SLOT = 56, 28, 9  # heights of the rows
LEFT, TOP, GAP, FOOT = 92, 6, 8, 22
NARROWEST, WIDEST = 960, 4800  # of a section's chart
SUMS, OUTPUTS = "gradient sums", "outputs"
PALETTE = (
    "#3b86c8", "#d9783b", "#45a06e", "#b96ac2", "#cf5656", "#9a9a3f", "#48a5ab", "#8f7ae0",
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """Something that takes its row from cycle `start` to before `end`; `share` of the row's height.

    `label`: the value that it is for.
    """

    start: int
    end: int
    label: str
    share: float = 1.0

    def wrapped(self, length: int) -> Iterator[Bar]:
        """Within an iteration of `length` cycles: what goes on in the next one stands at its
        beginning."""
        if self.end <= length:
            yield self
        elif self.start >= length:
            yield from Bar(self.start - length, self.end - length, self.label, self.share).wrapped(
                length
            )
        else:
            yield Bar(self.start, length, self.label, self.share)
            yield from Bar(0, self.end - length, self.label, self.share).wrapped(length)


@dataclass(frozen=True)
class Chart:
    """The rows of one section's chart, from the top; `length`: cycles until the next iteration."""

    length: int
    multipliers: tuple[Bar, ...]
    slots: tuple[tuple[Bar, ...], ...]
    drains: tuple[Bar, ...]


def chart(mapped: Mapped, section: Section) -> Chart:
    """The bars of one iteration of a section, in its steady state."""
    plan, config = mapped.schedules[section], mapped.config
    length = plan.length + mapped.timing.overhead
    multipliers, slots = [], [list[Bar]() for _ in range(2 * config.slots)]
    for entries in _tasks(plan):
        last = entries[-1]
        ready, drain = _ready(mapped, last), None
        if last.destination in (Destination.ACCUMULATOR, Destination.TREE):
            drain = _drain_of(plan, last, ready, length)
        label = _label(plan, drain) if drain is not None else _drainless(last)
        for entry in entries:
            share = min(entry.lanes / config.lanes, 1.0)
            multipliers.append(Bar(entry.start, _end(entry), label, share))
        if drain is not None:
            wait = (plan.drain[drain].start - ready) % length
            row = last.slot + (config.slots if last.destination is Destination.TREE else 0)
            slots[row].append(Bar(ready, ready + wait + 1, label))
    drains = []
    for number, entry in enumerate(plan.drain):
        cycles = -(-entry.count // config.drains)
        share = entry.count / (cycles * config.drains)
        drains.append(Bar(entry.start, entry.start + cycles, _label(plan, number), share))

    def within(bars: Sequence[Bar]) -> tuple[Bar, ...]:
        return tuple(part for bar in bars for part in bar.wrapped(length))

    used = tuple(within(row) for row in slots if row)
    return Chart(length, within(multipliers), used, within(drains))


def _end(entry: MacEntry) -> int:
    return entry.start + entry.inner * entry.outer


def _ready(mapped: Mapped, last: MacEntry) -> int:
    """From which cycle on a drain can read the sum that ends with this entry."""
    timing = mapped.timing
    if last.destination is Destination.TREE:
        return _end(last) - 1 + timing.tree_to_slot + mapped.config.tree_latency
    return _end(last) - 1 + timing.mac_to_slot


def _label(plan: Schedule, drain: int) -> str:
    value, group = plan.labels[drain]
    return f"{value}[{group}]"


def _tasks(plan: Schedule) -> Iterator[list[MacEntry]]:
    """The entries of every sum: up to the one that pushes it, or one that makes sums over steps or
    outputs."""
    waiting: list[MacEntry] = []
    for entry in plan.mac:
        waiting.append(entry)
        if entry.push or entry.destination in (Destination.GRADIENT, Destination.EMIT):
            yield waiting
            waiting = []


def _drain_of(plan: Schedule, push: MacEntry, ready: int, length: int) -> int | None:
    """The drain that takes a sum: of those of its slot the next one, round the iteration's end."""
    tree = push.destination is Destination.TREE
    own = [
        number
        for number, drain in enumerate(plan.drain)
        if drain.slot == push.slot and drain.tree == tree
    ]
    return min(own, key=lambda n: (plan.drain[n].start - ready) % length, default=None)


def _drainless(entry: MacEntry) -> str:
    return OUTPUTS if entry.destination is Destination.EMIT else SUMS


def part_of(label: str) -> str:
    """What of the model a value belongs to: `b0`, `encode`, `head`."""
    return label if label in (SUMS, OUTPUTS) else label.partition(".")[0].partition("[")[0]


def colours(mapped: Mapped) -> dict[str, str]:
    """A colour for every part of the model, the same in all charts."""
    values = (value for plan in mapped.schedules.values() for value, _ in plan.labels)
    parts = dict.fromkeys([SUMS, OUTPUTS, *map(part_of, values)])
    return {part: PALETTE[number % len(PALETTE)] for number, part in enumerate(parts)}


def gantt_svg(mapped: Mapped, section: Section) -> str:
    """The chart of a section. ValueError for one that is not played."""
    plan = mapped.schedules[section]
    if not plan.length:
        raise ValueError(f"section {section.name} is not played")
    found, ink = chart(mapped, section), colours(mapped)
    width = min(max(NARROWEST, 2 * found.length), WIDEST)
    scale = width / found.length
    shapes: list[str] = []
    top = TOP

    def row(name: str, bars: Sequence[Bar], height: int) -> None:
        nonlocal top
        shapes.append(f'<text x="{LEFT - 8}" y="{top + height / 2 + 4:g}" '
                      f'text-anchor="end">{escape(name)}</text>')  # fmt: skip
        shapes.append(f'<rect x="{LEFT}" y="{top}" width="{width}" height="{height}" '
                      'fill="currentColor" opacity="0.06"/>')  # fmt: skip
        for bar in bars:
            tall = max(height * bar.share, 2.0)
            shapes.append(
                f'<rect x="{LEFT + bar.start * scale:.2f}" y="{top + height - tall:.2f}" '
                f'width="{max((bar.end - bar.start) * scale, 0.5):.2f}" height="{tall:.2f}" '
                f'fill="{ink[part_of(bar.label)]}"><title>{escape(_told(bar))}</title></rect>'
            )
        top += height

    row(f"{mapped.config.lanes} lanes", found.multipliers, LANES)
    top += GAP
    for number, bars in enumerate(found.slots):
        row("slots" if number == len(found.slots) // 2 else "", bars, SLOT)
        top += 1
    top += GAP
    row(f"{mapped.config.drains} drains", found.drains, DRAINS)
    shapes += _axis(found.length, width, top)
    height = top + FOOT
    title = f"{section.name.lower()}: {plan.length} cycles"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + width + 12}" height="{height}" '
        f'viewBox="0 0 {LEFT + width + 12} {height}" role="img" font-family="sans-serif" '
        f'font-size="11" fill="currentColor"><title>{escape(title)}</title>'
        f"{''.join(shapes)}</svg>"
    )


def _told(bar: Bar) -> str:
    cycles = (
        f"cycle {bar.start}" if bar.end == bar.start + 1 else f"cycles {bar.start}-{bar.end - 1}"
    )
    return f"{bar.label}: {cycles}, {bar.share:.0%}"


def _axis(length: int, width: float, top: float) -> Iterator[str]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**9)
                if length / s <= max(4, width / 70))  # fmt: skip
    for cycle in range(0, length + 1, step):
        x = LEFT + cycle * width / length
        yield f'<path d="M{x:.1f},{top} v4" stroke="currentColor"/>'
        yield f'<text x="{x:.1f}" y="{top + 16}" text-anchor="middle">{cycle}</text>'


def legend_html(mapped: Mapped) -> str:
    """Which colour is which part of the model."""
    items = "".join(
        f'<span style="white-space:nowrap;margin-right:1rem"><span style="display:inline-block;'
        f'width:.8em;height:.8em;background:{colour}"></span> {escape(part)}</span>'
        for part, colour in colours(mapped).items()
    )
    return f"<p>{items}</p>\n"
