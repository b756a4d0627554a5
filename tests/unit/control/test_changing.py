from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from bpftune import tables
from bpftune.control.service import Service
from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import (
    Advise,
    Change,
    Netns,
    NetnsCookie,
    Put,
    Rejected,
    Table,
    Tunable,
    Yielded,
)
from bpftune.tuners.tcp_buffer import TcpBuffer
from bpftune.tuners.tcp_buffer.events import SndbufLimited
from tests.unit.control.scene import Scene
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_WMEM,
    FakeMap,
    prefix,
    wmem,
)
from tests.unit.policy.world import World
from tests.unit.test_daemon import Seen, raised

GROWN = wmem(8 * MIB)
FIXED = Tunable("net.ipv4.tcp_moderate_rcvbuf")
CHANGING: dict[str, dict[str, Any]] = {
    "Apply": {"id": "640438"},
    "Ignore": {"id": "640438"},
    "Rollback": {"all": True},
    "Pause": {},
    "Resume": {},
    "Adopt": {"tunable": TCP_WMEM.name},
}


# --- who may -------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("uid", [65534, 1000, 2**32 - 2])
def test_nobody_but_root_changes_anything(scene: Scene, name: str, uid: int) -> None:
    scene.see()
    told = scene.kinds()
    reply = scene.call(name, uid, **CHANGING[name])
    assert reply["error"] == "io.bpftune.NotPermitted"
    assert scene.kinds() == told
    assert scene.machine.sysctls.largest(HOST) == GROWN[2]


def test_every_method_is_either_for_all_or_for_root(scene: Scene) -> None:
    service = cast("Service", scene.control.server._service)
    assert {*service._changes} == {*CHANGING}
    assert {*service._looks} | {*CHANGING, "Watch"} == {*service._expected}


# --- advice --------------------------------------------------------------------


def the_advice(scene: Scene) -> dict[str, object]:
    (one,) = scene.ask("Advise")["advice"]
    found: dict[str, object] = one
    return found


def test_what_would_be_changed_is_advice_that_can_be_applied(observing: Scene) -> None:
    observing.see(RED)
    advice = the_advice(observing)
    assert advice["old"] == list(FOUND)
    assert advice["new"] == list(GROWN)
    assert (
        advice["do"]
        == f"ip netns exec red sysctl -w {TCP_WMEM.name}='4096 16384 8388608'"
    )
    assert re.fullmatch("[0-9a-f]{6}", str(advice["id"]))
    assert observing.ask("Status")["advice"] == 1
    assert not observing.machine.sysctls.writes

    record = observing.ask("Apply", id=advice["id"])["record"]
    assert record["record"] == "change"
    assert record["new"] == list(GROWN)
    assert record["reason"] == "admin"
    assert record["undo"].endswith("'4096 16384 4194304'")
    assert observing.machine.sysctls.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]
    assert observing.kinds() == ["advice", "change", "kept"]
    (one,) = observing.ask("Status")["in_force"]
    assert (one["state"], one["settled"]) == ("ours", list(GROWN))
    assert observing.ask("Advise") == {"advice": []}


def test_what_is_the_admins_own_choice_can_be_applied_too(scene: Scene) -> None:
    scene.machine.sysctls.values[RED.cookie, FIXED.name] = (0,)
    scene.tuner.answers[Seen] = [Advise(FIXED, (0,), (1,), "it holds receivers back")]
    scene.see(RED)
    record = scene.ask("Apply", id=the_advice(scene)["id"])["record"]
    assert record["tunable"] == FIXED.name
    assert scene.machine.sysctls.read(RED.cookie, FIXED.name) == (1,)
    steps = scene.ask("Rollback", tunable=FIXED.name)["steps"]
    assert [step["action"] for step in steps] == ["set"]
    assert scene.machine.sysctls.read(RED.cookie, FIXED.name) == (0,)


