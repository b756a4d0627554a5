"""Notice names that come and go in one directory (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.Struct("iIII")

_IN_MOVED, _IN_CREATE, _IN_DELETE = 0xC0, 0x100, 0x200
_IN_Q_OVERFLOW, _IN_IGNORED, _IN_ONLYDIR = 0x4000, 0x8000, 0x01000000
_NAMES = _IN_MOVED | _IN_CREATE | _IN_DELETE | _IN_ONLYDIR


class DirectoryWatch:
    """Watches the names in *directory*, which may be made later.

    While it is missing its parent is watched instead. *fd* is readable when
    something happened, and -1 where the kernel has no inotify left to give.
    """

    def __init__(self, directory: Path) -> None:
        """Begin to watch."""
        self._directory = directory
        self.fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watch = self._parent_watch = -1
        self._begin()

    def _add(self, path: Path) -> int:
        return int(_libc.inotify_add_watch(self.fd, os.fsencode(path), _NAMES))

    def _begin(self) -> None:
        """Watch the directory if it exists, else its parent."""
        if self.fd < 0:
            return
        self._watch = self._add(self._directory)
        if self._watch < 0 and self._parent_watch < 0:
            self._parent_watch = self._add(self._directory.parent)
            # It may have been made between the two calls.
            self._watch = self._add(self._directory)
        if self._watch >= 0 and self._parent_watch >= 0:
            _libc.inotify_rm_watch(self.fd, self._parent_watch)
            self._parent_watch = -1

    def drain(self) -> bool:
        """Read all that is queued; True if a name in the directory changed.

        Other names in the parent, seen while the directory is missing, do not
        count.
        """
        changed = False
        while self.fd >= 0:
            try:
                data = os.read(self.fd, 64 * 1024)
            except BlockingIOError:
                break
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, offset)
                offset += _HEADER.size + length
                changed |= bool(mask & _IN_Q_OVERFLOW) or watch == self._watch
                if mask & _IN_IGNORED and watch == self._watch:
                    self._watch = -1  # the directory itself was removed
        if self.fd >= 0 and self._watch < 0:
            self._begin()
            changed |= self._watch >= 0
        return changed

    def close(self) -> None:
        """Stop watching."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
