from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bpftune.carry import Carrier
from bpftune.governor import BURST, REFILL_S, grant_after, growth_bytes, refusal
from bpftune.kernel.sysctl import SysctlError
from bpftune.ledger import Entry, Ledger
from bpftune.model import (
    Change,
    Facts,
    Keep,
    Memory,
    Netns,
    NetnsCookie,
    Rejected,
    Tunable,
    Value,
    Yield,
)
from bpftune.records import Record
from tests.unit.fakes import (
    BLUE,
    FOUND,
    GIB,
    HOST,
    MEMORY,
    MIB,
    RED,
    TCP_WMEM,
    FakeNamespaces,
    FakeSysctls,
    wmem,
)

PATH = "10.0.0.0/24"


def entry_of(expected: Value = FOUND, found: Value = FOUND) -> Entry:
    return Entry(HOST, TCP_WMEM, "tcp_buffer", found, expected, expected)


def change(value: Value, sockets: int = 1, trial: str = PATH) -> Change:
    return Change(TCP_WMEM, value, "it is short", trial=trial, sockets=sockets)


def answer(
    wanted: Change, entry: Entry | None = None, memory: Memory = MEMORY
) -> str | None:
    entry = entry or entry_of()
    return refusal(wanted, entry, memory, entry.grant_bytes, 1000.0)


def test_a_doubling_within_all_bounds_goes_ahead() -> None:
    assert answer(change(wmem(8 * MIB), sockets=4)) is None


