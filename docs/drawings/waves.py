"""`docs/drawings/waves.png`: GTKWave's window with the waves of `docs/waves.md`'s example.

Run it as `python docs/drawings/waves.py`. It needs GTKWave and a display that is none; on Debian
`apt-get install gtkwave xvfb x11-apps`. Fonts and versions differ, so the picture is not compared.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import jax
import numpy as np
import pywellen
from PIL import Image

import echoloom as el

PICTURE = Path(__file__).with_suffix(".png")
DISPLAY = ":77"
STEP = 5  # around which the waves are
FONTS = "fontname_waves Monospace 9\nfontname_signals Monospace 9\n"
SIZE = (1060, 900)  # of the window that the save file asks for, and its frame
CLOCK, BEFORE = 10, 180  # nanoseconds
STARTS, LOADS = 3, 15  # seconds that a display takes to start, and GTKWave to show a file


def example() -> tuple[el.CompiledProgram, np.ndarray]:
    """The program of the page, and one of its sequences."""
    waves = [np.sin(f * np.arange(32) + a) for f in (0.3, 0.6) for a in range(6)]
    X = np.stack(waves)[:, :, None]
    model = el.HSSM(inputs=1, outputs=2, hidden=8, state=4, blocks=1, key=jax.random.key(0))
    return el.compile(model, X, np.repeat([0, 1], 6), lanes=2), X


def window(dump: bytes) -> Image.Image:
    """What `xwd` wrote, as a picture: a header of 32-bit numbers, colours, then rows of BGRX."""
    header = struct.unpack(">25I", dump[:100])
    width, height, bytes_per_line, colours = header[4], header[5], header[12], header[19]
    begin = header[0] + 12 * colours
    pixels = dump[begin : begin + bytes_per_line * height]
    return Image.frombytes("RGB", (width, height), pixels, "raw", "BGRX", bytes_per_line)


def begin_at_a_change(fst: Path, path: str) -> None:
    """Let the save file begin shortly before a signal changes for the first time."""
    save = fst.with_suffix(".gtkw")
    found = re.search(r"\[timestart\] (\d+)", save.read_text())
    assert found is not None
    signals = pywellen.Waveform(str(fst)).all_vars()  # pyright: ignore[reportAttributeAccessIssue]
    (signal,) = (v.signal for v in signals if v.full_name == path)
    time = start = int(found[1])
    while signal.value_at(time) == signal.value_at(start):
        time += CLOCK
    save.write_text(save.read_text().replace(found[0], f"[timestart] {time - BEFORE}"))


def shown(file: Path, variables: Mapping[str, str]) -> Image.Image:
    """GTKWave's window once it shows the save file."""
    with ExitStack() as running:
        for command, seconds in (
            (["Xvfb", DISPLAY, "-screen", "0", "1500x1000x24"], STARTS),
            (["gtkwave", f"--save={file}"], LOADS),
        ):
            process = subprocess.Popen(
                command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            running.callback(process.wait)
            running.callback(process.terminate)
            time.sleep(seconds)
        dump = subprocess.run(
            ["xwd", "-root", "-silent"], env=variables, check=True, capture_output=True
        )
        return window(dump.stdout)


def main() -> None:
    program, X = example()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".gtkwaverc").write_text(FONTS)
        el.verify(
            program, X[:1], [1], levels=["rtl"], simulator="verilator-cpp",
            waves=folder / "sines.fst", around=STEP,
        )  # fmt: skip
        variables = {**os.environ, "DISPLAY": DISPLAY, "HOME": name, "NO_AT_BRIDGE": "1"}
        begin_at_a_change(folder / "sines.fst", "echoloom.state.b0.free.q.[0]")
        picture = shown(folder / "sines.gtkw", variables)
    picture.crop((0, 0, *SIZE)).quantize(64).save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
