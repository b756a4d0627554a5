"""What all tests share: who may run, and tests that are the same every time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

NEED_ROOT = {"kernel", "system"}

# Other work on the machine must not fail a test, and a failure must come back.
settings.register_profile("bpftune", deadline=None, derandomize=True, database=None)
settings.load_profile("bpftune")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root, and say so, when run by anybody else."""
    if os.geteuid() == 0:
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in NEED_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root"))
