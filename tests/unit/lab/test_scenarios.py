from __future__ import annotations

import re

import pytest

from bpftune.lab.congested import CONGESTED
from bpftune.lab.errors import LabError
from bpftune.lab.scenario import (
    PARAMETERS,
    ROOMY_BYTES,
    Scenario,
    ScenarioError,
    override,
)
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.traffic import Bulk, Bursts, Requests, Transfers


def test_names_are_words_and_differ() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_every_scenario_is_found_and_consistent(scenario: Scenario) -> None:
    assert find(scenario.name) is scenario
    assert override(scenario, []) == scenario
    assert scenario.make_traffic().flows == scenario.flows


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_only_one_end_is_short_unless_the_name_says_more(scenario: Scenario) -> None:
    limits = scenario.wmem_max_bytes, scenario.rmem_max_bytes
    short = [limit for limit in limits if limit is not None and limit < ROOMY_BYTES]
    if scenario.name.startswith(("healthy-", "small-")) or scenario in CONGESTED:
        assert not short
    elif scenario.name in {"both-short", "stalled-reader"}:
        assert len(short) == 2
    else:
        assert len(short) == 1
    if scenario.name.startswith("receiver-"):
        assert scenario.wmem_max_bytes == ROOMY_BYTES


def test_parameters_override() -> None:
    changed = override(
        find("long-fat"),
        ["rate=20mbit", "rtt=50ms", "queue=1MiB", "loss=1%", "flows=4", "cc=bbr",
         "wmem=default", "family=6", "uid=1000", "seconds=5"],
    )  # fmt: skip
    assert changed.rate_bits_per_s == 20_000_000
    assert changed.rtt_ns == 50_000_000
    assert changed.queue_bytes == 1 << 20
    assert changed.loss == pytest.approx(0.01)
    assert changed.make_traffic().flows == 4
    assert changed.congestion_control == "bbr"
    assert changed.wmem_max_bytes is None
    assert changed.family == 6
    assert changed.make_traffic().uid == 1000
    assert changed.seconds == 5


def test_congestion_control_is_the_namespaces_and_no_sockets() -> None:
    for scenario in CONGESTED:
        assert scenario.congestion_control == "cubic"
        assert scenario.make_traffic().congestion_control is None
        assert scenario.wmem_max_bytes == scenario.rmem_max_bytes == ROOMY_BYTES


def test_every_parameter_is_a_field() -> None:
    fields = Scenario.__dataclass_fields__
    assert {field for field, _, _ in PARAMETERS.values()} <= set(fields)


@pytest.mark.parametrize(
    "setting",
    ["rate", "colour=red", "rate=", "rtt=-1ms", "seconds=0", "flows=0", "every=0s",
     "wmem_initial=5MiB", "rmem_initial=0", "traffic=magic", "request=0", "transfer=0",
     "family=5", "uid=0", "bdp=0", "bdp=much", "hurry=0", "foreign=0"],
)  # fmt: skip
def test_refuses_bad_settings(setting: str) -> None:
    with pytest.raises(LabError):
        override(find("long-fat"), [setting])


def test_a_veth_pair_has_no_delay_of_its_own() -> None:
    with pytest.raises(ScenarioError, match="veth"):
        override(find("lan"), ["rtt=10ms"])
    assert override(find("lan"), ["rate=1gbit", "rtt=10ms"]).rtt_ns == 10_000_000


def test_an_unknown_scenario_is_told_the_known() -> None:
    with pytest.raises(ScenarioError, match="long-fat"):
        find("short-thin")


def test_makes_the_traffic_it_describes() -> None:
    assert isinstance(find("long-fat").make_traffic(), Bulk)
    assert isinstance(find("app-limited").make_traffic(), Bursts)
    assert isinstance(find("healthy-requests").make_traffic(), Requests)
    transfers = override(
        find("long-fat"), ["traffic=transfers", "transfer=300kB", "think=1s"]
    )
    assert transfers.make_traffic() == Transfers(transfer_bytes=300_000, think_s=1.0)
    assert not find("stalled-reader").make_traffic().reads
    unread = find("unread-sockets").make_traffic()
    assert (unread.flows, unread.reads, unread.uid) == (2000, False, 65534)
