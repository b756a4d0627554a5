"""A daemon starts where an earlier one left values in force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bpftune.daemon import Daemon
from bpftune.journal import Journal, replay
from bpftune.kernel.errors import KernelError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Netns,
    NetnsCookie,
    Request,
    Tuner,
    Value,
    Yielded,
)
from bpftune.records import as_line
from bpftune.rollback import SET, Selection
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_WMEM,
    FakeMachine,
    wmem,
)

GROWN, ADMINS = wmem(8 * MIB), wmem(5 * MIB)


@dataclass(frozen=True, slots=True)
class Do(Event):
    """Have the tuner ask for this."""

    requests: tuple[Request, ...] = ()


class Told(Tuner):
    """Asks for what it is told to, and remembers what it hears."""

    def __init__(self) -> None:
        super().__init__("told", "as told", (TCP_WMEM,), (Do,))
        self.heard: list[Event] = []
        self.facts: list[Facts] = []

    def event_handler(self, event: Event, facts: Facts) -> tuple[Request, ...]:
        self.heard.append(event)
        self.facts.append(facts)
        return event.requests if isinstance(event, Do) else ()


def raised(largest: int = 8 * MIB) -> Change:
    return Change(TCP_WMEM, wmem(largest), "it is short", trial="10.0.0.0/24")


KEEP = Keep(TCP_WMEM, "it paid", proved=True)


class Scene:
    """Daemons one after another on one machine, which goes on."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"
        self.machine = FakeMachine(RED, BLUE)
        self.begin()

    def begin(self, *, observe: bool = False, boot: str = "boot") -> Daemon:
        """Start a daemon; the one before is as good as killed."""
        self.tuner = Told()
        self.machine.records.clear()
        self.daemon = self.machine.daemon(
            self.tuner, observe=observe, journal=self.path, boot=boot
        )
        self.daemon.start()
        return self.daemon

    def ask(self, *requests: Request, netns: Netns = RED) -> None:
        self.daemon.handle(self.tuner, Do(netns.cookie, requests))

    def now(self, netns: Netns = RED) -> Value:
        return self.machine.sysctls.read(netns.cookie, TCP_WMEM.name)

    def in_journal(self) -> list[tuple[Netns, Value, Value]]:
        entries = replay(self.path, "boot").entries
        return [(one.netns, one.found, one.expected) for one in entries]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_paid_is_adopted_with_the_true_original_and_a_word(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.begin()
    (record,) = scene.machine.records
    assert as_line(record) == (
        "tcp_wmem max 8 MiB in netns red is bpftune's to tune: an earlier run set it "
        "in 1 write, found at 4096 16384 4194304. Undo: ip netns exec red sysctl -w "
        "net.ipv4.tcp_wmem='4096 16384 4194304'"
    )
    assert record.change == "c1"
    assert scene.machine.sysctls.writes == [(RED.cookie, TCP_WMEM.name, GROWN)]
    scene.ask()
    assert scene.tuner.facts[-1].found == {TCP_WMEM: FOUND}
    assert scene.tuner.facts[-1].values == {TCP_WMEM: GROWN}


def test_the_next_change_has_a_new_number_and_the_first_ones_original(
    scene: Scene,
) -> None:
    scene.ask(raised(), KEEP)
    scene.begin()
    scene.ask(raised(16 * MIB), KEEP)
    (change,) = scene.machine.told("change")
    assert change.change == "c2"
    scene.begin()
    assert scene.in_journal() == [(RED, FOUND, wmem(16 * MIB))]
    (step,) = scene.daemon.rollback(Selection(change="c1"))
    assert (step.action, step.new) == (SET, FOUND)
    assert scene.now() == FOUND


def test_a_trial_that_was_cut_off_is_taken_back(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.ask(raised(16 * MIB))
    scene.begin()
    assert scene.now() == GROWN
    back, adopted = scene.machine.records
    assert (back.record, back.old, back.new) == ("taken_back", wmem(16 * MIB), GROWN)
    assert back.why == (
        "an earlier run ended in mid-trial, back to the last value that paid"
    )
    assert (adopted.record, adopted.old, adopted.new) == ("adopted", FOUND, GROWN)


def test_a_first_trial_that_was_cut_off_leaves_nothing_in_force(scene: Scene) -> None:
    scene.ask(raised())
    scene.begin()
    assert scene.now() == FOUND
    assert scene.machine.kinds() == ["taken_back"]
    scene.begin()
    assert scene.machine.kinds() == []


def test_what_somebody_set_meanwhile_is_theirs_and_it_is_told(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    for _ in range(2):
        scene.begin()
        assert scene.now() == ADMINS
        scene.ask(raised(16 * MIB))
        assert scene.now() == ADMINS
        assert scene.tuner.facts[-1].yielded == {TCP_WMEM}
        scene.daemon.rollback(Selection())
        assert scene.now() == ADMINS
    assert scene.machine.told("yielded") == []  # it was told by the first


def test_it_is_told_what_was_found_changed(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.begin()
    (record,) = scene.machine.records
    assert (record.record, record.old, record.new) == ("yielded", GROWN, ADMINS)
    assert record.why == (
        "since an earlier run set 4096 16384 8388608, somebody set it"
    )


def test_the_undo_by_hand_while_no_daemon_ran_is_respected(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.machine.sysctls.by_admin(RED, FOUND)
    scene.begin()
    assert scene.machine.kinds() == ["yielded"]
    scene.ask(raised())
    assert scene.now() == FOUND


def test_what_was_yielded_stays_so_over_a_restart(scene: Scene) -> None:
    scene.ask()
    scene.machine.sysctls.by_admin(RED, ADMINS)
    scene.ask(raised())
    assert scene.machine.kinds() == ["yielded", "rejected"]
    scene.begin()
    scene.ask(raised(16 * MIB))
    assert scene.now() == ADMINS
    assert scene.machine.kinds() == ["rejected"]  # and not told again


def test_a_file_of_the_admins_is_read_anew_by_each_run(scene: Scene) -> None:
    scene.ask(raised(), KEEP, netns=HOST)
    scene.machine.set_in_file(TCP_WMEM, "1 2 3", "/etc/sysctl.d/a.conf", 4)
    scene.begin()
    (record,) = scene.machine.records
    assert record.record == "yielded"
    assert record.why == "/etc/sysctl.d/a.conf line 4 sets it"
    scene.ask(raised(16 * MIB), netns=HOST)
    assert scene.now(HOST) == GROWN
    (step,) = scene.daemon.rollback(Selection(), dry_run=True)
    assert step.action == SET  # the value is ours still

    del scene.machine.admins_values[TCP_WMEM.name]
    scene.begin()
    assert scene.machine.kinds() == ["adopted"]


def test_namespaces_that_are_gone_are_dropped_with_a_word(scene: Scene) -> None:
    for netns in (RED, BLUE):
        scene.ask(raised(), KEEP, netns=netns)
    scene.machine.namespaces.end(RED)
    scene.begin()
    lost, adopted = scene.machine.records
    assert lost.why == "1 value of an earlier run went with their network namespaces"
    assert lost.extra == {"netns_gone": 1}
    assert adopted.netns == BLUE
    assert scene.in_journal() == [(BLUE, FOUND, GROWN)]


def test_a_namespace_may_have_got_another_name(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.machine.namespaces.add(Netns(RED.cookie, "crimson"))
    scene.begin()
    (record,) = scene.machine.records
    assert record.netns == Netns(RED.cookie, "crimson")


def test_where_namespaces_cannot_be_looked_for_nothing_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.ask(raised(), KEEP)

    def fail() -> list[Netns]:
        raise KernelError("no")

    monkeypatch.setattr(scene.machine.namespaces, "everywhere", fail)
    scene.begin()
    assert scene.machine.kinds() == ["degraded", "adopted"]


def test_a_value_that_cannot_be_read_is_looked_at_again_later(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.machine.sysctls.unreadable = SysctlError("Input/output error", 5)
    scene.begin()
    assert "degraded" in scene.machine.kinds()
    scene.machine.sysctls.unreadable = None
    scene.daemon.rollback(Selection())
    assert scene.now() == FOUND


def test_after_a_reboot_nothing_of_the_journal_counts(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    scene.begin(boot="another")
    assert scene.machine.records == []
    assert replay(scene.path, "another").entries == []
    assert replay(scene.path, "boot").is_of_another_boot


def test_damage_is_told_and_does_not_keep_it_from_starting(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    with scene.path.open("ab") as file:
        file.write(b"torn")
    scene.begin()
    degraded, adopted = scene.machine.records
    assert degraded.why == (
        "the journal is damaged: 0 lines left out, 4 bytes at its end cut off"
    )
    assert adopted.record == "adopted"
    scene.begin()
    assert scene.machine.kinds() == ["adopted"]


def test_observing_changes_nothing_until_the_admin_asks(scene: Scene) -> None:
    scene.ask(raised())
    before = replay(scene.path, "boot").entries
    scene.begin(observe=True)
    assert scene.machine.kinds() == ["adopted"]
    scene.ask(raised(16 * MIB))
    (step,) = scene.daemon.rollback(Selection(), dry_run=True)
    assert step.action == SET
    assert scene.now() == GROWN
    (kept,) = replay(scene.path, "boot").entries
    assert (kept.found, kept.expected) == (before[0].found, before[0].expected)
    scene.daemon.rollback(Selection())
    assert scene.now() == FOUND
    scene.daemon.stop()


def test_a_journal_that_cannot_be_written_is_told_and_nothing_is_changed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path / "missing")
    (degraded,) = scene.machine.records
    assert "No such file or directory" in degraded.why
    assert degraded.why.endswith("; no value is changed until it can be")
    scene.ask(raised())
    assert scene.now() == FOUND
    assert scene.machine.kinds() == ["degraded", "rejected"]
    scene.path.parent.mkdir()
    scene.ask(raised())
    assert scene.now() == GROWN


def test_a_rollback_tells_the_tuner_and_lasts_until_it_is_adopted(scene: Scene) -> None:
    scene.ask(raised())
    scene.daemon.rollback(Selection())
    assert scene.tuner.heard[-1] == Yielded(RED.cookie, TCP_WMEM)
    for _ in range(2):
        scene.ask(raised())
        assert scene.now() == FOUND
        scene.begin()
    entry = scene.daemon.ledger.get(RED.cookie, TCP_WMEM)
    assert entry is not None
    scene.daemon.ledger.adopt(entry, FOUND)
    scene.begin()
    scene.ask(raised())
    assert scene.now() == GROWN


def test_a_journal_in_trouble_is_told_each_minute_until_it_is_well(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.ask(raised())

    def fail(self: Journal, fields: object) -> None:
        del self, fields
        raise KernelError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", fail)
        scene.ask(KEEP)
    scene.machine.let_pass(scene.daemon, 60)
    assert [record.why for record in scene.machine.told("degraded")] == ["no room"]
    scene.ask(raised(16 * MIB))
    scene.machine.let_pass(scene.daemon, 60)
    assert len(scene.machine.told("degraded")) == 1


def test_a_write_in_doubt_is_taken_back_within_a_minute(scene: Scene) -> None:
    scene.ask()
    sysctls = scene.machine.sysctls

    def write_and_fail() -> None:
        sysctls.by_admin(RED, GROWN)  # it is in force, but nobody can tell
        sysctls.refusing = SysctlError("Input/output error", 5)
        sysctls.unreadable = sysctls.refusing

    sysctls.before_write = write_and_fail
    scene.ask(raised())
    assert scene.machine.kinds()[0] == "rejected"
    sysctls.refusing = sysctls.unreadable = None
    scene.machine.let_pass(scene.daemon, 61)
    assert scene.now() == FOUND
    (back,) = scene.machine.told("taken_back")
    assert (back.old, back.new) == (GROWN, FOUND)
    assert scene.machine.told("yielded") == []


def test_an_unknown_tuners_value_is_adopted_all_the_same(scene: Scene) -> None:
    scene.ask(raised(), KEEP)
    machine = scene.machine
    machine.records.clear()
    daemon = machine.daemon(journal=scene.path)
    daemon.start()
    assert machine.kinds() == ["adopted"]
    (step,) = daemon.rollback(Selection())
    assert step.netns.cookie == NetnsCookie(RED.cookie)
    assert scene.now() == FOUND
