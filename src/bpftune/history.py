"""The history: every record that was told, one JSON object a line, in a few files.

``history.jsonl`` is written; when it is full it becomes ``history.jsonl.1``, that
``.2``, and the oldest is dropped. A line that a kill or a full disk tore is
skipped by the reader, and what follows it begins on a line of its own.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from bpftune.records import SCHEMA, Record, as_json
from bpftune.text import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedReader
    from pathlib import Path

NAME = "history.jsonl"
FILE_BYTES = 1 << 20
FILES = 8  # 8 MiB in all
_PLACE_BITS = 40  # of a place, for the offset; above them is the file's number

Told = dict[str, Any]
"""A record as ``records.as_json`` wrote it."""


def _paths(directory: Path, files: int) -> list[Path]:
    """Return the paths of the history's files, the one written first."""
    first = directory / NAME
    return [first, *(directory / f"{NAME}.{number}" for number in range(1, files))]


class History:
    """A target that keeps all records in *directory*, the latest 8 MiB of them.

    Where the directory cannot be written, or the disk is full, records are lost
    and counted; each record is another try.
    """

    def __init__(
        self, directory: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES
    ) -> None:
        """Write to at most *files* files of *file_bytes*; nothing is opened yet."""
        self.trouble = ""
        self._paths = _paths(directory, files)
        self._file_bytes = file_bytes
        self._fd = -1

    def write(self, record: Record, now_unix: float) -> bool:
        """Append one line; False if it could not be written whole."""
        line = f"{as_json(record, now_unix)}\n".encode()
        try:
            self._append(line)
        except OSError as error:
            self.close()
            where = self._paths[0].parent
            self.trouble = f"no history is kept in {where}: {error.strerror}"
            return False
        self.trouble = ""
        return True

    def _append(self, line: bytes) -> None:
        if len(line) > self._file_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        # Somebody may have tidied up: what has no name any more, nobody reads.
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:
            self.close()
        if self._fd < 0:
            self._open()
        if os.fstat(self._fd).st_size + len(line) > self._file_bytes:
            self._rotate()
        if os.write(self._fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> None:
        path = self._paths[0]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def _rotate(self) -> None:
        self.close()
        for newer, older in reversed(
            list(zip(self._paths, self._paths[1:], strict=False))
        ):
            if newer.exists():
                newer.replace(older)
        if len(self._paths) == 1:
            self._paths[0].unlink()
        self._open()

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Lines:
    """The lines of the history's files, the oldest file first; close it.

    Each has a place, a number by which it can be read again.
    """

    def __init__(self, directory: Path, *, files: int = FILES) -> None:
        """Open the files. Raises OSError if there is one that cannot be opened."""
        # All at once, and the newest first: if files move up meanwhile, one may be
        # met twice, but none is missed.
        found: dict[tuple[int, int], BufferedReader] = {}
        with ExitStack() as stack:
            for path in _paths(directory, files):
                try:
                    file = stack.enter_context(path.open("rb"))
                except FileNotFoundError:
                    continue
                about = os.fstat(file.fileno())
                found.setdefault((about.st_dev, about.st_ino), file)
            self._stack = stack.pop_all()
        self._files = list(reversed(found.values()))

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its place. Raises OSError."""
        for number, file in enumerate(self._files):
            place = number << _PLACE_BITS
            for line in file:
                yield place, line
                place += len(line)

    def at(self, place: int) -> bytes:
        """Return the line at *place* again. Raises OSError."""
        file = self._files[place >> _PLACE_BITS]
        file.seek(place & ((1 << _PLACE_BITS) - 1))
        return file.readline()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()


class Reading(Iterator[Told]):
    """The records asked for, oldest file first; see ``read``.

    *skipped* counts the lines so far that are no records.
    """

    def __init__(self, directory: Path, files: int, wanted: Mapping[str, str]) -> None:
        """Prepare; files are opened when the first record is asked for."""
        self.skipped = 0
        self._wanted = wanted
        self._told = self._read(directory, files)

    def __next__(self) -> Told:
        """Return the next record. Raises OSError if a file cannot be read."""
        return next(self._told)

    def _read(self, directory: Path, files: int) -> Iterator[Told]:
        with closing(Lines(directory, files=files)) as lines:
            for _, line in lines:
                told = parse(line)
                if told is None:
                    self.skipped += bool(line.strip())
                elif self._is_wanted(told):
                    yield told

    def _is_wanted(self, told: Told) -> bool:
        wanted = self._wanted
        netns = told.get("netns") or {}
        return (
            told["time"] >= wanted.get("since", "")
            and wanted.get("tunable") in (None, told.get("tunable"))
            and wanted.get("netns")
            in (None, netns.get("name"), f"#{netns.get('cookie')}")
        )


def parse(line: bytes) -> Told | None:
    """Return the record in *line*; None if it is torn or something else."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        return None
    words = isinstance(told.get("time"), str) and isinstance(told.get("record"), str)
    place = isinstance(told.get("netns"), dict | None)
    return told if words and place else None


def read(
    directory: Path,
    since_unix: float | None = None,
    tunable: str | None = None,
    netns: str | None = None,
    *,
    files: int = FILES,
) -> Reading:
    """Return the records in *directory*, the oldest first.

    Only those told at *since_unix* (seconds) or later, about *tunable* (the dotted
    name), about *netns* (its name, or ``#`` and its cookie). The daemon may be
    writing meanwhile. Where there is no history, there are no records.
    """
    wanted = {"tunable": tunable, "netns": netns}
    if since_unix is not None:
        wanted["since"] = rfc3339(since_unix)
    given = {name: text for name, text in wanted.items() if text is not None}
    return Reading(directory, files, given)


_CHANGE = re.compile(rb'"change": "c([0-9]{1,18})"')


def last_change(directory: Path, *, files: int = FILES) -> int:
    """Return the number of the last change told of: 17 for ``c17``, 0 if of none.

    So that the next has an id that no record has. Never raises OSError.
    """
    for path in _paths(directory, files):
        try:
            with path.open("rb") as lines:
                found = [int(n) for line in lines for n in _CHANGE.findall(line)]
        except OSError:
            continue
        if found:  # numbers only grow, and so this file has the largest
            return max(found)
    return 0
