"""Records as datagrams to a socket with a path, for whoever reads there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Datagrams:
    """Sends to *path*; never waits, never raises.

    Each datagram names the socket anew, so the reader may come and go. *trouble*
    says why the last one was not taken, beginning with *refusal*; it is empty if it
    was, or if the reader is only slow.
    """

    def __init__(self, path: Path, refusal: str) -> None:
        """Send to the socket at *path*."""
        self.trouble = ""
        self.path = str(path)
        self._refusal = refusal
        self.socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        )

    def deliver(self, send: Callable[[], object]) -> bool:
        """Call *send*; False if the reader is away or has no room."""
        try:
            send()
        except BlockingIOError:
            self.trouble = ""  # it is there, but slow
            return False
        except OSError as error:
            self.trouble = f"{self._refusal}: {error.strerror}"
            return False
        self.trouble = ""
        return True

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
