"""Records for syslog, where there is no journal: RFC 3164, as syslog(3) sends it.

``<priority>date identifier[pid]: sentence``; the host's name is left to the
daemon that reads */dev/log*.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.datagram import Datagrams
from bpftune.kinds import kind_of
from bpftune.records import as_line

if TYPE_CHECKING:
    from bpftune.records import Record

SOCKET = Path("/dev/log")
FACILITY_DAEMON = 3


def encode(record: Record, now_unix: float, pid: int) -> bytes:
    """Return *record* as a message of RFC 3164, its time that of the place."""
    kind = kind_of(record.record)
    # Python leaves LC_TIME alone, so the month is English, as it has to be.
    date = time.strftime("%b %e %H:%M:%S", time.localtime(now_unix))
    header = f"<{FACILITY_DAEMON * 8 + kind.priority}>{date} bpftune[{pid}]: "
    return (header + as_line(record)).encode("utf-8", "backslashreplace")


class SyslogTarget(Datagrams):
    """Sends records to syslog."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Send to the socket at *path*."""
        super().__init__(path, "syslog takes no records")

    def write(self, record: Record, now_unix: float) -> bool:
        """Send one message; False if nobody takes it."""
        data = encode(record, now_unix, os.getpid())
        return self.deliver(lambda: self.socket.sendto(data, self.path))
