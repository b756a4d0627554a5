"""What clients hear of sysctls that are words, and how one is given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftune.cli.sentences import sentence
from bpftune.cli.tale import tale
from bpftune.model import Netns
from tests.unit.cli.schemas import check
from tests.unit.control.scene import Reply, Scene
from tests.unit.fakes import BLUE, HOST, RED
from tests.unit.test_settings import DEFAULT, NOT_SEEN, Choosing
from tests.unit.test_settings import Seen as Event

THEIRS: Reply = {
    "tunable": DEFAULT,
    "tuner": "choosing",
    "netns": {"cookie": 2, "name": "red"},
    "state": "yielded",
    "found": [],
    "expected": [],
    "settled": [],
    "change": None,
    "changes": 0,
    "undo": None,
}


class Place(Scene):
    """With a tuner that goes by a setting; it is nobody's yet."""

    def __init__(self, directory: Path) -> None:
        self.choosing = Choosing()
        super().__init__(directory, self.choosing)
        for netns in (HOST, RED, BLUE):
            self.machine.sysctls.say(netns, DEFAULT, "bbr")
            self.happens(netns)

    def happens(self, netns: Netns) -> None:
        self.daemon.handle(self.choosing, Event(netns.cookie))

    def take(self, *where: Netns) -> None:
        for netns in where:
            self.machine.sysctls.say(netns, DEFAULT, "reno")
            self.happens(netns)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def names(answer: Reply, what: str) -> list[str]:
    return [one["netns"]["name"] for one in answer[what]]


def test_status_has_what_is_the_admins_without_numbers(place: Place) -> None:
    assert place.ask("Status")["yielded"] == []
    place.take(RED)
    status = place.ask("Status")
    assert status["yielded"] == [THEIRS]
    check("status", {"schema": 1, **status})


def test_all_settings_are_among_the_tunables(place: Place) -> None:
    place.take(RED)
    answer = place.ask("Tunables")
    assert [(one["netns"]["name"], one["state"]) for one in answer["tunables"]] == [
        ("host", "found"),
        ("blue", "found"),
        ("red", "yielded"),
    ]
    assert answer["tunables"][-1] == THEIRS


def test_the_story_of_a_setting_has_who_took_it_and_that_it_came_back(
    place: Place,
) -> None:
    place.take(RED)
    answer = place.ask("Explain", about=DEFAULT)
    check("explain", {"schema": 1, **answer})
    assert answer["tunables"] == [THEIRS]
    story = tale(DEFAULT, answer)
    assert "handed over" in story
    assert NOT_SEEN in " ".join(story.split())
    assert "old text bbr, new text reno" in story
    assert "Now      tcp_congestion_control in netns red: the admin's" in story
    assert "?" not in story
    place.ask("Adopt", tunable=DEFAULT)
    answer = place.ask("Explain", about=DEFAULT)
    assert answer["tunables"] == []
    story = tale(DEFAULT, answer)
    assert "the admin gave it back" in story
    assert "?" not in story
    assert sentence(answer["records"][-1]) == (
        "tcp_congestion_control in netns red is bpftune's to tune: "
        "the admin gave it back"
    )


def test_it_is_given_back_in_one_namespace_or_everywhere(place: Place) -> None:
    place.take(HOST, RED, BLUE)
    answer = place.ask("Adopt", tunable=DEFAULT, netns="red")
    assert answer["tunables"] == [{**THEIRS, "state": "found"}]
    check("adopt", {"schema": 1, **answer})
    assert names(place.ask("Status"), "yielded") == ["host", "blue"]
    place.happens(RED)
    assert place.choosing.last == {}
    place.happens(BLUE)
    assert place.choosing.last == {DEFAULT: NOT_SEEN}
    assert names(place.ask("Adopt", tunable=DEFAULT), "tunables") == ["host", "blue"]
    assert place.ask("Status")["yielded"] == []
    assert len(place.told("adopted")) == 3


@pytest.mark.parametrize("netns", [None, "red", "green"])
def test_what_is_not_the_admins_cannot_be_given_back(
    place: Place, netns: str | None
) -> None:
    place.take(BLUE)
    place.ask("Adopt", tunable=DEFAULT)
    for tunable in (DEFAULT, "net.core.default_qdisc"):
        reply = place.call("Adopt", tunable=tunable, netns=netns)
        assert reply["error"] == "io.bpftune.NoSuch"


def test_of_a_namespace_that_ended_nothing_is_given_back(place: Place) -> None:
    place.take(RED, BLUE)
    place.machine.namespaces.end(RED)
    assert names(place.ask("Adopt", tunable=DEFAULT), "tunables") == ["blue"]
    reply = place.call("Adopt", tunable=DEFAULT)
    assert reply["error"] == "io.bpftune.NoSuch"


def test_whoever_may_only_look_gives_nothing_back(place: Place) -> None:
    place.take(RED)
    reply = place.call("Adopt", uid=1000, tunable=DEFAULT)
    assert reply["error"] == "io.bpftune.NotPermitted"
    assert place.ask("Status", uid=1000)["yielded"] == [THEIRS]
