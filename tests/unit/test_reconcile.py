from __future__ import annotations

import pytest

from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.ledger import Ledger
from bpftune.model import (
    Netns,
    NetnsCookie,
    Recheck,
    Tunable,
    Tuner,
    Value,
    ValueChanged,
)
from bpftune.reconcile import MOST_NAMESPACES, REREAD_AT_ONCE, Reconciler
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_WMEM,
    FakeNamespaces,
    FakeSysctls,
    wmem,
)

TUNER = Tuner("tcp_buffer", "it", (TCP_WMEM,))
ADMINS = wmem(5 * MIB)


class Desk:
    """A reconciler, and all around it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.namespaces = FakeNamespaces(RED, BLUE)
        self.sysctls = FakeSysctls(self.namespaces)
        self.reconciler = Reconciler(self.ledger, self.sysctls, self.namespaces)  # type: ignore[arg-type]  # a fake

    def meet(self, *several: Netns) -> None:
        for netns in several:
            self.reconciler.meet(TUNER, netns.cookie, TCP_WMEM)

    def after_write(self, netns: Netns, old: Value = FOUND) -> list[ValueChanged]:
        recheck = Recheck(TCP_WMEM.name, old, 0, b"sysctl")
        return self.reconciler.after_write([TUNER], netns.cookie, recheck)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_met_first_is_read_once_and_remembered(desk: Desk) -> None:
    desk.sysctls.by_admin(RED, wmem(6 * MIB))
    entry = desk.reconciler.meet(TUNER, RED.cookie, TCP_WMEM)
    assert entry is not None
    assert (entry.netns, entry.found) == (RED, wmem(6 * MIB))
    desk.sysctls.by_admin(RED, ADMINS)
    assert desk.reconciler.meet(TUNER, RED.cookie, TCP_WMEM) is entry
    assert entry.found == wmem(6 * MIB)


def test_a_tunable_that_a_namespace_has_not_is_no_error(desk: Desk) -> None:
    desk.sysctls.missing.add((RED.cookie, TCP_WMEM.name))
    assert desk.reconciler.meet(TUNER, RED.cookie, TCP_WMEM) is None
    assert len(desk.ledger) == 0


def test_an_unknown_namespace_is_never_met(desk: Desk) -> None:
    with pytest.raises(NetnsGoneError):
        desk.reconciler.meet(TUNER, NetnsCookie(99), TCP_WMEM)
    assert len(desk.ledger) == 0


def test_a_real_change_is_noticed_with_its_writer_until_it_is_handed_over(
    desk: Desk,
) -> None:
    desk.meet(HOST)
    desk.sysctls.by_admin(HOST, ADMINS)
    told = ValueChanged(HOST.cookie, TCP_WMEM, FOUND, ADMINS, 0, b"sysctl")
    assert desk.after_write(HOST) == desk.after_write(HOST) == [told]
    entry = desk.ledger.get(HOST.cookie, TCP_WMEM)
    assert entry is not None
    desk.ledger.yield_to_admin(entry, ADMINS)
    assert desk.after_write(HOST) == []


def test_a_write_of_the_same_value_or_a_refused_one_is_no_change(desk: Desk) -> None:
    desk.meet(HOST, RED)
    desk.sysctls.by_admin(HOST, FOUND)
    assert desk.after_write(HOST) == []
    assert desk.after_write(RED, FOUND) == []


def test_what_is_the_admins_may_change_in_silence(desk: Desk) -> None:
    entry = desk.reconciler.meet(TUNER, HOST.cookie, TCP_WMEM)
    assert entry is not None
    entry.yielded = True
    desk.sysctls.by_admin(HOST, ADMINS)
    assert desk.reconciler.compare(entry) is None
    assert entry.expected == ADMINS


def test_a_write_from_one_namespace_through_a_descriptor_of_another_is_found_there(
    desk: Desk,
) -> None:
    desk.meet(HOST)
    ours = desk.reconciler.meet(TUNER, RED.cookie, TCP_WMEM)
    assert ours is not None
    desk.ledger.applied(ours, wmem(8 * MIB), trial=None)
    desk.sysctls.by_admin(RED, ADMINS)
    (event,) = desk.after_write(HOST)
    assert event.netns_cookie == RED.cookie


def test_where_nothing_was_known_the_value_before_the_write_is_what_was_found(
    desk: Desk,
) -> None:
    desk.sysctls.by_admin(RED, ADMINS)
    (event,) = desk.after_write(RED, old=wmem(6 * MIB))
    assert (event.old, event.new) == (wmem(6 * MIB), ADMINS)
    entry = desk.ledger.get(RED.cookie, TCP_WMEM)
    assert entry is not None
    assert entry.found == wmem(6 * MIB)


def test_a_value_before_that_could_not_be_read_is_not_believed(desk: Desk) -> None:
    desk.sysctls.by_admin(RED, ADMINS)
    assert desk.after_write(RED, old=()) == []
    entry = desk.ledger.get(RED.cookie, TCP_WMEM)
    assert entry is not None
    assert entry.found == ADMINS


def test_a_write_of_a_sysctl_that_is_no_tunable_meets_nothing(desk: Desk) -> None:
    recheck = Recheck("net.ipv4.tcp_rmem", FOUND, 0, b"sysctl")
    assert desk.reconciler.after_write([TUNER], RED.cookie, recheck) == []
    assert len(desk.ledger) == 0


def test_one_namespace_that_ended_does_not_hide_the_change_in_another(
    desk: Desk,
) -> None:
    desk.meet(RED, BLUE)
    desk.namespaces.end(RED)
    desk.sysctls.by_admin(BLUE, ADMINS)
    assert [event.netns_cookie for event in desk.after_write(BLUE)] == [BLUE.cookie]


def test_one_sysctl_that_cannot_be_read_does_not_hide_the_change_of_another(
    desk: Desk,
) -> None:
    desk.meet(HOST, RED)
    desk.sysctls.missing.add((HOST.cookie, TCP_WMEM.name))
    desk.sysctls.by_admin(RED, ADMINS)
    assert [event.netns_cookie for event in desk.after_write(RED)] == [RED.cookie]


def test_an_unreadable_sysctl_is_an_error_where_its_value_is_needed(desk: Desk) -> None:
    desk.sysctls.unreadable = SysctlError("Input/output error", 5)
    with pytest.raises(SysctlError):
        desk.meet(HOST)


def test_all_that_is_known_gets_its_turn_to_be_read_again(desk: Desk) -> None:
    crowd = [Netns(NetnsCookie(n)) for n in range(100, 100 + 3 * REREAD_AT_ONCE)]
    for netns in crowd:
        desk.namespaces.add(netns)
    desk.meet(*crowd)
    for netns in crowd:
        desk.sysctls.by_admin(netns, ADMINS)
    turns = [desk.reconciler.some() for _ in range(3)]
    assert [len(turn) for turn in turns] == [REREAD_AT_ONCE] * 3
    found = {event.netns_cookie for turn in turns for event in turn}
    assert found == {netns.cookie for netns in crowd}


def test_a_flood_of_namespaces_keeps_the_host_and_those_that_matter(desk: Desk) -> None:
    desk.meet(HOST, RED, BLUE)
    ours, theirs = (desk.ledger.get(n.cookie, TCP_WMEM) for n in (RED, BLUE))
    assert ours is not None
    assert theirs is not None
    ours.expected, theirs.yielded = wmem(8 * MIB), True
    for number in range(100, 100 + MOST_NAMESPACES + 50):
        netns = Netns(NetnsCookie(number))
        desk.namespaces.add(netns)
        desk.meet(netns)
    assert len(desk.ledger) == MOST_NAMESPACES
    assert desk.ledger.cookies()[:3] == [HOST.cookie, RED.cookie, BLUE.cookie]
    assert desk.sysctls.forgotten == [NetnsCookie(n) for n in range(100, 153)]


def test_two_tunables_of_one_tuner_are_told_apart(desk: Desk) -> None:
    rmem = Tunable("net.ipv4.tcp_rmem")
    tuner = Tuner("both", "of them", (TCP_WMEM, rmem))
    for tunable in tuner.tunables:
        desk.reconciler.meet(tuner, HOST.cookie, tunable)
    desk.sysctls.by_admin(HOST, ADMINS, rmem.name)
    assert [event.tunable for event in desk.reconciler.some()] == [rmem]
