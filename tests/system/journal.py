"""A journald of our own: the real one, in a mount namespace of its own.

It is a journald for a journal namespace (systemd-journald.service(8)): that kind
leaves the kernel's log and the kernel's auditing alone. For those inside it is
the machine's.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.pace import patient
from tests.system.daemon import wait_until

PROGRAM = Path("/usr/lib/systemd/systemd-journald")
NAME = "bpftune-test"

_SCRIPT = f"""
mount -t tmpfs none /run/systemd && mount -t tmpfs none /run/log &&
mkdir /run/systemd/journal.{NAME} /run/systemd/journald@{NAME}.conf.d &&
printf '[Journal]\\nStorage=volatile\\n' > /run/systemd/journald@{NAME}.conf.d/a.conf &&
ln -s journal.{NAME} /run/systemd/journal && exec {PROGRAM} {NAME}
"""


def why_not() -> str:
    """Return why there can be no journald here, or nothing."""
    if not PROGRAM.exists() or shutil.which("journalctl") is None:
        return "there is no journald here"
    if not Path("/run/log").is_dir() or not Path("/run/systemd").is_dir():
        return "there is no directory to mount a journal of our own on"
    if not Path("/etc/machine-id").read_text().strip():
        return "journald needs /etc/machine-id"
    return ""


class Journal:
    """A journald that runs until ``end``, and what it has received."""

    def __init__(self) -> None:
        """Start it, and wait until it can be written to."""
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _SCRIPT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # The last that it opens before it begins.
        ready = self._path(f"run/systemd/journal.{NAME}/io.systemd.journal")
        if not wait_until(lambda: ready.exists() or self._has_ended(), 10):
            raise AssertionError("journald does not start")
        assert not self._has_ended(), self.process.communicate()[1]

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def _path(self, path: str) -> Path:
        return Path(f"/proc/{self.process.pid}/root") / path

    def prefix(self) -> tuple[str, ...]:
        """Return what runs a command where this is the journal."""
        return ("nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--")

    def stream(self) -> socket.socket:
        """Return what systemd would make a service's standard error."""
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(self._path(f"run/systemd/journal.{NAME}/stdout")))
        # Identifier, unit, priority, level prefix, and three times where else to.
        stream.sendall(b"service\n\n6\n0\n0\n0\n0\n")
        return stream

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of bpftune's, as journalctl reads them."""
        done = subprocess.run(
            [
                *(*self.prefix(), "journalctl", "--quiet", "--output=json"),
                *(f"--namespace={NAME}", "--all"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(30),
        )
        assert done.returncode == 0, done.stderr
        read = [json.loads(line) for line in done.stdout.splitlines()]
        return [one for one in read if one.get("SYSLOG_IDENTIFIER") == "bpftune"]

    def wait_for(self, message_id: str, deadline_s: float = 15) -> dict[str, Any]:
        """Return the first entry with *message_id*."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            found[:] = [
                one for one in self.entries() if one["MESSAGE_ID"] == message_id
            ]
            return bool(found)

        assert wait_until(came, deadline_s, 0.2), self.entries()
        return found[0]

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=patient(10))
