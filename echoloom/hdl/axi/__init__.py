"""The engine inside other systems: AXI4-Stream for samples and outputs, a host bus of choice."""
