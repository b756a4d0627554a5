from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from bpftune.kernel.verdict import Verdict
from bpftune.model import Change, Netns, NetnsCookie, Tuner
from bpftune.outcome import Level
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from tests.unit.control.scene import Scene
from tests.unit.fakes import BLUE, FOUND, HOST, MIB, RED, TCP_WMEM, wmem
from tests.unit.test_daemon import STRANGER, Seen, written

GROWN = wmem(8 * MIB)


def test_status_is_one_screen_of_it_all(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.sysctls.by_admin(BLUE, wmem(5 * MIB))
    scene.see(HOST)
    scene.see(BLUE)
    scene.machine.loader.losses = {"scripted": {"ring buffer full": 3}}
    scene.machine.loader.queue(scene.tuner, Seen(STRANGER.cookie), Seen(RED.cookie))
    scene.machine.let_pass(scene.daemon, 2.5)
    status = scene.ask("Status")
    assert status["pid"] == os.getpid()
    assert (status["mode"], status["uptime_s"]) == ("tune", 2.5)
    assert [one["name"] for one in status["tuners"]] == ["sysctl", "scripted"]
    assert [one["netns"]["name"] for one in status["in_force"]] == [
        "red",
        "host",
        "blue",
    ]
    assert status["netns_tracked"] == 3
    assert status["events"] == 2
    assert status["lost"] == [
        {"cause": "network namespace gone", "count": 1},
        {"cause": "ring buffer full", "count": 3},
    ]
    assert status["cost"]["rss_bytes"] > MIB
    assert status["cost"]["cpu_s"] > 0
    assert status["cost"]["wakeups"] > 0


def test_a_tunable_has_the_way_back(scene: Scene) -> None:
    scene.see(RED)
    (one,) = scene.ask("Tunables")["tunables"]
    assert one == {
        "tunable": TCP_WMEM.name,
        "tuner": "scripted",
        "netns": {"cookie": 2, "name": "red"},
        "state": "trial",
        "found": list(FOUND),
        "expected": list(GROWN),
        "settled": list(FOUND),
        "change": "c1",
        "changes": 1,
        "undo": f"ip netns exec red sysctl -w {TCP_WMEM.name}='4096 16384 4194304'",
    }


def test_a_tuner_that_failed_or_lacks_something_says_so(scene: Scene) -> None:
    scene.machine.verdicts["sysctl"] = [
        Verdict("a", works=True),
        Verdict("see_write", works=False, reason="no cgroup2"),
    ]
    scene.tuner.failing_on = Seen
    scene.see(RED)
    states = {one["name"]: one for one in scene.ask("Status")["tuners"]}
    assert states["sysctl"]["state"] == "degraded"
    assert states["sysctl"]["why"] == "see_write: no cgroup2"
    assert states["scripted"]["state"] == "off"
    assert "ZeroDivisionError" in states["scripted"]["why"]


# --- drift -----------------------------------------------------------------------


def test_what_is_as_it_should_be_is_no_drift(scene: Scene) -> None:
    scene.see(RED)
    scene.see(BLUE)
    assert scene.ask("Verify") == {"checked": 2, "drift": []}


def test_drift_names_the_value_and_who_where_that_was_seen(scene: Scene) -> None:
    scene.see(RED)
    scene.see(BLUE)
    theirs = wmem(5 * MIB)
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.daemon.drain()
    for netns in (RED, BLUE):
        scene.machine.sysctls.by_admin(netns, theirs)
    answer = scene.ask("Verify")
    assert answer["checked"] == 2
    red, blue = answer["drift"]
    assert red == {
        "tunable": TCP_WMEM.name,
        "netns": {"cookie": 2, "name": "red"},
        "expected": list(GROWN),
        "now": list(theirs),
        "by": "uid 0 (sysctl)",
    }
    assert blue["netns"]["name"] == "blue"
    assert scene.machine.sysctls.writes[-1][2] == GROWN  # looking changes nothing


def test_a_namespace_that_is_gone_has_not_drifted(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.namespaces.end(RED)
    assert scene.ask("Verify") == {"checked": 0, "drift": []}


# --- the past ----------------------------------------------------------------------


def test_history_is_what_was_told(scene: Scene) -> None:
    scene.see(RED)
    scene.see(BLUE)
    records = scene.ask("History")["records"]
    assert [one["netns"]["name"] for one in records] == ["red", "blue"]
    assert scene.ask("History", netns="blue")["records"] == records[1:]
    assert scene.ask("History", limit=1)["records"] == records[1:]
    assert scene.ask("History", tunable="a.b")["records"] == []
    assert scene.ask("History", since="2100-01-01T00:00:00Z")["records"] == []
    reply = scene.call("History", since="yesterday")
    assert reply["parameters"] == {"parameter": "since"}


@pytest.mark.parametrize("about", ["c1", TCP_WMEM.name])
def test_explains_a_change_or_a_tunable(scene: Scene, about: str) -> None:
    scene.see(RED)
    told = scene.ask("Explain", about=about)
    assert [one["record"] for one in told["records"]] == ["change"]
    assert [one["change"] for one in told["tunables"]] == ["c1"]
    assert told["learned"] == []


@pytest.mark.parametrize("about", ["c1", TCP_WMEM.name])
def test_explains_how_often_it_paid(scene: Scene, about: str) -> None:
    scene.see(RED)
    learned = scene.daemon.learned
    learned.levels[TCP_WMEM.name] = (Level(), Level(paid=37.0, unpaid=3.0))
    told = scene.ask("Explain", about=about)["learned"]
    assert told == learned.words(TCP_WMEM.name)
    assert "at this level it paid in 37 of 40 trials" in told[0]


def test_explains_a_destination_to_root(scene: Scene) -> None:
    evidence = {"destination": "10.0.1.0/24"}
    scene.tuner.answers[Seen] = [
        Change(TCP_WMEM, GROWN, "short", trial="10.0.1.0/24", evidence=evidence)
    ]
    scene.see(RED)
    told = scene.ask("Explain", about="10.0.1.0/24")
    assert [one["change"] for one in told["records"]] == ["c1"]


class Knowing(Tuner):
    """Knows something of any destination."""

    def __init__(self, name: str = "knowing") -> None:
        super().__init__(name, "know")
        self.asked: list[tuple[str, float]] = []
        self.failing = False

    def explain(self, about: str, now_s: float) -> Iterable[str]:
        self.asked.append((about, now_s))
        yield f"cubic serves {about} best"
        if self.failing:
            raise ZeroDivisionError("division by zero")
        yield "an odd\nname"


def test_tuners_tell_what_they_know_of_a_destination(tmp_path: Path) -> None:
    tuner, other = Knowing(), Knowing("other")
    with closing(Scene(tmp_path, tuner, other)) as scene:
        told = scene.ask("Explain", about="10.0.1.0/24")
        assert told["records"] == []
        assert [(one["tuner"], one["text"]) for one in told["known"]] == [
            ("knowing", "cubic serves 10.0.1.0/24 best"),
            ("knowing", "an odd\\x0aname"),
            ("other", "cubic serves 10.0.1.0/24 best"),
            ("other", "an odd\\x0aname"),
        ]
        assert tuner.asked == [("10.0.1.0/24", scene.machine.clock.now_s)]
        assert scene.call("Explain", about="net.ipv4.none")["error"].endswith("NoSuch")
        assert len(tuner.asked) == 1  # no destination


def test_a_tuner_that_cannot_tell_is_switched_off_and_the_others_tell(
    tmp_path: Path,
) -> None:
    tuner, other = Knowing(), Knowing("other")
    tuner.failing = True
    with closing(Scene(tmp_path, tuner, other)) as scene:
        told = scene.ask("Explain", about="10.0.1.0/24")["known"]
        assert {one["tuner"] for one in told} == {"other"}
        assert tuner not in scene.daemon.tuners
        assert "ZeroDivisionError" in scene.told("degraded")[0].why


def test_nobody_finds_out_by_asking_what_tuners_know(tmp_path: Path) -> None:
    tuner = Knowing()
    with closing(Scene(tmp_path, tuner)) as scene:
        for about in ("10.0.1.0/24", "10.0.1.7", "2001:db8::/48", "::1"):
            reply = scene.call("Explain", 1000, about=about)
            assert reply["error"] == "io.bpftune.NotPermitted"
        assert tuner.asked == []


@pytest.mark.parametrize("about", ["c9", "net.ipv4.nothing", "", "\x1b[2J"])
def test_there_is_nothing_to_tell_of_what_there_is_not(
    scene: Scene, about: str
) -> None:
    scene.see(RED)
    reply = scene.call("Explain", about=about)
    assert reply["error"] == "io.bpftune.NoSuch"
    assert reply["parameters"]["what"].isprintable()


# --- many --------------------------------------------------------------------------


def test_a_thousand_namespaces_are_answered_in_steps(scene: Scene) -> None:
    scene.tuner.give_up_after = 10_000
    for number in range(1000):
        netns = Netns(NetnsCookie(1000 + number), f"n{number}")
        scene.machine.namespaces.add(netns)
        scene.see(netns)
    for method in ("Status", "Tunables", "Verify"):
        steps = scene.steps(method)
        assert sum(step is None for step in steps) >= 1000 // 64 - 1
    assert len(scene.ask("Status")["in_force"]) == 1000
    assert scene.ask("Verify")["checked"] == 1000
