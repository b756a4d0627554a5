"""Sysctls that are words: whose they are, in each network namespace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftune.daemon import Daemon
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import (
    Event,
    Facts,
    Netns,
    NetnsCookie,
    ReadText,
    Recheck,
    Request,
    TextRead,
    Tunable,
    Tuner,
    Yielded,
)
from bpftune.reconcile import MOST_NAMESPACES, REREAD_AT_ONCE
from bpftune.records import as_line
from bpftune.setting import Setting
from bpftune.settings import FULL, LOOKED_AT
from bpftune.tuners.sysctl import SysctlWritten
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from tests.unit.fakes import BLUE, HOST, RED, FakeMachine

DEFAULT = "net.ipv4.tcp_congestion_control"
QDISC = "net.core.default_qdisc"
SET_IT = "uid 0 (sysctl) set it to reno"
NOT_SEEN = "somebody set it to reno (not seen by the hook)"
STRANGER = Netns(NetnsCookie(99), "stranger")


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """What the tuner's BPF program would emit."""


class Choosing(Tuner):
    """Goes by settings; remembers what it hears, and with which of them taken."""

    def __init__(
        self, name: str = "choosing", names: tuple[str, ...] = (DEFAULT,)
    ) -> None:
        super().__init__(name, "go by words", events=(Seen,), settings=names)
        self.heard: list[tuple[Event, dict[str, str]]] = []
        self.at_start: dict[str, str] | None = None
        self.asks: list[Request] = []

    def init(self, facts: Facts) -> Iterable[Request]:
        self.at_start = dict(facts.admins)
        return ()

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        self.heard.append((event, dict(facts.admins)))
        return self.asks if isinstance(event, Seen) else ()

    @property
    def last(self) -> dict[str, str]:
        """What was the admin's as it heard of something last."""
        return self.heard[-1][1]

    def yields(self) -> list[Event]:
        return [event for event, _ in self.heard if isinstance(event, Yielded)]


def written(
    netns: Netns,
    old: bytes = b"bbr\n",
    name: bytes = b"net/ipv4/tcp_congestion_control",
) -> SysctlWritten:
    """What the hook sees as root in *netns* begins to write."""
    return SysctlWritten(
        netns.cookie,
        *(1, 0, b"sysctl".ljust(16, b"\0"), name.ljust(64, b"\0")),
        *(old.ljust(64, b"\0"), b"".ljust(64, b"\0")),
    )


def taken(netns: Netns, name: str = DEFAULT) -> Yielded:
    return Yielded(netns.cookie, Tunable(name))


def unreadable(_: NetnsCookie, name: str) -> str:
    raise SysctlError(f"{name} cannot be read: Input/output error", 5)


class Scene:
    """A daemon with a tuner that goes by settings; bbr is everywhere."""

    def __init__(
        self, *others: Tuner, only: str = "", directory: Path | None = None
    ) -> None:
        self.machine = FakeMachine(RED, BLUE)
        self.others = others
        self.directory = directory
        self.only = only
        for netns in (HOST, RED, BLUE):
            self.machine.sysctls.say(netns, DEFAULT, "bbr")
        self.start()

    def start(self, boot: str = "boot") -> Daemon:
        """Start a daemon; the one before is as good as killed."""
        self.tuner = Choosing()
        self.daemon = self.machine.daemon(
            *(sysctl_tuner, self.tuner, *self.others),
            only_netns=self.only,
            journal=self.directory / "journal" if self.directory else None,
            boot=boot,
        )
        self.daemon.start()
        return self.daemon

    def see(self, *where: Netns) -> None:
        for netns in where:
            self.daemon.handle(self.tuner, Seen(netns.cookie))

    def writes(
        self, netns: Netns, text: str, *, to: Netns | None = None, old: bytes = b"bbr\n"
    ) -> None:
        """Let the hook see root in *netns* write *text*, and that happen after."""
        self.machine.loader.queue(sysctl_tuner, written(netns, old))
        self.daemon.turn()
        self.machine.sysctls.say(to or netns, DEFAULT, text)
        self.machine.let_pass(self.daemon, 2.0)

    def theirs(self) -> list[tuple[Netns, str]]:
        return [(one.netns, one.why) for one in self.daemon.settings.theirs()]

    def setting(self, netns: Netns) -> Setting:
        (found,) = (one for one in self.daemon.settings if one.netns == netns)
        return found

    def told(self) -> list[tuple[Netns | None, str]]:
        return [(one.netns, one.why) for one in self.machine.told("yielded")]


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- nobody's ----------------------------------------------------------------


