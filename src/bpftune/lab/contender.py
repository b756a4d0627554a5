"""The tuner under test: none, this program, a sysctl file, or any command."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.lab.errors import LabError

if TYPE_CHECKING:
    from bpftune.lab.child import Record
    from bpftune.lab.namespaces import Namespace

START_S = 45.0
"""A busy machine takes its time to verify BPF programs."""

STOP_S = 5.0
CONTROL = "net.ipv4.tcp_congestion_control"
KINDS = "none, self, sysctl:FILE or 'cmd:ANY COMMAND'"


class ContenderError(LabError):
    """The tuner under test is unknown, does not start, or ended by itself."""


class Contender:
    """A tuner under test; this one is ``none``."""

    records: list[Record]

    def __init__(self) -> None:
        """Have nothing to say yet."""
        self.records = []

    def start(self, *hosts: Namespace) -> None:
        """Start it, when the scenario is set up; returns when it is ready.

        *hosts* are the namespaces that a person would configure.
        """

    def check(self) -> None:
        """Raise ContenderError if it ended by itself."""

    def cost(self) -> Record:
        """Return ``cpu_s`` and ``rss_peak_bytes`` so far, where it is a process."""
        return {}

    def stop(self) -> None:
        """Stop it; may be called twice."""


class SysctlFile(Contender):
    """Values written in the namespaces of both ends, as a person would."""

    def __init__(self, path: Path) -> None:
        """Read the file."""
        super().__init__()
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise ContenderError(f"sysctl:{path}: {error.strerror}") from error
        self.values: list[tuple[str, str]] = []
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text[0] in "#;":
                continue
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals or not name:
                raise ContenderError(f"{path}:{number}: not NAME = VALUE")
            self.values.append((name.replace("/", "."), value))

    def start(self, *hosts: Namespace) -> None:
        """Write the values; a leading - ignores a failure, as in sysctl.d.

        A congestion control that the host does not allow to everybody is given to
        the namespaces all the same, as the host's own default would be.
        """
        for host, (name, value) in product(hosts, self.values):
            try:
                if name.lstrip("-") == CONTROL:
                    host.set_congestion_control(value)
                else:
                    host.set_sysctl(name.lstrip("-"), value)
            except LabError:
                if not name.startswith("-"):
                    raise


class Command(Contender):
    """Any command, started on the host; ready as soon as it runs."""

    def __init__(self, command: list[str]) -> None:
        """Take the command and its arguments."""
        super().__init__()
        if not command:
            raise ContenderError("cmd: needs a command")
        self.command = command
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.tail: deque[str] = deque(maxlen=5)
        self.heard = threading.Condition()
        self.ended = False
        self._thread: threading.Thread | None = None

    def start(self, *hosts: Namespace) -> None:  # noqa: ARG002 - it finds out itself
        """Start the process and hear its standard error."""
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        plan = json.dumps({"command": self.command})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bpftune.lab.command", plan],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, **self.environment},
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for line in (self.process and self.process.stderr) or ():
            with self.heard:
                self.hear(line.decode(errors="replace").strip())
                self.heard.notify_all()
        with self.heard:
            self.ended = True
            self.heard.notify_all()

    def hear(self, line: str) -> None:
        """Remember the last lines, for the message if it fails."""
        self.tail.append(line)

    def check(self) -> None:
        """Raise ContenderError if it ended by itself."""
        if self.process is not None and self.process.poll() is not None:
            if self._thread is not None:
                self._thread.join(STOP_S)
            said = " | ".join(self.tail) or "it said nothing"
            name = shlex.join(self.command)
            raise ContenderError(
                f"the tuner {name} ended with {self.process.returncode}: {said}"
            )

    def cost(self) -> Record:
        """Return ``cpu_s`` and ``rss_peak_bytes`` of the process itself."""
        if self.process is None:
            return {}
        proc = Path("/proc", str(self.process.pid))
        try:
            fields = (proc / "stat").read_text().rpartition(")")[2].split()
            status = (proc / "status").read_text()
        except OSError:
            return {}
        ticks = int(fields[11]) + int(fields[12])
        peak_kib = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])
        return {
            "cpu_s": ticks / os.sysconf("SC_CLK_TCK"),
            "rss_peak_bytes": peak_kib * 1024,
        }

    def stop(self) -> None:
        """End it and whatever it started."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._thread is not None:
            self._thread.join(STOP_S)
        if process.stderr is not None:
            process.stderr.close()
        self.process = None


class Bpftune(Command):
    """bpftune itself, with directories of its own and records as JSON."""

    def __init__(
        self, only: str = "", state: Path | None = None, hurry: float = 1.0
    ) -> None:
        """Prepare; the directories go with ``stop``, but for *state*.

        It tunes namespaces whose name begins with *only*: this laboratory's. What
        it learns is kept in *state*. Its blocks of time are *hurry* times shorter.
        """
        program = ["bpftune"] if hurry == 1 else ["bpftune.lab.hurried", str(hurry)]
        super().__init__([sys.executable, "-m", *program, "run", "--json"])
        self.only = only or f"bpftune-lab-{os.getpid()}-"
        self.state = state
        self.directory: tempfile.TemporaryDirectory[str] | None = None

    def start(self, *hosts: Namespace) -> None:
        """Start it and wait for its record ``started``."""
        self.directory = tempfile.TemporaryDirectory(prefix="bpftune-lab-")
        run = Path(self.directory.name, "run")
        state = self.state or Path(self.directory.name, "lib")
        run.mkdir()
        state.mkdir(exist_ok=True)
        self.environment = {
            "BPFTUNE_RUN_DIR": str(run),
            "BPFTUNE_STATE_DIR": str(state),
            # The machine it runs on, and other laboratories, stay as they are.
            "BPFTUNE_ONLY_NETNS": self.only,
        }
        super().start(*hosts)
        with self.heard:
            self.heard.wait_for(lambda: self.ended or self._started(), START_S)
            if self._started():
                return
        if self.ended and self.process is not None:
            self.process.wait(STOP_S)
            self.check()
        raise ContenderError(f"bpftune was not ready within {START_S:g} s")

    def _started(self) -> bool:
        return any(record.get("record") == "started" for record in self.records)

    def hear(self, line: str) -> None:
        """Keep the records, and the rest for the message if it fails."""
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            record["lab_monotonic_s"] = time.monotonic()
            self.records.append(record)
        else:
            super().hear(line)

    def stop(self) -> None:
        """End it and remove its directories."""
        super().stop()
        if self.directory is not None:
            self.directory.cleanup()
            self.directory = None


def contender(text: str, hurry: float = 1.0) -> Contender:
    """Return the tuner that *text* names; ContenderError if it names none.

    *hurry* is for bpftune, see there.
    """
    kind, colon, rest = text.partition(":")
    if text == "none":
        return Contender()
    if text == "self":
        return Bpftune(hurry=hurry)
    if kind == "sysctl" and colon:
        return SysctlFile(Path(rest))
    if kind == "cmd" and colon:
        try:
            return Command(shlex.split(rest))
        except ValueError as error:
            raise ContenderError(f"{text}: {error}") from error
    raise ContenderError(f"no tuner {text!r}: {KINDS}")
