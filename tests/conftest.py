"""What all tests share: hypothesis draws the same examples in every run and keeps no record; real images may not be there."""

import os

import hypothesis
import pytest

import hardy.recipes  # noqa: F401 - now: they are checked against sizes of data sets, which some tests make smaller

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


def pytest_runtest_setup(item):
    if item.get_closest_marker("data") and not os.environ.get("HARDY_DATA"):
        pytest.skip("$HARDY_DATA is not set")
