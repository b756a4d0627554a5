"""The congestion tuner with a played kernel and synthetic paths."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from bpftune.model import Netns, NetnsCookie, Prefix, Tunable, Yielded
from bpftune.policy.reward import SizeClass, Sums
from bpftune.tuners.congestion import MOST_NAMESPACES, Congestion
from bpftune.tuners.congestion.maps import ArmFailed, DefaultChanged, padded, text
from bpftune.tuners.congestion.offer import AVAILABLE, DEFAULT
from tests.unit.policy.congestion_world import BBR, CUBIC, MB, Path, Users

from .congested_host import COOKIE, HOST, Host, prefix

LOSSY = (Path(loss=0.001), [Users(1, (40 * MB,))])
DEEP = (Path(50, 0.020, 8), [Users(1, (10 * MB,))])
SHALLOW = (Path(buffer_bdp=0.25), [Users(4, (10 * MB, 20 * MB))])


def arm_of(host: Host, number: int = 0) -> str:
    row = host.row(prefix(number))
    assert row is not None
    return text(row.arm) or text(row.found)


def most_trials(host: Host, seconds: float) -> int:
    most = 0
    for _ in range(round(seconds / 5)):
        host.run(5)
        for places in host.tuner.namespaces.values():
            most = max(most, sum(one.on_trial for one in places.known.values()))
    return most


def test_the_better_arm_of_a_lossy_path_is_found_and_said() -> None:
    host = Host()
    line, _ = host.add(0, *LOSSY)
    host.run(1200)
    assert arm_of(host) == BBR
    first, chosen = host.said()[:2]
    assert re.match(
        r"tries bbr for new connections: unknown here, against cubic", first
    )
    assert re.match(r"bbr from now on: .* Mbit/s", chosen)
    assert line.off_s[BBR] > 600


def test_two_destinations_have_each_their_own_with_one_trial_at_a_time() -> None:
    host = Host()
    host.add(0, *LOSSY, seed=2)
    host.add(1, *SHALLOW, seed=3)
    assert most_trials(host, 2400) == 1
    assert arm_of(host, 0) == BBR
    assert arm_of(host, 1) == CUBIC
    assert any("bbr trial ended after" in why for why in host.said("ended"))


def test_destinations_over_other_devices_do_not_wait() -> None:
    host = Host()
    for number in range(3):
        host.add(number, *DEEP, device=number + 1, seed=number)
    assert most_trials(host, 120) >= 2


def test_nothing_runs_while_nothing_happens() -> None:
    host = Host()
    _, world = host.add(0, *DEEP)
    host.run(600)
    host.worlds.remove(world)
    host.run(400)
    woken = host.woken
    host.run(3600)
    assert host.woken == woken
    assert not host.wakes
    host.worlds.append(world)
    host.run(10)
    assert host.woken > woken


def test_short_transfers_are_left_alone() -> None:
    host = Host()
    host.add(0, Path(), [Users(4, (0.2 * MB,), 0.5)])
    host.run(600)
    row = host.row(prefix(0))
    assert row is not None
    assert not text(row.arm)
    assert not row.on_trial
    assert not host.said("tries", "chosen")


def test_the_admin_decides_and_decided_before() -> None:
    host = Host()
    host.add(0, *LOSSY)
    host.run(1200)
    assert arm_of(host) == BBR
    host.admins[DEFAULT] = "uid 0 set it"
    host.hear(Yielded(COOKIE, Tunable(DEFAULT)))
    assert host.row(prefix(0)) is None
    host.run(600)
    assert host.row(prefix(0)) is None
    assert not host.tuner.namespaces
    host.admins.clear()
    host.run(1200)
    assert arm_of(host) == BBR


def test_another_sysctl_of_the_admins_is_none_of_our_business() -> None:
    host = Host()
    host.add(0, *LOSSY)
    host.run(100)
    host.hear(Yielded(COOKIE, Tunable("net.ipv4.tcp_wmem")))
    assert host.row(prefix(0)) is not None


def test_what_a_trial_does_is_looked_at_within_a_second() -> None:
    host = Host()
    host.add(0, *SHALLOW)
    while not host.said("tries"):
        host.run(1)
    assert host.wakes["look"] <= host.now_s + 1


def test_an_arm_that_vanishes_or_is_refused_is_left_and_taken_up_again() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.run(300)
    assert arm_of(host) == BBR
    host.hear(ArmFailed(COOKIE, padded(BBR), 2))
    assert arm_of(host) == CUBIC
    assert host.said()[-1] == "back to cubic: the kernel refuses bbr (ENOENT)"
    host.run(600)
    assert arm_of(host) == CUBIC  # it would be refused again
    host.texts[AVAILABLE] = "reno cubic"
    host.hear(DefaultChanged(COOKIE, prefix(0), padded(CUBIC)))
    host.texts[AVAILABLE] = "reno cubic bbr"
    host.hear(DefaultChanged(COOKIE, prefix(0), padded(CUBIC)))
    host.run(600)
    assert arm_of(host) == BBR


def test_another_default_is_taken_up() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.run(300)
    host.texts[DEFAULT] = "reno"
    host.hear(DefaultChanged(COOKIE, prefix(0), padded("reno")))
    row = host.row(prefix(0))
    assert row is not None
    assert text(row.found) == "reno"
    assert not text(row.arm)
    assert host.said()[-1] == "back to reno: the default was cubic"


def test_a_limit_on_trial_comes_first() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.trials = frozenset({str(prefix(0))})
    host.run(300)
    assert not host.said()
    host.trials = frozenset()
    host.run(300)
    assert arm_of(host) == BBR


def test_a_trial_whose_traffic_stops_ends() -> None:
    host = Host()
    _, world = host.add(0, *LOSSY)
    while not host.said("tries"):
        host.run(5)
    host.worlds.remove(world)
    host.run(400)
    assert arm_of(host) == CUBIC
    assert re.match(r"back to cubic: \d flows? with bbr in its block", host.said()[-1])


def test_what_was_learned_outlives_the_daemon() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.run(600)
    kept = json.loads(json.dumps(host.tuner.save(host.now_s, 1e9)))
    again = Host(Congestion())
    again.now_s = 77.0
    again.tuner.restore(kept, again.now_s, 1e9 + 3600)
    assert again.tuner.save(again.now_s, 1e9 + 3600) is not None
    again.begin()
    assert arm_of(again) == BBR
    again.add(0, *DEEP)
    again.run(600)
    assert not again.said("tries")[:1] or again.said()[0].startswith("tries cubic")


def test_what_was_learned_in_another_namespace_waits_for_traffic_there() -> None:
    web = Netns(NetnsCookie(77), "web")
    host = Host(netns=web)
    host.add(0, *DEEP)
    host.run(600)
    again = Host(Congestion(), netns=web)
    again.tuner.restore(host.tuner.save(host.now_s, 1e9), again.now_s, 1e9)
    again.tuner.init(replace(again.facts(), netns=HOST))
    assert again.row(prefix(0)) is None
    again.add(0, *DEEP)
    again.run(15)
    assert arm_of(again) == BBR


def test_ten_thousand_hostile_prefixes_change_nothing_for_an_honest_one() -> None:
    host = Host()
    host.add(0, *LOSSY)
    host.run(1200)
    before = host.tuner.namespaces[COOKIE].known[prefix(0)]
    absurd = Sums(10**6, 1 << 62, 1, 1, 1, 1, 1 << 40, 1 << 40, 1)
    for number in range(1, 10_001):
        host.now_s += 0.02
        # One at a time in the table's place, each with traffic beyond belief.
        host.sum_up(hostile(number), 0, SizeClass.LARGE, absurd, 2)
        host.sum_up(hostile(number), 1, SizeClass.LARGE, absurd, 2)
    places = host.tuner.namespaces[COOKIE]
    after = places.known[prefix(0)]
    assert after.choice == before.choice
    assert arm_of(host) == BBR
    assert len(places.known) <= 256
    assert places.refused > 0
    told = host.said("degraded")
    assert 0 < len(told) < 16
    assert "no room for it: " in told[0]


def hostile(number: int) -> Prefix:
    return Prefix.of(
        f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.0/24"
    )


def test_what_was_saved_goes_on_whenever_it_is_met() -> None:
    web = Netns(NetnsCookie(77), "web")
    host = Host(netns=web)
    host.add(0, *DEEP)
    host.run(600)
    again = Host(Congestion(), netns=web)
    again.tuner.restore(host.tuner.save(host.now_s, 1e9), again.now_s, 1e9)
    again.now_s += 5000  # nothing was heard of it for longer than any block
    again.add(0, *DEEP)
    again.run(15)
    (known,) = again.tuner.namespaces[web.cookie].known.values()
    assert known.choice.block.arm == BBR
    assert again.now_s - known.choice.block.since_s < 30
    assert not again.said()


def test_what_is_not_met_again_is_forgotten_over_many_restarts() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.run(600)
    now_unix_s, saved = 1e9, host.tuner.save(host.now_s, 1e9)
    restarts = 0
    while saved is not None:
        now_unix_s += 86400 * 7
        restarts += 1
        tuner = Congestion()
        tuner.restore(saved, 50.0, now_unix_s)
        saved = tuner.save(60.0, now_unix_s + 10)
    assert restarts == 13  # 90 days


def test_too_many_namespaces_are_said_once() -> None:
    tuner = Congestion()
    hosts = [
        Host(tuner, Netns(NetnsCookie(number + 1), f"n{number}"))
        for number in range(MOST_NAMESPACES + 3)
    ]
    for host in hosts:
        host.add(0, *DEEP)
        host.run(15)
    assert len(tuner.namespaces) == MOST_NAMESPACES
    told = [why for host in hosts for why in host.said("degraded")]
    assert len(told) == 1
    assert told[0].startswith("no room for this network namespace: 64 are")


def test_it_is_explained_in_the_logs_words() -> None:
    host = Host()
    host.add(0, *DEEP)
    host.add(1, *SHALLOW)
    host.run(900)
    said = list(host.tuner.explain(str(prefix(0)), host.now_s))
    assert said[0].startswith("host: bbr from now on: ")
    assert re.match(r"host: (bbr|cubic) is (in use|on trial): \d+ flows?", said[1])
    assert list(host.tuner.explain("192.0.2.0/24", host.now_s)) == []
    other = list(host.tuner.explain(str(prefix(1)), host.now_s))
    assert other[0].startswith("host: cubic: ")
