from __future__ import annotations

from bpftune.ledger import Entry, Ledger
from bpftune.model import Tunable
from tests.unit.fakes import BLUE, FOUND, HOST, MIB, RED, TCP_WMEM, wmem

RMEM = Tunable("net.ipv4.tcp_rmem")
GROWN = wmem(8 * MIB)


def met(ledger: Ledger) -> Entry:
    return ledger.meet(HOST, TCP_WMEM, "tcp_buffer", FOUND)


def test_the_value_met_first_is_what_was_found() -> None:
    ledger = Ledger()
    entry = met(ledger)
    assert entry.found == entry.expected == entry.settled == FOUND
    assert not entry.ours
    again = ledger.meet(HOST, TCP_WMEM, "tcp_buffer", GROWN)
    assert again is entry
    assert again.found == FOUND


def test_an_intention_is_noted_before_and_ends_with_what_came_of_it() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.intend(entry, GROWN)
    assert entry.intended == GROWN
    assert entry.expected == FOUND
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    assert entry.intended is None
    ledger.intend(entry, wmem(16 * MIB))
    ledger.failed(entry)
    assert entry.intended is None
    assert entry.expected == GROWN


def test_a_value_on_trial_is_ours_but_not_settled_until_it_is_kept() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    assert entry.ours
    assert (entry.trial, entry.settled) == ("10.0.0.0/24", FOUND)
    ledger.kept(entry)
    assert (entry.trial, entry.settled) == (None, GROWN)
    assert ledger.in_force() == [entry]


def test_each_step_of_a_trial_has_an_id_that_no_other_has() -> None:
    ledger = Ledger()
    one, other = met(ledger), ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    ids = []
    for entry in (one, other, one):
        ledger.applied(entry, GROWN, trial="somewhere")
        ids.append(entry.change_id)
    assert len(set(ids)) == 3


def test_what_is_taken_back_to_the_value_found_is_granted_no_more() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    entry.grant_bytes = 4 * MIB
    assert ledger.granted_bytes() == 4 * MIB
    ledger.applied(entry, FOUND, trial=None)
    assert ledger.granted_bytes() == 0
    assert ledger.in_force() == []


def test_what_the_admin_has_is_not_ours_and_grants_nothing() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    entry.grant_bytes = 4 * MIB
    ledger.yield_to_admin(entry, wmem(5 * MIB))
    assert entry.yielded
    assert not entry.ours
    assert entry.trial is None
    assert entry.expected == entry.settled == wmem(5 * MIB)
    assert ledger.granted_bytes() == 0


def test_namespaces_and_tunables_stand_beside_one_another() -> None:
    ledger = Ledger()
    mine = met(ledger)
    ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    ledger.meet(RED, RMEM, "tcp_buffer", FOUND)
    assert len(ledger) == 2
    assert len(list(ledger)) == 3
    assert set(ledger.of(RED.cookie)) == {TCP_WMEM, RMEM}
    assert ledger.get(HOST.cookie, TCP_WMEM) is mine
    assert ledger.get(HOST.cookie, RMEM) is None
    assert ledger.get(BLUE.cookie, TCP_WMEM) is None
    assert ledger.cookies() == [HOST.cookie, RED.cookie]


def test_a_namespace_that_is_gone_is_forgotten_alone() -> None:
    ledger = Ledger()
    met(ledger)
    ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    ledger.forget(RED.cookie)
    ledger.forget(BLUE.cookie)
    assert ledger.cookies() == [HOST.cookie]
