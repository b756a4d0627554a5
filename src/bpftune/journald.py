"""Records for the journal, in journald's native protocol.

One datagram is one entry: ``KEY=value`` and a newline for each field, or for a
value with a newline in it ``KEY``, a newline, the length as 64 bits little-endian,
the value and a newline. An entry too large for a datagram is put into a sealed
memfd, and that is sent: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.datagram import Datagrams
from bpftune.kinds import kind_of
from bpftune.records import Record, as_line, plain
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.model import Value

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "bpftune"

_BY = frozenset({"by_uid", "by_comm"})

# journald takes a memfd only if nobody can change it any more.
_SEALS = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)


def fields(record: Record) -> dict[str, str]:
    """Return *record* as fields of the journal; what does not apply is left out.

    Values of sysctls are as the sysctl has them, numbers with a space between.
    ``BPFTUNE_EVIDENCE`` is one JSON object: all that is for machines.
    """
    kind = kind_of(record.record)
    more = {key: record.extra[key] for key in record.extra if key not in _BY}
    netns, by_uid = record.netns, record.extra.get("by_uid")
    by_comm = record.extra.get("by_comm")
    texts = {
        "MESSAGE": as_line(record),
        "MESSAGE_ID": kind.message_id,
        "PRIORITY": str(kind.priority),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "BPFTUNE_CHANGE_ID": one_line(record.change or ""),
        "BPFTUNE_TUNER": printable(record.tuner or ""),
        "BPFTUNE_TUNABLE": printable(record.tunable or ""),
        "BPFTUNE_NETNS": printable(str(netns)) if netns is not None else "",
        "BPFTUNE_DESTINATION": printable(record.destination or ""),
        "BPFTUNE_OLD": _numbers(record.old),
        "BPFTUNE_NEW": _numbers(record.new),
        "BPFTUNE_REASON": one_line(record.why),
        "BPFTUNE_EVIDENCE": json.dumps(plain(more)) if more else "",
        "BPFTUNE_BY_UID": str(by_uid) if isinstance(by_uid, int) else "",
        "BPFTUNE_BY_COMM": printable(by_comm) if isinstance(by_comm, bytes) else "",
        "BPFTUNE_MODE": record.mode or "",
    }
    return {name: text for name, text in texts.items() if text}


def _numbers(value: Value | None) -> str:
    return " ".join(map(str, value or ()))


def encode(entry: Mapping[str, str]) -> bytes:
    """Return *entry*, fields and their values, as journald's native protocol."""
    parts = []
    for name, text in entry.items():
        data = text.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts += [name.encode(), b"\n", len(data).to_bytes(8, "little"), data]
        else:
            parts += [name.encode(), b"=", data]
        parts.append(b"\n")
    return b"".join(parts)


class JournaldTarget(Datagrams):
    """Sends records to journald."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Send to the socket at *path*."""
        super().__init__(path, "the journal takes no records")

    def write(self, record: Record, now_unix: float) -> bool:
        """Send one entry; False if journald is away or has no room for it."""
        del now_unix  # journald has a clock of its own
        data = encode(fields(record))
        return self.deliver(lambda: self._send(data))

    def _send(self, data: bytes) -> None:
        try:
            self.socket.sendto(data, self.path)
        except OSError as error:
            # ENOBUFS: larger than what the socket may have under way at all.
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        fd = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 - it has no path
            file.write(data)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            descriptor = fd.to_bytes(4, sys.byteorder)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)
            self.socket.sendmsg([], [rights], 0, self.path)
