"""Proofs that a program's step retraces itself, for all words, by an SMT solver."""
