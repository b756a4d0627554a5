"""Tell systemd how the service is: ready, alive, stopping (sd_notify(3)).

Without ``NOTIFY_SOCKET`` in the environment, as in the foreground, nothing is
told. Nothing waits for systemd.
"""

from __future__ import annotations

import os
import socket
import time
from math import inf
from typing import TYPE_CHECKING

from bpftune.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Notifier:
    """What the service manager is told, and when the watchdog is due."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read from *environment* whom to tell, and how long it waits for news."""
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket = None
        if self._address is not None:
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)
        self.watchdog_s = _watchdog_s(environment) if self._address else inf
        self._told_s = clock()
        self._unsent = ""

    def ready(self, status: str) -> None:
        """Tell that the daemon has begun, and in a sentence what it does.

        Told again at each turn until it is heard: systemd waits for it.
        """
        text = f"READY=1\nSTATUS={one_line(status)}"
        self._unsent = "" if self._tell(text) else text

    def stopping(self) -> None:
        """Tell that the daemon begins to stop."""
        self._tell("STOPPING=1\nSTATUS=stopping")

    def turned(self) -> float:
        """Note that the loop has turned; return when it has to turn again.

        The watchdog hears of it, but not of each of thousands of turns a second.
        """
        now_s = self._clock()
        if self._unsent and self._tell(self._unsent):
            self._unsent = ""
        if now_s - self._told_s >= self.watchdog_s / 4:
            self._tell("WATCHDOG=1")
            self._told_s = now_s
        return self._told_s + self.watchdog_s / 2

    def _tell(self, text: str) -> bool:
        """Send *text*; return whether it went out, or nobody is to be told."""
        if self._socket is None or self._address is None:
            return True
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            return False  # systemd restarts, or is too busy
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _address(text: str) -> bytes | None:
    """Return the address in ``NOTIFY_SOCKET``; ``@`` stands for the zero byte.

    Other families (``vsock:``) are for virtual machines.
    """
    if text[:1] not in ("/", "@") or len(text) < 2:
        return None
    address = os.fsencode(text)
    return b"\0" + address[1:] if text[0] == "@" else address


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return for how long silence is borne (sd_watchdog_enabled(3)), else inf."""
    pid, text = environment.get("WATCHDOG_PID"), environment.get("WATCHDOG_USEC", "")
    if pid not in (None, str(os.getpid())) or not text.isdecimal() or len(text) > 18:
        return inf
    return int(text) / 1e6 or inf
