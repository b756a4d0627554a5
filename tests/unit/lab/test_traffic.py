from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from bpftune.lab.receiver import REPORT_S
from bpftune.lab.traffic import Bulk, Flows

if TYPE_CHECKING:
    from bpftune.lab.link import Link


class FakeReceiver:
    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] == kind]


def flows_that_received(*records: tuple[float, list[int]]) -> Flows:
    flows = Flows(cast("Link", None), Bulk(flows=2))
    made = [{"kind": "received", "t_s": t, "bytes": sizes} for t, sizes in records]
    flows.receiver = cast("Any", FakeReceiver(made))
    flows.started_s = 10.0
    return flows


def test_goodput_is_bytes_over_the_time_looked_at() -> None:
    flows = flows_that_received(
        (11.0, [1000, 0]), (12.0, [2000, 500]), (13.0, [3000, 500])
    )
    assert flows.per_flow_bits_per_s() == pytest.approx([16_000, 8 * 1000 / 3])
    assert flows.per_flow_bits_per_s(last_s=2) == pytest.approx([20_000, 4000])
    assert flows.goodput_bits_per_s(last_s=1) == pytest.approx(28_000)
    assert flows.goodput_bits_per_s(last_s=1, until_s=12.5) == pytest.approx(20_000)


def test_the_series_has_a_number_for_each_second() -> None:
    flows = flows_that_received((10.5, [1000, 0]), (12.95, [500, 500]), (13.1, [7, 7]))
    assert flows.series() == [8000, 0, 8000]


def test_what_came_before_the_start_does_not_count() -> None:
    flows = flows_that_received((9.5, [9999, 9999]), (11.0, [1000, 0]))
    assert flows.series() == [0]
    assert sum(flows.per_flow_bits_per_s(last_s=1)) == pytest.approx(8000 / 1.5)


def test_no_traffic_is_no_goodput() -> None:
    assert flows_that_received().goodput_bits_per_s(15) == 0


def test_connections_are_told_in_the_order_of_their_beginning() -> None:
    flows = Flows(cast("Link", None), Bulk())
    ended = [(12.0, 13.0, 500), (10.0, 13.5, 900)]
    made = [
        {"kind": "connection", "flow": 0, "began_s": b, "ended_s": e, "bytes": size}
        for b, e, size in ended
    ]
    flows.receiver = cast("Any", FakeReceiver(made))
    flows.started_s = 10.0
    assert flows.connections() == [
        {"flow": 0, "began_s": 0.0, "ended_s": 3.5, "bytes": 900},
        {"flow": 0, "began_s": 2.0, "ended_s": 3.0, "bytes": 500},
    ]


class FakeSender:
    def __init__(self, transfers: list[dict[str, Any]]) -> None:
        self.told = transfers

    def of_kind(self, _: str) -> list[dict[str, Any]]:
        flows = [[{"transfers": [one]}, {"transfers": []}] for one in self.told]
        return [{"t_s": 1.0, "flows": of_all} for of_all in flows] + [
            {"t_s": 2.0, "flows": [{"rtt_us": 5}]}
        ]


def test_transfers_are_told_in_the_order_of_their_beginning() -> None:
    flows = Flows(cast("Link", None), Bulk())
    flows.sender = cast("Any", FakeSender([{"began_s": 12.5}, {"began_s": 10.25}]))
    flows.started_s = 10.0
    assert flows.transfers() == [{"began_s": 0.25}, {"began_s": 2.5}]


def test_what_a_receiver_waited_is_told_by_its_reports() -> None:
    times_s = [10 + number * REPORT_S for number in range(50)]
    on_time = flows_that_received(*((t_s, [1, 1]) for t_s in times_s))
    assert on_time.waited_s() == pytest.approx(0)
    late = flows_that_received(*((t_s, [1, 1]) for t_s in [*times_s, 15.5]))
    assert late.waited_s() == pytest.approx(0.5)
    assert flows_that_received().waited_s() == 0
