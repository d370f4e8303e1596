"""A gallery of units: what one may write for a Hamiltonian, by example.

    from hamiltonians import GALLERY
    model = echoloom.HSSM(..., hidden=16, state=5, unit=GALLERY["duffing"](16, key), step=0.2)

Copy the class that is nearest to yours and change its energies. Inputs are meant to be
standardised and steps to lie between 0.1 and 0.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

import echoloom as el
from hamiltonians.driven import Bilinear, Gated, Perceptron
from hamiltonians.lattices import FPUT, HenonHeiles, MeanField, Pendulums, Rotors, SineGordon, Toda
from hamiltonians.motion import DenseMass, Relativistic, SaturatingVelocity
from hamiltonians.piecewise import Backlash, Clipped, Huber, Walls
from hamiltonians.wells import Duffing, Landau, LogHalo, Morse, Plummer, Tweezer


class Exhibit(NamedTuple):
    """A unit with a number of positions that suits it."""

    new: Callable[[int, int, jax.Array], el.Hamiltonian]
    positions: int

    def __call__(self, hidden: int, key: jax.Array) -> el.Hamiltonian:
        """The unit, `positions` coordinates driven by u [hidden]."""
        return self.new(self.positions, hidden, key)


GALLERY: dict[str, Exhibit] = {
    "backlash": Exhibit(Backlash.new, 5),
    "bilinear": Exhibit(Bilinear.new, 5),
    "clipped": Exhibit(Clipped.new, 5),
    "dense_mass": Exhibit(DenseMass.new, 5),
    "duffing": Exhibit(Duffing.new, 5),
    "fput": Exhibit(FPUT.new, 5),
    "gated": Exhibit(Gated.new, 5),
    "henon_heiles": Exhibit(HenonHeiles.new, 6),
    "huber": Exhibit(Huber.new, 5),
    "landau": Exhibit(Landau.new, 5),
    "log_halo": Exhibit(LogHalo.new, 5),
    "mean_field": Exhibit(MeanField.new, 5),
    "morse": Exhibit(Morse.new, 5),
    "pendulums": Exhibit(Pendulums.new, 5),
    "perceptron": Exhibit(Perceptron.new, 5),
    "plummer": Exhibit(Plummer.new, 5),
    "relativistic": Exhibit(Relativistic.new, 5),
    "rotors": Exhibit(Rotors.new, 5),
    "saturating_velocity": Exhibit(SaturatingVelocity.new, 5),
    "sine_gordon": Exhibit(SineGordon.new, 6),
    "toda": Exhibit(Toda.new, 5),
    "tweezer": Exhibit(Tweezer.new, 5),
    "walls": Exhibit(Walls.new, 5),
}

__all__ = ["GALLERY", "Exhibit"]
