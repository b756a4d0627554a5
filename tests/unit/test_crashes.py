"""Whatever happens, every original comes back, unless the admin set another."""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.crashing import Blow, KillNow, Story, calls_to

STEPS, FEW_STEPS = 30, 16
ERRNOS = ("EPERM", "ENOENT", "EINVAL", "ENOSPC", "EBUSY", "EINTR")


def calls_of(seed: int, directory: Path, steps: int = STEPS) -> int:
    """Return how many system calls the story of *seed* makes, undisturbed."""
    story = Story(seed, directory / f"whole{seed}")
    with calls_to(story.kernel):
        story.tell(steps)
        return story.kernel.calls


def told_with(seed: int, blow: Blow, journal: Path, steps: int = STEPS) -> Story:
    """Return the story of *seed* up to the blow, or with it."""
    story = Story(seed, journal)
    story.kernel.blow = blow
    with calls_to(story.kernel):
        try:
            story.tell(steps)
        except KillNow:
            assert not blow.errno
    return story


@pytest.mark.parametrize("seed", range(45))
def test_twenty_kills_at_random_instants_leave_nothing_to_regret(
    seed: int, tmp_path: Path
) -> None:
    calls = calls_of(seed, tmp_path)
    chance = random.Random(seed)
    changed = 0
    for number in range(20):
        blow = Blow(chance.randint(1, calls), after=chance.random() < 0.5)
        story = told_with(seed, blow, tmp_path / f"journal{number}")
        changed += not story.is_restored()
        with calls_to(story.kernel):
            if number % 2:  # killed again, as it starts or later
                again = story.kernel.calls + chance.randint(1, 40)
                story.kernel.blow = Blow(again, after=chance.random() < 0.5)
                with suppress(KillNow):
                    story.tell(5)
                story.kernel.blow = None
            story.roll_back_all()
        assert story.is_restored(), (blow, story.differing())
    assert changed > 3


@given(st.randoms(), st.integers(1, 200), st.booleans(), st.integers(1, 12))
def test_no_course_of_events_and_no_instant_of_a_kill_costs_an_original(
    tmp_path_factory: pytest.TempPathFactory,
    chance: random.Random,
    at: int,
    after: bool,
    steps: int,
) -> None:
    story = Story(chance, tmp_path_factory.mktemp("told") / "journal")
    story.kernel.blow = Blow(at, after=after)
    with calls_to(story.kernel), suppress(KillNow):
        story.tell(steps)
    with calls_to(story.kernel):
        story.kernel.blow = None
        story.roll_back_all()
    assert story.is_restored(), story.differing()


@pytest.mark.parametrize("name", ERRNOS)
def test_every_call_failing_once_in_turn_leaves_nothing_to_regret(
    name: str, tmp_path: Path
) -> None:
    calls = calls_of(1, tmp_path, FEW_STEPS)
    assert calls > 80
    for at in range(1, calls + 1):
        blow = Blow(at, getattr(errno, name))
        story = told_with(1, blow, tmp_path / f"journal{at}", FEW_STEPS)
        with calls_to(story.kernel):
            story.roll_back_all()
        assert story.is_restored(), (blow, story.differing())


@pytest.mark.parametrize("name", ERRNOS)
def test_every_call_of_a_start_and_a_rollback_failing_once_hinders_neither(
    name: str, tmp_path: Path
) -> None:
    at = 0
    while True:
        at += 1
        story = Story(5, tmp_path / f"journal{at}")
        with calls_to(story.kernel):
            story.tell(STEPS)
            assert not story.is_restored()
            begun = story.kernel.calls
            story.kernel.blow = Blow(begun + at, getattr(errno, name))
            story.roll_back_all()
        assert story.is_restored(), (story.kernel.blow, story.differing())
        if story.kernel.calls < begun + at:
            break
    assert at > 20


def test_a_journal_cut_at_any_byte_gives_back_every_original(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    story = Story(3, journal)
    story.kernel.blow = Blow(calls_of(3, tmp_path) * 2 // 3)
    with calls_to(story.kernel), suppress(KillNow):
        story.tell(STEPS)
    whole, values = journal.read_bytes(), dict(story.kernel.values)
    assert not story.is_restored()
    # A kill cuts the line that is being written, and no other: what came of
    # the lines before is in force, what the torn one tells is not yet.
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last, len(whole) + 1):
        journal.write_bytes(whole[:length])
        story.kernel.values = {place: list(values[place]) for place in values}
        with calls_to(story.kernel):
            story.kernel.blow = None
            story.roll_back_all()
        assert story.is_restored(), (length, story.differing())