def test_advice_is_not_applied_over_what_somebody_set_meanwhile(
    observing: Scene,
) -> None:
    observing.see(RED)
    mark = the_advice(observing)["id"]
    observing.machine.sysctls.by_admin(RED, wmem(5 * MIB))
    reply = observing.call("Apply", id=mark)
    assert reply["error"] == "io.bpftune.Refused"
    assert "4096 16384 5242880 now" in reply["parameters"]["why"]
    assert not observing.machine.sysctls.writes


def test_advice_goes_through_the_governor(observing: Scene) -> None:
    huge = Change(TCP_WMEM, wmem(2**31 - 1), "all of it", trial="x")
    observing.tuner.answers[Seen] = [huge]
    observing.see(RED)
    assert observing.ask("Advise") == {"advice": []}  # it was refused at once
    observing.tuner.answers[Seen] = [raised()]
    observing.see(RED)
    mark = the_advice(observing)["id"]
    observing.ask("Pause", what="red")
    reply = observing.call("Apply", id=mark)
    assert reply["parameters"]["why"] == "paused by the admin"
    assert not observing.machine.sysctls.writes


def test_what_the_kernel_refuses_is_told(observing: Scene) -> None:
    observing.see(RED)
    observing.machine.sysctls.refusing = SysctlError("EINVAL from the kernel", 22)
    reply = observing.call("Apply", id=the_advice(observing)["id"])
    assert reply["error"] == "io.bpftune.Refused"
    assert "EINVAL" in reply["parameters"]["why"]


def test_advice_about_what_is_gone_is_gone(observing: Scene) -> None:
    observing.see(RED)
    mark = the_advice(observing)["id"]
    observing.machine.namespaces.end(RED)
    observing.machine.let_pass(observing.daemon, 61)
    assert observing.ask("Advise") == {"advice": []}
    for name in ("Apply", "Ignore"):
        assert observing.call(name, id=mark)["error"] == "io.bpftune.NoSuch"


def test_what_is_ignored_is_listed_and_told_no_more(observing: Scene) -> None:
    observing.see(RED)
    mark = the_advice(observing)["id"]
    assert observing.ask("Ignore", id=mark) == {}
    assert the_advice(observing)["ignored"] is True
    assert observing.ask("Status")["advice"] == 0
    told = len(observing.told("advice"))
    observing.see(RED)
    assert len(observing.told("advice")) == told
    observing.see(BLUE)
    assert len(observing.told("advice")) == told + 1
    text = (observing.state_dir / "ignored.json").read_text()
    assert json.loads(text) == {"version": 1, "ignored": [mark]}


def test_a_list_that_cannot_be_kept_is_told(observing: Scene) -> None:
    observing.see(RED)
    (observing.state_dir / "ignored.json").mkdir()
    assert observing.ask("Ignore", id=the_advice(observing)["id"]) == {}
    assert "ignored until the daemon stops" in observing.told("degraded")[0].why


# --- pauses --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *((None, "everything"), ("scripted", "scripted")),
        *((TCP_WMEM.name, TCP_WMEM.name), ("red", "red"), ("#2", "red")),
    ],
)
def test_a_paused_thing_gets_no_change(
    scene: Scene, what: str | None, name: str
) -> None:
    assert scene.ask("Pause", what=what) == {"paused": [name], "rows": []}
    scene.see(RED)
    assert not scene.machine.sysctls.writes
    assert scene.told("rejected")[0].why == "paused by the admin"
    assert scene.told("paused")[0].why == f"{name}, by the admin, until resumed"
    assert scene.ask("Status")["paused"] == [name]
    assert {one["state"] for one in scene.ask("Tunables")["tunables"]} == {"paused"}
    assert scene.ask("Resume", what=what) == {"paused": [], "rows": []}
    assert scene.told("resumed")[0].why == f"{name}, by the admin"
    scene.see(RED)
    assert scene.machine.sysctls.largest(RED) == GROWN[2]


