"""What is left of work that should leave nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bpftune.kernel import process


@contextmanager
def _uncollected() -> Iterator[None]:
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def in_cycles(do: Callable[[], object], times: int = 10) -> int:
    """Return how many objects are left in cycles when *do* is repeated."""
    do()  # what is made once and kept, or not
    with _uncollected():
        for _ in range(times):
            do()
        return gc.collect()


def kept_blocks(do: Callable[[], object], times: int = 1000) -> int:
    """Return how many more blocks are in use when *do* was repeated.

    CPython keeps tuples that were freed, up to 2,000 of each length, for the next of
    that length; so one that is made longer and cut to its length leaves one more each
    time.
    """
    for _ in range(10):
        do()
    with _uncollected():
        before = process.python_blocks()
        for _ in range(times):
            do()
        return process.python_blocks() - before
