from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpftune.entry import IN_DOUBT
from bpftune.journal import Journal, JournalError, replay
from bpftune.ledger import MOST_IDS, Entry, Ledger
from bpftune.model import Tunable, Value
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


def test_what_is_on_trial_is_known_by_namespace() -> None:
    ledger = Ledger()
    assert ledger.trials(HOST.cookie) == frozenset()
    one, other = met(ledger), ledger.meet(HOST, RMEM, "x", FOUND)
    elsewhere = ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    assert ledger.trials(HOST.cookie) == frozenset()
    ledger.applied(one, GROWN, trial="10.0.0.0/24")
    ledger.applied(other, GROWN, trial="10.0.1.0/24")
    ledger.applied(elsewhere, GROWN, trial="10.0.2.0/24")
    assert ledger.trials(HOST.cookie) == {"10.0.0.0/24", "10.0.1.0/24"}
    ledger.kept(one)
    ledger.applied(other, GROWN, trial=IN_DOUBT)  # that is on trial nowhere
    ledger.applied(elsewhere, GROWN, trial="")
    assert ledger.trials(HOST.cookie) == ledger.trials(RED.cookie) == frozenset()


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


# --- doubt -------------------------------------------------------------------


def in_doubt(ledger: Ledger, before: Value = FOUND, wanted: Value = GROWN) -> Entry:
    entry = met(ledger)
    if before != FOUND:
        ledger.applied(entry, before, trial="10.0.0.0/24")
        ledger.kept(entry)
    ledger.intend(entry, wanted)
    return entry


def test_a_write_that_did_not_happen_is_in_doubt_no_longer() -> None:
    ledger = Ledger()
    entry = in_doubt(ledger)
    assert ledger.resolve(entry, FOUND)
    assert (entry.intended, entry.expected, entry.trial) == (None, FOUND, None)


def test_a_write_that_happened_after_all_is_to_be_taken_back() -> None:
    ledger = Ledger()
    entry = in_doubt(ledger)
    assert ledger.resolve(entry, GROWN)
    assert (entry.intended, entry.expected, entry.settled) == (None, GROWN, FOUND)
    assert entry.trial == IN_DOUBT
    assert entry.is_open


def test_a_way_down_that_happened_after_all_is_settled() -> None:
    ledger = Ledger()
    entry = in_doubt(ledger, before=wmem(16 * MIB), wanted=GROWN)
    assert ledger.resolve(entry, GROWN)
    assert (entry.settled, entry.trial, entry.is_open) == (GROWN, None, False)


def test_any_other_value_is_somebody_elses() -> None:
    ledger = Ledger()
    entry = in_doubt(ledger)
    assert not ledger.resolve(entry, wmem(5 * MIB))
    assert entry.expected == FOUND


# --- ids ---------------------------------------------------------------------


def test_numbers_go_on_from_the_last_that_was_given() -> None:
    ledger = Ledger(serial=41)
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="somewhere")
    assert entry.change_id == "c42"


def test_changes_that_build_on_one_another_are_known_by_all_their_ids() -> None:
    ledger = Ledger()
    entry = met(ledger)
    for number in range(1, 4):
        ledger.applied(entry, wmem((4 << number) * MIB), trial="somewhere")
    assert (entry.change_id, entry.earlier_ids) == ("c3", ["c1", "c2"])
    ledger.applied(entry, FOUND, trial=None)
    assert entry.change_id == "c3"
    ledger.applied(entry, GROWN, trial="somewhere")
    assert (entry.change_id, entry.earlier_ids) == ("c4", [])


def test_only_so_many_ids_are_remembered() -> None:
    ledger = Ledger()
    entry = met(ledger)
    for number in range(1, 100):
        ledger.applied(entry, wmem((4 + number) * MIB), trial="somewhere")
    assert entry.change_id == "c99"
    assert entry.earlier_ids[-1] == "c98"
    assert len(entry.earlier_ids) == MOST_IDS


# --- to the admin and back -----------------------------------------------------


def test_what_a_file_sets_leaves_our_value_ours_until_somebody_writes() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    ledger.yield_to_admin(entry, GROWN, by_file=True)
    assert (entry.yielded, entry.ours, entry.trial) == (True, False, None)
    assert entry.set_by_us(GROWN)
    ledger.seen(entry, wmem(5 * MIB))
    assert not entry.by_file
    assert not entry.set_by_us(GROWN)


def test_what_is_adopted_from_the_admin_never_goes_below_their_value() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.yield_to_admin(entry, wmem(5 * MIB))
    ledger.adopt(entry, wmem(5 * MIB))
    assert not entry.yielded
    assert entry.found == entry.expected == entry.settled == wmem(5 * MIB)


def test_what_is_adopted_while_ours_is_in_force_keeps_its_original() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial=None)
    ledger.yield_to_admin(entry, GROWN, by_file=True)
    ledger.adopt(entry, GROWN)
    assert (entry.found, entry.ours) == (FOUND, True)


