from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from bpftune.daemon import Daemon
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Netns,
    NetnsCookie,
    NetnsGone,
    Nudge,
    Recheck,
    Rejected,
    Request,
    Sampled,
    Survey,
    Tunable,
    Tuner,
    Wake,
    Watch,
    Woken,
    Yield,
    Yielded,
)
from bpftune.tuners.sysctl import SysctlWritten
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from bpftune.tuners.tcp_buffer import TcpBuffer
from bpftune.tuners.tcp_buffer.events import SndbufLimited
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MEMORY,
    MIB,
    RED,
    TCP_WMEM,
    FakeMachine,
    prefix,
    wmem,
)
from tests.unit.policy.world import World

GROWN, ADMINS = wmem(8 * MIB), wmem(5 * MIB)
RMEM = Tunable("net.ipv4.tcp_rmem")
STRANGER = Netns(NetnsCookie(99), "stranger")


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """What the scripted tuner's BPF program would emit."""

    number: int = 0


class Scripted(Tuner):
    """Remembers what it hears, and answers as it is told."""

    def __init__(
        self, name: str = "scripted", tunables: tuple[Tunable, ...] = (TCP_WMEM,)
    ) -> None:
        super().__init__(name, "as it is told", tunables, (Seen,))
        self.heard: list[Event] = []
        self.facts: list[Facts] = []
        self.answers: dict[type[Event], list[Request]] = {}
        self.begin: list[Request] = []
        self.failing_on: type[Event] | None = None
        self.fails_at_start = self.fails_at_end = self.ended = False
        self.give_up_after = 1000
        self.during: Callable[[], None] = lambda: None

    def init(self, facts: Facts) -> Iterable[Request]:
        self.facts.append(facts)
        self.during()
        if self.fails_at_start:
            raise ValueError("bad plugin")
        return self.begin

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        self.heard.append(event)
        self.facts.append(facts)
        self.during()
        if self.failing_on is not None and isinstance(event, self.failing_on):
            raise ZeroDivisionError("division by zero")
        assert len(self.heard) < self.give_up_after, "this would not end"
        return self.answers.get(type(event), [])

    def fini(self) -> None:
        self.ended = True
        if self.fails_at_end:
            raise ValueError("bad plugin")


def raised(largest: int = 8 * MIB) -> Change:
    return Change(TCP_WMEM, wmem(largest), "it is short", trial="10.0.0.0/24")


def written(netns: Netns, old: bytes = b"4096 16384 4194304") -> SysctlWritten:
    """What the hook sees as the admin in *netns* begins to write ``tcp_wmem``."""
    return SysctlWritten(
        netns.cookie,
        1,
        0,
        b"sysctl".ljust(16, b"\0"),
        b"net/ipv4/tcp_wmem".ljust(64, b"\0"),
        old.ljust(64, b"\0"),
        b"".ljust(64, b"\0"),
    )


class Scene:
    """A daemon with the sysctl tuner and a scripted one on a fake machine."""

    def __init__(self, *others: Tuner, observe: bool = False, only: str = "") -> None:
        self.machine = FakeMachine(RED, BLUE)
        self.tuner = Scripted()
        self.tuner.answers[Seen] = [raised()]
        self.daemon: Daemon = self.machine.daemon(
            sysctl_tuner, self.tuner, *others, observe=observe, only_netns=only
        )

    def see(self, netns: Netns = HOST) -> None:
        self.daemon.handle(self.tuner, Seen(netns.cookie))

    def admin_writes(self, netns: Netns, value: tuple[int, ...]) -> None:
        """Let the hook see a write, and the write happen after that."""
        self.machine.loader.queue(sysctl_tuner, written(netns))
        self.daemon.turn()
        self.machine.sysctls.by_admin(netns, value)
        self.machine.let_pass(self.daemon, 2.0)

    def largest(self, netns: Netns) -> int:
        return self.machine.sysctls.largest(netns)

    def is_the_admins(self, netns: Netns) -> bool:
        entry = self.daemon.ledger.get(netns.cookie, TCP_WMEM)
        return entry is not None and entry.yielded

    @property
    def writes(self) -> list[tuple[NetnsCookie, str, tuple[int, ...]]]:
        return self.machine.sysctls.writes


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- events and facts --------------------------------------------------------


