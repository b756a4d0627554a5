"""What the laboratory can set up."""

from __future__ import annotations

from typing import Any

from bpftune.lab.scenario import KIB, MIB, ROOMY_BYTES, Scenario, ScenarioError

MS = 1_000_000
MBIT = 1_000_000
MB = 1_000_000
NOBODY = 65534
"""A user and a group without privileges, known to the kernel by this number."""

LONG: dict[str, Any] = {
    "traffic": "transfers",
    "rate_bits_per_s": 100 * MBIT,
    "rtt_ns": 40 * MS,
    "wmem_max_bytes": ROOMY_BYTES,
}
"""Where congestion control matters, and buffers do not."""

CONGESTED = (
    Scenario(
        name="lossy-long",
        summary="40 MB at a time over 100 Mbit/s and 40 ms that lose 0.1 % at random",
        loss=0.001,
        transfer_bytes=40 * MB,
        seconds=900.0,
        **LONG,
    ),
    Scenario(
        name="lossier",
        summary="10 MB at a time, and the same path loses 1 %",
        loss=0.01,
        transfer_bytes=10 * MB,
        seconds=900.0,
        **LONG,
    ),
    Scenario(
        name="lossy-short",
        summary="100 kB at a time, and the same path loses 0.1 %",
        loss=0.001,
        transfer_bytes=100_000,
        seconds=300.0,
        **LONG,
    ),
    Scenario(
        name="bufferbloat",
        summary="10 MB at a time over 50 Mbit/s and 20 ms with a buffer of 8 BDP",
        queue_bdp=8.0,
        transfer_bytes=10 * MB,
        seconds=300.0,
        **LONG | {"rate_bits_per_s": 50 * MBIT, "rtt_ns": 20 * MS},
    ),
    Scenario(
        name="shallow-shared",
        summary="four users share 100 Mbit/s and 40 ms with a buffer of 0.25 BDP",
        queue_bdp=0.25,
        flows=4,
        transfer_bytes=10 * MB,
        seconds=3600.0,
        **LONG,
    ),
)

