"""Samples, labels and data sets."""
