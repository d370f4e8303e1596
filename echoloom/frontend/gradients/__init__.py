"""Gradients in floats: backpropagation and echo learning."""
