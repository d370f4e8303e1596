"""Numbers and artefacts from a program: `run_*` gives numbers, `to_*` gives artefacts."""
