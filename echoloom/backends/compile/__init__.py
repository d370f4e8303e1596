"""From a model to a program on an engine."""
