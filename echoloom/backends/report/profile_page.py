"""A profile as the parts of a page."""

from __future__ import annotations

from collections.abc import Iterator

from echoloom.backends.profile.grid import Point
from echoloom.backends.profile.profile import Profile
from echoloom.backends.profile.signals import said, short
from echoloom.backends.profile.usage import Usage
from echoloom.backends.report.page import Part, figure, folded, paragraph, table
from echoloom.backends.report.profile_pictures import growth_svg, shares_svg, surface_svg, usage_svg
from echoloom.ir.sections import ECHO

SURFACE = (
    "The worst of all tensors and sequences. Blue meets the bound, red misses it; the frame is the "
    "chosen point. Above with the chosen nudges, below with the chosen narrow side."
)
GROWTH = "With the chosen narrow side and nudges; the dotted line is the bound."
SHARES = (
    "What each format's rounding puts into every tensor's squared error, measured by making that "
    "format alone coarser. What formats do not explain is left to nudges of finite size and tables."
)
USAGE = (
    "How large a signal's words are, in front of what its format holds: from its last bit to its "
    "range. Orange signals use the last bit of a range that samples alone gave, so that others "
    "might leave it."
)


def pictures(found: Profile) -> dict[str, str]:
    """The pictures as SVG, by name."""
    forward, back = _parted(found)
    return {
        "surface": surface_svg(found),
        "growth": growth_svg(found),
        "shares": shares_svg(found),
        "signals": usage_svg(forward, "signals"),
        "back_signals": usage_svg(back, "back_signals"),
    }


def _parted(found: Profile) -> tuple[list[Usage], list[Usage]]:
    forward = [u for u in found.usage if u.word.section not in ECHO]
    return forward, [u for u in found.usage if u.word.section in ECHO]


def profile_parts(found: Profile, svg: dict[str, str]) -> list[Part]:
    """All of them, with the pictures that `pictures` gave."""
    advice = "".join(map(paragraph, found.advice()))
    return [
        Part("What the figures say", advice),
        Part("Quality by formats and nudges", _quality(found, svg)),
        Part("Growth with the length", figure(svg["growth"], GROWTH)),
        Part("Tensors at the chosen point", _tensors(found)),
        Part("Where the error comes from", figure(svg["shares"], SHARES) + _formats(found)),
        Part("Signals in their formats", figure(svg["signals"], USAGE)),
        Part("Back-signals in their formats", figure(svg["back_signals"], USAGE)),
    ]


def _quality(found: Profile, svg: dict[str, str]) -> str:
    rows = [_row(p, found) for p in found.points]
    head = ("word", "narrow", "nudge", "steps", "worst cosine", "by", "norm ratio", "by",
            "clamped", "bound")  # fmt: skip
    return figure(svg["surface"], SURFACE) + folded(
        f"All {len(rows)} points as a table", table(head, rows)
    )


def _row(point: Point, found: Profile) -> list[str]:
    head = [str(point.word), str(point.narrow), f"2^{point.octave}", str(point.length)]
    if not point.holds:
        why = point.refused or f"{point.overflowed} sequences overflow"
        return [*head, why, "", "", "", "", "missed"]
    least = min(point.tensors, key=lambda n: point.tensors[n].cosine)
    far = max(point.tensors, key=lambda n: abs(point.tensors[n].norm_ratio - 1.0))
    met = "met" if found.bound.met_by(point) else "missed"
    return [*head, f"{point.cosine:.6f}", least, f"{point.tensors[far].norm_ratio:.4f}", far,
            str(point.clamped), met]  # fmt: skip


def _tensors(found: Profile) -> str:
    rows = []
    for name, figures in found.chosen.tensors.items():
        largest = found.shares.largest(name) if found.shares.shares else None
        share = "" if largest is None else f"{found.shares.part(name, largest):.0%}"
        rows.append([
            name, f"{figures.cosine:.6f}", f"{figures.norm_ratio:.4f}",
            f"{found.shares.errors[name] ** 0.5:.1e}", share,
            "" if largest is None else f"{largest.signal}  {short(largest.signal.q)}",
        ])  # fmt: skip
    head = ("tensor", "worst cosine", "worst norm ratio", "relative error", "largest share", "of")
    return table(head, rows)


def _formats(found: Profile) -> str:
    rows = [list(_format_row(found, number)) for number in range(len(found.shares.shares))]
    head = ("format", "kind", "rests on", "range", "margin", "largest share", "in", "words")
    return folded(f"All {len(rows)} formats as a table", table(head, rows))


def _format_row(found: Profile, number: int) -> Iterator[str]:
    shares = found.shares
    share = shares.shares[number]
    signal = share.signal
    tensor = max(shares.errors, key=lambda name: shares.part(name, share))
    yield short(signal.q)
    yield signal.kind.value
    yield signal.basis.value
    yield f"{signal.asked.range:.4g}" if signal.asked else ""
    yield str(signal.asked.margin) if signal.asked else ""
    yield f"{shares.part(tensor, share):.1%}"
    yield tensor
    yield ", ".join(said(word) for word in signal.words)
