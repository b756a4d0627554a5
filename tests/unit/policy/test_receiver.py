from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import SocketSample
from bpftune.policy.epoch import LimitedBy
from bpftune.policy.receiver import (
    delivered_bytes,
    least_rtt_us,
    look_at,
)
from bpftune.policy.receiver import limited_by as limited_by_path
from bpftune.policy.receiver import window_share as share_of_path
from tests.unit.policy.world import World

MIB = 1 << 20


def looked_at(
    *, every_s: float = 0.0625, count: int = 9, **change: float
) -> list[SocketSample]:
    """Samples of one receiver, held at the window of 1 MiB of buffer."""
    world = replace(
        World(rate=1e9, rtt_s=0.1, limit=MIB, noise=0.0, now_s=1000.0, receivers=True),
        **change,  # type: ignore[arg-type]
    )
    return [world.look(every_s)[0] for _ in range(count)]


def limited_by(samples: list[SocketSample], limit: int) -> LimitedBy:
    return limited_by_path(samples, limit, least_rtt_us(samples))


def window_share(samples: list[SocketSample]) -> float:
    return share_of_path(samples, least_rtt_us(samples))


def last_as(samples: list[SocketSample], **change: int) -> list[SocketSample]:
    return [*samples[:-1], replace(samples[-1], **change)]


def test_a_window_in_each_round_trip_is_the_buffers_limit() -> None:
    samples = looked_at()
    assert window_share(samples) == pytest.approx(1.0, abs=0.01)
    assert limited_by(samples, MIB) is LimitedBy.RCVBUF
    look = look_at(samples, MIB, least_rtt_us(samples))
    assert look.cookie == samples[-1].cookie
    assert look.moved_bytes == samples[-1].bytes_received
    assert look.ticks == samples[-1].now_jiffies


def test_a_path_of_half_the_window_is_not() -> None:
    samples = looked_at(rate=0.5 * 0.55 * MIB / 0.1)
    assert window_share(samples) == pytest.approx(0.5, abs=0.01)
    assert limited_by(samples, MIB) is LimitedBy.SENDER


def test_a_round_trip_that_a_queue_made_longer_proves_no_shortage() -> None:
    # As much as fits the window, but half of the time it waits in a queue.
    samples = looked_at(rate=0.5 * 0.55 * MIB / 0.1)
    slow = [replace(one, rcv_rtt_us=200_000) for one in samples]
    assert limited_by(slow, MIB) is LimitedBy.SENDER


def test_a_single_look_knows_no_rate() -> None:
    assert window_share(looked_at(count=1)) == 0.0
    assert limited_by(looked_at(count=1), MIB) is LimitedBy.SENDER
    assert window_share(looked_at(count=2, every_s=0.05)) == 0.0  # half a round trip


def test_a_buffer_below_the_limit_is_the_kernels_to_enlarge() -> None:
    assert limited_by(looked_at(), 2 * MIB) is LimitedBy.SENDER


@pytest.mark.parametrize("change", [{"userlocks": 2}, {"rcvlowat_bytes": 4096}])
def test_what_the_application_set_is_its_own(change: dict[str, int]) -> None:
    assert limited_by(last_as(looked_at(), **change), MIB) is LimitedBy.APPLICATION
    # The lock of the send buffer is no concern.
    assert limited_by(last_as(looked_at(), userlocks=1), MIB) is LimitedBy.RCVBUF


def test_data_that_waits_for_the_application_is_no_evidence() -> None:
    samples = looked_at(unread=0.6)
    assert limited_by(samples, MIB) is LimitedBy.APPLICATION
    assert delivered_bytes(samples[-1]) < samples[-1].bytes_received


def test_a_reader_that_does_not_read_is_never_short() -> None:
    stalled = [
        replace(one, unread_bytes=one.bytes_received, rcv_wnd_bytes=window)
        for one, window in zip(looked_at(), [100_000] * 8 + [0], strict=True)
    ]
    assert limited_by(stalled, MIB) is LimitedBy.APPLICATION


def test_segments_out_of_order_since_the_last_look_are_loss() -> None:
    samples = looked_at()
    assert limited_by(last_as(samples, ooo_segments=5), MIB) is LimitedBy.LOSS
    older = [replace(one, ooo_segments=5) for one in samples[1:]]
    assert limited_by([samples[0], *older], MIB) is LimitedBy.RCVBUF


def test_the_window_scale_is_a_ceiling_of_its_own() -> None:
    samples = looked_at(limit=8 * MIB, wscale=3)
    assert samples[-1].rcv_wnd_bytes == 65535 << 3
    assert limited_by(samples, 8 * MIB) is LimitedBy.WINDOW_SCALE


def test_below_a_millisecond_nothing_is_short() -> None:
    samples = looked_at(rtt_s=0.0009, every_s=0.001)
    assert limited_by(samples, MIB) is LimitedBy.SENDER


@given(st.data())
def test_growth_takes_delivered_bytes(data: st.DataObject) -> None:
    """Whatever a sender sends: what the application did not read is no evidence."""
    samples = looked_at()
    received = samples[0].bytes_received
    made = []
    for sample in samples:
        received += data.draw(st.integers(0, 1 << 24))
        unread = received - samples[0].bytes_received
        made.append(replace(sample, bytes_received=received, unread_bytes=unread))
    assert limited_by(made, MIB) is not LimitedBy.RCVBUF


def test_a_handshake_in_anothers_queue_does_not_make_a_path_long() -> None:
    """A window of 0.55 MiB that half of arrives in each round trip of 100 ms."""
    samples = looked_at(rate=0.5 * 0.55 * MIB / 0.1)
    queued = [replace(one, min_rtt_us=200_000, rcv_rtt_us=200_000) for one in samples]
    assert limited_by_path(queued, MIB, least_rtt_us(queued)) is LimitedBy.RCVBUF
    known = least_rtt_us(queued, least_rtt_us(samples))
    assert known == 100_000
    assert limited_by_path(queued, MIB, known) is LimitedBy.SENDER


def test_the_least_round_trip_of_a_path_may_be_unknown() -> None:
    samples = [replace(one, min_rtt_us=0, rcv_rtt_us=0) for one in looked_at()]
    assert least_rtt_us(samples) == 0
    assert least_rtt_us(samples, 5) == least_rtt_us([], 5) == 5
    assert limited_by_path(samples, MIB, 0) is LimitedBy.SENDER
