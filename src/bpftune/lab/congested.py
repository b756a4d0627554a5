"""Scenarios in which congestion control matters, and nothing else is short.

The default is that of the namespaces. No socket that is measured has one of its own,
or bpftune would leave it alone.
"""

from __future__ import annotations

from typing import Any

from bpftune.lab.scenario import ROOMY_BYTES, Scenario

MS = 1_000_000
MBIT = 1_000_000
MB = 1_000_000

LONG: dict[str, Any] = {
    "traffic": "transfers",
    "rate_bits_per_s": 100 * MBIT,
    "rtt_ns": 40 * MS,
    "wmem_max_bytes": ROOMY_BYTES,
}

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
    Scenario(
        name="shallow-foreign",
        summary="two users of this host and two of others, who chose cubic, share it",
        queue_bdp=0.25,
        flows=2,
        foreign_flows=2,
        transfer_bytes=10 * MB,
        seconds=1800.0,
        **LONG,
    ),
    Scenario(
        name="one-bdp-foreign",
        summary="the same with a buffer of 1 BDP",
        flows=2,
        foreign_flows=2,
        transfer_bytes=10 * MB,
        seconds=1800.0,
        **LONG,
    ),
    Scenario(
        name="two-answers",
        summary="a router, and beyond it one path as lossy-long, one as shallow-shared",
        loss=0.001,
        transfer_bytes=40 * MB,
        second="loss=0% bdp=0.25 flows=4 transfer=10MB",
        seconds=1800.0,
        **LONG,
    ),
    Scenario(
        name="path-turns",
        summary="the path of lossy-long becomes that of shallow-shared, and back",
        loss=0.001,
        transfer_bytes=40 * MB,
        turns="900s loss=0% bdp=0.25 flows=4; 1800s loss=0.1% bdp=1 flows=1",
        seconds=3600.0,
        **LONG,
    ),
    Scenario(
        name="path-changes",
        summary="100 Mbit/s and 40 ms become 160 ms, then lossy, then slow, and return",
        turns=(
            "60s rtt=160ms; 120s rtt=40ms loss=0.5%; 180s rate=20mbit loss=0%; "
            "240s rate=100mbit"
        ),
        transfer_bytes=10 * MB,
        seconds=300.0,
        **LONG,
    ),
    Scenario(
        name="short-objects",
        summary="four users fetch 100 kB at a time over 100 Mbit/s and 40 ms",
        flows=4,
        transfer_bytes=100_000,
        seconds=120.0,
        **LONG,
    ),
    Scenario(
        name="requests-beside-bulk",
        summary="requests wait in the queue that transfers of 10 MB fill, of 8 BDP",
        queue_bdp=8.0,
        request_bytes=400,
        response_bytes=4000,
        think_s=0.02,
        also="traffic=transfers transfer=10MB think=0s",
        seconds=300.0,
        **LONG
        | {"traffic": "requests", "rate_bits_per_s": 50 * MBIT, "rtt_ns": 20 * MS},
    ),
)
