"""A subject that the profile's tests share."""

from __future__ import annotations

import pytest
from studied import studied

from echoloom.backends.profile.subject import Subject


@pytest.fixture(scope="session")
def small() -> Subject:
    """A classifier of one block, judged on the samples that it is calibrated on."""
    return studied()
