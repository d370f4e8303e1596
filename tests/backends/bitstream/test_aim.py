"""Which clock a build is for."""

from __future__ import annotations

import pytest

from echoloom.backends.bitstream.aim import Aim, TimingMissed
from echoloom.backends.bitstream.routing import Routing
from echoloom.backends.bitstream.targets.boards import find_board

ULX3S_85F = find_board("ulx3s-85f")


def reaching(mhz: float, missed: str | None = None) -> Routing:
    return Routing(mhz, {}, "", missed)


def test_highest_clock_with_the_margin():
    """Of any speed: the clock leaves the margin, and the next one would not."""
    known = [ULX3S_85F.clock_below(mhz / 16) for mhz in range(16 * 40, 16 * 160)]
    for margin in (0.0, 0.1, 0.25):
        aim = Aim(margin=margin)
        for tenths in range(450, 1500, 7):
            reached = tenths / 10
            clock = aim.choose(ULX3S_85F, reaching(reached))
            limit = reached * (1 - margin)
            assert clock <= limit
            assert not any(clock < mhz <= limit for mhz in known if mhz is not None)


def test_asked_clock_has_to_be_reached():
    aim = Aim(clock_mhz=100.0)
    assert aim.choose(ULX3S_85F, reaching(100.0)) == 100.0
    with pytest.raises(TimingMissed, match=r"the design reaches 99\.9 MHz of 100 MHz"):
        aim.choose(ULX3S_85F, reaching(99.94))
    assert (aim.first_clock(ULX3S_85F), aim.routed_for(ULX3S_85F)) == (100.0, 100.0)
    assert Aim(clock_mhz=50.0, target_mhz=90.0).routed_for(ULX3S_85F) == 90.0


def test_what_the_router_aims_at():
    assert Aim().routed_for(ULX3S_85F) == ULX3S_85F.target_mhz
    # 117 MHz is none of the PLL's clocks; the router aims at it all the same.
    assert Aim(target_mhz=117.0).routed_for(ULX3S_85F) == 117.0
    assert Aim(target_mhz=117.0).first_clock(ULX3S_85F) == ULX3S_85F.clock_below(117.0)


def test_too_slow_for_any_clock():
    with pytest.raises(TimingMissed) as caught:
        Aim().choose(ULX3S_85F, reaching(3.2))
    assert str(caught.value) == (
        "timing missed: the design reaches 3.2 MHz, and the PLL of ulx3s-85f makes no clock "
        "below 2.9 MHz"
    )
    with pytest.raises(TimingMissed, match="timing missed: the clock x reaches 20 MHz of 25"):
        Aim().choose(ULX3S_85F, reaching(90.0, "the clock x reaches 20 MHz of 25"))


def test_confirmed_only_with_the_margin():
    Aim().confirm(90.0, reaching(100.0))
    with pytest.raises(TimingMissed, match=r"anew for 90 MHz the design reaches 99\.9 MHz, less"):
        Aim().confirm(90.0, reaching(99.9))
    with pytest.raises(TimingMissed):
        Aim().confirm(90.0, reaching(150.0, "the clock x"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"margin": 1.0}, "the margin is a part of the clock from 0 to 1, not 1"),
        ({"margin": -0.1}, "the margin is a part of the clock from 0 to 1, not -0.1"),
        ({"margin": float("nan")}, "the margin is a part of the clock from 0 to 1, not nan"),
        ({"clock_mhz": 0.0}, "the clock must be a frequency in MHz, not 0"),
        ({"clock_mhz": float("inf")}, "the clock must be a frequency in MHz, not inf"),
        ({"target_mhz": -5.0}, "the target must be a frequency in MHz, not -5"),
        ({"seeds": ()}, "a build needs one seed or several different ones, not ()"),
        ({"seeds": (1, 1)}, "a build needs one seed or several different ones, not (1, 1)"),
        ({"jobs": 0}, "0 placements at a time are none; 1 is the least"),
    ],
)
def test_impossible_aims(wrong, sentence):
    with pytest.raises(ValueError) as caught:
        Aim(**wrong)
    assert str(caught.value) == sentence
