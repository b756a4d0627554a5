"""The laboratory on the real kernel: what it emulates is what it was told."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bpftune.lab.child import Child, Record
from bpftune.lab.errors import LabError
from bpftune.lab.namespaces import RUN_NETNS
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk, Bursts, Requests, Transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.real_machine("rates and times are measured"),
]
MBIT, MS = 1_000_000, 1_000_000


def mine() -> list[Path]:
    return list(RUN_NETNS.glob(f"bpftune-lab-{os.getpid()}-*"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1) as made:
        yield made
    assert not mine()


@pytest.mark.parametrize("family", [4, 6])
def test_a_round_trip_takes_the_rtt(lab: Lab, family: int) -> None:
    link = lab.emulated_link(
        lab.namespace("a"),
        lab.namespace("b"),
        rate_bits_per_s=100 * MBIT,
        rtt_ns=40 * MS,
    )
    asking = Requests(request_bytes=100, response_bytes=100)
    flows = lab.traffic(link, asking, family)
    flows.wait_s(1.2)
    asked = [report["flows"][0] for report in flows.senders()]
    assert sum(flow["completed"] for flow in asked) >= 15
    assert 0.040 <= asked[-1]["latency_median_s"] <= 0.050
    assert 40_000 <= asked[-1]["min_rtt_us"] <= 45_000


@pytest.mark.parametrize("family", [4, 6])
def test_bulk_gets_the_rate_and_a_change_of_it(lab: Lab, family: int) -> None:
    link = lab.emulated_link(
        lab.namespace("a"),
        lab.namespace("b"),
        rate_bits_per_s=40 * MBIT,
        rtt_ns=10 * MS,
    )
    flows = lab.traffic(link, Bulk(flows=2), family)
    flows.wait_s(2)
    assert 32 * MBIT <= flows.goodput_bits_per_s(last_s=1) <= 41 * MBIT
    assert sum(flows.per_flow_bits_per_s(last_s=1)) == pytest.approx(
        flows.goodput_bits_per_s(last_s=1)
    )
    link.change(rate_bits_per_s=10 * MBIT)
    flows.wait_s(2)
    assert 7 * MBIT <= flows.goodput_bits_per_s(last_s=1) <= 10.5 * MBIT
    link.close()
    there, back = link.carried()
    assert there["offered"] > back["offered"] > 100
    assert there["lost"] == back["lost"] == 0


def test_the_link_loses_the_share_it_was_told(lab: Lab) -> None:
    link = lab.emulated_link(
        lab.namespace("a"),
        lab.namespace("b"),
        rate_bits_per_s=50 * MBIT,
        rtt_ns=10 * MS,
        loss=0.02,
    )
    flows = lab.traffic(link, Bulk(flows=8))
    flows.wait_s(2)
    flows.stop()
    link.close()
    there = link.carried()[0]
    assert there["offered"] > 1000
    assert 0.01 <= there["lost"] / there["offered"] <= 0.03
    assert sum(flow["retransmitted_segments"] for flow in flows.latest()) > 10


def test_a_receiver_that_does_not_read_stops_the_sender(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    flows = lab.traffic(link, Bulk(reads=False))
    flows.wait_s(1)
    assert flows.goodput_bits_per_s() == 0
    assert flows.latest()[0]["notsent_bytes"] > 0


def test_an_application_limits_itself(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    flows = lab.traffic(link, Bursts(burst_bytes=125_000, every_s=0.1))
    flows.wait_s(2)
    assert flows.goodput_bits_per_s(last_s=1) == pytest.approx(10 * MBIT, rel=0.2)


def test_a_transfer_is_timed_from_before_it_connects_to_its_end(lab: Lab) -> None:
    link = lab.emulated_link(
        lab.namespace("a"),
        lab.namespace("b"),
        rate_bits_per_s=100 * MBIT,
        rtt_ns=40 * MS,
    )
    flows = lab.traffic(link, Transfers(flows=2, transfer_bytes=5_000, think_s=0.01))
    assert flows.receiver is not None

    def ended(heard: list[Record]) -> bool:
        return [record["kind"] for record in heard].count("connection") >= 20

    flows.receiver.wait_for(ended)
    assert flows.sender is not None
    flows.sender.wait_for(lambda heard: len(heard) > 2)
    reports = flows.senders()
    took_s = [
        s for one in reports for flow in one["flows"] for s in flow["latencies_s"]
    ]
    assert min(took_s) >= 0.080, "one round trip to connect, one for the data"
    assert sorted(took_s)[len(took_s) // 2] <= 0.100
    made = flows.connections()
    assert {one["flow"] for one in made} == {0, 1}
    assert {one["bytes"] for one in made} == {5_000}
    assert all(one["began_s"] <= one["ended_s"] for one in made)
    assert flows.latest()[0]["data_segments_out"] >= 4


@pytest.mark.parametrize("flows_at_once", [1, 3])
def test_connections_are_made_anew(lab: Lab, flows_at_once: int) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    flows = lab.traffic(link, Bulk(flows=flows_at_once, reconnect_s=0.1))
    assert flows.sender is not None
    flows.sender.wait_for(lambda heard: sum(r["kind"] == "sent" for r in heard) >= 2)
    for number in range(flows_at_once):
        acked = [report["flows"][number]["bytes_acked"] for report in flows.senders()]
        received = sum(record["bytes"][number] for record in flows.received())
        assert acked[-1] > 1_000_000, "the newest sends, too"
        assert received > 2 * acked[-1]


def test_flows_connect_at_the_same_time(lab: Lab) -> None:
    link = lab.emulated_link(
        lab.namespace("a"),
        lab.namespace("b"),
        rate_bits_per_s=100 * MBIT,
        rtt_ns=50 * MS,
    )
    start_s = time.monotonic()
    flows = lab.traffic(link, Bulk(flows=200))
    assert flows.started_s - start_s < 5, "one after the other takes 10 s"


def test_both_ends_are_of_the_user_that_the_traffic_is_of(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    flows = lab.traffic(link, Bulk(flows=2, reconnect_s=0.1, uid=65534))
    for child in flows.sender, flows.receiver:
        assert child is not None
        status = Path(f"/proc/{child.process.pid}/status").read_text()
        known = dict(line.split(":", 1) for line in status.splitlines())
        assert known["Uid"].split() == known["Gid"].split() == ["65534"] * 4
        assert not known["Groups"].split()
        assert int(known["CapPrm"], 16) == 0
    assert flows.receiver is not None
    flows.receiver.wait_for(lambda heard: any(r["kind"] == "connection" for r in heard))


def test_nobody_listening_is_told(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    plan = {
        "traffic": "bulk", "flows": 1, "address": link.ends[1].ipv4, "port": 9,
        "sndbuf_bytes": None, "congestion_control": None,
        "namespace": str(link.ends[0].namespace.path),
    }  # fmt: skip
    sender = Child("sender", plan)
    try:
        with pytest.raises(LabError, match="refused"):
            sender.wait_for_kind("ready")
    finally:
        sender.stop()


def test_an_end_is_noticed_and_told(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    flows = lab.traffic(link, Bulk())
    assert flows.sender is not None
    flows.sender.process.kill()
    with pytest.raises(LabError, match="sender ended"):
        flows.wait_s(5)


def test_an_unknown_algorithm_is_told(lab: Lab) -> None:
    link = lab.veth(lab.namespace("a"), lab.namespace("b"))
    with pytest.raises(LabError, match="sender ended"):
        lab.traffic(link, Bulk(congestion_control="magic"))
    with pytest.raises(LabError, match="not available"):
        link.ends[0].namespace.set_congestion_control("magic")


def test_a_refused_sysctl_is_told(lab: Lab) -> None:
    namespace = lab.namespace("a")
    with pytest.raises(LabError, match="No such file"):
        namespace.set_sysctl("net.ipv4.no_such_thing", "1")
    with pytest.raises(LabError, match="Invalid argument"):
        namespace.set_sysctl("net.ipv4.tcp_wmem", "many")
    namespace.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 123456")
    assert namespace.sysctl("net.ipv4.tcp_wmem") == "4096 16384 123456"
    assert namespace.cookie > 1


def test_the_emulator_keeps_up_with_many_packets(lab: Lab) -> None:
    first, second = lab.namespace("a"), lab.namespace("b")
    link = lab.emulated_link(first, second, rate_bits_per_s=300 * MBIT, rtt_ns=20 * MS)
    second.set_sysctl("net.ipv4.tcp_rmem", "4096 131072 33554432")
    flows = lab.traffic(link, Bulk(flows=2))
    start_s = time.monotonic()
    flows.wait_s(4)
    passed_s = time.monotonic() - start_s
    assert flows.goodput_bits_per_s(last_s=2) >= 200 * MBIT
    flows.stop()
    link.close()
    there = link.carried()[0]
    assert there["undelivered"] == 0
    assert there["cpu_s"] < passed_s
