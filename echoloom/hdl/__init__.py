"""Amaranth components, each with its golden twin and its latency."""
