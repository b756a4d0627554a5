"""The synthetic path against what was measured on an emulated one."""

from __future__ import annotations

import pytest

from .congestion_rivals import Always
from .congestion_world import BBR, CUBIC, MB, Flow, Path, Users, World

SHALLOW, DEEP = Path(buffer_bdp=0.25), Path(buffer_bdp=4)


def settled(path: Path, *arms: str) -> tuple[World, list[Flow]]:
    """Return long flows, one per arm, after half a minute."""
    world = World(path, [], Always(CUBIC), noise=0)
    users = Users(1, (4000 * MB,))
    world.flows = [world.begin(users, arm, 0) for arm in arms]
    flows = list(world.flows)
    world.run(30)
    return world, flows


def mbit(flow: Flow) -> float:
    return flow.rate * 8 / 1e6


@pytest.mark.parametrize(
    ("path", "arms", "first", "others"),
    [
        (SHALLOW, [CUBIC] * 4, (20, 26), (20, 26)),
        (SHALLOW, [BBR] + [CUBIC] * 3, (80, 90), (2, 4)),
        (SHALLOW, [BBR] * 4, (20, 27), (20, 27)),
        (DEEP, [CUBIC] * 4, (17, 31), (17, 31)),
        (DEEP, [BBR] + [CUBIC] * 3, (2, 4), (30, 33)),
        (DEEP, [BBR] * 4, (21, 27), (21, 27)),
    ],
)
def test_flows_share_as_measured(
    path: Path,
    arms: list[str],
    first: tuple[float, float],
    others: tuple[float, float],
) -> None:
    _, flows = settled(path, *arms)
    assert first[0] <= mbit(flows[0]) <= first[1]
    assert all(others[0] <= mbit(flow) <= others[1] for flow in flows[1:])


@pytest.mark.parametrize(
    ("path", "arms", "srtt_ms"),
    [
        (DEEP, [CUBIC] * 4, 172),
        (DEEP, [BBR] * 4, 97),
        (Path(50, 0.020, 8), [CUBIC], 150),
        (Path(50, 0.020, 8), [BBR], 29),
    ],
)
def test_queues_are_as_long_as_measured(
    path: Path, arms: list[str], srtt_ms: float
) -> None:
    world, _ = settled(path, *arms)
    assert 1e3 * path.rtt_s * (1 + world.queue) == pytest.approx(srtt_ms, rel=0.05)


@pytest.mark.parametrize(
    ("path", "arms", "loss"),
    [
        (SHALLOW, [CUBIC] * 4, 0.0009),
        (SHALLOW, [BBR] * 4, 0.128),
        (Path(buffer_bdp=0.05), [BBR], 0.038),
    ],
)
def test_as_much_is_sent_again_as_measured(
    path: Path, arms: list[str], loss: float
) -> None:
    _, flows = settled(path, *arms)
    late = sum(flow.moved - flow.early for flow in flows)
    lost = sum(flow.late_lost for flow in flows) / late
    assert lost == pytest.approx(loss, rel=0.1, abs=0.001)


@pytest.mark.parametrize(
    ("path", "arm", "rate"),
    [
        (Path(buffer_bdp=0.05), CUBIC, 38.6),
        (Path(buffer_bdp=0.05), BBR, 92.6),
        (Path(loss=0.001), CUBIC, 12.3),
        (Path(loss=0.001), BBR, 95.9),
        (Path(loss=0.01), CUBIC, 2.7),
        (Path(loss=0.01), BBR, 95.7),
        (Path(50, 0.020, 8), CUBIC, 48.3),
    ],
)
def test_one_flow_is_as_fast_as_measured(path: Path, arm: str, rate: float) -> None:
    _, (flow,) = settled(path, arm)
    assert mbit(flow) == pytest.approx(rate, rel=0.05)


def seconds(path: Path, arm: str, size: float) -> float:
    """Return the mean time of transfers of *size* bytes."""
    times: list[float] = []

    class Timed(Always):
        def closed(self, flow: Flow) -> None:
            times.append(flow.busy_s * size / flow.size)

    World(path, [Users(1, (size,), 0.1)], Timed(arm), seed=2).run(300)
    return sum(times) / len(times)


@pytest.mark.parametrize(
    ("size", "least", "most"),
    [(0.1 * MB, 0.6, 1.0), (2 * MB, 0.75, 1.4), (10 * MB, 1.6, 2.7), (40 * MB, 5, 8)],
)
def test_loss_matters_for_long_transfers_only(
    size: float, least: float, most: float
) -> None:
    path = Path(loss=0.001)
    sooner = seconds(path, CUBIC, size) / seconds(path, BBR, size)
    assert least <= sooner <= most