def test_what_nobody_set_is_nobodys(scene: Scene) -> None:
    scene.see(RED, BLUE, RED)
    scene.machine.let_pass(scene.daemon, 300.0)
    assert scene.tuner.at_start == {}
    assert scene.tuner.heard == [(Seen(n.cookie), {}) for n in (RED, BLUE, RED)]
    assert scene.machine.kinds() == []
    assert [one.text for one in scene.daemon.settings] == ["bbr"] * 3


def test_a_tuner_without_settings_has_nothing_read() -> None:
    machine, tuner = FakeMachine(RED), Choosing(names=())
    machine.daemon(tuner).handle(tuner, Seen(RED.cookie))
    assert tuner.heard == [(Seen(RED.cookie), {})]
    assert machine.kinds() == []


def test_what_is_not_there_is_nobodys_and_comes_with_its_module(scene: Scene) -> None:
    del scene.machine.sysctls.texts[RED.cookie, DEFAULT]
    scene.see(RED)
    assert scene.machine.kinds() == []
    assert scene.tuner.last == {}
    scene.machine.sysctls.say(RED, DEFAULT, "bbr")
    scene.see(RED)
    scene.writes(RED, "reno")
    assert scene.told() == [(RED, SET_IT)]


def test_what_cannot_be_read_is_told_and_met_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(scene.machine.sysctls, "read_text", unreadable)
        scene.see(RED)
    (degraded,) = scene.machine.records
    assert (degraded.record, degraded.netns) == ("degraded", RED)
    assert scene.tuner.last == {}
    scene.see(RED)
    assert scene.setting(RED).text == "bbr"


def test_what_cannot_be_read_for_a_moment_stays_as_it_is_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.see(RED)
    with monkeypatch.context() as broken:
        broken.setattr(scene.machine.sysctls, "read_text", unreadable)
        scene.see(RED)
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.see(RED)
    assert scene.told() == [(RED, NOT_SEEN)]


# --- files -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["bbr", "reno"])
def test_what_a_file_sets_is_the_admins_on_the_host_whatever_it_says(text: str) -> None:
    scene = Scene()
    scene.machine.set_in_file(Tunable(DEFAULT), text, "/etc/sysctl.d/9.conf", 3)
    scene.machine.records.clear()
    scene.start()
    scene.see(HOST, RED)
    why = "/etc/sysctl.d/9.conf line 3 sets it"
    assert scene.tuner.at_start == {DEFAULT: why}
    assert scene.tuner.heard == [
        (taken(HOST), {DEFAULT: why}),
        (Seen(HOST.cookie), {DEFAULT: why}),
        (Seen(RED.cookie), {}),
    ]
    assert scene.told() == [(HOST, why)]
    (record,) = scene.machine.records
    assert as_line(record) == (
        "tcp_congestion_control on the host is the admin's now: "
        "/etc/sysctl.d/9.conf line 3 sets it"
    )
    assert (record.tuner, record.tunable) == ("choosing", DEFAULT)
    assert (record.old, record.new) == (None, None)


def test_a_file_sets_nothing_that_no_tuner_goes_by(scene: Scene) -> None:
    scene.machine.set_in_file(Tunable(QDISC), "fq", "/etc/sysctl.conf", 1)
    scene.start()
    assert scene.machine.kinds() == []


# --- writes ------------------------------------------------------------------