SCENARIOS = (
    Scenario(
        name="long-fat",
        summary="300 Mbit/s over 200 ms, held to half of it by the send buffer",
        rate_bits_per_s=300 * MBIT,
        rtt_ns=200 * MS,
        wmem_max_bytes=4 * MIB,
    ),
    Scenario(
        name="satellite",
        summary="50 Mbit/s over 400 ms, short of send buffer",
        rate_bits_per_s=50 * MBIT,
        rtt_ns=400 * MS,
        wmem_max_bytes=1 * MIB,
    ),
    Scenario(
        name="continent",
        summary="150 Mbit/s over 100 ms, short of send buffer",
        rate_bits_per_s=150 * MBIT,
        rtt_ns=100 * MS,
        wmem_max_bytes=512 * KIB,
    ),
    Scenario(
        name="starved-beside-content",
        summary="one starved path beside sixteen content flows to another network",
        rate_bits_per_s=150 * MBIT,
        rtt_ns=100 * MS,
        wmem_max_bytes=512 * KIB,
        content_flows=16,
    ),
    Scenario(
        name="peer-window",
        summary="the receiver set SO_RCVBUF: a larger send buffer gains nothing",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=100 * MS,
        wmem_max_bytes=512 * KIB,
        rcvbuf_bytes=128 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="app-limited",
        summary="bursts that fill the send buffer and leave no more to send",
        traffic="bursts",
        rate_bits_per_s=200 * MBIT,
        rtt_ns=50 * MS,
        wmem_max_bytes=1 * MIB,
        seconds=120.0,
    ),
    Scenario(
        name="path-limited",
        summary="20 Mbit/s over 50 ms: the send buffer is full and large enough",
        rate_bits_per_s=20 * MBIT,
        rtt_ns=50 * MS,
        wmem_max_bytes=512 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="lossy",
        summary="0.3 % random loss keeps cubic below what the buffer allows",
        rate_bits_per_s=50 * MBIT,
        rtt_ns=50 * MS,
        loss=0.003,
        wmem_max_bytes=256 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="lan",
        summary="a veth pair below 1 ms with a tiny send buffer",
        congestion_control=None,
        wmem_max_bytes=64 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="short-connections",
        summary="a new connection every second over 50 ms",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=50 * MS,
        wmem_max_bytes=256 * KIB,
        reconnect_s=1.0,
    ),
    Scenario(
        name="many-flows",
        summary="64 flows share 100 Mbit/s over 50 ms: none is short of buffer",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=50 * MS,
        flows=64,
        wmem_max_bytes=4 * MIB,
    ),
    Scenario(
        name="stalled-reader",
        summary="receivers that never read: nothing should grow for them",
        traffic="stalled",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=50 * MS,
        flows=16,
        wmem_max_bytes=512 * KIB,
        rmem_max_bytes=128 * KIB,
    ),
    Scenario(
        name="unread-sockets",
        summary="2000 connections of some user, never read: nothing should grow",
        traffic="stalled",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=50 * MS,
        flows=2000,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=256 * KIB,
        rmem_initial_bytes=256 * KIB,
        uid=NOBODY,
        seconds=120.0,
    ),
    Scenario(
        name="receiver-short",
        summary="100 Mbit/s over 150 ms, held below half of it by the receive buffer",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=150 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=1 * MIB,
    ),
    Scenario(
        name="receiver-anew",
        summary="the same with a new connection every 5 s",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=150 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=1 * MIB,
        reconnect_s=5.0,
    ),
    Scenario(
        name="receiver-satellite",
        summary="40 Mbit/s over 300 ms, short of receive buffer",
        rate_bits_per_s=40 * MBIT,
        rtt_ns=300 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=256 * KIB,
    ),
    Scenario(
        name="both-short",
        summary="100 Mbit/s over 150 ms, short of send and of receive buffer",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=150 * MS,
        wmem_max_bytes=256 * KIB,
        rmem_max_bytes=256 * KIB,
    ),
    Scenario(
        name="receiver-path-limited",
        summary="20 Mbit/s over 50 ms: the receive buffer is at its most and enough",
        rate_bits_per_s=20 * MBIT,
        rtt_ns=50 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=512 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="sender-limited",
        summary="the sender set SO_SNDBUF: a larger receive buffer gains nothing",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=100 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=512 * KIB,
        sndbuf_bytes=128 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="receiver-bursts",
        summary="bursts that fill the window of the receiver and end soon after",
        traffic="bursts",
        rate_bits_per_s=200 * MBIT,
        rtt_ns=50 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=512 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="receiver-lan",
        summary="a veth pair below 1 ms with a tiny receive buffer",
        congestion_control=None,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=64 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="receiver-pinned",
        summary="the receiver set SO_RCVBUF: its tcp_rmem does not matter",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=100 * MS,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_max_bytes=256 * KIB,
        rcvbuf_bytes=128 * KIB,
        seconds=120.0,
    ),
    Scenario(
        name="small-beginnings",
        summary="downloads of 150 kB over 150 ms that begin with a tiny receive buffer",
        traffic="downloads",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=150 * MS,
        flows=4,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_initial_bytes=16 * KIB,
        transfer_bytes=150_000,
        seconds=90.0,
    ),
    Scenario(
        name="small-listener",
        summary="the same size sent to a listener that was opened with it",
        traffic="transfers",
        rate_bits_per_s=100 * MBIT,
        rtt_ns=150 * MS,
        flows=4,
        wmem_max_bytes=ROOMY_BYTES,
        rmem_initial_bytes=16 * KIB,
        transfer_bytes=150_000,
        seconds=150.0,
    ),
    *CONGESTED,
    Scenario(
        name="healthy-bulk",
        summary="bulk over a veth pair, everything as the kernel has it",
        congestion_control=None,
        rmem_max_bytes=None,
    ),
    Scenario(
        name="healthy-requests",
        summary="requests and responses over a veth pair, as the kernel has it",
        traffic="requests",
        flows=4,
        congestion_control=None,
        rmem_max_bytes=None,
    ),
)


def find(name: str) -> Scenario:
    """Return the scenario of that name."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    raise ScenarioError(f"no scenario {name!r}; there are {names}")
