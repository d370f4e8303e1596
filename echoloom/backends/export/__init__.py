"""A program's engine as Verilog for other systems, with all that goes with it."""