def test_a_write_is_the_admins_there_and_nowhere_else(scene: Scene) -> None:
    scene.see(RED, BLUE)
    scene.writes(RED, "reno")
    scene.see(RED, BLUE)
    assert scene.theirs() == scene.told() == [(RED, SET_IT)]
    assert scene.tuner.yields() == [taken(RED)]
    assert scene.tuner.heard[-2:] == [
        (Seen(RED.cookie), {DEFAULT: SET_IT}),
        (Seen(BLUE.cookie), {}),
    ]
    (record,) = scene.machine.told("yielded")
    assert record.extra == {
        "evidence": {"old_text": "bbr", "new_text": "reno"},
        "by_uid": 0,
        "by_comm": b"sysctl",
    }
    found = scene.setting(RED)
    assert (found.text, found.uid, found.comm) == ("reno", 0, b"sysctl")


def test_a_refused_write_and_one_of_the_same_text_are_no_change(scene: Scene) -> None:
    scene.see(RED)
    for _ in range(3):
        scene.writes(RED, "bbr")  # as it is after either
    scene.writes(BLUE, "bbr")  # not met yet
    scene.see(RED, BLUE)
    assert scene.theirs() == scene.told() == []
    assert scene.tuner.yields() == []


def test_a_write_that_takes_half_a_second_is_found_all_the_same(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.machine.let_pass(scene.daemon, 0.4)
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.machine.let_pass(scene.daemon, 0.2)
    assert scene.told() == [(RED, SET_IT)]


def test_later_writes_of_the_admins_are_no_news(scene: Scene) -> None:
    scene.see(RED)
    scene.writes(RED, "reno")
    scene.writes(RED, "bbr", old=b"reno\n")
    scene.see(RED)
    assert scene.theirs() == scene.told() == [(RED, SET_IT)]
    assert scene.tuner.yields() == [taken(RED)]
    assert scene.setting(RED).text == "bbr"


@pytest.mark.parametrize("first", [True, False])
def test_where_nothing_was_known_what_was_there_before_the_write_counts(
    scene: Scene, first: bool
) -> None:
    if first:  # the write is over before the daemon hears of it
        scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.writes(RED, "reno")
    assert scene.told() == [(RED, SET_IT)]
    (record,) = scene.machine.told("yielded")
    assert record.tuner == "choosing"
    assert scene.tuner.heard == [(taken(RED), {DEFAULT: SET_IT})]


def test_a_write_is_not_missed_though_the_tuner_meets_what_it_left(
    scene: Scene,
) -> None:
    # The tuner's event waited before the write's in the ring.
    scene.machine.loader.queue(scene.tuner, Seen(RED.cookie))
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.daemon.turn()
    assert scene.told() == [(RED, SET_IT)]
    assert scene.tuner.heard[0] == (Seen(RED.cookie), {DEFAULT: SET_IT})


def test_a_write_elsewhere_says_nothing_of_what_was_there_before(scene: Scene) -> None:
    scene.machine.loader.queue(sysctl_tuner, written(BLUE, b"vegas\n"))
    scene.machine.loader.queue(scene.tuner, Seen(RED.cookie))
    scene.daemon.turn()
    why = "uid 0 (sysctl) set it to bbr"
    assert scene.theirs() == [(BLUE, why)]
    assert scene.tuner.heard == [
        (Seen(RED.cookie), {}),
        (taken(BLUE), {DEFAULT: why}),
    ]


def test_a_text_before_that_was_cut_is_not_believed(scene: Scene) -> None:
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.writes(RED, "reno", old=b"x" * 64)
    assert scene.told() == []
    assert scene.setting(RED).text == "reno"


def test_a_write_through_a_descriptor_is_found_where_it_is_known(scene: Scene) -> None:
    scene.see(RED, BLUE)
    scene.writes(BLUE, "reno", to=RED)
    assert scene.told() == [(RED, SET_IT)]
    assert scene.tuner.heard[-1] == (taken(RED), {DEFAULT: SET_IT})


def test_a_write_from_a_namespace_that_ended_hurts_nobody(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.daemon.drain()
    scene.machine.namespaces.end(RED)
    scene.machine.let_pass(scene.daemon, 2.0)
    assert scene.told() == []
    assert [one.netns for one in scene.daemon.settings] == [HOST]


def test_a_write_of_what_no_tuner_goes_by_meets_nothing(scene: Scene) -> None:
    name = b"net/core/default_qdisc"
    scene.machine.loader.queue(sysctl_tuner, written(RED, name=name))
    scene.machine.let_pass(scene.daemon, 2.0)
    assert [one.netns for one in scene.daemon.settings] == [HOST]


def test_one_namespace_that_ended_does_not_hide_the_change_in_another(
    scene: Scene,
) -> None:
    scene.see(RED, BLUE)
    scene.machine.namespaces.end(BLUE)
    scene.writes(HOST, "reno", to=RED)
    assert scene.told() == [(RED, SET_IT)]


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_text_is_made_printable(byte: int) -> None:
    scene = Scene()
    scene.see(RED)
    text = bytes([byte]).decode(errors="surrogateescape")
    scene.machine.sysctls.say(RED, DEFAULT, f"a{text}b")
    scene.see(RED)
    (record,) = scene.machine.told("yielded")
    evidence = record.extra["evidence"]
    assert isinstance(evidence, dict)
    for told in (record.why, evidence["new_text"]):
        assert told.isascii()
        assert told.isprintable()


# --- without the hook --------------------------------------------------------


def test_a_change_is_found_before_the_next_decision(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.see(RED)
    assert scene.told() == [(RED, NOT_SEEN)]
    # It decides with that, and then lets go of what is in force.
    assert scene.tuner.heard[1:] == [
        (Seen(RED.cookie), {DEFAULT: NOT_SEEN}),
        (taken(RED), {DEFAULT: NOT_SEEN}),
    ]


def test_who_did_it_is_known_if_the_hook_spoke_but_was_not_heard(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.loader.queue(sysctl_tuner, written(RED))
    scene.machine.loader.queue(scene.tuner, Seen(BLUE.cookie))
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.see(RED)
    assert scene.told() == [(RED, SET_IT)]
    scene.daemon.turn()
    assert Seen(BLUE.cookie) in [event for event, _ in scene.tuner.heard]


def test_a_change_is_found_within_a_minute(scene: Scene) -> None:
    scene.see(RED)
    scene.machine.sysctls.say(RED, DEFAULT, "reno")
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.told() == [(RED, NOT_SEEN)]
    assert scene.tuner.heard[-1] == (taken(RED), {DEFAULT: NOT_SEEN})


def test_a_tuner_that_reads_another_text_knows_whose_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.see(RED)
    scene.tuner.asks = [ReadText((DEFAULT,))]
    read_text = scene.machine.sysctls.read_text
    looks: list[NetnsCookie] = []

    def after_the_facts(cookie: NetnsCookie, name: str) -> str:
        if looks:  # the facts are read; now the admin writes, then the tuner looks
            scene.machine.sysctls.say(RED, DEFAULT, "reno")
        looks.append(cookie)
        return read_text(cookie, name)

    monkeypatch.setattr(scene.machine.sysctls, "read_text", after_the_facts)
    scene.see(RED)
    assert scene.tuner.heard[1:] == [
        (Seen(RED.cookie), {}),
        (TextRead(RED.cookie, {DEFAULT: "reno"}), {DEFAULT: NOT_SEEN}),
        (taken(RED), {DEFAULT: NOT_SEEN}),
    ]


# --- several -----------------------------------------------------------------


def test_all_who_go_by_a_setting_are_told_and_others_are_not() -> None:
    same, other = Choosing("same"), Choosing("other", (QDISC,))
    scene = Scene(same, other)
    scene.machine.sysctls.say(RED, QDISC, "fq")
    for tuner in (scene.tuner, same, other):
        scene.daemon.handle(tuner, Seen(RED.cookie))
    scene.writes(RED, "reno")
    assert scene.tuner.yields() == same.yields() == [taken(RED)]
    assert other.yields() == []
    assert len(scene.told()) == 1


def test_settings_of_one_tuner_are_told_apart(scene: Scene) -> None:
    both = Choosing("both", (QDISC, DEFAULT))
    scene.daemon.tuners.append(both)
    scene.machine.sysctls.say(RED, QDISC, "fq")
    scene.daemon.handle(both, Seen(RED.cookie))
    scene.machine.sysctls.say(RED, QDISC, "fq_codel")
    scene.daemon.handle(both, Seen(RED.cookie))
    why = "somebody set it to fq_codel (not seen by the hook)"
    assert both.heard[1:] == [
        (Seen(RED.cookie), {QDISC: why}),
        (taken(RED, QDISC), {QDISC: why}),
    ]
    assert scene.tuner.yields() == []


def test_the_admin_wins_though_the_sysctl_tuner_is_missing() -> None:
    machine, tuner = FakeMachine(RED), Choosing()
    machine.sysctls.say(RED, DEFAULT, "bbr")
    daemon = machine.daemon(tuner)
    daemon.handle(tuner, Seen(RED.cookie))
    machine.sysctls.say(RED, DEFAULT, "reno")
    daemon.handle(tuner, Seen(RED.cookie))
    assert tuner.last == {DEFAULT: NOT_SEEN}


def test_observing_leaves_to_the_admin_what_is_theirs() -> None:
    machine, tuner = FakeMachine(RED), Choosing()
    machine.sysctls.say(RED, DEFAULT, "bbr")
    daemon = machine.daemon(tuner, observe=True)
    daemon.handle(tuner, Seen(RED.cookie))
    machine.sysctls.say(RED, DEFAULT, "reno")
    daemon.handle(tuner, Seen(RED.cookie))
    assert tuner.last == {DEFAULT: NOT_SEEN}


def test_a_laboratorys_daemon_keeps_to_its_own_namespaces() -> None:
    scene = Scene(only="re")
    scene.see(RED, BLUE, HOST)
    for netns in (HOST, RED, BLUE):
        scene.machine.sysctls.say(netns, DEFAULT, "reno")
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.told() == [(RED, NOT_SEEN)]


# --- the end of namespaces, and too many of them -----------------------------


def test_what_ends_is_forgotten(scene: Scene) -> None:
    scene.see(RED, BLUE)
    scene.writes(RED, "reno")
    scene.machine.namespaces.end(RED)
    scene.machine.let_pass(scene.daemon, 61.0)
    assert scene.theirs() == []
    assert {one.netns for one in scene.daemon.settings} == {HOST, BLUE}


def test_an_event_of_a_namespace_that_is_gone_meets_nothing(scene: Scene) -> None:
    scene.see(STRANGER)
    assert [one.netns for one in scene.daemon.settings] == [HOST]


def crowd(scene: Scene, count: int) -> list[Netns]:
    """Return more namespaces, each of which has had an event."""
    several = [Netns(NetnsCookie(n)) for n in range(1000, 1000 + count)]
    for netns in several:
        scene.machine.namespaces.add(netns)
        scene.machine.sysctls.say(netns, DEFAULT, "bbr")
        scene.daemon.settings.admins(scene.tuner, netns)
    return several


def test_a_flood_of_namespaces_keeps_the_host_and_what_is_the_admins(
    scene: Scene,
) -> None:
    scene.see(RED, BLUE)
    scene.writes(RED, "reno")
    flood = crowd(scene, MOST_NAMESPACES + 50)
    known = {one.netns for one in scene.daemon.settings}
    assert len(known) == MOST_NAMESPACES
    assert {HOST, RED, flood[-1]} <= known
    assert known.isdisjoint({BLUE, flood[0]})
    assert scene.theirs() == [(RED, SET_IT)]


def test_where_there_is_no_room_nothing_is_chosen(scene: Scene) -> None:
    flood = crowd(scene, MOST_NAMESPACES - 1)
    for netns in flood:
        scene.machine.sysctls.say(netns, DEFAULT, "reno")
        scene.daemon.settings.admins(scene.tuner, netns)
    scene.see(RED)
    assert scene.tuner.last == {DEFAULT: FULL}
    scene.writes(RED, "reno")
    assert len(scene.theirs()) == len(flood)
    assert RED not in {one.netns for one in scene.daemon.settings}
    scene.machine.namespaces.end(flood[0])
    scene.machine.let_pass(scene.daemon, 61.0)
    scene.see(RED)
    assert scene.tuner.last == {}


def test_all_that_are_known_get_their_turn(scene: Scene) -> None:
    flood = crowd(scene, 3 * REREAD_AT_ONCE)
    for netns in flood:
        scene.machine.sysctls.say(netns, DEFAULT, "reno")
    found = []
    for _ in range(8):
        before = len(scene.theirs())
        scene.daemon.settings.each_minute()
        found.append(len(scene.theirs()) - before)
    assert max(found) <= REREAD_AT_ONCE
    assert len(scene.theirs()) == len(flood)


def test_nobody_waits_for_ever_while_others_stay_as_they_are(scene: Scene) -> None:
    last = crowd(scene, 3 * REREAD_AT_ONCE)[-1]
    scene.machine.sysctls.say(last, DEFAULT, "reno")
    for _ in range(4):
        assert scene.theirs() == []
        scene.daemon.settings.each_minute()
    assert scene.theirs() == [(last, NOT_SEEN)]


def test_a_write_costs_a_bounded_number_of_looks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = crowd(scene, 3 * LOOKED_AT)
    write = Recheck(DEFAULT, (), 0, b"sysctl", "bbr")
    read: list[NetnsCookie] = []
    read_text = scene.machine.sysctls.read_text

    def counted(cookie: NetnsCookie, name: str) -> str:
        read.append(cookie)
        return read_text(cookie, name)

    monkeypatch.setattr(scene.machine.sysctls, "read_text", counted)
    scene.daemon.settings.after_write(scene.daemon.tuners, HOST.cookie, write)
    assert len(read) == LOOKED_AT
    assert read[0] == HOST.cookie  # the writer's first
    assert flood[-1].cookie in read  # then those with the latest events


# --- the admin gives it back -------------------------------------------------


def test_what_is_adopted_is_nobodys_until_it_is_set_again(scene: Scene) -> None:
    scene.see(RED)
    scene.writes(RED, "reno")
    scene.daemon.settings.adopt(scene.setting(RED))
    assert scene.theirs() == []
    (record,) = scene.machine.told("adopted")
    assert as_line(record) == (
        "tcp_congestion_control in netns red is bpftune's to tune: "
        "the admin gave it back"
    )
    assert record.extra == {"evidence": {"text": "reno"}}
    scene.see(RED)
    assert scene.tuner.last == {}
    scene.writes(RED, "bbr", old=b"reno\n")
    assert scene.told()[1:] == [(RED, "uid 0 (sysctl) set it to bbr")]
    scene.see(RED)
    assert DEFAULT in scene.tuner.last


def test_what_the_admin_chose_meanwhile_is_what_is_adopted(scene: Scene) -> None:
    scene.see(RED)
    scene.writes(RED, "reno")
    scene.machine.sysctls.say(RED, DEFAULT, "vegas")
    scene.daemon.settings.adopt(scene.setting(RED))
    scene.see(RED)
    assert scene.tuner.last == {}
    assert scene.setting(RED).text == "vegas"


def test_nothing_is_adopted_in_a_namespace_that_ended(scene: Scene) -> None:
    scene.see(RED)
    scene.writes(RED, "reno")
    scene.machine.namespaces.end(RED)
    with pytest.raises(NetnsGoneError):
        scene.daemon.settings.adopt(scene.setting(RED))
    assert scene.theirs() == [(RED, SET_IT)]


# --- over restarts -----------------------------------------------------------


@pytest.fixture
def lasting(tmp_path: Path) -> Scene:
    return Scene(directory=tmp_path)


def restarted(scene: Scene, boot: str = "boot") -> None:
    scene.machine.records.clear()
    scene.start(boot)


@pytest.mark.parametrize("netns", [HOST, RED])
def test_what_was_yielded_stays_so_over_restarts_and_is_not_told_again(
    lasting: Scene, netns: Netns
) -> None:
    lasting.see(netns)
    lasting.writes(netns, "reno")
    for _ in range(3):
        restarted(lasting)
        lasting.see(RED, BLUE, HOST)
        assert lasting.theirs() == [(netns, SET_IT)]
        assert lasting.machine.kinds() == []
        assert lasting.tuner.yields() == []
    found = lasting.setting(netns)
    assert (found.uid, found.comm, found.text) == (0, b"sysctl", "reno")


def test_what_is_the_admins_is_known_as_the_tuner_begins(lasting: Scene) -> None:
    lasting.writes(HOST, "reno")
    restarted(lasting)
    assert lasting.tuner.at_start == {DEFAULT: SET_IT}


def test_what_the_admin_set_while_no_daemon_ran_is_what_is_found(
    lasting: Scene,
) -> None:
    lasting.see(RED)
    lasting.machine.sysctls.say(RED, DEFAULT, "reno")
    restarted(lasting)
    lasting.see(RED)
    assert lasting.theirs() == []


def test_what_was_adopted_stays_so(lasting: Scene) -> None:
    lasting.writes(RED, "reno")
    lasting.daemon.settings.adopt(lasting.setting(RED))
    restarted(lasting)
    lasting.see(RED)
    assert lasting.theirs() == []


def test_what_a_file_sets_is_read_anew_at_each_start(lasting: Scene) -> None:
    lasting.machine.set_in_file(Tunable(DEFAULT), "bbr", "/etc/sysctl.conf", 2)
    why = "/etc/sysctl.conf line 2 sets it"
    for _ in range(2):
        restarted(lasting)
        assert lasting.told() == [(HOST, why)]
        lasting.daemon.settings.adopt(lasting.setting(HOST))  # until the next start
        lasting.see(HOST)
        assert lasting.theirs() == []
    lasting.machine.admins_values.clear()
    restarted(lasting)
    assert lasting.theirs() == []


def test_what_the_admin_wrote_after_all_outlives_the_file(lasting: Scene) -> None:
    lasting.machine.set_in_file(Tunable(DEFAULT), "bbr", "/etc/sysctl.conf", 2)
    restarted(lasting)
    lasting.machine.sysctls.say(HOST, DEFAULT, "reno")
    lasting.see(HOST)
    lasting.machine.admins_values.clear()
    restarted(lasting)
    assert [netns for netns, _ in lasting.theirs()] == [HOST]
    assert lasting.told() == []


def test_another_boot_knows_nothing(lasting: Scene) -> None:
    lasting.writes(RED, "reno")
    restarted(lasting, "another")
    assert lasting.theirs() == []
    assert lasting.machine.kinds() == []


def test_what_ended_between_the_runs_is_left_out(lasting: Scene) -> None:
    lasting.writes(RED, "reno")
    lasting.writes(BLUE, "reno")
    lasting.machine.namespaces.end(RED)
    renamed = Netns(BLUE.cookie, "azure")
    lasting.machine.namespaces.add(renamed)
    restarted(lasting)
    assert lasting.theirs() == [(renamed, SET_IT)]
    lasting.machine.namespaces.add(RED)
    restarted(lasting)
    assert lasting.theirs() == [(renamed, SET_IT)]


def test_what_ended_while_a_run_saw_it_is_left_out(lasting: Scene) -> None:
    lasting.writes(RED, "reno")
    lasting.machine.namespaces.end(RED)
    lasting.machine.let_pass(lasting.daemon, 61.0)
    lasting.machine.namespaces.add(RED)
    restarted(lasting)
    assert lasting.theirs() == []


def test_what_one_look_misses_is_not_given_up(
    lasting: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [[HOST], [HOST, RED]]
    lasting.writes(RED, "reno")
    with monkeypatch.context() as hasty:
        hasty.setattr(lasting.machine.namespaces, "everywhere", lambda: looks.pop(0))
        restarted(lasting)
    assert lasting.theirs() == [(RED, SET_IT)]


def test_where_nobody_can_look_for_namespaces_nothing_is_given_up(
    lasting: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> list[Netns]:
        raise KernelError("no")

    lasting.writes(RED, "reno")
    with monkeypatch.context() as broken:
        broken.setattr(lasting.machine.namespaces, "everywhere", fail)
        restarted(lasting)
        assert lasting.theirs() == [(RED, SET_IT)]
    restarted(lasting)
    assert lasting.theirs() == [(RED, SET_IT)]


def test_a_damaged_file_is_told_and_the_rest_of_it_counts(lasting: Scene) -> None:
    lasting.writes(RED, "reno")
    lasting.writes(BLUE, "reno")
    assert lasting.directory is not None
    path = lasting.directory / "settings"
    path.write_bytes(path.read_bytes()[:-10])
    restarted(lasting)
    assert lasting.theirs() == [(RED, SET_IT)]
    (degraded,) = lasting.machine.records
    assert degraded.why.startswith(
        "the file of settings that are the admin's is damaged: 0 lines left out, "
    )


def test_a_file_that_cannot_be_written_is_told_each_minute_until_it_can(
    tmp_path: Path,
) -> None:
    scene = Scene(directory=tmp_path / "missing")
    scene.machine.records.clear()
    scene.writes(RED, "reno")
    assert scene.theirs() == [(RED, SET_IT)]
    scene.machine.let_pass(scene.daemon, 61.0)
    told = [one.why for one in scene.machine.told("degraded")]
    assert any("settings cannot be written" in why for why in told)
    (tmp_path / "missing").mkdir()
    scene.machine.let_pass(scene.daemon, 61.0)
    scene.machine.records.clear()
    scene.machine.let_pass(scene.daemon, 61.0)
    assert "settings" not in " ".join(one.why for one in scene.machine.records)
    restarted(scene)
    assert scene.theirs() == [(RED, SET_IT)]


# --- any order ---------------------------------------------------------------


@dataclass
class Believed:
    """What has to be known of one namespace, whatever happened there."""

    text: str = "bbr"
    met: bool = False
    theirs: bool = False
    yields: int = 0

    def change(self, text: str) -> None:
        if self.met and text != self.text and not self.theirs:
            self.theirs = True
            self.yields += 1
        self.text = text


class Story(Scene):
    """One step after another, and what has to come of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        self.known = {RED: Believed(), BLUE: Believed()}

    def step_see(self, netns: Netns, _: str) -> None:
        self.known[netns].met = True
        self.see(netns)

    def step_write(self, netns: Netns, text: str) -> None:
        one = self.known[netns]
        one.met = True
        self.writes(netns, text, old=f"{one.text}\n".encode())
        one.change(text)

    def step_write_unseen(self, netns: Netns, text: str) -> None:
        self.machine.sysctls.say(netns, DEFAULT, text)
        self.known[netns].change(text)
        self.machine.let_pass(self.daemon, 61.0)

    def step_minute(self, *_: object) -> None:
        self.machine.let_pass(self.daemon, 61.0)

    def step_adopt(self, netns: Netns, _: str) -> None:
        for found in self.daemon.settings.theirs():
            if found.netns == netns:
                self.daemon.settings.adopt(found)
        self.known[netns].theirs = False

    def step_restart(self, *_: object) -> None:
        self.start()
        for one in self.known.values():
            one.met = one.theirs

    def check(self) -> None:
        theirs = {netns for netns, _ in self.theirs()}
        assert theirs == {netns for netns, one in self.known.items() if one.theirs}
        told = [netns for netns, _ in self.told()]
        for netns, one in self.known.items():
            assert told.count(netns) == one.yields

    def check_facts(self) -> None:
        for netns, one in self.known.items():
            self.see(netns)
            assert (DEFAULT in self.tuner.last) == one.theirs


STEPS = st.tuples(
    st.sampled_from([name for name in vars(Story) if name.startswith("step_")]),
    st.sampled_from([RED, BLUE]),
    st.sampled_from(["bbr", "reno", "vegas"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_a_real_change_is_the_admins_from_then_on_whatever_else_happens(
    steps: list[tuple[str, Netns, str]],
) -> None:
    with TemporaryDirectory() as directory:
        story = Story(Path(directory))
        for step, netns, text in steps:
            getattr(story, step)(netns, text)
            story.check()
        story.check_facts()
