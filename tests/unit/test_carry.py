from __future__ import annotations

from dataclasses import replace

import pytest

from bpftune.carry import Carrier
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.ledger import Entry, Ledger
from bpftune.model import Change, Event, Keep, Netns, Rejected, Value, Yield, Yielded
from bpftune.records import Record, as_line
from tests.unit.fakes import (
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_WMEM,
    FakeNamespaces,
    FakeSysctls,
    facts,
    wmem,
)

PATH = "10.0.0.0/24"
GROWN = wmem(8 * MIB)
INVALID = SysctlError("net.ipv4.tcp_wmem cannot be set to it: Invalid argument", 22)


class Desk:
    """A carrier, and all around it."""

    def __init__(self, *, observe: bool = False) -> None:
        self.ledger = Ledger()
        self.namespaces = FakeNamespaces(RED)
        self.sysctls = FakeSysctls(self.namespaces)
        self.records: list[Record] = []
        self.carrier = Carrier(
            self.ledger,
            self.sysctls,
            self.records.append,
            self.namespaces.undo_prefix,
            observe=observe,
        )
        self.entry = self.meet(HOST)

    def meet(self, netns: Netns, tuner: str = "tcp_buffer") -> Entry:
        return self.ledger.meet(netns, TCP_WMEM, tuner, FOUND)

    def change(
        self,
        value: Value,
        netns: Netns = HOST,
        record: str = "change",
        trial: str = PATH,
    ) -> Event | None:
        entry = self.ledger.get(netns.cookie, TCP_WMEM)
        now = facts(entry.expected if entry else FOUND, netns=netns)
        wanted = Change(TCP_WMEM, value, "it is short", record, trial)
        return self.carrier.change(wanted, now)

    def keep(self) -> None:
        self.carrier.keep(Keep(TCP_WMEM, "it paid", proved=True), HOST.cookie)

    @property
    def last(self) -> Record:
        return self.records[-1]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_change_is_noted_then_written_then_told(desk: Desk) -> None:
    noted: list[Value | None] = []
    desk.sysctls.before_write = lambda: noted.append(desk.entry.intended)
    assert desk.change(GROWN) is None
    assert noted == [GROWN]
    assert desk.sysctls.writes == [(HOST.cookie, TCP_WMEM.name, GROWN)]
    assert (desk.entry.expected, desk.entry.settled) == (GROWN, FOUND)
    assert desk.entry.intended is None
    assert desk.entry.grant_bytes == 4 * MIB
    (record,) = desk.records
    assert (record.record, record.old, record.new) == ("change", FOUND, GROWN)
    assert record.change == "c1"
    assert record.extra == {"evidence": {}}
    assert as_line(record) == (
        "tcp_wmem max 4 MiB -> 8 MiB on the host (it is short). "
        "Undo: sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"
    )


def test_the_command_that_undoes_it_enters_the_namespace(desk: Desk) -> None:
    desk.meet(RED)
    desk.change(GROWN, RED)
    assert desk.last.undo == (
        "ip netns exec red sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"
    )
    assert desk.sysctls.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]


def test_the_same_value_and_an_unknown_tunable_are_nothing(desk: Desk) -> None:
    assert desk.change(FOUND) is None
    assert desk.change(GROWN, RED) is None
    assert desk.records == []
    assert desk.sysctls.writes == []


def test_what_the_governor_refuses_is_not_written_and_its_tuner_hears(
    desk: Desk,
) -> None:
    low = wmem(MIB)
    why = "below the value found at start"
    assert desk.change(low) == Rejected(HOST.cookie, TCP_WMEM, low, why)
    assert desk.sysctls.writes == []
    assert (desk.last.record, desk.last.why) == ("rejected", why)


def test_the_same_refusal_is_told_once_until_something_else_is(desk: Desk) -> None:
    desk.meet(RED)
    desk.carrier.pauses.pause("everything")
    for netns in (HOST, RED) * 3:
        refused = Rejected(netns.cookie, TCP_WMEM, GROWN, "paused by the admin")
        assert desk.change(GROWN, netns) == refused
    assert [one.netns for one in desk.records] == [HOST, RED]
    desk.change(wmem(16 * MIB))
    assert [one.new for one in desk.records] == [GROWN, GROWN, wmem(16 * MIB)]
    desk.carrier.pauses.resume(None)
    desk.change(GROWN)
    desk.carrier.settle(None, "stopped")
    desk.carrier.pauses.pause("everything")
    desk.change(GROWN)
    kinds = [one.record for one in desk.records[3:]]
    assert kinds == ["change", "taken_back", "rejected"]


