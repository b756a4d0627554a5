from __future__ import annotations

from dataclasses import replace

import pytest

from bpftune.policy.epoch import LimitedBy
from bpftune.policy.sender import SNDBUF_LOCK, limited_by
from tests.unit.policy.world import World

MIB = 1 << 20
STARVED = World(rate=40e6, rtt_s=0.2, limit=4 * MIB)


def test_a_full_queue_all_sent_with_room_in_the_window_is_short_of_buffer() -> None:
    sample = STARVED.look(1)[0]
    assert limited_by(sample, 4 * MIB) is LimitedBy.SNDBUF


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"userlocks": SNDBUF_LOCK}, LimitedBy.APPLICATION),
        ({"min_rtt_us": 900}, LimitedBy.APPLICATION),
        ({"ca_state": 3}, LimitedBy.LOSS),
        ({"ca_state": 4}, LimitedBy.LOSS),
        ({"ca_state": 2}, LimitedBy.APPLICATION),
        ({"sndbuf_bytes": 4 * MIB * 9 // 10}, LimitedBy.APPLICATION),
        ({"wmem_queued_bytes": 2 * MIB}, LimitedBy.APPLICATION),
        ({"notsent_bytes": 1 * MIB}, LimitedBy.APPLICATION),
        ({"notsent_bytes": 2 * MIB, "snd_wnd_bytes": 1000}, LimitedBy.PEER_WINDOW),
        ({"cwnd_segments": 10, "in_flight_segments": 9}, LimitedBy.PATH),
    ],
)
def test_each_condition_is_needed(change: dict[str, int], cause: LimitedBy) -> None:
    sample = replace(STARVED.look(1)[0], **change)
    assert limited_by(sample, 4 * MIB) is cause
