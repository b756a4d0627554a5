"""A real daemon on a fake machine, with its control socket, in a thread."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any

from bpftune.advice import Book
from bpftune.control.about import About
from bpftune.control.access import Peer
from bpftune.control.client import peer_of
from bpftune.control.control import Control
from bpftune.control.framing import Call
from bpftune.control.notes import Notes
from bpftune.daemon import Daemon
from bpftune.history import History
from bpftune.model import Event, Netns, Tuner
from bpftune.records import Record
from bpftune.sink import Sink
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from tests.unit.fakes import BLUE, HOST, RED, FakeMachine
from tests.unit.test_daemon import Scripted, Seen, raised

Reply = dict[str, Any]


class Scene:
    """What ``run`` puts together, but for the machine; ``serve`` turns it."""

    def __init__(self, directory: Path, *tuners: Tuner, observe: bool = False) -> None:
        self.machine = FakeMachine(RED, BLUE)
        self.tuner = Scripted()
        self.tuner.answers[Seen] = [raised()]
        self.run_dir, self.state_dir = directory / "run", directory / "state"
        for path in (self.run_dir, self.state_dir):
            path.mkdir(exist_ok=True)
        self.records: list[Record] = []
        self.sink = Sink(
            [History(self.state_dir)], mode="observe" if observe else "tune"
        )
        self.notes = Notes(self._tell, Book())
        self.tuners = [sysctl_tuner, self.tuner, *tuners]
        self.daemon = Daemon(
            self.machine,  # type: ignore[arg-type]  # a fake of it
            list(self.tuners),
            self.notes.hear,
            observe=observe,
            clock=self.machine.clock,
        )
        self.about = About(self.tuners, observe, started_s=self.machine.clock.now_s)
        self.control = Control(
            self.run_dir, self.state_dir, self.daemon, self.notes, self.about
        )
        self.sink.add(self.control)
        self.uid: int | None = 0
        self.control.server._identify = self._identify
        self._ends, self._ended = socket.socketpair()
        self._thread: threading.Thread | None = None

    def _identify(self, connection: socket.socket) -> Peer:
        if self.uid is None:
            return peer_of(connection)
        return Peer(self.uid, self.uid)

    def _tell(self, record: Record) -> None:
        self.records.append(record)
        self.sink.write(record)

    @property
    def path(self) -> Path:
        return self.run_dir / "control"

    def see(self, netns: Netns = HOST, event: type[Event] = Seen) -> None:
        self.daemon.handle(self.tuner, event(netns.cookie))

    def kinds(self) -> list[str]:
        return [record.record for record in self.records]

    def told(self, kind: str) -> list[Record]:
        return [record for record in self.records if record.record == kind]

    def call(self, method: str, uid: int | None = 0, **parameters: object) -> Reply:
        """Return the reply to one call, or the error, as *uid* gets it."""
        self.uid = uid
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            request = {"method": f"io.bpftune.{method}", "parameters": parameters}
            client.sendall(json.dumps(request).encode() + b"\0")
            client.setblocking(False)
            heard = b""
            for _ in range(10_000):
                if self._thread is None:
                    self.control.turn()
                else:
                    select.select([client], [], [], 1.0)
                try:
                    heard += client.recv(1 << 20)
                except BlockingIOError:
                    continue
                if heard.endswith(b"\0"):
                    reply: Reply = json.loads(heard[:-1])
                    return reply
        raise AssertionError(f"no answer: {heard!r}")

    def ask(self, method: str, uid: int | None = 0, **parameters: object) -> Reply:
        """Return the parameters of the reply, which is no error."""
        reply = self.call(method, uid, **parameters)
        assert "error" not in reply, reply
        answer: Reply = reply["parameters"]
        return answer

    def steps(self, method: str) -> list[bytes | None]:
        """Return all pieces of the reply, and None where the daemon may go on."""
        call = Call(f"io.bpftune.{method}")
        return list(self.control.server._service.answer(call, trusted=True))

    # --- in a thread, for clients that wait ------------------------------------------

    def serve(self) -> None:
        """Turn the daemon and the socket until ``close``, in real time."""
        self.daemon.clock = time.monotonic
        self.control.server._clock = time.monotonic
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def _loop(self) -> None:
        while True:
            self.daemon.turn()
            due_s = self.control.turn()
            wait_s = max(0.0, min(1.0, due_s - time.monotonic()))
            busy = bool(self.daemon.inbox or self.machine.loader.waiting)
            fds = [self._ended.fileno(), self.control.fd]
            ready, _, _ = select.select(fds, [], [], 0.0 if busy else wait_s)
            if fds[0] in ready:
                return

    def close(self) -> None:
        self._ends.close()
        if self._thread is not None:
            self._thread.join()
        self._ended.close()
        self.control.close()
        self.sink.close()
