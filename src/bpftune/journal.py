"""The undo journal: what is about to be changed, on file before it is done.

One line per step, each a whole ``Entry`` as JSON, so that the last good line of
a tunable tells all of it. A line begins with a CRC-32 that is seeded with the
boot's id: a torn line, a flipped bit and another boot are all told apart from
what counts. Nothing is synced to disk, as a killed process loses nothing that
the kernel took, and sysctls do not outlive the kernel either.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpftune.entry import Entry, entry_from, serial_of
from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NAME = "journal"  # in the run directory
FORMAT = 1
LONG_BYTES = 256 * 1024  # it is written anew beyond that, and beyond
LONG_TIMES = 4  # this many times what it had when it was last written anew

_LONGEST_LINE = 64 * 1024
_AT_ONCE = 64 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class JournalError(KernelError):
    """The journal cannot be written; what it was to precede must not be done."""


def boot_id() -> str:
    """Return the kernel's name for this boot. Raises KernelError."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError as error:
        raise KernelError(f"cannot read {_BOOT_ID}: {error.strerror}") from error


# --- lines -------------------------------------------------------------------


def _line(fields: Mapping[str, object], seed: int) -> bytes:
    body = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (crc32(body, seed), body)


def _fields(line: bytes, seed: int) -> dict[str, Any] | None:
    """Return what *line* holds, None if its check or its form is wrong."""
    check, _, body = line.rstrip(b"\n").partition(b" ")
    try:
        if int(check, 16) != crc32(body, seed):
            return None
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _seed(boot: str) -> int:
    return crc32(boot.encode())


# --- reading -----------------------------------------------------------------


@dataclass(slots=True)
class Replayed:
    """What a journal tells of this boot.

    *entries* are as last recorded, in doubt or on trial as they may be.
    *cut_bytes* at the end cannot be read, as when a write was cut short;
    *skipped* lines before it are damaged. *serial* is the last change's number.
    Of a file of something else than entries, only how it was read counts.
    """

    entries: list[Entry] = field(default_factory=list)
    cut_bytes: int = 0
    skipped: int = 0
    serial: int = 0
    is_of_another_boot: bool = False

    @property
    def damage(self) -> str:
        """What could not be read, in words; empty if all could."""
        if not self.skipped and not self.cut_bytes:
            return ""
        lines = "1 line" if self.skipped == 1 else f"{self.skipped} lines"
        return f"{lines} left out, {self.cut_bytes} bytes at its end cut off"


def replay(path: Path, boot: str) -> Replayed:
    """Read the journal at *path* as far as it is of this *boot*.

    One that is not there is empty. Whatever it holds, it is never fatal;
    raises JournalError only if the file cannot be read at all.
    """
    entries: dict[tuple[int, str], Entry] = {}

    def take(fields: dict[str, Any], told: Replayed) -> bool:
        return _take(fields, entries, told)

    told = read_lines(path, boot, take)
    if not told.is_of_another_boot:
        told.entries = list(entries.values())
    return told


def read_lines(
    path: Path, boot: str, take: Callable[[dict[str, Any], Replayed], bool]
) -> Replayed:
    """Have *take* note what each line says, and say whether it makes sense.

    If the file is of another boot, nothing that was noted counts. Raises
    JournalError if it cannot be read; one that is not there is empty.
    """
    told = Replayed()
    seed, bad_lines = _seed(boot), 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                if line == b"\n":  # begun afresh after a write that failed
                    continue
                header = _fields(line, 0)
                if header is not None and "boot" in header and header["boot"] != boot:
                    return Replayed(is_of_another_boot=True)
                fields = _fields(line, seed)
                if not line.endswith(b"\n") or not (
                    _header(header, told) or (fields is not None and take(fields, told))
                ):
                    told.cut_bytes += len(line)
                    bad_lines += 1
                    continue
                told.skipped, told.cut_bytes = told.skipped + bad_lines, 0
                bad_lines = 0
    except FileNotFoundError:
        return told
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    return told


def _header(fields: dict[str, Any] | None, told: Replayed) -> bool:
    if fields is None or "boot" not in fields:
        return False
    serial = fields.get("serial")
    told.serial = max(told.serial, serial if type(serial) is int else 0)
    return True


def _take(
    fields: dict[str, Any],
    entries: dict[tuple[int, str], Entry],
    told: Replayed,
) -> bool:
    """Note what a line says in *entries*; False if it makes no sense."""
    try:
        if fields["step"] == "gone":
            cookie = fields["cookie"]
            if type(cookie) is not int:
                return False
            for key in [key for key in entries if key[0] == cookie]:
                del entries[key]
            return True
        entry = entry_from(fields)
    except (ValueError, KeyError, TypeError):
        return False
    entries[entry.netns.cookie, entry.tunable.name] = entry
    told.serial = max(told.serial, serial_of(entry.change_id))
    return True


# --- writing -----------------------------------------------------------------


class Journal:
    """The journal as one run of the daemon writes it.

    ``rewrite`` begins it; until then what an earlier run left is untouched.
    """

    def __init__(self, path: Path, boot: str) -> None:
        """Write to *path*, for *boot* only (``boot_id()``)."""
        self._path = path
        self._boot = boot
        self._seed = _seed(boot)
        self._fd = -1
        self._size = 0
        self._long = LONG_BYTES
        self._torn = False

    @property
    def is_long(self) -> bool:
        """Whether it has grown so much that it is time to ``rewrite`` it."""
        return self._size > self._long

    def append(self, fields: Mapping[str, object]) -> None:
        """Add a line. Raises JournalError; then the line does not count."""
        if self._fd < 0:
            raise JournalError(f"{self._path} was not begun")
        line = _line(fields, self._seed)
        try:
            _write(self._fd, b"\n" + line if self._torn else line)
        except OSError as error:
            self._cut()
            raise self._failed(error) from error
        self._size += len(line) + self._torn
        self._torn = False

    def _cut(self) -> None:
        """Remove a part of a line; what cannot be removed is left to replay."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._torn = True

    def rewrite(self, lines: Iterable[Mapping[str, object]], serial: int) -> None:
        """Replace the whole journal by *lines*, at once or not at all.

        *serial* is the number of the last change. Raises JournalError.
        """
        new = self._path.with_name(f"{self._path.name}.new")
        header = {"format": FORMAT, "boot": self._boot, "serial": serial}
        size, waiting = 0, [_line(header, 0)]
        try:
            fd = _create(new)
            try:
                for fields in lines:
                    waiting.append(_line(fields, self._seed))
                    if sum(map(len, waiting)) > _AT_ONCE:
                        size += _write(fd, b"".join(waiting))
                        waiting.clear()
                size += _write(fd, b"".join(waiting))
                os.rename(new, self._path)  # noqa: PTH104  beside the others of os
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            self._long = max(self._long, 2 * self._size)  # not again at once
            raise self._failed(error) from error
        self.close()
        self._fd, self._size, self._torn = fd, size, False
        self._long = max(LONG_BYTES, LONG_TIMES * size)

    def _failed(self, error: OSError) -> JournalError:
        return JournalError(
            f"the journal {self._path} cannot be written: {error.strerror}"
        )

    def close(self) -> None:
        """Close the file; it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _create(path: Path) -> int:
    """Open a new file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _write(fd: int, data: bytes) -> int:
    """Write all of *data*, which may take several attempts; return its length."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except InterruptedError:
            continue
    return len(data)