def test_what_the_kernel_refuses_is_told_with_its_words_and_the_old_value_counts(
    desk: Desk,
) -> None:
    desk.sysctls.refusing = INVALID
    why = "net.ipv4.tcp_wmem cannot be set to it: Invalid argument"
    assert desk.change(GROWN) == Rejected(HOST.cookie, TCP_WMEM, GROWN, why)
    assert desk.entry.expected == desk.entry.settled == FOUND
    assert (desk.entry.intended, desk.entry.trial) == (None, None)
    assert desk.entry.grant_bytes == 0
    assert (desk.last.record, desk.last.why, desk.last.undo) == ("rejected", why, None)


def test_a_refusal_in_mid_trial_leaves_the_trial_as_it_was(desk: Desk) -> None:
    desk.change(GROWN)
    desk.sysctls.refusing = INVALID
    assert desk.change(wmem(16 * MIB)) is not None
    assert (desk.entry.expected, desk.entry.settled) == (GROWN, FOUND)
    assert desk.entry.trial == PATH
    assert desk.entry.grant_bytes == 4 * MIB


def test_what_the_admin_wrote_as_our_write_was_refused_is_still_found_later(
    desk: Desk,
) -> None:
    desk.sysctls.before_write = lambda: desk.sysctls.by_admin(HOST, wmem(5 * MIB))
    desk.sysctls.refusing = INVALID
    assert isinstance(desk.change(GROWN), Rejected)
    assert desk.entry.expected == FOUND  # so that the next comparison tells


def test_a_refusal_is_told_even_if_nothing_can_be_read_then(desk: Desk) -> None:
    def break_down() -> None:
        desk.sysctls.unreadable = SysctlError("Input/output error", 5)

    desk.sysctls.before_write = break_down
    desk.sysctls.refusing = INVALID
    assert isinstance(desk.change(GROWN), Rejected)
    assert desk.entry.expected == FOUND
    assert desk.entry.intended == GROWN  # for all we know it may be there

    desk.sysctls.unreadable = desk.sysctls.refusing = None
    assert isinstance(desk.change(wmem(16 * MIB)), Rejected)
    assert desk.last.why == "nobody knows yet how the last write of it ended"
    desk.carrier.settle(None, "stopped in mid-trial")
    assert desk.entry.intended is None
    assert desk.sysctls.writes == []


def test_a_namespace_that_ends_before_the_write_gets_nothing_nor_does_the_host(
    desk: Desk,
) -> None:
    desk.meet(RED)
    desk.sysctls.before_write = lambda: desk.namespaces.end(RED)
    with pytest.raises(NetnsGoneError):
        desk.change(GROWN, RED)
    assert desk.sysctls.writes == []
    assert desk.records == []


# --- observing ---------------------------------------------------------------


def test_observing_writes_nothing_and_advises() -> None:
    desk = Desk(observe=True)
    heard = desk.change(GROWN)
    assert heard == Rejected(HOST.cookie, TCP_WMEM, GROWN, "observing")
    assert desk.sysctls.writes == []
    assert desk.entry.expected == FOUND
    assert desk.ledger.granted_bytes() == 0
    assert as_line(desk.last) == (
        "tcp_wmem max 4 MiB -> 8 MiB on the host is advised (it is short). "
        "Do it: sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'"
    )


def test_observing_advises_nothing_that_the_governor_refuses() -> None:
    desk = Desk(observe=True)
    desk.change(wmem(1 << 30))
    desk.change(wmem(MIB))
    assert [record.record for record in desk.records] == ["advice", "rejected"]


def test_observing_settles_and_sums_up_without_a_write() -> None:
    desk = Desk(observe=True)
    desk.change(GROWN)
    desk.carrier.settle(None, "stopped")
    desk.carrier.sum_up()
    assert desk.sysctls.writes == []
    assert len(desk.records) == 1


# --- the end of a trial ------------------------------------------------------


def test_what_paid_is_kept_and_told_once(desk: Desk) -> None:
    desk.change(GROWN)
    desk.keep()
    desk.keep()
    assert [record.record for record in desk.records] == ["change", "kept"]
    assert (desk.last.old, desk.last.new) == (FOUND, GROWN)
    assert desk.last.extra == {"proved": True, "evidence": {}}
    assert desk.last.change == "c1"
    assert desk.entry.settled == GROWN


def test_what_did_not_pay_is_taken_back_and_there_is_nothing_to_undo(
    desk: Desk,
) -> None:
    desk.change(GROWN)
    desk.change(FOUND, record="taken_back")
    assert desk.last.record == "taken_back"
    assert desk.last.undo is None
    assert desk.entry.trial is None
    assert not desk.entry.ours
    assert desk.ledger.granted_bytes() == 0


def test_a_stop_in_mid_trial_goes_back_to_the_last_value_that_paid(
    desk: Desk,
) -> None:
    desk.change(GROWN)
    desk.keep()
    desk.change(wmem(16 * MIB))
    desk.change(wmem(32 * MIB))
    desk.carrier.settle(None, "stopped in mid-trial")
    assert desk.sysctls.largest(HOST) == 8 * MIB
    assert as_line(desk.last) == (
        "tcp_wmem max 32 MiB -> 8 MiB on the host, taken back: stopped in mid-trial, "
        "back to the last value that paid. "
        "Undo: sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"
    )
    assert desk.entry.grant_bytes == 4 * MIB


