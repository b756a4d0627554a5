from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from bpftune.lab.flow import CONNECT_S, Flow, Stage
from bpftune.lab.receiver import HELLO
from bpftune.lab.sender import REPORT_S, Sender
from bpftune.lab.transfers import TransferFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.lab.child import Record


@pytest.fixture
def plan() -> Iterator[Record]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {
            "listener": listener,
            "address": "127.0.0.1",
            "port": listener.getsockname()[1],
            "sndbuf_bytes": None,
            "congestion_control": None,
        }


def test_a_flow_is_connected_before_it_sends(plan: Record) -> None:
    flow = Flow(0, plan)
    sender = Sender([flow])
    sender.connect()
    assert flow.stage is Stage.OPEN
    assert flow.report()["data_segments_out"] == 1, "only who it is"
    flow.end()


def test_a_new_socket_of_the_same_number_is_awaited(plan: Record) -> None:
    flow = Flow(0, plan)
    sender = Sender([flow])
    sender.connect()
    sender.arrange(flow)
    number = flow.socket.fileno()
    sender.time_came(flow, time.monotonic())
    assert flow.socket.fileno() == number
    assert sender.poll.poll(5) == [(number, select.EPOLLOUT)]
    sender.came(flow, select.EPOLLOUT)
    assert flow.stage is Stage.OPEN
    flow.end()


def test_a_connection_that_takes_too_long_is_given_up(plan: Record) -> None:
    flow = Flow(3, plan)
    with pytest.raises(TimeoutError, match="flow 3"):
        Sender([flow]).time_came(flow, time.monotonic() + CONNECT_S)
    flow.end()


def test_between_two_connections_the_last_is_reported(plan: Record) -> None:
    flow = Flow(0, plan)
    Sender([flow]).connect()
    flow.end()
    known = flow.report()
    assert known["data_segments_out"] == 1
    flow.connect()
    assert flow.report() == known
    flow.end()


def test_more_flows_report_less_often() -> None:
    def flows(count: int) -> list[Flow]:
        return [Flow.__new__(Flow)] * count

    assert Sender(flows(64)).report_every_s == REPORT_S
    assert Sender(flows(2000)).report_every_s == pytest.approx(2.5)


def test_a_transfer_ends_when_the_peer_has_read_all_and_closes(plan: Record) -> None:
    plan |= {"transfer_bytes": 1000, "think_s": 60.0}
    flow = TransferFlow(0, plan)
    Sender([flow]).connect()
    peer = plan["listener"].accept()[0]
    assert flow.wants() == select.POLLOUT
    flow.ready(0, time.monotonic())
    assert flow.wants() == select.POLLIN
    assert flow.report()["latencies_s"] == []
    with peer:
        received = b""
        while more := peer.recv(4096):
            received += more
        assert len(received) == HELLO.size + 1000
    assert select.select([flow.socket], [], [], 5)[0]
    flow.ready(0, time.monotonic())
    assert flow.stage is Stage.CLOSED
    report = flow.report()
    assert report["data_segments_out"] >= 2
    assert len(report["latencies_s"]) == 1
    assert flow.report()["latencies_s"] == [], "told once"
    assert flow.due_s > time.monotonic() + 50
