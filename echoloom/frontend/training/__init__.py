"""Training on the host: run files, gradient sources, the loop over steps and what it leaves."""
