"""Checkpoints and gradients of the published code."""
