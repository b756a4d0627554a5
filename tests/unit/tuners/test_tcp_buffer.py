"""Whole runs of the tuner, replayed in a synthetic world."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from bpftune.agenda import Agenda
from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Netns,
    NetnsCookie,
    NetnsGone,
    Prefix,
    Rejected,
    Request,
    Sampled,
    SocketSample,
    Survey,
    Tunable,
    Value,
    Wake,
    Watch,
    Woken,
    Yielded,
)
from bpftune.outcome import Finding, Measured
from bpftune.tuners import tcp_buffer
from bpftune.tuners.tcp_buffer import TcpBuffer, say
from bpftune.tuners.tcp_buffer.events import CannotOptIn, SndbufLimited
from bpftune.tuners.tcp_buffer.paths import (
    FIRST_DOUBT_S,
    FIRST_PATIENCE,
    MOST_PATHS,
    SENDERS,
)
from bpftune.tuners.tcp_buffer.side import MOST_WATCHED
from tests.unit.fakes import FOUND, HOST, MIB, RED, TCP_WMEM, facts, prefix, wmem
from tests.unit.policy.world import KEPT, World

NEAR, FAR = prefix(1), prefix(2)


def starving(**change: float) -> World:
    """A sender that needs four times the buffer that was found."""
    return replace(World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0), **change)  # type: ignore[arg-type]


def content() -> World:
    """A sender with nothing to wish for."""
    return World(rate=2e6, rtt_s=0.05, limit=4 * MIB, now_s=1000.0)


def hopeless() -> World:
    """A sender that looks starved now and then, and gains from nothing."""
    return World(rate=5e6, rtt_s=0.1, limit=4 * MIB, false_hits=0.4, now_s=1000.0)


@dataclass
class Run:
    """The tuner in one namespace; what it asks for is done at once."""

    worlds: dict[Prefix, World]
    tuner: TcpBuffer = field(default_factory=TcpBuffer)
    value: Value = FOUND
    now_s: float = 1000.0
    agenda: Agenda = field(default_factory=Agenda)
    changes: list[Change] = field(default_factory=list)
    keeps: list[Keep] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    yielded: bool = False
    may: Callable[[Change], bool] = lambda _: True

    def facts(self) -> Facts:
        return facts(
            self.value, now_s=self.now_s, yielded={TCP_WMEM} if self.yielded else ()
        )

    def tell(self, event: Event) -> list[Request]:
        """Let the tuner decide on *event* and do what it asks for."""
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
        return requests

    def change(self, change: Change) -> None:
        if self.may(change):
            self.changes.append(change)
            self.value = change.value
            return
        self.tell(Rejected(HOST.cookie, TCP_WMEM, change.value, "no"))

    def hint(self, to: Prefix = NEAR) -> list[Request]:
        """Let BPF think that a sender to *to* is short of buffer."""
        rtt_us = int(self.worlds[to].rtt_s * 1e6) if to in self.worlds else 200_000
        return self.tell(SndbufLimited(HOST.cookie, to, self.value[2], rtt_us))

    def look(self, wanted: Prefix | None, sndbuf_bytes: int) -> list[SocketSample]:
        seen: list[SocketSample] = []
        for to, world in self.worlds.items():
            if wanted in (None, to):
                world.limit = self.value[2]
                seen += world.look(self.now_s - world.now_s)
        return [one for one in seen if one.sndbuf_bytes >= sndbuf_bytes]

    def go_on(self, seconds: float, *, hints: bool = True) -> None:
        """Let *seconds* pass, with a hint a second where a sender starves."""
        end_s, hint_s = self.now_s + seconds, self.now_s
        while self.now_s < end_s:
            if hints and self.now_s >= hint_s:
                hint_s += 1.0
                for to, world in self.worlds.items():
                    world.limit = self.value[2]
                    if world.starved() or world.false_hits:
                        self.hint(to)
            for wake in self.agenda.due_wakes(self.now_s):
                self.tell(Woken(HOST.cookie, wake.name))
            for due in self.agenda.due_looks(self.now_s):
                seen = self.look(due.watch.prefix, due.watch.buffer_bytes)
                self.tell(Sampled(HOST.cookie, due.watch.prefix, tuple(seen), due.left))
            times = [end_s, self.agenda.next_s() or end_s]
            self.now_s = min([*times, hint_s] if hints else times)

    @property
    def path(self) -> list[tuple[str, int]]:
        """What was done to the limit: kinds of changes and sizes in MiB."""
        return [(change.record, change.value[2] // MIB) for change in self.changes]


# --- one path ----------------------------------------------------------------


def test_a_hint_begins_looks_at_that_destination() -> None:
    run = Run({NEAR: starving()})
    assert run.hint() == [Watch(NEAR, 0.0625, 200)]


def test_a_starved_sender_gets_what_it_needs_and_it_is_kept() -> None:
    run = Run({NEAR: starving()})
    run.go_on(40)
    assert run.path == [("change", 8), ("change", 16)]
    assert [keep.proved for keep in run.keeps] == [True, True]
    assert {change.trial for change in run.changes} == {"10.0.1.0/24"}
    assert all(change.value[:2] == FOUND[:2] for change in run.changes)


def test_once_content_nobody_looks_any_more() -> None:
    run = Run({NEAR: starving()})
    run.go_on(40)
    assert run.watches[-1] == Watch(NEAR, 0, 0)
    watches = len(run.watches)
    run.go_on(5)
    assert len(run.watches) == watches


def test_what_does_not_pay_is_taken_back_and_the_path_is_left_alone() -> None:
    run = Run({NEAR: hopeless()})
    while not run.changes or run.changes[-1].record != "taken_back":
        run.go_on(1)
        assert run.now_s < 1060.0
    assert run.path[0] == ("change", 8)
    assert run.value == FOUND
    assert run.keeps == []
    assert run.hint() == []  # it waits


def test_writes_stay_few_for_an_hour_of_hints_that_mean_nothing() -> None:
    run = Run({NEAR: hopeless()})
    run.go_on(1200)
    assert len(run.changes) <= 30
    assert run.value == FOUND or run.changes[-1].record == "change"


def test_a_sender_that_is_content_costs_looks_but_no_write() -> None:
    run = Run({NEAR: content()})
    run.hint()
    run.go_on(60, hints=False)
    assert run.changes == []
    assert run.watches[-1] == Watch(NEAR, 0, 0)


def test_hints_are_not_heard_for_a_while_after_looking_in_vain_ever_longer() -> None:
    run, waits_s = Run({NEAR: content()}), []
    run.hint()
    for _ in range(4):
        while run.watches[-1].count:
            run.go_on(0.1, hints=False)
        rested_s = run.now_s
        while run.hint() == []:
            run.now_s += 0.5
        waits_s.append(run.now_s - rested_s)
    assert waits_s == pytest.approx([10, 20, 40, 80], abs=0.6)
    assert waits_s[0] == pytest.approx(FIRST_DOUBT_S, abs=0.6)


def test_a_second_hint_changes_nothing_while_looking() -> None:
    run = Run({NEAR: starving()})
    run.hint()
    assert run.hint() == []


def test_senders_that_leave_in_mid_climb_end_it() -> None:
    run = Run({NEAR: starving()})
    run.go_on(6)
    assert run.path == [("change", 8)]
    run.worlds[NEAR].flows = 0
    run.go_on(5, hints=False)
    assert run.path == [("change", 8), ("taken_back", 4)]
    assert run.changes[-1].why == (
        "no traffic is left to judge it by, next try in 60 s"
    )


def test_a_long_climb_asks_for_more_looks_before_they_end() -> None:
    run = Run({NEAR: starving(limit=MIB // 4)}, value=(4096, 16384, MIB // 4))
    run.go_on(60)
    assert run.value[2] == 16 * MIB
    assert run.watches.count(Watch(NEAR, 0.0625, 200)) >= 2


# --- several paths -----------------------------------------------------------


def test_a_second_path_waits_while_the_first_climbs() -> None:
    run = Run({NEAR: starving(), FAR: starving(rtt_s=0.4, seed=2)})
    run.go_on(120)
    trials = [change.trial for change in run.changes]
    assert set(trials) == {str(NEAR), str(FAR)}
    first = trials[0]
    switch = trials.index(next(trial for trial in trials if trial != first))
    assert first not in trials[switch:]
    assert run.value[2] == 32 * MIB


def test_a_starved_path_beside_content_flows_gets_what_it_needs() -> None:
    run = Run({NEAR: starving(), FAR: content()})
    run.hint(FAR)
    run.go_on(40)
    assert run.path == [("change", 8), ("change", 16)]
    assert {change.trial for change in run.changes} == {str(NEAR)}


def test_only_a_few_paths_are_watched_at_once() -> None:
    run = Run({})
    answers = [run.hint(prefix(number)) for number in range(MOST_WATCHED + 3)]
    assert [len(answer) for answer in answers] == [1] * MOST_WATCHED + [0] * 3


# --- refusals and the admin --------------------------------------------------


def test_a_refused_first_step_ends_the_climb_with_nothing_to_take_back() -> None:
    run = Run({NEAR: starving()}, may=lambda _: False)
    run.go_on(10)
    assert run.changes == []
    assert run.value == FOUND
    assert run.watches[-1] == Watch(NEAR, 0, 0)
    assert run.hint() == []


def test_a_refused_second_step_keeps_the_first_that_paid() -> None:
    run = Run({NEAR: starving()}, may=lambda change: change.value[2] <= 8 * MIB)
    run.go_on(60)
    assert run.path == [("change", 8)]
    assert [keep.proved for keep in run.keeps] == [True]
    assert not run.tuner.namespaces[HOST.cookie].senders.climbing(other_than=FAR)


def test_the_refusal_of_another_value_or_tunable_ends_nothing() -> None:
    run = Run({NEAR: starving()})
    run.go_on(6)
    assert run.tell(Rejected(HOST.cookie, TCP_WMEM, wmem(64 * MIB), "no")) == []
    rmem = Tunable("net.ipv4.tcp_rmem")
    assert run.tell(Rejected(HOST.cookie, rmem, wmem(8 * MIB), "no")) == []
    run.go_on(40)
    assert run.path == [("change", 8), ("change", 16)]


def test_what_is_the_admins_ends_all_looks_and_is_forgotten() -> None:
    run = Run({NEAR: starving(), FAR: starving()})
    run.go_on(6)
    run.yielded = True
    answer = run.tell(Yielded(HOST.cookie, TCP_WMEM))
    assert {watch for watch in answer if isinstance(watch, Watch)} == {
        Watch(NEAR, 0, 0),
        Watch(FAR, 0, 0),
    }
    assert run.tuner.namespaces == {}
    changes = len(run.changes)
    run.go_on(60)
    assert len(run.changes) == changes
    assert run.tuner.namespaces == {}


def test_another_tunable_of_the_admins_is_no_concern() -> None:
    run = Run({NEAR: starving()})
    run.hint()
    run.tell(Yielded(HOST.cookie, Tunable("net.ipv4.tcp_rmem")))
    assert NEAR in run.tuner.namespaces[HOST.cookie].senders.paths


def test_a_look_that_was_on_its_way_as_all_was_forgotten_is_the_last() -> None:
    run = Run({NEAR: starving()})
    assert run.tell(Sampled(HOST.cookie, NEAR, (), 5)) == [Watch(NEAR, 0, 0)]
    assert run.tuner.namespaces == {}


def test_where_the_sysctl_does_not_exist_nothing_is_done() -> None:
    tuner = TcpBuffer()
    nothing = replace(facts(), values={}, found={})
    hint = SndbufLimited(HOST.cookie, NEAR, 4 * MIB, 200_000)
    assert list(tuner.event_handler(hint, nothing)) == []
    assert list(tuner.event_handler(Woken(HOST.cookie, SENDERS.unused), nothing)) == []
    assert tuner.namespaces == {}


# --- an unused limit ---------------------------------------------------------


def grown(largest: int = 16 * MIB) -> Run:
    """A namespace whose limit was grown, and whose senders are gone."""
    run = Run({NEAR: starving()})
    run.go_on(40)
    run.value = wmem(largest)
    run.worlds.clear()
    return run


def test_an_unused_limit_shrinks_step_by_step_to_what_was_found_not_below() -> None:
    run = grown()
    run.go_on(60 * 60, hints=False)
    assert run.path[2:] == [("shrunk", 8), ("shrunk", 4)]
    assert run.changes[-1].why == ("no sender used more than half of it for 10 minutes")
    assert run.changes[-1].evidence == {"checks": FIRST_PATIENCE}
    assert run.agenda.next_s() is None  # nothing is left to check


def test_half_of_an_odd_limit_does_not_undercut_what_was_found() -> None:
    run = grown(6 * MIB)
    run.go_on(60 * 60, hints=False)
    assert run.value == FOUND


def test_a_limit_in_use_does_not_shrink() -> None:
    run = grown()
    run.worlds[FAR] = replace(content(), now_s=run.now_s)
    run.go_on(60 * 60, hints=False)
    assert run.value == wmem(16 * MIB)


def test_one_use_in_ten_minutes_begins_the_count_anew() -> None:
    run = grown()
    run.go_on(60 * 8.5, hints=False)
    run.worlds[FAR] = replace(content(), now_s=run.now_s)
    run.go_on(60, hints=False)
    del run.worlds[FAR]
    run.go_on(60 * 8.5, hints=False)
    assert run.value == wmem(16 * MIB)


def test_a_limit_that_had_to_grow_again_is_left_alone_twice_as_long() -> None:
    run = grown()
    run.go_on(60 * 12, hints=False)
    assert run.value == wmem(8 * MIB)
    run.worlds[NEAR] = starving(now_s=run.now_s)
    run.go_on(40)
    assert run.value == wmem(16 * MIB)
    run.worlds.clear()
    began_s, shrinks = run.now_s, len(run.changes)
    while len(run.changes) == shrinks:
        run.go_on(60, hints=False)
    assert 19 * 60 <= run.now_s - began_s <= 22 * 60


def test_nothing_shrinks_while_a_path_climbs() -> None:
    run = Run({NEAR: starving()})
    run.go_on(6)
    assert run.path == [("change", 8)]
    for _ in range(3 * FIRST_PATIENCE):
        assert run.tell(Sampled(HOST.cookie, None, (), 0)) == []


def test_what_the_admin_has_is_not_checked_for_use() -> None:
    run = grown()
    run.yielded = True
    assert run.tell(Woken(HOST.cookie, SENDERS.unused)) == []


# --- older connections -------------------------------------------------------


def test_connections_older_than_us_are_looked_for_everywhere_at_the_start() -> None:
    assert list(TcpBuffer().init(facts())) == [
        Survey("survey_senders", everywhere=True),
        Survey("survey_receivers", everywhere=True),
    ]


def test_where_the_kernel_cannot_call_us_back_we_look_once_a_minute() -> None:
    tuner = TcpBuffer()
    answer = list(tuner.event_handler(CannotOptIn(RED.cookie), facts(netns=RED)))
    assert answer == [Wake("survey_senders", 60.0)]
    woken = Woken(RED.cookie, "survey_senders")
    assert list(tuner.event_handler(woken, facts(netns=RED))) == [
        Survey("survey_senders")
    ]
    assert tuner.namespaces == {}


# --- memory of its own -------------------------------------------------------


def test_a_flood_of_namespaces_takes_bounded_memory() -> None:
    tuner = TcpBuffer()
    for number in range(tcp_buffer.MOST_NAMESPACES + 100):
        netns = Netns(NetnsCookie(100 + number))
        hint = SndbufLimited(netns.cookie, NEAR, 4 * MIB, 1000)
        tuner.event_handler(hint, facts(netns=netns))
    assert len(tuner.namespaces) == tcp_buffer.MOST_NAMESPACES == 4096


def test_a_flood_of_destinations_takes_bounded_memory() -> None:
    run = Run({})
    for number in range(4 * MOST_PATHS):
        run.hint(prefix(number))
        for _ in range(20):  # nobody is there: it is given up at once
            run.tell(Sampled(HOST.cookie, prefix(number), (), 9))
    paths = run.tuner.namespaces[HOST.cookie].senders.paths
    assert len(paths) == MOST_PATHS == 64
    assert list(paths)[-1] == prefix(4 * MOST_PATHS - 1)


def test_a_flood_of_namespaces_does_not_make_us_forget_a_climb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_buffer, "MOST_NAMESPACES", 10)
    run = Run({NEAR: starving()})
    run.go_on(6)
    assert run.path == [("change", 8)]
    for number in range(100, 150):
        netns = Netns(NetnsCookie(number))
        hint = SndbufLimited(netns.cookie, FAR, 4 * MIB, 1000)
        run.tuner.event_handler(hint, facts(netns=netns))
    assert len(run.tuner.namespaces) == 10
    run.go_on(40)
    assert [keep.proved for keep in run.keeps] == [True, True]


def test_a_flood_of_destinations_does_not_make_us_forget_those_watched() -> None:
    run = Run({NEAR: starving()})
    run.go_on(6)
    for number in range(100, 100 + 3 * MOST_PATHS):
        run.hint(prefix(number))
        for _ in range(20):
            run.tell(Sampled(HOST.cookie, prefix(number), (), 9))
    run.go_on(40)
    assert run.path == [("change", 8), ("change", 16)]


def test_a_namespace_that_ended_is_forgotten_and_others_are_not() -> None:
    run = Run({NEAR: starving()})
    run.hint()
    hint = SndbufLimited(RED.cookie, NEAR, 4 * MIB, 200_000)
    run.tuner.event_handler(hint, facts(netns=RED))
    run.tell(NetnsGone(HOST.cookie))
    assert list(run.tuner.namespaces) == [RED.cookie]


# --- what is said ------------------------------------------------------------


def quiet() -> Run:
    """A run without noise, whose numbers are always the same."""
    run = Run({NEAR: starving(noise=0.0, flows=2, rate=80e6)})
    run.go_on(40)
    return run


def test_the_sentence_of_a_raise() -> None:
    first, second = quiet().changes
    assert first.why == (
        "2 of 2 sockets to 10.0.1.0/24 were held back by it in 100% of looks"
    )
    assert second.why == first.why
    assert first.sockets == 2
    trial = first.tried
    assert trial is not None
    assert trial.destination == "10.0.1.0/24"
    assert (trial.old_size, trial.size) == (4 * MIB, 8 * MIB)
    assert trial.pressure == 1.0
    assert trial.predicted_nats == pytest.approx(math.log(2))
    assert trial.before == Measured(
        bytes_per_s=23068672,
        spread_nats=0.005,
        sockets=2,
        sockets_held_back=2,
        looks={"our send buffer": 80},
        retransmitted_share=0.0,
        srtt_us=200000,
        min_rtt_us=200000,
    )
    assert (trial.after, trial.gain_nats, trial.finding) == (None, None, None)


def test_the_sentence_of_a_gain() -> None:
    keep = quiet().keeps[0]
    assert keep.why == (
        "goodput per busy second to 10.0.1.0/24 rose +100% "
        "(at least +97%, not randomised), 185 Mbit/s to 369 Mbit/s, "
        "round trip +0 ms"
    )
    trial = keep.tried
    assert trial is not None
    assert trial.gain_nats == pytest.approx(math.log(2), abs=1e-3)
    assert trial.predicted_nats == pytest.approx(math.log(2))
    assert trial.finding is Finding.PAID
    assert trial.first_won
    assert trial.proved
    assert not trial.randomised
    assert trial.after is not None
    assert trial.before is not None
    assert trial.after.bytes_per_s == 2 * trial.before.bytes_per_s


def test_the_sentence_of_a_step_that_ended_a_shortage_without_a_proof() -> None:
    # It needs 5 % more than it is let, and noise hides the gain.
    need = FOUND[2] * KEPT / 0.2 * 1.05
    run = Run({NEAR: starving(rate=need, noise=0.1, seed=0)})
    run.go_on(30)
    (keep,) = run.keeps
    assert not keep.proved
    assert keep.why == (
        "it ended the shortage of sockets to 10.0.1.0/24; "
        "a gain is not proved (+1% ± 6%)"
    )


def test_the_sentence_of_what_is_taken_back() -> None:
    run = Run({NEAR: replace(hopeless(), noise=0.0, false_hits=1.0)})
    run.go_on(60)
    back = next(change for change in run.changes if change.record == "taken_back")
    assert back.why == "no gain, though still short (+0% ± 1%), next try in 60 s"
    trial = back.tried
    assert trial is not None
    assert trial.gain_nats == 0.0
    assert trial.gain_error_nats == pytest.approx(0.0071, abs=1e-4)
    assert trial.finding is Finding.UNPAID
    assert trial.after is not None
    assert trial.after.bytes_per_s == 5_000_000


def test_percentages_are_of_rates_not_of_logarithms() -> None:
    assert say.percent(math.log(2)) == "+100%"
    assert say.percent(math.log(0.9)) == "-10%"
