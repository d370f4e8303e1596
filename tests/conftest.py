"""Settings for every test."""

import os

# Before anything imports JAX: integers of 64 bits and a float64 reference are meant throughout.
os.environ["JAX_ENABLE_X64"] = "1"
