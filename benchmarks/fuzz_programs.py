"""The small models, programs and texts that good files and dialogues are made of."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np

import echoloom as el

# Numbers on a line that somebody may not have thought of.
EDGES = (0, 1, -1, 63, 64, 255, 256, 65_535, 65_536, 2**31, -(2**31), 2**63 - 1, -(2**63))

TOML_RUN = b"""
[data]
source = "data.npz"
validation = 0.25
pad = "zero"

[training]
gradient = "rhel"
epochs = 5
batch = 4
seeds = [0, 1]
patience = 3
metric = "accuracy"

[model]
hidden = 4
state = [2, 3]
blocks = 2
unit = ["linear", "nonlinear"]
step = 0.5

[optimiser]
name = "adam"
learning_rate = 0.01

[rhel]
echoes = "fixed"
epsilon = 0.01
"""
TOML_BOARD = b"""
amaranth = "ulx3s.ULX3S_85F_Platform"
target_mhz = 110
baud = 1000000
lights = true
loader = "ulx3s"

[pins]
attributes = "IO_TYPE=LVCMOS33"
rx = "M1"
tx = "L4"
lights = ["B2", "C2 PULL=UP"]
"""
TS = (
    b"#c\n@problemName x\n@timestamps false\n@missing false\n@univariate false\n@dimensions 2\n"
    b"@equalLength true\n@seriesLength 3\n@classLabel true a b\n@data\n"
    b"1,2,3:4,5,6:a\n-1,0.5,3e2:7,8.5,1:b\n"
)
TARGETS = (
    b"@problemName x\n@univariate true\n@equalLength true\n@targetLabel true\n@data\n"
    b"1,2,3:0.5\n-1,0.5,3e2:2\n"
)


@cache
def model(unit: str = "linear") -> el.HSSM:
    return el.HSSM(
        inputs=2, outputs=2, hidden=3, state=2, blocks=1, complex=False, unit=unit,
        key=jax.random.key(0),
    )  # fmt: skip


@cache
def program(unit: str = "linear") -> el.CompiledProgram:
    x = np.random.default_rng(0).normal(size=(2, 6, 2))
    return el.compile(model(unit), x, [0, 1], lanes=2)