def test_what_the_admin_set_is_not_touched_not_even_downwards() -> None:
    entry = entry_of(wmem(8 * MIB))
    entry.yielded = True
    assert answer(change(wmem(16 * MIB)), entry) == "it is the admin's"
    assert answer(change(FOUND), entry) == "it is the admin's"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ((8 * MIB,), "1 numbers for a tunable of 3"),
        ((4096, 16384, 2**31), "outside 1..2147483647"),
        ((4096, 0, 8 * MIB), "outside 1..2147483647"),
        ((4096, 16384, 2 * MIB), "below the value found at start"),
        ((4095, 16384, 8 * MIB), "below the value found at start"),
        ((32768, 16384, 8 * MIB), "minimum, default and maximum out of order"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(value: Value, reason: str) -> None:
    assert answer(change(value)) == reason


def test_one_socket_may_use_a_sixtyfourth_of_memory() -> None:
    memory = replace(MEMORY, total_bytes=GIB)
    assert answer(change(wmem(16 * MIB)), memory=memory) is None
    reason = answer(change(wmem(16 * MIB + 1)), memory=memory)
    assert reason == "one socket may use at most 16 MiB, 1/64 of memory"


def test_all_growth_together_may_use_an_eighth_of_what_is_free() -> None:
    memory = replace(MEMORY, available_bytes=GIB)
    assert answer(change(wmem(8 * MIB), sockets=32), memory=memory) is None
    reason = answer(change(wmem(8 * MIB), sockets=33), memory=memory)
    assert reason == (
        "all growth together may use at most 128 MiB, "
        "1/8 of the memory that is free for it"
    )


@pytest.mark.parametrize("used", [GIB, 2 * GIB])
def test_what_tcp_has_left_before_pressure_bounds_growth_too(used: int) -> None:
    memory = replace(MEMORY, tcp_used_bytes=used, tcp_pressure_bytes=GIB)
    assert "at most 0 bytes" in (answer(change(wmem(8 * MIB)), memory=memory) or "")


def test_what_others_were_granted_counts_and_what_this_one_was_does_not() -> None:
    memory = replace(MEMORY, available_bytes=GIB)
    entry = entry_of(wmem(8 * MIB))
    entry.grant_bytes = 4 * MIB
    raised = change(wmem(16 * MIB))
    assert refusal(raised, entry, memory, 4 * MIB + 116 * MIB, 0.0) is None
    assert refusal(raised, entry, memory, 4 * MIB + 117 * MIB, 0.0) is not None


def test_another_trial_must_wait_for_the_first() -> None:
    entry = entry_of(wmem(8 * MIB))
    entry.trial = PATH
    assert answer(change(wmem(16 * MIB)), entry) is None
    reason = answer(change(wmem(16 * MIB), trial="10.9.9.0/24"), entry)
    assert reason == f"a trial of it is under way for {PATH}"


def test_raises_have_a_pace() -> None:
    entry = entry_of()
    entry.raises_s = [1000.0 + n for n in range(BURST)]
    wanted = change(wmem(8 * MIB))
    reason = refusal(wanted, entry, MEMORY, 0, 1000.0 + BURST)
    assert reason == "raised 16 times in the last 16 minutes"
    assert refusal(wanted, entry, MEMORY, 0, 1000.0 + BURST * REFILL_S) is None


def test_the_way_down_is_open_whatever_memory_and_pace_say() -> None:
    entry = entry_of(wmem(64 * MIB))
    entry.raises_s = [1000.0] * BURST
    assert answer(change(FOUND), entry, Memory(GIB, 0, GIB, 0)) is None


def test_the_way_back_to_an_odd_value_found_is_open() -> None:
    odd = (4096, 65536, 16384)  # a default above the maximum: the kernel allows it
    assert answer(change(odd), entry_of((4096, 65536, 131072), odd)) is None


def test_a_step_back_that_goes_up_is_none() -> None:
    wanted = replace(change(wmem(8 * MIB)), record="taken_back")
    assert answer(wanted) == "taken_back, but it goes up"


def test_half_of_the_growth_given_back_is_half_of_the_grant() -> None:
    entry = entry_of(wmem(12 * MIB))
    entry.grant_bytes = 10 * 8 * MIB
    assert grant_after(change(wmem(8 * MIB), sockets=99), entry) == 10 * 4 * MIB
    assert grant_after(change(FOUND, sockets=99), entry) == 0


def test_no_sockets_or_no_growth_count_as_little_as_possible() -> None:
    entry = entry_of()
    assert growth_bytes(change(wmem(5 * MIB), sockets=0), entry) == MIB
    assert growth_bytes(change(wmem(4 * MIB)), entry) == 0


def test_what_connections_begin_with_counts_as_growth_too() -> None:
    low, default, most = FOUND
    entry = entry_of()
    more = (low, default + MIB, most)
    assert growth_bytes(change(more, sockets=10), entry) == 10 * MIB
    memory = replace(MEMORY, available_bytes=GIB)
    assert answer(change(more, sockets=129), memory=memory) is not None
    entry = entry_of(more)
    entry.grant_bytes = 10 * MIB
    assert grant_after(change(FOUND), entry) == 0


# --- any sequence whatever ---------------------------------------------------

SINGLE = Tunable("net.core.optmem_max")
TUNABLES = {TCP_WMEM: FOUND, SINGLE: (20480,)}
NAMESPACES = (HOST, RED, BLUE)
SIZES = st.one_of(
    st.sampled_from([2**n * MIB for n in range(2, 12)]),
    st.integers(-1, 2**32),
)
TUNABLE = st.sampled_from(list(TUNABLES))
TRIALS = st.sampled_from(["", PATH, "10.0.1.0/24"])
RECORDS = st.sampled_from(["change", "change", "change", "taken_back", "shrunk"])
SOCKETS = st.one_of(st.integers(-1, 64), st.integers(0, 10**6))


@dataclass(frozen=True)
class Asked:
    """What a tuner gone mad asks for."""

    netns: Netns
    change: Change


def asked_for(value: st.SearchStrategy[Value]) -> st.SearchStrategy[Change]:
    return st.builds(
        Change, TUNABLE, value, st.just("mad"), RECORDS, TRIALS, SOCKETS, st.just({})
    )


def well_formed(asked: Change) -> Change:
    """Give a value as many numbers as its tunable has."""
    largest = asked.value[-1]
    value = wmem(largest) if asked.tunable == TCP_WMEM else (largest,)
    return replace(asked, value=value)


SANE = asked_for(SIZES.map(wmem)).map(well_formed)
ODD = asked_for(st.lists(SIZES, min_size=1, max_size=4).map(tuple))
ASKED = st.builds(Asked, st.sampled_from(NAMESPACES), st.one_of(SANE, SANE, SANE, ODD))
BYTES = st.integers(0, 64 * GIB)


class AnySequence(RuleBasedStateMachine):
    """Tuners gone mad, an admin, a moody kernel: nothing leaves the bounds."""

    @initialize()
    def begin(self) -> None:
        self.now_s, self.memory = 1000.0, MEMORY
        self.ledger, self.records = Ledger(), list[Record]()
        self.namespaces = FakeNamespaces(RED, BLUE)
        self.sysctls = FakeSysctls(self.namespaces)
        self.carrier = Carrier(
            self.ledger,
            self.sysctls,
            self.records.append,
            self.namespaces.undo_prefix,
            observe=False,
        )
        for netns in NAMESPACES:
            self.meet(netns)
        self.raised_s: dict[tuple[NetnsCookie, Tunable], list[float]] = {}

    def meet(self, netns: Netns) -> None:
        for tunable, value in TUNABLES.items():
            self.sysctls.values[netns.cookie, tunable.name] = value
            self.ledger.meet(netns, tunable, "mad", value)

    def facts(self, netns: Netns) -> Facts:
        mine = self.ledger.of(netns.cookie).values()
        return Facts(
            netns,
            self.now_s,
            {e.tunable: e.expected for e in mine},
            {e.tunable: e.found for e in mine},
            frozenset(e.tunable for e in mine if e.yielded),
            self.memory,
        )

    @rule(asked=st.lists(ASKED, min_size=1, max_size=12))
    def tuners_ask(self, asked: list[Asked]) -> None:
        for one in asked:
            self.ask(one.netns, one.change)

    @rule(netns=st.sampled_from(NAMESPACES), sockets=st.integers(1, 64))
    def a_tuner_climbs_as_far_as_it_may(self, netns: Netns, sockets: int) -> None:
        for doubling in range(3, 12):
            value = wmem(2**doubling * MIB)
            self.ask(netns, Change(TCP_WMEM, value, "mad", "change", PATH, sockets))

    def ask(self, netns: Netns, wanted: Change) -> None:
        value, tunable = wanted.value, wanted.tunable
        entry = self.ledger.get(netns.cookie, tunable)
        assert entry is not None
        before, was_trial, yielded = entry.expected, entry.trial, entry.yielded
        writes, granted = len(self.sysctls.writes), self.ledger.granted_bytes()
        heard = self.carrier.change(wanted, self.facts(netns))
        if len(self.sysctls.writes) == writes:
            assert value == before or isinstance(heard, Rejected)
            return
        assert heard is None
        assert not yielded
        up = any(new > old for new, old in zip(value, before, strict=True))
        room = min(
            self.memory.available_bytes,
            self.memory.tcp_pressure_bytes - self.memory.tcp_used_bytes,
        )
        if up:
            assert value[-1] <= self.memory.total_bytes // 64
            assert was_trial in (None, wanted.trial)
            assert self.ledger.granted_bytes() <= room // 8
            times = self.raised_s.setdefault((netns.cookie, tunable), [])
            times.append(self.now_s)
            recent = [t for t in times if self.now_s - t < BURST * REFILL_S]
            assert len(recent) <= BURST
        else:
            assert self.ledger.granted_bytes() <= granted

    @rule(
        netns=st.sampled_from(NAMESPACES),
        tunable=TUNABLE,
        proved=st.booleans(),
    )
    def keep(self, netns: Netns, tunable: Tunable, proved: bool) -> None:
        self.carrier.keep(Keep(tunable, "mad", proved), netns.cookie)

    @rule(
        netns=st.sampled_from(NAMESPACES),
        tunable=TUNABLE,
        number=st.integers(MIB, 8 * MIB),
    )
    def the_admin_writes(self, netns: Netns, tunable: Tunable, number: int) -> None:
        value = wmem(number) if tunable == TCP_WMEM else (number,)
        self.sysctls.by_admin(netns, value, tunable.name)
        self.carrier.hand_over(Yield(tunable, "admin"), netns.cookie, value)
        entry = self.ledger.get(netns.cookie, tunable)
        assert entry is not None
        entry.expected = value  # as the reconciler does

    @rule(moody=st.booleans())
    def the_kernel_changes_its_mood(self, moody: bool) -> None:
        self.sysctls.refusing = SysctlError("Invalid argument", 22) if moody else None

    @rule(total=BYTES, available=BYTES, used=BYTES, pressure=BYTES)
    def memory_changes(
        self, total: int, available: int, used: int, pressure: int
    ) -> None:
        self.memory = Memory(total, min(available, total), used, pressure)

    @rule()
    def memory_is_plenty_again(self) -> None:
        self.memory = MEMORY

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 60.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(netns=st.sampled_from([RED, BLUE]))
    def another_namespace_takes_its_place(self, netns: Netns) -> None:
        self.ledger.forget(netns.cookie)
        for tunable in TUNABLES:
            self.raised_s.pop((netns.cookie, tunable), None)
        self.meet(netns)

    @precondition(lambda self: self.sysctls.refusing is None)
    @rule()
    def all_is_settled(self) -> None:
        self.carrier.settle(None, "stopped")
        assert all(entry.trial is None for entry in self.ledger)
        for entry in self.ledger:
            assert entry.yielded or entry.expected == entry.settled

    @invariant()
    def the_ledger_tells_what_is_in_force(self) -> None:
        for entry in self.ledger:
            cookie, name = entry.netns.cookie, entry.tunable.name
            assert self.sysctls.values[cookie, name] == entry.expected
            assert entry.intended is None

    @invariant()
    def nothing_is_below_what_was_found_nor_out_of_shape(self) -> None:
        for entry in self.ledger:
            if entry.yielded:
                assert entry.grant_bytes == 0
                continue
            pairs = list(zip(entry.expected, entry.found, strict=True))
            assert all(now >= found for now, found in pairs)
            assert all(0 < now < 2**31 for now in entry.expected)
            assert list(entry.expected) == sorted(entry.expected)

    @invariant()
    def nothing_is_granted_where_nothing_is_ours(self) -> None:
        for entry in self.ledger:
            assert entry.grant_bytes >= 0
            if not entry.ours:
                assert entry.grant_bytes == 0

    @invariant()
    def every_record_of_a_change_says_how_to_undo_it(self) -> None:
        for record in self.records:
            if record.record in {"change", "kept"} and record.new is not None:
                # Back at the value found there is nothing left to undo.
                assert (record.undo is None) == (
                    record.new in {entry.found for entry in self.ledger}
                )
        self.records.clear()


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=40, stateful_step_count=50)
