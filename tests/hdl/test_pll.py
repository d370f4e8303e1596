"""The PLL's dividers."""

from __future__ import annotations

import pytest

from echoloom.hdl.pll import PHASE_DETECTOR_MHZ, VCO_MHZ, Dividers, dividers


def test_same_dividers_as_the_vendor_tools_give():
    assert dividers(25, 50) == Dividers(1, 2, 12)
    assert dividers(25, 75) == Dividers(1, 3, 8)
    assert dividers(25, 100) == Dividers(1, 4, 6)
    assert dividers(25, 125) == Dividers(1, 5, 5)


@pytest.mark.parametrize("output", [12.5, 37.5, 62.5, 87.5, 112.5, 200])
def test_dividers_are_exact_and_within_limits(output):
    found = dividers(25, output)
    assert 25 / found.reference * found.feedback == output
    assert VCO_MHZ[0] <= output * found.post <= VCO_MHZ[1]
    assert PHASE_DETECTOR_MHZ[0] <= 25 / found.reference


def test_impossible():
    with pytest.raises(ValueError, match=r"cannot make 26.3 MHz from 25 MHz"):
        dividers(25, 26.3)
