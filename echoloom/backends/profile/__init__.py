"""How good a model's integer gradients are, over formats, nudges and lengths, and why."""
