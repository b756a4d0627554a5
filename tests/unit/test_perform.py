"""Who does what a tuner asks for, and when a trial has taught something."""

from __future__ import annotations

from typing import cast

import pytest

from bpftune.agenda import Agenda
from bpftune.arrange import Arranger
from bpftune.carry import Carrier
from bpftune.learned import Learned
from bpftune.ledger import Ledger
from bpftune.machine import Machine
from bpftune.model import (
    Advise,
    Change,
    Event,
    Keep,
    NetnsCookie,
    Nudge,
    Rejected,
    Request,
    Tell,
    Tuner,
    Wake,
    Yield,
)
from bpftune.perform import Performer
from bpftune.records import Record
from bpftune.tables import Tables
from tests.unit.fakes import (
    FOUND,
    MIB,
    RED,
    TCP_WMEM,
    FakeMachine,
    facts,
    prefix,
    wmem,
)
from tests.unit.test_outcome import trial

TUNER = Tuner("some", "asks", (TCP_WMEM,))
GROWN = wmem(8 * MIB)
RAISED = Change(TCP_WMEM, GROWN, "it is short", trial="10.0.1.0/24", tried=trial())
KEPT = Keep(TCP_WMEM, "it paid", proved=True, tried=trial())


class Stage:
    """A performer on a machine with one namespace."""

    def __init__(self, *, observe: bool = False) -> None:
        self.machine = FakeMachine(RED)
        self.told: list[Record] = []
        self.handed_over: list[tuple[Yield, NetnsCookie]] = []
        self.agenda, self.ledger, self.learned = Agenda(), Ledger(), Learned(0.0)
        self.ledger.meet(RED, TCP_WMEM, TUNER.name, FOUND)
        machine = cast("Machine", self.machine)
        carrier = Carrier(
            self.ledger,
            machine.sysctls,
            self.told.append,
            machine.namespaces.undo_prefix,
            observe=observe,
        )
        tables = Tables(machine.loader)
        arranger = Arranger(
            machine,
            self.agenda,
            tables,
            self.told.append,
            lambda _: False,
            lambda _: None,
        )
        self.performer = Performer(
            self.ledger,
            self.learned,
            carrier,
            arranger,
            lambda *about: self.handed_over.append(about),
        )

    def do(self, request: Request) -> list[Event]:
        now = facts(netns=RED)
        return list(self.performer.do(TUNER, RED.cookie, request, now))

    def kinds(self) -> list[str]:
        return [record.record for record in self.told]


def test_a_change_is_made_and_what_it_tells_is_learned() -> None:
    stage = Stage()
    assert stage.do(RAISED) == []
    assert stage.machine.sysctls.largest(RED) == GROWN[2]
    assert stage.learned.changed


def test_a_change_that_is_refused_is_heard_and_teaches_nothing() -> None:
    stage = Stage(observe=True)
    assert stage.do(RAISED) == [Rejected(RED.cookie, TCP_WMEM, GROWN, "observing")]
    assert not stage.learned.changed


@pytest.mark.parametrize("is_on_trial", [False, True])
def test_only_a_trial_that_was_on_teaches_as_it_is_kept(is_on_trial: bool) -> None:
    stage = Stage()
    if is_on_trial:
        stage.do(Change(TCP_WMEM, GROWN, "it is short", trial="10.0.1.0/24"))
    assert stage.do(KEPT) == []
    assert stage.learned.changed == is_on_trial


def test_receivers_are_nudged_only_while_it_is_on_trial() -> None:
    stage = Stage()
    nudge = Nudge(TCP_WMEM, prefix(1), 7)
    assert stage.do(nudge) == []
    assert stage.machine.sockets.nudges == []
    stage.do(RAISED)
    stage.do(nudge)
    assert stage.machine.sockets.nudges == [(RED.cookie, prefix(1), 7)]


def test_the_rest_goes_to_whom_it_concerns() -> None:
    stage = Stage()
    stage.do(Advise(TCP_WMEM, FOUND, GROWN, "it limits"))
    stage.do(Tell("tries", prefix(1), "bbr"))
    assert stage.kinds() == ["advice", "tries"]
    handed = Yield(TCP_WMEM, "somebody set it")
    stage.do(handed)
    assert stage.handed_over == [(handed, RED.cookie)]
    stage.do(Wake("later", 5))
    assert stage.agenda.next_s() == 1005.0
