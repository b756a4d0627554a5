"""What tuners ask for and what changes no tunable."""

from __future__ import annotations

from typing import cast

import pytest

from bpftune.agenda import Agenda
from bpftune.arrange import Arranger
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.machine import Machine
from bpftune.model import (
    NetnsCookie,
    Nudge,
    ReadText,
    Survey,
    Tell,
    TextRead,
    Tuner,
    Wake,
    Watch,
)
from bpftune.pauses import Pauses
from bpftune.records import Record
from bpftune.tables import Tables
from tests.unit.fakes import BLUE, RED, TCP_RMEM, FakeMachine, prefix

TUNER = Tuner("some", "asks")


class Desk:
    """An arranger on a machine with two namespaces, BLUE outside if *only_red*."""

    def __init__(self, *, only_red: bool = False) -> None:
        self.machine = FakeMachine(RED, BLUE)
        self.agenda = Agenda()
        self.told: list[Record] = []
        self.unreachable: list[NetnsCookie] = []
        self.paused = Pauses()
        machine = cast("Machine", self.machine)
        self.arranger = Arranger(
            machine,
            self.agenda,
            Tables(machine.loader, self.paused, machine.namespaces.find),
            self.told.append,
            lambda cookie: only_red and cookie != RED.cookie,
            self.unreachable.append,
        )

    def surveyed(self) -> set[NetnsCookie]:
        return {cookie for _, _, cookie in self.machine.loader.iterated}


def test_looks_and_timers_go_on_the_agenda() -> None:
    desk = Desk()
    assert not desk.arranger.do(TUNER, RED.cookie, Wake("later", 5), 100.0)
    assert desk.agenda.next_s() == 105.0
    assert not desk.arranger.do(TUNER, RED.cookie, Watch(prefix(1), 0.5, 3), 100.0)
    assert desk.agenda.is_looking


def test_a_survey_is_of_one_namespace_or_of_all() -> None:
    desk = Desk()
    desk.arranger.do(TUNER, RED.cookie, Survey("list"), 0.0)
    assert desk.surveyed() == {RED.cookie}
    desk.arranger.do(TUNER, RED.cookie, Survey("list", everywhere=True), 0.0)
    assert desk.surveyed() >= {RED.cookie, BLUE.cookie}


def test_what_is_outside_is_not_surveyed() -> None:
    desk = Desk(only_red=True)
    desk.arranger.do(TUNER, RED.cookie, Survey("list", everywhere=True), 0.0)
    assert desk.surveyed() == {RED.cookie}


def test_one_namespace_that_cannot_be_surveyed_costs_the_others_nothing() -> None:
    desk = Desk()
    loader = desk.machine.loader
    loader.broken = {RED.cookie: KernelError("no"), BLUE.cookie: NetnsGoneError("gone")}
    desk.arranger.do(TUNER, RED.cookie, Survey("list", everywhere=True), 0.0)
    assert [record.why for record in desk.told] == ["no"]
    assert desk.unreachable == [BLUE.cookie]
    assert desk.surveyed() == {desk.machine.namespaces.host.cookie}


def test_a_nudge_is_made_in_the_namespace() -> None:
    desk = Desk()
    desk.arranger.do(TUNER, RED.cookie, Nudge(TCP_RMEM, prefix(1), 7), 0.0)
    assert desk.machine.sockets.nudges == [(RED.cookie, prefix(1), 7)]


def test_a_nudge_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    def fail(*_: object) -> int:
        raise KernelError("no room")

    monkeypatch.setattr(desk.machine.sockets, "nudge", fail)
    desk.arranger.do(TUNER, RED.cookie, Nudge(TCP_RMEM, prefix(1), 7), 0.0)
    assert [(one.record, one.why) for one in desk.told] == [("degraded", "no room")]


def test_what_became_of_a_destination_is_a_record() -> None:
    desk = Desk()
    told = Tell("chosen", prefix(1), "bbr from now on", {"flows": 41})
    assert not desk.arranger.do(TUNER, RED.cookie, told, 0.0)
    facts = {
        "destination": "10.0.1.0/24",
        "in_force": True,
        "evidence": {"flows": 41},
    }
    undo = "bpftune pause some"
    assert desk.told == [
        Record("chosen", "bbr from now on", "some", netns=RED, undo=undo, extra=facts)
    ]


def test_what_is_paused_is_not_told_as_if_it_were_in_force() -> None:
    desk = Desk()
    desk.paused.pause("red")
    for kind in ("tries", "chosen", "ended"):
        desk.arranger.do(TUNER, RED.cookie, Tell(kind, prefix(1), "bbr"), 0.0)
    desk.paused.resume("red")
    desk.arranger.do(TUNER, RED.cookie, Tell("tries", prefix(1), "bbr"), 0.0)
    assert [(one.why, one.extra.get("in_force"), one.undo) for one in desk.told] == [
        ("bbr (not in force: paused by the admin)", False, None),
        ("bbr (not in force: paused by the admin)", False, None),
        ("bbr", None, None),
        ("bbr", True, None),
    ]


def test_a_record_of_no_kind_or_of_a_namespace_that_is_gone_is_none() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="no records of the kind 'shouted'"):
        desk.arranger.do(TUNER, RED.cookie, Tell("shouted", prefix(1), "x"), 0.0)
    desk.machine.namespaces.end(RED)
    with pytest.raises(NetnsGoneError):
        desk.arranger.do(TUNER, RED.cookie, Tell("tries", prefix(1), "x"), 0.0)
    assert desk.told == []


def test_texts_that_are_not_there_are_left_out() -> None:
    desk = Desk()
    desk.machine.sysctls.texts[RED.cookie, "a.b"] = "cubic"
    answers = desk.arranger.do(TUNER, RED.cookie, ReadText(("a.b", "a.c")), 0.0)
    assert list(answers) == [TextRead(RED.cookie, {"a.b": "cubic"})]
