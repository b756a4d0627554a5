"""What all tests share: who may run, where, and that they are the same every time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bpftune.lab import child
from tests.pace import is_emulated, slowness

NEED_ROOT = {"kernel", "system"}

if not is_emulated():  # to import it takes ten seconds there, and none needs it
    from hypothesis import settings

    # Other work on the machine must not fail a test, and a failure must come back.
    settings.register_profile("bpftune", deadline=None, derandomize=True, database=None)
    settings.load_profile("bpftune")


def pytest_configure() -> None:
    """Have the laboratory wait as long as the tests do; and Ctrl-C be heard."""
    # A shell without job control has what it runs in the background ignore it, and
    # so would all that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_emulated():
        child.patience = slowness()


def pytest_report_header() -> str | None:
    """Say how slow an emulated machine is; pytest does not ask if it is quiet."""
    if not is_emulated():
        return None
    return f"emulated: {slowness():.0f} times slower; deadlines are that much longer"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what an emulated machine is too slow for, and say why."""
    marker = item.get_closest_marker("real_machine")
    if marker and is_emulated():
        pytest.skip(f"too slow when emulated: {marker.args[0]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root, and say so, when run by anybody else."""
    if os.geteuid() == 0:
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in NEED_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root"))
