"""Verilog simulation, and the first difference between two levels."""
