"""Sysctls of the whole machine, for a while."""

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
def host_sysctl(
    values: Mapping[str, int], say: Callable[[str], None]
) -> Iterator[None]:
    """Set dotted sysctls and put back what was found, also at Ctrl-C and SIGTERM.

    *say* tells both, so that somebody can do it after a SIGKILL.
    """
    files = {name: SYSCTLS / name.replace(".", "/") for name in values}
    found = {name: file.read_text().strip() for name, file in files.items()}
    caught = signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, _stop) for number in caught}
    try:
        for name, value in values.items():
            say(f"    {name} of the whole machine is {value} now, was {found[name]}")
            files[name].write_text(str(value))
        yield
    finally:
        for name, was in found.items():
            files[name].write_text(was)
        for name, was in found.items():
            say(f"    {name} of the whole machine is {was} again")
        for number, handler in before.items():
            signal.signal(number, handler)
