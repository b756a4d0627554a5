"""Sysctls of any network namespace: typed, read back after each write.

A descriptor of a file under /proc/sys belongs to the namespace in which it was
opened, works from outside, does not keep it alive, and gives ENOENT when it is
gone. One costs a sixteenth of opening the path each time, so they are kept.
"""

from __future__ import annotations

import errno
import os
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from bpftune.kernel.netns import Namespaces
    from bpftune.model import NetnsCookie, Value

MOST_OPEN = 256

_MOST_BYTES = 4096
_NUMBERS = re.compile(r"\s*-?[0-9]+(\s+-?[0-9]+)*\s*")
_SWAPPED = str.maketrans("./", "/.")


class SysctlError(KernelError):
    """A sysctl is missing, was refused, or is not what it should be.

    *errno* is the kernel's, or 0 if it did not complain.
    """

    def __init__(self, message: str, errno: int = 0, hint: str = "") -> None:
        """Keep *errno* beside the text."""
        super().__init__(message, hint)
        self.errno = errno


def relative_path(name: str) -> str:
    """Return where sysctl *name* is under /proc/sys.

    As in sysctl(8), whichever of '.' and '/' comes first separates, and the
    other is part of a word: ``net.ipv4.conf.eth0/100.rp_filter`` and
    ``net/ipv4/conf/eth0.100/rp_filter`` are the same.
    """
    first = next((char for char in name if char in "./"), "/")
    path = name.translate(_SWAPPED) if first == "." else name
    if "\0" in name or any(word in {"", ".", ".."} for word in path.split("/")):
        raise SysctlError(f"{name!r} is no name of a sysctl", errno.EINVAL)
    return path


def dotted_name(path: str) -> str:
    """Return the dotted name of a *path* under /proc/sys."""
    return path.translate(_SWAPPED)


@dataclass(frozen=True, slots=True)
class _File:
    fd: int
    writable: bool