def test_an_event_is_decided_with_what_is_true_in_its_namespace(scene: Scene) -> None:
    scene.machine.sysctls.by_admin(RED, wmem(6 * MIB))
    scene.see(RED)
    (facts,) = scene.tuner.facts
    assert facts == Facts(
        RED,
        1000.0,
        {TCP_WMEM: wmem(6 * MIB)},
        {TCP_WMEM: wmem(6 * MIB)},
        frozenset(),
        MEMORY,
    )
    assert scene.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]
    assert scene.largest(HOST) == 4 * MIB


def test_a_tuner_knows_what_others_have_on_trial_there() -> None:
    other = Scripted("other", ())
    scene = Scene(other)
    scene.see(RED)
    for netns in (RED, BLUE):
        scene.daemon.handle(other, Seen(netns.cookie))
    assert [facts.trials for facts in other.facts] == [{"10.0.0.0/24"}, frozenset()]


def test_events_in_the_ring_go_to_their_tuners_in_order(scene: Scene) -> None:
    events = [Seen(HOST.cookie, number) for number in range(5)]
    scene.machine.loader.queue(scene.tuner, *events)
    scene.daemon.turn()
    assert scene.tuner.heard == events


def test_a_flood_waits_in_the_ring_and_not_in_memory(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, heard = scene.machine.loader, scene.tuner.heard
    events = [Seen(HOST.cookie, number) for number in range(900)]
    loader.queue(scene.tuner, *events)
    in_memory: list[int] = []
    take = loader.take

    def taken(most: int) -> list[bytes]:
        found = take(most)
        in_memory.append(len(events) - len(loader.waiting) - len(heard))
        return found

    monkeypatch.setattr(loader, "take", taken)
    scene.daemon.turn()
    assert heard == events
    assert max(in_memory) <= 32


def test_in_a_flood_a_turn_ends_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Seen(HOST.cookie, number) for number in range(900)]
    scene.machine.loader.queue(scene.tuner, *events)
    handle = scene.daemon.handle

    def slowly(tuner: Tuner, event: Event) -> None:
        scene.machine.clock.now_s += 0.001
        handle(tuner, event)

    monkeypatch.setattr(scene.daemon, "handle", slowly)
    began_s = scene.machine.clock.now_s
    due_s = scene.daemon.turn()
    assert scene.machine.clock.now_s - began_s < 0.03
    assert due_s <= scene.machine.clock.now_s
    assert scene.machine.loader.waiting
    while len(scene.tuner.heard) < len(events):
        scene.daemon.turn()
    assert scene.tuner.heard == events


