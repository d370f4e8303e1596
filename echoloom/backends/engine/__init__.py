"""Passes of an engine: what a host asks of it, and sweeps through time as such passes."""
