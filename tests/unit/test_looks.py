from __future__ import annotations

from typing import cast

import pytest

from bpftune.agenda import (
    SEARCH_EVERY_LOOKS,
    SEARCH_EVERY_S,
    Agenda,
    Looking,
)
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import Namespaces
from bpftune.kernel.sockets import LOST_MARKS, MARKS_LAST_S, Sockets
from bpftune.looks import Looks
from bpftune.model import Tuner, Watch
from bpftune.policy.epoch import LOOKS_PER_SLICE
from tests.unit.fakes import RED, FakeMachine, prefix
from tests.unit.policy.world import World

TUNER = Tuner("one", "of them")
HERE, THERE = prefix(1), prefix(2)


class Scene:
    """Looks at the senders of a namespace, as the daemon takes them."""

    def __init__(self) -> None:
        self.machine = FakeMachine(RED)
        self.sockets = self.machine.sockets
        self.sockets.worlds[RED.cookie, HERE] = World(1e7, 0.1, 1 << 20)
        self.agenda = Agenda()
        self.looks = Looks(
            cast("Sockets", self.sockets), cast("Namespaces", self.machine.namespaces)
        )

    def watch(self, watch: Watch) -> None:
        now_s = self.machine.clock.now_s
        self.agenda.watch(TUNER, RED.cookie, watch, now_s)

    def look(self) -> tuple[bool, int]:
        """Take the next look; return whether it searched, and how many it saw."""
        due_s = self.agenda.next_s()
        assert due_s is not None
        clock, searches = self.machine.clock, self.sockets.searches
        clock.now_s = max(clock.now_s, due_s)
        (look,) = self.agenda.due_looks(clock.now_s)
        seen = self.looks.take(look, clock.now_s)
        return self.sockets.searches > searches, len(seen)

    def searches(self, count: int) -> list[bool]:
        return [self.look()[0] for _ in range(count)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_one_look_in_a_slice_searches_beginning_with_the_first(scene: Scene) -> None:
    assert SEARCH_EVERY_LOOKS == LOOKS_PER_SLICE
    scene.watch(Watch(HERE, 0.0625, 24))
    assert scene.searches(24) == ([True] + [False] * 7) * 3


def test_slow_looks_search_each_time(scene: Scene) -> None:
    scene.watch(Watch(HERE, SEARCH_EVERY_S, 4))
    assert scene.searches(3) == [True] * 3


def test_no_mark_gets_too_old_to_be_looked_at() -> None:
    """A search for another watch removes old ones."""
    assert SEARCH_EVERY_S < MARKS_LAST_S


def test_every_look_searches_where_the_kernel_cannot_mark(scene: Scene) -> None:
    scene.sockets.can_mark = False
    scene.watch(Watch(HERE, 0.1, 5))
    assert scene.searches(5) == [True] * 5


def test_a_look_sees_the_same_with_and_without_a_search(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 5))
    assert {scene.look()[1] for _ in range(5)} == {1}


def test_senders_that_come_are_seen_by_the_next_search(scene: Scene) -> None:
    del scene.sockets.worlds[RED.cookie, HERE]
    scene.watch(Watch(HERE, 0.1, 50))
    assert scene.look() == (True, 0)
    scene.sockets.worlds[RED.cookie, HERE] = World(1e7, 0.1, 1 << 20)
    assert [scene.look()[1] for _ in range(8)] == [0] * 7 + [1]


def test_two_watches_search_each_for_itself(scene: Scene) -> None:
    scene.sockets.worlds[RED.cookie, THERE] = World(1e7, 0.1, 1 << 20)
    scene.watch(Watch(HERE, 0.1, 20))
    scene.watch(Watch(THERE, 0.1, 20))
    assert [scene.look() for _ in range(4)] == [(True, 1)] * 2 + [(False, 1)] * 2


def test_a_watch_renewed_midway_need_not_search(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 20))
    assert scene.searches(2) == [True, False]
    scene.watch(Watch(HERE, 0.2, 20))
    assert scene.searches(7) == [False] * 6 + [True]


def test_a_watch_that_wants_more_sockets_searches_anew(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 20, buffer_bytes=1 << 20))
    scene.look()
    scene.watch(Watch(HERE, 0.1, 20, buffer_bytes=1 << 19))
    assert scene.searches(2) == [True, False]


@pytest.mark.parametrize("count", [1, 5])
def test_a_watch_that_begins_again_searches(scene: Scene, count: int) -> None:
    """The marks may be gone."""
    scene.watch(Watch(HERE, 0.1, count))
    scene.searches(count)
    scene.looks.rest()
    scene.watch(Watch(HERE, 0.1, 20))
    assert scene.look() == (True, 1)


def test_a_single_look_leaves_no_mark(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 1))
    assert scene.look() == (True, 1)
    assert not scene.sockets.bear_marks


def test_no_mark_is_left_when_nobody_watches(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 5))
    scene.look()
    assert scene.sockets.bear_marks
    assert scene.agenda.is_looking
    scene.watch(Watch(HERE, 0, 0))
    assert not scene.agenda.is_looking
    scene.looks.rest()
    assert not scene.sockets.bear_marks


def test_marks_that_cannot_be_removed_are_tried_again(scene: Scene) -> None:
    scene.watch(Watch(HERE, 0.1, 5))
    scene.look()
    scene.sockets.failing = KernelError("no")
    scene.looks.rest()
    scene.sockets.failing = None
    assert scene.sockets.bear_marks
    scene.looks.rest()
    assert not scene.sockets.bear_marks


def test_the_daemon_rests_when_the_last_watch_has_ended() -> None:
    machine = FakeMachine(RED)
    machine.sockets.worlds[RED.cookie, HERE] = World(1e7, 0.1, 1 << 20)
    daemon = machine.daemon(TUNER)
    daemon.agenda.watch(TUNER, RED.cookie, Watch(HERE, 0.1, 20), machine.clock.now_s)
    machine.let_pass(daemon, 1.0)
    assert machine.sockets.bear_marks
    assert machine.sockets.searches == 2
    machine.let_pass(daemon, 1.0)
    assert not machine.sockets.bear_marks


def test_a_look_just_begun_searches() -> None:
    look = Looking(TUNER, RED.cookie, Watch(HERE, 0.1, 5), 5, 0.0)
    assert look.must_search(0.0)


def test_that_no_marks_can_be_left_is_told_once() -> None:
    machine = FakeMachine(RED)
    machine.sockets.worlds[RED.cookie, HERE] = World(1e7, 0.1, 1 << 20)
    daemon = machine.daemon(TUNER)
    daemon.agenda.watch(TUNER, RED.cookie, Watch(HERE, 0.1, 20), machine.clock.now_s)
    machine.let_pass(daemon, 0.5)
    assert "degraded" not in machine.kinds()
    machine.sockets.can_mark, machine.sockets.refused = False, "no marks"
    machine.let_pass(daemon, 1.0)
    told = [one.why for one in machine.records if one.record == "degraded"]
    assert told == [f"no marks; {LOST_MARKS}"]
