from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from bpftune.lab.errors import LabError
from bpftune.lab.scenario import Scenario, override
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.traffic import Requests, Transfers
from bpftune.lab.turns import also, second, shortened, traffic, turns

PATH = find("lossy-long")


def test_what_a_turn_does_not_set_stays() -> None:
    text = "10s bdp=0.25 loss=0% flows=4;60s flows=2 ; "
    first, then = turns(replace(PATH, turns=text))
    assert (first.at_s, then.at_s) == (10, 60)
    assert (first.scenario.loss, first.scenario.flows) == (0, 4)
    assert then.scenario.queue_bdp == 0.25
    assert then.scenario.flows == 2
    assert then.scenario.transfer_bytes == PATH.transfer_bytes
    assert not turns(PATH)


def test_users_come_and_go_with_the_turns() -> None:
    made = traffic(replace(PATH, turns="10s flows=4;60s flows=2"))
    assert isinstance(made, Transfers)
    assert made.flows == 4
    assert made.users == ((0.0, 1), (10.0, 4), (60.0, 2))
    assert traffic(PATH) == PATH.make_traffic()


@pytest.mark.parametrize(
    "settings",
    [
        "9s seconds=5",
        "9s colour=red",
        "soon loss=1%",
        "9s loss",
        "9s loss=1%; 9s loss=2%",
        "9s loss=1%; 8s loss=2%",
    ],
)
def test_refuses_bad_turns(settings: str) -> None:
    with pytest.raises(LabError):
        turns(replace(PATH, turns=settings))


def test_only_transfers_come_and_go() -> None:
    with pytest.raises(LabError, match="transfers"):
        turns(replace(find("long-fat"), turns="9s flows=3"))
    assert turns(replace(find("long-fat"), turns="9s loss=1%"))


def test_a_veth_pair_does_not_turn_and_has_no_router() -> None:
    with pytest.raises(LabError, match="veth"):
        turns(replace(find("lan"), turns="9s flows=1"))
    with pytest.raises(LabError, match="veth"):
        second(replace(find("lan"), second="flows=1"))


def test_the_second_destination_differs_in_what_is_set() -> None:
    other = second(replace(PATH, second="loss=0% flows=4", turns="9s loss=1%"))
    assert other is not None
    assert (other.loss, other.flows) == (0, 4)
    assert other.rate_bits_per_s == PATH.rate_bits_per_s
    assert not other.turns
    assert second(PATH) is None
    with pytest.raises(LabError, match="only"):
        second(replace(PATH, second="cc=bbr"))


def test_what_else_goes_over_the_path_differs_in_what_is_set() -> None:
    more = also(replace(PATH, also="flows=2 transfer=1MB", turns="9s flows=4"))
    assert isinstance(more, Transfers)
    assert (more.flows, more.transfer_bytes, more.users) == (2, 1_000_000, ())
    assert also(PATH) is None
    case = find("requests-beside-bulk")
    assert isinstance(traffic(case), Requests)
    assert isinstance(also(case), Transfers)
    with pytest.raises(LabError, match="only"):
        also(replace(PATH, also="loss=1%"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_turns_are_within_the_time_of_their_scenario(scenario: Scenario) -> None:
    assert all(0 < turn.at_s < scenario.seconds for turn in turns(scenario))
    second(scenario)
    also(scenario)


def test_a_queue_is_given_in_bytes_or_by_what_the_path_holds() -> None:
    assert PATH.path()["queue_bytes"] is None
    assert replace(PATH, queue_bdp=0.25).path()["queue_bytes"] == 125_000
    sized = replace(PATH, queue_bdp=0.25, queue_bytes=7)
    assert sized.path()["queue_bytes"] == 7
    slower = override(replace(PATH, queue_bdp=0.25), ["rate=10mbit"])
    assert slower.path()["queue_bytes"] == 12_500


def test_a_scenario_is_made_again_from_what_a_result_says() -> None:
    for scenario in SCENARIOS:
        assert Scenario(**asdict(scenario)) == scenario


def test_less_time_has_its_turns_in_proportion() -> None:
    case = find("path-turns")
    short = shortened(case, case.seconds / 10)
    assert [turn.at_s for turn in turns(short)] == [
        pytest.approx(turn.at_s / 10) for turn in turns(case)
    ]
    assert turns(short)[0].scenario.flows == turns(case)[0].scenario.flows
    assert shortened(PATH, 5.0) == replace(PATH, seconds=5.0)
