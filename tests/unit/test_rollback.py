from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.carry import Carrier
from bpftune.entry import Entry
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.ledger import Ledger
from bpftune.model import Netns, NetnsCookie, Tunable, Value
from bpftune.records import Record, as_line
from bpftune.rollback import (
    FAIL,
    SET,
    SKIP,
    Selection,
    Step,
    plan,
    roll_back,
    rollback_offline,
)
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_RMEM,
    TCP_WMEM,
    FakeNamespaces,
    FakeSysctls,
    wmem,
)

GROWN, ADMINS = wmem(8 * MIB), wmem(5 * MIB)
PORTS = Tunable("net.ipv4.ip_local_port_range", is_range=True)


def an_entry(
    netns: Netns = HOST, tunable: Tunable = TCP_WMEM, change: str = "c1"
) -> Entry:
    return Entry(
        netns,
        tunable,
        "tcp_buffer",
        FOUND,
        GROWN,
        GROWN,
        written=GROWN,
        changes=1,
        change_id=change,
    )


def planned(entry: Entry, now: Value, in_use: int | None = 0) -> list[Step]:
    return plan([entry], Selection(), lambda _: now, lambda *_: in_use)


def test_what_is_ours_goes_back_to_what_was_found() -> None:
    (step,) = planned(an_entry(), GROWN)
    assert (step.action, step.now, step.new) == (SET, GROWN, FOUND)
    assert (step.netns, step.tunable, step.change) == (HOST, TCP_WMEM, "c1")
    assert step.why == "back to the value found"


def test_what_somebody_set_since_is_never_overwritten() -> None:
    (step,) = planned(an_entry(), ADMINS)
    assert (step.action, step.now) == (SKIP, ADMINS)
    assert step.why == "somebody set it since, and it stays theirs"


def test_what_was_never_ours_is_not_mentioned() -> None:
    assert planned(Entry(HOST, TCP_WMEM, "x", FOUND, FOUND, FOUND), FOUND) == []
    admins = Entry(HOST, TCP_WMEM, "x", FOUND, ADMINS, ADMINS, yielded=True)
    assert planned(admins, ADMINS) == []


def test_what_is_at_the_value_found_is_left_so() -> None:
    (step,) = planned(an_entry(), FOUND)
    assert (step.action, step.why) == (SKIP, "it is at the value found")


def test_a_write_in_doubt_goes_back_if_it_was_done_in_part() -> None:
    entry = Entry(HOST, TCP_WMEM, "x", FOUND, FOUND, FOUND)
    entry.intended = (8192, 32768, 8 * MIB)
    torn = (8192, 32768, 4 * MIB)
    (step,) = planned(entry, torn)
    assert (step.action, step.now, step.new) == (SET, torn, FOUND)


@pytest.mark.parametrize(
    ("in_use", "said"),
    [
        (4 * MIB, "back to the value found"),
        (
            6 * MIB,
            "back to the value found; a connection there has a buffer of 6 MiB, which "
            "it keeps, but no other will get that",
        ),
        (
            None,
            "back to the value found; what connections use there is not known",
        ),
    ],
)
def test_it_never_shrinks_below_what_is_in_use_without_saying_so(
    in_use: int | None, said: str
) -> None:
    (step,) = planned(an_entry(), GROWN, in_use)
    assert (step.action, step.why) == (SET, said)


