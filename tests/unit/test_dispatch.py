"""What a tuner asks of its tables and of sysctls that are no numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from bpftune import tables
from bpftune.model import (
    Event,
    Facts,
    NetnsCookie,
    Put,
    ReadText,
    Request,
    Table,
    Take,
    Taken,
    TextRead,
    Tuner,
)
from tests.unit.fakes import BLUE, HOST, RED, FakeMachine, FakeMap


@dataclass(frozen=True)
class Key:
    netns_cookie: NetnsCookie


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """What its BPF program would emit."""


TABLE = Table("table", Key, Key)
NAMES = ("net.ipv4.tcp_congestion_control", "net.ipv4.no_such_thing")


class Scripted(Tuner):
    """Answers one event with what it is told, and remembers the others."""

    def __init__(self, *answers: Request) -> None:
        super().__init__("scripted", "as it is told")
        self.answers = answers
        self.heard: list[Event] = []

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        del facts
        if isinstance(event, Seen):
            return self.answers
        self.heard.append(event)
        return ()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    monkeypatch.setattr(tables, "BpfMap", FakeMap)
    return FakeMachine(RED, BLUE)


def rows(machine: FakeMachine, tuner: Tuner) -> dict[Key, Key]:
    return machine.loader.object(tuner).setdefault(TABLE.name, {})


def test_what_is_taken_comes_back_for_each_namespace(machine: FakeMachine) -> None:
    tuner = Scripted(Take(TABLE))
    for netns in (RED, BLUE, HOST):
        rows(machine, tuner)[Key(netns.cookie)] = Key(netns.cookie)
    machine.daemon(tuner, only_netns="").handle(tuner, Seen(RED.cookie))
    assert tuner.heard == [
        Taken(n.cookie, TABLE, ((Key(n.cookie), Key(n.cookie)),))
        for n in (RED, BLUE, HOST)
    ]


def test_a_laboratorys_daemon_hears_nothing_of_other_namespaces(
    machine: FakeMachine,
) -> None:
    tuner = Scripted(Take(TABLE))
    for netns in (RED, BLUE):
        rows(machine, tuner)[Key(netns.cookie)] = Key(netns.cookie)
    machine.daemon(tuner, only_netns=str(RED)).handle(tuner, Seen(RED.cookie))
    assert [event.netns_cookie for event in tuner.heard] == [RED.cookie]


@pytest.mark.parametrize("only", ["", str(RED)])
def test_what_is_heard_of_a_namespace_that_ended_is_counted(
    machine: FakeMachine, only: str
) -> None:
    tuner = Scripted()
    daemon = machine.daemon(tuner, only_netns=only)
    machine.namespaces.end(RED)
    daemon.handle(tuner, Seen(RED.cookie))
    daemon.handle(tuner, Seen(BLUE.cookie))  # there, though outside of *only*
    assert daemon.lost == {"network namespace gone": 1}


def test_observing_puts_nothing_into_tables(machine: FakeMachine) -> None:
    tuner = Scripted(Put(TABLE, Key(RED.cookie), Key(RED.cookie)))
    machine.daemon(tuner, observe=True).handle(tuner, Seen(RED.cookie))
    assert rows(machine, tuner) == {}
    machine.daemon(tuner).handle(tuner, Seen(RED.cookie))
    assert list(rows(machine, tuner)) == [Key(RED.cookie)]


def test_a_row_of_another_namespace_ends_the_tuner_and_what_it_had_put(
    machine: FakeMachine,
) -> None:
    tuner = Scripted(*(Put(TABLE, Key(n.cookie), Key(n.cookie)) for n in (RED, BLUE)))
    daemon = machine.daemon(tuner)
    daemon.handle(tuner, Seen(RED.cookie))
    assert daemon.tuners == []
    assert rows(machine, tuner) == {}
    assert "another network namespace" in machine.told("degraded")[0].why


def test_rows_go_with_their_namespace(machine: FakeMachine) -> None:
    tuner = Scripted(Put(TABLE, Key(RED.cookie), Key(RED.cookie)))
    daemon = machine.daemon(tuner)
    daemon.handle(tuner, Seen(RED.cookie))
    machine.namespaces.end(RED)
    daemon.handle(tuner, Seen(RED.cookie))
    assert rows(machine, tuner) == {}


def test_texts_are_read_where_the_event_was(machine: FakeMachine) -> None:
    tuner = Scripted(ReadText(NAMES))
    machine.sysctls.texts[RED.cookie, NAMES[0]] = "cubic"
    machine.sysctls.texts[BLUE.cookie, NAMES[0]] = "bbr"
    machine.daemon(tuner).handle(tuner, Seen(RED.cookie))
    assert tuner.heard == [TextRead(RED.cookie, {NAMES[0]: "cubic"})]
