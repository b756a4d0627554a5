"""One connection of a client: what it sent, what it is to get, how long it may take."""

from __future__ import annotations

import os
import socket
import struct
from math import inf
from typing import TYPE_CHECKING

from bpftune.control.access import UCRED, Peer
from bpftune.control.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 2.0
"""So long a request may take to come, and a reply to be read."""

READ_BYTES = 64 * 1024
MOST_UNREAD_BYTES = 256 * 1024
"""So much a client that watches may be behind."""

_SO_PEERGROUPS = 59  # asm-generic/socket.h, since Linux 4.13
_MOST_GROUPS = 1024


class GoneError(Exception):
    """The client is gone, or has to go."""


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who is at the other end of *connection*."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    _, uid, gid = UCRED.unpack(raw)
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:  # an old kernel, or more groups than anybody has
        raw = b""
    return Peer(uid, gid, frozenset(struct.unpack(f"={len(raw) // 4}I", raw)))


class Client:
    """A connection, read and written without waiting.

    *job* is the answer under way: it yields pieces, each wanted when the last was
    read, and None where the loop may go on with something else. *watches*: records
    are sent to it until it goes.
    """

    def __init__(self, connection: socket.socket, peer: Peer, now_s: float) -> None:
        """Take over *connection*, whose other end is *peer*'s."""
        connection.setblocking(False)
        self.connection = connection
        self.peer = peer
        self.job: Iterator[bytes | None] | None = None
        self.watches = False
        self.active_s = now_s
        self._framer = Framer()
        self._out = bytearray()
        self._late_s = inf

    @property
    def due_s(self) -> float:
        """When it will have been too slow; never while it waits for us."""
        return inf if self.is_waiting else self._late_s

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way; until it is read nothing else is."""
        return self.job is not None or bool(self._out)

    @property
    def is_waiting(self) -> bool:
        """Whether it is our turn to go on with the answer."""
        return self.job is not None and not self._out

    @property
    def has_output(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out)

    def read(self, now_s: float) -> None:
        """Take in what came. Raises GoneError, FramingError."""
        try:
            data = self.connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise GoneError(os.strerror(error.errno or 0)) from error
        if not data or self.watches:
            raise GoneError("it closed the connection")
        self.active_s = now_s
        self._framer.feed(data)
        if self._framer.has_begun and self._late_s == inf:
            self._late_s = now_s + PATIENCE_S

    def next_request(self, now_s: float) -> bytes | None:
        """Return the next request that came as a whole, if the client is not busy."""
        if self.is_busy or self.watches:
            return None
        message = self._framer.take()
        if message is not None:
            more = self._framer.has_begun
            self._late_s = now_s + PATIENCE_S if more else inf
        return message

    def send(self, data: bytes, now_s: float) -> None:
        """Send *data*, or as much as fits now. Raises GoneError."""
        if not data:
            return
        if not self._out:
            self._late_s = now_s + PATIENCE_S
        self._out += data
        self.flush(now_s)
        if self.watches and len(self._out) > MOST_UNREAD_BYTES:
            raise GoneError("it does not read what it asked for")

    def flush(self, now_s: float) -> None:
        """Send what waits, or as much as fits now. Raises GoneError."""
        try:
            sent = self.connection.send(self._out) if self._out else 0
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise GoneError(os.strerror(error.errno or 0)) from error
        del self._out[:sent]
        if sent:
            self.active_s = now_s
            waits = bool(self._out) or self._framer.has_begun
            self._late_s = now_s + PATIENCE_S if waits else inf

    def close(self) -> None:
        """End the connection and what is under way for it."""
        if self.job is not None:
            close = getattr(self.job, "close", None)
            if close is not None:
                close()
            self.job = None
        self.connection.close()
