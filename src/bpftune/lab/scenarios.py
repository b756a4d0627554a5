"""What the laboratory can set up."""

from __future__ import annotations

from bpftune.lab.scenario import KIB, MIB, Scenario, ScenarioError

MS = 1_000_000
MBIT = 1_000_000

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
        rmem_max_bytes=None,
    ),
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
