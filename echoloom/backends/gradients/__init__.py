"""Gradients of the raw parameters from a program's integers."""