def test_a_pause_takes_back_what_is_on_trial_and_says_so_to_its_tuner(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.see(BLUE)
    scene.ask("Pause", what="red")
    assert scene.machine.sysctls.largest(RED) == FOUND[2]
    assert scene.machine.sysctls.largest(BLUE) == GROWN[2]
    (back,) = scene.told("taken_back")
    assert "paused by the admin" in back.why
    heard = [one for one in scene.tuner.heard if isinstance(one, Rejected)]
    assert heard == [Rejected(RED.cookie, TCP_WMEM, GROWN, "paused by the admin")]


def test_a_real_tuner_does_not_go_on_as_if_its_trial_were_on(tmp_path: Path) -> None:
    tuner = TcpBuffer()
    scene = Scene(tmp_path, tuner)
    machine, daemon = scene.machine, scene.daemon
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world
    hint = SndbufLimited(RED.cookie, prefix(1), 0, 200_000)
    try:
        machine.loader.queue(tuner, hint)
        machine.let_pass(daemon, 6.0)
        assert scene.kinds() == ["change"]
        scene.ask("Pause")
        assert machine.sysctls.largest(RED) == FOUND[2]
        written = len(machine.sysctls.writes)
        for _ in range(20):
            machine.loader.queue(tuner, hint)
            machine.let_pass(daemon, 600.0)
        assert len(machine.sysctls.writes) == written
        scene.ask("Resume")
        for _ in range(20):
            machine.loader.queue(tuner, hint)
            machine.let_pass(daemon, 600.0)
        assert machine.sysctls.largest(RED) > 8 * MIB
        assert not world.starved()
    finally:
        scene.close()


def test_what_the_admin_takes_while_paused_is_theirs(scene: Scene) -> None:
    scene.see(RED)
    scene.ask("Pause")
    scene.machine.sysctls.by_admin(RED, wmem(5 * MIB))
    scene.see(RED)
    (one,) = scene.ask("Status")["yielded"]
    assert one["expected"] == list(wmem(5 * MIB))


@pytest.mark.parametrize("name", ["Pause", "Resume"])
@pytest.mark.parametrize("what", ["green", "", "net.ipv4.nothing", "\x1b[2J\n"])
def test_what_there_is_not_is_not_paused(scene: Scene, name: str, what: str) -> None:
    reply = scene.call(name, what=what)
    assert reply["error"] == "io.bpftune.NoSuch"
    assert "\x1b" not in json.loads(json.dumps(reply))["parameters"]["what"]


def test_resumes_all_at_once(scene: Scene) -> None:
    for what in ("red", "scripted", None):
        scene.ask("Pause", what=what)
    assert scene.ask("Resume")["paused"] == []
    assert len(scene.told("resumed")) == 3


# --- the way back ----------------------------------------------------------------


def grown(scene: Scene) -> None:
    for netns in (HOST, RED, BLUE):
        scene.see(netns)


def test_a_dry_run_tells_what_would_be_done_and_does_not(scene: Scene) -> None:
    grown(scene)
    steps = scene.ask("Rollback", all=True, dry_run=True)["steps"]
    assert [step["netns"]["name"] for step in steps] == ["host", "red", "blue"]
    assert {step["action"] for step in steps} == {"set"}
    assert {tuple(step["now"]) for step in steps} == {GROWN}
    assert {tuple(step["new"]) for step in steps} == {FOUND}
    assert scene.machine.sysctls.largest(RED) == GROWN[2]
    assert not scene.told("rolled_back")


def test_all_goes_back_and_stays_until_it_is_adopted(scene: Scene) -> None:
    grown(scene)
    steps = scene.ask("Rollback", all=True)["steps"]
    assert [step["action"] for step in steps] == ["set"] * 3
    for netns in (HOST, RED, BLUE):
        assert scene.machine.sysctls.largest(netns) == FOUND[2]
        assert Yielded(netns.cookie, TCP_WMEM) in scene.tuner.heard
    assert len(scene.told("rolled_back")) == 3
    grown(scene)
    assert scene.machine.sysctls.largest(RED) == FOUND[2]
    scene.ask("Adopt", tunable=TCP_WMEM.name, netns="red")
    grown(scene)
    assert scene.machine.sysctls.largest(RED) == GROWN[2]
    assert scene.machine.sysctls.largest(BLUE) == FOUND[2]


@pytest.mark.parametrize(
    ("what", "back"),
    [
        ({"netns": "red"}, [RED]),
        ({"netns": "#2"}, [RED]),
        ({"change": "c3"}, [BLUE]),
        ({"tunable": TCP_WMEM.name}, [HOST, RED, BLUE]),
        ({"tunable": TCP_WMEM.name, "netns": "host"}, [HOST]),
    ],
)
def test_a_part_goes_back(
    scene: Scene, what: dict[str, Any], back: list[object]
) -> None:
    grown(scene)
    scene.ask("Rollback", **what)
    for netns in (HOST, RED, BLUE):
        there = FOUND if netns in back else GROWN
        assert scene.machine.sysctls.largest(netns) == there[2]


def test_what_the_admin_set_since_is_never_written_over(scene: Scene) -> None:
    grown(scene)
    theirs = wmem(5 * MIB)
    scene.machine.sysctls.by_admin(RED, theirs)
    steps = scene.ask("Rollback", all=True)["steps"]
    actions = {step["netns"]["name"]: step["action"] for step in steps}
    assert actions == {"host": "set", "red": "skip", "blue": "set"}
    assert scene.machine.sysctls.largest(RED) == theirs[2]


def test_a_namespace_that_is_gone_is_skipped_with_a_word(scene: Scene) -> None:
    grown(scene)
    scene.machine.namespaces.end(RED)
    steps = scene.ask("Rollback", all=True)["steps"]
    (gone,) = [step for step in steps if step["netns"]["name"] == "red"]
    assert gone["action"] == "skip"
    assert "gone" in gone["why"]


@pytest.mark.parametrize("what", [{}, {"dry_run": True}, {"all": False}])
def test_all_is_to_be_said_in_so_many_words(scene: Scene, what: dict[str, Any]) -> None:
    grown(scene)
    reply = scene.call("Rollback", **what)
    assert reply["error"] == "org.varlink.service.InvalidParameter"
    assert reply["parameters"] == {"parameter": "all"}
    assert scene.machine.sysctls.largest(RED) == GROWN[2]


@pytest.mark.parametrize(
    "what", [{"change": "c99"}, {"netns": "green"}, {"tunable": "net.core.nothing"}]
)
def test_what_there_is_not_cannot_go_back(scene: Scene, what: dict[str, Any]) -> None:
    grown(scene)
    assert scene.call("Rollback", **what)["error"] == "io.bpftune.NoSuch"


def test_nothing_to_do_is_no_error(scene: Scene) -> None:
    assert scene.ask("Rollback", all=True) == {"steps": [], "rows": []}


# --- rows of tables --------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    netns_cookie: NetnsCookie
    number: int


PLACES = Table("places", Place, Place)


@pytest.fixture
def putting(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Let the tuner have two rows for the host and one for each other namespace."""
    monkeypatch.setattr(tables, "BpfMap", FakeMap)
    for netns, numbers in ((HOST, (1, 2)), (RED, (3,)), (BLUE, (4,))):
        put(scene, netns, *numbers)
    return scene


def put(scene: Scene, netns: Netns, *numbers: int) -> None:
    keys = [Place(netns.cookie, number) for number in numbers]
    scene.tuner.answers[Seen] = [Put(PLACES, key, key) for key in keys]
    scene.see(netns)


def there(scene: Scene) -> set[int]:
    """Return the numbers that the kernel has."""
    found = scene.machine.loader.object(scene.tuner).get(PLACES.name, {})
    return {key.number for key in found}


def moved(destinations: int) -> list[dict[str, object]]:
    return [{"tuner": "scripted", "destinations": destinations}]


def test_status_tells_for_how_many_destinations_something_is_in_force(
    putting: Scene,
) -> None:
    shapes = putting.ask("Status")["tuners"]
    assert {one["name"]: one["destinations"] for one in shapes} == {
        "sysctl": 0,
        "scripted": 4,
    }


@pytest.mark.parametrize(
    ("what", "stay"), [(None, set()), ("scripted", set()), ("red", {1, 2, 4})]
)
def test_rows_of_what_is_paused_are_not_in_force_until_it_is_resumed(
    putting: Scene, what: str | None, stay: set[int]
) -> None:
    answer = putting.ask("Pause", what=what)
    assert there(putting) == stay
    count = 4 - len(stay)
    assert answer["rows"] == moved(count)
    (told,) = putting.told("paused")
    many = "1 destination" if count == 1 else f"{count} destinations"
    assert told.why.endswith(f"until resumed: {many} of scripted back to the default")
    put(putting, RED, 5)
    assert there(putting) == stay
    answer = putting.ask("Resume", what=what)
    assert there(putting) == {1, 2, 3, 4, 5}
    assert answer == {"paused": [], "rows": moved(count + 1)}
    (told,) = putting.told("resumed")
    assert told.why.endswith("of scripted in force again")


def test_rows_come_back_when_nothing_pauses_them_any_more(putting: Scene) -> None:
    putting.ask("Pause", what="red")
    assert putting.ask("Pause")["rows"] == moved(3)
    assert putting.ask("Resume", what="everything")["rows"] == moved(3)
    assert there(putting) == {1, 2, 4}
    assert putting.ask("Resume")["rows"] == moved(1)


def test_what_tuners_know_is_told_with_where_it_is_not_in_force(
    putting: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known() -> list[str]:
        told = putting.ask("Explain", about="10.0.1.0/24")["known"]
        return [one["text"] for one in told]

    monkeypatch.setattr(putting.tuner, "explain", lambda about, _: [f"{about}: bbr"])
    assert known() == ["10.0.1.0/24: bbr"]
    for what in ("red", "blue"):
        putting.ask("Pause", what=what)
    assert known() == [
        "10.0.1.0/24: bbr",
        "not in force in blue, red: paused by the admin",
    ]
    monkeypatch.setattr(putting.tuner, "explain", lambda *_: [])
    assert putting.call("Explain", about="10.0.1.0/24")["error"].endswith("NoSuch")


def test_a_pause_of_a_tunable_leaves_rows_as_they_are(putting: Scene) -> None:
    assert putting.ask("Pause", what=TCP_WMEM.name)["rows"] == []
    assert there(putting) == {1, 2, 3, 4}


def test_a_rollback_of_all_takes_rows_out_until_they_are_resumed(
    putting: Scene,
) -> None:
    assert putting.ask("Rollback", all=True, dry_run=True)["rows"] == moved(4)
    assert there(putting) == {1, 2, 3, 4}
    assert putting.told("paused") == []
    assert putting.ask("Rollback", all=True)["rows"] == moved(4)
    assert there(putting) == set()
    put(putting, HOST, 5)
    assert there(putting) == set()
    (told,) = putting.told("paused")
    assert told.why == (
        "scripted, by a rollback, until resumed: 4 destinations of scripted back to "
        "the default"
    )
    assert putting.ask("Status")["paused"] == ["scripted"]
    assert putting.ask("Rollback", all=True)["rows"] == []
    assert putting.ask("Resume", what="scripted")["rows"] == moved(5)
    assert there(putting) == {1, 2, 3, 4, 5}


def test_a_rollback_outlives_the_end_of_an_earlier_pause(putting: Scene) -> None:
    putting.ask("Pause", what="red")
    putting.ask("Rollback", all=True)
    putting.ask("Resume", what="red")
    assert there(putting) == set()


@pytest.mark.parametrize("resumed", ["scripted", "red", "scripted in red", "#2", None])
def test_a_rollback_of_a_namespace_takes_out_its_rows_only(
    putting: Scene, resumed: str | None
) -> None:
    assert putting.ask("Rollback", netns="red", dry_run=True)["rows"] == moved(1)
    assert putting.ask("Rollback", netns="#2")["rows"] == moved(1)
    assert there(putting) == {1, 2, 4}
    assert putting.ask("Status")["paused"] == ["scripted in red"]
    put(putting, RED, 5)
    put(putting, BLUE, 6)
    assert there(putting) == {1, 2, 4, 6}
    putting.tuner.answers[Seen] = [raised()]
    putting.see(RED)  # its sysctls are another matter
    assert putting.machine.sysctls.largest(RED) == GROWN[2]
    assert putting.ask("Resume", what=resumed)["rows"] == moved(2)
    assert there(putting) == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    "what", [{"tunable": TCP_WMEM.name}, {"tunable": TCP_WMEM.name, "netns": "red"}]
)
def test_a_rollback_of_a_tunable_leaves_rows_as_they_are(
    putting: Scene, what: dict[str, Any]
) -> None:
    assert putting.ask("Rollback", **what)["rows"] == []
    assert there(putting) == {1, 2, 3, 4}


def test_rows_that_do_not_fit_any_more_are_told(
    putting: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise BpfError("map places is full", 7)

    putting.ask("Pause")
    monkeypatch.setattr(FakeMap, "put", full)
    assert putting.ask("Resume")["rows"] == []
    (told,) = putting.told("degraded")
    assert (told.tuner, "map places is full" in told.why) == ("scripted", True)
    assert putting.ask("Status")["tuners"][1]["destinations"] == 0


# --- back from the admin ---------------------------------------------------------


def taken(scene: Scene) -> None:
    grown(scene)
    for netns in (RED, BLUE):
        scene.machine.sysctls.by_admin(netns, wmem(5 * MIB))
    grown(scene)
    assert len(scene.ask("Status")["yielded"]) == 2


def test_what_the_admin_took_is_tuned_again_once_they_say_so(scene: Scene) -> None:
    taken(scene)
    (one,) = scene.ask("Adopt", tunable=TCP_WMEM.name, netns="red")["tunables"]
    assert one["netns"]["name"] == "red"
    assert one["state"] == "found"
    (told,) = scene.told("adopted")
    assert told.new == wmem(5 * MIB)
    scene.see(RED)
    assert scene.machine.sysctls.largest(RED) == GROWN[2]
    scene.see(BLUE)
    assert scene.machine.sysctls.largest(BLUE) == 5 * MIB


def test_everywhere_is_what_no_namespace_means(scene: Scene) -> None:
    taken(scene)
    adopted = scene.ask("Adopt", tunable=TCP_WMEM.name)["tunables"]
    assert [one["netns"]["name"] for one in adopted] == ["red", "blue"]
    assert scene.ask("Status")["yielded"] == []


def test_what_is_not_the_admins_cannot_be_adopted(scene: Scene) -> None:
    grown(scene)
    for netns in (None, "red", "green"):
        reply = scene.call("Adopt", tunable=TCP_WMEM.name, netns=netns)
        assert reply["error"] == "io.bpftune.NoSuch"


# --- what goes wrong ---------------------------------------------------------------


def test_a_mistake_of_ours_is_answered_and_tuning_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> NoReturn:
        raise ZeroDivisionError("a mistake")

    service = cast("Service", scene.control.server._service)
    monkeypatch.setitem(service._changes, "Pause", fail)
    reply = scene.call("Pause")
    assert reply["error"] == "io.bpftune.Refused"
    assert "ZeroDivisionError: a mistake" in reply["parameters"]["why"]
    assert "Pause failed" in scene.told("degraded")[0].why
    assert scene.ask("Status")["mode"] == "tune"