def test_what_holds_no_bytes_is_not_asked_about() -> None:
    entry = an_entry(tunable=PORTS)
    steps = plan([entry], Selection(), lambda _: GROWN, lambda *_: 1 // 0)
    assert steps[0].why == "back to the value found"


def raising(error: KernelError) -> Callable[[Entry], Value]:
    def read(entry: Entry) -> Value:
        del entry
        raise error

    return read


def test_a_namespace_that_is_gone_is_skipped_with_a_word() -> None:
    read = raising(NetnsGoneError("gone"))
    (step,) = plan([an_entry()], Selection(), read, lambda *_: 0)
    assert (step.action, step.now) == (SKIP, None)
    assert step.why == "its network namespace is gone"


def test_what_cannot_be_read_is_a_failure_that_is_told() -> None:
    read = raising(SysctlError("tcp_wmem cannot be read: Operation not permitted", 1))
    (step,) = plan([an_entry()], Selection(), read, lambda *_: 0)
    assert (step.action, step.now) == (FAIL, None)
    assert "not permitted" in step.why


# --- selection -----------------------------------------------------------------

ENTRIES = [
    an_entry(HOST, TCP_WMEM, "c1"),
    an_entry(HOST, TCP_RMEM, "c2"),
    an_entry(RED, TCP_WMEM, "c3"),
    an_entry(Netns(NetnsCookie(77)), TCP_RMEM, "c4"),
]


@pytest.mark.parametrize(
    ("selection", "changes"),
    [
        (Selection(), ["c1", "c2", "c3", "c4"]),
        (Selection(change="c2"), ["c2"]),
        (Selection(change="c9"), []),
        (Selection(tunable="net.ipv4.tcp_wmem"), ["c1", "c3"]),
        (Selection(tunable="tcp_wmem"), ["c1", "c3"]),
        (Selection(tunable="wmem"), []),
        (Selection(netns="host"), ["c1", "c2"]),
        (Selection(netns="red"), ["c3"]),
        (Selection(netns="#77"), ["c4"]),
        (Selection(netns="77"), ["c4"]),
        (Selection(netns="None"), []),
        (Selection(tunable="tcp_rmem", netns="host"), ["c2"]),
    ],
)
def test_what_matches_is_selected(selection: Selection, changes: list[str]) -> None:
    steps = plan(ENTRIES, selection, lambda _: GROWN, lambda *_: 0)
    assert [step.change for step in steps] == changes


values = st.tuples(*[st.integers(1, 4)] * 3)


@given(values, values, values, st.none() | values, st.none() | values, values)
def test_a_plan_sets_only_what_can_be_ours_and_only_to_what_was_found(
    found: Value,
    expected: Value,
    settled: Value,
    intended: Value | None,
    written: Value | None,
    now: Value,
) -> None:
    entry = Entry(HOST, TCP_WMEM, "x", found, expected, settled)
    entry.intended, entry.written, entry.changes = intended, written, 1
    (step,) = planned(entry, now)
    assert step.new == found
    if step.action == SET:
        assert now != found
        torn = intended is not None and all(
            n in {e, i} for n, e, i in zip(now, expected, intended, strict=True)
        )
        assert now == written or torn


# --- carrying it out -------------------------------------------------------------


class Desk:
    """A ledger in which two values of ours are in force, and all around it."""

    def __init__(self) -> None:
        self.namespaces = FakeNamespaces(RED, BLUE)
        self.sysctls = FakeSysctls(self.namespaces)
        self.records: list[Record] = []
        self.ledger = Ledger()
        self.carrier = Carrier(
            self.ledger,
            self.sysctls,
            self.records.append,
            self.namespaces.undo_prefix,
            observe=False,
        )
        for netns in (RED, BLUE):
            entry = self.ledger.meet(netns, TCP_WMEM, "tcp_buffer", FOUND)
            self.ledger.applied(entry, GROWN, trial="10.0.0.0/24", grant_bytes=MIB)
            self.sysctls.by_admin(netns, GROWN)

    def roll_back(self, *, dry_run: bool = False) -> list[Step]:
        return roll_back(
            self.ledger,
            Selection(),
            self.sysctls,
            self.carrier,
            lambda *_: 0,
            dry_run=dry_run,
        )

    def actions(self) -> list[str]:
        return [step.action for step in self.roll_back()]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    assert [step.action for step in desk.roll_back(dry_run=True)] == [SET, SET]
    assert (desk.sysctls.writes, desk.records) == ([], [])
    assert len(desk.ledger.in_force()) == 2


def test_it_is_written_told_and_left_so(desk: Desk) -> None:
    assert desk.actions() == [SET, SET]
    assert [desk.sysctls.largest(netns) for netns in (RED, BLUE)] == [4 * MIB] * 2
    assert [record.record for record in desk.records] == ["rolled_back"] * 2
    assert as_line(desk.records[0]) == (
        "tcp_wmem max 8 MiB -> 4 MiB in netns red, rolled back: back to the value "
        "found. Redo: ip netns exec red sysctl -w net.ipv4.tcp_wmem='4096 16384 "
        "8388608'"
    )
    assert desk.records[0].change == "c1"
    assert all(entry.yielded for entry in desk.ledger)
    assert desk.ledger.granted_bytes() == 0
    assert desk.actions() == []


def test_what_is_refused_is_tried_again_and_then_told_and_the_rest_goes_on(
    desk: Desk,
) -> None:
    desk.sysctls.refusing = SysctlError("it cannot be set: Operation not permitted", 1)

    def allow() -> None:
        desk.sysctls.refusing = None

    refused = desk.roll_back()
    assert [step.action for step in refused] == [FAIL, FAIL]
    assert "not permitted" in refused[0].why
    assert len(desk.ledger.in_force()) == 2
    assert [entry.trial for entry in desk.ledger] == ["10.0.0.0/24"] * 2
    desk.sysctls.before_write = allow
    assert desk.actions() == [SET, SET]


def test_what_the_admin_sets_at_the_last_moment_stays(desk: Desk) -> None:
    desk.sysctls.before_write = lambda: desk.sysctls.by_admin(RED, ADMINS)
    assert desk.actions() == [SKIP, SET]
    assert desk.sysctls.largest(RED) == 5 * MIB
    assert desk.sysctls.largest(BLUE) == 4 * MIB


def test_a_namespace_that_ends_meanwhile_is_skipped(desk: Desk) -> None:
    desk.sysctls.before_write = lambda: desk.namespaces.end(RED)
    assert desk.actions() == [SKIP, SET]


def test_without_a_journal_there_is_nothing_to_roll_back(tmp_path: Path) -> None:
    assert rollback_offline(tmp_path / "none", Selection()) == []
    assert not (tmp_path / "none").exists()
