from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.lab.queue import DropTailQueue, bandwidth_delay_bytes

RATES = st.integers(10_000, 10_000_000_000)
DELAYS_NS = st.integers(0, 1_000_000_000)
PATHS = st.tuples(RATES, DELAYS_NS)
QUEUES_BYTES = st.integers(0, 10_000_000)
PACKETS = st.lists(
    st.tuples(st.integers(0, 5_000_000), st.integers(20, 65_535)),
    min_size=1,
    max_size=60,
)


def offer(
    queue: DropTailQueue, packets: list[tuple[int, int]]
) -> list[tuple[int, int, int | None]]:
    now_ns, fates = 0, []
    for gap_ns, size in packets:
        now_ns += gap_ns
        fates.append((now_ns, size, queue.admit(now_ns, size)))
    return fates


@given(RATES, DELAYS_NS, QUEUES_BYTES, PACKETS)
def test_nothing_arrives_before_it_was_sent_and_travelled(
    rate: int, delay_ns: int, queue_bytes: int, packets: list[tuple[int, int]]
) -> None:
    queue = DropTailQueue(rate, delay_ns, queue_bytes)
    for now_ns, size, at_ns in offer(queue, packets):
        if at_ns is not None:
            assert at_ns >= now_ns + delay_ns + size * 8_000_000_000 // rate


@given(RATES, DELAYS_NS, QUEUES_BYTES, PACKETS)
def test_packets_keep_their_order_and_the_rate(
    rate: int, delay_ns: int, queue_bytes: int, packets: list[tuple[int, int]]
) -> None:
    queue = DropTailQueue(rate, delay_ns, queue_bytes)
    arrived = [
        (at_ns, size) for _, size, at_ns in offer(queue, packets) if at_ns is not None
    ]
    for (before_ns, _), (at_ns, size) in itertools.pairwise(arrived):
        assert at_ns - before_ns >= size * 8_000_000_000 // rate


@given(RATES, QUEUES_BYTES, PACKETS)
def test_no_more_waits_than_the_queue_holds(
    rate: int, queue_bytes: int, packets: list[tuple[int, int]]
) -> None:
    queue = DropTailQueue(rate, 0, queue_bytes)
    now_ns = 0
    for gap_ns, size in packets:
        now_ns += gap_ns
        queue.admit(now_ns, size)
        assert queue.backlog_bytes(now_ns) <= max(queue_bytes, 65_535)


@given(RATES, QUEUES_BYTES, st.integers(20, 65_535))
def test_an_idle_wire_takes_any_packet(rate: int, queue_bytes: int, size: int) -> None:
    assert DropTailQueue(rate, 0, queue_bytes).admit(5, size) is not None


@given(PACKETS, PACKETS, PATHS, PATHS)
def test_nothing_overtakes_when_the_path_changes(
    first: list[tuple[int, int]],
    then: list[tuple[int, int]],
    path: tuple[int, int],
    new_path: tuple[int, int],
) -> None:
    queue = DropTailQueue(*path, 10**7)
    before = offer(queue, first)
    now_ns = before[-1][0]
    queue.change(now_ns, *new_path, 10**7, 0.0)
    after = [queue.admit(now_ns + gap_ns, size) for gap_ns, size in then[:1]]
    times = [at_ns for _, _, at_ns in before if at_ns is not None]
    times += [at_ns for at_ns in after if at_ns is not None]
    assert times == sorted(times)


@given(PACKETS, st.integers(0, 2**32))
def test_the_same_seed_loses_the_same_packets(
    packets: list[tuple[int, int]], seed: int
) -> None:
    runs = [offer(DropTailQueue(10**6, 0, 10**6, 0.3, seed), packets) for _ in range(2)]
    assert runs[0] == runs[1]


def test_loses_the_share_it_was_told() -> None:
    queue = DropTailQueue(10**9, 0, 10**9, 0.003, seed=1)
    for number in range(100_000):
        queue.admit(number * 100_000, 1500)
    assert queue.dropped == 0
    assert 200 < queue.lost < 400


def test_lost_packets_have_used_the_wire() -> None:
    queue = DropTailQueue(8_000_000, 0, 10**6, loss=1.0)
    assert queue.admit(0, 1000) is None
    assert queue.backlog_bytes(0) == 1000


def test_drops_what_finds_no_place() -> None:
    queue = DropTailQueue(8_000_000, 0, 3000)
    fates = [queue.admit(0, 1500) for _ in range(3)]
    assert fates == [1_500_000, 3_000_000, None]
    assert queue.dropped == 1
    assert queue.admit(1_500_000, 1500) == 4_500_000


def test_300_mbit_over_200_ms_hold_7_and_a_half_megabytes() -> None:
    assert bandwidth_delay_bytes(300_000_000, 200_000_000) == 7_500_000


@pytest.mark.parametrize(
    ("rate", "delay_ns", "queue_bytes", "loss"),
    [(0, 0, 0, 0.0), (1, -1, 0, 0.0), (1, 0, -1, 0.0), (1, 0, 0, 1.1)],
)
def test_refuses_an_impossible_path(
    rate: int, delay_ns: int, queue_bytes: int, loss: float
) -> None:
    with pytest.raises(ValueError, match=r"rate|loss"):
        DropTailQueue(rate, delay_ns, queue_bytes, loss)
