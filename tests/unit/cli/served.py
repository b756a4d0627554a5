"""A daemon that answers as it was told, over a real control socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HOST = {"cookie": 1, "name": "host"}
WEB = {"cookie": 4711, "name": "web"}
WMEM = "net.ipv4.tcp_wmem"
UNDO = f"sysctl -w {WMEM}='4096 16384 4194304'"

TUNABLE = {
    "tunable": WMEM,
    "tuner": "tcp_buffer",
    "netns": HOST,
    "state": "ours",
    "found": [4096, 16384, 4194304],
    "expected": [4096, 16384, 8388608],
    "settled": [4096, 16384, 8388608],
    "change": "c17",
    "changes": 1,
    "undo": UNDO,
}
YIELDED = {
    **TUNABLE,
    "netns": WEB,
    "state": "yielded",
    "found": [4096, 16384, 1],
    "expected": [4096, 16384, 65536],
    "settled": [4096, 16384, 65536],
    "change": None,
    "changes": 0,
    "undo": None,
}


def tuner(name: str, summary: str, destinations: int = 0) -> dict[str, Any]:
    """Return a tuner that works."""
    return {
        "name": name,
        "summary": summary,
        "state": "on",
        "why": None,
        "destinations": destinations,
    }


STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4242,
    "mode": "tune",
    "started": "2026-01-31T12:00:00.000Z",
    "uptime_s": 7500.0,
    "tuners": [
        tuner("sysctl", "Leave it"),
        tuner("tcp_buffer", "Size buffers"),
        tuner("congestion", "Choose", destinations=12),
    ],
    "in_force": [TUNABLE],
    "yielded": [YIELDED],
    "paused": [],
    "netns_tracked": 3,
    "events": 12,
    "lost": [{"cause": "ring buffer full", "count": 2}],
    "cost": {
        "rss_bytes": 19 << 20,
        "cpu_s": 1.5,
        "wakeups": 130,
        "maps_bytes": 1 << 20,
    },
    "advice": 1,
}


def record(kind: str, **more: Any) -> dict[str, Any]:
    """Return a record as the daemon sends it."""
    return {
        "time": "2026-01-31T12:00:03.250Z",
        "schema": 1,
        "record": kind,
        "tuner": "tcp_buffer",
        "tunable": WMEM,
        "netns": HOST,
        "old": [4096, 16384, 4194304],
        "new": [4096, 16384, 8388608],
        "why": "3 of 4 sockets to 203.0.113.0/24 were held back by it",
        "change": "c17",
        "undo": UNDO,
        "mode": "tune",
        **more,
    }


CHANGE = record(
    "change",
    evidence={
        "destination": "203.0.113.0/24",
        "sockets": 4,
        "bytes_per_s": 4_762_500,
        "srtt_us": 100_000,
    },
)
KEPT = record(
    "kept",
    why="goodput rose +56%",
    proved=True,
    evidence={"gain_nats": 0.44, "randomised": False},
)
OF_A_DESTINATION: dict[str, Any] = {
    **dict.fromkeys(("tunable", "old", "new", "change", "undo")),
    "tuner": "congestion",
    "destination": "203.0.113.0/24",
}
TRIES = record(
    "tries",
    **OF_A_DESTINATION,
    why="bbr in this block, for comparison with cubic",
    evidence={"arm": "bbr", "flows": 0},
)
CHOSEN = record(
    "chosen",
    **OF_A_DESTINATION,
    why="bbr from now on: 3.0 ± 0.1 in 4 blocks (41 flows)",
    evidence={"bytes_per_s": 11_000_000, "bbr_reward_nats": 3.02, "proved": False},
)
ADVICE = {
    "id": "a3f9c1",
    "tuner": "tcp_buffer",
    "tunable": WMEM,
    "netns": HOST,
    "old": [4096, 16384, 4194304],
    "new": [4096, 16384, 8388608],
    "why": "sockets were held back by it",
    "do": "sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'",
    "ignored": False,
}
STEP = {
    "tunable": WMEM,
    "netns": HOST,
    "change": "c17",
    "action": "set",
    "now": [4096, 16384, 8388608],
    "new": [4096, 16384, 4194304],
    "why": "found at first",
}
SKIPPED = {**STEP, "netns": WEB, "action": "skip", "why": "somebody set it since"}

ROWS = [{"tuner": "congestion", "destinations": 12}]

Answer = dict[str, Any] | list[dict[str, Any]] | bytes

ANSWERS: dict[str, Answer] = {
    "Status": {"parameters": STATUS},
    "History": {"parameters": {"records": [CHANGE, KEPT]}},
    "Explain": {
        "parameters": {
            "records": [CHANGE, KEPT],
            "tunables": [TUNABLE],
            "learned": ["at this level it paid in 37 of 40 trials"],
            "known": [],
        }
    },
    "Advise": {"parameters": {"advice": [ADVICE]}},
    "Apply": {"parameters": {"record": CHANGE}},
    "Ignore": {"parameters": {}},
    "Verify": {
        "parameters": {
            "checked": 2,
            "drift": [
                {
                    "tunable": WMEM,
                    "netns": HOST,
                    "expected": [4096, 16384, 8388608],
                    "now": [4096, 16384, 1],
                    "by": "sysctl, uid 0",
                }
            ],
        }
    },
    "Rollback": {"parameters": {"steps": [STEP, SKIPPED], "rows": ROWS}},
    "Pause": {"parameters": {"paused": ["congestion"], "rows": ROWS}},
    "Resume": {"parameters": {"paused": [], "rows": []}},
    "Adopt": {"parameters": {"tunables": [TUNABLE]}},
    "Metrics": {"parameters": {"text": "# TYPE bpftune_up gauge\n# EOF\n"}},
    "Watch": [
        {"parameters": {"record": CHANGE}, "continues": True},
        {"parameters": {"record": KEPT}},
    ],
}


class Served:
    """What was asked, and what is answered: by method, replies or bare bytes."""

    def __init__(self, directory: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = dict(ANSWERS)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(directory / "control"))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def refuse(self, method: str, error: str, /, **parameters: object) -> None:
        """Answer *method* with an error."""
        self.answers[method] = {"error": error, "parameters": parameters}

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the end
                return
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                connection.settimeout(10)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        heard = b""
        while not heard.endswith(b"\0"):
            data = connection.recv(7)  # small, so that requests come in pieces
            if not data:
                return
            heard += data
        request = json.loads(heard[:-1])
        self.asked.append(request)
        answer = self.answers[request["method"].removeprefix("io.bpftune.")]
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return
        for reply in answer if isinstance(answer, list) else [answer]:
            text = json.dumps(reply).encode() + b"\0"
            half = len(text) // 2
            connection.sendall(text[:half])
            connection.sendall(text[half:])

    def close(self) -> None:
        # Closing alone does not wake who waits in accept().
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    """Serve from *directory* as long as the block runs."""
    served = Served(directory)
    try:
        yield served
    finally:
        served.close()


Ask = Callable[..., Any]
