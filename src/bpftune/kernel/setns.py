"""Be in another network namespace for a moment, in a thread of its own.

Moving the calling thread would strand it there if the way back failed.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from typing import TYPE_CHECKING, TypeVar

from bpftune.kernel.errors import KernelError
from bpftune.model import NetnsCookie

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_SO_NETNS_COOKIE = 71
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class ElsewhereError(Exception):
    """A path does not, or no longer, lead to the namespace that was meant."""


def cookie_here() -> NetnsCookie:
    """Return the cookie of the calling thread's network namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        try:
            raw = any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError as error:
            raise KernelError(
                f"the kernel does not number network namespaces: {error.strerror}",
                hint="Linux 5.14 or newer is needed",
            ) from error
    return NetnsCookie(int.from_bytes(raw, "little"))


def _enter(path: str, inum: int) -> None:
    """Move the calling thread into the namespace at *path*, of inode *inum*."""
    try:
        # Whatever else got there (a FIFO, a device) must not block the open.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ElsewhereError from error
    try:
        if os.fstat(fd).st_ino != inum:
            raise ElsewhereError
        if _libc.setns(fd, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)


def call_in(path: str, inum: int, do: Callable[[], T]) -> T:
    """Call *do* in the network namespace at *path* and return its result.

    About 0.3 ms. Raises what *do* raises, ElsewhereError if *path* is gone or
    its inode is not *inum*, and OSError if it may not be entered.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(path, inum)
            results.append(do())
        except BaseException as error:  # noqa: BLE001 - raised below instead
            errors.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if errors:
        # Taken out: its traceback leads to this list, and the two would be garbage.
        raise errors.pop()
    return results[0]
