"""The receive side of the tuner, replayed in a synthetic world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bpftune.agenda import Agenda
from bpftune.model import (
    Advise,
    Change,
    Event,
    Facts,
    Keep,
    Memory,
    Nudge,
    Rejected,
    Request,
    Sampled,
    Survey,
    Value,
    Wake,
    Watch,
    Woken,
    Yielded,
)
from bpftune.tuners.tcp_buffer import TcpBuffer
from bpftune.tuners.tcp_buffer.events import Connected, RcvbufLimited, SndbufLimited
from bpftune.tuners.tcp_buffer.paths import FIRST_PATIENCE, RECEIVERS
from tests.unit.fakes import FOUND, HOST, MEMORY, MIB, TCP_RMEM, TCP_WMEM, prefix
from tests.unit.policy.world import World

NEAR, FAR = prefix(1), prefix(2)


def starving(**change: float) -> World:
    """A receiver that needs four times the buffer that was found."""
    world = World(rate=35e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0, receivers=True)
    return replace(world, **change)  # type: ignore[arg-type]


@dataclass
class Run:
    """The tuner in one namespace, with one path; what it asks for is done at once."""

    world: World
    tuner: TcpBuffer = field(default_factory=TcpBuffer)
    value: Value = FOUND
    now_s: float = 1000.0
    agenda: Agenda = field(default_factory=Agenda)
    changes: list[Change] = field(default_factory=list)
    keeps: list[Keep] = field(default_factory=list)
    nudges: list[tuple[Nudge, int]] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    refuses: bool = False
    is_fixed: bool = False  # tcp_moderate_rcvbuf is off
    advice: list[Advise] = field(default_factory=list)
    notices: bool = True  # live receivers notice a raised limit when nudged
    memory: Memory = MEMORY
    limit: int = FOUND[2]  # what live receivers have noticed

    def facts(self) -> Facts:
        values = {TCP_WMEM: FOUND, TCP_RMEM: self.value}
        found = {TCP_WMEM: FOUND, TCP_RMEM: FOUND}
        return Facts(HOST, self.now_s, values, found, frozenset(), self.memory)

    def tell(self, event: Event) -> list[Request]:
        requests = list(self.tuner.event_handler(event, self.facts()))
        for request in requests:
            match request:
                case Watch():
                    self.watches.append(request)
                    self.agenda.watch(self.tuner, HOST.cookie, request, self.now_s)
                case Wake():
                    self.agenda.wake(self.tuner, HOST.cookie, request, self.now_s)
                case Keep():
                    self.keeps.append(request)
                case Change():
                    self.change(request)
                case Advise():
                    self.advice.append(request)
                case Nudge():
                    self.nudges.append((request, self.value[2]))
                    if self.notices:
                        self.limit = max(self.limit, self.value[2])
        return requests

    def change(self, change: Change) -> None:
        assert change.tunable == TCP_RMEM
        if self.refuses:
            self.tell(Rejected(HOST.cookie, TCP_RMEM, change.value, "no"))
        else:
            self.changes.append(change)
            self.value = change.value

    def hint(self) -> list[Request]:
        return self.tell(
            RcvbufLimited(HOST.cookie, NEAR, self.value[2], 200_000, self.is_fixed)
        )

    def go_on(self, seconds: float) -> None:
        """Let *seconds* pass, with a hint a second: a buffer at its limit stays so."""
        end_s, hint_s = self.now_s + seconds, self.now_s
        while self.now_s < end_s:
            if self.now_s >= hint_s:
                hint_s += 1.0
                self.hint()
            for wake in self.agenda.due_wakes(self.now_s):
                self.tell(Woken(HOST.cookie, wake.name))
            for due in self.agenda.due_looks(self.now_s):
                assert due.watch.receivers
                self.world.limit = self.limit
                seen = self.world.look(self.now_s - self.world.now_s)
                wanted = due.watch.buffer_bytes
                socks = tuple(one for one in seen if one.rcvbuf_bytes >= wanted)
                to = due.watch.prefix
                self.tell(Sampled(HOST.cookie, to, socks, due.left, receivers=True))
            self.now_s = min(end_s, hint_s, self.agenda.next_s() or end_s)

    @property
    def path(self) -> list[tuple[str, int]]:
        return [(change.record, change.value[2] // MIB) for change in self.changes]


def test_a_starved_receiver_gets_what_it_needs_and_it_is_kept() -> None:
    run = Run(starving())
    run.go_on(60)
    assert run.path == [("change", 8), ("change", 16)]
    assert [keep.proved for keep in run.keeps] == [True, True]
    assert run.keeps[0].why.startswith("goodput from 10.0.1.0/24 rose +")
    assert "round trip" not in run.keeps[0].why


def test_each_raise_is_followed_by_a_nudge_of_those_at_the_old_limit() -> None:
    run = Run(starving())
    run.go_on(60)
    assert [(nudge.tunable, nudge.prefix) for nudge, _ in run.nudges] == [
        (TCP_RMEM, NEAR),
        (TCP_RMEM, NEAR),
    ]
    # After the write, and the sockets of the old limit are large enough for it.
    assert [value // MIB for _, value in run.nudges] == [8, 16]
    levels = [4 * MIB, 8 * MIB]
    for (nudge, _), old in zip(run.nudges, levels, strict=True):
        assert old // 2 < nudge.buffer_bytes <= old


def test_where_live_receivers_do_not_notice_it_is_taken_back() -> None:
    run = Run(starving(), notices=False)
    run.go_on(60)
    assert run.value == FOUND
    assert run.changes[-1].record == "taken_back"


def test_path_limited_receivers_at_the_cap_change_nothing() -> None:
    run = Run(starving(rate=2e6))
    run.go_on(120)
    assert run.changes == []


def test_a_reader_that_does_not_keep_up_changes_nothing() -> None:
    run = Run(starving(unread=0.7))
    run.go_on(120)
    assert run.changes == []


def test_lossy_receivers_change_nothing() -> None:
    run = Run(starving(loss_share=0.5))
    run.go_on(120)
    assert run.changes == []


def test_the_window_scale_ends_a_climb_and_is_said() -> None:
    run = Run(starving(wscale=6))  # 4 MB; it needs 8
    run.go_on(60)
    assert run.path == [("change", 8)]
    assert "window scale" in run.keeps[-1].why


def test_a_refused_raise_is_not_the_end_of_the_tuner() -> None:
    run = Run(starving(), refuses=True)
    run.go_on(30)
    assert not run.changes
    assert not run.keeps
    assert run.value == FOUND


def test_an_unused_limit_shrinks_to_what_was_found() -> None:
    run = Run(starving())
    run.go_on(60)
    run.world = replace(run.world, flows=0)
    run.go_on(60.0 * (3 * FIRST_PATIENCE + 5))
    assert run.value == FOUND
    assert run.changes[-1].why.startswith("no receiver used more than half")
    unused = [watch for watch in run.watches if watch.prefix is None]
    assert unused
    assert all(watch.receivers for watch in unused)


def test_what_was_grown_shrinks_first_when_tcp_is_short_of_memory() -> None:
    run = Run(starving())
    run.go_on(30)
    grown = run.value[2]
    assert grown > FOUND[2]
    run.memory = replace(MEMORY, tcp_used_bytes=MEMORY.tcp_pressure_bytes)
    run.tell(Woken(HOST.cookie, RECEIVERS.unused))
    assert run.value[2] == grown // 2
    assert run.changes[-1].record == "shrunk"
    assert run.changes[-1].why == (
        "TCP holds 64 GiB, and from 64 GiB the kernel saves memory; "
        "connections that need the buffer become slower"
    )
    for _ in range(5):  # and on, once a minute, but never below what was found
        run.tell(Woken(HOST.cookie, RECEIVERS.unused))
    assert run.value == FOUND


def test_where_the_kernel_may_not_enlarge_buffers_it_is_said_and_left_so() -> None:
    run = Run(starving(limit=FOUND[1]), is_fixed=True, limit=FOUND[1])
    run.go_on(120)
    assert not run.changes
    assert not run.nudges
    # Every now and then, and ever more seldom.
    assert 2 <= len(run.advice) <= 6
    (advice,) = set(run.advice)
    assert advice.tunable.name == "net.ipv4.tcp_moderate_rcvbuf"
    assert (advice.old, advice.new) == ((0,), (1,))
    assert advice.why == (
        "1 of 1 sockets from 10.0.1.0/24 get a whole window per round trip in 100% of "
        "looks, and the kernel may not enlarge their receive buffers: that is the "
        "admin's choice"
    )


def test_a_fixed_buffer_that_is_large_enough_is_not_worth_a_word() -> None:
    run = Run(starving(limit=FOUND[1], rate=1e4), is_fixed=True, limit=FOUND[1])
    run.go_on(120)
    assert not run.advice
    assert not run.changes


def test_the_sides_do_not_disturb_each_other() -> None:
    run = Run(starving())
    run.hint()
    assert run.tell(SndbufLimited(HOST.cookie, NEAR, FOUND[2], 200_000)) == [
        Watch(NEAR, 0.0625, 200)
    ]
    state = run.tuner.namespaces[HOST.cookie]
    assert state.receivers.paths[NEAR].watching
    assert state.senders.paths[NEAR].watching
    assert run.tell(Yielded(HOST.cookie, TCP_RMEM)) == [
        Watch(NEAR, 0, 0, receivers=True)
    ]
    state = run.tuner.namespaces[HOST.cookie]
    assert not state.receivers.paths
    assert state.senders.paths[NEAR].watching


def test_while_there_are_connections_receivers_are_looked_for_once_a_minute() -> None:
    run = Run(starving())
    assert run.tell(Connected(HOST.cookie)) == [Wake("survey_receivers", 60.0)]
    assert run.tell(Connected(HOST.cookie)) == []
    assert run.tell(Woken(HOST.cookie, "survey_receivers")) == [
        Survey("survey_receivers")
    ]
    # The pass finds none: nothing is remembered, and nothing more is due.
    assert run.tuner.namespaces == {}
    assert run.tell(Woken(HOST.cookie, RECEIVERS.unused)) == []
