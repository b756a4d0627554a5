"""Which target the records of a daemon go to, and the plainest: lines on a file.

systemd tells a service in ``JOURNAL_STREAM`` which device and inode its standard
error has if that leads to the journal (systemd.exec(5)). Then, and when there is
no standard error at all, records go to the journal with all their fields.
"""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

from bpftune.journald import SOCKET as JOURNALD
from bpftune.journald import JournaldTarget
from bpftune.records import Record, as_json, as_line
from bpftune.syslog import SOCKET as SYSLOG
from bpftune.syslog import SyslogTarget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bpftune.sink import Target

STDERR = 2


class LineTarget:
    """Writes lines to a descriptor that others opened, and may share.

    A reader that sleeps, or a terminal stopped by Ctrl-S, must not stop us, and
    O_NONBLOCK would hold for all who share the file: so it is asked first whether
    there is room. A line that did not fit is ended before the next begins.
    """

    def __init__(self, fd: int, *, json_lines: bool = False) -> None:
        """Write sentences to *fd*, or with *json_lines* JSON objects."""
        self.trouble = ""
        self._fd = fd
        self._json_lines = json_lines
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, record: Record, now_unix: float) -> bool:
        """Write one line; False if there is no room or the reader is gone."""
        if self.trouble or not self._flush():
            return False
        line = as_json(record, now_unix) if self._json_lines else as_line(record)
        data = f"{line}\n".encode()
        self._rest = data
        if self._flush():
            return True
        if self._rest == data:  # not begun: it is lost as a whole
            self._rest = b""
            return False
        return not self.trouble

    def _flush(self) -> bool:
        """Write what waits as far as there is room; return whether all went."""
        try:
            # A pipe with room takes PIPE_BUF bytes without waiting.
            while self._rest and self._poll.poll(0):
                written = os.write(self._fd, self._rest[: select.PIPE_BUF])
                self._rest = self._rest[written:]
        except BlockingIOError:
            pass  # somebody else made it non-blocking
        except OSError as error:
            # The reader is gone (EPIPE), or the descriptor was closed.
            self.trouble = f"records cannot be written there: {error.strerror}"
        return not self._rest

    def close(self) -> None:
        """Leave the descriptor open: others may still use it."""


def choose(
    fd: int = STDERR,
    *,
    json_lines: bool = False,
    environment: Mapping[str, str] = os.environ,
    journald: Path = JOURNALD,
    syslog: Path = SYSLOG,
) -> Target:
    """Return the target that suits what standard error, *fd*, is.

    *json_lines* asks for lines, so lines it is wherever somebody may read them.
    """
    about = _about(fd)
    if about is None or _is_null(about):
        if journald.exists():
            return JournaldTarget(journald)
        return SyslogTarget(syslog)
    stream = f"{about.st_dev}:{about.st_ino}"
    if (
        environment.get("JOURNAL_STREAM") == stream
        and journald.exists()
        and not json_lines
    ):
        return JournaldTarget(journald)
    return LineTarget(fd, json_lines=json_lines)


def _about(fd: int) -> os.stat_result | None:
    try:
        return os.fstat(fd)
    except OSError:
        return None


def _is_null(about: os.stat_result) -> bool:
    return stat.S_ISCHR(about.st_mode) and about.st_rdev == os.makedev(1, 3)