def test_what_was_rolled_back_is_left_alone_and_can_be_adopted() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    ledger.rolling_back(entry)
    assert (entry.intended, entry.yielded) == (FOUND, True)
    ledger.rolled_back(entry)
    assert entry.yielded
    assert entry.expected == entry.settled == entry.found == FOUND
    assert ledger.granted_bytes() == 0
    ledger.adopt(entry, FOUND)
    assert (entry.yielded, entry.found) == (False, FOUND)


def test_a_rollback_that_was_refused_leaves_all_as_it_was() -> None:
    ledger = Ledger()
    entry = met(ledger)
    ledger.applied(entry, GROWN, trial="10.0.0.0/24")
    before = entry.as_fields("is")
    ledger.rolling_back(entry)
    ledger.not_rolled_back(entry, yielded=False, trial="10.0.0.0/24", intended=None)
    assert entry.as_fields("is") == before


# --- the journal ---------------------------------------------------------------


class FullJournal(Journal):
    """A journal on a disk that is full at times."""

    is_full = False

    def append(self, fields: object) -> None:
        self._check()
        super().append(fields)  # type: ignore[arg-type]

    def rewrite(self, lines: object, serial: int) -> None:
        self._check()
        super().rewrite(lines, serial)  # type: ignore[arg-type]

    def _check(self) -> None:
        if self.is_full:
            raise JournalError("no room")


@pytest.fixture
def journal(tmp_path: Path) -> FullJournal:
    return FullJournal(tmp_path / "journal", "boot")


def on_file(tmp_path: Path) -> list[Entry]:
    return replay(tmp_path / "journal", "boot").entries


def test_an_intention_is_on_file_before_anything_is_written(
    journal: FullJournal, tmp_path: Path
) -> None:
    ledger = Ledger(journal)
    entry = met(ledger)
    assert on_file(tmp_path) == []
    ledger.intend(entry, GROWN)
    (noted,) = on_file(tmp_path)
    assert (noted.found, noted.expected, noted.intended) == (FOUND, FOUND, GROWN)


def test_every_step_is_on_file(journal: FullJournal, tmp_path: Path) -> None:
    ledger = Ledger(journal)
    entry = met(ledger)
    ledger.intend(entry, GROWN)
    steps: list[Callable[[], None]] = [
        lambda: ledger.applied(entry, GROWN, trial="10.0.0.0/24", grant_bytes=7),
        lambda: ledger.kept(entry),
        lambda: ledger.intend(entry, wmem(16 * MIB)),
        lambda: ledger.failed(entry),
        lambda: ledger.rolling_back(entry),
        lambda: ledger.rolled_back(entry),
        lambda: ledger.adopt(entry, FOUND),
        lambda: ledger.yield_to_admin(entry, wmem(5 * MIB)),
    ]
    for step in steps:
        step()
        assert on_file(tmp_path) == [entry]


def test_a_change_that_cannot_be_put_on_file_is_not_intended(
    journal: FullJournal,
) -> None:
    ledger = Ledger(journal)
    entry = met(ledger)
    journal.is_full = True
    with pytest.raises(JournalError):
        ledger.intend(entry, GROWN)
    assert entry.intended is None


def test_what_could_not_be_noted_afterwards_is_noted_as_soon_as_it_can(
    journal: FullJournal, tmp_path: Path
) -> None:
    ledger = Ledger(journal)
    one, other = met(ledger), ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    ledger.intend(one, GROWN)
    journal.is_full = True
    ledger.applied(one, GROWN, trial="10.0.0.0/24")
    ledger.kept(one)
    assert ledger.trouble == "no room"
    journal.is_full = False
    ledger.intend(other, GROWN)
    assert ledger.trouble == ""
    assert on_file(tmp_path) == [one, other]


def test_a_namespace_that_is_gone_is_gone_from_the_file(
    journal: FullJournal, tmp_path: Path
) -> None:
    ledger = Ledger(journal)
    red = ledger.meet(RED, TCP_WMEM, "tcp_buffer", FOUND)
    ledger.intend(red, GROWN)
    ledger.applied(red, GROWN, trial=None)
    size = (tmp_path / "journal").stat().st_size
    ledger.forget(BLUE.cookie)
    assert (tmp_path / "journal").stat().st_size == size
    ledger.forget(RED.cookie)
    assert on_file(tmp_path) == []


def test_the_file_stays_small_however_much_is_changed(
    journal: FullJournal, tmp_path: Path
) -> None:
    ledger = Ledger(journal)
    entry = met(ledger)
    for number in range(3000):
        ledger.intend(entry, wmem(number + 5 * MIB))
        ledger.applied(entry, wmem(number + 5 * MIB), trial="somewhere")
    assert (tmp_path / "journal").stat().st_size < 300_000
    assert on_file(tmp_path) == [entry]
    assert replay(tmp_path / "journal", "boot").serial == 3000
