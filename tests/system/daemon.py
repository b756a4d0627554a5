"""A daemon that runs, its records as they come, and what it costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.pace import patient

from bpftune.kernel.sockets import LOST_MARKS
from bpftune.lab.namespaces import Namespace

ROOT = Path(__file__).resolve().parents[2]
WMEM = "net.ipv4.tcp_wmem"
LACKING = (LOST_MARKS, "this kernel has no tracepoint")
FIELDS = {
    *("time", "schema", "record", "tuner", "tunable", "netns"),
    *("old", "new", "why", "change", "undo"),
}

# The namespaces that the laboratory of this process makes, and no others.
OURS = f"bpftune-lab-{os.getpid()}-"

Told = dict[str, Any]


def environment(run_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a daemon that keeps to our namespaces."""
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), *_python_path(more))))
    return {
        **os.environ,
        "BPFTUNE_STATE_DIR": str(run_dir / "state"),
        **(more or {}),
        "PYTHONPATH": path,
        "BPFTUNE_RUN_DIR": str(run_dir),
        "BPFTUNE_ONLY_NETNS": OURS,
    }


def _python_path(more: Mapping[str, str] | None) -> tuple[str, ...]:
    return ((more or {}).get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", ""))


def command(*words: str) -> list[str]:
    """Return the command line of ``bpftune WORDS``."""
    return [sys.executable, "-m", "bpftune", *words]


class Daemon:
    """``bpftune run`` (or observe) ``--json`` as a child; stop it with ``end``."""

    def __init__(
        self,
        run_dir: Path,
        more: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        verb: str = "run",
    ) -> None:
        """Start it, under the command *prefix* if any; does not wait for it."""
        self.run_dir = run_dir
        self.records: list[Told] = []
        self.other: list[str] = []
        self._ended = False
        self._heard = threading.Condition()
        self.began_s = time.monotonic()
        self.started_s = 0.0
        self.process = subprocess.Popen(
            [*prefix, *command(verb, "--json")],
            env=environment(run_dir, more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _listen(self) -> None:
        for line in self.process.stderr or ():
            heard_s = time.monotonic()
            with self._heard:
                try:
                    record = json.loads(line)
                    self.records.append(record)
                    if record["record"] == "started":
                        self.started_s = heard_s - self.began_s
                except (ValueError, TypeError):
                    self.other.append(line)
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    # --- records -------------------------------------------------------------

    def wait_for(
        self, wanted: Callable[[Told], bool], deadline_s: float, after: int = 0
    ) -> Told:
        """Return the first record that is *wanted*, from number *after* on."""

        def found() -> Told | None:
            return next((one for one in self.records[after:] if wanted(one)), None)

        with self._heard:
            self._heard.wait_for(lambda: found() or self._ended, patient(deadline_s))
            record = found()
        why = "ended" if self._ended else f"nothing for {deadline_s:g} s"
        assert record is not None, f"{why}; heard:\n{self.heard()}"
        return record

    def wait_started(self) -> Told:
        return self.wait_for(lambda one: one["record"] == "started", 15)

    def heard_of(self, wanted: Callable[[Told], bool], deadline_s: float) -> bool:
        """Wait for a record that is *wanted*; return whether it came."""
        with self._heard:
            return self._heard.wait_for(
                lambda: any(map(wanted, self.records)), patient(deadline_s)
            )

    def wait_kind(
        self, kind: str, netns: Namespace, deadline_s: float, after: int = 0
    ) -> Told:
        """Wait for a record of this kind about *netns*."""
        name = netns.name
        return self.wait_for(
            lambda one: one["record"] == kind and name == name_in(one),
            deadline_s,
            after,
        )

    def about(self, netns: Namespace, kind: str = "") -> list[Told]:
        """Return the records about *netns*, of one kind or all."""
        return [
            one
            for one in list(self.records)
            if name_in(one) == netns.name and kind in ("", one["record"])
        ]

    def degraded(self) -> list[Told]:
        """Return what is degraded, but for what this kernel itself lacks."""
        return [
            one
            for one in self.of_kind("degraded")
            if not any(lack in one["why"] for lack in LACKING)
        ]

    @property
    def lacks(self) -> bool:
        """Whether this kernel lacks something, and nothing else is wrong."""
        return bool(self.of_kind("degraded")) and not self.degraded()

    def of_kind(self, kind: str) -> list[Told]:
        return [one for one in list(self.records) if one["record"] == kind]

    def heard(self) -> str:
        lines = [
            f"{one['record']} {name_in(one)} {one['old']} -> {one['new']}: {one['why']}"
            for one in self.records
        ]
        return "\n".join([*lines, *self.other])

    # --- the end -------------------------------------------------------------

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, deadline_s: float = 10) -> float:
        """Stop it; return how many seconds it took, its records are complete."""
        began_s = time.monotonic()
        self.send(number)
        self.process.wait(patient(deadline_s))
        took_s = time.monotonic() - began_s
        self._thread.join(patient(5))
        return took_s

    def end(self) -> None:
        """Make sure that it has ended; what it said is kept."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(patient(5))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._thread.join(patient(5))
        if self.process.stderr:
            self.process.stderr.close()

    # --- what it costs -------------------------------------------------------

    def status(self, field: str) -> int:
        """Return a number of ``/proc/PID/status``."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(field)

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - links

    def bpf(self) -> dict[str, dict[int, int]]:
        """Return the ids of its programs, maps and links, and their memory.

        Bytes are those the kernel charges, where it says so (``memlock``).
        """
        found: dict[str, dict[int, int]] = {"prog": {}, "map": {}, "link": {}}
        for path in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            try:
                lines = path.read_text().splitlines()
            except OSError:
                continue
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            memory = int(fields.get("memlock", "0"))
            # A link's file names its program too.
            for kind in ("link", "map", "prog"):
                if f"{kind}_id" in fields:
                    found[kind][int(fields[f"{kind}_id"])] = memory
                    break
        return found


def name_in(record: Told) -> str | None:
    """Return the name of the namespace that *record* is about."""
    netns = record["netns"]
    name: str | None = netns["name"] if netns else None
    return name


def value(netns: Namespace, name: str = WMEM) -> list[int]:
    """Return what the kernel has."""
    return [int(number) for number in netns.sysctl(name).split()]


def wait_until(
    holds: Callable[[], bool], deadline_s: float, step_s: float = 0.02
) -> bool:
    """Wait for what no event tells of; return whether it came to hold."""
    end_s = time.monotonic() + patient(deadline_s)
    while not holds():
        if time.monotonic() > end_s:
            return False
        threading.Event().wait(step_s)
    return True
