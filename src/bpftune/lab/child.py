"""Processes of the laboratory: started with a plan, heard as JSON lines.

A child is ``python -m bpftune.lab.NAME``. Its plan is its first argument, orders
come on its standard input and what it has to say goes to its standard output,
each one JSON object a line. It dies with the laboratory.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpftune.lab.errors import LabError
from bpftune.lab.namespaces import set_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
FILES_PER_FLOW = 2
"""A flow that connects anew may overlap with itself."""

FILES_BESIDE = 64
START_S = 15.0
STOP_S = 3.0

patience = 1.0
"""Both are that many times longer; more than 1 where a machine is very slow."""

Record = dict[str, Any]


class Child:
    """A running child; use ``stop`` or the laboratory's ``with``."""

    def __init__(self, name: str, plan: Record, pass_fds: Sequence[int] = ()) -> None:
        """Start ``bpftune.lab.<name>`` with *plan*; does not wait for it."""
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        self.name = name
        self.records: list[Record] = []
        self._heard = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"bpftune.lab.{name}", json.dumps(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._errors = b""
        self._threads = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._listen_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            record = json.loads(line)
            with self._heard:
                self.records.append(record)
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def _listen_errors(self) -> None:
        for line in self.process.stderr or ():
            self._errors = (self._errors + line)[-4096:]

    def wait_for(
        self, ready: Callable[[list[Record]], bool], timeout_s: float = START_S
    ) -> None:
        """Wait until *ready* holds for the records; LabError if it never will."""
        timeout_s *= patience
        with self._heard:
            done = self._heard.wait_for(
                lambda: ready(self.records) or self._ended, timeout_s
            )
            if ready(self.records):
                return
        if done:
            self._threads[1].join(STOP_S * patience)
            last = self._errors.decode(errors="replace").strip().splitlines()
            raise LabError(f"lab {self.name} ended: {last[-1] if last else 'silent'}")
        raise LabError(f"lab {self.name}: nothing heard for {timeout_s:g} s")

    def wait_for_kind(self, kind: str, timeout_s: float = START_S) -> Record:
        """Wait for the first record of this kind and return it."""
        self.wait_for(lambda all_: any(r["kind"] == kind for r in all_), timeout_s)
        return next(r for r in self.records if r["kind"] == kind)

    def of_kind(self, kind: str) -> list[Record]:
        """Return the records of this kind so far."""
        return [record for record in list(self.records) if record["kind"] == kind]

    def wait_s(self, seconds: float) -> None:
        """Let *seconds* pass; LabError at once if the child ends before."""
        end = time.monotonic() + seconds
        with self._heard:
            while (left := end - time.monotonic()) > 0:
                if self._ended:
                    break
                self._heard.wait(left)
            else:
                return
        self.wait_for(lambda _: False, 0)

    def order(self, order: Record) -> None:
        """Send an order."""
        if self.process.stdin is None:
            return
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise LabError(f"lab {self.name} is gone") from None

    def stop(self) -> None:
        """Ask it to end, wait for its last words, then insist."""
        process = self.process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S * patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(STOP_S * patience)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


# --- the child's side ----------------------------------------------------------


def begin(parent: int = 0) -> Record:
    """Read the plan, die with the parent, be where and who the plan says.

    That is in its ``namespace``, with room for the sockets of its ``flows``, as its
    ``uid``, each if there is one.
    """
    plan: Record = json.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    _die_with(parent)
    if "namespace" in plan:
        set_namespace(Path(plan["namespace"]))
    if "flows" in plan:
        _may_open(plan["flows"] * FILES_PER_FLOW + FILES_BESIDE)
    if plan.get("uid"):
        _become(plan["uid"])
        # The kernel forgets the signal when a process becomes somebody else.
        _die_with(parent)
    return plan


def _die_with(parent: int) -> None:
    """Die when the parent does, or now if it did already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1 or (parent and os.getppid() != parent):
        raise SystemExit("the laboratory is gone")


def _may_open(files: int) -> None:
    """Raise the limit of open files to *files* where it is lower."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (
        limit if limit == resource.RLIM_INFINITY else max(limit, files)
        for limit in limits
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _become(uid: int) -> None:
    """Give up all privileges, for ever: be user *uid* and only in its group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def say(kind: str, **fields: Any) -> None:
    """Say one record to the laboratory."""
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()