def test_a_flood_that_meets_the_admins_write_waits_as_it_came(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.see(RED)
    scene.tuner.answers[Seen], scene.tuner.give_up_after = [], 10_000
    loader = scene.machine.loader
    events = [Seen(RED.cookie, number) for number in range(6000)]
    loader.queue(scene.tuner, *events[:3000])
    loader.queue(sysctl_tuner, written(RED))
    loader.queue(scene.tuner, *events[3000:])
    scene.machine.sysctls.by_admin(RED, ADMINS)
    decoded: list[bytes] = []
    decode, handle = loader.decode, scene.daemon.handle

    def noted(record: bytes) -> tuple[Tuner, Event]:
        decoded.append(record)
        return decode(record)

    def slowly(tuner: Tuner, event: Event) -> None:
        scene.machine.clock.now_s += 0.03  # then the turn ends
        handle(tuner, event)

    monkeypatch.setattr(loader, "decode", noted)
    monkeypatch.setattr(scene.daemon, "handle", slowly)
    scene.daemon.turn()
    (record,) = scene.machine.told("yielded")
    assert record.why == "uid 0 (sysctl) set it to 4096 16384 5242880"
    assert len(decoded) == 2  # the first of the flood, and the write
    monkeypatch.undo()
    while scene.daemon.inbox or loader.waiting:
        scene.daemon.turn()
    assert [one for one in scene.tuner.heard if isinstance(one, Seen)][1:] == events


def test_what_a_namespace_has_not_is_not_among_the_facts(scene: Scene) -> None:
    scene.machine.sysctls.missing.add((RED.cookie, TCP_WMEM.name))
    scene.see(RED)
    assert scene.tuner.facts[0].values == {}
    assert scene.writes == []


def test_a_refused_change_is_heard_by_its_tuner(scene: Scene) -> None:
    scene.machine.sysctls.refusing = SysctlError("Invalid argument", 22)
    scene.see()
    assert scene.tuner.heard[1] == Rejected(
        HOST.cookie, TCP_WMEM, GROWN, "Invalid argument"
    )


def test_requests_are_carried_out_when_they_are_due(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [Watch(prefix(1), 0.5, 2), Wake("tea", 3)]
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=999.0)
    scene.machine.sockets.worlds[RED.cookie, prefix(1)] = world
    scene.see(RED)
    scene.machine.let_pass(scene.daemon, 5.0)
    looks = [event for event in scene.tuner.heard if isinstance(event, Sampled)]
    assert [(look.netns_cookie, look.left) for look in looks] == [(2, 1), (2, 0)]
    assert all(len(look.sockets) == 1 for look in looks)
    assert scene.tuner.heard[-1] == Woken(RED.cookie, "tea")


def test_a_survey_runs_where_the_event_was_or_everywhere(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [Survey("list")]
    scene.see(RED)
    scene.tuner.answers[Seen] = [Survey("list", everywhere=True)]
    scene.see(BLUE)
    where = [cookie for _, _, cookie in scene.machine.loader.iterated]
    assert where == [RED.cookie, HOST.cookie, RED.cookie, BLUE.cookie]


def test_what_paid_is_kept(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [raised(), Keep(TCP_WMEM, "it paid", proved=True)]
    scene.see()
    scene.daemon.stop()
    assert scene.largest(HOST) == 8 * MIB
    assert scene.machine.kinds() == ["change", "kept", "stopped", "stopped"]


# --- namespaces --------------------------------------------------------------


def test_an_event_from_an_unknown_namespace_is_counted_and_never_hits_the_host(
    scene: Scene,
) -> None:
    scene.see(STRANGER)
    assert scene.tuner.heard == [NetnsGone(STRANGER.cookie)]
    assert scene.writes == []
    assert scene.daemon.lost == {"network namespace gone": 1}


def test_a_namespace_that_ends_between_decision_and_write_is_forgotten(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.machine.sysctls.writes.clear()
    scene.tuner.answers[Seen] = [raised(16 * MIB), Watch(None, 1, 9), Wake("tea", 1)]
    scene.tuner.during = lambda: (
        scene.machine.namespaces.end(RED)
        if RED.cookie in scene.machine.namespaces.there
        else None
    )
    scene.see(RED)
    assert scene.writes == []
    assert scene.largest(HOST) == 4 * MIB
    assert scene.tuner.heard[-1] == NetnsGone(RED.cookie)
    assert scene.daemon.lost == {"network namespace gone": 1}
    assert scene.daemon.ledger.of(RED.cookie) == {}
    assert scene.daemon.agenda.next_s() is None
    assert scene.machine.sysctls.forgotten == [RED.cookie]


def test_a_namespace_that_ended_in_silence_is_forgotten_within_a_minute(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.machine.namespaces.end(RED)
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.tuner.heard[-1] == NetnsGone(RED.cookie)
    assert scene.daemon.ledger.of(RED.cookie) == {}


def test_a_look_into_a_namespace_that_ended_is_the_last(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [Watch(None, 0.5, 100)]
    scene.see(RED)
    scene.machine.namespaces.end(RED)
    scene.machine.let_pass(scene.daemon, 2.0)
    assert scene.tuner.heard[1:] == [NetnsGone(RED.cookie)]
    assert scene.daemon.lost == {"network namespace gone": 1}


def test_a_laboratorys_daemon_keeps_to_its_own_namespaces() -> None:
    scene = Scene(only="re")
    scene.tuner.begin = [raised(), Watch(None, 1, 9), Survey("list", everywhere=True)]
    scene.daemon.start()
    for netns in (HOST, BLUE, RED, STRANGER):
        scene.see(netns)
    scene.machine.let_pass(scene.daemon, 5.0)
    assert scene.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]
    assert {event.netns_cookie for event in scene.tuner.heard} == {RED.cookie}
    assert [cookie for *_, cookie in scene.machine.loader.iterated] == [RED.cookie]
    assert set(scene.machine.namespaces.entered) == {RED.cookie}


# --- the admin ---------------------------------------------------------------


def test_the_admins_write_in_one_namespace_leaves_the_other_alone(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.see(BLUE)
    scene.admin_writes(RED, ADMINS)
    assert scene.is_the_admins(RED)
    assert not scene.is_the_admins(BLUE)
    scene.tuner.answers[Seen] = [raised(16 * MIB)]
    scene.see(RED)
    scene.see(BLUE)
    assert scene.largest(RED) == 5 * MIB
    assert scene.largest(BLUE) == 16 * MIB
    (record,) = scene.machine.told("yielded")
    assert record.netns == RED
    assert record.why == "uid 0 (sysctl) set it to 4096 16384 5242880"
    assert Yielded(RED.cookie, TCP_WMEM) in scene.tuner.heard


def test_a_write_of_the_same_value_or_a_refused_one_hands_nothing_over(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.admin_writes(RED, GROWN)  # the same; a refused one looks like it
    assert not scene.is_the_admins(RED)
    scene.tuner.answers[Seen] = [raised(16 * MIB)]
    scene.see(RED)
    assert scene.largest(RED) == 16 * MIB


def test_a_write_that_takes_half_a_second_is_found_all_the_same(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.machine.let_pass(scene.daemon, 0.4)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.machine.let_pass(scene.daemon, 0.2)
    assert scene.is_the_admins(RED)


def test_a_write_where_nothing_was_known_hands_over_and_remembers_what_was_before(
    scene: Scene,
) -> None:
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.machine.loader.queue(sysctl_tuner, written(RED, b"4096\t16384\t6291456"))
    scene.daemon.turn()
    assert scene.is_the_admins(RED)
    (record,) = scene.machine.told("yielded")
    assert (record.old, record.new) == (wmem(6 * MIB), ADMINS)
    assert scene.writes == []


def test_a_write_that_no_hook_saw_is_found_within_a_minute(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.is_the_admins(RED)


def test_a_write_that_no_hook_saw_is_found_before_the_next_decision(
    scene: Scene,
) -> None:
    scene.see(RED)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.tuner.answers[Seen] = [raised(16 * MIB)]
    scene.see(RED)
    assert scene.is_the_admins(RED)
    assert scene.largest(RED) == 5 * MIB
    assert scene.tuner.facts[-1].yielded == {TCP_WMEM}


def test_the_admin_wins_even_if_the_sysctl_tuner_is_missing_or_broken() -> None:
    broken = Scripted("sysctl", ())
    broken.failing_on = Event
    for tuners in ([], [broken], [Scripted("sysctl", ())]):
        machine, tuner = FakeMachine(RED), Scripted()
        tuner.answers[Seen] = [raised()]
        daemon = machine.daemon(*tuners, tuner)
        daemon.handle(tuner, Seen(RED.cookie))
        machine.sysctls.by_admin(RED, ADMINS)
        tuner.answers[Seen] = [raised(16 * MIB)]
        daemon.handle(tuner, Seen(RED.cookie))
        daemon.handle(tuner, Seen(RED.cookie))
        assert machine.sysctls.largest(RED) == 5 * MIB
        assert len(machine.told("yielded")) == 1


def test_the_admin_wins_though_another_sysctl_cannot_be_read(scene: Scene) -> None:
    scene.tuner.tunables = (TCP_WMEM, RMEM)
    scene.see(RED)
    scene.machine.sysctls.missing.add((RED.cookie, RMEM.name))
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.see(RED)
    scene.machine.sysctls.missing.clear()
    scene.tuner.answers[Seen] = [raised(16 * MIB)]
    scene.see(RED)
    assert scene.largest(RED) == 5 * MIB
    assert scene.is_the_admins(RED)


def test_what_a_file_of_the_admins_sets_is_not_tuned_on_the_host(scene: Scene) -> None:
    scene.machine.set_in_file(TCP_WMEM, "4096 16384 1048576", "/etc/sysctl.conf", 7)
    scene.daemon.start()
    scene.see(HOST)
    scene.see(RED)
    assert scene.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]
    (record,) = scene.machine.told("yielded")
    assert record.netns == HOST
    assert record.why == "/etc/sysctl.conf line 7 sets it"
    assert scene.tuner.heard[0] == Yielded(HOST.cookie, TCP_WMEM)


def test_a_tuner_hears_at_start_what_is_the_admins(scene: Scene) -> None:
    scene.machine.set_in_file(TCP_WMEM, "4096 16384 1048576", "/etc/sysctl.conf", 7)
    scene.daemon.start()
    assert scene.tuner.facts[0].yielded == {TCP_WMEM}
    assert scene.tuner.heard == [Yielded(HOST.cookie, TCP_WMEM)]


def test_what_the_admin_writes_as_we_start_is_the_admins(scene: Scene) -> None:
    first = Scripted("first")
    first.during = lambda: scene.machine.sysctls.by_admin(HOST, ADMINS)
    scene.daemon.tuners.insert(1, first)
    scene.daemon.start()
    assert scene.is_the_admins(HOST)
    assert scene.tuner.facts[0].yielded == {TCP_WMEM}


def test_what_a_file_sets_is_the_admins_even_if_the_sysctl_comes_later(
    scene: Scene,
) -> None:
    scene.machine.set_in_file(TCP_WMEM, "4096 16384 1048576", "/etc/sysctl.conf", 7)
    scene.machine.sysctls.missing.add((HOST.cookie, TCP_WMEM.name))
    scene.daemon.start()
    scene.machine.sysctls.missing.clear()  # a module was loaded
    scene.see(HOST)
    assert scene.writes == []
    assert scene.is_the_admins(HOST)


# --- what goes wrong ---------------------------------------------------------


def test_a_tuner_that_raises_is_switched_off_its_trials_taken_back_others_go_on() -> (
    None
):
    other = Scripted("another", (RMEM,))
    scene = Scene(other)
    scene.tuner.answers[Seen] = [raised(), Wake("tea", 1), Watch(None, 1, 9)]
    scene.see()
    scene.tuner.failing_on = Seen
    scene.see()
    assert scene.largest(HOST) == 4 * MIB
    assert scene.tuner not in scene.daemon.tuners
    assert scene.daemon.agenda.next_s() is None
    (record,) = scene.machine.told("degraded")
    assert record.tuner == "scripted"
    assert record.why == (
        "switched off, the other tuners go on: ZeroDivisionError: division by zero"
    )
    heard = len(scene.tuner.heard)
    scene.see()
    assert len(scene.tuner.heard) == heard
    scene.daemon.handle(other, Seen(HOST.cookie))
    assert other.heard == [Seen(HOST.cookie)]


def test_a_tuner_that_raises_at_start_is_switched_off_and_others_go_on(
    scene: Scene,
) -> None:
    bad = Scripted("bad")
    bad.fails_at_start = True
    scene.daemon.tuners.insert(0, bad)
    scene.daemon.start()
    assert bad not in scene.daemon.tuners
    (record,) = scene.machine.told("degraded")
    assert (record.tuner, record.why) == (
        "bad",
        "switched off, the other tuners go on: ValueError: bad plugin",
    )
    scene.see()
    assert len(scene.writes) == 1


def test_a_tuner_whose_event_handler_yields_half_and_raises_changes_nothing(
    scene: Scene,
) -> None:
    def half(event: Event, facts: Facts) -> Iterable[Request]:
        del event, facts
        yield raised()
        raise ZeroDivisionError

    scene.tuner.event_handler = half  # type: ignore[method-assign]
    scene.see()
    assert scene.writes == []


def test_a_tuner_that_raises_at_the_end_hinders_nobody_from_ending() -> None:
    other = Scripted("another", (RMEM,))
    scene = Scene(other)
    scene.tuner.fails_at_end = True
    scene.daemon.stop()
    assert other.ended
    (record,) = scene.machine.told("degraded")
    assert (record.tuner, record.why) == ("scripted", "fini: bad plugin")


def test_a_tuner_that_insists_on_what_is_refused_is_switched_off(
    scene: Scene,
) -> None:
    scene.tuner.answers[Seen] = [raised(1 << 31), raised(1 << 32)]
    scene.see()
    assert scene.tuner in scene.daemon.tuners
    scene.tuner.answers[Rejected] = [raised(1 << 31)]
    scene.tuner.give_up_after = 200
    scene.see()
    assert scene.tuner not in scene.daemon.tuners
    assert scene.machine.records[-1].why == (
        "switched off, the other tuners go on: it insists on what is refused"
    )


def test_a_tuner_that_raises_when_a_namespace_ends_is_switched_off(
    scene: Scene,
) -> None:
    scene.tuner.failing_on = NetnsGone
    scene.see(STRANGER)
    assert scene.tuner not in scene.daemon.tuners


def test_an_error_of_the_kernels_costs_one_event_not_the_daemon(scene: Scene) -> None:
    scene.machine.sysctls.unreadable = SysctlError("Input/output error", 5)
    scene.see()
    assert scene.machine.kinds() == ["degraded"]
    scene.machine.sysctls.unreadable = None
    scene.see()
    assert scene.largest(HOST) == 8 * MIB


def test_a_look_that_fails_is_told_and_tried_again(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [Watch(None, 0.5, 1)]
    scene.see()
    scene.machine.sockets.failing = KernelError("the iterator failed")
    scene.daemon.turn()
    (record,) = scene.machine.told("degraded")
    assert (record.tuner, record.why) == ("scripted", "the iterator failed")
    scene.machine.sockets.failing = None
    scene.machine.let_pass(scene.daemon, 3.0)
    assert scene.tuner.heard[1:] == [Sampled(HOST.cookie, None, (), 0)]


@pytest.mark.parametrize("seconds", [0.5, 61.0])
def test_a_sysctl_that_cannot_be_read_again_does_not_end_the_daemon(
    scene: Scene, seconds: float
) -> None:
    scene.see(RED)
    scene.see(BLUE)
    scene.machine.sysctls.missing.add((RED.cookie, TCP_WMEM.name))
    scene.machine.sysctls.by_admin(BLUE, ADMINS)
    if seconds < 60:
        scene.machine.loader.queue(sysctl_tuner, written(BLUE))
    scene.machine.let_pass(scene.daemon, seconds)
    assert scene.is_the_admins(BLUE)


def test_a_write_where_nothing_can_be_read_does_not_end_the_daemon(
    scene: Scene,
) -> None:
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.machine.sysctls.unreadable = SysctlError("Input/output error", 5)
    scene.machine.let_pass(scene.daemon, 2.0)
    assert "degraded" in scene.machine.kinds()


def test_a_namespace_that_cannot_be_surveyed_does_not_hide_the_others(
    scene: Scene,
) -> None:
    scene.machine.loader.broken[RED.cookie] = KernelError("cannot enter red")
    scene.tuner.begin = [Survey("list", everywhere=True)]
    scene.daemon.start()
    where = [cookie for *_, cookie in scene.machine.loader.iterated]
    assert where == [HOST.cookie, BLUE.cookie]
    assert [record.why for record in scene.machine.told("degraded")] == [
        "cannot enter red"
    ]


def test_an_error_at_start_costs_a_tuner_its_beginning_not_the_daemon(
    scene: Scene,
) -> None:
    scene.machine.sysctls.unreadable = SysctlError("Input/output error", 5)
    scene.daemon.start()
    assert "degraded" in scene.machine.kinds()
    scene.machine.sysctls.unreadable = None
    scene.see()
    assert scene.largest(HOST) == 8 * MIB


def test_a_namespace_that_ended_is_no_trouble_when_memory_cannot_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise KernelError("cannot read the memory in use")

    scene.see(RED)
    monkeypatch.setattr(scene.machine, "memory", fails)
    scene.machine.namespaces.end(RED)
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.tuner.heard[-1] == NetnsGone(RED.cookie)


# --- losses, stop, observe ---------------------------------------------------


def test_what_was_lost_is_told_once_by_cause(scene: Scene) -> None:
    scene.machine.loader.losses = {
        "scripted": {"ring buffer full": 3},
        "sysctl": {"ring buffer full": 2},
    }
    scene.see(STRANGER)
    scene.machine.let_pass(scene.daemon, 185.0)
    (record,) = scene.machine.told("lost")
    assert record.why == (
        "1 events: network namespace gone, 5 events: ring buffer full"
    )
    scene.machine.loader.losses["sysctl"]["ring buffer full"] = 4
    scene.machine.let_pass(scene.daemon, 60.0)
    last = scene.machine.told("lost")[-1]
    assert (last.why, last.extra) == (
        "2 events: ring buffer full",
        {"lost": {"ring buffer full": 2}},
    )


def test_nothing_lost_is_not_told(scene: Scene) -> None:
    scene.machine.let_pass(scene.daemon, 185.0)
    assert scene.machine.kinds() == []


def test_a_stop_takes_back_the_trial_ends_the_tuners_and_sums_up(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [raised(), Keep(TCP_WMEM, "it paid", proved=True)]
    scene.see(RED)
    scene.tuner.answers[Seen] = [raised(16 * MIB)]
    scene.see(RED)
    scene.machine.records.clear()
    scene.daemon.stop()
    assert scene.tuner.ended
    assert scene.largest(RED) == 8 * MIB
    assert scene.machine.kinds() == ["taken_back", "stopped", "stopped"]
    assert scene.machine.records[-1].why == "1 value stays in force"


def test_a_stop_does_not_claim_what_the_admin_just_wrote(scene: Scene) -> None:
    scene.tuner.answers[Seen] = [raised(), Keep(TCP_WMEM, "it paid", proved=True)]
    scene.see(RED)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.daemon.stop()
    assert scene.largest(RED) == 5 * MIB
    assert scene.machine.records[-1].why == "0 values stay in force"


def test_observing_writes_nothing_and_says_what_it_would_do() -> None:
    scene = Scene(observe=True)
    scene.see(RED)
    scene.daemon.stop()
    assert scene.writes == []
    assert scene.machine.kinds() == ["advice", "stopped"]
    assert scene.tuner.heard[1] == Rejected(RED.cookie, TCP_WMEM, GROWN, "observing")


def test_memory_is_given_back_each_minute(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(
        "bpftune.daemon.give_memory_back",
        lambda: given.append(scene.machine.clock.now_s),
    )
    scene.machine.let_pass(scene.daemon, 185.0)
    assert given == [1060.0, 1080.0, 1140.0]


def test_an_idle_daemon_wakes_once_a_minute(scene: Scene) -> None:
    assert scene.daemon.turn() - scene.machine.clock.now_s == 60.0
    scene.machine.clock.now_s += 60.0
    due_s = scene.daemon.turn()
    assert 0 < due_s - scene.machine.clock.now_s <= 60.0
    assert due_s % 60 == 0


def test_a_change_handed_over_once_is_looked_for_no_more(scene: Scene) -> None:
    scene.see(RED)
    scene.daemon.handle(sysctl_tuner, written(RED))
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.machine.let_pass(scene.daemon, 30.0)
    assert len(scene.machine.told("yielded")) == 1


def test_the_cookie_of_a_namespace_that_ended_is_never_the_hosts(scene: Scene) -> None:
    scene.machine.namespaces.end(BLUE)
    requests: list[Request] = [
        raised(),
        Yield(TCP_WMEM, "why not"),
        Recheck(TCP_WMEM.name, FOUND, 0, b""),
        Survey("list"),
    ]
    for request in requests:
        scene.tuner.answers[Seen] = [request]
        scene.see(BLUE)
    scene.machine.let_pass(scene.daemon, 5.0)
    assert scene.writes == []
    assert scene.machine.loader.iterated == []
    assert not scene.is_the_admins(HOST)
    with pytest.raises(NetnsGoneError):
        scene.machine.namespaces.check(BLUE.cookie)


# --- all together ------------------------------------------------------------


def test_a_starved_sender_gets_its_buffer_from_the_first_hint_to_the_last_record() -> (
    None
):
    machine, tuner = FakeMachine(RED), TcpBuffer()
    daemon = machine.daemon(sysctl_tuner, tuner)
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world
    daemon.start()
    for _ in range(40):
        if world.starved():
            hint = SndbufLimited(RED.cookie, prefix(1), world.limit, 200_000)
            machine.loader.queue(tuner, hint)
        machine.let_pass(daemon, 1.0)
    daemon.stop()
    assert machine.sysctls.largest(RED) == 16 * MIB
    assert machine.sysctls.largest(HOST) == 4 * MIB
    assert machine.kinds() == ["change", "kept", "change", "kept", "stopped", "stopped"]
    undo = "ip netns exec red sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"
    assert all(record.undo == undo for record in machine.records[:-1])


@pytest.mark.parametrize("observe", [True, False])
def test_only_a_daemon_that_tunes_reaches_a_kernel_that_no_one_may_write(
    monkeypatch: pytest.MonkeyPatch,
    observe: bool,
) -> None:
    class WrittenError(BaseException):
        """Nobody catches it."""

    def refuse(*arguments: object, **more: object) -> None:
        raise WrittenError(arguments, more)

    machine, tuner = FakeMachine(RED), TcpBuffer()
    daemon = machine.daemon(sysctl_tuner, tuner, observe=observe)
    monkeypatch.setattr(machine.sysctls, "write", refuse)
    monkeypatch.setattr(machine.sockets, "nudge", refuse)
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world

    def live() -> None:
        daemon.start()
        for _ in range(90):
            if world.starved():
                hint = SndbufLimited(RED.cookie, prefix(1), world.limit, 200_000)
                machine.loader.queue(tuner, hint)
            machine.let_pass(daemon, 1.0)
        daemon.stop()

    if not observe:
        with pytest.raises(WrittenError):
            live()
        return
    live()
    assert "advice" in machine.kinds()
    assert set(machine.kinds()) == {"advice", "stopped"}
    assert machine.sysctls.largest(RED) == 4 * MIB


def test_the_admin_ends_a_climb_in_the_middle() -> None:
    machine, tuner = FakeMachine(RED), TcpBuffer()
    daemon = machine.daemon(sysctl_tuner, tuner)
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world
    machine.loader.queue(tuner, SndbufLimited(RED.cookie, prefix(1), 0, 200_000))
    machine.let_pass(daemon, 6.0)
    assert machine.kinds() == ["change"]
    machine.sysctls.by_admin(RED, ADMINS)
    machine.let_pass(daemon, 30.0)
    assert machine.sysctls.largest(RED) == 5 * MIB
    assert machine.kinds() == ["change", "yielded"]
    assert replace(machine.records[-1], why="").new == ADMINS


# --- nudges ------------------------------------------------------------------


def test_live_receivers_are_nudged_in_their_namespace_once_a_raise_is_made(
    scene: Scene,
) -> None:
    near = prefix(1)
    scene.tuner.answers[Seen] = [raised(), Nudge(TCP_WMEM, near, 4 * MIB)]
    scene.see(RED)
    assert scene.machine.sockets.nudges == [(RED.cookie, near, 4 * MIB)]


def test_nobody_is_nudged_for_a_raise_that_was_refused_or_only_advised() -> None:
    for observe in (False, True):
        scene = Scene(observe=observe)
        too_much = raised(MEMORY.total_bytes)
        asked = raised() if observe else too_much
        scene.tuner.answers[Seen] = [asked, Nudge(TCP_WMEM, prefix(1), 4 * MIB)]
        scene.see(RED)
        assert scene.machine.sockets.nudges == []
        assert scene.writes == []
