"""Clients of the control socket, polite ones and others."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path

from tests.soak.measure import PATIENCE_S
from tests.system.daemon import WMEM
from tests.system.talk import call, connect

QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("Status", {}),
    ("Tunables", {}),
    ("History", {"limit": 50}),
    ("Explain", {"about": WMEM}),
    ("Explain", {"about": "10.78.1.0/24"}),
    ("Advise", {}),
    ("Verify", {}),
    ("Rollback", {"all": True, "dry_run": True}),
)
NO_SUCH = "io.bpftune.NoSuch"
NONSENSE = (b"", b"\xff" * 100 + b"\0", b'{"method": "io.bpf', b"[" * 5000 + b"\0")
MOST_OPEN = 4


class Clients:
    """Those of one run directory."""

    def __init__(self, run_dir: Path, fail: Callable[[str], None]) -> None:
        """Be silent; *fail* hears of wrong answers."""
        self._socket = run_dir / "control"
        self._fail = fail
        self._open: list[socket.socket] = []

    def ask(self, chance: random.Random) -> None:
        """Ask something that everybody may ask."""
        method, parameters = chance.choice(QUESTIONS)
        reply = call(self._socket, method, PATIENCE_S, **parameters)
        if reply.get("error", NO_SUCH) != NO_SUCH:
            self._fail(f"{method} {parameters}: {reply}")

    def be_rude(self, chance: random.Random) -> None:
        """Connect, say nonsense or nothing, and stay for a while."""
        connection = connect(self._socket, PATIENCE_S)
        self._open.append(connection)
        connection.sendall(chance.choice(NONSENSE))
        if len(self._open) > MOST_OPEN:
            self._open.pop(0).close()

    def hang_up(self) -> None:
        """End what was left open."""
        while self._open:
            self._open.pop().close()
