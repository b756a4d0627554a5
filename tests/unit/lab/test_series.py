from __future__ import annotations

import pytest

from bpftune.lab.series import by_second, latency_series_s, rtt_series_s


def test_each_second_has_its_median_or_none() -> None:
    told = [(0.2, 1.0), (0.7, 3.0), (2.5, 5.0), (-0.1, 9.0)]
    assert by_second(told) == [2.0, None, 5.0]
    assert by_second([]) == []


def test_round_trips_of_connections_not_looked_at_yet_do_not_count() -> None:
    reports = [
        {"t_s": 10.5, "flows": [{"rtt_us": 40_000}, {"rtt_us": 0}]},
        {"t_s": 11.5, "flows": [{"rtt_us": 60_000}, {"rtt_us": 80_000}, {}]},
    ]
    assert rtt_series_s(reports, 10.0) == [0.04, pytest.approx(0.07)]


def test_latencies_are_those_of_transfers_or_of_requests() -> None:
    transfers = [{"t_s": 1.5, "flows": [{"latencies_s": [2.0, 4.0]}]}]
    assert latency_series_s(transfers, 0.0) == [None, 3.0]
    requests = [
        {"t_s": 0.5, "flows": [{"latency_median_s": None}, {"latency_median_s": 0.5}]}
    ]
    assert latency_series_s(requests, 0.0) == [0.5]
    assert latency_series_s([{"t_s": 0.5, "flows": [{"rtt_us": 5}]}], 0.0) == []
