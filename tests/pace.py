"""How slow this machine is: deadlines are for one with a processor to itself.

An emulated machine has a third of the speed by its own time, and on a busy one all
takes longer. A longer deadline costs nothing where nothing is wrong.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import cache

EMULATED = "BPFTUNE_EMULATED"
"""Set in the environment of tests in an emulated machine."""

MEASURED = "BPFTUNE_SLOWNESS"
"""What was measured, in the environment, for the processes that a test starts."""

# What the loop below takes, in seconds, where nothing else runs (measured: 0.04).
REFERENCE_S = 0.05
ROUNDS = 3
MOST = 20.0


def is_emulated() -> bool:
    """Say whether this machine is one of ``tests.vm``'s."""
    return bool(os.environ.get(EMULATED))


def factor_for(seconds: float) -> float:
    """Return how many times slower a machine is on which the loop takes *seconds*."""
    return min(MOST, max(1.0, seconds / REFERENCE_S))


@cache
def slowness() -> float:
    """Return how many times slower this machine is, measured once.

    The loop starts Python, as most tests do: that takes processes, files and code.
    """
    if measured := os.environ.get(MEASURED):
        return float(measured)
    took_s = []
    for _ in range(ROUNDS):
        began_s = time.monotonic()
        command = [sys.executable, "-I", "-c", "import json, subprocess, threading"]
        subprocess.run(command, check=True)
        took_s.append(time.monotonic() - began_s)
    factor = factor_for(statistics.median(took_s))
    os.environ[MEASURED] = f"{factor:.2f}"
    return factor


def patient(seconds: float) -> float:
    """Return a deadline of *seconds* as this machine needs it, in seconds."""
    return seconds * slowness()


def allowed(seconds: float) -> float:
    """Return *seconds*, a limit that nothing but an emulated machine may exceed."""
    return patient(seconds) if is_emulated() else seconds
