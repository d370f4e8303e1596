"""The intermediate representation and the contract of the engine."""
