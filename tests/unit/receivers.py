"""Those who read the daemon's datagrams: journald, syslog, the service manager.

Each is a real socket with a strict parser: what the protocol does not allow
fails the test.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(rb"[A-Z][A-Z0-9_]{0,63}")
_RFC3164 = re.compile(
    rb"<(\d{1,3})>((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    rb" [ 1-3]\d \d\d:\d\d:\d\d) ([\x21-\x7e]{1,32})\[(\d+)\]: (.*)",
    re.DOTALL,
)
_ALL_SEALS = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)


class Receiver:
    """A datagram socket with a name, read without waiting."""

    def __init__(self, address: Path | bytes) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address) if isinstance(address, Path) else address)
        self.socket.setblocking(False)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        if isinstance(self.address, Path):
            self.address.unlink()

    def waits(self) -> bool:
        """Tell whether a datagram can be read."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def datagram(self) -> bytes:
        """Return the next datagram; what came in a file, from the file."""
        data, ancillary, flags, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        if not ancillary:
            return data
        assert data == b""
        ((level, kind, rights),) = ancillary
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        (fd,) = struct.unpack("i", rights)
        try:
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == _ALL_SEALS
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)

    def datagrams(self) -> list[bytes]:
        """Return all that wait."""
        received = []
        while self.waits():
            received.append(self.datagram())
        return received


def parse_entry(data: bytes) -> dict[str, bytes]:
    """Return the fields of one entry in journald's native protocol."""
    found: dict[str, bytes] = {}
    while data:
        line, newline, rest = data.partition(b"\n")
        assert newline, "an entry ends in a newline"
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, end, data = (
                rest[8 : 8 + size],
                rest[8 + size :][:1],
                rest[9 + size :],
            )
            assert len(value) == size
            assert end == b"\n"
        else:
            data = rest
        assert _NAME.fullmatch(name), name
        assert name.decode() not in found
        found[name.decode()] = value
    return found


@dataclass(frozen=True)
class Message:
    """A message of RFC 3164."""

    facility: int
    severity: int
    date: str
    identifier: str
    pid: int
    text: str


def parse_message(data: bytes) -> Message:
    """Return the parts of a syslog message."""
    parts = _RFC3164.fullmatch(data)
    assert parts, data
    priority, date, identifier, pid, text = parts.groups()
    assert int(priority) < 24 * 8
    return Message(
        int(priority) // 8,
        int(priority) % 8,
        date.decode(),
        identifier.decode(),
        int(pid),
        text.decode(),
    )
