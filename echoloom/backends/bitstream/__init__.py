"""From Verilog to a bitstream with open tools."""
