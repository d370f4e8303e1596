"""Draws the documentation's pictures: `python docs/drawings/draw.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from adaptation import adaptation
from svg import Drawing

from echoloom.hdl.lane import ADD, BROADCAST, STORE, X_WORD
from echoloom.ir.contract import Timing

HERE = Path(__file__).parent
TIMING = Timing()


def pipeline() -> Drawing:
    """The way of the data, in the order of the folders."""
    d = Drawing(1000, 470, "From a JAX function to a board")
    rows = [
        (
            "echoloom/frontend: JAX",
            [
                ("energies", "T(p), V(q, u)", "as JAX functions"),
                ("canonical form", "a list of steps;", "constants folded"),
                ("graphs", "force, readout,", "pull-backs, contrasts"),
            ],
        ),
        (
            "echoloom/ir/passes: programs",
            [
                ("real program", "forward and echo step,", "simplified"),
                ("ranges", "float64 runs of it", "on samples"),
                ("formats and ε", "a Q-format a word,", "a nudge a block"),
                ("integer program", "exact products,", "one rounding each"),
            ],
        ),
        (
            "echoloom/ir/passes, hdl, backends: machine",
            [
                ("allocation", "banks, addresses,", "tables"),
                ("schedule", "a cycle for every", "product and drain"),
                ("image", "memory contents of", "an engine"),
                ("bitstream", "Amaranth, Yosys,", "nextpnr"),
            ],
        ),
    ]
    width, height, gap = 190, 66, 40
    for row, (label, boxes) in enumerate(rows):
        y = 34 + 118 * row
        d.text(20, y - 10, label)
        for column, lines in enumerate(boxes):
            x = 20 + (width + gap) * column
            d.box(x, y, width, height, *lines)
            if column:
                d.arrow((x - gap, y + height / 2), (x - 2, y + height / 2))
        if row:
            # From the end of the row above to the beginning of this one.
            last = 20 + (width + gap) * (len(rows[row - 1][1]) - 1) + width / 2
            above = y - 118 + height
            d.arrow(
                (last, above), (last, above + 20), (10, above + 20), (10, y + 33), (18, y + 33)
            )  # fmt: skip
    y = 34 + 118 * 3 + 4
    d.text(
        20, y - 14, "identical integers, or el.verify names the first step, block, signal and bit"
    )
    levels = ("NumPy", "JAX", "ONNX", "golden engine", "RTL", "board")
    for number, name in enumerate(levels):
        d.box(20 + 157 * number, y, 130, 36, name, kind="level")
        if number:
            d.text(20 + 157 * number - 13.5, y + 23, "=", "title", "middle")
    return d


def datapath() -> Drawing:
    """One lane, one drain and what they share, left to right in the order of the cycles."""
    d = Drawing(1000, 420, "The engine's datapath: one of P lanes and one of R drains")
    d.text(20, 16, "in each of P lanes")
    d.box(20, 40, 130, 44, "weight memory", "narrow words", kind="memory")
    d.box(20, 100, 130, 44, "vector memory X", "wide words", kind="memory")
    d.box(20, 160, 130, 44, "vector memory Y", "a copy", kind="memory")
    d.box(20, 220, 130, 44, "frame", "the input sample", kind="memory")
    d.box(210, 100, 110, 104, "operands", "local, broadcast", "or frame")
    d.box(370, 120, 90, 64, "multiplier", "28 × 18")
    d.box(510, 40, 120, 52, "accumulator", "a sum a lane")
    d.box(510, 126, 120, 52, "adder tree", "a sum over lanes")
    d.box(510, 212, 120, 52, "gradient", "read, add, write", kind="memory")
    d.box(690, 60, 110, 96, "result slots", "P words each,", "wait for a drain", kind="memory")
    d.arrow((150, 62), (180, 62), (180, 120), (208, 120))
    d.arrow((150, 122), (170, 122), (170, 140), (208, 140))
    d.arrow((150, 182), (170, 182), (170, 162), (208, 162))
    d.arrow((150, 242), (180, 242), (180, 184), (208, 184))
    d.arrow((320, 152), (368, 152))
    d.arrow((460, 152), (508, 152))
    d.arrow((460, 152), (485, 152), (485, 66), (508, 66))
    d.arrow((460, 152), (485, 152), (485, 238), (508, 238))
    d.arrow((630, 66), (660, 66), (660, 90), (688, 90))
    d.arrow((630, 152), (660, 152), (660, 130), (688, 130))
    d.arrow((630, 238), (648, 238), (648, 80), (632, 80))
    d.text(654, 224, "read out")
    d.text(20, 306, "in each of R drains")
    y = 320
    d.box(20, y, 130, 52, "base word", "a copy of the vectors", kind="memory")
    d.box(690, y, 110, 52, "shift, round", "half to even")
    d.box(540, y, 110, 52, "add base", "r, b + r or b − r")
    d.box(370, y, 130, 52, "narrow", "wrap or saturate")
    d.box(210, y, 120, 52, "table", "piecewise linear", kind="memory")
    d.arrow((745, 156), (745, y - 2))
    d.arrow((690, y + 26), (652, y + 26))
    d.arrow((540, y + 26), (502, y + 26))
    d.arrow((370, y + 26), (332, y + 26))
    d.arrow((85, y + 52), (85, y + 74), (595, y + 74), (595, y + 54))
    d.arrow((210, y + 26), (180, y + 26), (180, 284), (8, 284), (8, 182), (18, 182))
    d.arrow((8, 182), (8, 122), (18, 122))
    d.arrow((435, y), (435, 284), (180, 284))
    d.text(250, 278, "write port: every copy of the vector memory")
    # Registers between the boxes, by the engine's own latencies.
    for x, cycle in (
        (20, f"t: addresses; t + {X_WORD}: words"),
        (210, f"t + {BROADCAST}: broadcast"),
        (370, f"to t + {ADD}"),
        (510, f"t + {STORE}: sum"),
        (690, f"t + {TIMING.mac_to_slot}: asked for"),
    ):
        d.text(x, 34, cycle)
    d.text(830, 82, "element of cycle t: its sum")
    d.text(830, 98, f"is in the slot at t + {TIMING.mac_to_slot};")
    d.text(830, 114, "a gradient word may be")
    d.text(830, 130, f"read again at t + {TIMING.gradient}")
    d.text(830, y + 14, "chunk of cycle t:")
    d.text(830, y + 30, f"readable at t + {TIMING.drain_direct},")
    d.text(830, y + 46, f"at t + {TIMING.drain_table} by a table")
    return d


def _trajectory(steps: int, nudge: float) -> tuple[list[float], list[float]]:
    """q of one leapfrog oscillator forwards, and of its echo, nudged by the error q - 0.3 at every
    step, in the order in which the echo meets them (h = 0.22, V = (q - u)^2 / 2, u a slow wave)."""
    h, q, p = 0.22, 0.0, 0.0

    def kick(at: float, k: int) -> float:
        return -h * (at - math.sin(0.09 * k))

    forward = [q]
    for k in range(steps):
        q += 0.5 * h * p
        p += kick(q, k)
        q += 0.5 * h * p
        forward.append(q)
    p, echo = -p, [q]
    for k in reversed(range(steps)):
        p += nudge * h * (forward[k + 1] - 0.3)
        q += 0.5 * h * p
        p += kick(q, k)
        q += 0.5 * h * p
        echo.append(q)
    return forward, echo


def echo() -> Drawing:
    """One oscillator forwards and its three copies on the way back: computed, not sketched."""
    d = Drawing(1000, 330, "One echo: forwards, momentum turned round, and three copies back")
    steps, x0, x1, middle, scale = 60, 60.0, 940.0, 165.0, 62.0

    def at(k: float, q: float) -> tuple[float, float]:
        return x0 + (x1 - x0) * k / (2 * steps), middle - scale * q

    forward, _ = _trajectory(steps, 0.0)
    d.curve([at(0, 0), at(2 * steps, 0)], "thin")
    d.curve([at(steps, -1.9), at(steps, 2.0)], "thin")
    d.curve([at(k, q) for k, q in enumerate(forward)], "free")
    for kind, nudge in (("plus", 0.12), ("minus", -0.12), ("free", 0.0)):
        _, back = _trajectory(steps, nudge)
        d.curve([at(steps + k, q) for k, q in enumerate(back)], kind)
        last = at(2 * steps, back[-1])
        d.text(last[0] + 6, last[1] + 4, kind)
    d.text(x0, 24, "forward: inputs x₁ ... x_T, one state kept", "title")
    d.text(x0 + 460, 24, "echo: p → −p, inputs x_T ... x₁ again", "title")
    d.text(x0, 306, "at rest")
    d.text(500, 306, "ε times the loss's gradient nudges plus and minus at every step", at="middle")
    d.text(x1, 306, "free: at rest again, to the bit", at="end")
    d.text(500, 322, "gradient = −1/2ε · Σ over steps of (∂H at plus − ∂H at minus)", at="middle")
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "pipeline": pipeline,
    "datapath": datapath,
    "echo": echo,
    "adaptation": adaptation,
}


def main() -> None:
    for name, draw in DRAWINGS.items():
        (HERE / f"{name}.svg").write_text(str(draw()))


if __name__ == "__main__":
    main()
