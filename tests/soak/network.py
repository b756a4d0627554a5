"""A server in one namespace, and clients in another that reach it in many networks."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading

from bpftune.lab.network import Lab

PAYLOAD = bytes(2000)
PATIENCE_S = 10.0
NETWORKS = "10.78"
"""All /24 below it lead to the server."""


class Server:
    """Reads whatever comes, until its block ends."""

    def __init__(self, lab: Lab) -> None:
        """Make two namespaces with a link between them, and listen in one."""
        self.near, self.far = lab.namespace("near"), lab.namespace("far")
        link = lab.veth(self.near, self.far)
        there = link.ends[1].ipv4
        self.near.ip(f"route add {NETWORKS}.0.0/16 via {there}")
        self.far.ip(f"route add local {NETWORKS}.0.0/16 dev lo")
        self._listener = self.far.inside(lambda: socket.create_server(("0.0.0.0", 0)))  # noqa: S104 - a namespace of our own
        self._end = socket.socketpair()
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end[0].close()
        self._thread.join()
        self._end[1].close()
        self._listener.close()

    def _serve(self) -> None:
        ends = [self._listener, self._end[1]]
        while self._end[1] not in select.select(ends, (), ())[0]:
            accepted, _ = self._listener.accept()
            accepted.settimeout(PATIENCE_S)
            with accepted, contextlib.suppress(OSError):
                while accepted.recv(1 << 16):
                    pass
            self.accepted += 1

    def connect(self, count: int, seed: int) -> None:
        """Make *count* short connections, to networks at random."""
        chance = random.Random(seed)

        def clients() -> None:
            for _ in range(count):
                address = f"{NETWORKS}.{chance.randrange(256)}.1"
                with socket.create_connection((address, self.port), PATIENCE_S) as one:
                    one.sendall(PAYLOAD)

        self.near.inside(clients)
