"""Garbage that only the cyclic collector finds."""

from __future__ import annotations

import gc
from collections.abc import Callable


def in_cycles(do: Callable[[], object], times: int = 10) -> int:
    """Return how many objects are left in cycles when *do* is repeated."""
    do()  # what is made once and kept, or not
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(times):
            do()
        return gc.collect()
    finally:
        if was_enabled:
            gc.enable()
