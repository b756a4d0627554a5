"""What a run could have told."""

from __future__ import annotations

from bpftune.lab.run import Result

RESULT = Result(
    scenario="long-fat",
    tuner="none",
    seed=0,
    parameters={},
    goodput_bits_per_s=100.0,
    goodput_whole_bits_per_s=90.0,
    per_flow_bits_per_s=[100.0],
    series_bits_per_s=[80.0, 100.0],
    series_rtt_s=[0.2, None],
    series_latency_s=[],
    retransmitted_share=0.0,
    rtt_min_s=0.2,
    rtt_median_s=0.2,
    requests_per_s=None,
    latency_median_s=None,
    latency_p99_s=None,
    content_bits_per_s=None,
    values=[],
    writes={},
    connections=[],
    transfers=[],
    destination="10.77.0.0/24",
    beside={},
    began_s=0.0,
    dropped_share=None,
    late_s=None,
    waited_s=0.0,
    emulator_busy=None,
    tuner_cost={},
)
