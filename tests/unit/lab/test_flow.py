from __future__ import annotations

from typing import Any, cast

from bpftune.lab.flow import CHUNK, Flow


class QuickPeer:
    """A socket whose peer takes everything at once."""

    def __init__(self) -> None:
        self.writes = 0

    def send(self, data: memoryview) -> int:
        self.writes += 1
        assert self.writes < 1000, "it never lets others have a turn"
        return len(data)


def test_a_flow_whose_peer_is_quick_lets_others_have_a_turn() -> None:
    flow = Flow.__new__(Flow)
    peer = QuickPeer()
    flow.socket = cast("Any", peer)
    flow.ready(0, 0.0)
    assert peer.writes * len(CHUNK) >= 1 << 20