def test_a_stop_leaves_what_the_admin_wrote_a_moment_ago(desk: Desk) -> None:
    desk.change(GROWN)
    desk.sysctls.by_admin(HOST, wmem(5 * MIB))
    writes = len(desk.sysctls.writes)
    desk.carrier.settle(None, "stopped in mid-trial")
    assert len(desk.sysctls.writes) == writes
    assert desk.sysctls.largest(HOST) == 5 * MIB
    desk.records.clear()
    desk.carrier.sum_up()
    assert desk.records == []  # nothing of ours is in force


def test_settling_one_tuner_leaves_the_trials_of_the_others(desk: Desk) -> None:
    desk.meet(RED, "another")
    desk.change(GROWN)
    desk.change(GROWN, RED)
    desk.carrier.settle("another", "its tuner failed")
    assert desk.sysctls.largest(HOST) == 8 * MIB
    assert desk.sysctls.largest(RED) == 4 * MIB


def test_settling_goes_on_past_what_cannot_be_taken_back(desk: Desk) -> None:
    desk.meet(RED)
    desk.change(GROWN)
    desk.change(GROWN, RED)
    desk.sysctls.before_write = lambda: setattr(desk.sysctls, "refusing", INVALID)
    desk.carrier.settle(None, "stopped")
    assert [r.record for r in desk.records[2:]] == ["rejected", "rejected"]
    desk.sysctls.refusing = None
    desk.namespaces.end(RED)
    desk.carrier.settle(None, "stopped")
    assert [r.record for r in desk.records[4:]] == ["taken_back", "rejected"]
    assert desk.sysctls.largest(HOST) == 4 * MIB


def test_the_sum_tells_each_value_in_force_and_how_to_undo_it(desk: Desk) -> None:
    desk.meet(RED)
    desk.change(GROWN)
    desk.change(wmem(16 * MIB))
    desk.keep()
    desk.records.clear()
    desk.carrier.sum_up()
    (record,) = desk.records
    assert (record.record, record.why) == ("stopped", "set in 2 writes")
    assert (record.old, record.new) == (FOUND, wmem(16 * MIB))
    assert record.undo == "sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"


# --- the admin ---------------------------------------------------------------


def test_what_is_handed_over_is_told_once_and_never_written_again(desk: Desk) -> None:
    desk.change(GROWN)
    request = Yield(TCP_WMEM, "uid 0 (sysctl) set it")
    heard = desk.carrier.hand_over(request, HOST.cookie, wmem(5 * MIB))
    assert heard == Yielded(HOST.cookie, TCP_WMEM)
    assert (desk.last.record, desk.last.old, desk.last.new) == (
        "yielded",
        GROWN,
        wmem(5 * MIB),
    )
    assert desk.carrier.hand_over(request, HOST.cookie, wmem(5 * MIB)) is None
    assert isinstance(desk.change(wmem(16 * MIB)), Rejected)
    assert isinstance(desk.change(FOUND, record="taken_back"), Rejected)
    desk.carrier.settle(None, "stopped")
    desk.keep()
    assert len(desk.sysctls.writes) == 1


@pytest.mark.parametrize(
    ("uid", "comm", "by"),
    [
        (0, b"sys\x1bctl", {"by_uid": 0, "by_comm": b"sys\x1bctl"}),
        (None, b"", {}),
    ],
)
def test_who_took_it_is_in_the_record_if_it_was_seen(
    desk: Desk, uid: int | None, comm: bytes, by: dict[str, object]
) -> None:
    desk.change(GROWN)
    request = Yield(TCP_WMEM, "somebody set it", None, uid, comm)
    desk.carrier.hand_over(request, HOST.cookie, wmem(5 * MIB))
    assert desk.last.extra == by


def test_handing_over_what_was_never_met_is_nothing(desk: Desk) -> None:
    request = Yield(TCP_WMEM, "somebody set it")
    assert desk.carrier.hand_over(request, RED.cookie, GROWN) is None
    assert desk.records == []


def test_another_path_must_wait_and_hears_for_whom(desk: Desk) -> None:
    desk.change(GROWN)
    heard = desk.change(wmem(16 * MIB), trial="10.1.0.0/24")
    why = f"a trial of it is under way for {PATH}"
    assert heard == Rejected(HOST.cookie, TCP_WMEM, wmem(16 * MIB), why)


def test_any_error_of_the_kernels_is_a_refusal(desk: Desk) -> None:
    desk.sysctls.refusing = KernelError("cannot enter network namespace")
    assert isinstance(desk.change(GROWN), Rejected)
    assert replace(desk.last, why="").record == "rejected"
