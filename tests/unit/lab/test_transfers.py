from __future__ import annotations

import math
import socket
import time
from typing import TYPE_CHECKING

import pytest

from bpftune.lab.flow import Stage
from bpftune.lab.sender import Sender
from bpftune.lab.transfers import LOOK_S, TransferFlow, next_turn_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.lab.child import Record

USERS = [(0.0, 1), (10.0, 4), (60.0, 2)]


@pytest.fixture
def plan() -> Iterator[Record]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {
            "listener": listener,
            "address": "127.0.0.1",
            "port": listener.getsockname()[1],
            "sndbuf_bytes": None,
            "congestion_control": None,
            "transfer_bytes": 1000,
            "think_s": 60.0,
        }


@pytest.mark.parametrize(
    ("number", "passed_s", "turn_s"),
    [
        (0, 0.0, 0.0),
        (0, 70.0, 70.0),
        (1, 0.0, 10.0),
        (1, 10.0, 10.0),
        (1, 61.0, 61.0),
        (3, 5.0, 10.0),
        (3, 59.0, 59.0),
        (3, 60.0, math.inf),
    ],
)
def test_a_flow_waits_for_its_turn(number: int, passed_s: float, turn_s: float) -> None:
    assert next_turn_s(number, USERS, passed_s) == turn_s


def test_without_turns_all_flows_go_on() -> None:
    assert next_turn_s(7, (), 3.0) == 3.0
    assert next_turn_s(7, [(5.0, 2)], 3.0) == 3.0
    assert next_turn_s(7, [(5.0, 2)], 5.0) == math.inf


def test_who_has_no_turn_yet_does_not_keep_others_waiting(plan: Record) -> None:
    plan |= {"users": [(0.0, 1), (50.0, 2)]}
    flows = [TransferFlow(number, plan) for number in range(2)]
    Sender(flows).connect()
    assert [flow.stage for flow in flows] == [Stage.OPEN, Stage.CLOSED]
    assert 40 < flows[1].due_s - time.monotonic() <= 50
    assert flows[1].report()["transfers"] == []
    flows[0].end()


def test_a_transfer_is_told_with_what_tcp_knows_of_it(plan: Record) -> None:
    flow = TransferFlow(5, plan)
    sender = Sender([flow])
    sender.connect()
    peer = plan["listener"].accept()[0]
    assert flow.due_s <= time.monotonic() + LOOK_S
    flow.ready(0, time.monotonic())
    sender.time_came(flow, time.monotonic())
    assert flow.stage is Stage.OPEN, "it was only looked at"
    with peer:
        while peer.recv(4096):
            pass
    sender.poll.poll(5)
    flow.ready(0, time.monotonic())
    (told,) = flow.report()["transfers"]
    assert told["flow"] == 5
    assert told["bytes"] == 1000
    assert told["segments"] >= 2
    assert told["retransmitted"] == 0
    assert 0 < told["srtt_s"] < 1
    assert 0 <= told["min_rtt_s"] <= told["srtt_s"]
    assert 0 < told["last_srtt_s"] < 1
    assert told["took_s"] > 0
    named = told["congestion_control"]
    assert named.isalnum() or "_" in named
    assert flow.report()["transfers"] == [], "told once"
