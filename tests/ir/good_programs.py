"""Two programs that are right, written out, and how tests make them wrong."""

from __future__ import annotations

from echoloom.ir.parser import parse
from echoloom.ir.program import Program

GOOD = """
program springs

coefficient step : Q(1,17)[2]
coefficient stiffness : Q(18:17,16)[2]
coefficient drive : Q(1,17)[2,1]
coefficient bias : Q(4,24)[2]
runtime rate : Q(2,16)[]
state b0.free.q : Q(4,24)[2]
state b0.free.p : Q(4,24)[2]
state mean : Q(4,24)[2]
accumulator pool {scale=1.0} : Q(30,24)[2]
accumulator slope {scale=-0.5, target=stiffness, divisor=step} : Q(16,38)[2]

forward_prologue:
  %rest = constant() {value=0.0} : Q(4,24)[2]
  b0.free.q <- %rest
  b0.free.p <- %rest

forward_step:
  frame u : Q(4,24)[1]
  %v = mul(step, b0.free.p) : Q(5,41)[2]
  %half = scale(%v) {factor=0.5} : Q(4,42)[2]
  %dq = requant(%half) {rounding=half_even, overflow=saturate} : Q(5,24)[2]
  %moved = add(b0.free.q, %dq) : Q(6,24)[2]
  %q1 = requant(%moved) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %pull = mul(stiffness, %q1) : Q(46:41,40)[2]
  %spring = requant(%pull) {rounding=half_even, overflow=saturate} : Q(5,23)[2]
  %du = matvec(drive, u) : Q(5,41)[2]
  %push = requant(%du) {rounding=half_even, overflow=saturate} : Q(6,23)[2]
  %both = sub(%spring, %push) : Q(7,23)[2]
  %f = requant(%both) {rounding=half_even, overflow=saturate} : Q(5,23)[2]
  %hf = mul(step, %f) : Q(6,40)[2]
  %dp = requant(%hf) {rounding=half_even, overflow=saturate} : Q(7,24)[2]
  %kicked = sub(b0.free.p, %dp) : Q(8,24)[2]
  %p = requant(%kicked) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %v2 = mul(step, %p) : Q(5,41)[2]
  %half2 = scale(%v2) {factor=0.5} : Q(4,42)[2]
  %dq2 = requant(%half2) {rounding=half_even, overflow=saturate} : Q(5,24)[2]
  %moved2 = add(%q1, %dq2) : Q(6,24)[2]
  %q = requant(%moved2) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %short = requant(%q) {rounding=half_even, overflow=saturate} : Q(4,14)[2]
  %term = mul(%short, %f) : Q(9,37)[2]
  %fine = scale(%term) {factor=0.5} : Q(8,38)[2]
  b0.free.q <- %q
  b0.free.p <- %p
  accumulate pool += %q
  accumulate slope += %fine

forward_epilogue:
  %sum = read() {accumulator=pool} : Q(30,24)[2]
  %near = requant(%sum) {rounding=half_even, overflow=saturate, register=length} : Q(4,24)[2]
  %rated = mul(rate, %near) : Q(6,40)[2]
  %average = requant(%rated) {rounding=half_even, overflow=saturate} : Q(4,24)[2]
  %shape = table(%average) {function=tanh, segment_bits=9, range_bits=3} : Q(2,16)[2]
  mean <- %average
  emit %shape
"""

REAL = """
program real_springs

coefficient step : real[2]
state b0.free.q : real[2]
state b0.free.p : real[2]
accumulator pool {scale=1.0} : real[2]

forward_prologue:
  %rest = constant() {value=0.0} : real[2]
  b0.free.q <- %rest
  b0.free.p <- %rest

forward_step:
  frame u : real[2]
  %t = table(b0.free.p) {function=tanh, segment_bits=0, range_bits=0} : real[2]
  %v = mul(step, %t) : real[2]
  %q = add(%v, b0.free.q) : real[2]
  %f = add(u, %q) : real[2]
  %p = sub(b0.free.p, %f) : real[2]
  b0.free.q <- %q
  b0.free.p <- %p
  accumulate pool += %p

forward_epilogue:
  %sum = read() {accumulator=pool} : real[2]
  %mean = shift(%sum) {register=length} : real[2]
  emit %mean
"""

REQUANT = "{rounding=half_even, overflow=saturate}"


def edited(text: str, old: str, new: str) -> Program:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the good program"
    return parse(text.replace(old, new))
