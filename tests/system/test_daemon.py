"""The daemon's main job: to raise what pays, and to leave the rest alone."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from tests.pace import is_emulated
from tests.system.conftest import Start
from tests.system.daemon import FIELDS, WMEM, value
from tests.system.paths import MBIT, MS, SMALL, ends, path, wait_busy

from bpftune.kernel.features import find_tracepoints
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk, Bursts, Requests, Traffic

RMEM = "net.ipv4.tcp_rmem"
SMALL_RMEM = "4096 65536 65536"
RCVBUF_GROW = "tcp_rcvbuf_grow"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "algorithm"), [(4, None), (6, "cubic"), (4, "cubic"), (6, None)]
)
def test_raises_what_holds_back_a_sender_older_than_the_daemon(
    lab: Lab, start: Start, family: int, algorithm: str | None
) -> None:
    sender, link = path(lab)
    if algorithm:
        sender.set_congestion_control(algorithm)
    flows = lab.traffic(link, Bulk(), family)
    wait_busy(flows)
    daemon = start()

    change = daemon.wait_kind("change", sender, 20)
    assert change.keys() >= FIELDS
    assert change["tuner"] == "tcp_buffer"
    assert change["tunable"] == WMEM
    assert change["netns"] == {"cookie": sender.cookie, "name": sender.name}
    assert change["old"] == list(SMALL)
    assert change["new"] == [*SMALL[:2], 2 * SMALL[2]]
    assert "held back" in change["why"]
    assert change["change"]
    assert dt.datetime.fromisoformat(change["time"]).utcoffset() is not None

    kept = daemon.wait_kind("kept", sender, 20)
    if is_emulated():  # all is noisier: it may be a later doubling that is proved
        kept = daemon.wait_for(lambda one: bool(one.get("proved")), 30)
    assert kept["record"] == "kept"
    assert kept["proved"] is True
    trial = kept["trial"]
    assert trial["finding"] == "paid"
    assert trial["randomised"] is False
    assert 0 < trial["gain_error_nats"] < trial["gain_nats"]
    doublings = math.log2(trial["size"] / trial["old_size"])
    assert doublings == 1 or is_emulated()
    assert 0 < trial["predicted_nats"] <= 0.7 * doublings  # each at best
    assert trial["before"]["sockets"] == trial["after"]["sockets"] == 1
    assert kept["new"][2] > SMALL[2]
    assert "rose" in kept["why"]
    daemon.stop()
    stays = daemon.of_kind("stopped")[0]
    assert value(sender) == stays["new"]
    assert stays["new"][:2] == list(SMALL[:2])
    assert not daemon.other


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "algorithm", "reconnect_s"),
    [(4, None, None), (6, "cubic", None), (4, "cubic", 3.0)],
)
def test_raises_what_holds_back_receivers_that_live_and_that_come(
    lab: Lab,
    start: Start,
    family: int,
    algorithm: str | None,
    reconnect_s: float | None,
) -> None:
    sender, link = path(lab)
    receiver = link.ends[1].namespace
    sender.set_sysctl(WMEM, "4096 16384 16777216")
    receiver.set_sysctl(RMEM, SMALL_RMEM)
    if algorithm:
        sender.set_congestion_control(algorithm)
    daemon = start()
    lab.traffic(link, Bulk(reconnect_s=reconnect_s), family)

    # Before 6.16 the kernel tells of none, and they are looked for once a minute.
    hears_of_them = find_tracepoints([RCVBUF_GROW])[RCVBUF_GROW]
    change = daemon.wait_kind("change", receiver, 30 if hears_of_them else 90)
    assert change["tunable"] == RMEM
    assert change["new"] == [4096, 65536, 131072]
    assert "held back" in change["why"]
    kept = daemon.wait_kind("kept", receiver, 40)
    assert kept["trial"]["finding"] == "paid"
    assert kept["proved"] or reconnect_s  # a few connections prove little
    assert ("same age" in kept["why"]) == (reconnect_s is not None)
    daemon.stop()
    assert value(receiver, RMEM)[2] > 65536
    assert value(sender) == [4096, 16384, 16777216]
    assert not daemon.other


@pytest.mark.slow
@pytest.mark.parametrize(
    "traffic",
    [
        Bulk(rcvbuf_bytes=32768),
        Bulk(sndbuf_bytes=16384),
        Bulk(reads=False, flows=4),
        Bursts(burst_bytes=20_000, every_s=0.1),
    ],
    ids=["pinned", "the-sender", "nobody-reads", "the-application"],
)
def test_receive_buffers_that_hold_nobody_back_stay(
    lab: Lab, start: Start, traffic: Traffic
) -> None:
    sender, link = path(lab)
    receiver = link.ends[1].namespace
    sender.set_sysctl(WMEM, "4096 16384 16777216")
    receiver.set_sysctl(RMEM, SMALL_RMEM)
    daemon = start()
    lab.traffic(link, traffic).wait_s(20)
    daemon.stop()
    assert value(receiver, RMEM) == [4096, 65536, 65536]
    assert not daemon.about(receiver, "kept")


@pytest.mark.slow
@pytest.mark.parametrize(
    "traffic",
    [Bulk(rcvbuf_bytes=16384), Bursts(burst_bytes=40_000, every_s=0.1)],
    ids=["the-peer's-window", "the-application"],
)
def test_takes_back_what_does_not_help(
    lab: Lab, start: Start, traffic: Traffic
) -> None:
    sender, link = path(lab)
    daemon = start()
    flows = lab.traffic(link, traffic)
    flows.wait_s(20)
    daemon.stop()
    assert value(sender) == list(SMALL)
    raised = len(daemon.about(sender, "change"))
    assert raised <= 1 + len(daemon.about(sender, "taken_back"))
    assert all(one["why"] for one in daemon.about(sender, "taken_back"))
    assert not daemon.about(sender, "kept")


@pytest.mark.slow
def test_observes_without_a_write(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    lab.traffic(link, Bulk())
    daemon = start(verb="observe")
    advice = daemon.wait_kind("advice", sender, 30)
    assert advice["old"] == list(SMALL)
    assert advice["new"][2] == 2 * SMALL[2]
    assert advice["undo"].startswith(f"ip netns exec {sender.name} sysctl -w")
    daemon.stop()
    assert value(sender) == list(SMALL)
    assert not daemon.about(sender, "change")
    assert daemon.records[-1]["why"] == "0 values stay in force"


@pytest.mark.slow
def test_leaves_short_paths_alone(lab: Lab, start: Start) -> None:
    sender, receiver = ends(lab)
    link = lab.veth(sender, receiver)
    daemon = start()
    lab.traffic(link, Requests(flows=2)).wait_s(1)
    lab.traffic(link, Bulk(flows=2)).wait_s(10)
    daemon.stop()
    assert value(sender) == list(SMALL)
    assert not daemon.about(sender)


@pytest.mark.slow
def test_writes_nothing_when_the_path_is_the_limit(lab: Lab, start: Start) -> None:
    sender, link = path(lab, rate_bits_per_s=4 * MBIT, rtt_ns=40 * MS)
    daemon = start()
    lab.traffic(link, Bulk()).wait_s(15)
    daemon.stop()
    assert value(sender) == list(SMALL)
    assert not daemon.about(sender, "kept")
