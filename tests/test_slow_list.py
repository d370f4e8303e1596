"""The measured list of slow tests."""

from __future__ import annotations


def test_every_listed_test_is_there(gone_from_the_slow_list: set[str]):
    assert gone_from_the_slow_list == set(), "measure slow.txt anew, see conftest.py"
