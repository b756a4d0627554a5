"""Sysctls of the whole machine, for a while; and being told to end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

SYSCTLS = Path("/proc/sys")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM and SIGHUP do what Ctrl-C does, so that all is cleaned up."""
    caught = signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, _stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def host_sysctl(
    values: Mapping[str, int], say: Callable[[str], None]
) -> Iterator[None]:
    """Set dotted sysctls and put back what was found, also at Ctrl-C and SIGTERM.

    *say* tells both, so that somebody can do it after a SIGKILL.
    """
    files = {name: SYSCTLS / name.replace(".", "/") for name in values}
    found = {name: file.read_text().strip() for name, file in files.items()}
    with interruptible():
        try:
            for name, value in values.items():
                was = found[name]
                say(f"    {name} of the whole machine is {value} now, was {was}")
                files[name].write_text(str(value))
            yield
        finally:
            for name, was in found.items():
                files[name].write_text(was)
            for name, was in found.items():
                say(f"    {name} of the whole machine is {was} again")