class Sysctls:
    """Reads and writes sysctls in the namespaces of *namespaces*.

    Those not under ``net.`` are the same everywhere: they exist in the host's
    namespace only. Close it at the end.
    """

    def __init__(self, namespaces: Namespaces) -> None:
        """Start with nothing open."""
        self._namespaces = namespaces
        self._files: OrderedDict[tuple[NetnsCookie, str], _File] = OrderedDict()

    def read(self, cookie: NetnsCookie, name: str) -> Value:
        """Return the whole value.

        Raises SysctlError (missing, unreadable, not numbers), NetnsGoneError.
        """
        text = self._read_text(cookie, name)
        if not _NUMBERS.fullmatch(text):
            raise SysctlError(f"{name} is not a number: {text.strip()!r}")
        # tuple(map(...)) is made too long and cut, and the interpreter hoards those.
        return (*map(int, text.split()),)

    def read_text(self, cookie: NetnsCookie, name: str) -> str:
        """Return the value of one that is no number, without its line's end.

        Raises SysctlError (missing, unreadable), NetnsGoneError.
        """
        return self._read_text(cookie, name).rstrip("\n")

    def write(
        self,
        cookie: NetnsCookie,
        name: str,
        value: Value,
        expected: Value | None = None,
    ) -> Value:
        """Set the whole value, in place of *expected*; return it as read back.

        If another value is there, nothing is written and SysctlError raised:
        somebody else wrote it. (The kernel has no compare and swap, so a write
        within the microseconds between would still be lost.) If it is refused,
        or reads back different, the old value is put back and SysctlError
        raised: the kernel writes the first numbers of a triple even when it
        refuses the last.
        """
        old = self.read(cookie, name)
        if expected is not None and old != expected:
            raise SysctlError(f"somebody set {name} to {_text(old)} meanwhile")
        try:
            self._write_raw(cookie, name, value)
        except SysctlError as refused:
            self._put_back(cookie, name, old, refused)
            raise
        try:
            now = self.read(cookie, name)
        except SysctlError as unread:
            self._put_back(cookie, name, old, unread)
            raise
        if now == value:
            return now
        different = SysctlError(
            f"{name} was set to {_text(value)} but reads back {_text(now)}"
        )
        self._put_back(cookie, name, old, different)
        raise different

    def exists(self, cookie: NetnsCookie, name: str) -> bool:
        """Tell whether the namespace has it and it can be read."""
        try:
            self._file(cookie, name)
        except SysctlError:
            return False
        return True

    def writable(self, cookie: NetnsCookie, name: str) -> bool:
        """Tell whether it can be written here; some are read-only but in the host."""
        try:
            return self._file(cookie, name).writable
        except SysctlError:
            return False

    def forget(self, cookie: NetnsCookie) -> None:
        """Close what is open in a namespace."""
        for key in [key for key in self._files if key[0] == cookie]:
            os.close(self._files.pop(key).fd)

    def close(self) -> None:
        """Close all that is open."""
        while self._files:
            os.close(self._files.popitem()[1].fd)

    # --- files ---------------------------------------------------------------

    def _read_text(self, cookie: NetnsCookie, name: str) -> str:
        for again in (True, False):
            fd = self._file(cookie, name).fd
            try:
                return os.pread(fd, _MOST_BYTES, 0).decode(errors="surrogateescape")
            except OSError as error:
                self._failed(cookie, name, error, "read", again)
        raise AssertionError  # _failed raises the second time

    def _write_raw(self, cookie: NetnsCookie, name: str, value: Value) -> None:
        data = f"{_text(value)}\n".encode()
        for again in (True, False):
            file = self._file(cookie, name)
            if not file.writable:
                if again:  # it may have been refused for a moment only
                    self._close(cookie, name)
                    continue
                raise SysctlError(f"{name} is read-only here", errno.EACCES)
            try:
                os.pwrite(file.fd, data, 0)
            except OSError as error:
                self._failed(cookie, name, error, f"set to {_text(value)}", again)
            else:
                return

    def _failed(
        self, cookie: NetnsCookie, name: str, error: OSError, what: str, again: bool
    ) -> None:
        """Raise what *error* means, or return if opening anew may help.

        ENOENT is from a file that is gone, be it with its namespace, its
        network device or its module. To open it again tells which.
        """
        if error.errno == errno.ENOENT:
            self._close(cookie, name)
            if again:
                return
        raise SysctlError(
            f"{name} cannot be {what}: {error.strerror}", error.errno or 0
        ) from error

    def _close(self, cookie: NetnsCookie, name: str) -> None:
        file = self._files.pop((cookie, name), None)
        if file:
            os.close(file.fd)

    def _put_back(
        self, cookie: NetnsCookie, name: str, old: Value, why: SysctlError
    ) -> None:
        """Make *old* the value again after a failed write; add to *why* if not."""
        with suppress(KernelError):
            if self.read(cookie, name) == old:
                return
            self._write_raw(cookie, name, old)
            if self.read(cookie, name) == old:
                return
        why.args = (f"{why}; its old value {_text(old)} could not be put back",)

    def _file(self, cookie: NetnsCookie, name: str) -> _File:
        """Return the open file, opening it inside the namespace if need be."""
        key = cookie, name
        file = self._files.get(key)
        if file is not None:
            self._files.move_to_end(key)
            return file
        path = relative_path(name)
        if cookie != self._namespaces.host.cookie and not path.startswith("net/"):
            raise SysctlError(f"{name} is not part of a namespace", errno.ENOENT)
        # Resolved by the namespace of the thread that opens it.
        file = self._namespaces.inside(cookie, lambda: _open(f"/proc/sys/{path}", name))
        self._files[key] = file
        if len(self._files) > MOST_OPEN:
            os.close(self._files.popitem(last=False)[1].fd)
        return file


def _open(path: str, name: str) -> _File:
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            return _File(os.open(path, flags | os.O_CLOEXEC), flags == os.O_RDWR)
        except OSError as error:
            refused = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
            if flags == os.O_RDWR and refused:
                continue
            raise SysctlError(
                f"{name} cannot be opened: {error.strerror}", error.errno or 0
            ) from error
    raise AssertionError  # the second attempt returns or raises


def _text(value: Value) -> str:
    return " ".join(map(str, value))
